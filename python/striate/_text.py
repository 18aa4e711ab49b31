"""Text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str) -> str:
    """``text``, with escapes for what is not printable: a file's name may hold anything, such as
    what changes a terminal's colours, or what is not Unicode.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def aligned(lines: Sequence[Sequence[str]], left: int) -> str:
    """A table of ``lines`` of equally many cells, the first ``left`` of them flush left."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )
