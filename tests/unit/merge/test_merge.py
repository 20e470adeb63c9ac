"""Merging: what becomes ours, what is written, what is never touched."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import replace

import pytest

from sidecar.config.validation import validate
from sidecar.merge.merge import Reverted, plan_digest
from tests.unit.merge_rig import (
    NOW,
    codes,
    config,
    edit,
    kinds,
    plan_of,
    put,
    put_checked,
    sample,
    stop_start,
    wish,
    wishes,
)


def test_new_plans_are_appended_in_order() -> None:
    data = config({"id": "zoo", "repo": "main", "paths": ["/zoo"]})
    merged = put(data, wishes(wish("b"), wish("a")))
    assert [plan["id"] for plan in merged.data["plans"]] == ["zoo", "a", "b"]
    assert kinds(merged) == {"a": "added", "b": "added"}
    assert plan_of(merged.data, "a") == {
        "id": "a",
        "repo": "main",
        "paths": ["/volumes/a"],
        "schedule": {"cron": "5 2 * * *", "clock": "CLOCK_LOCAL"},
        "retention": {"policyTimeBucketed": {"daily": 7}},
    }
    assert merged.owners["a"].workload == "stack/a"
    assert merged.owners["a"].paths == ("/volumes/a",)


def test_a_document_without_plans_gets_some() -> None:
    data = {key: value for key, value in config().items() if key != "plans"}
    assert [plan["id"] for plan in put(data, wishes(wish("a"))).data["plans"]] == ["a"]
    assert put(config() | {"plans": None}, wishes(wish("a"))).changed


def test_merging_again_changes_nothing_and_gives_the_same_object() -> None:
    first = put(config(), wishes(wish("a", hooks=stop_start("a")), wish("b")))
    again = put(first.data, wishes(wish("a", hooks=stop_start("a")), wish("b")), first.owners)
    assert not again.changed
    assert again.data is first.data
    assert again.owners is first.owners
    assert again.changes == ()


def test_input_is_never_changed() -> None:
    data = sample("valid/v6-rich.json")
    before = copy.deepcopy(data)
    merged = put(data, wishes(wish("backrest_sidecar_web", hooks=stop_start("web")), wish("new")))
    assert merged.changed
    assert data == before


def test_everything_else_survives_in_its_order() -> None:
    data = sample("valid/v6-rich.json")
    merged = put(data, wishes(wish("backrest_sidecar_web"), wish("new")))
    assert list(merged.data) == list(data)
    for key in data.keys() - {"plans"}:
        assert merged.data[key] is data[key]
    for old, new in zip(data["plans"], merged.data["plans"], strict=False):
        assert (new is old) == (old["id"] != "backrest_sidecar_web")
    web = plan_of(merged.data, "backrest_sidecar_web")
    assert web["backup_flags"] == ["--one-file-system"]
    assert web["hooks"][0]["actionSlack"]["webhookUrl"].endswith("made/up")
    assert web["schedule"] == {"cron": "5 2 * * *", "clock": "CLOCK_LOCAL", "futureJitter": 30}
    assert list(web) == list(plan_of(data, "backrest_sidecar_web"))


@pytest.mark.parametrize(
    "fields",
    [
        {"paths": ["/volumes/b", "/volumes/a"]},
        {"excludes": []},
        {"schedule": {"clock": 1, "cron": "5 2 * * *"}},
        {"schedule": {"cron": "5  2 * * * "}},
        {"schedule": {"cron": "5 2 * * *", "clock": "CLOCK_DEFAULT", "maxFrequencyDays": None}},
        {"retention": {"policy_time_bucketed": {"daily": "7", "weekly": 0}}},
        {"retention": {"policyTimeBucketed": {"daily": 7.0}, "policyKeepAll": None}},
        {"hooks": []},
    ],
)
def test_an_equal_plan_in_another_spelling_is_not_written(fields: dict[str, object]) -> None:
    wanted = wish("a", paths=("/volumes/a", "/volumes/b"))
    first = put(config(), wishes(wanted))
    respelled = edit(first.data, "a", **fields)
    merged = put(respelled, wishes(wanted), first.owners)
    assert not merged.changed
    assert merged.data is respelled
    assert merged.reverted == ()


def test_the_order_of_excludes_has_meaning() -> None:
    first = put(config(), wishes(wish("a", excludes=("*.log", "!keep.log"))))
    assert put(first.data, wishes(wish("a", excludes=("!keep.log", "*.log"))), first.owners).changed


def test_a_label_change_is_no_revert() -> None:
    first = put(config(), wishes(wish("a")))
    merged = put(first.data, wishes(wish("a", cron="9 9 * * *", retention=None)), first.owners)
    assert merged.changes[0].fields == ("schedule", "retention")
    assert merged.reverted == ()
    assert "retention" not in plan_of(merged.data, "a")


def test_an_edit_in_the_ui_is_reverted_and_named() -> None:
    first = put(config(), wishes(wish("a")))
    edited = edit(first.data, "a", schedule={"cron": "0 0 * * 0"}, paths=["/else"], backup_flags=["--x"])
    merged = put(edited, wishes(wish("a")), first.owners)
    assert merged.reverted == (
        Reverted("a", "paths", "backrest.paths.include", "edited"),
        Reverted("a", "schedule", "backrest.schedule", "edited"),
    )
    assert plan_of(merged.data, "a") == plan_of(first.data, "a") | {"backup_flags": ["--x"]}


def test_an_edit_beside_a_label_change_is_told_apart_by_field() -> None:
    first = put(config(), wishes(wish("a")))
    edited = edit(first.data, "a", repo="usb")
    merged = put(edited, wishes(wish("a", cron="9 9 * * *")), first.owners)
    assert merged.changes[0].fields == ("repo", "schedule")
    assert [reverted.field for reverted in merged.reverted] == ["repo"]
    assert merged.reverted[0].label == "backrest.enable"


def test_a_deletion_in_the_ui_is_reverted() -> None:
    first = put(config(), wishes(wish("a")))
    merged = put({**first.data, "plans": []}, wishes(wish("a")), first.owners)
    assert merged.reverted == (Reverted("a", "", "backrest.enable", "deleted"),)
    assert kinds(merged) == {"a": "added"}


def test_with_the_state_lost_a_plan_of_a_rendered_id_is_adopted() -> None:
    stands = config({"id": "a", "repo": "usb", "paths": ["/old"], "iexcludes": ["X"]})
    merged = put(stands, wishes(wish("a")), prefix="x_")
    assert merged.adopted == ("a",)
    assert kinds(merged) == {"a": "adopted"}
    assert merged.reverted == ()
    assert plan_of(merged.data, "a")["iexcludes"] == ["X"]


def test_adopting_an_equal_plan_writes_nothing() -> None:
    first = put(config(), wishes(wish("a")))
    merged = put(first.data, wishes(wish("a")))
    assert merged.data is first.data
    assert merged.adopted == ("a",)
    assert merged.owners == first.owners


def test_without_a_prefix_only_the_same_repo_and_paths_are_adopted() -> None:
    same = config({"id": "a", "repo": "main", "paths": ["/volumes/a"], "schedule": {"disabled": True}})
    assert put(same, wishes(wish("a")), prefix="").adopted == ("a",)
    for other in ({"repo": "usb", "paths": ["/volumes/a"]}, {"repo": "main", "paths": ["/mine"]}):
        merged = put(config({"id": "a", **other}), wishes(wish("a")), prefix="")
        assert not merged.changed
        assert merged.owners == {}
        assert codes(merged) == ["id-taken"]
        assert "taken by a plan that is not ours" in merged.findings[0].message
        assert merged.findings[0].skips


def test_the_prefix_alone_proves_nothing() -> None:
    stands = config({"id": "backrest_sidecar_handmade", "repo": "main", "paths": ["/a"]})
    for orphans in ("disable", "remove"):
        merged = put(stands, wishes(wish("backrest_sidecar_a")), orphans=orphans, orphan_grace=0.0)
        assert merged.data["plans"][0] is stands["plans"][0]


def test_a_plan_whose_repo_is_gone_is_left_as_it_stands() -> None:
    first = put(config(), wishes(wish("a")))
    merged = put(first.data, wishes(wish("a", repo="attic", cron="1 1 * * *")), first.owners)
    assert not merged.changed
    assert codes(merged) == ["unknown-repo"]
    assert merged.owners == first.owners


def test_a_plan_that_stands_twice_is_left_alone() -> None:
    stands = config(
        {"id": "a", "repo": "main", "paths": ["/1"]}, {"id": "a", "repo": "main", "paths": ["/2"]}
    )
    merged = put(stands, wishes(wish("a")))
    assert not merged.changed
    assert codes(merged) == ["id-twice"]


def test_a_quarantined_plan_keeps_its_version() -> None:
    first = put(config(), wishes(wish("a")))
    bad = wish("a", cron="9 9 * * *")
    merged = put(first.data, wishes(bad), first.owners, quarantined=frozenset({plan_digest(bad.plan)}))
    assert not merged.changed
    assert codes(merged) == ["quarantined"]
    better = wish("a", cron="8 8 * * *")
    assert put(
        first.data, wishes(better), first.owners, quarantined=frozenset({plan_digest(bad.plan)})
    ).changed


def test_keep_last_n_beside_buckets_on_an_old_backrest_means_no_retention() -> None:
    wanted = wish("a", retention={"policyTimeBucketed": {"daily": 7, "keepLastN": 3}})
    merged = put(config(), wishes(wanted), keep_last_n_supported=False)
    assert "retention" not in plan_of(merged.data, "a")
    assert codes(merged) == ["keep-last-n"]
    again = put(merged.data, wishes(wanted), merged.owners, keep_last_n_supported=False)
    assert not again.changed
    alone = wish("a", retention={"policyKeepLastN": 3})
    assert put(config(), wishes(alone), keep_last_n_supported=False).findings == ()
    assert put(merged.data, wishes(wanted), merged.owners).changes[0].fields == ("retention",)


def test_modno_is_raised_at_a_write_by_restart_only() -> None:
    assert put(config(), wishes(wish("a"))).data["modno"] == 7
    merged = put(config(), wishes(wish("a")), raise_modno=True)
    assert merged.data["modno"] == 8
    assert put(merged.data, wishes(wish("a")), merged.owners, raise_modno=True).data is merged.data
    without = {key: value for key, value in config().items() if key != "modno"}
    assert put(without, wishes(wish("a")), raise_modno=True).data["modno"] == 1
    assert put(config(modno="12"), wishes(wish("a")), raise_modno=True).data["modno"] == 13
    assert put(config(modno=2**31 - 1), wishes(wish("a")), raise_modno=True).data["modno"] == 2**31 - 1


def test_a_fault_that_we_would_bring_blocks_its_plan_only() -> None:
    first = put(config(), wishes(wish("a"), wish("b")))
    wanted = wishes(wish("a", cron="*/0 * * * *"), wish("b", cron="1 1 * * *"), wish("c", paths=("",)))
    merged = put_checked(first.data, wanted, first.owners)
    assert [blocked.plan_id for blocked in merged.blocked] == ["a", "c"]
    assert "hangs for ever" in merged.blocked[0].reason
    assert kinds(merged) == {"b": "updated"}
    assert plan_of(merged.data, "a") is plan_of(first.data, "a")
    assert validate(merged.data, now=NOW) == ()
    assert merged.owners["a"] == first.owners["a"]
    assert "c" not in merged.owners


def test_a_fault_that_was_there_before_is_reported_and_does_not_block() -> None:
    data = sample("invalid/unknown-repo.json")
    data["plans"].append({"id": "a", "repo": "main", "paths": ["/x"], "backup_flags": "-x"})
    merged = put_checked(data, wishes(wish("a"), wish("b")))
    assert [fault.plan_id for fault in merged.preexisting] == ["web", "a"]
    assert merged.blocked == ()
    assert kinds(merged) == {"a": "adopted", "b": "added"}
    assert (
        put_checked(merged.data, wishes(wish("a"), wish("b")), merged.owners).preexisting
        == merged.preexisting
    )


def test_our_update_may_mend_a_fault() -> None:
    data = config({"id": "a", "repo": "main", "paths": ["/x"], "schedule": {"cron": "nonsense"}})
    merged = put_checked(data, wishes(wish("a")))
    assert len(merged.preexisting) == 1
    assert validate(merged.data) == ()


def test_a_workload_that_takes_over_an_id_is_remembered() -> None:
    first = put(config(), wishes(wish("a")))
    taken = replace(wish("a"), workload="other/a")
    merged = put(first.data, wishes(taken), first.owners)
    assert not merged.changed
    assert merged.owners["a"].workload == "other/a"


def test_wrong_types_in_our_own_plan_are_put_right() -> None:
    odd = {
        "id": "a",
        "repo": 5,
        "paths": "x",
        "excludes": {"y": 1},
        "schedule": 7,
        "retention": [],
        "hooks": [3],
    }
    merged = put(config(odd), wishes(wish("a", hooks=stop_start("a"))))
    fixed = plan_of(merged.data, "a")
    assert fixed["paths"] == ["/volumes/a"]
    assert fixed["hooks"][2:] == [3], "not ours to judge"


def test_ten_thousand_plans_with_nothing_to_do() -> None:
    rendering = wishes(*(wish(f"p{n:05}", hooks=stop_start(f"c{n}")) for n in range(10_000)))
    first = put(config(), rendering)
    start = time.process_time()
    again = put(first.data, rendering, first.owners)
    assert time.process_time() - start < 1.0, "some fifty milliseconds; a second means it is not linear"
    assert again.data is first.data


def test_output_is_plain_json() -> None:
    merged = put(config(), wishes(wish("a", excludes=("*.tmp",), hooks=stop_start("a", "b"))))
    assert json.loads(json.dumps(merged.data)) == merged.data
