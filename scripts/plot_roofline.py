"""Draws the roofline of LeNet-5's and AlexNet's layers.

    striate bench layers --json layers.json
    python scripts/plot_roofline.py layers.json -o docs/roofline.png       (needs matplotlib)

A point is one pass of a layer in a training step: operations for each byte that it must move, and
how many it makes in a second. The line is what the machine allows: the bandwidth of memory on the
left, the multiply-add peak on the right. What a cache holds, or an algorithm that multiplies less
than the layer's formula says (Winograd's), may lie above it.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.text import Text

COLOURS = {"forward": "#0b62a4", "backward": "#d1495b"}
MARKERS = {"conv": "o", "fc": "s", "pool": "^", "relu": "."}
KINDS = {"conv": "convolution", "fc": "fully connected", "pool": "pooling", "relu": "ReLU"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="of striate bench layers --json")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    facts = json.loads(args.file.read_text(encoding="utf-8"))
    layers = facts["layers"]
    networks = list(dict.fromkeys(layer["network"] for layer in layers))
    figure, panels = plt.subplots(
        1, len(networks), figsize=(6.5 * len(networks), 5.2), sharex=True, sharey=True,
        layout="constrained", dpi=110,
    )  # fmt: skip
    for panel, network in zip(panels, networks):
        points = [layer for layer in layers if layer["network"] == network]
        draw(panel, network, points, facts["peak_gflops"], facts["bandwidth"])
    panels[0].set_ylabel("GFLOP/s")
    panels[-1].legend(handles=legend(), loc="lower right", fontsize=8, framealpha=1)
    figure.canvas.draw()
    figure.set_layout_engine("none")  # the panels stay where the labels are made for
    for panel, network in zip(panels, networks):
        label(panel, [layer for layer in layers if layer["network"] == network])
    figure.savefig(args.output)


def draw(panel: Any, title: str, points: list[Any], peak: float, bandwidth: float) -> None:
    ridge = peak / bandwidth
    panel.plot([0.05, ridge, 2000], [0.05 * bandwidth, peak, peak], color="#444444", linewidth=1.2)
    panel.text(1900, peak * 1.12, f"{peak:.0f} GFLOP/s", ha="right", fontsize=8, color="#444444")
    panel.text(
        1.0, bandwidth * 1.7, f"{bandwidth:.0f} GB/s", fontsize=8, color="#444444", ha="right"
    )
    for point in points:
        kind = point["name"].rstrip("0123456789")
        panel.plot(
            *place(point), MARKERS[kind], color=COLOURS[point["direction"]], markersize=6,
            markeredgecolor="white", markeredgewidth=0.5,
        )  # fmt: skip
    panel.set(xscale="log", yscale="log", xlim=(0.05, 2000), ylim=(0.3, 2000))
    panel.set_title(title, fontsize=11)
    panel.set_xlabel("operations for each byte")
    panel.grid(color="#e5e5e5", linewidth=0.6)
    panel.set_axisbelow(True)


def place(point: Any) -> tuple[float, float]:
    return point["flop"] / point["bytes"], point["flop"] / point["seconds"] / 1e9


def legend() -> list[Any]:
    handles = [
        plt.Line2D([], [], color=colour, marker="o", linestyle="", label=direction)
        for direction, colour in COLOURS.items()
    ]
    return handles + [
        plt.Line2D([], [], color="#777777", marker=marker, linestyle="", label=KINDS[kind])
        for kind, marker in MARKERS.items()
    ]


def label(panel: Any, points: list[Any]) -> None:
    """Each layer's name beside the faster of its passes, where it covers nothing else, with a thin
    line to it when it is further off. ReLUs, all alike, have none.
    """
    renderer = panel.figure.canvas.get_renderer()
    dots = panel.transData.transform([place(point) for point in points])
    boxes = [(x - 5, y - 5, x + 5, y + 5) for x, y in dots]
    inside = panel.get_window_extent(renderer)
    other = panel.get_legend()
    if other is not None:
        boxes.append(other.get_window_extent(renderer).extents)
    boxes += [text.get_window_extent(renderer).extents for text in panel.texts]
    roof = panel.transData.transform(panel.lines[0].get_xydata())
    for (x0, y0), (x1, y1) in itertools.pairwise(roof):
        for i in range(101):
            x, y = x0 + (x1 - x0) * i / 100, y0 + (y1 - y0) * i / 100
            boxes.append((x - 2, y - 2, x + 2, y + 2))
    by_speed = sorted(zip(points, dots), key=lambda pair: pair[1][1])
    best = {point["name"]: dot for point, dot in by_speed}
    for name, (x, y) in best.items():
        if name.startswith("relu"):
            continue
        for distance in range(8, 240, 4):
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1), (1, 1), (-1, -1)):
                text = panel.annotate(
                    name, (x, y), (x + dx * distance, y + dy * distance),
                    xycoords="figure pixels", textcoords="figure pixels", fontsize=8,
                    ha={1: "left", 0: "center", -1: "right"}[dx], va="center",
                    arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "#999999",
                                "shrinkA": 0, "shrinkB": 3} if distance > 16 else None,
                )  # fmt: skip
                text.update_positions(renderer)
                box = Text.get_window_extent(text, renderer).padded(1).extents  # not its line's
                if free(box, boxes) and inside.x0 < box[0] and box[2] < inside.x1:
                    boxes.append(box)
                    break
                text.remove()
            else:
                continue
            break


def free(box: Any, others: list[Any]) -> bool:
    return all(
        box[2] < other[0] or other[2] < box[0] or box[3] < other[1] or other[3] < box[1]
        for other in others
    )


if __name__ == "__main__":
    main()
