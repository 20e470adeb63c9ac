"""What the daemon is doing, as facts: workers publish, the supervisor and the metrics read.

The :class:`StatusBoard` holds one frozen :class:`Facts`. A worker's call replaces it whole under a lock; a
reader takes the reference and needs none. Nothing is ever asked of a worker.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sidecar.findings import Finding

if TYPE_CHECKING:  # heavy, and the ``status`` command needs no more of them than their names
    from sidecar.messages import Report
    from sidecar.plans.rendering import Rendering

LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds of the histogram from a cause to config.json on the disk."""

INVISIBLE_PATH = "invisible-path"
"""Code of the finding about a path that Backrest cannot see."""

_NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on both clocks: ``wall`` (Unix time) to show, ``mono`` (monotonic) to count from."""

    wall: float
    mono: float


@dataclass(frozen=True, slots=True)
class Engine:
    """Whether the Docker engine answers.

    Attributes:
        reachable: None before the first attempt.
        since: When that began to be so.
        reason: Why not; empty when it is reachable.
        advice: What to do about it.
    """

    reachable: bool | None = None
    since: Moment | None = None
    reason: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Owing:
    """Something that has to happen yet: ``kind`` is ``restart``, ``start``, … ``since`` is Unix time."""

    kind: str
    since: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Plans that wait until Backrest may be told of them.

    Attributes:
        since: When that began.
        why: For what they wait.
        plans: Their ids.
        overdue: Whether that takes longer than ``--apply-max-wait``.
    """

    since: Moment
    why: str
    plans: tuple[str, ...] = ()
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class BackrestUrl:
    """``--backrest-url``, and since when it answers or, for a ``reason``, does not."""

    url: str
    since: Moment
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why config.json could not be written, or which plans could not be put into it."""

    reason: str
    since: Moment
    advice: str = ""
    blocked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything known at one moment.

    Attributes:
        started: When the daemon was started.
        revision: Counts the changes that are worth a new status file; events alone are not.
        engine: The Docker engine.
        last_event: The last event of the engine; the others likewise: a look at the engine, a write of
            config.json, a restart of Backrest (or an apply through its API).
        events: Number of events; the others likewise.
        reconnects: How often the event stream was renewed.
        plans: Number of plans by state: ``active``, ``withdrawn``, ``skipped``.
        skipped: Why containers are skipped.
        invisible: Paths that Backrest cannot see.
        owing: What is still owed.
        waiting: What waits, and for what.
        backrest: Whether Backrest's API answers; None where no URL is known, or none was asked yet.
        backrest_down: Since when Backrest's container does not run; None where it does, or nobody knows.
        config_awaited: Since when, and why, config.json is waited for; a fresh Backrest has none at first.
        failure: The last failure to write, until a write succeeds.
        latency: Number of writes in each bucket of :data:`LATENCY_BUCKETS`, and above.
        latency_sum: Their latencies added up, in seconds.
    """

    started: Moment
    revision: int = 0
    engine: Engine = field(default=Engine())
    last_event: Moment | None = None
    last_reconcile: Moment | None = None
    last_write: Moment | None = None
    last_apply: Moment | None = None
    events: int = 0
    reconciles: int = 0
    writes: int = 0
    restarts: int = 0
    reconnects: int = 0
    plans: Mapping[str, int] = field(default_factory=lambda: _NONE)
    skipped: tuple[Finding, ...] = ()
    invisible: tuple[Finding, ...] = ()
    owing: Owing | None = None
    waiting: Waiting | None = None
    backrest: BackrestUrl | None = None
    backrest_down: Waiting | None = None
    config_awaited: Waiting | None = None
    failure: Failure | None = None
    latency: tuple[int, ...] = (0,) * (len(LATENCY_BUCKETS) + 1)
    latency_sum: float = 0.0


class StatusBoard:
    """Where workers publish facts. Every method may be called from any thread and never blocks for long."""

    def __init__(
        self, *, wall: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._clock = clock
        self._lock = threading.Lock()
        self._facts = Facts(started=self._now())

    @property
    def facts(self) -> Facts:
        """What is known now; frozen."""
        return self._facts

    def event_seen(self, count: int = 1) -> None:
        """The engine's event stream brought something."""
        with self._lock:
            self._set(revise=False, last_event=self._now(), events=self._facts.events + count)

    def stream_renewed(self) -> None:
        """The event stream had ended, was cut or hung, and was opened again."""
        with self._lock:
            self._set(reconnects=self._facts.reconnects + 1)

    def engine_up(self) -> None:
        """The engine answered."""
        with self._lock:
            if self._facts.engine.reachable is not True:
                self._set(engine=Engine(True, self._now()))

    def engine_down(self, reason: str, advice: str = "") -> None:
        """The engine did not answer, or refused. ``since`` stays that of the first failure in a row."""
        with self._lock:
            old = self._facts.engine
            since = old.since if old.reachable is False else self._now()
            new = Engine(False, since, reason, advice)
            if new != old:
                self._set(engine=new)

    def rendered(self, rendering: Rendering, *, withdrawn: int | None = None) -> None:
        """A pass was made: the engine was listed and every label rendered.

        Args:
            rendering: What came of it.
            withdrawn: Number of withdrawn plans; that of withdrawn workloads when None.
        """
        skipped = tuple(finding for finding in rendering.findings if finding.skips)
        invisible = tuple(finding for finding in rendering.findings if finding.code == INVISIBLE_PATH)
        counts = {
            "active": len(rendering.plans),
            "withdrawn": len(rendering.withdrawn) if withdrawn is None else withdrawn,
            "skipped": len({finding.container for finding in skipped}),
        }
        with self._lock:
            old = self._facts
            plans = MappingProxyType(counts)
            changed = (old.skipped, old.invisible, old.plans) != (skipped, invisible, plans)
            self._set(
                revise=changed,
                last_reconcile=self._now(),
                reconciles=old.reconciles + 1,
                plans=plans,
                skipped=skipped,
                invisible=invisible,
            )

    def reported(self, report: Report) -> None:
        """The writer told the supervisor how a rendering fared; made for ``Supervisor(on_report=…)``."""
        from sidecar.messages import Applied, ApplyWaits

        with self._lock:
            now = self._now()
            old = self._facts
            if isinstance(report, ApplyWaits):
                begun = old.waiting.since if old.waiting is not None else now
                waiting = Waiting(begun, report.reason, report.plans, report.overdue)
                if waiting != old.waiting:
                    self._set(waiting=waiting)
                return
            if not isinstance(report, Applied):
                since = old.failure.since if old.failure is not None else now
                failure = Failure(report.reason, since, report.advice, report.blocked)
                if failure != old.failure or old.waiting is not None:
                    self._set(failure=failure, waiting=None)
                return
            news: dict[str, Any] = {"failure": None, "waiting": None}
            if report.changed:
                took = max(0.0, report.done_at - report.at)
                counts = list(old.latency)
                counts[bisect_left(LATENCY_BUCKETS, took)] += 1
                news |= {"last_write": now, "writes": old.writes + 1}
                news |= {"latency": tuple(counts), "latency_sum": old.latency_sum + took}
            if report.restarted:
                news |= {"last_apply": now, "restarts": old.restarts + 1}
            news["owing"] = None
            if report.owed:
                same = old.owing is not None and old.owing.kind == report.owed
                since_wall = old.owing.since if old.owing is not None and same else now.wall
                news["owing"] = Owing(report.owed, since_wall, report.reason)
            changed = any(getattr(old, name) != value for name, value in news.items())
            self._set(revise=changed, **news)

    def backrest_answers(self, url: str, reason: str) -> None:
        """Backrest's API answered, or did not for a ``reason``."""
        with self._lock:
            old = self._facts.backrest
            if old is None or (old.url, old.reason) != (url, reason):
                self._set(backrest=BackrestUrl(url, self._now(), reason))

    def backrest_runs(self, reason: str = "") -> None:
        """Backrest's container runs, or does not for a ``reason``, as the engine's list shows it."""
        with self._lock:
            old = self._facts.backrest_down
            if reason != (old.why if old is not None else ""):
                since = old.since if old is not None else self._now()
                self._set(backrest_down=Waiting(since, reason) if reason else None)

    def awaits_config(self, reason: str) -> None:
        """There is no config.json yet, which is no failure; until :meth:`recovered`."""
        with self._lock:
            if self._facts.config_awaited is None:
                self._set(config_awaited=Waiting(self._now(), reason))

    def failed(self, reason: str, advice: str = "") -> None:
        """Nothing can be written at all, e.g. because config.json cannot be used; until :meth:`recovered`."""
        with self._lock:
            old = self._facts.failure
            failure = Failure(reason, old.since if old is not None else self._now(), advice)
            if failure != old:
                self._set(failure=failure, config_awaited=None)

    def recovered(self) -> None:
        """What :meth:`failed` and :meth:`awaits_config` said is over."""
        with self._lock:
            if self._facts.failure is not None or self._facts.config_awaited is not None:
                self._set(failure=None, config_awaited=None)

    def _now(self) -> Moment:
        return Moment(self._wall(), self._clock())

    def _set(self, *, revise: bool = True, **news: Any) -> None:
        self._facts = replace(self._facts, revision=self._facts.revision + revise, **news)
