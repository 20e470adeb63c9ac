"""The diff that people read before a write."""

from __future__ import annotations

import json

import pytest

from sidecar.merge.diff import MASK, changes_summary, colour, plan_diff
from tests.unit.merge_rig import config, edit, put, sample, stop_start, wish, wishes


def test_equal_documents_have_no_diff() -> None:
    data = sample("valid/v6-rich.json")
    assert plan_diff(data, data) == ""
    assert plan_diff(data, json.loads(json.dumps(data))) == ""
    reordered = {**data, "plans": data["plans"][::-1], "modno": 99, "repos": []}
    assert plan_diff(data, reordered) == ""


def test_a_changed_field_is_one_hunk_under_the_plans_name() -> None:
    first = put(config(), wishes(wish("a"), wish("b")))
    text = plan_diff(
        first.data, put(first.data, wishes(wish("a", cron="9 9 * * *"), wish("b")), first.owners).data
    )
    assert text.startswith("--- plans/a\n+++ plans/a\n@@ ")
    assert '-    "cron": "5 2 * * *",\n+    "cron": "9 9 * * *",\n' in text
    assert text.count("@@") == 2
    assert "plans/b" not in text


def test_added_and_removed_plans_are_shown_whole_and_sorted() -> None:
    before = put(config(), wishes(wish("b"))).data
    after = put(config(), wishes(wish("c"), wish("a"))).data
    heads = [line for line in plan_diff(before, after).splitlines() if line[:3] in ("---", "+++")]
    assert heads == [
        "--- /dev/null", "+++ plans/a", "--- plans/b", "+++ /dev/null", "--- /dev/null", "+++ plans/c",
    ]  # fmt: skip


def test_commands_are_shown() -> None:
    text = plan_diff(config(), put(config(), wishes(wish("a", hooks=stop_start("web")))).data)
    assert "docker stop web" in text


def test_no_secret_is_ever_shown() -> None:
    rich = sample("valid/v6-rich.json")
    for before, after in ((config(), rich), (rich, config()), (rich, {**rich, "repos": []})):
        text = plan_diff(before, after)
        assert "made-up" not in text
        assert "made/up" not in text
    assert f'"token": "{MASK}"' in plan_diff(config(), rich)
    assert '"command": "docker stop sample-app"' in plan_diff(config(), rich)


def test_what_is_not_known_is_masked() -> None:
    odd = {
        "id": "odd",
        "future": {"key": "s3cret", "list": ["s3cret"], "n": 5},
        "hooks": [
            {"actionFuture": {"command": "s3cret"}, "conditions": [1]},
            {"actionSlack": "s3cret"},
            "s3cret",
            {"action_discord": {"webhook_url": "s3cret", "template": "shown"}},
        ],
    }
    text = plan_diff(config(), config(odd))
    assert "s3cret" not in text
    assert "shown" in text
    assert '"n": 5' in text


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x9b2J", "\u202e", "\u2028"])
def test_a_command_cannot_steer_the_terminal(evil: str) -> None:
    hooks = [{"actionCommand": {"command": f"echo {evil}"}}]
    text = plan_diff(config(), config({"id": f"x{evil}", "hooks": hooks}))
    assert evil not in text
    assert all(line.isprintable() for line in text.split("\n"))


def test_a_plan_that_stands_twice_is_no_trouble() -> None:
    twice = config({"id": "a"}, {"id": "a", "repo": "main"})
    assert plan_diff(twice, edit(twice, "a", repo="usb")).count('"repo": "usb"') == 2


def test_colour_marks_lines_and_loses_nothing() -> None:
    text = plan_diff(config(), put(config(), wishes(wish("a"))).data)
    painted = colour(text)
    assert "\x1b[32m+{\x1b[0m\n" in painted
    assert "\x1b[1m+++ plans/a\x1b[0m\n" in painted
    assert "\x1b[36m@@" in painted
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[36m"):
        painted = painted.replace(code, "")
    assert painted == text


def test_summary() -> None:
    first = put(config({"id": "c", "repo": "usb"}), wishes(wish("a"), wish("b"), wish("c")))
    assert changes_summary(first.changes).startswith(
        "added a, b; adopted c (repo, paths, schedule, retention)"
    )
    merged = put(
        first.data,
        wishes(wish("a", cron="9 9 * * *"), wish("c")),
        first.owners,
        orphans="remove",
        orphan_grace=0,
    )
    assert changes_summary(merged.changes) == "removed b; updated a (schedule)"
    assert changes_summary(()) == "nothing to change"
