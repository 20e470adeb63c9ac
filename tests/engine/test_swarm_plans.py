"""Plans of a stack on a swarm of one node: their ids over redeploys and scaling, and hooks that scale."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import orjson
import pytest

from sidecar.config.plan import Plan
from sidecar.engine.client import Engine
from sidecar.log import get_logger
from sidecar.plans.render import render
from sidecar.plans.rendering import ConfigView, Owner, Owners, Rendering
from sidecar.quiesce.watchdog import MarkerWatch
from sidecar.settings.settings import resolve
from tests.engine import busybox
from tests.engine.harness import TestEngine
from tests.engine.sidecar_process import events, plans_in, run, write_config
from tests.engine.swarm_rig import SERVICES, redeploy, replicas, running, tasks
from tests.waiting import eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(180)]


@pytest.fixture
def adapter(swarm_engine: TestEngine) -> Iterator[Engine]:
    made = Engine(swarm_engine.host, environ={})
    yield made
    made.close()


def rendering(adapter: Engine, owned: Owners | None = None) -> Rendering:
    return render(adapter.snapshot(), ConfigView(("main",)), owned or {}, resolve("reconcile", {}, {}))


def plans(adapter: Engine) -> dict[str, Plan]:
    return {plan.plan.id: plan.plan for plan in rendering(adapter).plans}


def runs(swarm_engine: TestEngine, service: str, count: int) -> bool:
    return running(swarm_engine, service) == count


def owners(config: Path) -> dict[str, str]:
    state = orjson.loads((config.parent / ".backrest-sidecar" / "state.json").read_bytes())
    return {plan_id: owner["workload"] for plan_id, owner in state["owners"].items()}


@pytest.mark.parametrize("redeploys", [2, pytest.param(10, marks=pytest.mark.torture)])
def test_ids_and_owners_stay_over_redeploys_and_scaling(
    swarm_engine: TestEngine, adapter: Engine, tmp_path: Path, redeploys: int
) -> None:
    config = tmp_path / "config.json"
    write_config(config)
    reconcile = ("reconcile", "--config", str(config), "--docker-sock", swarm_engine.host)
    first = run(*reconcile)
    assert first.returncode == 0, first.stdout
    before, owned = config.read_bytes(), owners(config)
    assert owned == {f"backrest_sidecar_{service}": f"shop/{service}" for service in SERVICES}
    web = plans_in(config)["backrest_sidecar_web"]
    assert web["paths"] == [f"{swarm_engine.root}/volumes/shop_web/_data"]
    assert web["retention"]["policyTimeBucketed"] == {"daily": 3}  # the container's label wins
    wanted = plans(adapter)
    seen = {service: set(tasks(swarm_engine, service)) for service in SERVICES}

    def renewed(service: str) -> bool:
        """Whether a task came that was not there before; the plans are the same at every look on the way."""
        assert plans(adapter) == wanted
        return bool(set(tasks(swarm_engine, service)) - seen[service])

    for _ in range(redeploys):
        for service in SERVICES:
            redeploy(swarm_engine, service)
        for service in SERVICES:
            eventually(partial(renewed, service), 30, every=0.1)
            seen[service] |= set(tasks(swarm_engine, service))
    for count in (3, 1):
        swarm_engine.docker("service", "scale", "--detach", f"shop_web={count}")
        eventually(partial(runs, swarm_engine, "web", count), 60, every=0.2)
        assert plans(adapter) == wanted
        again = run(*reconcile)
        assert again.returncode == 2, again.stdout
        assert not [e for e in events(again.stdout) if e["action"] in {"plan.skipped", "plan.reverted"}]

    assert config.read_bytes() == before
    assert owners(config) == owned
    assert all(len(seen[service]) > redeploys for service in SERVICES)


def test_a_global_service_has_a_plan_and_no_hooks_and_it_is_said(adapter: Engine) -> None:
    found = rendering(adapter)
    hooks = {plan.plan.id: len(plan.plan.hooks) for plan in found.plans}
    assert hooks == {"backrest_sidecar_web": 0, "backrest_sidecar_db": 2, "backrest_sidecar_files": 0}
    assert ["mode is global" in f.message for f in found.findings if f.code == "template-refused"] == [True]


class Hooks:
    """The hooks of a plan, run as Backrest runs them."""

    def __init__(self, swarm_engine: TestEngine, adapter: Engine, folder: Path) -> None:
        self._start, self._stop = plans(adapter)["backrest_sidecar_db"].hooks
        self.markers = folder / ".backrest-sidecar" / "stopped"
        self._env = {
            **os.environ,
            "PATH": busybox.search_path(),
            "DOCKER_HOST": swarm_engine.host,
            "BACKREST_CONFIG": str(folder / "config.json"),
        }

    def _run(self, command: str) -> int:
        return subprocess.run(
            ["sh"], input=command, text=True, env=self._env, timeout=60, stdout=subprocess.DEVNULL
        ).returncode

    def stop(self) -> int:
        return self._run(self._stop.command)

    def start(self) -> int:
        return self._run(self._start.command)

    def marked(self) -> list[str]:
        return [f"{path.name} {path.read_text().strip()}" for path in self.markers.iterdir()]


def test_its_hooks_scale_a_service_down_and_back(
    swarm_engine: TestEngine, adapter: Engine, tmp_path: Path
) -> None:
    eventually(partial(runs, swarm_engine, "db", 1), 30)
    hooks = Hooks(swarm_engine, adapter, tmp_path)

    assert hooks.stop() == 0

    assert (replicas(swarm_engine, "db"), running(swarm_engine, "db")) == (0, 0)
    assert hooks.marked() == ["service=shop_db 1"]
    assert "backrest_sidecar_db" not in plans(adapter)
    owned = {"backrest_sidecar_db": Owner("shop/db")}
    assert "shop/db" in rendering(adapter, owned).present  # down for its backup, and no orphan
    assert hooks.start() == 0
    assert hooks.marked() == []
    assert replicas(swarm_engine, "db") == 1
    eventually(partial(runs, swarm_engine, "db", 1), 30)


def test_what_backrest_never_scaled_back_the_watch_does(
    swarm_engine: TestEngine, adapter: Engine, tmp_path: Path
) -> None:
    eventually(partial(runs, swarm_engine, "db", 1), 30)
    hooks = Hooks(swarm_engine, adapter, tmp_path)
    swarm_engine.docker("service", "scale", "--detach", "shop_db=2")
    assert hooks.stop() == 0
    watch = MarkerWatch(hooks.markers, adapter, lambda: "gone", 0.0, lambda: 1.0, get_logger("test"))

    watch.step()

    assert replicas(swarm_engine, "db") == 2
    assert hooks.marked() == []
    swarm_engine.docker("service", "scale", "--detach", "shop_db=1")
