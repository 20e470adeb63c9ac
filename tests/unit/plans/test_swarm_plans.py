"""Plans of Swarm services: who counts, what their hooks are, and who is no orphan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sidecar.engine.model import SWARM_SERVICE, SWARM_STACK, Container, SwarmRole, SwarmService
from sidecar.merge.orphans import look_at_absent
from sidecar.merge.result import MergeOptions
from sidecar.plans.hooks import START_MARKER, STOP_MARKER
from sidecar.plans.rendering import Owner
from tests.unit.builders import codes, container, one, rendering, volume

STACK = {SWARM_STACK: "shop"}
TEMPLATE = {"hooks.template": "simple-stop-start"}


def task(
    slot: int = 1, number: int = 1, service: str = "web", labels: dict[str, str] | None = None, **fields: Any
) -> Container:
    name = f"shop_{service}.{slot}.{number:025d}"
    own = {SWARM_SERVICE: f"shop_{service}", "com.docker.swarm.task.name": name, **STACK}
    fields.setdefault("created", number)
    return container(name, {**own, **(labels or {})}, (volume(f"shop_{service}"),), **fields)


def services(role: SwarmRole = "manager", **more: Any) -> dict[str, Any]:
    given = {"labels": STACK, "replicas": 1, **more}
    return {"swarm": role, "services": {"shop_web": SwarmService("id", "shop_web", **given)}}


def test_a_plan_is_named_after_the_service_whatever_task_it_runs_in() -> None:
    ids = {one(task(slot, number), snapshot=services()).plan.id for slot in (1, 2) for number in (1, 2, 3)}
    assert ids == {"backrest_sidecar_web"}
    assert one(task(), include_project_name=True).plan.id == "backrest_sidecar_shop_web"


def test_containers_of_ended_tasks_do_not_count() -> None:
    ended = (task(1, 1, state="exited"), task(2, 2, state="exited"))
    assert one(*ended, task(1, 3), snapshot=services()).containers == (task(1, 3).name,)
    assert not rendering(*ended, snapshot=services()).plans


def test_what_runs_counts_alone_and_else_what_is_about_to() -> None:
    overtaken = replace(task(2, 2, state="created"), mounts=(volume("of_an_older_spec"),))
    assert one(task(1, 1), overtaken, snapshot=services()).containers == (task(1, 1).name,)
    coming = task(1, 3, state="created")
    assert one(task(1, 1, state="exited"), coming, snapshot=services()).containers == (coming.name,)
    assert not rendering(overtaken, snapshot=services(replicas=0)).plans


@pytest.mark.parametrize("more", [{"restart": "none"}, {"mode": "replicatedJob"}])
def test_the_data_of_a_job_that_is_done_is_backed_up(more: dict[str, Any]) -> None:
    assert one(task(1, 1, state="exited"), task(1, 2, state="exited"), snapshot=services(**more))


def test_a_worker_cannot_tell_a_moved_service_from_a_job_and_keeps_the_plan() -> None:
    assert one(task(1, 1, state="exited"), snapshot={"swarm": "worker"})
    assert one(task(1, 1, state="exited"), snapshot={"swarm": "manager"})  # services forbidden by a proxy


def test_the_template_scales_the_service() -> None:
    start, stop = one(
        task(1, 1, labels=TEMPLATE), task(2, 2, labels=TEMPLATE), snapshot=services()
    ).plan.hooks
    assert start.command.startswith(START_MARKER)
    assert stop.command.startswith(STOP_MARKER)
    assert "docker service scale --detach shop_web=0" in stop.command
    assert 'docker service scale --detach shop_web="$n"' in start.command
    assert "docker stop" not in stop.command


def test_hooks_stay_the_same_over_redeploys() -> None:
    both = [one(task(1, n, labels=TEMPLATE), snapshot=services(replicas=n)).plan for n in (1, 2)]
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (services("worker"), "only a manager can scale"),
        (services(mode="global", replicas=None), "its mode is global"),
        ({"swarm": "manager"}, "does not tell about services"),
    ],
)
def test_where_it_cannot_be_scaled_the_template_is_refused_and_the_plan_is_rendered(
    snapshot: dict[str, Any], reason: str
) -> None:
    found = rendering(task(labels=TEMPLATE), snapshot=snapshot)
    assert [plan.plan.hooks for plan in found.plans] == [()]
    assert [f.message for f in found.findings if f.code == "template-refused" and reason in f.message]


def test_a_service_that_runs_backrest_is_not_scaled() -> None:
    found = rendering(task(labels=TEMPLATE), snapshot=services(), backrest_container="web")
    assert found.plans[0].plan.hooks == ()
    assert "template-refused" in codes(found)


def test_label_commands_are_no_matter_of_scaling() -> None:
    labels = {"snapshot-start": "docker exec $SELF sync"}
    found = rendering(task(labels=labels), snapshot=services("worker"))
    assert [hook.command for hook in found.plans[0].plan.hooks] == [f"docker exec {task().name} sync"]
    assert not found.findings


@pytest.mark.parametrize(("replicas", "orphan"), [(0, False), (1, True)])
def test_a_service_scaled_to_nothing_is_no_orphan(replicas: int, orphan: bool) -> None:
    owners = {
        f"backrest_sidecar_{name}": Owner(key) for name, key in (("web", "shop/web"), ("x", "shop/web#x"))
    }
    found = rendering(owners=owners, snapshot=services(replicas=replicas))
    absent = look_at_absent(
        found, owners, owners.keys(), MergeOptions(), now=1000.0, settled=lambda _id: True
    )
    assert [case.orphan for case in absent] == [orphan, orphan]
