"""Who is taken down for a backup, who must not be, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine.model import Container, EngineSnapshot, SwarmRole, SwarmService
from sidecar.engine.types import ContainerState
from sidecar.quiesce.dependencies import depends_on
from sidecar.quiesce.records import Mode
from sidecar.quiesce.selection import QuiescePlan, Selector, candidates, plan

QUIESCE = Selector.parse("backrest.quiesce=true")


def box(
    name: str, *depends: str, label: str | None = "true", labels: dict[str, str] | None = None, **fields: Any
) -> Container:
    wanted = {"com.docker.compose.project": "shop", "com.docker.compose.service": name}
    if label is not None:
        wanted["backrest.quiesce"] = label
    if depends:
        wanted["com.docker.compose.depends_on"] = ",".join(depends)
    return Container(id=f"{name}-id", name=name, labels={**wanted, **(labels or {})}, **fields)


def look(
    *containers: Container,
    mode: Mode = "stop",
    protected: Mapping[str, str] | None = None,
    removed: tuple[str, ...] = (),
    timeout: float | None = None,
    own_timeout: int | None = None,
    trust_image: bool = False,
) -> QuiescePlan:
    snapshot = EngineSnapshot(containers)
    details = {
        c.id: ContainerState(c.id, c.name, auto_remove=c.name in removed, stop_timeout=own_timeout)
        for c in candidates(snapshot, QUIESCE)
    }
    return plan(
        snapshot, QUIESCE, protected=protected or {}, details=details, mode=mode, timeout=timeout,
        trust_image=trust_image,
    )  # fmt: skip


def names(found: QuiescePlan) -> list[str]:
    return [target.container.name for target in found.targets]


def waves(found: QuiescePlan) -> list[set[str]]:
    return [{target.container.name for target in wave} for wave in found.waves()]


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ("backrest.quiesce=true", {"backrest.quiesce": "true"}, True),
        ("backrest.quiesce=true", {"backrest.quiesce": " TRUE "}, True),
        ("backrest.quiesce=true", {"backrest.quiesce": "1"}, True),
        ("backrest.quiesce=true", {"backrest.quiesce": "false"}, False),
        ("backrest.quiesce=true", {"backrest.quiesce": ""}, False),
        ("backrest.quiesce=true", {}, False),
        ("tier=db", {"tier": "db"}, True),
        ("tier=db", {"tier": "DB"}, False),
        ("tier", {"tier": ""}, True),
        ("tier", {"tiers": "x"}, False),
        ("tier=", {"tier": ""}, True),
        ("tier=", {"tier": "x"}, False),
        ("a=b=c", {"a": "b=c"}, True),
        ("", {"": "x"}, False),
    ],
)
def test_selectors(selector: str, labels: dict[str, str], selected: bool) -> None:
    assert Selector.parse(selector).matches(labels) is selected


@pytest.mark.parametrize("state", ["created", "paused", "restarting", "removing", "exited", "dead"])
def test_only_what_runs_is_taken_down(state: str) -> None:
    found = look(box("web"), box("db", state=state))
    assert names(found) == ["web"]
    assert found.idle == ("db",)


def test_what_does_not_ask_is_left_alone() -> None:
    assert look(box("web", label=None), box("db", label="false")) == QuiescePlan()


def test_the_protected_are_refused_with_the_reason() -> None:
    found = look(box("web"), box("backrest"), protected={"backrest-id": "it runs Backrest"})
    assert names(found) == ["web"]
    assert [(r.container, r.reason) for r in found.refused] == [("backrest", "it runs Backrest")]


def test_a_container_that_the_engine_would_remove_is_only_ever_paused() -> None:
    assert "--rm" in look(box("web"), removed=("web",)).refused[0].reason
    assert names(look(box("web"), removed=("web",), mode="pause")) == ["web"]


SWARM = {"com.docker.swarm.service.name": "shop_web"}


def in_swarm(
    *containers: Container, role: SwarmRole = "manager", protected: str = "", **spec: Any
) -> QuiescePlan:
    services = {"shop_web": SwarmService("id", "shop_web", **{"replicas": 3, **spec})}
    snapshot = EngineSnapshot(containers, swarm=role, services=services if role == "manager" else {})
    details = {c.id: ContainerState(c.id, c.name) for c in containers}
    guarded = {f"{protected}-id": "it runs Backrest"} if protected else {}
    return plan(snapshot, QUIESCE, protected=guarded, details=details)


def test_a_swarm_service_is_scaled_as_a_whole() -> None:
    found = in_swarm(box("a", labels=SWARM), box("b", labels=SWARM), stop_grace=30.0)
    (target,) = found.targets
    assert (target.name, target.grace) == ("shop_web", 30.0)
    (entry,) = found.entries(1.0)
    assert (entry.name, entry.swarm, entry.replicas) == ("shop_web", "shop_web", 3)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"role": "worker"}, "only a manager"),
        ({"mode": "global"}, "mode is global"),
        ({"role": "none"}, "does not tell"),
    ],
)
def test_a_service_that_cannot_be_scaled_is_only_ever_paused(more: dict[str, Any], reason: str) -> None:
    task = box("web", labels=SWARM)
    refusal = in_swarm(task, **more).refused[0].reason
    assert reason in refusal
    assert "--quiesce-mode pause" in refusal
    assert names(look(task, mode="pause")) == ["web"]


def test_a_service_of_which_one_task_is_protected_stays_up() -> None:
    found = in_swarm(box("a", labels=SWARM), box("b", labels=SWARM), protected="a")
    assert found.targets == ()
    assert [r.container for r in found.refused] == ["a", "shop_web"]


def test_a_service_whose_network_somebody_uses_stays_up() -> None:
    guest = replace(box("guest", label=None), network_mode="container:a-id")
    found = in_swarm(box("a", labels=SWARM), guest)
    assert found.targets == ()
    assert "guest uses the network" in found.refused[0].reason


def test_ended_tasks_are_no_idle_containers() -> None:
    assert in_swarm(box("a", labels=SWARM), box("b", labels=SWARM, state="exited")).idle == ()


def test_a_one_off_is_not_stopped() -> None:
    assert "one-off" in look(box("web", labels={"com.docker.compose.oneoff": "True"})).refused[0].reason


def test_a_label_of_the_image_counts_only_when_images_are_trusted() -> None:
    web = box("web", image_labels={"backrest.quiesce": "true"})
    assert "image" in look(web).refused[0].reason
    assert names(look(web, trust_image=True)) == ["web"]


def test_what_has_gone_since_the_look_is_left_out() -> None:
    snapshot = EngineSnapshot((box("web"),))
    found = plan(snapshot, QUIESCE, protected={}, details={})
    assert (found.targets, found.refused[0].reason) == ((), "it has gone meanwhile")


def test_each_containers_own_timeout_wins_unless_one_is_given() -> None:
    assert look(box("web")).targets[0].grace == 10.0
    assert look(box("web"), own_timeout=90).targets[0].grace == 90.0
    assert look(box("web"), own_timeout=90, timeout=5.0).targets[0].grace == 5.0


def test_dependencies_come_up_first() -> None:
    found = look(
        box("web", "api:service_started:true", "cache"),
        box("api", "db:service_healthy"),
        box("db"),
        box("cache"),
    )
    assert waves(found) == [{"db", "cache"}, {"api"}, {"web"}]
    web = found.targets[-1]
    assert set(web.needs) == {"api-id", "db-id", "cache-id"}


def test_a_dependency_through_a_container_that_stays_up_counts() -> None:
    found = look(box("web", "proxy"), box("proxy", "db", label=None), box("db"))
    assert waves(found) == [{"db"}, {"web"}]


def test_a_service_of_the_same_name_in_another_project_is_no_dependency() -> None:
    other = box("db", labels={"com.docker.compose.project": "other"})
    assert waves(look(box("web", "db"), other)) == [{"web", "db"}]


def test_all_replicas_of_a_dependency_come_first() -> None:
    one = box("db", labels={"com.docker.compose.container-number": "1"})
    two = Container(id="db2-id", name="db2", labels=one.labels)
    assert waves(look(box("web", "db"), one, two)) == [{"db", "db2"}, {"web"}]


def test_a_guest_goes_down_with_the_network_it_lives_in() -> None:
    found = look(box("vpn"), box("torrent", label=None, network_mode="container:vpn-id"))
    assert waves(found) == [{"vpn"}, {"torrent"}]
    assert found.targets[1].why == "it uses the network of vpn"
    assert names(
        look(box("vpn"), box("torrent", label=None, network_mode="container:vpn-id"), mode="pause")
    ) == ["vpn"]


def test_a_guest_that_does_not_run_is_left_alone() -> None:
    assert names(
        look(box("vpn"), box("torrent", label=None, network_mode="container:vpn", state="exited"))
    ) == ["vpn"]


def test_an_owner_whose_guest_cannot_be_stopped_is_not_stopped() -> None:
    guest = box("torrent", label=None, network_mode="container:vpn-id")
    other = box("other", label=None, network_mode="container:vpn-id")
    found = look(box("vpn"), other, guest, protected={"torrent-id": "it runs this sidecar"})
    assert found.targets == ()
    assert found.refused[0].reason == "torrent uses its network and cannot be stopped: it runs this sidecar"


def test_a_circle_is_cut_and_told() -> None:
    found = look(box("a", "b"), box("b", "c"), box("c", "a"), box("d", "d"))
    assert sorted(names(found)) == ["a", "b", "c", "d"]
    assert found.notes == ("c and a depend on each other; their order is left open",)


@pytest.mark.parametrize(
    ("label", "services"),
    [
        ("", ()),
        ("db", ("db",)),
        ("db,cache", ("db", "cache")),
        ("db:service_healthy", ("db",)),
        ("db:service_healthy:false,cache:service_started:true", ("db", "cache")),
        (" db : x , ,", ("db",)),
    ],
)
def test_every_spelling_of_depends_on(label: str, services: tuple[str, ...]) -> None:
    assert depends_on(Container("1", "x", labels={"com.docker.compose.depends_on": label})) == services


def test_a_chain_longer_than_the_stack() -> None:
    chain = [box(f"s{i}", f"s{i + 1}") for i in range(1200)] + [box("s1200")]
    assert names(look(*chain))[0] == "s1200"


@given(edges=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=30))
def test_the_order_is_always_one_that_can_be_followed(edges: list[tuple[int, int]]) -> None:
    boxes = [box(f"s{i}", *(f"s{b}" for a, b in edges if a == i)) for i in range(8)]
    found = look(*boxes)
    assert len(found.targets) == 8
    seen: set[str] = set()
    for target in found.targets:
        assert set(target.needs) <= seen
        seen.add(target.container.id)
    assert [e.id for e in found.entries(5.0)] == [t.container.id for t in found.targets]
