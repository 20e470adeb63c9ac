"""A stack comes back in a working order, and a stop signal to the real command brings everything up in time."""

from __future__ import annotations

import datetime as dt
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.rcb import image
from tests.engine.backup_rig import QUIESCE, RCB, ROOT, Site
from tests.engine.harness import TestEngine
from tests.waiting import eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(180)]

ENABLED = {"backrest.enable": "true"}
AFTER_STOP = 5.0
"""Seconds that a run may take after a stop signal, beyond the containers' own start; on a machine of its own."""
BUSY = 20.0
"""The same where other tests run beside it: only a run that hangs is found out."""
TEN_TIMES = [2, pytest.param(10, marks=pytest.mark.torture)]
SIGNALS = {"TERM": (signal.SIGTERM,), "INT twice": (signal.SIGINT, signal.SIGINT)}


@pytest.fixture(scope="module", autouse=True)
def images(shared_engine: TestEngine) -> None:
    if image.missing():
        pytest.skip(image.missing())
    image.make(shared_engine)


@pytest.fixture
def site(engine: TestEngine, tmp_path: Path) -> Site:
    made = Site(engine, tmp_path)
    made.init()
    return made


def stack(site: Site) -> None:
    """A database with a healthcheck, an API that needs it, a front end that needs the API, and a guest of the API."""
    health = {"Test": ["CMD-SHELL", "test -e /tmp/ready"], "Interval": 100_000_000, "Retries": 100}
    slow = (
        "sh",
        "-c",
        'trap "exit 0" TERM; rm -f /tmp/ready; sleep 0.5; touch /tmp/ready; sleep 100000 & wait',
    )
    site.service("db", ENABLED | QUIESCE, command=slow, Healthcheck=health)
    api = site.service("api", QUIESCE | {"com.docker.compose.depends_on": "db:service_healthy:true"})
    site.service("web", QUIESCE | {"com.docker.compose.depends_on": "api:service_started:false"})
    # What Compose makes of `network_mode: service:api`; it does not ask to be quiesced itself.
    site.service("guest", {"com.docker.compose.depends_on": "api"}, network=f"container:{api}")


def started(site: Site, name: str) -> dt.datetime:
    text = re.sub(r"(\.\d{6})\d*Z$", r"\1+00:00", site.inspect(f"shop-{name}-1")["State"]["StartedAt"])
    return dt.datetime.fromisoformat(text)


def network_of(site: Site, name: str) -> str:
    """Return the identity of the network namespace that a container is in."""
    return str(Path(f"/proc/{site.inspect(f'shop-{name}-1')['State']['Pid']}/ns/net").readlink())


def healthy_at(site: Site) -> dt.datetime:
    log = site.inspect("shop-db-1")["State"]["Health"]["Log"]
    first = next(entry for entry in log if entry["ExitCode"] == 0)
    return dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", first["End"]))


@pytest.mark.parametrize("rounds", TEN_TIMES)
def test_a_stack_with_a_guest_in_a_network_comes_back_in_order(site: Site, rounds: int) -> None:
    stack(site)
    for _ in range(rounds):
        outcome = site.run(site.options(kind="restic", together=True, quiesce_label="backrest.quiesce"))
        assert outcome.summary.problems == ()
        assert set(site.states().values()) == {"running"}
        assert network_of(site, "guest") == network_of(site, "api")
        assert started(site, "db") < started(site, "api") < min(started(site, "web"), started(site, "guest"))
        assert healthy_at(site) <= started(site, "api")
        assert set(outcome.summary.downtime) == {f"shop-{name}-1" for name in ("db", "api", "web", "guest")}


def command(site: Site, *more: str) -> subprocess.Popen[str]:
    """Run the tool itself, as a person does."""
    args: list[Any] = [
        "backup-once", "--docker-sock", site.engine.socket, "--state-dir", site.state_dir, "--log-format", "text",
        "--config", site.folder / "config.json", "--rcb-image", image.RCB_IMAGE, "--restic-image", image.RESTIC_IMAGE,
        "--rcb-env-file", site.env_file, "--backup-mount", "repo:/repo", "--backup-mount", "cache:/cache", *more,
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "sidecar", *map(str, args)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.parametrize("within", [BUSY, pytest.param(AFTER_STOP, marks=pytest.mark.torture)])
@pytest.mark.parametrize("signals", SIGNALS)
def test_a_signal_in_the_middle_of_the_backup(site: Site, signals: str, within: float) -> None:
    site.service("db", RCB | QUIESCE)
    site.service("web", RCB | QUIESCE | {"com.docker.compose.depends_on": "db"})
    site.add_env(STANDIN_WAIT="120")
    process = command(site)

    def child_runs() -> bool:
        listed = site.engine.call("GET", "/containers/json")
        return any("restic-compose-backup.process" in key for c in listed for key in c["Labels"])

    eventually(child_runs, 60)
    assert site.states()["shop-db-1"] == "exited"
    began = time.monotonic()
    for number in SIGNALS[signals]:
        process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    took = time.monotonic() - began
    assert process.returncode == 3, said
    assert site.states() == {"shop-db-1": "running", "shop-web-1": "running"}, said
    assert took < within, said


def test_the_command_itself_from_end_to_end(site: Site) -> None:
    site.service("db", ENABLED | QUIESCE | {"backrest.keep": "last=1"})
    for _ in range(2):
        process = command(site, "--engine", "restic")
        said = process.communicate(timeout=60)[0]
        assert process.returncode == 0, said
    assert "backup-once.complete" in said
    assert [s["paths"] for s in site.snapshots()] == [["/volumes/shop/db"]]


@pytest.mark.torture
def test_an_engine_that_dies_in_the_middle_of_the_backup(own_engine: TestEngine, tmp_path: Path) -> None:
    image.make(own_engine)
    site = Site(own_engine, tmp_path)
    site.init()
    site.service("db", RCB | QUIESCE)
    site.add_env(STANDIN_WAIT="60")
    process = command(site)
    eventually(
        lambda: site.states()["shop-db-1"] == "exited" and any("-rcb-" in n for n in site.states()), 60
    )
    own_engine.kill9()
    own_engine.start()
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 3, said
    assert site.states() == {"shop-db-1": "running"}, said
