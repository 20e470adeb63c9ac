"""Plans put into a running Backrest, with somebody else at work on its config."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.backrest.api import BackrestApi, Rejected, differing_plans, ids, save
from tests.doubles.backrest.server import Double
from tests.unit.conftest import PLAN, SECRET


def with_plan(config: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a config with one plan more."""
    return {**config, "plans": [*config["plans"], {**PLAN, "id": "ours", **fields}]}


def test_a_plan_is_added_and_read_back(api: BackrestApi) -> None:
    config = api.get_config()
    saved = save(api, config, with_plan(config))
    assert saved is not None
    assert (saved.unlike, saved.overtaken) == ((), False)
    assert ids(saved.config, "plans") == {"p1", "ours"}
    assert SECRET not in repr(saved)


@pytest.mark.parametrize("moment", ["GetConfig", "SetConfig"])
def test_a_save_at_the_worst_moment_is_kept(api: BackrestApi, double: Double, moment: str) -> None:
    """Before our second read the documents differ; before our SetConfig the modno does."""
    config = api.get_config()

    def other() -> None:
        double.before.clear()
        theirs = api.get_config()
        theirs["plans"].append({**PLAN, "id": "from-the-ui"})
        api.set_config(theirs)

    double.before[moment] = other
    assert save(api, config, with_plan(config)) is None
    assert ids(api.get_config(), "plans") == {"p1", "from-the-ui"}


def test_a_repo_added_while_we_edit_is_kept(api: BackrestApi, double: Double) -> None:
    """AddRepo does not raise modno: SetConfig alone would take the repo away again."""
    config = api.get_config()
    double.call("AddRepo", json.dumps({"repo": {"id": "r2", "uri": "/r2"}}).encode())
    assert save(api, config, with_plan(config)) is None
    assert ids(api.get_config(), "repos") == {"r1", "r2"}


def test_a_field_that_this_backrest_does_not_keep_is_named(api: BackrestApi) -> None:
    config = api.get_config()
    saved = save(api, config, with_plan(config, fieldOfTheFuture=1))
    assert saved is not None
    assert saved.unlike == ("ours",)


def test_a_save_right_after_ours_is_seen(api: BackrestApi, double: Double) -> None:
    config = api.get_config()
    gets = []

    def drop_ours() -> None:
        gets.append(1)
        if len(gets) == 2:  # our read back
            double.before.clear()
            api.set_config({**api.get_config(), "plans": [PLAN]})

    double.before["GetConfig"] = drop_ours
    saved = save(api, config, with_plan(config))
    assert saved is not None
    assert (saved.unlike, saved.overtaken) == (("ours",), True)


def test_a_refusal_names_the_plan(api: BackrestApi) -> None:
    config = api.get_config()
    with pytest.raises(Rejected, match="plan 'ours': repo \"nope\" not found") as refused:
        save(api, config, with_plan(config, repo="nope"))
    assert refused.value.plan_ids == ("ours",)


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
