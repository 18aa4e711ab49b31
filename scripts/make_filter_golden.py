#!/usr/bin/env python3
"""Writes tests/golden/filter2d.npz: pictures, and what OpenCV's filter2D makes of them.

    python scripts/make_filter_golden.py

The tests compare with OpenCV itself where it is installed, and with this file everywhere. Needs
the extra ``parity``. The pictures are stored too, so that the file depends on no generator.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from striate.filters import KERNELS

OUT = Path(__file__).parents[1] / "tests" / "golden" / "filter2d.npz"


def pictures() -> list[np.ndarray]:
    """Noise, of which every rounding case is drawn; a ramp; sizes below the kernels' radius."""
    rng = np.random.default_rng(2026)
    shapes = [(13, 17, 3), (16, 9), (1, 1), (1, 6, 3), (5, 2), (2, 2, 3)]
    noise = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    black_and_white = (rng.integers(0, 2, (12, 11)) * 255).astype(np.uint8)
    return [*noise, black_and_white, np.arange(0, 240, dtype=np.uint8).reshape(12, 20)]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the golden file of the filter tests.")
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    args = parser.parse_args(argv)

    arrays = {}
    for i, picture in enumerate(pictures()):
        arrays[f"picture/{i}"] = picture
        for name, kernel in KERNELS.items():
            arrays[f"{name}/{i}"] = cv2.filter2D(picture, -1, kernel)  # BORDER_REFLECT_101
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out, **arrays)
    print(f"{args.out}: {len(arrays)} arrays, OpenCV {cv2.__version__}")


if __name__ == "__main__":
    main()
