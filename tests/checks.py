"""What the op tests share: PyTorch's answer, tolerances, finite differences, seeded arrays."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

try:
    import torch
except ImportError:  # the golden files, which scripts/make_golden.py made with it, take its place
    if os.environ.get("STRIATE_REQUIRE_PARITY"):
        raise
    torch = None  # type: ignore[assignment]

GOLDEN = Path(__file__).parent / "golden"
EPSILON = float(np.finfo(np.float32).eps)

Arrays = Mapping[str, np.ndarray]


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal float32, the same for the same name on every machine."""
    # Philox is specified bit for bit; normal values come from it through float64.
    generator = np.random.Generator(np.random.Philox(zlib.crc32(name.encode())))
    return generator.standard_normal(shape).astype(np.float32)


def from_torch(op: str, case: str, run: Callable[[Any], Arrays]) -> Arrays:
    """PyTorch's answer: live where torch is installed, else from tests/golden/<op>.npz.

    ``run(torch)`` returns named NumPy arrays; it must depend on ``draw`` and constants only.
    """
    if torch is not None:
        return run(torch)
    with np.load(GOLDEN / f"{op}.npz") as file:
        prefix = f"{case}/"
        return {k[len(prefix) :]: file[k] for k in file.files if k.startswith(prefix)}


def assert_close(actual: Any, expected: Any, depth: int = 1, scale: float = 1.0) -> None:
    """Equal up to float32 rounding of a sum of ``depth`` products of size ``scale``.

    A sum of n products of unit normals is about sqrt(n) large, so its partial sums collect a
    rounding error of about n * epsilon / sqrt(2); four times that is allowed. A NaN is equal to a
    NaN in the same place only; dtypes and shapes must be equal.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    atol = 4 * EPSILON * (depth + 2) * scale
    np.testing.assert_allclose(actual, expected, rtol=8 * EPSILON, atol=atol, equal_nan=True)


def finite_differences(
    loss: Callable[[], float], array: np.ndarray, step: float = 1e-6
) -> np.ndarray:
    """d loss / d array by central differences; ``array`` is float64 and is changed and restored."""
    assert array.dtype == np.float64
    gradient = np.empty_like(array)
    for i in np.ndindex(array.shape):
        kept = array[i]
        array[i] = kept + step
        above = loss()
        array[i] = kept - step
        below = loss()
        array[i] = kept
        gradient[i] = (above - below) / (2 * step)
    return gradient
