"""A sidecar that writes as fast as it can against an editor that does so too, and what is left in the end."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.faults.two_writers import EMPTY, OURS, Sidecar, edits_in

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """The end of a contest.

    Attributes:
        lost: Edits that are neither in the file nor in a version that was put aside.
        only_kept: Edits that are in a version put aside, and not in the file.
        unseen: Edits that their own author did not find at his next look, though he had written them.
        sidecar: What the sidecar reported.
        leftovers: Temporary files.
    """

    lost: set[int]
    only_kept: set[int]
    unseen: list[int]
    sidecar: dict[str, Any]
    leftovers: list[str]


def child(role: str, directory: Path, count: int = 0) -> subprocess.Popen[bytes]:
    """Start one of the two writers."""
    command = [sys.executable, "-m", "tests.faults.two_writers", role, str(directory), str(count)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)


def finish(process: subprocess.Popen[bytes], timeout: float) -> dict[str, Any]:
    """Wait for one of them and return its report."""
    out, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0
    report: dict[str, Any] = json.loads(out)
    return report


def contest(directory: Path, role: str, count: int, *, timeout: float) -> Outcome:
    """Let an editor make ``count`` edits against the sidecar, then let the sidecar write once more, in peace."""
    path = directory / "config.json"
    path.write_bytes(orjson.dumps(EMPTY))
    sidecar = child("sidecar", directory)
    assert sidecar.stdout is not None
    assert sidecar.stdout.readline() == b"ready\n"
    theirs = finish(child(role, directory, count), timeout)
    ours = finish(sidecar, timeout)
    last = Sidecar(directory)
    number = last.start() + 1
    last.write(number)
    return judge(directory, set(range(1, count + 1)), theirs["missing"], ours, number)


def judge(
    directory: Path, expected: set[int], unseen: list[int], ours: dict[str, Any], number: int
) -> Outcome:
    """Look at what is on the disk."""
    data = orjson.loads((directory / "config.json").read_bytes())
    assert {"id": OURS, "number": number} in data["plans"]
    missing = expected - edits_in(data)
    kept: set[int] = set()
    for copy in directory.glob("config.json.sidecar.*.kept"):
        kept |= edits_in(orjson.loads(copy.read_bytes()))
    leftovers = [entry.name for entry in directory.iterdir() if entry.name.startswith(".config.json")]
    return Outcome(missing - kept, missing & kept, unseen, ours, leftovers)
