"""Start, restart, give up, and the overdue: the supervisor with tiny failing workers and a clock by hand."""

import threading
from collections.abc import Callable, Iterator

import pytest

from sidecar.exit_codes import ExitCode
from sidecar.supervision import supervisor as module
from sidecar.supervision.child import ChildSpec, Context
from tests.failing_workers import EarlyFailing, Good, Hangs, LateFailing, Parent, ReturnsEarly, spec


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


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
    assert parent.supervisor.shutdown() == ExitCode.GAVE_UP
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
        assert parent.supervisor.shutdown() == ExitCode.GAVE_UP
        assert parent.exits == [ExitCode.GAVE_UP]
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
