"""Backrest as a container on the test engine: the double, and a real one where ``BACKREST_BIN`` names it.

Both run in the host's network on a free loopback port, with their config directory bind-mounted, as in production.
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Any

from sidecar.backrest.api import BackrestApi, BackrestApiError
from tests.contract.harness import RESTIC
from tests.engine import busybox, closure
from tests.engine.harness import TestEngine
from tests.waiting import eventually

TESTS = Path(__file__).resolve().parent.parent
_DOUBLE = "backrest-double:test"
_REAL = "backrest-real:test"


def real_binary() -> str:
    """The real Backrest's path, or empty."""
    return os.environ.get("BACKREST_BIN", "")


def make_image(engine: TestEngine, kind: str) -> str:
    """Put the image on the engine; return its name."""
    docker = shutil.which("docker", path="/usr/bin:/usr/local/bin")
    assert docker is not None
    client = {"/usr/bin/docker": Path(docker).read_bytes(), **closure.libraries([docker])}
    if kind == "real":
        files = {"/backrest": Path(real_binary()).read_bytes(), "/usr/bin/restic": RESTIC.encode(), **client}
        changes = ["ENV BACKREST_RESTIC_COMMAND=/usr/bin/restic", 'ENTRYPOINT ["/backrest"]']
        engine.make_image(_REAL, files, changes=changes)
        return _REAL
    interpreter, files = closure.python("tests.doubles.backrest.server", TESTS.parent)
    script = f"#!{interpreter} -IS\nimport sys; sys.path.insert(0, {str(TESTS.parent)!r})\n".encode()
    script += b"from tests.doubles.backrest.server import main\nsys.exit(main())\n"
    engine.make_image(_DOUBLE, {**files, **client, "/backrest": script}, changes=['ENTRYPOINT ["/backrest"]'])
    return _DOUBLE


def free_port() -> int:
    """A loopback port that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class BackrestContainer:
    """A running Backrest in a container called ``backrest``."""

    def __init__(self, engine: TestEngine, kind: str, image: str, home: Path) -> None:
        self.engine = engine
        self.kind = kind
        self.port = free_port()
        self.home = home
        self.config = home / "config.json"
        self.url = f"http://127.0.0.1:{self.port}"
        (home / "data").mkdir(exist_ok=True)
        self.id = engine.run_container(
            "backrest",
            {},
            [
                f"{home}:/config",
                f"{engine.socket}:/var/run/docker.sock",
                f"{engine.root}/volumes:{engine.root}/volumes:ro",
            ],
            image=image,
            network="host",
            command=[
                "-config-file",
                "/config/config.json",
                "-data-dir",
                "/config/data",
                "-bind-address",
                f"127.0.0.1:{self.port}",
            ],
            Env=[
                "BACKREST_CONFIG=/config/config.json",
                "TZ=UTC",
                "PATH=/usr/bin:/bin",
                "HOME=/root",
                "DOCKER_HOST=unix:///var/run/docker.sock",
            ],
            HostConfig={"RestartPolicy": {"Name": "unless-stopped"}, "Init": False},
        )
        self.wait()

    @property
    def api(self) -> BackrestApi:
        return BackrestApi(self.url)

    def wait(self) -> None:
        """Wait until it answers."""
        try:
            eventually(self.api.answers, 20)
        except AssertionError as error:
            raise AssertionError(f"no Backrest: {self.engine.docker('logs', 'backrest')}") from error

    def started_at(self) -> str:
        state: dict[str, Any] = self.engine.call("GET", "/containers/backrest/json")["State"]
        return str(state["StartedAt"])

    def running(self) -> bool:
        return bool(self.engine.call("GET", "/containers/backrest/json")["State"]["Running"])

    def plans(self) -> dict[str, dict[str, Any]]:
        """The plans that it runs with, by id."""
        return {plan["id"]: plan for plan in self.api.get_config().get("plans", [])}

    def has(self, plan_id: str) -> bool:
        """Whether it is up and runs with this plan."""
        try:
            return plan_id in self.plans()
        except BackrestApiError:
            return False

    def save_in_ui(self, plan: dict[str, Any]) -> None:
        """Add a plan as its web page does."""
        config = self.api.get_config()
        self.api.set_config({**config, "plans": [*config.get("plans", []), plan]})


__all__ = ["BackrestContainer", "busybox", "free_port", "make_image", "real_binary"]
