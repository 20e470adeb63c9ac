"""Stop, signals, reports, and children that are meant to end: the supervisor with tiny workers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from sidecar.exit_codes import ExitCode
from sidecar.messages import Applied, Report
from sidecar.supervision import supervisor as module
from sidecar.supervision.child import ChildSpec, Context, Restart
from sidecar.supervision.mailbox import Mailbox
from sidecar.supervision.messages import Stop
from sidecar.supervision.supervisor import Supervisor
from tests.failing_workers import EarlyFailing, FailsOnStop, Good, Parent, spec


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


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
        assert parent.supervisor.shutdown() == ExitCode.UNCLEAN
        assert parent.exits == [ExitCode.UNCLEAN]
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
    assert Parent(spec("once", EarlyFailing(), "temporary")).supervisor.run() == ExitCode.FAILED


@pytest.mark.parametrize(("restart", "code"), [("transient", 0), ("temporary", ExitCode.FAILED)])
def test_failing_on_stop_counts_for_a_child_that_is_never_restarted(restart: Restart, code: int) -> None:
    parent = Parent(spec("bad", FailsOnStop(), restart))
    parent.supervisor.request_stop()
    assert parent.supervisor.run() == code


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
    for code in (0, ExitCode.GAVE_UP, 0, ExitCode.FAILED):
        parent.supervisor.request_stop(code)
    assert parent.supervisor.run() == ExitCode.GAVE_UP


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
        "from sidecar.supervision.child import ChildSpec\n"
        "from sidecar.supervision.supervisor import Supervisor\n"
        "def worker_with_a_name(ctx):\n"
        "    os.kill(os.getpid(), signal.SIGUSR1)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    ctx.stop.wait(30)\n"
        "raise SystemExit(Supervisor([ChildSpec('w', worker_with_a_name)]).run())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert "worker_with_a_name" in done.stderr
