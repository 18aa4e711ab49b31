"""A training that is killed: scripts/kill_training.py, a few times of its hundred."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts/kill_training.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_training_ends_with_the_bytes_of_an_undisturbed_one() -> None:
    command = [sys.executable, SCRIPT, "--times", "5", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kills = re.search(r"^seed 7: (\d+) kills", done.stdout, re.MULTILINE)
    assert kills is not None
    assert int(kills[1]) >= 5
