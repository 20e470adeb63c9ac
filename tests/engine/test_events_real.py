"""The event listener on a real engine: what wakes it, how soon, and what never does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from sidecar.engine.client import Engine
from sidecar.supervision.mailbox import Mailbox
from tests.engine.harness import TestEngine
from tests.listening import Rig

pytestmark = pytest.mark.engine

SOON = 10.0


@pytest.fixture
def rig(engine: TestEngine) -> Iterator[Rig]:
    with Rig(Engine(engine.host, environ={})) as running:
        assert running.next() == "engine connected"
        yield running


def drain(rig: Rig) -> list[str]:
    """Take messages until there is silence."""
    got = []
    while reason := rig.next(timeout=0.5):
        got.append(reason)
    return got


def test_whatever_can_change_a_plan_wakes_it_within_a_second(engine: TestEngine, rig: Rig) -> None:
    steps: dict[str, Callable[[], object]] = {
        "container create": lambda: engine.run_container("web", start=False),
        "container start": lambda: engine.call("POST", "/containers/web/start"),
        "container rename": lambda: engine.call("POST", "/containers/web/rename?name=www"),
        "container die": lambda: engine.call("POST", "/containers/www/kill"),
        "container destroy": lambda: engine.remove("www"),
        "volume create": lambda: engine.call("POST", "/volumes/create", {"Name": "vol"}),
        "volume destroy": lambda: engine.call("DELETE", "/volumes/vol"),
    }
    for reason, step in steps.items():
        drain(rig)
        step()
        began = time.monotonic()

        assert rig.next() == reason
        assert time.monotonic() - began < 1.0


def test_exec_and_health_checks_never_wake_it(engine: TestEngine, rig: Rig) -> None:
    health = {"Test": ["CMD", "true"], "Interval": 1_000_000_000, "Timeout": 5_000_000_000, "Retries": 1}
    engine.run_container("web", Healthcheck=health)
    drain(rig)
    for _ in range(20):
        engine.docker("exec", "web", "true")

    health_state = engine.call("GET", "/containers/web/json")["State"]["Health"]["Status"]
    assert health_state == "healthy"
    assert rig.next(timeout=0.5) == ""


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_ten_thousand_exec_events_never_wake_it(engine: TestEngine, rig: Rig) -> None:
    engine.run_container("web")
    drain(rig)
    # A thousand that run make three events each; one that is only created makes one, at a hundredth of the cost.
    for number in range(8_000):
        made = engine.call("POST", "/containers/web/exec", {"Cmd": ["true"]})
        if number % 8 == 0:
            engine.call("POST", f"/exec/{made['Id']}/start", {"Detach": True})

    assert rig.next(timeout=1.0) == ""


def test_an_engine_killed_and_started_again_is_looked_at_within_five_seconds(own_engine: TestEngine) -> None:
    rig = Rig(Engine(own_engine.host, environ={}))
    rig.inbox = Mailbox(64)
    with rig:
        assert rig.next() == "engine connected"
        for _ in range(2):
            own_engine.kill9()
            own_engine.start()
            back = time.monotonic()

            assert rig.next(SOON) == "engine back"
            assert time.monotonic() - back < 5.0
            drain(rig)


def test_what_happens_between_two_windows_is_not_lost(engine: TestEngine) -> None:
    rig = Rig(Engine(engine.host, environ={}), window=3.0)
    rig.inbox = Mailbox(64)
    with rig:
        assert rig.next() == "engine connected"
        began, number = time.monotonic(), 0
        while time.monotonic() - began < 8.0:
            engine.call("POST", "/volumes/create", {"Name": "vol"})
            assert rig.next(2.0) == "volume create"
            engine.call("DELETE", "/volumes/vol")
            assert rig.next(2.0) == "volume destroy"
            number += 1
        assert drain(rig) == []

    assert number > 10
    assert len(rig.beats) >= 4
