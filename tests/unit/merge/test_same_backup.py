"""Two enabled plans of ours with equal repo and paths: never without a word, and never with many."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.merge.merge import Merge
from sidecar.plans.rendering import RenderedPlan
from tests.unit.merge_rig import codes, config, edit, put, wish, wishes

PATHS = ("/volumes/shared",)


def one(name: str, **fields: Any) -> RenderedPlan:
    return wish(name, **{"paths": PATHS, **fields})


def passed(*plans: RenderedPlan) -> Merge:
    return put(config(), wishes(*plans))


def test_both_are_named_with_their_containers_and_what_they_share() -> None:
    (finding,) = passed(one("a"), one("b"), wish("c")).findings
    assert finding.code == "same-backup"
    assert 'plans "a" (a) and "b" (b)' in finding.message
    assert "repo main" in finding.message
    assert PATHS[0] in finding.message
    assert not finding.skips
    assert finding.container == "a"


@pytest.mark.parametrize(
    "other", [one("b", repo="usb"), one("b", paths=("/volumes/shared", "/x")), wish("b")]
)
def test_other_repos_and_other_paths_are_two_things(other: RenderedPlan) -> None:
    assert passed(one("a"), other).findings == ()


def test_many_are_one_finding_that_changes_with_them() -> None:
    (three,) = passed(*(one(name) for name in "abc")).findings
    (five,) = passed(*(one(name) for name in "abcde")).findings
    assert '"c" (c)' in three.message
    assert "2 more" in five.message
    assert three != five


def test_an_orphan_that_stays_enabled_counts_and_one_that_is_disabled_does_not() -> None:
    first = passed(one("a"), one("b"))
    kept = put(first.data, wishes(one("b")), first.owners)
    assert codes(kept) == ["orphan", "same-backup"]
    twice = kept.findings[1]
    assert '"b" (b) and "a" (of stack/a, which asks for it no more)' in twice.message
    assert 'disable "a" in Backrest' in twice.message
    again = put(kept.data, wishes(one("b")), kept.owners)
    assert again.findings == (twice,), "the very same, so that it is logged once"
    by_hand = edit(kept.data, "a", schedule={"disabled": True})
    assert put(by_hand, wishes(one("b")), kept.owners).findings == ()
    removed = put(kept.data, wishes(one("b")), kept.owners, orphans="remove", orphan_grace=0.0)
    assert codes(removed) == ["orphan-removed"]


def test_a_plan_of_the_users_is_no_matter_of_ours() -> None:
    hand_made = {"id": "mine", "repo": "main", "paths": list(PATHS), "schedule": {"cron": "0 0 * * *"}}
    assert put(config(hand_made), wishes(one("a"))).findings == ()


def test_a_plan_that_is_not_written_does_no_work() -> None:
    assert codes(passed(one("a"), one("b", repo="attic"), one("c", repo="attic"))) == [
        "unknown-repo",
        "unknown-repo",
    ]
