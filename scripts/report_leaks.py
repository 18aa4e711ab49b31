"""Reads what AddressSanitizer and LeakSanitizer wrote, and fails where the extension is at fault.

    python scripts/report_leaks.py FOLDER [PID ...]

FOLDER holds the logs of all processes. Python and NumPy keep memory until a process ends, by
design: of the leaks only those with a frame of ours, or of pybind11, count; of other errors all,
except that LeakSanitizer itself crashes now and then (google/sanitizers, issue 1353): that process
was not searched. More than one in twenty are too many, and so are two of the PIDs, which are those
that matter most.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

OURS = re.compile(r"/_core\.[^/]*\.so\+0x|/cpp/(cpu|plan|reference)/|/python/src/|/pybind11/")
CRASHED = re.compile(
    r"\A(?:Tracer caught signal .*\n)?==(\d+)==LeakSanitizer has encountered a fatal error"
)


def leaks(text: str) -> list[str]:
    """The leaks of one log, each with its stack."""
    return re.findall(r"^(?:Direct|Indirect) leak of .*(?:\n +#.*)+", text, re.MULTILINE)


def main() -> int:
    logs = [path.read_text(errors="replace") for path in Path(sys.argv[1]).iterdir()]
    crashed = [log for log in logs if CRASHED.match(log) and "ERROR: " not in log]
    matter = [log for log in crashed if CRASHED.match(log)[1] in sys.argv[2:]]
    errors = [log for log in logs if "ERROR: LeakSanitizer" not in log and log not in crashed]
    found = [leak for log in logs for leak in leaks(log)]
    ours = [leak for leak in found if OURS.search(leak)]
    print(*dict.fromkeys(ours), *errors, sep="\n")
    print(f"{len(logs)} logs, {len(found)} leaks, {len(ours)} of them the extension's, "
          f"{len(errors)} other errors, {len(crashed)} processes not searched")  # fmt: skip
    too_many = len(crashed) > len(logs) / 20 or len(matter) > 1
    return 1 if ours or errors or not logs or too_many else 0


if __name__ == "__main__":
    sys.exit(main())
