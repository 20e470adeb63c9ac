"""The stacks we ship, started as they are by docker-compose; only the images are those of the tests.

The double stands in for Backrest, in a base that has Python. ``make test-image`` runs these.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import image_base
from tests.engine.harness import BUSYBOX, TestEngine
from tests.engine.image_base import ROOT, Built
from tests.waiting import eventually

pytestmark = [pytest.mark.image, pytest.mark.engine, pytest.mark.timeout(300)]

SAMPLE = ROOT / "testdata" / "example-sidecar.config.json"
LISTEN = "127.98.98.98"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Stack:
    """One of our files, brought up and taken down as it is."""

    def __init__(self, engine: TestEngine, project: str, file: str, **images: str) -> None:
        self.engine = engine
        self._command = ["docker-compose", "-p", project, "-f", str(ROOT / file)]
        self.environment = {
            **os.environ,
            "DOCKER_HOST": engine.host,
            "DOCKER_SOCK": str(engine.socket),
            "DOCKER_ROOT": str(engine.root),
            "BACKREST_LISTEN": LISTEN,
            **images,
        }

    def run(self, *args: str) -> str:
        """Run docker-compose; return all it said."""
        done = subprocess.run(
            [*self._command, *args], capture_output=True, text=True, env=self.environment, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def production(host: TestEngine, built: Built) -> Iterator[Stack]:
    if shutil.which("docker-compose") is None:
        pytest.fail("docker-compose is missing")
    image_base.build_double(host)
    stack = Stack(host, "prod", "compose.yaml", BACKREST_IMAGE=image_base.DOUBLE, SIDECAR_IMAGE=built.tag)
    yield stack
    stack.run("down", "--volumes")


def ask(method: str, body: object) -> Any:
    """Call the API of the Backrest that the stack publishes."""
    request = urllib.request.Request(
        f"http://{LISTEN}:9898/v1.Backrest/{method}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with OPENER.open(request, timeout=10) as reply:
        return json.load(reply)


def plans() -> dict[str, Any]:
    """Return the plans that the running Backrest knows, none while it is down."""
    return {plan["id"]: plan for plan in answer().get("plans", [])}


def answer() -> dict[str, Any]:
    """Return the configuration of the running Backrest, an empty one while it is down."""
    try:
        return dict(ask("GetConfig", {}))
    except OSError:
        return {}


def health(engine: TestEngine) -> str:
    return engine.docker("inspect", "-f", "{{.State.Health.Status}}", "backrest-sidecar").strip()


def test_from_up_to_plans_in_a_running_backrest(production: Stack) -> None:
    """The quick start: up, add a repository in Backrest, and the labels are plans that it has taken up."""
    engine = production.engine
    production.run("up", "-d", "--no-build")
    engine.run_container("web", {"backrest.enable": "true"}, volumes=["web-data:/srv/data"])
    # No config.json yet: Backrest makes it when the first repository is added.
    eventually(answer, 30, every=0.5)
    ask("AddRepo", {"repo": {"id": "first", "uri": "/mnt/repo", "password": "made-up"}})

    eventually(lambda: {"backrest_sidecar_web", "backrest_sidecar_backrest"} <= plans().keys(), 90, every=0.5)

    found = plans()
    assert found["backrest_sidecar_web"]["repo"] == "first"
    assert found["backrest_sidecar_web"]["paths"] == [str(engine.root / "volumes" / "web-data" / "_data")]
    assert found["backrest_sidecar_backrest"]["paths"] == ["/config"]  # as Backrest itself sees it
    eventually(lambda: health(engine) == "healthy", 60, every=0.5)


@pytest.fixture
def swarm(image_engine: TestEngine, built: Built) -> Iterator[TestEngine]:
    """A swarm of one node that has the images, in a network of its own: the stack uses its node's network."""
    image_base.build_double(image_engine)
    with TestEngine() as node:
        for tag in (image_base.DOUBLE, built.tag):
            archive = node.folder / "image.tar"
            image_engine.docker("save", "-o", str(archive), tag)
            node.docker("load", "-i", str(archive))
            archive.unlink()
        node.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        yield node
        node.docker("swarm", "leave", "--force")


ADD_REPO = """
import urllib.request
body = b'{"repo": {"id": "first", "uri": "/mnt/repo", "password": "made-up"}}'
url = "http://127.0.0.1:9898/v1.Backrest/AddRepo"
urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=10)
"""


def test_the_swarm_stack_applies_through_the_api_of_its_node(swarm: TestEngine, built: Built) -> None:
    settings = {
        "BACKREST_IMAGE": image_base.DOUBLE,
        "SIDECAR_IMAGE": built.tag,
        "DOCKER_SOCK": str(swarm.socket),
        "DOCKER_ROOT": str(swarm.root),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        swarm.docker("stack", "deploy", "--resolve-image", "never", "-c", str(ROOT / "stack.yaml"), "bk")

    def container(service: str) -> str:
        return swarm.docker("ps", "--quiet", "--filter", f"name={service}").strip()

    backrest = eventually(lambda: container("bk_backrest"), 60, every=0.5)
    swarm.run_container("web", {"backrest.enable": "true"}, volumes=["web-data:/srv/data"])
    eventually(lambda: swarm.docker("exec", backrest, "python3", "-c", ADD_REPO) == "", 30, every=0.5)
    sidecar = eventually(lambda: container("bk_sidecar"), 60, every=0.5)

    eventually(lambda: '"backrest.applied"' in swarm.docker("logs", sidecar), 60, every=0.5)

    config = json.loads(
        (swarm.root / "volumes" / "bk_backrest-config" / "_data" / "config.json").read_bytes()
    )
    assert {plan["id"] for plan in config["plans"]} == {"backrest_sidecar_web", "backrest_sidecar_backrest"}
    assert container("bk_backrest") == backrest  # nothing was restarted


@pytest.fixture
def dry(host: TestEngine, built: Built) -> Iterator[Stack]:
    stack = Stack(
        host, "backrest-dev", "testdata/compose.dry-run.yaml", DEMO_IMAGE=BUSYBOX, SIDECAR_IMAGE=built.tag
    )
    yield stack
    stack.run("down", "--volumes")


def test_the_dry_run_stack_says_what_it_would_write_and_writes_nothing(dry: Stack) -> None:
    before = SAMPLE.read_bytes()
    dry.run("up", "-d", "--no-build")

    def said() -> bool:
        text = dry.run("logs", "--no-color", "sidecar")
        return "backrest_sidecar_backrest_dev_demo_echo_lite" in text and "docker stop" in text

    eventually(said, 30, every=0.5)
    assert SAMPLE.read_bytes() == before
    assert not (SAMPLE.parent / ".backrest-sidecar").exists()


def test_the_docker_script_runs_one_pass_and_tidies_up(dry: Stack, tmp_path: Path) -> None:
    shutil.copy(SAMPLE, tmp_path / "mine.json")
    env = {**dry.environment, "CONFIG_DIR": str(tmp_path), "CONFIG_FILE": "mine.json"}
    script = ROOT / "scripts" / "dry-run-docker.sh"

    done = subprocess.run(
        [script, "--log-level", "debug"], capture_output=True, text=True, env=env, timeout=120
    )

    assert done.returncode == 2, done.stdout + done.stderr
    assert "backrest_sidecar_backrest_sidecar_demo_echo" in done.stdout
    assert "made-up" not in done.stdout + done.stderr
    assert (tmp_path / "mine.json").read_bytes() == SAMPLE.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]
    assert dry.engine.call("GET", "/containers/json?all=1") == []
