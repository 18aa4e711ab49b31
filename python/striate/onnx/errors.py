"""What is raised for an ONNX file or model that cannot be taken."""

from __future__ import annotations

from striate._text import printable


class OnnxError(ValueError):
    """A file that is not whole, or asks for what Striate lacks; the message names the node.

    One line: names come from the file, and may hold anything.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class NotConstant(OnnxError):
    """A weight that is an input of the model: a backend, which is given all inputs, may go on."""


def one_line(error: object, most: int = 300) -> str:
    """The text of another library's error as the end of a sentence."""
    text = " ".join(str(error).split())
    return text if len(text) <= most else text[: most - 3] + "..."
