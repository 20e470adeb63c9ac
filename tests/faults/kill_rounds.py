"""A writer that is killed at random instants and started again, over and over.

Run as ``python -m tests.faults.kill_rounds DIRECTORY ROUNDS SEED EDITS``; prints one JSON object. With EDITS an
editor works on the file meanwhile, and the rounds go on until it has done. A process of its own, because it forks.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import orjson

from tests.faults.contest import child, finish, judge
from tests.faults.two_writers import EMPTY, OURS, Sidecar

LONGEST = 0.08
"""Seconds until the kill, at most: some writes, after the start."""


def run_child(directory: Path) -> NoReturn:
    """Start, recover, and write until killed."""
    try:
        sidecar = Sidecar(directory)
        number = sidecar.start()
        while True:
            number += 1
            sidecar.write(number)
    finally:
        os._exit(1)


def kill_one(directory: Path, delay: float) -> None:
    """Let a writer work for ``delay`` seconds and kill it."""
    pid = os.fork()
    if pid == 0:
        run_child(directory)
    select.select([], [], [], delay)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the writer died of itself"


def number_in(directory: Path) -> int:
    """Return the number of our plan in the file, which must be whole."""
    plans = orjson.loads((directory / "config.json").read_bytes())["plans"]
    return max((int(plan["number"]) for plan in plans if plan["id"] == OURS), default=0)


def leftovers(directory: Path) -> list[str]:
    """Return the temporary files in the directory and in that of the state."""
    state = directory / "state"
    inside = [entry.name for entry in state.iterdir()] if state.is_dir() else []
    return [
        *(entry.name for entry in directory.iterdir() if entry.name.startswith(".config.json")),
        *(name for name in inside if name not in ("state.json", "write-intent", ".state.json.new")),
    ]


def rounds(directory: Path, count: int, seed: int, edits: int) -> dict[str, Any]:
    """Kill and recover ``count`` times, or until the editor is done."""
    (directory / "config.json").write_bytes(orjson.dumps(EMPTY))
    dice = random.Random(seed)
    editor = child("editor", directory, edits) if edits else None
    found: dict[str, Any] = {"rounds": 0, "interrupted": 0, "kept": 0, "wrong": [], "leftovers": []}
    before = 0
    while editor.poll() is None if editor else found["rounds"] < count:
        kill_one(directory, dice.uniform(0, LONGEST))
        on_disk = number_in(directory)
        found["interrupted"] += bool(leftovers(directory))
        sidecar = Sidecar(directory)
        number = sidecar.start()
        found["kept"] += len(sidecar.kept)
        # An editor may bring an older number back; alone, file and state agree and never go back.
        if editor is None and not (on_disk == number == number_in(directory) and number >= before):
            found["wrong"].append([before, on_disk, number, number_in(directory)])
        found["leftovers"] += leftovers(directory)
        before = number
        found["rounds"] += 1
    last = Sidecar(directory)
    number = last.start() + 1
    last.write(number)
    found["writes"] = number
    if editor is not None:
        missing = finish(editor, 60)["missing"]
        outcome = judge(directory, set(range(1, edits + 1)), missing, last.report(), number)
        found |= {"lost": sorted(outcome.lost), "only_kept": sorted(outcome.only_kept)}
    return found


if __name__ == "__main__":
    there, how_often, first, number_of_edits = Path(sys.argv[1]), *(int(text) for text in sys.argv[2:5])
    json.dump(rounds(there, how_often, first, number_of_edits), sys.stdout)
