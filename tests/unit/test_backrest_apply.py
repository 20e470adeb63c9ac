"""Plans put into a running Backrest, with somebody else at work on its config."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.backrest_api import (
    BackrestApi,
    ModnoConflict,
    Rejected,
    apply_plans,
    differing_plans,
    ids,
)
from tests.backrest_double import Double
from tests.unit.conftest import PLAN, SECRET


def add(name: str) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """Return an edit that adds a plan, or finds that it is there."""

    def edit(config: dict[str, Any]) -> dict[str, Any] | None:
        if name in ids(config, "plans"):
            return None
        config["plans"].append({**PLAN, "id": name})
        return config

    return edit


def no_conflict(_: int) -> None:
    pytest.fail("no conflict was to be met here")


def test_nothing_to_change_sets_nothing(api: BackrestApi, double: Double) -> None:
    double.before["SetConfig"] = lambda: pytest.fail("a SetConfig")
    applied = apply_plans(api, add("p1"), backoff=no_conflict)
    assert (applied.changed, applied.modno, applied.attempts) == (False, 0, 1)


def test_a_plan_is_added_and_read_back(api: BackrestApi) -> None:
    applied = apply_plans(api, add("ours"), backoff=no_conflict)
    assert (applied.changed, applied.modno, applied.attempts) == (True, 1, 1)
    assert (applied.unlike, applied.repos_changed) == ((), ())
    assert ids(applied.config, "plans") == {"p1", "ours"}
    assert SECRET not in repr(applied)


def test_only_plans_are_taken_from_the_edit(api: BackrestApi) -> None:
    def edit(config: dict[str, Any]) -> dict[str, Any]:
        config["repos"].clear()
        config["instance"] = "other"
        config["plans"].append({**PLAN, "id": "ours"})
        return config

    applied = apply_plans(api, edit, backoff=no_conflict)
    assert applied.config["instance"] == "test"
    assert ids(applied.config, "repos") == {"r1"}


@pytest.mark.parametrize("moment", ["GetConfig", "SetConfig"])
def test_a_save_at_the_worst_moment_is_kept(api: BackrestApi, double: Double, moment: str) -> None:
    """Before our second read the documents differ; before our SetConfig the modno does."""
    calls = []

    def save() -> None:
        calls.append(1)
        if len(calls) == (2 if moment == "GetConfig" else 1):
            double.before.pop(moment)
            other = api.get_config()
            other["plans"].append({**PLAN, "id": "from-the-ui"})
            api.set_config(other)

    double.before[moment] = save
    conflicts: list[int] = []
    applied = apply_plans(api, add("ours"), backoff=conflicts.append)
    assert conflicts == [1]
    assert applied.attempts == 2
    assert ids(api.get_config(), "plans") == {"p1", "from-the-ui", "ours"}


def test_a_repo_added_while_we_edit_is_kept(api: BackrestApi, double: Double) -> None:
    """AddRepo does not raise modno: SetConfig alone would take the repo away again."""
    edits = []

    def edit(config: dict[str, Any]) -> dict[str, Any] | None:
        edits.append(1)
        if len(edits) == 1:
            double.call("AddRepo", json.dumps({"repo": {"id": "r2", "uri": "/r2"}}).encode())
        return add("ours")(config)

    applied = apply_plans(api, edit, backoff=lambda _: None)
    assert ids(applied.config, "repos") == {"r1", "r2"}
    assert len(edits) == 2


def test_a_repo_that_came_while_we_set_is_reported(api: BackrestApi, double: Double) -> None:
    """r2 came between our last read and the SetConfig, which undoes it unseen: the gap that is left."""

    def later() -> None:
        double.before.clear()
        double.call("AddRepo", json.dumps({"repo": {"id": "r3", "uri": "/r3"}}).encode())

    def sooner() -> None:
        double.call("AddRepo", json.dumps({"repo": {"id": "r2", "uri": "/r2"}}).encode())
        double.before["GetConfig"] = later

    double.before["SetConfig"] = sooner
    applied = apply_plans(api, add("ours"), backoff=no_conflict)
    assert applied.repos_changed == ("r3",)


def test_conflicts_are_bounded(api: BackrestApi, double: Double) -> None:
    def save() -> None:
        with double.store.lock:
            double.store.cached["modno"] = double.store.cached.get("modno", 0) + 1

    double.before["SetConfig"] = save
    conflicts: list[int] = []
    with pytest.raises(ModnoConflict, match="each of 3 attempts"):
        apply_plans(api, add("ours"), 3, backoff=conflicts.append)
    assert conflicts == [1, 2]


def test_a_field_that_this_backrest_does_not_keep_is_named(api: BackrestApi) -> None:
    def edit(config: dict[str, Any]) -> dict[str, Any]:
        config["plans"].append({**PLAN, "id": "ours", "fieldOfTheFuture": 1})
        return config

    assert apply_plans(api, edit, backoff=no_conflict).unlike == ("ours",)


def test_a_save_right_after_ours_is_looked_at_again(api: BackrestApi, double: Double) -> None:
    gets = []

    def drop_ours() -> None:
        gets.append(1)
        if len(gets) == 3:  # our read back
            double.before.clear()
            other = api.get_config()
            other["plans"] = [PLAN]
            api.set_config(other)

    double.before["GetConfig"] = drop_ours
    applied = apply_plans(api, add("ours"), backoff=lambda _: None)
    assert applied.attempts == 2
    assert ids(applied.config, "plans") == {"p1", "ours"}


def test_a_refusal_ends_it_and_names_the_plan(api: BackrestApi) -> None:
    def edit(config: dict[str, Any]) -> dict[str, Any]:
        config["plans"].append({**PLAN, "id": "bad", "repo": "nope"})
        return config

    with pytest.raises(Rejected, match="plan 'bad': repo \"nope\" not found") as refused:
        apply_plans(api, edit, backoff=no_conflict)
    assert refused.value.plan_ids == ("bad",)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"paths": ["/b", "/a"]}, {"paths": ["/a", "/b"]}, True),
        ({"excludes": ["b", "a"]}, {"excludes": ["a", "b"]}, False),
        ({"excludes": [], "skipIfUnchanged": False, "retention": None}, {}, True),
        ({"retention": {"x": {"daily": 7, "weekly": 0}}}, {"retention": {"x": {"daily": 7}}}, True),
        ({"retention": {}}, {}, False),
        ({"hooks": [{"onError": "ON_ERROR_CANCEL"}]}, {"hooks": [{}]}, False),
    ],
)
def test_plans_are_compared_as_backrest_writes_them(
    one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    wanted, seen = ({"plans": [{"id": "p", **fields}]} for fields in (one, other))
    assert (differing_plans(wanted, seen) == ()) is same
    assert differing_plans(wanted, {"plans": []}) == ("p",)
