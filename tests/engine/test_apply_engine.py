"""Applying to a Backrest in a container: the double everywhere, the real one where ``BACKREST_BIN`` names it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.harness import binary_version
from tests.doubles.backrest.version import NEWEST
from tests.engine import backrest_container
from tests.engine.backrest_container import BackrestContainer
from tests.engine.harness import TestEngine
from tests.engine.sidecar_process import Sidecar, events, plans_in, run, within, write_config
from tests.waiting import eventually

pytestmark = pytest.mark.engine

ENABLED = {"backrest.enable": "true", "backrest.schedule": "0 3 1 1 *"}
WEB = "backrest_sidecar_web"
HAND = {"id": "by-hand", "repo": "main", "paths": ["/etc"], "excludes": ["*.tmp"]}


@pytest.fixture(scope="module", params=["double", pytest.param("real", marks=pytest.mark.backrest)])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "real" and not backrest_container.real_binary():
        pytest.skip("BACKREST_BIN names no Backrest")
    return str(request.param)


@pytest.fixture(scope="module")
def image(image_engine: TestEngine, kind: str) -> str:
    return backrest_container.make_image(image_engine, kind)


@pytest.fixture
def backrest(image_engine: TestEngine, kind: str, image: str) -> Iterator[BackrestContainer]:
    # Not below pytest's own folder: the container writes here as root, with names of its own.
    with tempfile.TemporaryDirectory(prefix="bs-") as home:
        version = binary_version(backrest_container.real_binary()) if kind == "real" else NEWEST
        write_config(Path(home) / "config.json", version=version.config)
        yield BackrestContainer(image_engine, kind, image, Path(home))
        image_engine.clean()


def daemon(backrest: BackrestContainer, *args: str) -> Sidecar:
    return Sidecar(
        "--config", str(backrest.config), "--docker-sock", backrest.engine.host, "--with-events", "--apply",
        "--apply-settle", "0.5s", "--restart-timeout", "2s", "--restart-budget", "6/60", "--path-view", "host", *args,
    )  # fmt: skip


def test_first_apply_by_restart_and_a_save_in_the_ui_in_between(backrest: BackrestContainer) -> None:
    engine = backrest.engine
    with daemon(backrest) as sidecar:
        sidecar.wait_for("engine.connected")
        for name in ("web", "db", "cache", "mail", "wiki"):
            engine.run_container(name, ENABLED, [f"{name}:/data"], start=False)
        sidecar.wait_for("backrest.restart", 40)
        backrest.wait()
        assert len(backrest.plans()) == 5
        assert len(sidecar.said("backrest.stop")) == 1, "five services are one restart"
        backrest.save_in_ui(HAND)
        engine.run_container("late", ENABLED, ["late:/data"], start=False)
        sidecar.stop()
    done = run("reconcile", "--apply", "--config", str(backrest.config), "--docker-sock", engine.host,
               "--restart-timeout", "2s", "--path-view", "host")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    backrest.wait()
    found = backrest.plans()
    assert len(found) == 7
    assert found["by-hand"]["excludes"] == ["*.tmp"]
    again = run("reconcile", "--apply", "--config", str(backrest.config), "--docker-sock", engine.host,
                "--restart-timeout", "2s", "--path-view", "host")  # fmt: skip
    assert again.returncode == 2, again.stdout + again.stderr


def test_apply_by_api_restarts_nothing_and_meets_a_conflict(backrest: BackrestContainer) -> None:
    started = backrest.started_at()
    stop = threading.Event()

    def keep_saving() -> None:
        number = 0
        while not stop.is_set() and number < 40:
            number += 1
            try:
                backrest.save_in_ui({**HAND, "id": f"by-hand-{number}"})
            except Exception:  # noqa: BLE001  # its own conflicts with us are what a UI would show
                continue

    saver = threading.Thread(target=keep_saving)
    with daemon(backrest, "--backrest-url", backrest.url) as sidecar:
        sidecar.wait_for("engine.connected")
        saver.start()
        backrest.engine.run_container("web", ENABLED, ["web:/data"], start=False)
        sidecar.wait_for("backrest.applied", 30, by="api")
        stop.set()
        saver.join()
        eventually(lambda: backrest.has(WEB), 10)
        assert sidecar.said("backrest.stop") == []
    assert backrest.started_at() == started
    by_hand = [plan for plan in backrest.plans() if plan.startswith("by-hand")]
    assert by_hand, "what was saved in the UI is still there"


@pytest.mark.torture
@pytest.mark.timeout(120)
def test_a_running_backup_is_waited_for(backrest: BackrestContainer) -> None:
    engine = backrest.engine
    engine.run_container("web", ENABLED, ["web:/data"], start=False)
    with daemon(backrest) as sidecar:
        sidecar.wait_for("backrest.restart", 40)
        sidecar.stop()
    backrest.wait()
    # A process of a backup, as the engine's process list shows it.
    made = engine.call("POST", "/containers/backrest/exec", {"Cmd": ["/bin/sh", "-c", "sleep 8"]})["Id"]
    engine.call("POST", f"/exec/{made}/start", {"Detach": True})
    engine.run_container("db", ENABLED, ["db:/data"], start=False)
    done = run("reconcile", "--apply", "--config", str(backrest.config), "--docker-sock", engine.host,
               "--restart-timeout", "2s", "--apply-max-wait", "1s", "--path-view", "host")  # fmt: skip
    assert done.returncode == 3
    assert "backrest_sidecar_db" not in plans_in(backrest.config)
    done = run("reconcile", "--apply", "--config", str(backrest.config), "--docker-sock", engine.host,
               "--restart-timeout", "2s", "--path-view", "host")  # fmt: skip
    assert done.returncode == 0, done.stdout
    said = events(done.stdout)
    assert [entry for entry in said if entry["action"] == "backrest.busy"]
    backrest.wait()
    assert "backrest_sidecar_db" in backrest.plans()


@pytest.mark.torture
def test_a_killed_sidecar_leaves_no_backrest_down(backrest: BackrestContainer) -> None:
    engine = backrest.engine
    engine.run_container("web", ENABLED, ["web:/data"], start=False)
    with daemon(backrest) as sidecar:
        sidecar.wait_for("backrest.stop", 40)
        sidecar.process.kill()
        sidecar.process.wait(5)
    with daemon(backrest) as sidecar:
        within(backrest.running, 20)
        eventually(lambda: backrest.has(WEB), 90)
        sidecar.stop()
    assert backrest.running()
