"""Restart mode without the API beside a real Backrest: a night of slow HTTP hooks loses no plan.

Such a hook has no process that the engine could list: only Backrest's own log tells that it runs.
"""

from __future__ import annotations

import datetime as dt
import http.server
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.queue import Operation
from tests.engine import backrest_container
from tests.engine.backrest_container import BackrestContainer
from tests.engine.harness import TestEngine
from tests.engine.sidecar_process import Sidecar, write_config
from tests.waiting import eventually

pytestmark = [pytest.mark.engine, pytest.mark.backrest, pytest.mark.torture, pytest.mark.timeout(240)]

HOOK_TAKES = 6.0
CHANGES = 20
"""Changes of labels while the five plans run."""
PLANS = ("a", "b", "c", "d", "e")


class Slack(http.server.BaseHTTPRequestHandler):
    """Takes its time, as a service far away does."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(HOOK_TAKES)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def slack() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slack)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def hand_made(name: str, cron: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "repo": "main",
        "paths": ["/etc"],
        "schedule": {"cron": cron, "clock": "CLOCK_LOCAL"},
        **more,
    }


@pytest.fixture
def minutely(image_engine: TestEngine) -> Iterator[BackrestContainer]:
    """A Backrest with a plan that fires every minute."""
    if not backrest_container.real_binary():
        pytest.skip("BACKREST_BIN names no Backrest")
    image = backrest_container.make_image(image_engine, "real")
    with tempfile.TemporaryDirectory(prefix="bs-") as home:
        write_config(Path(home) / "config.json", [hand_made("minutely", "* * * * *")], version=4)
        yield BackrestContainer(image_engine, "real", image, Path(home))
        image_engine.clean()


@pytest.fixture
def night(image_engine: TestEngine, slack: str) -> Iterator[BackrestContainer]:
    """A Backrest with five plans that are due in the next minute but one at the latest."""
    if not backrest_container.real_binary():
        pytest.skip("BACKREST_BIN names no Backrest")
    due = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=75)
    hook = {"conditions": ["CONDITION_SNAPSHOT_START"], "actionSlack": {"webhookUrl": slack, "template": "x"}}
    cron = f"{due.minute} {due.hour} {due.day} {due.month} *"
    plans = [hand_made(name, cron, hooks=[hook]) for name in PLANS]
    image = backrest_container.make_image(image_engine, "real")
    with tempfile.TemporaryDirectory(prefix="bs-") as home:
        write_config(Path(home) / "config.json", plans, version=4)
        yield BackrestContainer(image_engine, "real", image, Path(home))
        image_engine.clean()


def backups(night: BackrestContainer) -> list[Operation]:
    return [op for op in night.api.operations() if op.kind == "backup" and op.plan_id in PLANS]


def test_twenty_changes_while_five_plans_are_due_cost_no_night(night: BackrestContainer) -> None:
    engine = night.engine
    eventually(lambda: any(op.runs for op in backups(night)), 100)
    with Sidecar(
        "--config", str(night.config), "--docker-sock", engine.host, "--with-events", "--apply",
        "--apply-settle", "0.5s", "--restart-timeout", "2s", "--path-view", "host",
    ) as sidecar:  # fmt: skip
        sidecar.wait_for("engine.connected")
        for change in range(CHANGES):
            if change:
                engine.remove("web")
            labels = {"backrest.enable": "true", "backrest.schedule": f"{change} 3 1 1 *"}
            engine.run_container("web", labels, ["web:/data"], start=False)
            time.sleep(HOOK_TAKES / 5)
        sidecar.wait_for("backrest.busy", 20)
        sidecar.wait_for("backrest.restart", 120)
        assert len(sidecar.said("backrest.stop")) == 1
        assert sidecar.said("backrest.cut_off") == []
        assert sidecar.said("backrest.starved") == []
    night.wait()
    done = [op for op in backups(night) if not op.pending]
    assert sorted(op.plan_id for op in done) == list(PLANS), "each plan's night"
    assert not any(op.cut_off or op.runs for op in done)
    assert all(op.end - op.start >= HOOK_TAKES for op in done)
    assert night.plans()["backrest_sidecar_web"]["schedule"]["cron"] == f"{CHANGES - 1} 3 1 1 *"


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9"], ids=["no URL", "a URL that nobody answers"])
def test_a_plan_every_minute_keeps_no_change_waiting(minutely: BackrestContainer, url: str) -> None:
    engine = minutely.engine
    with Sidecar(
        "--config", str(minutely.config), "--docker-sock", engine.host, "--with-events", "--apply",
        "--apply-settle", "0.5s", "--restart-timeout", "2s", "--path-view", "host",
        *(("--backrest-url", url) if url else ()),
    ) as sidecar:  # fmt: skip
        sidecar.wait_for("engine.connected")
        engine.run_container("web", {"backrest.enable": "true"}, ["web:/data"], start=False)
        if url:
            said = sidecar.wait_for("backrest.api_unreachable", 40)
            assert url in str(said)
        sidecar.wait_for("backrest.restart", 150)
        assert sidecar.said("backrest.cut_off") == []
        assert sidecar.said("backrest.not_up") == []
    minutely.wait()
    assert {"minutely", "backrest_sidecar_web"} <= minutely.plans().keys()
