"""Rendering and merging: labels from images, typos under a labelled volume, doubled hooks."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sidecar.backrest.protected import protected
from sidecar.engine.model import EngineSnapshot, Volume
from sidecar.merge.merge import MergeOptions, merge
from sidecar.plans.rendering import Owner, PlanFacts
from tests.unit.builders import bind, codes, container, one, rendering, view, volume
from tests.unit.stage import CONFIG

LABELLED = Volume("data", labels={"backrest.enable": "true"})


def by_volume(labels: dict[str, str], **fields: Any) -> Any:
    return container("web", labels, (volume("data"),), enable=False, **fields)


def test_a_labelled_volume_does_not_make_the_images_hooks_run() -> None:
    evil = {"backrest.snapshot-start": "touch /tmp/evil", "backrest.enable": "true"}
    web = by_volume({"snapshot-start": "touch /tmp/evil", "enable": "true"}, image_labels=evil)
    assert web.labels["backrest.enable"] == "true"
    plan = one(web, volumes=(LABELLED,)).plan
    assert plan.hooks == ()


def test_a_typo_under_a_labelled_volume_keeps_the_plan_it_had() -> None:
    result = rendering(by_volume({"schedule": "99 * * * *"}), volumes=(LABELLED,))
    assert not result.plans
    assert result.present == {"/web"}


def test_a_hook_given_twice_beside_one_of_the_users_is_written_once() -> None:
    web = container("web", {"snapshot-start": "sync,sleep 1,sync"})
    wish = rendering(web, on=view(repos=("main",)))
    first = merge(CONFIG, wish, {}, MergeOptions(), 0.0)
    document = copy.deepcopy(first.data)
    document["plans"][-1]["hooks"].append(
        {"conditions": ["CONDITION_SNAPSHOT_ERROR"], "actionCommand": {"command": "mail me"}}
    )
    again = merge(document, wish, first.owners, MergeOptions(), 0.0)
    assert not again.changed, again.changes


def test_a_missing_copy_of_a_hook_given_twice_is_put_back() -> None:
    web = container("web", {"snapshot-start": "sync,sleep 1,sync"})
    wish = rendering(web, on=view(repos=("main",)))
    first = merge(CONFIG, wish, {}, MergeOptions(), 0.0)
    document = copy.deepcopy(first.data)
    del document["plans"][-1]["hooks"][2]
    again = merge(document, wish, first.owners, MergeOptions(), 0.0)
    assert [hook["actionCommand"]["command"] for hook in again.data["plans"][-1]["hooks"]] == [
        "sync",
        "sleep 1",
        "sync",
    ]
    assert not merge(again.data, wish, again.owners, MergeOptions(), 0.0).changed


def test_a_renamed_plan_stays_in_its_repo() -> None:
    web = container("web")
    on = view(
        PlanFacts("a-usb", "offsite", ("/x",)),
        PlanFacts("old_web", "main", ("/var/lib/docker/volumes/web_data/_data",)),
    )
    plan = one(web, on=on, owners={"old_web": Owner("/web")}, plan_id_prefix="new_").plan
    assert (plan.id, plan.repo) == ("new_web", "main")


def test_the_go_tools_hooks_are_known_for_every_replica() -> None:
    two = [
        container(f"s-web-{n}", {"hooks.template": "simple-stop-start"}, compose=("s", "web", str(n)))
        for n in (1, 2)
    ]
    go = one(*two).go_hooks
    assert {"docker stop s-web-1", "docker stop s-web-2", "docker start s-web-2"} <= set(go)


def test_a_default_retention_that_cannot_be_expressed_is_said() -> None:
    result = rendering(container("web"), default_retention="daily=7,within=30d")
    assert result.plans[0].plan.retention is None
    assert "keep-inexpressible" in codes(result)


def two_projects(label: dict[str, str]) -> tuple[Any, Any]:
    mounts = (bind("/srv/shared", "/data"),)
    return (
        container("a-web-1", label, mounts, compose=("a", "web")),
        container("b-web-1", {}, mounts, compose=("b", "web")),
    )


@pytest.mark.parametrize("label", [{"schedule": "99 * * * *"}, {"enable": "false"}])
def test_a_plan_id_is_not_taken_from_a_workload_that_lives(label: dict[str, str]) -> None:
    owners = {"backrest_sidecar_web": Owner("a/web", disabled=label == {"enable": "false"})}
    on = view(PlanFacts("backrest_sidecar_web", "main", ("/srv/shared",)))
    result = rendering(*two_projects(label), on=on, owners=owners)
    assert [plan.plan.id for plan in result.plans] == ["backrest_sidecar_b_web"]


@pytest.mark.parametrize(
    ("image", "is_it"),
    [
        ("garethgeorge/backrest", True),
        ("garethgeorge/backrest:v1.9.0-scratch", True),
        ("ghcr.io/garethgeorge/backrest:latest@sha256:" + "a" * 64, True),
        ("localhost:5000/garethgeorge/backrest", True),
        ("garethgeorge/backrest-docs:1", False),
    ],
)
def test_an_image_of_backrest_is_known_by_its_name(image: str, is_it: bool) -> None:
    snapshot = EngineSnapshot(containers=(container("other", image=image),))
    assert bool(protected(snapshot, "backrest", "/var/run/docker.sock")) is is_it
