"""What is known of Backrest's queue before and after a restart: by its API, its log, and the markers of hooks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.apply.make_up import at_risk
from sidecar.backrest.container import BackrestEngine
from sidecar.backrest.queue import Operation
from sidecar.backrest.tasks import LINES, tasks_in_log
from sidecar.engine.errors import EngineError
from sidecar.store.state import MakeUp


@dataclass(frozen=True, slots=True)
class Queue:
    """What is known of Backrest's queue before a stop.

    Attributes:
        operations: What it does and is to do; None when nobody tells.
        by_api: Whether the API told, so that what is lost can be asked for again.
    """

    operations: Sequence[Operation] | None = None
    by_api: bool = False

    def lost(self, known: tuple[MakeUp, ...], config: Mapping[str, Any], now: float) -> tuple[MakeUp, ...]:
        """Return what is to be made up after a stop, with what is known to be owed already.

        Args:
            known: What is owed already.
            config: The config that it runs with.
            now: Unix time of the stop in seconds.
        """
        if not self.by_api or self.operations is None:
            return known
        cut_off = (
            MakeUp(op.plan_id, now, op.id + 1) for op in self.operations if op.kind == "backup" and op.runs
        )
        return tuple(dict.fromkeys((*at_risk(known, self.operations, config, now), *cut_off)))

    def due_by(self, known: tuple[MakeUp, ...], config: Mapping[str, Any], now: float) -> tuple[MakeUp, ...]:
        """Return what is to be made up with all that has fallen due until ``now``, when Backrest is seen up."""
        if not self.by_api or self.operations is None:
            return known
        return at_risk(known, self.operations, config, now)


UNTOLD = Queue()


def logged_operations(
    engine: BackrestEngine, container_id: str, since: float, now: float
) -> tuple[Operation, ...] | None:
    """Return what Backrest's log tells of its queue; None where it cannot be read or says nothing of tasks.

    Args:
        engine: The engine.
        container_id: Backrest's container.
        since: Unix time in seconds of its start.
        now: Unix time in seconds.
    """
    try:
        text = engine.logs(container_id, since=since, tail=LINES)
    except EngineError:
        return None
    found = tasks_in_log(text, now)
    return found.operations if found is not None else None


def stopped_by_hooks(config: Path, since: float) -> tuple[str, ...]:
    """Return what the hooks of this run of Backrest have stopped and not started yet, by its markers.

    Args:
        config: config.json; the markers are beside it.
        since: Unix time in seconds of Backrest's start. An older marker is what an earlier run has left; no hook of
            this one will work it off.
    """
    try:
        with os.scandir(config.parent / ".backrest-sidecar" / "stopped") as entries:
            return tuple(
                sorted(
                    entry.name
                    for entry in entries
                    if not entry.name.startswith(".") and entry.stat().st_mtime >= since
                )
            )
    except OSError:
        return ()  # there is none, or it went just now
