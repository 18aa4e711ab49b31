"""Coverage-guided fuzzers: one module a target, run by ``scripts/fuzz.sh``.

A target has ``check(data)``, which hands bytes to the library as a file or as arguments and lets
through nothing but the documented exceptions, and ``memory(data)``, the bytes of memory that such
an input can justify; what ``check`` returns, if anything, runs without that measure.
``mutate(data, random, bend)`` is there where bytes turned over at random would end at a checksum:
it changes what the file holds, and packs it again; ``bend`` changes bytes.
``corpus/<target>`` holds inputs that together reach all code that was reached, and by name those
that once were faults; tests/test_fuzz.py replays them.
"""

TARGETS = ("idx", "packed", "safetensors", "checkpoint", "onnx", "picture", "cli", "run")
