"""One child of the supervisor: its spec (data), its context (what it sees of its parent), its thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from sidecar.duration import doubling
from sidecar.supervision.messages import Report, WorkerExited

Restart = Literal["permanent", "transient", "temporary"]
WorkerState = Literal["new", "running", "overdue", "backoff", "stopping", "stopped"]

FIRST_BEAT = 30.0
"""Seconds within which a worker must beat after its start, before it has promised anything itself."""


class Stoppable(Protocol):
    """An inbox that can be ended; see ``supervision.mailbox.Mailbox.stop``."""

    def stop(self) -> None:
        """Wake the reader with the stop sentinel."""


@dataclass(frozen=True, slots=True)
class Context:
    """All that a worker sees of its parent.

    Attributes:
        name: The worker's name.
        stop: Set when the worker is to return; it has ``shutdown`` seconds to do so.
        beat: ``beat(seconds)`` says: I live, and shall say so again within ``seconds``. Announce the longest
            legal time of what comes next. Costs nothing; any number of calls.
        report: Puts a message into the supervisor's inbox; never blocks.
        signals: Number of stop signals that the process has had; a second one means that a person is in a
            hurry.
    """

    name: str
    stop: threading.Event
    beat: Callable[[float], None]
    report: Callable[[Report], None]
    signals: Callable[[], int] = lambda: 0


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What the supervisor needs to know of a child.

    Attributes:
        id: Its name, also the name of its thread.
        run: The worker. It returns only when ``stop`` is set, unless ``restart`` says otherwise.
        restart: ``permanent``: always started again. ``transient``: started again when it raised; when it
            returns, the supervisor ends with what it returned as exit code (None means 0). ``temporary``: the
            same, but when it raises the supervisor ends with 3.
        shutdown: Seconds from being told to stop until it has returned.
        unstick: Makes a call return in which the worker may hang, e.g. by closing a connection. Called in the
            supervisor's thread: short, never blocking.
        inbox: Ended with the stop sentinel when the worker is told to stop.
        on_restart: Called in the supervisor's thread after the worker was started again, e.g. to have the
            whole looked at afresh because it lost what it had taken in. Short, never blocking.
    """

    id: str
    run: Callable[[Context], int | None]
    restart: Restart = "permanent"
    shutdown: float = 5.0
    unstick: Callable[[], None] | None = None
    inbox: Stoppable | None = None
    on_restart: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What is known of a worker at one moment.

    Attributes:
        name: Its id.
        state: ``backoff`` means that it failed and waits for its restart; the others say what they mean.
        restarts: How often it was started again.
        last_beat: Monotonic time of its last sign of life; 0 before the first.
        error: The last failure as one line; empty when there was none.
    """

    name: str
    state: WorkerState
    restarts: int = 0
    last_beat: float = 0.0
    error: str = ""


class Child:
    """A child as it runs. Only the supervisor's thread calls it, except for what the context hands out."""

    def __init__(
        self,
        spec: ChildSpec,
        clock: Callable[[], float],
        put: Callable[[Report | WorkerExited], None],
        signals: Callable[[], int],
    ) -> None:
        self.spec = spec
        self.restarts = 0
        self.warned = False  # it was found overdue and has not beaten since
        self.lost = False  # unsticking did not help: it will never stop either
        self.give_up_at = 0.0
        self._clock = clock
        self._put = put
        self._stop = threading.Event()
        self._context = Context(spec.id, self._stop, self._beat, put, signals)
        self._thread: threading.Thread | None = None
        self._beats = (0.0, 0.0)  # (time of the last beat, when the next is due); swapped whole, so no lock
        self._restart_at: float | None = None
        self._started_at = 0.0
        self._failures = 0
        self._error = ""

    @property
    def running(self) -> bool:
        """Whether its thread lives, as far as the supervisor has been told."""
        return self._thread is not None

    @property
    def told_to_stop(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def start(self) -> None:
        """Start its thread; no daemon thread, which Python cuts off in the middle of a write at its end."""
        if self._restart_at is not None:
            self._restart_at = None
            self.restarts += 1
        self.warned = False
        self._started_at = self._clock()
        self._beats = (self._beats[0], self._started_at + FIRST_BEAT)
        thread = threading.Thread(target=self._main, name=self.spec.id, daemon=False)
        try:
            thread.start()
        except RuntimeError as error:  # no thread left: a failure like any other
            self._put(WorkerExited(self.spec.id, error))
        else:
            self._thread = thread

    def tell_to_stop(self) -> None:
        """Set its stop event and end its inbox."""
        self._restart_at = None
        self._stop.set()
        if self.spec.inbox is not None:
            self.spec.inbox.stop()

    def unstick(self) -> None:
        """Call what may free it, if there is such a thing."""
        if self.spec.unstick is not None:
            self.spec.unstick()

    def ended(self, error: BaseException | None = None) -> None:
        """Take note that its thread has put its last message."""
        if error is not None:
            self._error = f"{type(error).__name__}: {error}"
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def schedule_restart(self, now: float, first: float, longest: float, stable: float) -> float:
        """Plan the next start; return the delay in seconds.

        The delay doubles with each failure in a row; one that ran for ``stable`` seconds begins anew.
        """
        self._failures = 1 if now - self._started_at >= stable else self._failures + 1
        delay = doubling(self._failures, first, longest)
        self._restart_at = now + delay
        return delay

    def restart_due(self, now: float) -> bool:
        """Whether it waits for a restart whose time has come."""
        return self._restart_at is not None and now >= self._restart_at

    def overdue(self, now: float) -> bool:
        """Whether it runs and has broken the promise of its last beat."""
        return self.running and now > self._beats[1]

    def next_due(self) -> float | None:
        """Return when the supervisor must look at it next, monotonic; None when it is stopped."""
        if self._restart_at is not None:
            return self._restart_at
        if not self.running:
            return None
        return self.give_up_at if self.warned else self._beats[1]

    def facts(self, now: float) -> WorkerFacts:
        """Return what is known of it."""
        return WorkerFacts(self.spec.id, self._state(now), self.restarts, self._beats[0], self._error)

    def _state(self, now: float) -> WorkerState:
        if self._restart_at is not None:
            return "backoff"
        if not self.running:
            return "stopped" if self._started_at else "new"
        if self.told_to_stop:
            return "stopping"
        return "overdue" if self.overdue(now) else "running"

    def _beat(self, seconds: float) -> None:
        now = self._clock()
        self._beats = (now, now + seconds)

    def _main(self) -> None:
        error: BaseException | None = None
        result: int | None = None
        try:
            result = self.spec.run(self._context)
        except BaseException as raised:  # noqa: BLE001 - whatever it was, the parent must hear of it
            error = raised
        self._put(WorkerExited(self.spec.id, error, result))
