"""The adapter on a swarm of one node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sidecar.engine.client import Engine
from sidecar.supervision.mailbox import Mailbox
from tests.engine.harness import TestEngine
from tests.listening import Rig
from tests.waiting import eventually

pytestmark = pytest.mark.engine

STACK = """
version: "3.8"
services:
  db:
    image: busybox:test
    labels: {backrest.keep: daily=3}
    deploy: {replicas: 1, labels: {backrest.enable: "true", backrest.keep: daily=9}}
    volumes: ["data:/data"]
    networks: [host]
networks: {host: {external: true, name: host}}
volumes: {data: {}}
"""


@pytest.fixture
def swarm(own_engine: TestEngine) -> Iterator[TestEngine]:
    own_engine.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
    file = own_engine.folder / "stack.yml"
    file.write_text(STACK)
    own_engine.docker("stack", "deploy", "--compose-file", str(file), "--resolve-image", "never", "shop")
    yield own_engine
    own_engine.docker("swarm", "leave", "--force")


def running(adapter: Engine, count: int) -> bool:
    return [c.state for c in adapter.snapshot().containers].count("running") == count


def test_tasks_have_their_service_s_labels_and_follow_them(swarm: TestEngine) -> None:
    adapter = Engine(swarm.host, environ={})
    eventually(lambda: running(adapter, 1), 30)

    task = adapter.snapshot().containers[0]
    swarm.docker("service", "update", "--detach", "--label-add", "backrest.schedule=0 4 * * *", "shop_db")
    relabelled = eventually(
        lambda: [c for c in adapter.snapshot().containers if "backrest.schedule" in c.labels]
    )

    assert (task.project, task.service) == ("shop", "db")
    assert (task.labels["backrest.enable"], task.labels["backrest.keep"]) == ("true", "daily=3")
    assert [c.id for c in relabelled] == [task.id]
    assert adapter.info().swarm == "manager"
    adapter.close()


def test_a_service_is_scaled_down_and_back(swarm: TestEngine) -> None:
    adapter = Engine(swarm.host, environ={})
    eventually(lambda: running(adapter, 1), 30)

    assert adapter.swarm.scale("shop_db", 0) == 1
    eventually(lambda: running(adapter, 0), 30)
    assert adapter.swarm.scale("shop_db", 1) == 0
    eventually(lambda: running(adapter, 1), 30)

    service = adapter.swarm.service("shop_db")
    assert service is not None
    assert (service.mode, service.replicas, service.mounts[0].name) == ("replicated", 1, "shop_data")
    assert [node.role for node in adapter.swarm.nodes()] == ["manager"]
    up = [c.id for c in adapter.snapshot().containers if c.state == "running"]
    eventually(lambda: [t.container_id for t in adapter.swarm.tasks() if t.state == "running"] == up)
    assert adapter.swarm.service("none") is None
    adapter.close()


def test_an_update_of_a_service_wakes_the_listener(swarm: TestEngine) -> None:
    rig = Rig(Engine(swarm.host, environ={}))
    rig.inbox = Mailbox(64)
    with rig:
        assert rig.next() == "engine connected"
        swarm.docker("service", "update", "--detach", "--label-add", "backrest.keep=daily=1", "shop_db")

        eventually(lambda: rig.next() == "service update", 20)
