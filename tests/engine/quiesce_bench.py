"""How long containers are down for a backup, beside what the backup itself takes.

Run alone: ``python -m tests.engine.quiesce_bench [containers]`` prints the figures as one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sidecar.backup_once import run_backup_once
from sidecar.child import Context
from sidecar.engine import Engine
from tests.engine.backup_rig import QUIESCE, Site
from tests.engine.harness import TestEngine
from tests.rcb_standin import image
from workers.quiesce import tools_for

BACKUP_TAKES = 3.0
ALLOWANCE = 1.0
STOPS_SLOWLY = ("sh", "-c", 'trap "sleep 0.3; exit 0" TERM; sleep 100000 & wait')


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds.

    Attributes:
        containers: How many were down, all independent of each other.
        span: From the first stop to the last container being up.
        backup: What the backup took, from the creation of its container to its end.
        alone: What one stop and one start take with nothing else going on.
        slowest: The slowest stop and the slowest start of the run, added.
        excess: ``span - backup``.
        budget: What the excess may be: ``alone`` + 1 s.
    """

    containers: int
    span: float
    backup: float
    alone: float
    slowest: float
    excess: float
    budget: float


class TimedEngine(Engine):
    """Notes when each call begins and ends."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.times: dict[str, list[tuple[float, float]]] = {}
        self.noting = threading.Lock()

    def _timed(self, verb: str, call: Callable[[], Any]) -> Any:
        began = time.monotonic()
        try:
            return call()
        finally:
            with self.noting:
                self.times.setdefault(verb, []).append((began, time.monotonic()))

    def stop(self, container_id: str, /, timeout: int | None = None) -> bool:
        return bool(self._timed("stop", lambda: Engine.stop(self, container_id, timeout)))

    def start(self, container_id: str, /) -> bool:
        return bool(self._timed("start", lambda: Engine.start(self, container_id)))

    def wait(self, container_id: str, /, timeout: float) -> int | None:
        found: int | None = self._timed("wait", lambda: Engine.wait(self, container_id, timeout))
        return found


def measure(engine: TestEngine, folder: Path, containers: int = 20) -> Figures:
    """Back up once with so many containers down, and measure.

    Args:
        engine: An engine with nothing in it.
        folder: For state and env file.
        containers: How many.
    """
    image.make(engine)
    site = Site(engine, folder)
    site.init()
    for number in range(containers):
        site.service(f"s{number}", QUIESCE, command=STOPS_SLOWLY)
    timed = TimedEngine(str(engine.socket))
    began = time.monotonic()
    timed.stop("shop-s0-1")
    timed.start("shop-s0-1")
    alone = time.monotonic() - began
    timed.times.clear()
    options = site.options(rcb_command=("sh", "-c", f"sleep {BACKUP_TAKES}; restic backup /etc"))
    context = Context("bench", threading.Event(), lambda _seconds: None, lambda _report: None)
    with tools_for(context) as tools:
        outcome = run_backup_once(timed, options, tools, os.environ)
        tools.executor.shutdown(wait=True)
    assert len(outcome.summary.downtime) == containers, outcome
    stops, helper_waits = timed.times["stop"], timed.times["wait"]
    first_stop, last_stop = min(b for b, _ in stops), max(e for _, e in stops)
    backup_end = next(e for _, e in sorted(helper_waits) if e > last_stop)
    ours = [(b, e) for b, e in timed.times["start"] if b > backup_end][:containers]
    span = max(e for _, e in ours) - first_stop
    backup = backup_end - last_stop
    slowest = max(e - b for b, e in stops) + max(e - b for b, e in ours)
    return Figures(
        containers,
        round(span, 3),
        round(backup, 3),
        round(alone, 3),
        round(slowest, 3),
        round(span - backup, 3),
        round(alone + ALLOWANCE, 3),
    )


def main() -> int:
    """Print the figures; return 1 when the budget is missed."""
    containers = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with TestEngine() as engine, tempfile.TemporaryDirectory() as folder:
        figures = measure(engine, Path(folder), containers)
    sys.stdout.write(json.dumps(asdict(figures)) + "\n")
    return int(figures.excess > figures.budget)


if __name__ == "__main__":
    sys.exit(main())
