"""The work ``size``: what a wheel weighs, and what an installation takes."""

from __future__ import annotations

import re
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

DEPENDENCIES = ("numpy", "pillow", "rich", "safetensors")  # pyproject.toml's
_DATA = "/mnist_xz"  # the digits, a file that stands for itself


def sizes(wheel: str | None = None) -> dict[str, Any]:
    """{"own": bytes of each file of the package that runs, "dependencies": bytes of each
    distribution that it needs, "wheel": bytes of each file as packed in ``wheel``}.

    Compiled Python (__pycache__) is not counted: pip writes it from what is.
    """
    package = Path(__file__).parents[1]
    own = {
        str(path.relative_to(package.parent)): path.stat().st_size
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    found: dict[str, Any] = {"own": own, "dependencies": _dependencies()}
    if wheel is not None:
        try:
            with zipfile.ZipFile(wheel) as file:
                packed = {entry.filename: entry.compress_size for entry in file.infolist()}
        except zipfile.BadZipFile:
            raise ValueError(f"--wheel: {wheel} is no wheel (a zip file)") from None
        # What is not a file's: names, and the list at the end.
        packed["(the zip's own)"] = Path(wheel).stat().st_size - sum(packed.values())
        found["wheel"] = packed
    return found


def table(found: dict[str, Any]) -> str:
    """A Markdown table of what sizes() found, in MB (10^6 bytes)."""
    lines = ["| what | MB |", "|---|---:|"]

    def add(what: str, size: float) -> None:
        lines.append(f"| {what} | {size / 1e6:.2f} |")

    for key, title in (("wheel", "the wheel"), ("own", "installed, Striate's own files")):
        if key in found:
            files: dict[str, int] = found[key]
            digits = sum(size for name, size in files.items() if _DATA in name)
            add(f"{title}, without MNIST's digits", sum(files.values()) - digits)
            compiled = sum(size for name, size in files.items() if name.endswith((".so", ".pyd")))
            add("... of it the compiled ops", compiled)
            add("... MNIST's digits, beside it", digits)
    for name, size in found["dependencies"].items():
        add(f"installed, {name}", size)
    return "\n".join(lines)


def _dependencies() -> dict[str, int]:
    """Bytes of every distribution that Striate's base installation needs, those of those too."""
    sizes: dict[str, int] = {}
    waiting = list(DEPENDENCIES)
    while waiting:
        name = waiting.pop(0)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if name in sizes:
            continue
        files = [file for file in distribution.files or [] if "__pycache__" not in file.parts]
        located = [Path(str(distribution.locate_file(file))) for file in files]
        sizes[name] = sum(path.stat().st_size for path in located if path.is_file())
        for requirement in distribution.requires or []:
            if ";" not in requirement:  # neither an extra's nor another platform's
                waiting.append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower())
    return sizes
