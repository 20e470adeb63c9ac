"""The supervisor with tiny workers that fail in every way. A clock by hand; nothing sleeps."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sidecar import supervisor as module
from sidecar.child import ChildSpec, Context, Restart
from sidecar.mailbox import Mailbox
from sidecar.messages import Applied, Report, Stop
from sidecar.supervisor import EXIT_FAILED, EXIT_GAVE_UP, EXIT_UNCLEAN, Supervisor


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


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


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


def test_starts_in_order_stops_in_reverse() -> None:
    notes: list[str] = []
    workers = [Good(name, notes) for name in ("writer", "renderer", "watcher")]
    parent = Parent(*[spec(worker.name, worker) for worker in workers])
    parent.supervisor.start()
    for worker in workers:
        assert worker.started.wait(10)
    assert parent.supervisor.shutdown() == 0
    assert sorted(notes[:3]) == ["+renderer", "+watcher", "+writer"]
    assert notes[3:] == ["-watcher", "-renderer", "-writer"]
    assert [worker.state for worker in parent.supervisor.workers()] == ["stopped"] * 3


@pytest.mark.parametrize("failing", [EarlyFailing(), ReturnsEarly()])
def test_a_failing_worker_is_restarted_alone_with_growing_delay(failing: Callable[[Context], None]) -> None:
    good = Good()
    parent = Parent(spec("good", good), spec("bad", failing))
    parent.supervisor.start()
    for restarts, delay in enumerate((0.2, 0.4, 0.8)):
        parent.until(lambda: parent.state("bad") == "backoff")
        parent.clock.now += delay - 0.01
        parent.supervisor.step()
        assert (parent.state("bad"), parent.restarts("bad")) == ("backoff", restarts)
        parent.clock.now += 0.02
        parent.until(lambda: parent.restarts("bad") > restarts)  # noqa: B023 - called before the next turn
    assert parent.restarts("good") == 0
    parent.supervisor.shutdown()
    assert good.notes == ["+good", "-good"]


def test_system_exit_in_a_worker_is_a_failure_like_any_other() -> None:
    def leaves(ctx: Context) -> None:
        raise SystemExit(9)

    parent = Parent(spec("bad", leaves))
    parent.supervisor.start()
    parent.until(lambda: parent.state("bad") == "backoff")
    assert parent.supervisor.workers()[0].error == "SystemExit: 9"
    assert parent.supervisor.shutdown() == 0


def test_a_stable_run_forgets_earlier_failures() -> None:
    late = LateFailing()
    parent = Parent(spec("late", late))
    parent.supervisor.start()
    for _ in range(4):
        late.fail.set()
        parent.until(lambda: parent.state("late") == "backoff")
        parent.clock.now += 8
        parent.until(lambda: parent.state("late") == "running")
    parent.clock.now += 30
    late.fail.set()
    parent.until(lambda: parent.state("late") == "backoff")
    parent.clock.now += 0.2
    parent.until(lambda: parent.state("late") == "running")
    parent.supervisor.shutdown()


def test_gives_up_past_the_intensity_and_stops_everything() -> None:
    notes: list[str] = []
    parent = Parent(spec("a", Good("a", notes)), spec("bad", EarlyFailing()), spec("b", Good("b", notes)))
    parent.supervisor.start()
    for _ in range(5):
        parent.until(lambda: parent.state("bad") == "backoff")
        parent.clock.now += 5.9  # the sixth failure comes 29.5 s after the first
        before = parent.restarts("bad")
        parent.until(lambda: parent.restarts("bad") > before)  # noqa: B023 - called before the next turn
    parent.until(lambda: parent.code is not None)
    assert parent.supervisor.shutdown() == EXIT_GAVE_UP
    assert notes[2:] == ["-b", "-a"]
    assert parent.exits == []


def test_the_window_slides_so_rare_failures_never_add_up() -> None:
    parent = Parent(spec("bad", EarlyFailing()))
    parent.supervisor.start()
    parent.fails_again("bad", times=12)  # one in 16 s: two in any window
    assert parent.code is None
    assert parent.supervisor.shutdown() == 0


def test_on_restart_is_called_after_a_restart_only_and_may_fail() -> None:
    calls: list[str] = []

    def look_again() -> None:
        calls.append("again")
        raise OSError("not my day")

    late = LateFailing()
    parent = Parent(ChildSpec("late", late, on_restart=look_again))
    parent.supervisor.start()
    parent.supervisor.step()
    assert calls == []
    late.fail.set()
    parent.until(lambda: parent.state("late") == "backoff")
    parent.clock.now += 1
    parent.until(lambda: bool(calls))
    assert parent.supervisor.shutdown() == 0
    assert calls == ["again"]


def test_an_overdue_worker_is_unstuck_and_recovers() -> None:
    hangs = Hangs()
    parent = Parent(ChildSpec("hangs", hangs, unstick=hangs.free.set))
    parent.supervisor.start()
    assert hangs.hanging.wait(10)
    parent.clock.now += 4.9
    parent.supervisor.step()
    assert not hangs.free.is_set()
    parent.clock.now += 0.2
    assert parent.state("hangs") == "overdue"
    parent.until(lambda: hangs.free.is_set() and parent.state("hangs") == "running")
    parent.clock.now += 60
    parent.supervisor.step()
    assert (parent.code, parent.exits) == (None, [])
    assert parent.supervisor.shutdown() == 0


def test_an_overdue_worker_that_fails_when_unstuck_is_restarted() -> None:
    hangs = Hangs(dies=True)
    parent = Parent(ChildSpec("hangs", hangs, unstick=hangs.free.set))
    parent.supervisor.start()
    assert hangs.hanging.wait(10)
    parent.clock.now += 6
    parent.until(lambda: parent.state("hangs") == "backoff")
    parent.clock.now += 1
    parent.until(lambda: parent.restarts("hangs") == 1)
    assert parent.supervisor.shutdown() == 0


def test_a_worker_that_hangs_for_good_ends_the_process_after_the_others_were_stopped() -> None:
    notes: list[str] = []
    hangs, writer = Hangs(), Good("writer", notes)
    parent = Parent(spec("writer", writer), spec("hangs", hangs))
    parent.supervisor.start()
    assert hangs.hanging.wait(10)
    parent.clock.now += 6
    parent.until(lambda: parent.state("hangs") == "overdue")
    parent.supervisor.step()
    parent.clock.now += module.GRACE - 0.1
    parent.supervisor.step()
    assert parent.code is None
    parent.clock.now += 0.2
    parent.until(lambda: parent.code is not None)
    try:
        assert parent.supervisor.shutdown() == EXIT_GAVE_UP
        assert parent.exits == [EXIT_GAVE_UP]
        assert notes == ["+writer", "-writer"]
    finally:
        hangs.free.set()
        parent.until(lambda: parent.state("hangs") == "stopped")


def test_a_worker_that_never_beats_is_overdue_too() -> None:
    def silent(ctx: Context) -> None:
        ctx.stop.wait(30)

    parent = Parent(spec("silent", silent))
    parent.supervisor.start()
    parent.clock.now += 29
    assert parent.state("silent") == "running"
    parent.clock.now += 2
    assert parent.state("silent") == "overdue"
    parent.supervisor.shutdown()


def test_a_paused_process_is_given_the_grace() -> None:
    """After SIGSTOP and SIGCONT everybody looks overdue at once."""
    go_on = threading.Event()

    def beats(ctx: Context) -> None:
        ctx.beat(5)
        go_on.wait(30)
        ctx.beat(3600)
        ctx.stop.wait(30)

    parent = Parent(spec("beats", beats))
    parent.supervisor.start()
    parent.clock.now += 1000
    parent.until(lambda: parent.state("beats") == "overdue")
    parent.supervisor.step()
    go_on.set()
    parent.until(lambda: parent.state("beats") == "running")
    parent.supervisor.step()
    parent.clock.now += 3601  # overdue once more: it has its grace again
    for _ in range(3):
        parent.supervisor.step()
    assert parent.state("beats") == "overdue"
    assert parent.code is None
    parent.supervisor.shutdown()


def test_a_worker_that_fails_on_stop_does_not_spoil_the_exit() -> None:
    notes: list[str] = []
    good = Good("good", notes)
    parent = Parent(spec("good", good), spec("bad", FailsOnStop()))
    parent.supervisor.start()
    assert good.started.wait(10)
    parent.supervisor.step()
    assert parent.supervisor.shutdown() == 0
    assert notes == ["+good", "-good"]


def test_a_worker_that_overruns_its_stop_ends_the_process_last() -> None:
    free = threading.Event()
    notes: list[str] = []
    parent = Parent()

    def deaf(ctx: Context) -> None:
        ctx.beat(3600)
        ctx.stop.wait(30)
        parent.clock.now += 10
        free.wait(30)

    good = Good("good", notes)
    parent.supervisor = Supervisor(
        [spec("good", good), spec("deaf", deaf)],
        clock=parent.clock,
        exit_process=parent.exits.append,
        tick=0.01,
    )
    parent.supervisor.start()
    assert good.started.wait(10)
    try:
        assert parent.supervisor.shutdown() == EXIT_UNCLEAN
        assert parent.exits == [EXIT_UNCLEAN]
        assert notes == ["+good", "-good"]
    finally:
        free.set()
        parent.until(lambda: parent.state("deaf") == "stopped")


def test_stopping_ends_the_inbox_and_unsticks_who_does_not_listen() -> None:
    box: Mailbox[str] = Mailbox(1)
    freed = threading.Event()
    got: list[object] = []
    parent = Parent()

    def reads(ctx: Context) -> None:
        ctx.beat(3600)
        got.append(box.take(30))
        parent.clock.now += 1
        freed.wait(30)

    parent.supervisor = Supervisor(
        [ChildSpec("reads", reads, inbox=box, unstick=freed.set)],
        clock=parent.clock,
        exit_process=parent.exits.append,
        tick=0.01,
    )
    parent.supervisor.start()
    assert parent.supervisor.shutdown() == 0
    assert (got, freed.is_set(), parent.exits) == ([Stop.STOP], True, [])


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (2, 2)])
def test_a_child_that_is_meant_to_end_ends_the_supervisor(result: int | None, code: int) -> None:
    good = Good()
    parent = Parent(spec("good", good), spec("once", lambda ctx: result, "transient"))
    assert parent.supervisor.run() == code
    assert good.notes[-1] == "-good"


def test_a_transient_child_that_raises_is_restarted_a_temporary_one_ends_with_3() -> None:
    tries = iter((RuntimeError("once"), None))

    def second_time_lucky(ctx: Context) -> int:
        error = next(tries)
        if error is not None:
            raise error
        return 2

    parent = Parent(spec("once", second_time_lucky, "transient"))
    parent.supervisor.start()
    parent.until(lambda: parent.state("once") == "backoff")
    parent.clock.now += 1
    parent.until(lambda: parent.code is not None)
    assert parent.supervisor.shutdown() == 2
    assert Parent(spec("once", EarlyFailing(), "temporary")).supervisor.run() == EXIT_FAILED


def test_reports_reach_the_parent_which_outlives_its_callback() -> None:
    said = Applied(number=1, changed=True, at=1.0, done_at=2.0)
    heard = threading.Event()

    def reporter(ctx: Context) -> None:
        ctx.beat(3600)
        ctx.report(said)
        ctx.report(said)
        ctx.stop.wait(30)

    def hear(report: Report) -> None:
        if parent.reports:
            heard.set()
        parent.reports.append(report)
        raise OSError("disk full")

    parent = Parent()
    parent.supervisor = Supervisor(
        [spec("reporter", reporter)], clock=parent.clock, on_report=hear, tick=0.01
    )
    parent.supervisor.start()
    parent.until(heard.is_set)
    assert parent.reports == [said, said]
    assert parent.supervisor.shutdown() == 0


def test_a_thread_that_cannot_be_started_is_a_failure_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    good = Good()
    parent = Parent(spec("good", good))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        parent.supervisor.start()
        parent.until(lambda: parent.state("good") == "backoff")
    parent.clock.now += 1
    parent.until(good.started.is_set)
    assert parent.supervisor.shutdown() == 0


def test_the_first_failure_is_the_exit_code() -> None:
    parent = Parent(spec("good", Good()))
    for code in (0, EXIT_GAVE_UP, 0, EXIT_FAILED):
        parent.supervisor.request_stop(code)
    assert parent.supervisor.run() == EXIT_GAVE_UP


def test_two_children_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="one id"):
        Supervisor([spec("a", Good()), spec("a", Good())])


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_with_0(signum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "diagnose", lambda: None)
    before = signal.getsignal(signum)

    def kills(ctx: Context) -> None:
        ctx.beat(3600)
        os.kill(os.getpid(), signum)
        ctx.stop.wait(30)

    notes: list[str] = []
    supervisor = Supervisor([spec("good", Good("good", notes)), spec("kills", kills)], tick=30)
    start = time.monotonic()
    assert supervisor.run() == 0
    assert time.monotonic() - start < 20  # it did not wait for its tick
    assert notes == ["+good", "-good"]
    assert signal.getsignal(signum) is before


def test_a_second_signal_is_counted_for_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "diagnose", lambda: None)
    seen: list[int] = []

    def quiesce(ctx: Context) -> int:
        ctx.beat(3600)
        os.kill(os.getpid(), signal.SIGINT)
        ctx.stop.wait(30)
        seen.append(ctx.signals())
        os.kill(os.getpid(), signal.SIGINT)
        while ctx.signals() < 2:
            ctx.beat(3600)
        seen.append(ctx.signals())
        return 3

    assert Supervisor([spec("quiesce", quiesce, "temporary")], tick=30).run() == 3
    assert seen == [1, 2]


def test_sigusr1_dumps_every_stack_and_the_process_lives_on() -> None:
    script = (
        "import os, signal\n"
        "from sidecar.child import ChildSpec\n"
        "from sidecar.supervisor import Supervisor\n"
        "def worker_with_a_name(ctx):\n"
        "    os.kill(os.getpid(), signal.SIGUSR1)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    ctx.stop.wait(30)\n"
        "raise SystemExit(Supervisor([ChildSpec('w', worker_with_a_name)]).run())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert "worker_with_a_name" in done.stderr
