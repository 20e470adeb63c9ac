"""The status file: what ``status`` shows and ``healthcheck`` judges. Written by the supervisor between two waits.

It is a convenience, not state: no fsync, and nothing fails because it cannot be written. It is rewritten when
something changed, at most every two seconds, and every half minute as a sign of life. Times are on both
clocks: RFC 3339 for people; ages are counted on the monotonic clock, which all processes of one machine share
    and which
no time server moves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from sidecar import __version__
from sidecar.findings import Finding
from sidecar.log import get_logger, mask
from sidecar.status.board import Facts, Moment, StatusBoard
from sidecar.supervision.child import WorkerFacts

NAME = "status.json"
SHORTEST_INTERVAL = 2.0
LONGEST_INTERVAL = 30.0
MOST_FINDINGS = 200
"""Skipped containers and invisible paths that are written one by one; there is always the whole number."""

log = get_logger(__name__)


class StatusFile:
    """``status.json`` in the state directory."""

    def __init__(
        self,
        directory: Path,
        board: StatusBoard,
        workers: Callable[[], Sequence[WorkerFacts]],
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Describe the file; nothing is touched yet.

        Args:
            directory: The state directory; made when its parent is there.
            board: What the workers publish.
            workers: What the supervisor knows of them, see ``Supervisor.workers``.
            wall: Unix time in seconds.
        """
        self.path = directory / NAME
        self._board = board
        self._workers = workers
        self._wall = wall
        self._written_at: float | None = None
        self._shown: tuple[object, ...] = ()
        self._problem = ""

    def tick(self, now: float) -> bool:
        """Write the file if it is time to; made for ``Supervisor(on_tick=…)``. Returns whether it was written.

        Args:
            now: Monotonic time in seconds.
        """
        age = None if self._written_at is None else now - self._written_at
        if age is not None and age < SHORTEST_INTERVAL:
            return False
        workers = self._workers()
        shown = (
            self._board.facts.revision,
            *((worker.name, worker.state, worker.restarts) for worker in workers),
        )
        if age is not None and age < LONGEST_INTERVAL and shown == self._shown:
            return False
        self._written_at, self._shown = now, shown
        return self._write(document(self._board.facts, workers, now, self._wall()))

    def close(self, now: float) -> None:
        """Write for the last time, when every worker has stopped."""
        status = document(self._board.facts, self._workers(), now, self._wall())
        self._write({**status, "stopped": True})

    def _write(self, status: dict[str, Any]) -> bool:
        temporary = f"{self.path}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with suppress(FileExistsError):
                self.path.parent.mkdir(mode=0o700)
            fd = os.open(temporary, flags, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(orjson.dumps(status, option=orjson.OPT_INDENT_2) + b"\n")
            Path(temporary).replace(self.path)
        except OSError as error:
            problem = error.strerror or str(error)
            if problem != self._problem:
                log.warn("status.not_written", path=str(self.path), error=problem)
            self._problem = problem
            return False
        self._problem = ""
        return True


def document(facts: Facts, workers: Sequence[WorkerFacts], now: float, wall: float) -> dict[str, Any]:
    """Return the status as plain JSON values; secrets announced to the log are masked here too.

    Args:
        facts: What the workers published.
        workers: What the supervisor knows of them.
        now: Monotonic time in seconds.
        wall: Unix time in seconds, of the same moment.
    """
    engine, owing, failure = facts.engine, facts.owing, facts.failure
    waiting, backrest, awaited = facts.waiting, facts.backrest, facts.config_awaited
    down = facts.backrest_down
    return {
        "format": 1,
        "version": __version__,
        "pid": os.getpid(),
        "started": _shown(facts.started.wall),
        "written": _shown(wall),
        "monotonic": now,
        "workers": [
            {
                "name": worker.name,
                "state": worker.state,
                "overdue": worker.state == "overdue",
                "restarts": worker.restarts,
                "last_beat": _shown(wall - (now - worker.last_beat)) if worker.last_beat else None,
                "error": _text(worker.error),
            }
            for worker in workers
        ],
        "engine": {
            "reachable": engine.reachable,
            "since": _moment(engine.since),
            "for_seconds": _since(engine.since or facts.started, now),
            "reason": _text(engine.reason),
            "advice": _text(engine.advice),
        },
        "last": {
            "event": _moment(facts.last_event),
            "reconcile": _moment(facts.last_reconcile),
            "write": _moment(facts.last_write),
            "apply": _moment(facts.last_apply),
        },
        "counts": {
            "events": facts.events,
            "reconciles": facts.reconciles,
            "writes": facts.writes,
            "restarts": facts.restarts,
            "reconnects": facts.reconnects,
        },
        "plans": dict(facts.plans),
        "owed": owing
        and {
            "kind": owing.kind,
            "since": _shown(owing.since),
            "for_seconds": round(max(0.0, wall - owing.since), 3),
            "why": _text(owing.why),
        },
        "waiting": waiting
        and {
            "since": _moment(waiting.since),
            "for_seconds": _since(waiting.since, now),
            "why": _text(waiting.why),
            "plans": [_text(name) for name in waiting.plans[:MOST_FINDINGS]],
            "overdue": waiting.overdue,
        },
        "backrest_down": down and {"since": _moment(down.since), "why": _text(down.why)},
        "config_awaited": awaited and {"since": _moment(awaited.since), "why": _text(awaited.why)},
        "backrest": backrest
        and {
            "url": _text(backrest.url),
            "answers": not backrest.reason,
            "since": _moment(backrest.since),
            "reason": _text(backrest.reason),
        },
        "failure": failure
        and {
            "reason": _text(failure.reason),
            "advice": _text(failure.advice),
            "since": _moment(failure.since),
            "for_seconds": _since(failure.since, now),
            "blocked": [_text(name) for name in failure.blocked[:MOST_FINDINGS]],
        },
        "skipped": _findings(facts.skipped),
        "skipped_count": len(facts.skipped),
        "invisible": _findings(facts.invisible),
        "invisible_count": len(facts.invisible),
    }


def _findings(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [
        {
            "container": _text(finding.container),
            "code": finding.code,
            "reason": _text(finding.message),
            "label": _text(finding.label),
        }
        for finding in findings[:MOST_FINDINGS]
    ]


def _text(text: str) -> str:
    return mask(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _shown(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _moment(moment: Moment | None) -> str | None:
    return None if moment is None else _shown(moment.wall)


def _since(moment: Moment | None, now: float) -> float:
    return 0.0 if moment is None else round(max(0.0, now - moment.mono), 3)
