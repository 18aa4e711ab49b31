"""Text from files, for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text``, with escapes for what is not printable: a file's name may hold anything, such as
    what changes a terminal's colours, or what is not Unicode.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
