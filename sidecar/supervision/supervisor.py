"""The parent of the workers, after the supervisor of Erlang/OTP.

* A child is described by a :class:`ChildSpec`, which is data. Children are started in the order of the list
  and stopped in reverse, so the sinks come first: what is produced always has somebody to take it.
* The strategy is one_for_one: a worker that raises, or returns before it is told to stop, is started again
  alone, after a delay that doubles with each failure in a row.
* The restart intensity is a sliding window over all children: more than ``intensity`` restarts within
  ``period`` seconds mean that restarting does not help. Everything is stopped and :meth:`Supervisor.run`
  returns 4.
* A thread cannot be killed. A worker promises with each beat when it will beat again; one that breaks its
  promise is unstuck if it knows how, and if that does not help either, the others are stopped and the process
  exits 4, because no unknown writer may run.
* Signal handlers only put a message into the inbox. It is a SimpleQueue, the one stdlib queue whose ``put``
  may interrupt its own ``get``; an Event or a Queue could deadlock there.
* The parent runs no worker's code but ``unstick`` and ``on_restart``, which must be short: it is blocked
  meanwhile.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from sidecar import log as logs
from sidecar.exit_codes import ExitCode
from sidecar.supervision.child import Child, ChildSpec, Context, WorkerFacts
from sidecar.supervision.messages import Report, Signalled, WorkerExited

__all__ = ["ChildSpec", "Context", "Supervisor", "WorkerFacts"]

FIRST_DELAY = 0.2
LONGEST_DELAY = 15.0
GRACE = 5.0
"""Seconds that an overdue worker has once it was unstuck, or once a paused process (SIGSTOP) goes on."""
UNSTICK_AFTER = 0.3
"""Seconds after which a worker that was told to stop, and has not, is unstuck."""

log = logs.get_logger(__name__)


def _exit_now(code: int) -> NoReturn:
    os._exit(code)


class Supervisor:
    """Starts, watches, restarts and stops children.

    Attributes:
        intensity: How many restarts are allowed within ``period``.
        period: Length of the sliding window in seconds.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        *,
        clock: Callable[[], float] = time.monotonic,
        exit_process: Callable[[int], object] = _exit_now,
        on_report: Callable[[Report], None] = lambda _report: None,
        on_tick: Callable[[float], None] = lambda _now: None,
        intensity: int = 5,
        period: float = 30.0,
        tick: float = 2.0,
    ) -> None:
        """Describe the tree; nothing runs before :meth:`run` or :meth:`start`.

        Args:
            specs: The children in starting order; ids are unique.
            clock: Monotonic time in seconds.
            exit_process: Ends the process at once with a code; called only when a thread cannot be stopped.
            on_report: Takes what workers report, in this thread. What it raises is logged, no more.
            on_tick: Called after every step with the time, in this thread: the status file is written there.
            intensity: See the class.
            period: See the class.
            tick: Longest sleep of the parent in seconds.
        """
        if len({spec.id for spec in specs}) != len(specs):
            raise ValueError("two children have one id")
        self.intensity = intensity
        self.period = period
        self._clock = clock
        self._exit = exit_process
        self._on_report = on_report
        self._on_tick = on_tick
        self._tick = tick
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._restarts: deque[float] = deque()
        self._signals = 0
        self._code: int | None = None
        self._children = [Child(spec, clock, self._inbox.put, self._count_signals) for spec in specs]

    def run(self) -> int:
        """Start everything, keep it running until told to stop, stop it; return the process's exit code.

        0 after SIGTERM or SIGINT; 4 when it gave up; what a child that is meant to end returned, or 3 if it
        failed. Takes over SIGTERM and SIGINT meanwhile when called in the main thread.
        """
        restore = self._take_signals() if threading.current_thread() is threading.main_thread() else {}
        try:
            self.start()
            while self._code is None:
                self.step()
            return self.shutdown()
        finally:
            for signum, handler in restore.items():
                signal.signal(signum, handler)

    def start(self) -> None:
        """Start the children in order."""
        for child in self._children:
            child.start()
            log.debug("worker.started", worker=child.spec.id)

    def step(self) -> None:
        """Wait for one message or the next deadline, then do what is due. One turn of the parent's loop."""
        self._receive(self._sleep())
        if self._code is None:
            now = self._clock()
            for child in self._children:
                self._look_after(child, now)
        self._guard(self._on_tick, self._clock())

    def request_stop(self, code: int = 0) -> None:
        """Ask the parent to stop everything and return ``code``. From any thread, not a signal handler."""
        self._finish(code)
        self._inbox.put(None)

    def wake(self) -> None:
        """Have the parent look at its deadlines now. From any thread."""
        self._inbox.put(None)

    def workers(self) -> tuple[WorkerFacts, ...]:
        """Return what is known of each child, in starting order."""
        return tuple(child.facts(self._clock()) for child in self._children)

    def shutdown(self) -> int:
        """Stop the children in reverse order, each within its own time; return the exit code.

        A child that overruns does not keep the others from being stopped; after them the process is ended
        with 70 (or 4 when the supervisor gave up), because a thread that still runs cannot be trusted.
        """
        hung = [child for child in reversed(self._children) if not self._stop(child)]
        code = self._code or 0
        self._guard(self._on_tick, self._clock())
        if hung:
            final = code if code == ExitCode.GAVE_UP else ExitCode.UNCLEAN
            log.error("supervisor.abandons", workers=[child.spec.id for child in hung], code=final)
            logs.flush()
            self._exit(final)
            return final
        return code

    def _stop(self, child: Child) -> bool:
        """Tell one child to stop and wait for it; return whether it has ended."""
        child.tell_to_stop()
        # A worker that was overdue has had its time.
        deadline = self._clock() + (0.0 if child.lost else child.spec.shutdown)
        unstick_at = self._clock() + UNSTICK_AFTER
        while child.running:
            now = self._clock()
            if now >= deadline:
                log.error("worker.does_not_stop", worker=child.spec.id, seconds=child.spec.shutdown)
                return False
            if now >= unstick_at and child.spec.unstick is not None:
                unstick_at = deadline
                self._guard(child.unstick)
            until = min(deadline, unstick_at if unstick_at > now else deadline, now + self._tick)
            self._receive(until - now)
            self._guard(self._on_tick, self._clock())
        child.ended()
        return True

    def _receive(self, timeout: float) -> None:
        try:
            message = self._inbox.get(timeout=timeout)
        except queue.Empty:
            return
        match message:
            case None:
                return
            case Signalled(signum=signum, count=count):
                log.info("supervisor.signal", signal=signal.Signals(signum).name, count=count)
                self._finish(0)
            case WorkerExited():
                self._exited(
                    next(child for child in self._children if child.spec.id == message.name), message
                )
            case _:
                self._guard(self._on_report, message)

    def _exited(self, child: Child, message: WorkerExited) -> None:
        child.ended(message.error)
        if child.told_to_stop:
            if message.error is not None:
                log.warn("worker.failed_on_stop", worker=child.spec.id, error=message.error)
            # The exit code of a worker that is meant to end counts even when a signal made it end.
            if child.spec.restart == "temporary" and message.error is not None:
                self._finish(ExitCode.FAILED)
            elif child.spec.restart != "permanent":
                self._finish(message.result or 0)
            return
        if child.spec.restart != "permanent" and message.error is None:
            self._finish(message.result or 0)
            return
        if child.spec.restart == "temporary":
            log.error("worker.failed", worker=child.spec.id, error=message.error)
            self._finish(ExitCode.FAILED)
            return
        now = self._clock()
        reason: object = (
            message.error if message.error is not None else "it returned before it was told to stop"
        )
        self._restarts.append(now)
        while self._restarts[0] <= now - self.period:
            self._restarts.popleft()
        if len(self._restarts) > self.intensity:
            log.error(
                "supervisor.gave_up",
                worker=child.spec.id,
                error=reason,
                restarts=self.intensity,
                within=self.period,
            )
            self._finish(ExitCode.GAVE_UP)
            return
        delay = child.schedule_restart(now, FIRST_DELAY, LONGEST_DELAY, self.period)
        log.error("worker.failed", worker=child.spec.id, error=reason, restart_in=round(delay, 3))

    def _look_after(self, child: Child, now: float) -> None:
        if child.restart_due(now):
            child.start()
            log.warn("worker.restarted", worker=child.spec.id, restarts=child.restarts)
            if child.spec.on_restart is not None:
                self._guard(child.spec.on_restart)
        elif child.overdue(now):
            if not child.warned:
                log.error("worker.overdue", worker=child.spec.id, unstick=child.spec.unstick is not None)
                child.warned = True
                child.give_up_at = now + GRACE
                self._guard(child.unstick)
            elif now >= child.give_up_at:
                log.error(
                    "worker.hung", worker=child.spec.id, error=f"no sign of life {GRACE:g} s after it was due"
                )
                child.lost = True
                self._finish(ExitCode.GAVE_UP)
        elif child.warned:
            child.warned = False
            log.info("worker.recovered", worker=child.spec.id)

    def _finish(self, code: int) -> None:
        self._code = self._code or code  # the first failure counts

    def _sleep(self) -> float:
        """Return how long nothing is due, in seconds."""
        now = self._clock()
        due = [at for child in self._children if (at := child.next_due()) is not None]
        # A deadline that has just passed is acted on at once, but never in a busy loop.
        return max(0.01, min([self._tick, *(at - now for at in due)]))

    def _guard(self, callback: Callable[..., None], *args: object) -> None:
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001 - the parent outlives whatever it is given to call
            log.error(
                "supervisor.callback_failed", callback=getattr(callback, "__qualname__", "?"), error=error
            )

    def _count_signals(self) -> int:
        return self._signals

    def _take_signals(
        self,
    ) -> dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int | None]:
        """Handle stop signals from now on, dump all stacks on SIGUSR1; return the handlers replaced."""

        def handle(signum: int, _frame: FrameType | None) -> None:
            self._signals += 1
            self._inbox.put(Signalled(signum, self._signals))

        diagnose()
        return {signum: signal.signal(signum, handle) for signum in (signal.SIGTERM, signal.SIGINT)}


def diagnose() -> None:
    """Dump the stacks of all threads to the standard error on a crash of the interpreter and on SIGUSR1."""
    try:
        faulthandler.enable()
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    except (OSError, ValueError, RuntimeError, AttributeError):
        return  # no standard error to write to: a closed stream, or one without a file below it
