"""A stack of three services on a swarm of one node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.engine.harness import TestEngine
from tests.waiting import eventually

SERVICES = ("web", "db", "files")
STACK = """
version: "3.8"
x-common: &common
  image: busybox:test
  networks: [host]
services:
  web:
    <<: *common
    labels: {backrest.keep: daily=3}
    deploy: {replicas: 1, labels: {backrest.enable: "true", backrest.keep: daily=9}}
    volumes: ["web:/data"]
  db:
    <<: *common
    labels: {backrest.enable: "true", backrest.hooks.template: simple-stop-start, backrest.quiesce: "true"}
    deploy: {replicas: 1}
    volumes: ["db:/data"]
  files:
    <<: *common
    labels: {backrest.enable: "true", backrest.hooks.template: simple-stop-start}
    deploy: {mode: global}
    volumes: ["files:/data"]
networks: {host: {external: true, name: host}}
volumes: {web: {}, db: {}, files: {}}
"""


@contextmanager
def swarm_of_one() -> Iterator[TestEngine]:
    """Yield an engine that is a swarm by itself, with the stack ``shop`` running."""
    with TestEngine() as node:
        node.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
        deploy(node)
        eventually(lambda: all(running(node, service) == 1 for service in SERVICES), 60, every=0.2)
        yield node
        node.docker("swarm", "leave", "--force")


def deploy(node: TestEngine, text: str = STACK) -> None:
    """Deploy the stack."""
    file = node.folder / "stack.yml"
    file.write_text(text)
    node.docker("stack", "deploy", "--compose-file", str(file), "--resolve-image", "never", "shop")


def redeploy(node: TestEngine, service: str) -> None:
    """Do what ``docker service update --force`` does."""
    found = node.call("GET", f"/services/shop_{service}")
    spec, version = found["Spec"], found["Version"]["Index"]
    spec["TaskTemplate"]["ForceUpdate"] = spec["TaskTemplate"].get("ForceUpdate", 0) + 1
    node.call("POST", f"/services/{found['ID']}/update?version={version}", spec)


def tasks(node: TestEngine, service: str) -> Mapping[str, str]:
    """Return the states of a service's containers by id, those of ended tasks too."""
    listed: list[dict[str, Any]] = node.call("GET", "/containers/json?all=1")
    label = "com.docker.swarm.service.name"
    return {c["Id"]: c["State"] for c in listed if c["Labels"].get(label) == f"shop_{service}"}


def running(node: TestEngine, service: str) -> int:
    """Return how many containers of a service run."""
    return list(tasks(node, service).values()).count("running")


def replicas(node: TestEngine, service: str) -> int:
    """Return how many replicas a service wants."""
    found = node.call("GET", f"/services/shop_{service}")["Spec"]["Mode"]["Replicated"].get("Replicas", 0)
    return int(found)
