"""The daemon on a real engine: what a person sees within a second, and what survives an engine that dies."""

from __future__ import annotations

import signal
from pathlib import Path

import orjson
import pytest

from tests.engine.harness import TestEngine
from tests.engine.sidecar_process import Sidecar, plans_in, within, write_config

pytestmark = pytest.mark.engine

ENABLED = {"backrest.enable": "true"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    write_config(path)
    return path


def daemon(engine: TestEngine, config: Path, *args: str) -> Sidecar:
    return Sidecar("--config", str(config), "--docker-sock", engine.host, "--with-events", *args)


def test_created_relabelled_renamed_and_removed_within_a_second(engine: TestEngine, config: Path) -> None:
    with daemon(engine, config, "--orphans", "remove", "--orphan-grace", "0s") as sidecar:
        sidecar.wait_for("engine.connected")
        engine.run_container("web", ENABLED, ["web_data:/data"], start=False)
        within(lambda: "backrest_sidecar_web" in plans_in(config), 1.0)
        engine.remove("web")
        engine.run_container(
            "web", {**ENABLED, "backrest.schedule": "5 5 * * *"}, ["web_data:/data"], start=False
        )
        within(lambda: plans_in(config)["backrest_sidecar_web"]["schedule"]["cron"] == "5 5 * * *", 1.5)
        engine.call("POST", "/containers/web/rename?name=shop")
        within(lambda: bool(sidecar.said("plan.successor")), 1.5)
        assert set(plans_in(config)) == {"backrest_sidecar_web"}  # and its snapshots go on under one id
        engine.run_container("other", start=False)  # so that the engine does not look wiped
        engine.remove("shop")
        within(lambda: plans_in(config) == {}, 1.5)
        code, seconds = sidecar.stop()
        assert code == 0
        assert seconds < 2.0
        assert not [entry for entry in sidecar.log if entry.get("level") == "error"]
        assert "never-shown-secret" not in str(sidecar.log)


def test_its_own_write_wakes_it_into_no_other(engine: TestEngine, config: Path) -> None:
    with daemon(engine, config) as sidecar:
        sidecar.wait_for("engine.connected")
        engine.run_container("web", ENABLED, ["web_data:/data"], start=False)
        sidecar.wait_for("config.write")
        engine.run_container("db", ENABLED, ["db_data:/data"], start=False)
        within(lambda: len(plans_in(config)) == 2, 3.0)
        before = config.stat()
        within(lambda: len(sidecar.said("config.write")) == 2, 3.0)
        sidecar.stop()
        assert config.stat() == before
        assert len(sidecar.said("config.write")) == 2


def test_an_edit_that_loses_our_plans_is_made_good(engine: TestEngine, config: Path) -> None:
    engine.run_container("web", ENABLED, ["web_data:/data"], start=False)
    with daemon(engine, config) as sidecar:
        within(lambda: "backrest_sidecar_web" in plans_in(config), 5.0)
        hand = {"id": "mine", "repo": "main", "paths": ["/etc"], "later": {"unknown": 1}}
        write_config(config, [hand])
        within(lambda: set(plans_in(config)) == {"mine", "backrest_sidecar_web"}, 5.0)
        assert plans_in(config)["mine"] == hand
        sidecar.wait_for("backrest.saved_unread", plans=["backrest_sidecar_web"])


def test_without_events_the_interval_serves(engine: TestEngine, config: Path) -> None:
    with Sidecar("--config", str(config), "--docker-sock", engine.host, "--interval", "1s") as sidecar:
        sidecar.wait_for("daemon.start")
        engine.run_container("web", ENABLED, ["web_data:/data"], start=False)
        within(lambda: "backrest_sidecar_web" in plans_in(config), 5.0)


def test_a_killed_engine_is_found_again(own_engine: TestEngine, config: Path) -> None:
    with daemon(own_engine, config) as sidecar:
        sidecar.wait_for("engine.connected")
        own_engine.kill9()
        sidecar.wait_for("engine.lost")
        own_engine.start()
        own_engine.run_container("web", ENABLED, ["web_data:/data"], start=False)
        assert within(lambda: "backrest_sidecar_web" in plans_in(config), 5.0) < 5.0


def test_no_engine_at_start_is_waited_for(own_engine: TestEngine, config: Path) -> None:
    own_engine.stop()
    with daemon(own_engine, config) as sidecar:
        entry = sidecar.wait_for("engine.unreachable")
        assert str(own_engine.socket) in entry["reason"]
        own_engine.start()
        own_engine.run_container("web", ENABLED, ["web_data:/data"], start=False)
        within(lambda: "backrest_sidecar_web" in plans_in(config), 6.0)


def test_config_that_comes_later_is_waited_for(engine: TestEngine, config: Path) -> None:
    config.unlink()
    engine.run_container("web", ENABLED, ["web_data:/data"], start=False)
    with daemon(engine, config) as sidecar:
        sidecar.wait_for("config.waiting")
        write_config(config)
        within(lambda: "backrest_sidecar_web" in plans_in(config), 5.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_two_seconds(engine: TestEngine, config: Path, number: int) -> None:
    with daemon(engine, config) as sidecar:
        sidecar.wait_for("engine.connected")
        code, seconds = sidecar.stop(number)
    assert code == 0
    assert seconds < 2.0


def test_a_storm_of_execs_causes_no_pass(engine: TestEngine, config: Path) -> None:
    made = engine.run_container("web", ENABLED, ["web_data:/data"])
    with daemon(engine, config, "--log-level", "debug") as sidecar:
        within(lambda: "backrest_sidecar_web" in plans_in(config), 5.0)
        status = config.parent / ".backrest-sidecar" / "status.json"
        before = config.stat()
        for _ in range(60):
            exec_id = engine.call("POST", f"/containers/{made}/exec", {"Cmd": ["true"]})["Id"]
            engine.call("POST", f"/exec/{exec_id}/start", {"Detach": True})
        sidecar.stop()
        assert config.stat() == before
        counts = orjson.loads(status.read_bytes())["counts"]
        assert counts["events"] < 10, "those of the container itself, none of 180 about its execs"


def test_what_a_hook_stopped_and_nobody_started_is_brought_back(engine: TestEngine, config: Path) -> None:
    engine.run_container("web", ENABLED, ["web_data:/data"])
    engine.run_container("person", ENABLED, ["p_data:/data"])
    volumes = engine.root / "volumes"
    engine.run_container("backrest", volumes=[f"{volumes}:{volumes}:ro"], start=False)
    markers = config.parent / ".backrest-sidecar" / "stopped"
    with daemon(engine, config, "--hook-watch-grace", "1s") as sidecar:
        within(lambda: "backrest_sidecar_web" in plans_in(config), 5.0)
        sidecar.stop()
    markers.mkdir(parents=True)
    (markers / "web").touch()
    engine.docker("stop", "-t", "0", "web", "person")
    with daemon(engine, config, "--hook-watch-grace", "1s") as sidecar:
        sidecar.wait_for("hooks.started", 20, container="web")
        sidecar.stop()
    running = engine.docker("ps", "--format", "{{.Names}}").split()
    assert running == ["web"], "what a person stopped stays down"
    assert not (markers / "web").exists()
