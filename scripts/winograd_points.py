"""The error of Winograd's minimal filtering by its points: the table in kernels/winograd.h.

    python scripts/winograd_points.py

Float32 against float64 on non-negative data and normal weights; a sum over channels is made of sums
over PART. Prints the error's root mean square over the output's, and the largest one's.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

CHANNELS, FILTERS, TILES = 384, 16, 64
SIZES = ((4, 3), (5, 3), (6, 3), (2, 5), (3, 5), (4, 5))
ORDERS = ("0 1 -1 2 -2 1/2 -1/2", "0 1 -1 1/2 -2 2 -1/2", "0 1 -1 1/2 -3/2 -1/2 3/2")


def matrices(points: list[Fraction], m: int, r: int) -> tuple[np.ndarray, ...]:
    """A^T, G, B^T of F(m, r) by Cook and Toom; infinity is the first point."""
    finite = points[: m + r - 2]
    a, g = ([[Fraction(i == n - 1) for i in range(n)]] for n in (m, r))
    a += [[p**i for i in range(m)] for p in finite]
    g += [[p**i for i in range(r)] for p in finite]
    b = [np.poly(finite)[::-1]]
    for i, p in enumerate(finite):
        others = finite[:i] + finite[i + 1 :]
        scale = float(np.prod([float(p - q) for q in others]))
        b.append([*(np.poly(others)[::-1] / scale), 0])
    return np.array(a, np.float64).T, np.array(g, np.float64), np.array(b, np.float64)


def both_axes(matrix: np.ndarray, tiles: np.ndarray) -> np.ndarray:
    """M t M^T in float32, one product after the other."""
    for axis in (-2, -1):
        moved = np.moveaxis(tiles, axis, 0)
        out = np.zeros((len(matrix), *moved.shape[1:]), np.float32)
        for i, row in enumerate(matrix.astype(np.float32)):
            for factor, values in zip(row, moved):
                out[i] += factor * values
        tiles = np.moveaxis(out, 0, axis)
    return tiles


def error(points: list[Fraction], m: int, r: int, part: int) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    size = m + r - 1
    data = np.maximum(rng.standard_normal((CHANNELS, TILES, size, size)), 0).astype(np.float32)
    weights = rng.standard_normal((FILTERS, CHANNELS, r, r)).astype(np.float32)
    a, g, b = matrices(points, m, r)
    u, v = both_axes(g, weights).transpose(2, 3, 0, 1), both_axes(b, data).transpose(2, 3, 0, 1)
    sums = np.zeros((size, size, FILTERS, TILES), np.float32)
    for c in range(0, CHANNELS, part):
        sums += u[..., c : c + part] @ v[..., c : c + part, :]
    y = both_axes(a, sums.transpose(2, 3, 0, 1))
    windows = np.lib.stride_tricks.sliding_window_view(data.astype(np.float64), (r, r), (2, 3))
    exact = np.tensordot(weights.astype(np.float64), windows, ((1, 2, 3), (0, 4, 5)))
    rms = np.sqrt(np.mean(exact**2))
    return float(np.sqrt(np.mean((y - exact) ** 2)) / rms), float(np.abs(y - exact).max() / rms)


if __name__ == "__main__":
    print("points".ljust(30), *(f"F({m},{r})".ljust(15) for m, r in SIZES))
    for order in ORDERS:
        for part in (32, CHANNELS):
            errors = (error([Fraction(p) for p in order.split()], *size, part) for size in SIZES)
            cells = (f"{rms:.1e} {largest:.0e}".ljust(15) for rms, largest in errors)
            print(f"inf {order}, {part}".ljust(30), *cells)
