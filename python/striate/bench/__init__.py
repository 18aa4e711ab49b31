"""Benchmarks against peers: the same work in processes of their own, turn by turn."""
