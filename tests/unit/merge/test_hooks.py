"""Which hooks are ours, and in which order they stand."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.config.plan import SNAPSHOT_END, SNAPSHOT_START
from sidecar.merge.hooks import stopped_containers
from sidecar.plans.hooks import FATAL
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
    assert any(hook is other for hook in plan_of(merged.data, "a")["hooks"])
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


class TestErrors:
    """Hooks of ours that failed without a word fail the backup now, and that is said once."""

    def test_hooks_that_we_wrote_before_are_replaced_and_said(self) -> None:
        former = wish("a", hooks=(command("dump"), command("sync", SNAPSHOT_END)))
        first = put(config(), wishes(former))
        now = wishes(wish("a", hooks=(command("dump", on_error=FATAL), command("sync", SNAPSHOT_END))))
        merged = put(first.data, now, first.owners)
        assert plan_of(merged.data, "a")["hooks"] == [
            hook("dump", onError=FATAL),
            hook("sync", SNAPSHOT_END),
        ]
        assert merged.reverted == ()
        (finding,) = merged.findings
        assert (finding.code, finding.label) == ("hooks-fail-backup", "backrest.hooks.on-error")
        assert 'plan "a"' in finding.message
        again = put(merged.data, now, merged.owners)
        assert (again.changed, again.findings) == (False, ())

    @pytest.mark.parametrize("standing", [hook("dump"), hook("dump", onError="ON_ERROR_IGNORE")])
    def test_those_of_the_go_tool_too(self, standing: dict[str, Any]) -> None:
        wanted = wish("a", hooks=(command("dump", on_error=FATAL),), go_hooks=("dump",))
        merged = put(config({"id": "a", "hooks": [standing]}), wishes(wanted))
        assert plan_of(merged.data, "a")["hooks"] == [hook("dump", onError=FATAL)]
        assert codes(merged) == ["hooks-fail-backup"]

    def test_the_stop_template_that_cancelled(self) -> None:
        stop = hook(": backrest-sidecar v1 stop\nold", onError="ON_ERROR_CANCEL")
        merged = put(config({"id": "a", "hooks": [stop]}), wishes(wish("a", hooks=stop_start("web"))))
        assert plan_of(merged.data, "a")["hooks"][1]["onError"] == FATAL
        assert codes(merged) == ["hooks-fail-backup"]

    def test_who_asked_for_it_by_label_is_told_nothing(self) -> None:
        first = put(config(), wishes(wish("a", hooks=(command("dump"),))))
        wanted = wish("a", hooks=(command("dump", on_error=FATAL),))
        wanted.sources["on_error"] = "backrest.hooks.on-error"  # type: ignore[index]
        merged = put(first.data, wishes(wanted), first.owners)
        assert plan_of(merged.data, "a")["hooks"] == [hook("dump", onError=FATAL)]
        assert merged.findings == ()

    @pytest.mark.parametrize("former", ["", "ON_ERROR_CANCEL"])
    def test_a_new_hook_beside_one_of_the_same_words_at_the_end_is_no_news(self, former: str) -> None:
        first = put(config(), wishes(wish("a", hooks=(command("sync", SNAPSHOT_END, on_error=former),))))
        both = (command("sync", on_error=FATAL), command("sync", SNAPSHOT_END, on_error=former))
        assert codes(put(first.data, wishes(wish("a", hooks=both)), first.owners)) == []

    def test_a_script_that_only_says_it_otherwise_is_no_news(self) -> None:
        stop = hook(": backrest-sidecar v1 stop\nold", onError=FATAL)
        merged = put(config({"id": "a", "hooks": [stop]}), wishes(wish("a", hooks=stop_start("web"))))
        assert (merged.changed, codes(merged)) == (True, [])


class TestOrder:
    """Up to v1.11 Backrest runs no hook after a start hook that halts: what we had stopped would stay down."""

    def test_the_stop_hook_comes_behind_what_may_halt_the_backup(self) -> None:
        free, halts, end = hook("free"), hook("disk", onError="ON_ERROR_CANCEL"), hook("tell", SNAPSHOT_END)
        stands = config({"id": "a", "hooks": [SLACK, free, halts, end, free]})
        wanted = wishes(wish("a", hooks=stop_start("web")))
        merged = put(stands, wanted)
        assert commands(merged.data) == [
            ": backrest-sidecar v1 start",
            "actionSlack",
            "free",
            "disk",
            ": backrest-sidecar v1 stop",
            "tell",
            "free",
        ]
        again = put(merged.data, wanted, merged.owners)
        assert (again.changed, again.reverted) == (False, ())

    @pytest.mark.parametrize(
        "other",
        [
            hook("x", SNAPSHOT_END, onError="ON_ERROR_FATAL"),
            hook("x", onError="ON_ERROR_IGNORE"),
            SLACK,
        ],
    )
    def test_what_cannot_halt_it_before_the_backup_stays_behind(self, other: dict[str, Any]) -> None:
        merged = put(config({"id": "a", "hooks": [other]}), wishes(wish("a", hooks=stop_start("web"))))
        assert plan_of(merged.data, "a")["hooks"][2] is other

    def test_one_added_later_behind_ours_is_no_edit_of_ours(self) -> None:
        wanted = wishes(wish("a", hooks=stop_start("web")))
        first = put(config(), wanted)
        start, stop = plan_of(first.data, "a")["hooks"]
        halts = hook("disk", onError="ON_ERROR_RETRY_1MINUTE")
        merged = put(edit(first.data, "a", hooks=[start, stop, halts]), wanted, first.owners)
        assert plan_of(merged.data, "a")["hooks"] == [start, halts, stop]
        assert merged.reverted == ()
        moved = put(edit(merged.data, "a", hooks=[halts, start, stop]), wanted, merged.owners)
        assert plan_of(moved.data, "a")["hooks"] == [start, halts, stop]
        assert [r.what for r in moved.reverted] == ["edited"]
