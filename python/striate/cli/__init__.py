"""The command ``striate``. Each command is a module with add_parser(subparsers) and run(args)."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from striate._text import printable
from striate.cli._interrupt import after_imports

COMMANDS = ("train", "eval", "predict", "summary", "bench", "filter", "info")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 2 for an error (one sentence), 130 for Ctrl-C."""
    try:
        with after_imports(sys._getframe()):
            return _run(argv)
    except KeyboardInterrupt:
        print("striate: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `striate ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError as error:
        return _fail(f"not enough memory: {error}" if str(error) else "not enough memory")
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        return _fail(str(error))


def _run(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="striate", description="Train and run convolutional networks."
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        importlib.import_module(f"striate.cli.{command}").add_parser(subparsers)
    args = parser.parse_args(argv)
    if args.version:
        from striate import __version__

        print(f"striate {__version__}")
        return 0
    if args.command is None:
        parser.print_help()
        return 2
    return int(args.run(args))


def _fail(message: str) -> int:
    shown = "\n".join(printable(line) for line in message.split("\n"))
    print(f"striate: error: {shown}", file=sys.stderr)
    return 2
