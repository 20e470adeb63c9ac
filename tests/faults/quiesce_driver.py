"""A backup run (or a recovery) in a process of its own, which can be made to kill itself at any one step.

Run by the tests as ``quiesce_driver.py backup|recover JSON``. Steps are the calls that change something or that
the run waits for, and every write of the journal, counted from 0. ``kill`` is empty, ``count`` (the number of
steps is printed at the end), or ``<step>:<before|during|after>``: at that step the process sends itself SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidecar import log
from sidecar.backup import run
from sidecar.engine.client import Engine
from sidecar.quiesce import recovery
from sidecar.quiesce.journal import Journal
from sidecar.supervision.child import ChildSpec
from sidecar.supervision.supervisor import Supervisor
from tests.engine.backup_rig import Site
from workers.quiesce import SHUTDOWN, backup_worker, recover_worker

STEPS = frozenset({"stop", "start", "pause", "unpause", "create_and_start", "wait", "kill", "remove"})
MOMENT = 0.15
"""Seconds into a call at which "during" is: the containers of the tests take longer to stop."""


class Killer:
    """Counts steps, and kills the process at one."""

    def __init__(self, spec: str) -> None:
        at, _, self._how = spec.partition(":")
        self._at = int(at) if at.isdigit() else -1
        self._lock = threading.Lock()
        self.count = 0
        self.names: list[str] = []

    def step(self, name: str, act: Callable[[], Any], torn: Callable[[], None] | None = None) -> Any:
        """Do one step, unless this is the end."""
        with self._lock:
            number, self.count = self.count, self.count + 1
            self.names.append(name)
        if number != self._at:
            return act()
        if self._how == "before":
            _die()
        if self._how == "during":
            if torn is not None:
                torn()
                _die()
            timer = threading.Timer(MOMENT, _die)
            timer.start()
            act()
            timer.join()
        act()
        _die()
        return None


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killing_engine(host: str, killer: Killer) -> Any:
    """Return an engine whose calls are steps."""

    class KillingEngine(Engine):
        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            if name not in STEPS:
                return found

            def call(*args: Any, **kwargs: Any) -> Any:
                return killer.step(name, lambda: found(*args, **kwargs))

            return call

    return KillingEngine(host)


def killing_journal(killer: Killer) -> type[Journal]:
    """Return a journal whose writes are steps; one in the middle leaves a torn line."""

    class KillingJournal(Journal):
        def begin(self, book: Any) -> None:
            def torn() -> None:
                self.path.with_name(f"{self.path.name}.new").write_bytes(b'{"version":1,')

            killer.step("begin", lambda: Journal.begin(self, book), torn)

        def _append(self, records: list[dict[str, Any]]) -> None:
            def torn() -> None:
                with self.path.open("ab") as file:
                    file.write(b'\n{"id":"torn')

            if records:
                killer.step("note", lambda: Journal._append(self, records), torn)

        def finish(self) -> None:
            killer.step("finish", lambda: Journal.finish(self))

    return KillingJournal


def main() -> int:
    """Run what the command line says; return the exit code."""
    command, raw = sys.argv[1:]
    given = json.loads(raw)
    log.configure("text", "info")
    site = Site.at(Path(given["socket"]), Path(given["folder"]))
    killer = Killer(given["kill"])
    engine = killing_engine(given["socket"], killer)
    for module in (run, recovery):
        vars(module)["Journal"] = killing_journal(killer)
    if command == "backup":
        worker = backup_worker(engine, site.options(**given["options"]), os.environ)
    else:
        worker = recover_worker(engine, site.state_dir)
    code = Supervisor([ChildSpec(command, worker, "temporary", shutdown=SHUTDOWN)]).run()
    if given["kill"] == "count":
        sys.stdout.write(f"STEPS {json.dumps(killer.names)}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
