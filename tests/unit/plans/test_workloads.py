"""Plan ids: the vectors users rely on, and the promise that no two workloads share one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine.model import COMPOSE_NUMBER, COMPOSE_PROJECT, COMPOSE_REPLACE, COMPOSE_SERVICE, Container
from sidecar.plans.workloads import (
    Workload,
    assign_ids,
    candidate_ids,
    final_name,
    newest_per_slot,
    plan_id,
    sanitize,
    stable_minute,
    workload_of,
)

PREFIX = "backrest_sidecar_"


def compose(name: str, project: str, service: str, number: str = "1", **kwargs: object) -> Container:
    labels = {COMPOSE_PROJECT: project, COMPOSE_SERVICE: service, COMPOSE_NUMBER: number}
    labels.update(kwargs.pop("labels", {}))  # type: ignore[call-overload]  # tests pass a dict
    return Container(id=name * 4, name=name, labels=labels, **kwargs)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize(
    ("plan", "minute"),
    [
        ("backrest_sidecar_api", 39),
        ("backrest_sidecar_demo_api", 41),
        ("backrest_sidecar_db", 35),
        ("backrest_sidecar_stack_db", 34),
        ("backrest_sidecar_demo_schedule", 18),
    ],
)
def test_stable_minute_vectors(plan: str, minute: int) -> None:
    assert stable_minute(plan) == minute


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Web", "web"),
        ("my-app.web", "my_app_web"),
        ("a--b", "a__b"),
        ("_x_", "x"),
        ("--", ""),
        ("Ünïcode", "n_code"),
        ("İx", "ix"),
        ("", ""),
    ],
)
def test_sanitize(raw: str, clean: str) -> None:
    assert sanitize(raw) == clean


def test_base_prefers_service_then_name_then_id() -> None:
    web = compose("demo-web-1", "demo", "web")
    assert candidate_ids(workload_of(web), PREFIX, include_project=False)[0] == "backrest_sidecar_web"
    assert candidate_ids(workload_of(web), PREFIX, include_project=True)[0] == "backrest_sidecar_demo_web"
    bare = Container(id="f" * 64, name="lonely")
    assert candidate_ids(workload_of(bare), "", include_project=True)[0] == "lonely"
    nameless = Container(id="abcdef0123456789", name="")
    assert candidate_ids(workload_of(nameless), "", include_project=False)[0] == "abcdef012345"


def test_prefix_is_sanitized_with_the_base() -> None:
    assert plan_id("My-Prefix-", "web") == "my_prefix_web"
    assert plan_id("", "web") == "web"
    assert plan_id("p_", "") == ""
    assert plan_id("p_", "web", "db") == "p_web_db"


def assign(wishes: Mapping[Workload, tuple[str, ...]], **kwargs: object) -> dict[str, str]:
    options: dict[str, object] = {"prefix": PREFIX, "include_project": False, "owned": {}, "standing": {}}
    options.update(kwargs)
    return dict(assign_ids(wishes, **options).ids)  # type: ignore[arg-type]  # built from a dict


A, B = Workload("a", "web"), Workload("b", "web")


def test_contested_id_goes_to_the_first_by_project_on_a_first_run() -> None:
    ids = assign({B: ("/b",), A: ("/a",)})
    assert ids == {A.key: "backrest_sidecar_web", B.key: "backrest_sidecar_b_web"}


def test_the_owner_keeps_its_id() -> None:
    ids = assign({A: ("/a",), B: ("/b",)}, owned={"backrest_sidecar_web": B.key})
    assert ids == {A.key: "backrest_sidecar_a_web", B.key: "backrest_sidecar_web"}


def test_the_owner_is_found_again_by_paths_when_the_state_is_lost() -> None:
    standing = {"backrest_sidecar_web": ("/b",), "backrest_sidecar_a_web": ("/a",)}
    ids = assign({A: ("/a",), B: ("/b",)}, standing=standing)
    assert ids == {A.key: "backrest_sidecar_a_web", B.key: "backrest_sidecar_web"}


def test_a_qualified_id_is_kept_after_the_rival_has_gone() -> None:
    ids = assign({B: ("/b",)}, owned={"backrest_sidecar_b_web": B.key})
    assert ids == {B.key: "backrest_sidecar_b_web"}


def test_the_id_of_an_absent_workload_whose_plan_stands_is_not_given_away() -> None:
    owned = {"backrest_sidecar_web": A.key}
    assert assign({B: ("/b",)}, owned=owned, standing={"backrest_sidecar_web": ("/a",)}) == {
        B.key: "backrest_sidecar_b_web"
    }
    assert assign({B: ("/b",)}, owned=owned) == {B.key: "backrest_sidecar_web"}


def test_bare_containers_get_six_digits_of_their_hash() -> None:
    first, second = Workload("", "", "my.app"), Workload("", "", "my-app")
    ids = assign({first: ("/1",), second: ("/2",)})
    assert ids[second.key] == "backrest_sidecar_my_app"
    assert ids[first.key].startswith("backrest_sidecar_my_app_")
    assert len(ids[first.key]) == len("backrest_sidecar_my_app_") + 6


names = st.text(alphabet="ab_-.", min_size=1, max_size=3)
workloads = st.builds(
    Workload, st.sampled_from(["", "a", "a_b", "a-b"]), names, st.just(""), st.sampled_from(["", "x"])
)
bare = st.builds(lambda n: Workload("", "", n), names)


@given(
    st.lists(st.one_of(workloads, bare), max_size=12, unique=True),
    st.booleans(),
    st.sampled_from(["", PREFIX]),
    st.randoms(use_true_random=False),
)
def test_no_id_is_shared_and_ids_are_stable(
    several: list[Workload], include_project: bool, prefix: str, random: object
) -> None:
    wishes = {w: (f"/{w.key}",) for w in several}
    first = assign(wishes, prefix=prefix, include_project=include_project)
    assert len(set(first.values())) == len(first)
    named = [w for w in several if candidate_ids(w, prefix, include_project=include_project)]
    assert set(first) == {w.key for w in named}
    random.shuffle(several)  # type: ignore[attr-defined]  # Hypothesis gives a Random
    again = assign(
        {w: wishes[w] for w in several},
        prefix=prefix,
        include_project=include_project,
        owned={plan: key for key, plan in first.items()},
        standing={plan: (f"/{key}",) for key, plan in first.items()},
    )
    assert again == first
    lost = assign(
        {w: wishes[w] for w in several},
        prefix=prefix,
        include_project=include_project,
        standing={plan: (f"/{key}",) for key, plan in first.items()},
    )
    assert lost == first


def test_recreate_keeps_the_newest_under_its_final_name() -> None:
    old = compose("demo-web-1", "demo", "web", created=10)
    new = compose("0123456789ab_demo-web-1", "demo", "web", created=11, labels={COMPOSE_REPLACE: "x"})
    assert newest_per_slot([old, new]) == (new,)
    assert final_name(new) == "demo-web-1"
    tie = compose("0123456789ab_demo-web-1", "demo", "web", created=10)
    assert newest_per_slot([tie, old]) == (old,)


def test_replicas_are_all_kept() -> None:
    replicas = [compose(f"demo-web-{n}", "demo", "web", str(n)) for n in (1, 2, 3)]
    assert newest_per_slot(replicas) == tuple(replicas)


def test_a_swarm_task_is_known_by_service_and_slot() -> None:
    labels = {"com.docker.swarm.service.name": "shop_db", "com.docker.stack.namespace": "shop"}
    old = Container(
        "1" * 64, "shop_db.1.aaa", {**labels, "com.docker.swarm.task.name": "shop_db.1.aaa"}, created=1
    )
    new = Container(
        "2" * 64, "shop_db.1.bbb", {**labels, "com.docker.swarm.task.name": "shop_db.1.bbb"}, created=2
    )
    assert workload_of(new) == Workload("shop", "db")
    assert newest_per_slot([old, new]) == (new,)


def test_a_container_and_a_service_of_one_name_are_two() -> None:
    """A bare container ``db``, and a Swarm service ``db`` that belongs to no stack."""
    bare, service = Workload("", "", "db"), Workload("", "db")
    assert bare.key != service.key
    found = assign_ids(
        {bare: ("/a",), service: ("/b",)}, prefix="p_", include_project=False, owned={}, standing={}
    )
    assert len(set(found.ids.values())) == 2
    assert [loser for loser, _, _ in found.contested] == [service]
