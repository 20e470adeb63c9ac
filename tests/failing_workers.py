"""A supervisor that a test steps by hand, and tiny workers that fail in every way. Nothing here sleeps."""

import threading
import time
from collections.abc import Callable

from sidecar.messages import Report
from sidecar.supervision.child import ChildSpec, Context, Restart
from sidecar.supervision.supervisor import Supervisor


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Parent:
    """A supervisor stepped by the test."""

    def __init__(self, *specs: ChildSpec) -> None:
        self.clock = Clock()
        self.exits: list[int] = []
        self.reports: list[Report] = []
        self.supervisor = Supervisor(
            specs,
            clock=self.clock,
            exit_process=self.exits.append,
            on_report=self.reports.append,
            tick=0.01,
        )

    def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + 10
        while not true():
            assert time.monotonic() < end, "it never came true"
            self.supervisor.step()

    def state(self, name: str) -> str:
        return next(worker.state for worker in self.supervisor.workers() if worker.name == name)

    def restarts(self, name: str) -> int:
        return next(worker.restarts for worker in self.supervisor.workers() if worker.name == name)

    def fails_again(self, name: str, times: int = 1) -> None:
        """Let it fail and wait for its restart so many times."""
        for _ in range(times):
            self.until(lambda: self.state(name) == "backoff" or self.code is not None)
            if self.code is None:
                self.clock.now += 16
                before = self.restarts(name)
                self.until(lambda: self.restarts(name) > before)  # noqa: B023 - called before the next turn

    @property
    def code(self) -> int | None:
        return self.supervisor._code


class Good:
    """Beats once, waits for its stop, notes what happens."""

    def __init__(self, name: str = "good", notes: list[str] | None = None) -> None:
        self.name = name
        self.notes = notes if notes is not None else []
        self.started = threading.Event()

    def __call__(self, ctx: Context) -> None:
        self.notes.append(f"+{self.name}")
        ctx.beat(3600)
        self.started.set()
        ctx.stop.wait(30)
        self.notes.append(f"-{self.name}")


class EarlyFailing:
    def __call__(self, ctx: Context) -> None:
        raise RuntimeError("early")


class LateFailing:
    """Fails when the test says so."""

    def __init__(self) -> None:
        self.fail = threading.Event()

    def __call__(self, ctx: Context) -> None:
        ctx.beat(3600)
        while not ctx.stop.is_set():
            if self.fail.wait(0.01):
                self.fail.clear()
                raise LookupError("late")


class ReturnsEarly:
    def __call__(self, ctx: Context) -> None:
        ctx.beat(1)


class Hangs:
    """Promises to beat within 5 s and hangs until it is freed."""

    def __init__(self, *, dies: bool = False) -> None:
        self.free = threading.Event()
        self.dies = dies
        self.hanging = threading.Event()

    def __call__(self, ctx: Context) -> None:
        ctx.beat(5)
        self.hanging.set()
        self.free.wait(30)
        if self.dies:
            raise ConnectionError("cut")
        ctx.beat(3600)
        ctx.stop.wait(30)


class FailsOnStop:
    def __call__(self, ctx: Context) -> None:
        ctx.beat(3600)
        ctx.stop.wait(30)
        raise ValueError("on stop")


def spec(name: str, run: Callable[[Context], int | None], restart: Restart = "permanent") -> ChildSpec:
    return ChildSpec(name, run, restart=restart)
