"""Draws the curves of training runs from their metrics.jsonl files.

    python scripts/plot_metrics.py RUN [RUN ...] -o OUT.png       (needs matplotlib)

Above, the accuracy on the validation pictures after each epoch; below, the training loss.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()

    figure, (above, below) = plt.subplots(
        2, 1, figsize=(6, 5), sharex=True, layout="constrained", height_ratios=(3, 2)
    )
    for run in args.runs:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        metrics = [json.loads(line) for line in lines]
        epochs = [m["epoch"] for m in metrics]
        accuracy = [100 * m["val_accuracy"] for m in metrics]
        above.plot(epochs, accuracy, "o-", markersize=3, label=run.name)
        above.annotate(f"{accuracy[-1]:.1f} %", (epochs[-1], accuracy[-1]), xytext=(-6, 5),
                       textcoords="offset points", ha="right", fontsize=9)  # fmt: skip
        below.plot(epochs, [m["train_loss"] for m in metrics], "o-", markersize=3, label=run.name)
    above.set_ylabel("top-1 on val/, %")
    above.set_ylim(0, 100)
    below.set_ylabel("training loss")
    below.set_ylim(bottom=0)
    below.set_xlabel("epoch")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    above.legend(frameon=False, loc="upper left")
    figure.savefig(args.output, dpi=120)


if __name__ == "__main__":
    main()
