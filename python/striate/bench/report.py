"""Tables of rows, and what a figure needs beside it: the machine, the versions, the command."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from striate._files import write_atomically
from striate.bench.compare import Row
from striate.bench.works import module


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; a column that no row fills is left out."""
    columns = [
        (title, cells)
        for title, cell in _COLUMNS.items()
        if any(cells := [cell(row) for row in rows])
    ]
    lines = ["| " + " | ".join(title.lstrip(">") for title, _ in columns) + " |"]
    lines.append("|" + "|".join("---:" if title[0] == ">" else "---" for title, _ in columns) + "|")
    for i in range(len(rows)):
        lines.append("| " + " | ".join(cells[i] for _, cells in columns) + " |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What runs here: processor, cores, instruction set, versions."""
    import numpy as np

    from striate import _core

    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass  # not Linux
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "isas": _core.supported_isas(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "striate": _core.__version__,
    }


def versions(peers: Sequence[str]) -> dict[str, str]:
    """Of the distributions of those that are installed."""
    found = {}
    for name in dict.fromkeys(map(module, peers)):
        try:
            found[name] = metadata.version({"PIL": "pillow"}.get(name, name))
        except metadata.PackageNotFoundError:
            continue
    return found


def heading(facts: Mapping[str, Any]) -> str:
    """One line about the run."""
    others = "".join(f", {name} {version}" for name, version in facts["versions"].items())
    about = facts["machine"]
    if "gpu" in facts:
        return f"{on_gpu(facts)}, {facts['pairs']} pairs{others}"
    return (
        f"striate {about['striate']} on {facts['isa']}, {facts['threads']} threads, "
        f"{facts['pairs']} pairs; {about['processor']}, {about['cores']} cores, "
        f"Python {about['python']}, numpy {about['numpy']}{others}"
    )


def on_gpu(facts: Mapping[str, Any]) -> str:
    """The GPU, its driver and runtime, the precision and the day of a run."""
    gpu = facts["gpu"]
    return (
        f"striate {facts['machine']['striate']} on {gpu['name']}, compute capability "
        f"{gpu['capability']}, driver {gpu['driver']}, {gpu['runtime']}; "
        f"{', '.join(facts['precision'])}; {facts['date']}"
    )


def write(path: str, facts: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """``facts`` and the rows, turns and all, as JSON."""
    told = [
        {**row._asdict(), "gflops": row.gflops, "gbs": row.gbs, "facts": dict(row.facts)}
        for row in rows
    ]
    write_atomically(path, json.dumps({**facts, "rows": told}, indent=1).encode())


def read(path: str | Path) -> tuple[dict[str, Any], list[Row]]:
    """What write() wrote."""
    with open(path, encoding="utf-8") as file:
        facts: dict[str, Any] = json.load(file)
    rows = facts.pop("rows")
    known = set(Row._fields)
    return facts, [Row(**{k: v for k, v in row.items() if k in known}) for row in rows]


def duration(seconds: float) -> str:
    """3 digits: 1.23 s, 45.6 ms, 7 us."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def _share(part: float | None, whole: float | None) -> str:
    return "" if part is None or not whole else f"{part / whole:.0%}"


def _errors(row: Row) -> str:
    if "rms_error" not in row.facts:
        return ""
    return f"{row.facts['rms_error']:.1e}, {row.facts['largest_error']:.1e}"


# ">": numbers, set to the right.
_COLUMNS: dict[str, Callable[[Row], str]] = {
    "work": lambda row: row.work,
    "by": lambda row: f"{row.peer} ({row.variant})" if row.variant else row.peer,
    ">median": lambda row: duration(row.median),
    ">fastest .. slowest": lambda row: f"{duration(row.least)} .. {duration(row.most)}",
    ">GFLOP/s": lambda row: (
        "" if row.gflops is None or row.device != "cpu" else f"{row.gflops:.0f}"
    ),
    ">TFLOP/s": lambda row: (
        "" if row.gflops is None or row.device == "cpu" else f"{row.gflops / 1e3:.3g}"
    ),
    ">of FMA peak": lambda row: _share(row.gflops, row.peak_gflops),
    ">GB/s": lambda row: "" if row.gbs is None else f"{row.gbs:.1f}",
    ">of bandwidth": lambda row: _share(row.gbs if row.device == "cpu" else None, row.peak_read),
    ">of a copy's": lambda row: _share(None if row.device == "cpu" else row.gbs, row.peak_read),
    ">peak MB (import)": lambda row: (
        "" if row.peak_mb is None else f"{row.peak_mb:,.0f} ({row.imported_mb:.0f})"
    ),
    ">error: RMS, largest": _errors,
    ">time / Striate's": lambda row: f"{row.ratio:.2f}",
}
