"""python -m fuzz TARGET [libFuzzer's options] [CORPUS ...]: runs one target under atheris."""

from __future__ import annotations

import importlib
import random
import resource
import sys
import tracemalloc
from collections.abc import Callable

import atheris

from fuzz import TARGETS, limits

_ADDRESS_SPACE = 6 << 30  # beyond it memory is refused, as on a machine that has no more
_SHARE_BENT = 0.25  # of the mutations of a target that has its own


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m fuzz TARGET [OPTION ...]; targets: {', '.join(TARGETS)}")
    name = sys.argv.pop(1)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    with atheris.instrument_imports(include=["striate", "PIL"]):
        target = importlib.import_module(f"fuzz.{name}")
    options: dict[str, Callable[..., bytes]] = {}
    if hasattr(target, "mutate"):

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            generator = random.Random(seed)
            if generator.random() < _SHARE_BENT:
                return bytes(atheris.Mutate(data, most))
            bent = target.mutate(data, generator, lambda part: atheris.Mutate(part, most))
            return bent[:most] if bent else bytes(atheris.Mutate(data, most))

        options["custom_mutator"] = mutate
    tracemalloc.start()  # for good: each stop would leave kilobytes behind, gigabytes in an hour
    # To merge corpora libFuzzer starts itself again, by the first of its arguments.
    arguments = [f"{sys.executable} -m fuzz {name}", *sys.argv[1:]]
    atheris.Setup(arguments, lambda data: limits.run(target, data), **options)
    atheris.Fuzz()


main()
