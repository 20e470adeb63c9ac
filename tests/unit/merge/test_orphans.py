"""Plans whose workload is gone, withdrawn, skipped or renamed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sidecar.merge.merge import Merge
from sidecar.plans.rendering import Owners
from tests.unit.merge_rig import NOW, codes, config, edit, kinds, plan_of, put, wish, wishes

DISABLED = {"disabled": True}
HOUR = 3600.0


@pytest.fixture
def first() -> Merge:
    return put(config(), wishes(wish("a"), wish("b")))


def _pass(
    merged: Merge, *plans: Any, at: float = NOW, fields: dict[str, Any] | None = None, **options: Any
) -> Merge:
    rendering = wishes(*(wish(plan) if isinstance(plan, str) else plan for plan in plans), **(fields or {}))
    return put(merged.data, rendering, merged.owners, at, **{"orphan_grace": HOUR, **options})


def test_orphans_are_kept_by_default_and_told_once(first: Merge) -> None:
    gone = _pass(first, "b")
    assert gone.data is first.data
    assert gone.absent == ("a",)
    assert codes(gone) == ["orphan"]
    assert gone.owners["a"].absent_since == NOW
    later = _pass(gone, "b", at=NOW + 9 * HOUR)
    assert (later.data, later.absent, codes(later)) == (first.data, ("a",), [])


@pytest.mark.parametrize("orphans", ["disable", "remove"])
def test_orphans_are_dealt_with_after_the_grace(first: Merge, orphans: str) -> None:
    gone = _pass(first, "b", orphans=orphans)
    early = _pass(gone, "b", orphans=orphans, at=NOW + HOUR - 1)
    assert not gone.changed
    assert not early.changed
    due = _pass(early, "b", orphans=orphans, at=NOW + HOUR)
    assert kinds(due) == {"a": f"{orphans}d"}
    assert codes(due) == [f"orphan-{orphans}d"]
    after = _pass(due, "b", orphans=orphans, at=NOW + 2 * HOUR)
    assert after.data is due.data
    assert codes(after) == []
    if orphans == "disable":
        assert plan_of(due.data, "a") == {**plan_of(first.data, "a"), "schedule": DISABLED}
        assert due.owners["a"].disabled
    else:
        assert [plan["id"] for plan in due.data["plans"]] == ["b"]
        assert list(due.owners) == ["b"]


def test_a_short_absence_starts_the_grace_anew(first: Merge) -> None:
    gone = _pass(first, "b", orphans="disable")
    back = _pass(gone, "a", "b", orphans="disable", at=NOW + HOUR / 2)
    assert back.owners["a"].absent_since == 0
    again = _pass(back, "b", orphans="disable", at=NOW + HOUR)
    assert not again.changed
    assert again.owners["a"].absent_since == NOW + HOUR


def test_a_skipped_workload_is_no_orphan(first: Merge) -> None:
    gone = _pass(first, "b", orphans="remove")
    skipped = _pass(
        gone, "b", orphans="remove", at=NOW + 9 * HOUR, fields={"present": frozenset({"stack/a"})}
    )
    assert not skipped.changed
    assert skipped.absent == ()
    assert skipped.owners["a"].absent_since == 0


def test_an_incomplete_look_proves_nothing(first: Merge) -> None:
    merged = _pass(first, "b", orphans="remove", orphan_grace=0.0, fields={"complete": False})
    assert merged.data is first.data
    assert merged.owners is first.owners


def test_a_clock_set_back_never_shortens_the_grace(first: Merge) -> None:
    gone = _pass(first, "b", orphans="disable", at=NOW + 100 * HOUR)
    early = _pass(gone, "b", orphans="disable", at=NOW)
    assert early.owners["a"].absent_since == NOW
    assert not _pass(early, "b", orphans="disable", at=NOW + HOUR - 1).changed


def test_a_disabled_plan_comes_back_with_its_workload(first: Merge) -> None:
    disabled = _pass(first, "b", orphans="disable", orphan_grace=0.0)
    back = _pass(disabled, "a", "b", orphans="disable")
    assert kinds(back) == {"a": "enabled"}
    assert back.reverted == ()
    assert back.data == first.data
    assert back.owners == first.owners


def test_an_orphan_enabled_by_hand_is_left_alone(first: Merge) -> None:
    disabled = _pass(first, "b", orphans="disable", orphan_grace=0.0)
    stands = replace(disabled, data=edit(disabled.data, "a", schedule={"cron": "0 0 * * *"}))
    assert not _pass(stands, "b", orphans="disable", orphan_grace=0.0).changed


WITHDRAWN = {"withdrawn": frozenset({"stack/a"})}


@pytest.mark.parametrize(("options", "acts"), [
    ({}, True),
    ({"orphans": "disable", "orphans_explicit": True}, True),
    ({"orphans": "remove", "orphans_explicit": True}, True),
    ({"orphans": "keep", "orphans_explicit": True}, False),
])  # fmt: skip
def test_withdrawn_is_disabled_at_once_unless_keep_is_explicit(
    first: Merge, options: dict[str, Any], acts: bool
) -> None:
    merged = _pass(first, "b", fields=WITHDRAWN, **options)
    assert kinds(merged) == ({"a": "disabled"} if acts else {})
    assert codes(merged) == (["withdrawn"] if acts else [])
    if acts:
        assert plan_of(merged.data, "a")["schedule"] == DISABLED
        assert plan_of(merged.data, "a")["retention"] == plan_of(first.data, "a")["retention"]
    again = _pass(merged, "b", fields=WITHDRAWN, **options)
    assert again.data is merged.data
    assert codes(again) == []


def test_withdrawn_wins_over_enabling_by_hand(first: Merge) -> None:
    merged = _pass(first, "b", fields=WITHDRAWN)
    stands = replace(merged, data=edit(merged.data, "a", schedule={"cron": "0 0 * * *", "future": 1}))
    again = _pass(stands, "b", fields=WITHDRAWN)
    assert plan_of(again.data, "a")["schedule"] == {**DISABLED, "future": 1}
    assert [(r.plan_id, r.field, r.label) for r in again.reverted] == [("a", "schedule", "backrest.enable")]


def test_withdrawn_and_asked_for_again(first: Merge) -> None:
    merged = _pass(_pass(first, "b", fields=WITHDRAWN), "a", "b")
    assert merged.data == first.data
    assert kinds(merged) == {"a": "enabled"}


def test_a_withdrawn_plan_that_is_not_ours_is_never_touched() -> None:
    stands = config({"id": "backrest_sidecar_a", "repo": "main", "paths": ["/a"]})
    assert not put(stands, wishes(withdrawn=frozenset({"stack/backrest_sidecar_a"}))).changed


def test_a_withdrawn_plan_that_somebody_deleted_is_forgotten(first: Merge) -> None:
    stands = replace(first, data={**first.data, "plans": [plan_of(first.data, "b")]})
    merged = _pass(stands, "b", fields=WITHDRAWN)
    assert not merged.changed
    assert list(merged.owners) == ["b"]


def test_a_deleted_plan_of_a_skipped_workload_is_remembered(first: Merge) -> None:
    stands = replace(first, data={**first.data, "plans": [plan_of(first.data, "b")]})
    assert "a" in _pass(stands, "b", fields={"present": frozenset({"stack/a"})}).owners
    assert "a" in _pass(stands, "b", fields={"complete": False}).owners
    assert "a" not in _pass(stands, "b").owners


RENAMED = {"renamed": (("a", "new"),)}


@pytest.mark.parametrize(("orphans", "kind"), [("keep", ""), ("disable", "disabled"), ("remove", "removed")])
def test_a_renamed_plan_is_reported_as_a_pair_and_its_old_one_handled(
    first: Merge, orphans: str, kind: str
) -> None:
    new = wish("new", workload="stack/a")
    merged = _pass(first, "b", new, fields=RENAMED, orphans=orphans)
    assert merged.renamed == (("a", "new"),)
    assert kinds(merged) == {"new": "added"} | ({"a": kind} if kind else {})
    assert codes(merged) == ["plan-renamed"]
    again = _pass(merged, "b", new, fields=RENAMED, orphans=orphans)
    assert (again.changed, again.renamed, codes(again)) == (False, (), []), "told once"


def test_an_old_plan_stays_as_long_as_the_new_one_does_not_stand(first: Merge) -> None:
    new = wish("new", workload="stack/a", repo="attic")
    merged = _pass(first, "b", new, fields=RENAMED, orphans="remove")
    assert not merged.changed
    assert codes(merged) == ["unknown-repo"]
    assert merged.renamed == ()


def test_a_rename_is_seen_without_being_told(first: Merge) -> None:
    merged = _pass(first, "b", wish("new", workload="stack/a"), orphans="disable")
    assert kinds(merged) == {"new": "added", "a": "disabled"}


def test_renamed_back(first: Merge) -> None:
    there = _pass(first, "b", wish("new", workload="stack/a"), fields=RENAMED, orphans="disable")
    back = _pass(there, "a", "b", fields={"renamed": (("new", "a"),)}, orphans="disable")
    assert kinds(back) == {"a": "enabled", "new": "disabled"}
    assert back.renamed == (("new", "a"),)
    assert plan_of(back.data, "a") == plan_of(first.data, "a")


def test_owners_without_a_plan_in_the_file_do_no_harm() -> None:
    owners: Owners = put(config(), wishes(wish("a"))).owners
    merged = put(config(), wishes(), owners, orphans="remove", orphan_grace=0.0)
    assert not merged.changed
    assert merged.owners == {}
