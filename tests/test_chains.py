"""Some hundred chains of layers with odd numbers; scripts/check_chains.py draws more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts/check_chains.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork and RLIMIT_AS")
def test_any_chain_answers_alike_in_every_way_or_is_refused() -> None:
    command = [sys.executable, SCRIPT, "--count", "300"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (answered,) = re.findall(r"300 chains, (\d+) answered, 0 wrong\n$", done.stdout)
    assert int(answered) > 50
