"""Which container is Backrest: one answer for paths, for restarts, and for what is not clear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.backrest.container import locate
from sidecar.backrest.protected import choose_backrest, find_backrest
from sidecar.engine.model import Container, EngineSnapshot, Mount
from sidecar.engine.types import ContainerState, PathStat
from sidecar.plans.desired import Desired, path_view
from sidecar.plans.mounts import View, view_of
from sidecar.plans.rendering import AMBIGUOUS_BACKREST, Basis, Owner, Rendering
from tests.unit.backrest.test_container import ScriptedEngine
from tests.unit.builders import container, settings, view
from tests.unit.commands.test_reconcile import WEB, Rig, rig

__all__ = ["rig"]


def backrest(project: str, *, name: str = "", **fields: Any) -> Container:
    """A Backrest of a Compose project, which sees the volumes at ``/of-<project>``."""
    called = name or f"{project}-backrest-1"
    mounts = (Mount("bind", "/var/lib/docker/volumes", f"/of-{project}"),)
    fields.setdefault("id", (called.encode().hex() * 8)[:64])
    return container(called, mounts=mounts, compose=(project, "backrest"), enable=False, **fields)


ONE, TWO = backrest("one"), backrest("two")
VIEW_OF_ONE = view_of(ONE.mounts)


def chosen(*containers: Container, wanted: str = "backrest") -> str:
    choice = choose_backrest(containers, wanted)
    return choice.container.name if choice.container else choice.ambiguous


def test_the_name_wins_over_services_of_that_name() -> None:
    assert chosen(ONE, TWO, backrest("three", name="backrest")) == "backrest"
    assert chosen(ONE, TWO, wanted="two-backrest-1") == "two-backrest-1"
    assert chosen(ONE, TWO, wanted=TWO.id[:12]) == "two-backrest-1"
    assert chosen(ONE, TWO, wanted=ONE.id) == "one-backrest-1"


def test_of_one_service_that_which_runs_and_then_the_newest() -> None:
    old, new = backrest("one", name="old", created=1), backrest("one", name="new", created=2)
    assert chosen(old, new) == "new"
    coming = backrest("one", name="coming", created=3, state="created")
    assert chosen(old, coming) == "old"
    assert chosen(backrest("one", name="gone", created=9, state="removing"), coming) == "coming"


def test_services_of_two_projects_are_not_chosen_between_whatever_their_state() -> None:
    for state in ("running", "exited"):
        said = chosen(ONE, backrest("two", state=state))
        assert "one-backrest-1 and two-backrest-1" in said
        assert "--backrest-container" in said
    assert chosen(ONE, backrest("two", state="removing")) == "one-backrest-1"


def test_an_unclear_one_is_none() -> None:
    assert find_backrest(EngineSnapshot((ONE, TWO)), "backrest") is None
    assert chosen(container("web")) == ""
    assert chosen(container("web"), wanted="") == ""


def test_a_shorter_id_counts_as_docker_counts_it() -> None:
    one, two = container("x", id="abc" + "0" * 61), container("y", id="abd" + "0" * 61)
    assert chosen(one, two, wanted="abc") == "x"
    assert chosen(one, two, wanted="ab") == ""


IDS = [letter * 64 for letter in "abcdef"]


@st.composite
def engines(draw: st.DrawFn) -> tuple[Container, ...]:
    names = draw(st.lists(st.sampled_from(["backrest", "b1", "b2", "b3", "web"]), unique=True, max_size=5))
    return tuple(
        Container(
            IDS[number],
            name,
            state=draw(st.sampled_from(["running", "exited", "created", "paused"])),
            created=draw(st.integers(0, 2)),
            labels={
                "com.docker.compose.project": draw(st.sampled_from(["one", "two"])),
                "com.docker.compose.service": draw(st.sampled_from(["backrest", "web"])),
            },
        )
        for number, name in enumerate(names)
    )


@given(engines(), st.sampled_from(["backrest", "b1", "web", "a" * 12, "b" * 64, "c"]))
def test_paths_and_restarts_go_by_the_same_container(containers: tuple[Container, ...], wanted: str) -> None:
    class Docker(ScriptedEngine):
        def find(self, name: str, /) -> ContainerState | None:
            """As the engine resolves a name: exactly, or the start of just one id."""
            hits = [c for c in containers if name == c.name] or [
                c for c in containers if c.id.startswith(name)
            ]
            return (
                ContainerState(id=hits[0].id, name=hits[0].name, status="running") if len(hits) == 1 else None
            )

    for_paths = choose_backrest(containers, wanted)
    for_restarts = locate(Docker(), wanted, lambda: containers)
    assert (for_restarts.container.id if for_restarts.container else "") == (
        for_paths.container.id if for_paths.container else ""
    )
    assert for_restarts.ambiguous == bool(for_paths.ambiguous)


# --- what is rendered while it is not clear


def rendered(*containers: Container, seen: View = (), **flags: Any) -> Rendering:
    snapshot, given_ = EngineSnapshot(containers), settings(**flags)
    basis = Basis(view(), {WEB: Owner("/web")}, path_view(snapshot, seen, given_))
    return Desired(given_).render(snapshot, basis)


def codes_of(found: Rendering) -> set[str]:
    return {finding.code for finding in found.findings}


def test_with_a_view_seen_before_paths_stay_as_they_are() -> None:
    web = container("web")
    (before,) = rendered(web, ONE).plans
    found = rendered(web, ONE, TWO, seen=VIEW_OF_ONE)
    assert [plan.plan for plan in found.plans] == [before.plan]
    assert before.plan.paths[0].startswith("/of-one/")
    assert AMBIGUOUS_BACKREST in codes_of(found)


def test_without_one_no_plan_is_made_and_the_standing_ones_are_no_orphans() -> None:
    found = rendered(container("web"), container("off", {"enable": "false"}, enable=False), ONE, TWO)
    assert found.plans == ()
    assert found.present == {"/web"}
    assert found.withdrawn == {"/off"}
    assert [f.container for f in found.findings if f.skips] == ["web"]
    assert AMBIGUOUS_BACKREST in codes_of(found)


def test_where_host_paths_are_written_it_does_not_matter() -> None:
    found = rendered(container("web"), ONE, TWO, path_view="host")
    assert len(found.plans) == 1
    assert AMBIGUOUS_BACKREST not in codes_of(found)


def test_one_alone_is_clear() -> None:
    assert AMBIGUOUS_BACKREST not in codes_of(rendered(container("web"), ONE))


# --- what is done while it is not clear


@pytest.fixture
def two(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """Two Backrests, of which the first is the one with the file."""
    monkeypatch.setattr("sidecar.apply.observe._on_host", lambda _settings: True)
    monkeypatch.setattr(rig.engine, "stat_path", lambda *_: PathStat(), raising=False)
    rig.backrest.name = ONE.name
    rig.engine.there = (container("web"), backrest("one", id="b" * 64))
    assert rig.apply() == 0
    rig.engine.there = (*rig.engine.there, TWO)
    rig.backrest.calls.clear()
    return rig


def test_nothing_is_written_or_restarted_while_it_is_not_clear(two: Rig) -> None:
    raw = two.path.read_bytes()
    two.engine.there = (*two.engine.there, container("db"))
    assert two.apply() == 3
    assert two.path.read_bytes() == raw, "one of them runs, and would undo it"
    assert two.backrest.calls == []
    said = [event["reason"] for event in two.events if event.get("level") == "error"]
    assert any("one-backrest-1 and two-backrest-1" in reason for reason in said)
    assert two.said("backrest.ambiguous")


def test_paths_in_its_container_are_not_looked_for_on_this_machine(two: Rig) -> None:
    """Not while it is unclear which it is, nor while it is away: each plan would be left without a path."""
    raw = two.path.read_bytes()
    for there in (two.engine.there, two.engine.there[:1]):
        two.engine.there = there
        two.apply()
        assert two.said("plan.skipped") == []
        assert two.said("plan.warning") == []
    assert two.path.read_bytes() == raw


def test_as_soon_as_it_is_named_all_is_as_before(two: Rig) -> None:
    assert two.apply() == 3
    assert two.apply("--backrest-container", ONE.name) == 2
    two.engine.there = (*two.engine.there, container("db"))
    assert two.apply("--backrest-container", ONE.name) == 0
    assert two.backrest.plans() == {"hand-made", WEB, "backrest_sidecar_db"}


def test_the_standing_plan_stays_as_it_is_where_no_view_is_known(rig: Rig, tmp_path: Path) -> None:
    rig.backrest.name = ONE.name
    rig.engine.there = (container("web"), backrest("one", id="b" * 64), TWO)
    raw = rig.path.read_bytes()
    assert rig.apply() == 3
    assert rig.path.read_bytes() == raw
    assert [event["container"] for event in rig.said("plan.skipped")] == ["web"]
