"""``kill -9`` at random instants, the short form: the torture has the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.faults.contest import ROOT


def kill_rounds(directory: Path, count: int, *, seed: int, edits: int = 0, timeout: float) -> dict[str, Any]:
    """Run the rounds in a process of their own."""
    command = [sys.executable, "-m", "tests.faults.kill_rounds", str(directory)]
    done = subprocess.run(
        [*command, str(count), str(seed), str(edits)], cwd=ROOT, stdout=subprocess.PIPE, timeout=timeout
    )
    assert done.returncode == 0
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def apply_rounds(directory: Path, count: int, *, seed: int, timeout: float) -> dict[str, Any]:
    """Run the rounds of stop, write, start in a process of their own."""
    command = [sys.executable, "-m", "tests.faults.apply_rounds", str(directory), str(count), str(seed)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=timeout)
    assert done.returncode == 0
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_old_or_new_and_nothing_left(memory: Path) -> None:
    found = kill_rounds(memory, 25, seed=1, timeout=50)
    assert (found["wrong"], found["leftovers"], found["kept"]) == ([], [], 0)
    assert found["rounds"] == 25
    assert found["writes"] > 0


def test_no_edit_is_lost_when_we_are_killed(memory: Path) -> None:
    found = kill_rounds(memory, 0, seed=2, edits=400, timeout=50)
    assert (found["lost"], found["leftovers"]) == ([], [])
    assert found["rounds"] > 0


def test_backrest_runs_in_the_end_with_the_new_plans(memory: Path) -> None:
    found = apply_rounds(memory, 12, seed=3, timeout=50)
    assert found["wrong"] == []
    assert found["running_in_the_end"] == found["rounds"] == 12
