"""One swarm of two nodes: each covers what runs on it, and one look tells of both."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sidecar.engine.client import Engine
from tests.engine import two_nodes
from tests.engine.harness import BUSYBOX, STAYS, TestEngine
from tests.engine.sidecar_process import run, write_config
from tests.engine.swarm_rig import running
from tests.engine.two_nodes import Pair
from tests.waiting import eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]

ON_MANAGER, ON_WORKER = "node.role==manager", "node.role==worker"


@pytest.fixture(scope="module")
def pair(can_run_engine: None) -> Iterator[Pair]:
    why = two_nodes.make_cable()
    if why and os.environ.get("REQUIRE_ENGINE") == "1":
        pytest.fail(why)
    if why:
        pytest.skip(why)
    try:
        with two_nodes.joined() as made:
            service(made, "here", "--constraint", ON_MANAGER)
            service(made, "there", "--constraint", ON_WORKER)
            service(made, "both", "--mode", "global")
            service(made, "quiet", "--constraint", ON_MANAGER, enable=False)
            nodes = ((made.manager, "here"), (made.manager, "both"), (made.manager, "quiet"))
            for node, name in (*nodes, (made.worker, "there"), (made.worker, "both")):
                eventually(partial(runs, node, name), 60, every=0.2)
            for node in (made.manager, made.worker):
                node.run_container("backrest", volumes=[f"{node.root}/volumes:{node.root}/volumes:ro"])
            yield made
    finally:
        two_nodes.remove_cable()


def runs(node: TestEngine, service: str, count: int = 1) -> bool:
    return running(node, service) == count


def service(pair: Pair, name: str, *more: str, enable: bool = True) -> None:
    labels = ["--container-label=com.docker.stack.namespace=shop", "--label=com.docker.stack.namespace=shop"]
    labels += ["--container-label=backrest.enable=true"] if enable else []
    mount = f"type=volume,source={name},target=/data"
    options = ["--detach", f"--name=shop_{name}", "--network=host", f"--mount={mount}", *labels, *more]
    pair.manager.docker("service", "create", *options, BUSYBOX, *STAYS)


def explained(
    pair: Pair, tmp_path: Path, *args: str, first: TestEngine | None = None
) -> tuple[int, dict[str, Any]]:
    """Return the exit code and each workload's (runs on, covered by) of one call."""
    config = tmp_path / "config.json"
    write_config(config)
    socket = (first or pair.manager).host
    done = run("explain", "--json", "--config", str(config), "--docker-sock", socket, *args)
    document = json.loads(done.stdout)
    return done.returncode, {row["workload"]: row for row in document["workloads"]}


def test_each_workload_is_covered_exactly_once_by_each_node_it_runs_on(pair: Pair, tmp_path: Path) -> None:
    one, other = two_nodes.names()
    code, found = explained(pair, tmp_path, "--all-nodes", "--host", pair.worker.host)

    assert code == 0
    assert {name: sorted(row["covered_by"]) for name, row in found.items()} == {
        "shop/here": [one], "shop/there": [other], "shop/both": [one, other], "shop/quiet": [], "backrest": [],
    }  # fmt: skip
    assert {name: row["verdict"] for name, row in found.items()} == {
        "shop/here": "covered", "shop/there": "covered", "shop/both": "covered", "shop/quiet": "none",
        "backrest": "none",
    }  # fmt: skip
    assert found["shop/here"]["runs_on"] == [one]
    assert found["shop/there"]["runs_on"] == [other]


def test_a_node_that_nobody_looked_at_is_named(pair: Pair, tmp_path: Path) -> None:
    one, other = two_nodes.names()
    code, found = explained(pair, tmp_path, "--all-nodes")

    assert code == 0
    assert found["shop/there"]["verdict"] == "none"
    assert found["shop/there"]["reasons"] == [f"{other}: not looked at; add --host tcp://{other}:2376"]
    assert found["shop/both"]["verdict"] == "partly"
    assert found["shop/both"]["covered_by"] == [one]


def test_a_node_without_backrest_covers_nothing(pair: Pair, tmp_path: Path) -> None:
    _, other = two_nodes.names()
    pair.worker.docker("stop", "--time", "1", "backrest")
    _, found = explained(pair, tmp_path, "--host", pair.worker.host)
    pair.worker.docker("start", "backrest")

    assert found["shop/there"]["verdict"] == "none"
    assert found["shop/there"]["reasons"] == [f"{other}: no Backrest runs there"]


def test_a_worker_alone_cannot_tell_of_the_swarm(pair: Pair, tmp_path: Path) -> None:
    code, found = explained(pair, tmp_path, "--all-nodes", first=pair.worker)

    assert code == 3
    assert found["shop/there"]["verdict"] == "covered"


def test_a_worker_says_once_that_it_does_not_know_labels_of_services(pair: Pair) -> None:
    adapter = Engine(pair.worker.host, environ={})
    for _ in range(2):
        snapshot = adapter.snapshot()
        assert snapshot.swarm == "worker"
        assert [note for note in snapshot.notes if "worker" in note] == list(snapshot.notes)
        assert len(snapshot.notes) == 1
    adapter.close()


def test_a_service_that_moved_is_covered_where_it_runs(pair: Pair, tmp_path: Path) -> None:
    """It leaves the container of its ended task behind; the manager knows that it is not there any more."""
    one, _ = two_nodes.names()
    swap = ("--constraint-rm", ON_WORKER, "--constraint-add", ON_MANAGER)
    pair.manager.docker("service", "update", "--detach", *swap, "shop_there")
    eventually(partial(runs, pair.manager, "there"), 60, every=0.2)
    eventually(partial(runs, pair.worker, "there", 0), 60, every=0.2)

    code, found = explained(pair, tmp_path, "--all-nodes", "--host", pair.worker.host)

    assert code == 0
    assert (found["shop/there"]["runs_on"], found["shop/there"]["covered_by"]) == ([one], [one])


def test_an_engine_that_does_not_answer_fails_and_the_rest_is_told(pair: Pair, tmp_path: Path) -> None:
    code, found = explained(pair, tmp_path, "--host", str(tmp_path / "none.sock"))

    assert code == 3
    assert found["shop/here"]["verdict"] == "covered"
