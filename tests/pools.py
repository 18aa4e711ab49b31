"""The cases and the random shapes of both pools."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

Pair = tuple[int, int]


class Pool(NamedTuple):
    shape: tuple[int, ...]
    kernel_size: int | Pair
    stride: int | Pair | None = None
    padding: int | Pair = 0
    dilation: int | Pair = 1
    ceil_mode: bool = False

    @property
    def window(self) -> dict[str, Any]:
        """The arguments that both pools have; torch's avg_pool2d has no dilation."""
        return {
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
        }


# Small, so that the golden files stay small; wide ones have one row, to reach whole vectors.
CASES: dict[str, Pool] = {
    "one": Pool((1, 1, 1, 1), 1),
    "empty": Pool((0, 3, 4, 4), 2),
    "unbatched": Pool((2, 6, 5), 2),
    "lenet": Pool((2, 3, 10, 10), 2),
    "lenet wide": Pool((1, 1, 2, 76), 2),
    "odd": Pool((1, 2, 7, 9), 2),
    "alexnet": Pool((1, 3, 13, 13), 3, 2),
    "alexnet wide": Pool((1, 1, 5, 71), 3, 2),
    "overlapping": Pool((1, 2, 6, 40), 3, 1),
    "padded": Pool((2, 2, 8, 37), 3, 2, 1),
    "padded dense": Pool((1, 2, 5, 21), 3, 1, 1),
    "ceil": Pool((1, 2, 6, 36), 3, 2, 0, 1, True),
    "ceil padded": Pool((1, 2, 5, 7), (4, 3), (3, 2), (2, 1), 1, True),
    "ceil cut": Pool((1, 2, 3, 6), 2, 3, 0, 1, True),  # a last window would start outside
    "ceil larger": Pool((1, 2, 3, 3), 4, 2, 0, 1, True),
    "gaps": Pool((1, 2, 9, 40), 1, 2),
    "stride 3": Pool((1, 1, 9, 70), 3),
    "rectangle": Pool((1, 2, 9, 23), (1, 4), (2, 1), (0, 2)),
    "global": Pool((2, 3, 6, 6), 6),
    "global wide": Pool((3, 7, 3, 2), (3, 2)),
}


@st.composite
def pools(draw: st.DrawFn, dilated: bool) -> Pool:
    """Windows that fit: sizes around those of the vectors, every option."""

    def pair(least: int, most: int) -> Pair:
        values = st.integers(least, most)
        return draw(values), draw(values)

    kernel = pair(1, 5)
    dilation = pair(1, 3) if dilated else (1, 1)
    padding = draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2))
    room = [d * (k - 1) + 1 - 2 * p for d, k, p in zip(dilation, kernel, padding)]
    height = draw(st.integers(max(1, room[0]), 16))
    width = draw(st.integers(max(1, room[1]), 80))
    return Pool(
        (draw(st.integers(1, 3)), draw(st.integers(1, 3)), height, width),
        kernel,
        pair(1, 4),
        padding,
        dilation,
        draw(st.booleans()),
    )
