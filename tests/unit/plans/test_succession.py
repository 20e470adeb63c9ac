"""A workload that vanished and one that appeared with its project and paths are one: the plan goes over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sidecar.engine.model import Container, EngineSnapshot
from sidecar.merge.merge import Merge, MergeOptions, merge
from sidecar.plans import config_view
from sidecar.plans.render import Memo, render
from sidecar.plans.rendering import Owners
from sidecar.plans.workloads import Workload
from tests.unit.builders import container, settings, volume
from tests.unit.merge_rig import NOW, config, edit, kinds, plan_of

FIRST = "backrest_sidecar_u0_1"
HOUR = 3600.0


def app(name: str, *mounts: str, project: str = "u0", **labels: str) -> Container:
    """A container of Coolify's kind: container and service have a new name at each deploy."""
    volumes = tuple(volume(v, f"/{v}") for v in mounts or ("data",))
    return container(name, labels, volumes, compose=(project, name) if project else None)


class World:
    """Passes over an engine that changes, as renderer and writer make them."""

    def __init__(self, **options: Any) -> None:
        self.data: dict[str, Any] = config()
        self.owners: Owners = {}
        self.now = NOW
        self.options = options
        self.memo = Memo()

    def look(self, *containers: Container, after: float = 60.0, **flags: Any) -> Merge:
        self.now += after
        view = config_view.view(self.data)
        snapshot = EngineSnapshot(containers)
        rendering = render(snapshot, view, self.owners, settings(**flags), memo=self.memo)
        fresh = render(snapshot, view, self.owners, settings(**flags))
        assert rendering == fresh, "what is remembered only saves time"
        self.findings = rendering.findings
        merged = merge(self.data, rendering, self.owners, MergeOptions(**self.options), self.now)
        self.data, self.owners = merged.data, merged.owners
        self.rendering = rendering
        return merged

    def said(self, merged: Merge) -> list[str]:
        return sorted(finding.code for finding in (*self.findings, *merged.findings))

    def enabled(self) -> list[str]:
        return sorted(p["id"] for p in self.data["plans"] if not p["schedule"].get("disabled"))


def test_a_new_name_at_each_deploy_is_one_plan() -> None:
    world = World()
    world.look(app("u0-1", **{"hooks.template": "stop-start"}))
    for number in (2, 3, 4):
        merged = world.look(app(f"u0-{number}", **{"hooks.template": "stop-start"}))
        assert world.said(merged) == ["successor"]
        (finding,) = merged.findings
        assert f"u0/u0-{number - 1} is gone, and u0/u0-{number} has its paths" in finding.message
        assert finding.container == f"u0-{number}"
        assert world.enabled() == [FIRST]
        stop = plan_of(world.data, FIRST)["hooks"][1]["actionCommand"]["command"]
        assert f"docker stop u0-{number} " in stop
        again = world.look(app(f"u0-{number}", **{"hooks.template": "stop-start"}))
        assert (again.changed, world.said(again), again.owners is merged.owners) == (False, [], True)
    owner = world.owners[FIRST]
    assert (owner.workload, owner.origin) == ("u0/u0-4", "u0/u0-1")
    assert world.rendering.plans[0].sources["id"] == "the plan of u0/u0-1, whose paths it has"
    assert kinds(world.look()) == {}
    assert world.owners[FIRST].absent_since


def test_docker_rename_takes_the_plan_along_and_a_rename_back_too() -> None:
    world = World()
    world.look(app("db", project=""))
    merged = world.look(app("database", project=""))
    assert world.said(merged) == ["successor"]
    assert world.enabled() == ["backrest_sidecar_db"]
    back = world.look(app("db", project=""))
    assert world.said(back) == ["successor"]
    assert world.enabled() == ["backrest_sidecar_db"]
    owner = world.owners["backrest_sidecar_db"]
    assert (owner.workload, owner.origin) == ("/db", "")
    assert "id" not in world.rendering.plans[0].sources


@pytest.mark.parametrize(
    ("successor", "why"),
    [
        (app("u0-2", project="u1"), "another project"),
        (app("u0-2", project=""), "of no project"),
        (app("u0-2", "data", "more"), "more paths"),
        (app("u0-2", "other"), "other paths"),
        (app("u0-2", **{"backrest.db.enable": "true", "enable": ""}), "a named plan"),
    ],
)
def test_nothing_is_taken_over_by(successor: Container, why: str) -> None:
    world = World()
    world.look(app("u0-1"))
    merged = world.look(successor)
    assert "successor" not in world.said(merged), why
    assert len(world.enabled()) == 2
    assert world.owners[FIRST].workload == "u0/u0-1"


@pytest.mark.parametrize("old", [app("u0-1", enable=""), replace(app("u0-1"), labels={
    k: v for k, v in app("u0-1").labels.items() if not k.startswith("backrest.")}, state="exited")])  # fmt: skip
def test_nothing_is_taken_from_a_workload_that_is_there(old: Container) -> None:
    world = World()
    world.look(app("u0-1"))
    merged = world.look(old, app("u0-2"))
    assert "successor" not in world.said(merged)
    assert world.owners[FIRST].workload == "u0/u0-1"
    assert world.enabled() == [FIRST, "backrest_sidecar_u0_2"]


def test_when_two_could_take_over_none_does_and_it_is_said() -> None:
    world = World()
    world.look(app("u0-1"))
    merged = world.look(app("u0-2"), app("u0-3"))
    assert world.said(merged) == ["orphan", "same-backup", "successors-compete"]
    assert world.enabled() == [FIRST, "backrest_sidecar_u0_2", "backrest_sidecar_u0_3"]
    (compete,) = (f for f in world.findings if f.code == "successors-compete")
    for name in ("u0/u0-1", "u0/u0-2", "u0/u0-3", FIRST):
        assert name in compete.message


def test_named_plans_go_over_with_the_default_one() -> None:
    labels = {"backrest.db.paths.include": "/db", "paths.include": "/data"}
    world = World()
    world.look(app("u0-1", "data", "db", **labels))
    before = world.enabled()
    assert before == [FIRST, f"{FIRST}_db"]
    merged = world.look(app("u0-2", "data", "db", **labels))
    assert world.said(merged) == ["successor", "successor"]
    assert world.enabled() == before
    assert {o.workload for o in world.owners.values()} == {"u0/u0-2", "u0/u0-2#db"}


def test_a_plan_disabled_as_an_orphan_comes_back_with_the_successor() -> None:
    world = World(orphans="disable", orphan_grace=HOUR)
    world.look(app("u0-1"))
    world.look()
    assert kinds(world.look(after=2 * HOUR)) == {FIRST: "disabled"}
    assert kinds(world.look(app("u0-2"))) == {FIRST: "enabled"}
    assert world.enabled() == [FIRST]


def test_of_several_left_behind_the_latest_goes_over() -> None:
    """What a version that knew no successors has made."""
    world = World()
    world.look(app("u0-1"), app("u0-2"))
    world.look(app("u0-2"))
    merged = world.look(app("u0-3"))
    assert world.owners["backrest_sidecar_u0_2"].workload == "u0/u0-3"
    assert world.owners[FIRST].workload == "u0/u0-1"
    assert world.said(merged) == ["same-backup", "successor"]
    (twice,) = (f for f in merged.findings if f.code == "same-backup")
    assert f'"{FIRST}" (of u0/u0-1, which asks for it no more)' in twice.message


def test_the_old_one_comes_back_beside_its_successor() -> None:
    world = World()
    world.look(app("u0-1"))
    world.look(app("u0-2"))
    merged = world.look(app("u0-1"), app("u0-2"))
    assert world.owners[FIRST].workload == "u0/u0-2"
    assert world.enabled() == [FIRST, "backrest_sidecar_u0_u0_1"], "each has a plan"
    assert world.said(merged) == ["plan-id-contested", "same-backup"]
    stable = world.look(app("u0-1"), app("u0-2"))
    assert not stable.changed
    rolled_back = world.look(app("u0-1"))
    assert world.said(rolled_back) == ["successor"]
    world.look(app("u0-1"))
    assert world.enabled() == [FIRST]
    assert world.owners[FIRST].workload == "u0/u0-1"


class TestOverlap:
    """Deploys that start the new container before they stop the old one."""

    def deploy(self, world: World, after: float = 60.0) -> Merge:
        world.look(app("u0-1"))
        both = world.look(app("u0-1"), app("u0-2"), after=30 * 24 * HOUR)
        assert "same-backup" in world.said(both)
        assert world.enabled() == [FIRST, "backrest_sidecar_u0_2"]
        return world.look(app("u0-2"), after=after)

    def test_the_new_one_takes_the_old_plan_and_its_own_goes(self) -> None:
        world = World()
        assert "successor" in world.said(self.deploy(world))
        after = world.look(app("u0-2"))
        assert kinds(after) == {"backrest_sidecar_u0_2": "removed"}
        assert world.said(after) == ["twin-retired"]
        assert list(world.owners) == [FIRST]
        assert (world.owners[FIRST].workload, world.owners[FIRST].absent_since) == ("u0/u0-2", 0.0)
        again = world.look(app("u0-2"))
        assert (again.changed, world.said(again)) == (False, [])

    def test_over_and_over(self) -> None:
        world = World()
        world.look(app("u0-1"))
        for number in range(2, 6):
            world.look(app(f"u0-{number - 1}"), app(f"u0-{number}"), after=24 * HOUR)
            for _ in range(3):
                world.look(app(f"u0-{number}"))
            assert [plan["id"] for plan in world.data["plans"]] == [FIRST]

    def test_what_somebody_has_touched_is_disabled_instead(self) -> None:
        world = World()
        self.deploy(world)
        world.data = edit(world.data, "backrest_sidecar_u0_2", backup_flags=["--one-file-system"])
        assert kinds(world.look(app("u0-2"))) == {"backrest_sidecar_u0_2": "disabled"}
        assert world.enabled() == [FIRST]
        assert not world.look(app("u0-2")).changed

    @pytest.mark.parametrize("options", [{"orphans": "keep", "orphans_explicit": True}])
    def test_an_explicit_keep_keeps(self, options: dict[str, Any]) -> None:
        world = World(**options)
        self.deploy(world)
        world.look(app("u0-2"))
        assert world.enabled() == [FIRST, "backrest_sidecar_u0_2"]

    def test_two_services_of_one_volume_for_long_are_two(self) -> None:
        world = World()
        merged = self.deploy(world, after=2 * HOUR)
        assert world.said(merged) == ["orphan", "same-backup"]
        world.look(app("u0-2"))
        assert world.enabled() == [FIRST, "backrest_sidecar_u0_2"]
        assert world.owners["backrest_sidecar_u0_2"].origin == ""


def test_another_prefix_renames_an_inherited_plan_by_its_first_workload() -> None:
    world = World(orphans="disable")
    world.look(app("u0-1"))
    world.look(app("u0-2"))
    merged = world.look(app("u0-2"), plan_id_prefix="x_")
    assert merged.renamed == ((FIRST, "x_u0_1"),)
    assert world.enabled() == ["x_u0_1"]
    assert not world.look(app("u0-2"), plan_id_prefix="x_").changed


def test_a_successor_that_is_skipped_for_now_loses_nothing() -> None:
    world = World(orphans="remove", orphan_grace=0.0)
    world.look(app("u0-1"))
    merged = world.look(app("u0-2", repo="no-such-repo"))
    assert "no-repo" in world.said(merged) or "unknown-repo" in world.said(merged)
    assert world.enabled() == [FIRST]
    world.look(app("u0-2"))
    assert world.enabled() == [FIRST]
    assert world.owners[FIRST].workload == "u0/u0-2"


@pytest.mark.parametrize(
    "workload",
    [
        Workload("p", "web"),
        Workload("", "web"),
        Workload("", "", "web"),
        Workload("p", "a/b", plan="db"),
        Workload("", "", "web", "db"),
        Workload("", "web", plan="db"),
    ],
)
def test_a_key_gives_its_workload_back(workload: Workload) -> None:
    assert Workload.of_key(workload.key) == workload
