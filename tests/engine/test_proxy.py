"""A socket proxy that forbids most of the engine: each missing permission is named once, and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.engine.client import Engine
from sidecar.plans.render import render
from sidecar.plans.rendering import ConfigView
from sidecar.settings.settings import resolve
from tests.engine.harness import TestEngine
from tests.engine.relay import Forbidding
from tests.engine.sidecar_process import events, plans_in, run, write_config
from tests.engine.swarm_rig import SERVICES

pytestmark = pytest.mark.engine

OPTIONAL = {"/volumes": "VOLUMES=1", "/info": "INFO=1", "/images": "IMAGES=1", "/services": "SERVICES=1"}


@pytest.fixture
def proxy(swarm_engine: TestEngine) -> Iterator[Forbidding]:
    made = Forbidding(swarm_engine.folder / "proxy.sock", swarm_engine.socket, tuple(OPTIONAL))
    made.start()
    yield made
    made.stop()


def test_each_missing_permission_is_named_once_and_plans_are_made(proxy: Forbidding, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    write_config(config)

    done = run("reconcile", "--config", str(config), "--docker-sock", str(proxy.path))

    assert done.returncode == 0, done.stdout
    # What the labels of a service alone ask for is not known; the labels of containers are.
    assert set(plans_in(config)) == {"backrest_sidecar_db", "backrest_sidecar_files"}
    for permission in OPTIONAL.values():
        said = [e for e in events(done.stdout) if permission in e.get("reason", "") and e["level"] == "warn"]
        assert len(said) <= 1, said
        assert said or permission == "IMAGES=1", done.stdout  # nothing here needs an image's labels
    refused = [e for e in events(done.stdout) if e.get("code") == "template-refused"]
    assert refused
    assert all("does not tell about services" in e["reason"] for e in refused)


def test_with_services_alone_a_manager_is_known(proxy: Forbidding) -> None:
    proxy.forbidden = ("/info", "/volumes", "/images")
    adapter = Engine(str(proxy.path), environ={})
    first, second = adapter.snapshot(), adapter.snapshot()
    adapter.close()

    assert first.swarm == "manager"
    assert {"shop_web", "shop_db", "shop_files"} == set(first.services)
    assert first.notes == second.notes
    found = render(first, ConfigView(("main",)), {}, resolve("reconcile", {}, {}))
    assert {plan.plan.id for plan in found.plans} == {f"backrest_sidecar_{name}" for name in SERVICES}


def test_without_the_list_itself_nothing_is_concluded(proxy: Forbidding, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    write_config(config)
    before = config.read_bytes()
    proxy.forbidden = ("/containers",)

    done = run("reconcile", "--config", str(config), "--docker-sock", str(proxy.path))

    assert done.returncode == 3
    assert "CONTAINERS=1" in done.stdout
    assert config.read_bytes() == before
