"""Which hooks are ours, and in which order they stand."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.backrest_plan import SNAPSHOT_END, SNAPSHOT_START
from sidecar.hook_merge import stopped_containers
from tests.unit.merge_rig import (
    codes,
    command,
    config,
    edit,
    plan_of,
    put,
    stop_start,
    wish,
    wishes,
)

SLACK = {
    "conditions": ["CONDITION_ANY_ERROR"],
    "actionSlack": {"webhookUrl": "https://slack.example/made-up"},
}


def hook(text: str, *conditions: str, **fields: Any) -> dict[str, Any]:
    return {"conditions": list(conditions or (SNAPSHOT_START,)), "actionCommand": {"command": text}, **fields}


def commands(data: dict[str, Any]) -> list[str]:
    """First lines of the plan's commands; the kind of action for others."""
    return [
        h["actionCommand"]["command"].split("\n")[0]
        if "actionCommand" in h
        else next(k for k in h if "action" in k)
        for h in plan_of(data, "a").get("hooks", [])
    ]


def test_our_start_hook_stands_first_whatever_the_order_rendered() -> None:
    start, stop = stop_start("web")
    merged = put(config(), wishes(wish("a", hooks=(command("one"), stop, command("two"), start))))
    assert commands(merged.data) == [
        ": backrest-sidecar v1 start",
        "one",
        ": backrest-sidecar v1 stop",
        "two",
    ]
    again = put(
        merged.data, wishes(wish("a", hooks=(command("one"), stop, command("two"), start))), merged.owners
    )
    assert not again.changed


def test_the_users_hooks_stay_and_come_last() -> None:
    stands = config({"id": "a", "hooks": [SLACK, hook("mine")]})
    merged = put(stands, wishes(wish("a", hooks=stop_start("web"))))
    assert commands(merged.data)[2:] == ["actionSlack", "mine"]
    assert plan_of(merged.data, "a")["hooks"][2] is SLACK


def test_ours_are_replaced_by_what_the_state_remembers() -> None:
    first = put(config(), wishes(wish("a", hooks=(command("old one"), command("old two", SNAPSHOT_END)))))
    stands = edit(first.data, "a", hooks=[*plan_of(first.data, "a")["hooks"], SLACK])
    merged = put(stands, wishes(wish("a", hooks=(command("new"),))), first.owners)
    assert commands(merged.data) == ["new", "actionSlack"]
    assert merged.reverted == ()
    bare = put(merged.data, wishes(wish("a")), merged.owners)
    assert commands(bare.data) == ["actionSlack"]


def test_no_hook_left_takes_the_field_out() -> None:
    first = put(config(), wishes(wish("a", hooks=(command("one"),))))
    merged = put(first.data, wishes(wish("a")), first.owners)
    assert "hooks" not in plan_of(merged.data, "a")


def test_templates_are_recognised_by_their_marker_with_the_state_lost() -> None:
    old = [hook(": backrest-sidecar v1 stop\ndocker stop web"), hook(": backrest-sidecar v1 start  \nold")]
    merged = put(config({"id": "a", "hooks": [*old, SLACK]}), wishes(wish("a", hooks=stop_start("web"))))
    assert commands(merged.data) == [
        ": backrest-sidecar v1 start",
        ": backrest-sidecar v1 stop",
        "actionSlack",
    ]
    assert len(plan_of(merged.data, "a")["hooks"][1]["actionCommand"]["command"].splitlines()) > 2


@pytest.mark.parametrize(
    "text", ["echo\n: backrest-sidecar v1 stop", ": backrest-sidecar v2 stop", "# : backrest-sidecar v1 stop"]
)
def test_a_marker_anywhere_else_is_the_users(text: str) -> None:
    merged = put(config({"id": "a", "hooks": [hook(text)]}), wishes(wish("a")))
    assert len(plan_of(merged.data, "a")["hooks"]) == 1


def test_hooks_of_the_go_tool_are_replaced() -> None:
    stands = config(
        {"id": "a", "hooks": [hook("docker stop web"), hook("docker start web", SNAPSHOT_END), SLACK]}
    )
    wanted = wish("a", hooks=stop_start("web"), go_hooks=("docker stop web", "docker start web"))
    merged = put(stands, wishes(wanted))
    assert commands(merged.data) == [
        ": backrest-sidecar v1 start",
        ": backrest-sidecar v1 stop",
        "actionSlack",
    ]
    assert merged.findings == ()


@pytest.mark.parametrize(
    "other",
    [
        hook("docker stop web", onError="ON_ERROR_FATAL"),
        hook("docker stop web", "CONDITION_SNAPSHOT_ERROR"),
        hook("docker stop web", SNAPSHOT_START, SNAPSHOT_END),
        hook("docker stop web", future=True),
        hook("docker stop web "),
    ],
)
def test_only_exactly_what_the_go_tool_writes_is_its_hook(other: dict[str, Any]) -> None:
    wanted = wish("a", hooks=stop_start("web"), go_hooks=("docker stop web", "docker start web"))
    merged = put(config({"id": "a", "hooks": [other]}), wishes(wanted))
    assert plan_of(merged.data, "a")["hooks"][2] is other
    assert codes(merged) == ["stopped-twice"]
    assert '"web"' in merged.findings[0].message


def test_a_go_hook_in_another_spelling_is_the_go_tools() -> None:
    spelled = {"conditions": [2], "on_error": 0, "action_command": {"command": "docker stop web"}}
    wanted = wish("a", hooks=stop_start("web"), go_hooks=("docker stop web",))
    assert len(plan_of(put(config({"id": "a", "hooks": [spelled]}), wishes(wanted)).data, "a")["hooks"]) == 2


def test_an_equal_hook_in_another_spelling_stays_as_it_is() -> None:
    wanted = wish("a", hooks=(command("one", on_error="ON_ERROR_CANCEL"),))
    first = put(config(), wishes(wanted))
    spelled = {"conditions": [2], "onError": 1, "action_command": {"command": "one"}, "futureField": 5}
    stands = edit(first.data, "a", hooks=[spelled])
    assert put(stands, wishes(wanted), first.owners).data is stands


@pytest.mark.parametrize("damage", ["remove", "edit", "move"])
def test_damage_to_our_hooks_is_reverted_and_named(damage: str) -> None:
    wanted = wish("a", hooks=stop_start("web"))
    first = put(config(), wishes(wanted))
    start, stop = plan_of(first.data, "a")["hooks"]
    hooks = {
        "remove": [start],
        "edit": [start, {**stop, "onError": "ON_ERROR_IGNORE"}],
        "move": [SLACK, start, stop],
    }
    merged = put(edit(first.data, "a", hooks=hooks[damage]), wishes(wanted), first.owners)
    assert [(r.field, r.what) for r in merged.reverted] == [("hooks", "edited")]
    assert plan_of(merged.data, "a")["hooks"][:2] == [start, stop]


def test_a_hook_added_by_the_user_behind_ours_is_no_change() -> None:
    wanted = wish("a", hooks=stop_start("web"))
    first = put(config(), wishes(wanted))
    stands = edit(first.data, "a", hooks=[*plan_of(first.data, "a")["hooks"], SLACK])
    merged = put(stands, wishes(wanted), first.owners)
    assert merged.data is stands
    assert merged.owners is first.owners or merged.owners == first.owners


def test_a_hook_given_twice_becomes_one() -> None:
    stands = config({"id": "a", "hooks": [hook("one"), hook("one")]})
    assert commands(put(stands, wishes(wish("a", hooks=(command("one"),)))).data) == ["one"]


def test_two_equal_label_commands_stay_two() -> None:
    wanted = wish("a", hooks=(command("sync"), command("sync")))
    first = put(config(), wishes(wanted))
    assert commands(first.data) == ["sync", "sync"]
    assert not put(first.data, wishes(wanted), first.owners).changed


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("docker stop web", {"web"}),
        ("docker container stop -t 30 web db && true", {"web", "db"}),
        ("docker stop --time=5 'my web' </dev/null", {"my web"}),
        ("docker stop --signal TERM web; docker stop db", {"web", "db"}),
        ("docker start web", set()),
        ("nodocker stop web", set()),
        ('docker stop "unclosed', {'"unclosed'}),
    ],
)
def test_stopped_containers(text: str, names: set[str]) -> None:
    assert stopped_containers(text) == names
