"""The benchmarks on a GPU: the same works, timed by its events, against PyTorch on that GPU."""
