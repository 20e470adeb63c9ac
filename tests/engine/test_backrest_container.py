"""Backrest's container as a real engine shows it: found, idle, up, crash-looping, cut off. Backrest is the double."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.container import (
    Failed,
    Pending,
    Up,
    UpWatch,
    config_error_in_log,
    cut_off_operations,
    idle_report,
    locate,
)
from sidecar.engine.client import Engine
from sidecar.engine.model import COMPOSE_PROJECT, COMPOSE_SERVICE
from tests.contract.harness import RunningDouble
from tests.engine.double_container import DoubleContainer
from tests.engine.harness import TestEngine
from tests.waiting import eventually

pytestmark = pytest.mark.engine

GOOD: dict[str, Any] = {
    "version": 6,
    "instance": "test",
    "repos": [{"id": "r1", "uri": "/repo", "guid": "a" * 64}],
    "plans": [{"id": "p1", "repo": "r1", "paths": ["/data"]}],
}
BAD: dict[str, Any] = {**GOOD, "plans": [{"id": "guilty", "repo": "nope", "paths": ["/data"]}]}


@pytest.fixture(scope="module")
def reachable_engine(can_run_engine: None) -> Iterator[TestEngine]:
    """An engine in this machine's network: the double's port is asked from outside its container."""
    with TestEngine(keep_network=True) as running:
        yield running


@pytest.fixture
def engine(reachable_engine: TestEngine) -> Iterator[TestEngine]:
    """That engine with nothing in it but images; in place of the session's one."""
    yield reachable_engine
    reachable_engine.clean()


@pytest.fixture
def ours(engine: TestEngine) -> Iterator[Engine]:
    """The sidecar's own view of the tests' engine."""
    with contextlib.closing(Engine(engine.host)) as client:
        yield client


@pytest.fixture
def double(engine: TestEngine, tmp_path: Path) -> DoubleContainer:
    return DoubleContainer(engine, tmp_path)


@contextlib.contextmanager
def backup(double: DoubleContainer, seconds: float) -> Iterator[None]:
    """A backup that takes ``seconds``, in the background."""
    caller = RunningDouble([], double.home, {})
    caller.port = double.port
    caller.backups_take(seconds)

    def run() -> None:
        with contextlib.suppress(OSError, ValueError):
            caller.post("v1.Backrest/Backup", {"value": "p1"})

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)


def test_idle_and_busy(ours: Engine, double: DoubleContainer) -> None:
    double.run(GOOD)
    assert locate(ours, "backrest").state == "running"
    assert idle_report(ours.top(double.id)).idle
    with backup(double, 1.0):
        eventually(lambda: idle_report(ours.top(double.id)).busy == ("restic",))
        assert [op.kind for op in double.api.operations_in_progress()] == ["backup"]
    eventually(lambda: idle_report(ours.top(double.id)).idle)


def test_a_shell_in_the_container_is_busy(engine: TestEngine, ours: Engine, double: DoubleContainer) -> None:
    double.run(GOOD)
    engine.docker("exec", "-d", "backrest", "sh", "-c", "sleep 30; true")
    eventually(lambda: idle_report(ours.top(double.id)).busy == ("sh", "sleep"))


def test_up(ours: Engine, double: DoubleContainer) -> None:
    double.run(GOOD)
    watch = UpWatch(ours, double.id, started=0.0, answers=double.api.answers)
    assert isinstance(watch.look(1.0), Pending)
    assert watch.look(10.0) == Up()


def test_a_refused_config_under_a_restart_policy(ours: Engine, double: DoubleContainer) -> None:
    double.run(BAD, wait=False, RestartPolicy={"Name": "unless-stopped"})
    watch = UpWatch(ours, double.id, started=0.0)
    failed = eventually(lambda: found if isinstance(found := watch.look(1.0), Failed) else None)
    assert failed is not None
    assert failed.kind == "restarted"
    fault = eventually(lambda: config_error_in_log(ours.logs(double.id)))
    assert fault is not None
    assert (fault.plan_id, fault.may_be_ours) == ("guilty", True)
    eventually(lambda: locate(ours, "backrest").state == "crash-looping", timeout=20)


def test_a_refused_config_without_one(ours: Engine, double: DoubleContainer) -> None:
    double.run(BAD, wait=False)
    eventually(lambda: locate(ours, "backrest").state == "exited")
    failed = UpWatch(ours, double.id, started=0.0).look(1.0)
    assert failed == Failed("exited", "Backrest exited with code 1")
    assert config_error_in_log(ours.logs(double.id)) is not None


def test_a_kill_cuts_off(engine: TestEngine, ours: Engine, double: DoubleContainer) -> None:
    double.run(GOOD)
    with backup(double, 60.0):
        eventually(lambda: idle_report(ours.top(double.id)).busy == ("restic",))
        engine.docker("kill", "backrest")
    ours.start(double.id)
    eventually(double.api.answers)
    cut = cut_off_operations(ours.logs(double.id), double.api.operations())
    assert (cut.count, cut.plan_ids) == (1, ("p1",))


def test_found_again_under_another_name(engine: TestEngine, ours: Engine) -> None:
    labels = {COMPOSE_SERVICE: "backrest", COMPOSE_PROJECT: "stack"}
    made = engine.run_container("stack_backrest_1", labels=labels)
    found = locate(ours, "backrest", lambda: ours.snapshot().containers)
    assert (found.state, found.renamed) == ("running", True)
    assert found.container is not None
    assert found.container.id == made
    engine.docker("pause", "stack_backrest_1")
    assert locate(ours, made).state == "paused"
    engine.docker("unpause", "stack_backrest_1")
