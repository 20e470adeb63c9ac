"""The adapter on Podman's Docker-compatible socket."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.engine.client import Engine
from tests.engine import busybox, harness, raw_api, remains
from tests.listening import Rig
from tests.waiting import eventually

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(shutil.which("podman") is None or os.geteuid() != 0, reason="needs podman and root"),
    pytest.mark.skipif(busybox.binary() is None, reason="needs a static busybox"),
]

LIMITS = {"Ulimits": [{"Name": name, "Soft": 1024, "Hard": 1024} for name in ("nofile", "nproc")]}


class Podman:
    """Podman's service with folders of its own, and one image."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "podman.sock"
        self.host = f"unix://{self.socket}"
        self.root = folder / "root"
        self.command = [
            "podman",
            f"--root={self.root}",
            f"--runroot={folder / 'run'}",
            "--storage-driver=vfs",
        ]
        self.command += ["--cgroup-manager=cgroupfs"]
        archive = folder / "image.tar"
        archive.write_bytes(busybox.root_filesystem({}))
        subprocess.run(
            [*self.command, "import", str(archive), harness.BUSYBOX], check=True, capture_output=True
        )

    def call(self, method: str, path: str, body: object = None) -> Any:
        status, answer = raw_api.request(self.socket, method, path, body, 60.0)
        assert 200 <= status < 300, f"{method} {path}: {status} {answer}"
        return answer

    def answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.call("GET", "/_ping") is not None
        return False


@pytest.fixture
def podman() -> Iterator[Podman]:
    folder = Path(tempfile.mkdtemp(prefix="bsp-", dir="/var/tmp"))  # short: a socket path has 107 bytes
    made = Podman(folder)
    service = subprocess.Popen(
        [*made.command, "system", "service", "--time=0", made.host],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(made.answers)
        yield made
        subprocess.run(
            [*made.command, "rm", "--all", "--force", "--time=0"], check=False, capture_output=True
        )
    finally:
        service.terminate()
        service.wait(10)
        remains.unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


def create(podman: Podman, name: str, labels: dict[str, str]) -> None:
    podman.call("POST", "/volumes/create", {"Name": "data", "Labels": {"backrest.enable": "true"}})
    host = {"NetworkMode": "none", "Binds": ["data:/data"], **LIMITS}
    body = {"Image": harness.BUSYBOX, "Cmd": list(harness.STAYS), "Labels": labels, "HostConfig": host}
    podman.call("POST", f"/containers/create?name={name}", body)


def test_podman_is_a_docker_engine_to_us(podman: Podman) -> None:
    create(podman, "web", {"backrest.keep": "daily=3"})
    adapter = Engine(podman.host, environ={})

    first, second = adapter.snapshot(), adapter.snapshot()
    adapter.start("web")
    found = adapter.find("web")

    one = first.containers[0]
    assert (one.name, dict(one.labels)) == ("web", {"backrest.keep": "daily=3"})
    assert [(m.type, m.name, m.source) for m in one.mounts] == [
        ("volume", "data", f"{podman.root}/volumes/data/_data")
    ]
    assert dict(first.volumes["data"].labels) == {"backrest.enable": "true"}
    assert second.containers[0] is one
    assert first.docker_root == str(podman.root)
    # Podman makes up another id for each answer; a change of it must not look like another engine.
    assert first.engine_id == second.engine_id == Engine(podman.host, environ={}).snapshot().engine_id
    assert adapter.info().product == "podman"
    assert found is not None
    assert found.running
    assert any("sleep" in p.command for p in eventually(lambda: adapter.top("web")))
    adapter.stop("web", timeout=1)
    assert adapter.wait("web", timeout=10) is not None
    adapter.close()


def test_podman_s_own_words_for_events_are_known(podman: Podman) -> None:
    rig = Rig(Engine(podman.host, environ={}))
    with rig:
        assert rig.next() == "engine connected"
        began = time.monotonic()
        create(podman, "web", {})
        assert rig.next()
        assert time.monotonic() - began < 3.0
        while rig.next(timeout=0.7):
            pass
        podman.call("DELETE", "/containers/web")

        assert rig.next() in {"container remove", "container destroy"}


def test_podman_tells_which_volume_came_and_went(podman: Podman) -> None:
    create(podman, "web", {})
    with Rig(Engine(podman.host, environ={})) as rig:
        while rig.next() != "engine connected":
            pass
        while rig.next(timeout=1.0):  # events of a second ago are replayed
            pass
        assert dict(rig.engine.snapshot().volumes["data"].labels) == {"backrest.enable": "true"}
        for labels in ({"backrest.enable": "false"}, {"backrest.paths.exclude": "cache"}):
            podman.call("POST", "/volumes/create", {"Name": "more", "Labels": labels})
            assert rig.next() == "volume create"
            assert dict(rig.engine.snapshot().volumes["more"].labels) == labels
            podman.call("DELETE", "/volumes/more")
            eventually(lambda: "more" not in rig.engine.snapshot().volumes)
            while rig.next(timeout=0.7):
                pass
