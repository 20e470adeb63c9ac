"""What holds for every merge, whatever stands in the file and whatever is wished for."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.config.document import ConfigError, dump, parse
from sidecar.config.plan import SNAPSHOT_END, SNAPSHOT_START
from sidecar.config.validation import validate
from sidecar.merge.merge import Merge, MergeOptions, merge, merge_checked
from sidecar.plans.rendering import Owners, RenderedPlan, Rendering
from tests.unit.merge_rig import NOW, command, config, stop_start, wish, wishes

IDS = ("a", "b", "c", "d", "hand", "made")
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
scalars = st.none() | st.booleans() | st.integers(-5, 5) | text
anything = st.recursive(
    scalars, lambda i: st.lists(i, max_size=2) | st.dictionaries(text, i, max_size=2), max_leaves=5
)

crons = st.sampled_from(
    ["0 2 * * *", "1,60 * * * *", "*/0 * * * *", "9 9 31 2 *", "T 1 * * *", "@daily", "5 2 * * *"]
)
good_schedules = st.sampled_from(
    [None, {"disabled": True}, {"cron": "0 2 * * *"}, {"maxFrequencyDays": 2, "clock": 3}]
)
retentions = st.sampled_from(
    [None, {"policyKeepAll": True}, {"policyTimeBucketed": {"daily": 7, "keepLastN": 1}}]
)
user_hooks = st.sampled_from([
    {"conditions": [1], "actionSlack": {"webhookUrl": "https://slack.example/x"}},
    {"conditions": [SNAPSHOT_START], "actionCommand": {"command": "docker stop a"}},
    {"conditions": [SNAPSHOT_START], "actionCommand": {"command": ": backrest-sidecar v1 stop\nx"}},
    {"conditions": [2], "action_command": {"command": "one"}, "unknown": 1},
])  # fmt: skip


@st.composite
def good_plans(draw: st.DrawFn, plan_id: str) -> dict[str, Any]:
    plan: dict[str, Any] = {"id": plan_id, "repo": draw(st.sampled_from(["main", "usb"]))}
    plan["paths"] = draw(
        st.lists(st.sampled_from(["/a", "/b", f"/volumes/{plan_id}"]), min_size=1, max_size=3)
    )
    for key, values in (("schedule", good_schedules), ("retention", retentions)):
        if (value := draw(values)) is not None:
            plan[key] = value
    if hooks := draw(st.lists(user_hooks, max_size=3)):
        plan["hooks"] = hooks
    plan.update(
        {f"x-{key}": value for key, value in draw(st.dictionaries(text, anything, max_size=2)).items()}
    )
    return plan


@st.composite
def good_documents(draw: st.DrawFn) -> dict[str, Any]:
    ids = draw(st.lists(st.sampled_from(IDS), unique=True, max_size=5))
    extra = draw(st.dictionaries(text.map(lambda t: f"x-{t}"), anything, max_size=2))
    return config(*[draw(good_plans(plan_id)) for plan_id in ids], **extra)


@st.composite
def rendered_plans(draw: st.DrawFn, plan_id: str) -> RenderedPlan:
    hooks = draw(st.sampled_from([
        (),
        stop_start(plan_id),
        (command("one"), command("two", SNAPSHOT_END)),
        (*stop_start(plan_id)[::-1], command("one")),
    ]))  # fmt: skip
    return wish(
        plan_id,
        workload=draw(st.sampled_from(["", "", "", "stack/shared"])),
        repo=draw(st.sampled_from(["main", "main", "usb", "attic"])),
        paths=tuple(
            sorted(draw(st.sets(st.sampled_from(["/a", "/b", f"/volumes/{plan_id}", ""]), max_size=3)))
        ),
        cron=draw(crons),
        excludes=tuple(draw(st.lists(st.sampled_from(["*.tmp", "!x"]), max_size=2))),
        retention=draw(
            st.sampled_from([None, {"policyTimeBucketed": {"daily": 7}}, {"policyTimeBucketed": {}}])
        ),
        hooks=hooks,
        go_hooks=draw(st.sampled_from([(), (f"docker stop {plan_id}",)])),
    )


@st.composite
def renderings(draw: st.DrawFn) -> Rendering:
    ids = draw(st.lists(st.sampled_from(IDS[:4]), unique=True, max_size=4))
    others = [f"stack/{plan_id}" for plan_id in IDS[:4] if plan_id not in ids]
    away = draw(st.sets(st.sampled_from(others))) if others else set()
    return wishes(
        *[draw(rendered_plans(plan_id)) for plan_id in ids],
        present=frozenset(away),
        withdrawn=frozenset(draw(st.sets(st.sampled_from(sorted(away)))) if away else ()),
        complete=draw(st.booleans()),
    )


options = st.builds(
    MergeOptions,
    orphans=st.sampled_from(["keep", "disable", "remove"]),
    orphans_explicit=st.booleans(),
    orphan_grace=st.sampled_from([0.0, 60.0]),
    prefix=st.sampled_from(["", "x_"]),
    keep_last_n_supported=st.booleans(),
    raise_modno=st.booleans(),
)


def _run(data: dict[str, Any], wanted: list[Rendering], how: MergeOptions) -> tuple[Merge, Owners]:
    """Several passes over one file; returns the last merge and the owners before it."""
    owners: Owners = {}
    for index, rendering in enumerate(wanted):
        before = owners
        last = merge_checked(data, rendering, owners, how, NOW + index)
        data, owners = last.data, last.owners
    return last, before


passes = st.lists(renderings(), min_size=1, max_size=3)


@settings(max_examples=50, deadline=None)
@given(data=good_documents(), wanted=passes, how=options)
def test_what_is_not_ours_survives(data: dict[str, Any], wanted: list[Rendering], how: MergeOptions) -> None:
    pristine = copy.deepcopy(data)
    last, _ = _run(data, wanted, how)
    assert data == pristine, "the input is never changed"
    ours = {plan.plan.id for rendering in wanted for plan in rendering.plans}
    after = {plan["id"]: plan for plan in last.data["plans"]}
    for plan in data["plans"]:
        if plan["id"] not in ours:
            assert after[plan["id"]] is plan
        elif plan["id"] in after:
            unknown = {key: value for key, value in plan.items() if key.startswith("x-")}
            assert unknown.items() <= after[plan["id"]].items()
            slack = [hook for hook in plan.get("hooks", []) if "actionSlack" in hook]
            assert [hook for hook in after[plan["id"]].get("hooks", []) if "actionSlack" in hook] == slack
    assert {k: v for k, v in last.data.items() if k not in ("plans", "modno")} == {
        k: v for k, v in data.items() if k not in ("plans", "modno")
    }
    assert [key for key in last.data if key in data] == list(data)
    kept = [plan["id"] for plan in last.data["plans"] if plan["id"] in {p["id"] for p in data["plans"]}]
    if how.orphans != "remove":
        assert kept == [plan["id"] for plan in data["plans"]], "order is kept, and nothing is lost"


@settings(max_examples=50, deadline=None)
@given(data=good_documents(), wanted=passes, how=options)
def test_merging_again_changes_nothing(
    data: dict[str, Any], wanted: list[Rendering], how: MergeOptions
) -> None:
    last, _ = _run(data, wanted, how)
    again = merge_checked(last.data, wanted[-1], last.owners, how, NOW + len(wanted) - 1)
    assert again.data is last.data
    assert not again.changed
    assert again.owners == last.owners
    assert again.reverted == ()
    again = merge_checked(
        parse(dump(last.data), where="c"), wanted[-1], last.owners, how, NOW + len(wanted) - 1
    )
    assert not again.changed, "nor after a round through the file"


@settings(max_examples=50, deadline=None)
@given(data=good_documents(), wanted=passes, how=options)
def test_a_good_file_stays_good(data: dict[str, Any], wanted: list[Rendering], how: MergeOptions) -> None:
    assert validate(data, now=NOW) == ()
    last, _ = _run(data, wanted, how)
    assert validate(last.data, now=NOW) == ()
    assert last.preexisting == ()


@settings(max_examples=50, deadline=None)
@given(data=good_documents(), wanted=passes, how=options)
def test_every_rendered_plan_is_written_or_named(
    data: dict[str, Any], wanted: list[Rendering], how: MergeOptions
) -> None:
    last, _ = _run(data, wanted, how)
    named = {blocked.plan_id for blocked in last.blocked} | {f.container for f in last.findings if f.skips}
    after = {plan["id"]: plan for plan in last.data["plans"]}
    for rendered in wanted[-1].plans:
        if rendered.plan.id not in named:
            assert after[rendered.plan.id]["repo"] == rendered.plan.repo
            assert sorted(after[rendered.plan.id]["paths"]) == sorted(rendered.plan.paths)
            assert last.owners[rendered.plan.id].workload == rendered.workload


owned_odd = st.fixed_dictionaries(
    {"id": st.sampled_from(IDS[:4])},
    optional=dict.fromkeys(
        ("repo", "paths", "excludes", "schedule", "retention", "hooks", "backup_flags"), anything
    ),
)


@settings(max_examples=70, deadline=None)
@given(
    plans=st.lists(owned_odd, max_size=4),
    top=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("repos", "auth", "sync", "modno", "instance"), anything)
    ),
    rendering=renderings(),
    how=options,
)
def test_odd_documents_never_crash(
    plans: list[dict[str, Any]], top: dict[str, Any], rendering: Rendering, how: MergeOptions
) -> None:
    try:
        data = parse(dump({**config(), **top, "plans": plans}), where="c")
    except ConfigError:
        return
    before = frozenset(validate(data, now=NOW))
    merged = merge_checked(data, rendering, {}, how, NOW)
    assert frozenset(validate(merged.data, now=NOW)) <= before, "no fault is added"
    assert merge(merged.data, rendering, merged.owners, how, NOW).owners is not None
