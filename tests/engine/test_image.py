"""The image, built on a base made with debootstrap and started as compose.yaml starts it.

``make test-image`` runs these; the base alone takes a minute.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.engine.harness import TestEngine
from tests.engine.image_base import ROOT, Built
from tests.engine.relay import Relay
from tests.proxy_table import proxy_rows
from tests.waiting import eventually

pytestmark = [pytest.mark.image, pytest.mark.engine, pytest.mark.timeout(420)]

SAMPLE = ROOT / "testdata" / "example-sidecar.config.json"
LABELS = {"backrest.enable": "true", "backrest.schedule": "T 3 * * *"}
MEGABYTE = 1_000_000


def compose_flags(service: dict[str, Any], places: dict[str, str]) -> list[str]:
    """Return the flags of ``docker run`` that do what compose.yaml says of the sidecar.

    Args:
        service: The service.
        places: Where the test has what is mounted at each target.
    """
    assert service["init"]
    assert service["read_only"]
    flags = ["--name", service["container_name"], "--init", "--read-only"]
    for key, name in (
        ("security_opt", "--security-opt"),
        ("cap_drop", "--cap-drop"),
        ("cap_add", "--cap-add"),
    ):
        flags += [part for value in service[key] for part in (name, value)]
    for volume in service["volumes"]:
        _, target, *mode = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")
        flags += ["-v", ":".join((places[target], target, *mode))]
    return flags


@pytest.fixture
def relay(host: TestEngine) -> Iterator[Relay]:
    """The engine's socket at a second place, from where it can go away."""
    directory = host.folder / "relay"
    directory.mkdir(exist_ok=True)
    relay = Relay(directory / "docker.sock", host.socket)
    relay.start()
    yield relay
    relay.stop()


def config_volume(engine: TestEngine, name: str) -> Path:
    """Make a volume that holds the sample config; return its path on the host."""
    engine.docker("volume", "create", name)
    path = engine.root / "volumes" / name / "_data" / "config.json"
    path.write_bytes(SAMPLE.read_bytes())
    path.chmod(0o600)
    return path


def figures(line: str) -> None:
    """Say what was measured; ``make test-image`` shows it."""
    sys.stdout.write(f"{line}\n")


def plans(config: Path) -> dict[str, dict[str, Any]]:
    return {plan["id"]: plan for plan in json.loads(config.read_bytes())["plans"]}


def health(engine: TestEngine) -> str:
    return engine.docker("inspect", "-f", "{{.State.Health.Status}}", "backrest-sidecar").strip()


def events(engine: TestEngine, container: str = "backrest-sidecar") -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in engine.docker("logs", container).splitlines() if line.startswith("{")
    ]


def told(engine: TestEngine, action: str) -> list[dict[str, Any]]:
    return [event for event in events(engine) if event["action"] == action]


def test_what_is_in_the_image_and_what_is_not(host: TestEngine, built: Built) -> None:
    image = host.call("GET", f"/images/{built.tag}/json")
    config = image["Config"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "backrest-sidecar", "healthcheck"]
    assert config["Labels"]["org.opencontainers.image.version"] == "0.0.1-test"
    assert built.added <= 60 * MEGABYTE
    assert host.docker("run", "--rm", "--network", "none", built.tag, "version").startswith(
        "backrest-sidecar "
    )
    probe = "for tool in pip pip3 gcc cc c++ make ld; do command -v $tool; done; python3 -c 'import pip'"
    said = host.docker(
        "run", "--rm", "--network", "none", "--entrypoint", "sh", built.tag, "-c", probe, check=False
    )
    assert said == ""
    modes = "find /opt/backrest-sidecar ! -type l \\( ! -user root -o -perm /022 -o ! -perm -004 \\)"
    assert host.docker("run", "--rm", "--network", "none", "--entrypoint", "sh", built.tag, "-c", modes) == ""
    figures(f"image: {built.added / MEGABYTE:.1f} MB on top of its base, built in {built.seconds:.0f} s")


def test_the_service_of_compose_yaml(host: TestEngine, built: Built, relay: Relay) -> None:
    service = YAML(typ="safe").load(ROOT / "compose.yaml")["services"]["sidecar"]
    config = config_volume(host, "backrest-config")
    places = {
        "/etc/backrest": "backrest-config",
        "/var/run/docker.sock": str(relay.path.parent),
        "/var/lib/docker/volumes": str(host.root / "volumes"),
    }
    # The directory of the socket in place of the socket: a file that was mounted cannot come back.
    flags = compose_flags(service, places)
    flags = [flag.replace(":/var/run/docker.sock:", ":/run/engine:") for flag in flags]
    flags += ["-e", "DOCKER_HOST=unix:///run/engine/docker.sock", "-e", "BACKREST_SIDECAR_ENGINE_LIMIT=2"]
    flags += ["--health-interval", "1s", "--health-retries", "1", "--network", "none"]
    volumes = str(host.root / "volumes")
    host.run_container("backrest", volumes=["backrest-config:/config", f"{volumes}:{volumes}:ro"])
    host.run_container("web", LABELS, volumes=["web-data:/srv/data"])
    command = [word for word in service["command"] if word != "--apply"]

    host.docker("run", "-d", *flags, built.tag, *command)
    eventually(lambda: "backrest_sidecar_web" in plans(config), 20)
    plan = plans(config)["backrest_sidecar_web"]
    assert plan["paths"] == [str(host.root / "volumes" / "web-data" / "_data")]
    assert plan["repo"] == "sample-repo"
    assert {"documents", "photos-usb"} <= plans(config).keys()
    eventually(lambda: health(host) == "healthy", 20)

    began = time.monotonic()
    host.run_container("db", LABELS, volumes=["db-data:/var/lib/db"])
    eventually(lambda: "backrest_sidecar_db" in plans(config), 10)
    latency = time.monotonic() - began

    relay.stop()
    eventually(lambda: health(host) == "unhealthy", 30)
    relay.start()
    eventually(lambda: health(host) == "healthy", 60)
    host.run_container("cache", LABELS, volumes=["cache-data:/data"])
    eventually(lambda: "backrest_sidecar_cache" in plans(config), 10)

    asked = {permission(*request) for request in relay.requests}
    assert {"EVENTS", "CONTAINERS"} <= asked <= allowed("daemon, without --apply")

    began = time.monotonic()
    host.docker("stop", "backrest-sidecar")
    stopping = time.monotonic() - began
    assert stopping < 2
    assert host.docker("inspect", "-f", "{{.State.ExitCode}}", "backrest-sidecar").strip() == "0"
    first = first_reconcile(host)
    figures(
        f"start to first plans {first:.2f} s, new container to file {latency:.2f} s, stop {stopping:.2f} s"
    )


def permission(verb: str, path: str) -> str:
    """Return the name that socket proxies have for what was asked."""
    section = path.strip("/").split("/")[0].strip("_").upper()
    return section if verb == "GET" else f"ALLOW_{path.rpartition('/')[2].upper()}"


def allowed(mode: str) -> set[str]:
    """Return what compose.socket-proxy.yaml says that a mode needs."""
    rows = dict(proxy_rows((ROOT / "testdata" / "compose.socket-proxy.yaml").read_text()))
    return {name for name, cell in rows[mode].items() if cell == "1"}


def first_reconcile(engine: TestEngine) -> float:
    """Return the seconds from the start of the container to its first written plans."""
    started = engine.docker("inspect", "-f", "{{.State.StartedAt}}", "backrest-sidecar").strip()
    written = told(engine, "config.write")[0]["time"]
    zero, done = (dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", at)) for at in (started, written))
    return (done - zero).total_seconds()


def test_any_uid_with_the_group_of_the_socket(host: TestEngine, built: Built, relay: Relay) -> None:
    config = config_volume(host, "nobody-config")
    for path in (config.parent, config):
        os.chown(path, 4711, 4711)
    os.chown(relay.path, 0, 4712)
    host.run_container("web", LABELS, volumes=["web-data:/srv/data"])
    flags = ["--rm", "--read-only", "--cap-drop", "ALL", "--network", "none", "--user", "4711:4711"]
    flags += ["--group-add", "4712", "-v", "nobody-config:/etc/backrest"]
    flags += ["-v", f"{relay.path}:/var/run/docker.sock:ro", built.tag]

    host.docker("run", *flags, "reconcile", "--config-mode", "preserve")

    assert "backrest_sidecar_web" in plans(config)
    found = config.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (4711, 4711, 0o600)


def test_a_config_of_another_uid_keeps_its_owner(host: TestEngine, built: Built) -> None:
    config = config_volume(host, "other-config")
    for path in (config.parent, config):
        os.chown(path, 4711, 4711)
    host.run_container("web", LABELS, volumes=["web-data:/srv/data"])
    service = YAML(typ="safe").load(ROOT / "compose.yaml")["services"]["sidecar"]
    places = {
        "/etc/backrest": "other-config",
        "/var/run/docker.sock": str(host.socket),
        "/var/lib/docker/volumes": str(host.root / "volumes"),
    }

    flags = ["--rm", "--network", "none", *compose_flags(service, places)]
    host.docker("run", *flags, built.tag, "reconcile")

    assert "backrest_sidecar_web" in plans(config)
    assert (config.stat().st_uid, config.stat().st_mode & 0o777) == (4711, 0o644)
