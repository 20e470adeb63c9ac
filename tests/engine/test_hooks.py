"""The stop/start template's scripts against a real engine, and what brings back what they left down."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.engine.client import Engine
from sidecar.engine.model import COMPOSE_PROJECT, COMPOSE_SERVICE
from sidecar.plans.hooks import START_MARKER, STOP_MARKER
from tests.engine import busybox
from tests.engine.double_container import DoubleContainer
from tests.engine.harness import TestEngine
from tests.engine.sidecar_process import REPO, events, run, write_config

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]

TEMPLATE = {"backrest.enable": "true", "backrest.hooks.template": "simple-stop-start"}
WEB = {**TEMPLATE, COMPOSE_PROJECT: "shop", COMPOSE_SERVICE: "web"}


class Site:
    """One config.json, and the hooks that the sidecar has put into it."""

    def __init__(self, engine: TestEngine, root: Path) -> None:
        self.engine = engine
        self.config = root / "config.json"
        self.markers = root / ".backrest-sidecar" / "stopped"
        self.said = ""
        write_config(self.config)

    def sidecar(self, *args: str) -> tuple[int, list[dict[str, Any]]]:
        done = run(*args, "--config", str(self.config), "--docker-sock", self.engine.host)
        return done.returncode, events(done.stdout)

    def hook(self, marker: str) -> str:
        """Return the plan's stop or start script."""
        (plan,) = json.loads(self.config.read_bytes())["plans"]
        commands = (hook["actionCommand"]["command"] for hook in plan.get("hooks", ()))
        found: str = next(command for command in commands if command.startswith(marker))
        return found

    def run(self, script: str) -> int:
        """Run a script as Backrest does; return its exit code."""
        env = {
            **os.environ,
            "PATH": busybox.search_path(),
            "DOCKER_HOST": self.engine.host,
            "BACKREST_CONFIG": str(self.config),
        }
        done = subprocess.run(
            ["sh"], input=script, text=True, capture_output=True, env=env, timeout=60, check=False
        )
        self.said = done.stderr
        return done.returncode

    def running(self, name: str) -> bool:
        return bool(self.engine.call("GET", f"/containers/{name}/json")["State"]["Running"])

    def marked(self) -> list[str]:
        return [path.name for path in self.markers.iterdir()] if self.markers.exists() else []


@pytest.fixture
def site(engine: TestEngine, tmp_path: Path) -> Site:
    return Site(engine, tmp_path)


@pytest.fixture
def reachable(can_run_engine: None) -> Iterator[TestEngine]:
    """An engine in this machine's network: the double's port is asked from outside its container."""
    with TestEngine(keep_network=True) as running:
        yield running


def removed_when_stopped(engine: TestEngine, name: str) -> str:
    """Run a container with ``--rm`` and data in an anonymous volume; return the volume."""
    host = {"AutoRemove": True}
    engine.run_container(name, TEMPLATE, HostConfig=host, Volumes={"/data": {}})
    engine.docker("exec", name, "sh", "-c", "echo all there is >/data/file")
    (mount,) = engine.call("GET", f"/containers/{name}/json")["Mounts"]
    return str(mount["Name"])


def test_a_container_with_rm_is_never_stopped(site: Site, engine: TestEngine) -> None:
    volume = removed_when_stopped(engine, "job")
    with contextlib.closing(Engine(engine.host)) as ours:
        assert [one.auto_remove for one in ours.snapshot().containers] == [True]
    code, said = site.sidecar("reconcile")
    assert code == 0
    (plan,) = json.loads(site.config.read_bytes())["plans"]
    assert "hooks" not in plan
    (warning,) = [event for event in said if event.get("code") == "template-refused"]
    assert "--rm" in warning["reason"]

    # A hook from before, or where a proxy forbids to look: the script looks itself.
    engine.run_container("other", TEMPLATE, ["other:/data"])
    engine.remove("job")
    site.config.unlink()
    write_config(site.config)
    engine.docker("rename", "other", "job")
    assert site.sidecar("reconcile")[0] == 0
    stop = site.hook(STOP_MARKER)
    engine.remove("job")
    volume = removed_when_stopped(engine, "job")
    assert site.run(stop) != 0
    assert "--rm" in site.said
    assert site.running("job")
    assert site.marked() == []
    assert engine.docker("exec", "job", "cat", "/data/file") == "all there is\n"
    assert volume in engine.docker("volume", "ls", "--quiet")


def test_the_one_meant_is_known_through_a_recreate_and_no_other_is_stopped(
    site: Site, engine: TestEngine
) -> None:
    engine.run_container("shop-web-1", WEB, ["web:/data"])
    assert site.sidecar("reconcile")[0] == 0
    stop, start = site.hook(STOP_MARKER), site.hook(START_MARKER)
    for _ in range(2):
        assert site.run(stop) == 0, site.said
        assert (site.running("shop-web-1"), site.marked()) == (False, ["shop-web-1"])
        assert site.run(start) == 0, site.said
        assert (site.running("shop-web-1"), site.marked()) == (True, [])
        engine.remove("shop-web-1")
        engine.run_container("shop-web-1", WEB, ["web:/data"])
    engine.remove("shop-web-1")
    assert site.run(stop) != 0
    assert "No such container" in site.said
    engine.run_container("shop-web-1", {**WEB, COMPOSE_PROJECT: "blog"}, ["blog:/data"])
    assert site.run(stop) != 0
    assert "is not the container that the plan means" in site.said
    assert (site.running("shop-web-1"), site.marked()) == (True, [])


@pytest.mark.parametrize("command", ["recover", "reconcile"])
@pytest.mark.parametrize("by_api", [True, False])
def test_what_backrest_never_came_back_to_is_started_without_a_daemon(
    reachable: TestEngine, tmp_path: Path, command: str, by_api: bool
) -> None:
    double = DoubleContainer(reachable, tmp_path)
    double.run({"version": 6, "instance": "test", "repos": [REPO]})
    site = Site(reachable, double.config.parent)
    reachable.run_container("shop-web-1", WEB, ["web:/data"])
    assert site.sidecar("reconcile")[0] == 0
    assert site.run(site.hook(STOP_MARKER)) == 0, site.said

    url = ["--backrest-url", f"http://127.0.0.1:{double.port}"] if by_api else []
    grace = [] if by_api else ["--hook-watch-grace", "1s"]
    code, said = site.sidecar(command, *url, *grace)
    assert code == 0
    assert (site.running("shop-web-1"), site.marked()) == (True, [])
    assert [event["container"] for event in said if event["action"] == "hooks.started"] == ["shop-web-1"]
    assert site.sidecar(command, *url, *grace)[0] == 2


def test_a_backup_that_runs_is_left_in_peace(reachable: TestEngine, tmp_path: Path) -> None:
    double = DoubleContainer(reachable, tmp_path)
    double.run({"version": 6, "instance": "test", "repos": [REPO]})
    site = Site(reachable, double.config.parent)
    reachable.run_container("shop-web-1", WEB, ["web:/data"])
    assert site.sidecar("reconcile")[0] == 0
    assert site.run(site.hook(STOP_MARKER)) == 0, site.said
    reachable.docker("exec", "-d", "backrest", "sh", "-c", "sleep 60; true")
    code, said = site.sidecar("recover", "--hook-watch-grace", "1s")
    assert code == 3
    assert [event["containers"] for event in said if event["action"] == "hooks.not_started"] == [
        ["shop-web-1"]
    ]
    assert (site.running("shop-web-1"), site.marked()) == (False, ["shop-web-1"])
