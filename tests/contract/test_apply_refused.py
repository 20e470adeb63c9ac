"""A plan that Backrest refuses, though our own rules took it, and a save that meets ours: by restart and by API.

The writer is the real one, Backrest is a process: the double of each version, or the one that BACKREST_BIN names. The
engine is a stand-in that stops and starts that process.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sidecar.backrest.api import BackrestApi, Config
from sidecar.engine.types import ContainerState, Process
from sidecar.merge import merge
from sidecar.plans import desired
from sidecar.plans import render as plans
from sidecar.plans.rendering import Rendering
from tests.contract.harness import Running
from tests.unit.builders import container
from tests.unit.stage import CONFIG, Stage

BAD, WEB, LATE = "backrest_sidecar_bad", "backrest_sidecar_web", "backrest_sidecar_late"


class ProcessBackrest:
    """A process as the engine shows a container. ``start`` waits until it answers or has ended."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.calls: list[str] = []
        self._started = "2020-01-01T00:00:00Z"

    def find(self, name: str, /) -> ContainerState | None:
        alive = self.running.exit_code is None
        return ContainerState(
            id="b" * 64,
            name="backrest",
            status="running" if alive else "exited",
            running=alive,
            started_at=self._started,
            image_id="sha256:one",
            restart_count=0,
            exit_code=self.running.exit_code or 0,
            tz="UTC",
        )

    def top(self, container_id: str, /) -> tuple[Process, ...]:
        return (Process(1, 0, "/backrest"),)

    def stop(self, container_id: str, /, timeout: int | None = None) -> None:
        self.calls.append("stop")
        self.running.kill()

    def start(self, container_id: str, /) -> None:
        self.calls.append("start")
        self._started = dt.datetime.now(dt.UTC).isoformat()
        self.running.start()

    def logs(self, container_id: str, /, since: float = 0, tail: int = 200) -> str:
        return "\n".join(self.running.log.splitlines()[-tail:]) + "\n"


class Rig(Stage):
    """The stage of the writer's tests, with a process for Backrest."""

    def __init__(self, running: Running, api: Callable[[], BackrestApi] | None = None) -> None:
        url = f"http://127.0.0.1:{running.port}"
        flags: dict[str, Any] = {"apply_mode": "api", "backrest_url": url} if api is not None else {}
        config = {**CONFIG, "version": running.version.config}
        super().__init__(running.config.parent, config, **flags)
        self.process = ProcessBackrest(running)
        self.backrest = self.process  # type: ignore[assignment]  # all that the writer asks of it
        running.start()
        assert running.exit_code is None, running.log
        self.api = api
        self.reborn()

    @property
    def live(self) -> set[str]:
        """Ids of the plans that Backrest runs with."""
        return {plan["id"] for plan in self.process.running.api.get_config()["plans"]}

    def wished(self, *names: str) -> None:
        self.want(*(container(name, {"schedule": "0 3 1 1 *"}) for name in names))
        self.run()


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own rules take everything, and one container's plan has a schedule that Backrest refuses."""

    def render(*args: Any, **kwargs: Any) -> Rendering:
        found = plans.render(*args, **kwargs)
        changed = (
            replace(p, plan=p.plan.model_copy(update={"cron": "bad"})) if p.plan.id == BAD else p
            for p in found.plans
        )
        return replace(found, plans=tuple(changed))

    monkeypatch.setattr(desired, "render", render)
    monkeypatch.setattr(merge, "plan_problems", lambda *_: [])
    monkeypatch.setattr(merge, "validate", lambda *_, **__: ())


@pytest.mark.differs("1.10.1")
@pytest.mark.usefixtures("lenient")
def test_by_restart_it_is_rolled_back_and_quarantined(backrest: Running) -> None:
    rig = Rig(backrest)
    by_hand = [plan for plan in backrest.api.get_config()["plans"] if plan["id"] == "hand-made"]
    rig.wished("bad", "web")
    assert rig.process.calls == ["stop", "start", "stop", "start"]
    assert rig.failed is not None
    assert rig.failed.blocked == (BAD,)
    assert "plan 'backrest_sidecar_bad': backup schedule: invalid cron" in rig.failed.reason
    rig.wished("bad", "web")
    assert rig.live == {"hand-made", WEB}, "the others do not wait for it"
    rig.process.calls.clear()
    rig.wished("bad", "web")
    assert rig.process.calls == []
    rig.wished("bad", "web", "late")
    assert rig.process.calls == ["stop", "start"]
    assert rig.live == {"hand-made", WEB, LATE}
    assert rig.file.state().stopped is None
    assert [plan for plan in backrest.api.get_config()["plans"] if plan["id"] == "hand-made"] == by_hand


@pytest.mark.differs("1.13.0", "1.12.1")
@pytest.mark.usefixtures("lenient")
def test_by_api_it_is_quarantined_and_the_others_do_not_wait(backrest: Running) -> None:
    rig = Rig(backrest, api=lambda: backrest.api)
    before = rig.clock()
    rig.wished("bad", "web")
    assert rig.failed is not None
    assert rig.failed.blocked == (BAD,)
    assert rig.live == {"hand-made", WEB}
    assert rig.applied.done_at - before < 60, "without a back-off"
    rig.wished("bad", "web", "late")
    assert rig.live == {"hand-made", WEB, LATE}
    assert rig.process.calls == []


@pytest.mark.differs("1.13.0", "1.12.1")
def test_a_save_right_before_ours_is_met_and_kept(backrest: Running) -> None:
    """After our last read and before our SetConfig: only ``modno`` tells."""
    saves: list[int] = []

    class Raced(BackrestApi):
        def set_config(self, config: Config) -> Config:
            if not saves:
                saves.append(1)
                seen = backrest.api.get_config()
                seen["plans"].append({**seen["plans"][0], "id": "from-the-ui"})
                backrest.api.set_config(seen)
            return super().set_config(config)

    rig = Rig(backrest, api=lambda: Raced(f"http://127.0.0.1:{backrest.port}"))
    rig.wished("web")
    assert saves
    assert rig.live == {"hand-made", "from-the-ui", WEB}
    assert rig.failed is None, "a conflict is no failure"
    assert rig.applied.changed
