"""Two programs that write one config.json: ours, through the store, and an editor that knows nothing of it.

Run as ``python -m tests.faults.two_writers ROLE DIRECTORY COUNT``; prints one JSON object at the end.
Roles: ``sidecar`` (until its standard input ends), ``editor`` (reads, adds one plan, renames), ``cached`` (as
Backrest does: adds one plan to what it holds in memory, never reads, writes the whole), ``in-place`` (as careless
programs do: reads, adds one plan, empties the file and writes it again).
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from sidecar.plans.rendering import Owner
from sidecar.store.config_store import ConfigStore
from sidecar.store.errors import Changed
from sidecar.store.fs import Fs
from sidecar.store.state import Owed, State
from sidecar.store.state_store import StateStore

OURS = "ours"
EMPTY = {"version": 6, "plans": []}


class CountingFs(Fs):
    """The real thing, counting exchanges: more of them than replacements are edits put back."""

    def __init__(self) -> None:
        self.exchanges = 0

    def exchange(self, dir_fd: int, one: str, other: str) -> None:
        """Swap two names."""
        self.exchanges += 1
        super().exchange(dir_fd, one, other)


class Sidecar:
    """What the writer does with a config.json, without the rendering: one plan of ours, numbered.

    Args:
        directory: Holds the config.json.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "config.json"
        self.fs = CountingFs()
        state = directory / "state"
        self.store = ConfigStore(self.path, mode=0o644, state_dir=state, clock=time.time, fs=self.fs)
        self.states = StateStore(state, clock=time.time)
        self.windows: list[int] = []
        self.changed = 0
        self.kept: list[str] = []

    def start(self) -> int:
        """Recover as every start does; return the number that file and state agree on."""
        with self.store.lock():
            recovered = self.store.recover()
            self.kept += [str(path) for path in recovered.kept]
            if recovered.written:
                self._save(int(recovered.payload["number"]))
            self.store.settle()
        return self.number()

    def number(self) -> int:
        """Return the number in the state; an owed restart of the same number must be beside it."""
        state = self.states.load()
        assert not self.states.problem, self.states.problem
        number = int(state.owners[OURS].workload) if state.owners else 0
        assert (state.owed is None) == (number == 0)
        assert state.owed is None or state.owed.digest == str(number)
        return number

    def write(self, number: int) -> None:
        """Put plan ``number`` of ours into the file, starting over as often as it changes."""
        while True:
            with self.store.lock():
                loaded = self.store.read()
                try:
                    data = merged(orjson.loads(loaded.raw), number)
                    done = self.store.replace(orjson.dumps(data), loaded.fingerprint, {"number": number})
                except orjson.JSONDecodeError:  # in the middle of an edit in place
                    continue
                except Changed as changed:
                    self.changed += 1
                    self.kept += [str(path) for path in changed.kept]
                    continue
                self._save(number)
                self.store.settle()
                self.windows.append(done.window_ns)
                return

    def _save(self, number: int) -> None:
        owners = {OURS: Owner(str(number))}
        self.states.save(State(owners=owners, owed=Owed(time.time(), "written", str(number))))

    def report(self) -> dict[str, Any]:
        """Return what happened, for the test."""
        windows = sorted(self.windows) or [0]
        return {
            "writes": len(self.windows),
            "changed": self.changed,
            "put_back": self.fs.exchanges - len(self.windows),
            "kept": self.kept,
            "window_us": {
                "p50": windows[len(windows) // 2] / 1000,
                "p99": windows[len(windows) * 99 // 100] / 1000,
                "max": windows[-1] / 1000,
            },
        }


def merged(data: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the document with plan ``number`` as the only one of ours."""
    others = [plan for plan in data["plans"] if plan["id"] != OURS]
    return {**data, "plans": [{"id": OURS, "number": number}, *others]}


def edits_in(data: dict[str, Any]) -> set[int]:
    """Return the numbers of the editor's plans."""
    return {int(plan["id"][1:]) for plan in data["plans"] if plan["id"] != OURS}


def replace_as_others_do(path: Path, data: dict[str, Any]) -> None:
    """Write a file by temporary file and rename."""
    temporary = path.with_name("their-temporary-file")
    temporary.write_bytes(orjson.dumps(data))
    temporary.rename(path)


def write_in_place(path: Path, data: dict[str, Any]) -> None:
    """Write a file by emptying it first."""
    path.write_bytes(orjson.dumps(data))


def edit(
    path: Path, first: int, count: int, write: Callable[[Path, dict[str, Any]], None] = replace_as_others_do
) -> dict[str, Any]:
    """Add plans one by one, each to the file as it stands; count those that were gone at the next look."""
    missing: list[int] = []
    for number in range(first, first + count):
        data = orjson.loads(path.read_bytes())
        last = data["plans"][-1]["id"] if data["plans"] else ""
        if number > first and last != f"e{number - 1}":
            missing.append(number - 1)
        data["plans"].append({"id": f"e{number}"})
        write(path, data)
    return {"missing": missing}


def save_from_cache(path: Path, first: int, count: int) -> dict[str, Any]:
    """Add plans one by one to a document in memory and write all of it each time."""
    data = orjson.loads(path.read_bytes())
    for number in range(first, first + count):
        data["plans"].append({"id": f"e{number}"})
        replace_as_others_do(path, data)
    return {"missing": []}


def write_until_told(directory: Path) -> dict[str, Any]:
    """Write as fast as possible until standard input ends."""
    sidecar = Sidecar(directory)
    number = sidecar.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], 0)[0]:
        number += 1
        sidecar.write(number)
    return {**sidecar.report(), "number": number}


def main() -> None:
    """Play the role that the command line names."""
    role, directory, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    path = directory / "config.json"
    roles: dict[str, Callable[[], dict[str, Any]]] = {
        "sidecar": lambda: write_until_told(directory),
        "editor": lambda: edit(path, 1, count),
        "in-place": lambda: edit(path, 1, count, write_in_place),
        "cached": lambda: save_from_cache(path, 1, count),
    }
    json.dump(roles[role](), sys.stdout)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
