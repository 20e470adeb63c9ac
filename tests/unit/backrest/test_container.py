"""Backrest's container seen from outside: where it is, and whether it came up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sidecar.backrest.container import BackrestEngine, Failed, Pending, Up, UpWatch, locate
from sidecar.engine.client import Engine
from sidecar.engine.model import COMPOSE_ONEOFF, COMPOSE_PROJECT, COMPOSE_SERVICE, Container
from sidecar.engine.types import ContainerState, Process

NOW = dt.datetime(2026, 11, 22, 1, 0, 0, tzinfo=dt.UTC)
RUNNING = ContainerState(id="b" * 64, name="backrest", tz="UTC", started_at="2026-11-20T00:00:00Z")
IMAGE = (
    Process(100, 90, "/sbin/tini -- /docker-entrypoint /backrest"),
    Process(110, 100, "/docker-entrypoint /backrest"),
    Process(111, 110, "/backrest"),
)


class ScriptedEngine:
    """Answers ``find`` from a table, or from a list of states one after the other."""

    def __init__(
        self, *states: ContainerState | None, by_name: dict[str, ContainerState] | None = None
    ) -> None:
        self.states = list(states)
        self.by_name = by_name

    def find(self, name: str, /) -> ContainerState | None:
        if self.by_name is not None:
            return self.by_name.get(name)
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def top(self, container_id: str, /) -> tuple[Process, ...]:
        return IMAGE

    def stop(self, container_id: str, /, timeout: int | None = None) -> None:
        """Not asked here."""

    def start(self, container_id: str, /) -> None:
        """Not asked here."""

    def logs(self, container_id: str, /, since: float = 0, tail: int = 200) -> str:
        return ""


def test_the_engine_is_what_this_module_asks_for() -> None:
    def wants(engine: BackrestEngine) -> None:
        """mypy checks the call below."""

    def is_one(engine: Engine) -> None:
        wants(engine)

    wants(ScriptedEngine(RUNNING))
    for method in ("find", "top", "stop", "start", "logs"):
        assert callable(getattr(Engine, method))


# --- locate


def listed(name: str, service: str, project: str = "stack", created: int = 0, **labels: str) -> Container:
    known = {COMPOSE_SERVICE: service, COMPOSE_PROJECT: project, **labels}
    return Container(id=name * 4, name=name, labels=known, created=created)


def none_listed() -> list[Container]:
    pytest.fail("the name was enough")


def test_by_name_or_id() -> None:
    found = locate(ScriptedEngine(by_name={"backrest": RUNNING}), "backrest", none_listed)
    assert (found.state, found.container, found.renamed, found.reason) == ("running", RUNNING, False, "")


def test_by_service_when_renamed_and_the_newest_of_a_recreate() -> None:
    containers = [
        listed("old", "backrest", created=1),
        listed("new", "backrest", created=2),
        listed("run", "backrest", created=3, **{COMPOSE_ONEOFF: "True"}),
        listed("other", "web", created=4),
    ]
    engine = ScriptedEngine(by_name={"newnewnewnew": RUNNING})
    found = locate(engine, "backrest", lambda: containers)
    assert (found.state, found.renamed) == ("running", True)


def test_two_projects_are_not_guessed_between() -> None:
    containers = [listed("a", "backrest", "one"), listed("b", "backrest", "two")]
    found = locate(ScriptedEngine(by_name={}), "backrest", lambda: containers)
    assert found.state == "missing"
    assert "one, two" in found.reason


@pytest.mark.parametrize(
    ("changes", "state", "says"),
    [
        ({}, "running", ""),
        (
            {"status": "restarting", "restarting": True, "restart_count": 1, "exit_code": 1},
            "restarting",
            "code 1",
        ),
        (
            {"status": "restarting", "restarting": True, "restart_count": 3, "exit_code": 1},
            "crash-looping",
            "3. time",
        ),
        ({"status": "paused", "paused": True}, "paused", "docker unpause backrest"),
        ({"status": "exited", "running": False, "exit_code": 137}, "exited", "exit code 137"),
        ({"status": "dead", "running": False}, "exited", "not running"),
        ({"status": "created", "running": False}, "created", "never started"),
        ({"status": "removing", "running": False}, "missing", "being removed"),
    ],
)
def test_whereabouts(changes: dict[str, Any], state: str, says: str) -> None:
    found = locate(ScriptedEngine(by_name={"backrest": replace(RUNNING, **changes)}), "backrest")
    assert found.state == state
    assert says in found.reason


def test_missing() -> None:
    assert locate(ScriptedEngine(by_name={}), "backrest").state == "missing"


# --- UpWatch


def up_watch(*states: ContainerState | None, answers: Callable[[], bool] | None = None) -> UpWatch:
    return UpWatch(ScriptedEngine(*states), "b", started=100.0, answers=answers, patience=60.0)


def test_ten_quiet_seconds_are_up() -> None:
    watch = up_watch(RUNNING)
    assert watch.look(100.5) == Pending(9.5, "Backrest has just started")
    assert watch.look(110.0) == Up()


def test_an_unanswering_port_is_waited_for_and_then_a_failure() -> None:
    answers = [False, True]
    assert isinstance(up_watch(RUNNING, answers=lambda: pytest.fail("too early")).look(101), Pending)
    watch = up_watch(RUNNING, answers=lambda: answers.pop(0))
    assert isinstance(watch.look(111), Pending)
    assert watch.look(112) == Up()
    failed = up_watch(RUNNING, answers=lambda: False).look(160)
    assert isinstance(failed, Failed)
    assert failed.kind == "no-answer"


@pytest.mark.parametrize(
    ("then", "kind"),
    [
        (None, "gone"),
        (replace(RUNNING, status="exited", running=False, exit_code=1), "exited"),
        (replace(RUNNING, status="restarting", restarting=True, exit_code=1), "restarted"),
        (replace(RUNNING, restart_count=1, started_at="later"), "restarted"),
    ],
)
def test_what_is_not_up(then: ContainerState | None, kind: str) -> None:
    watch = up_watch(RUNNING, then)
    assert isinstance(watch.look(100), Pending)
    failed = watch.look(105)
    assert isinstance(failed, Failed)
    assert failed.kind == kind


def test_a_restart_by_somebody_else_is_no_failure_and_counts_anew() -> None:
    watch = up_watch(RUNNING, replace(RUNNING, started_at="later"))
    assert isinstance(watch.look(100), Pending)
    assert watch.look(105) == Pending(10.0, "Backrest has just started")
    assert isinstance(watch.look(112), Pending), "it has run for seven seconds"
    assert watch.look(115) == Up()
