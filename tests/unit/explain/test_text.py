"""What ``explain`` prints: rows for programs when piped, no broken path or time on a narrow terminal."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.cli import run
from sidecar.exit_codes import ExitCode
from sidecar.explain import text
from sidecar.explain.model import Explanation, MountView, PlanView
from sidecar.findings import Finding

REPLAY = str(Path(__file__).resolve().parents[3] / "testdata/engine")
SAMPLE = str(Path(__file__).resolve().parents[3] / "testdata/example-sidecar.config.json")
LONG = "/srv/" + "very-long-name/" * 6


def plan(name: str, state: str = "up to date") -> PlanView:
    return PlanView(
        id=name,
        repo="r",
        cron="0 2 * * *",
        next_runs=("2026-01-01T02:00+01:00",),
        clock="Backrest's clock (Europe/Berlin)",
        retention="7 daily",
        paths=(LONG,),
        excludes=(),
        without=(),
        hooks=(),
        in_config=state,
        sources={},
    )


def explanation(name: str, *plans: PlanView, findings: tuple[Finding, ...] = ()) -> Explanation:
    verdict = "backed up" if plans else "skipped"
    reason = findings[0].message if findings else ""
    mount = MountView("/data", "bind", LONG, LONG)
    return Explanation(name, "shop", "web", "running", verdict, reason, plans, (mount,), findings)


def wrong(label: str) -> Finding:
    return Finding("wrong-label", f"web: {label}=x is wrong", container="web", label=label, skips=True)


def test_piped_a_plan_is_a_row_without_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    two = explanation("web", plan("p_web"), plan("p_web_db", "to be written"))
    text.show([two, explanation("db", findings=(wrong("a"),))], ["n"], detailed=False)
    assert capsys.readouterr().out.splitlines() == [
        "CONTAINER  BACKED UP  PLAN                      SCHEDULE   NEXT RUN",
        "web        backed up  p_web                     0 2 * * *  2026-01-01 02:00",
        "web        backed up  p_web_db (to be written)  0 2 * * *  2026-01-01 02:00",
        "db         skipped",
        "skipped: web: a=x is wrong",
        "note: the next run is by Backrest's clock (Europe/Berlin)",
        "note: n",
    ]


def test_details_name_every_reason_once(capsys: pytest.CaptureFixture[str]) -> None:
    text.show([explanation("web", findings=(wrong("a"), wrong("b")))], [], detailed=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "web of shop/web (running): skipped"
    assert [line.split()[:2] for line in lines if "skipped  " in line] == [
        ["skipped", "a=x"],
        ["skipped", "b=x"],
    ]


def test_a_skip_says_which_plan_is_left_and_that_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    kept = replace(explanation("web", findings=(wrong("a"),)), kept=("p_web", "p_web_db (disabled)"))
    never = replace(explanation("new", findings=(wrong("a"),)), kept=())
    text.show([kept, never], [], detailed=False)
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert rows[1:4] == [
        "web skipped p_web (left as before)",
        "web skipped p_web_db (disabled) (left as before)",
        "new skipped",
    ]
    assert kept.headline == "skipped; p_web, p_web_db (disabled) left as before"
    assert never.headline == "skipped; it has no plan yet: not backed up"


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_breaks_no_time_and_no_path(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    found = [
        explanation("a_rather_long_container_name_1", plan("backrest_sidecar_" + "x" * 40, "to be written"))
    ]
    text.show(found, [], detailed=False)
    table = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)  # colours have no width
    assert "2026-01-01 02:00" in table
    assert all(len(line.rstrip()) <= width for line in table.splitlines() if "note" not in line)
    text.show(found, [], detailed=True)
    assert f"{LONG}\n" in capsys.readouterr().out


def test_what_fails_is_no_part_of_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "--json", "--replay", REPLAY, "--config", SAMPLE, "nosuch"]) == ExitCode.FAILED
    assert run(["explain", "--docker-sock", str(tmp_path / "none.sock")]) == ExitCode.FAILED
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("Error: no container nosuch; there are: ")
    assert "Error: there is no engine socket at" in out.err


def test_without_a_config_nobody_is_told_to_add_a_repo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "--replay", REPLAY, "--config", str(tmp_path / "config.json")]) == ExitCode.CHANGED
    said = capsys.readouterr().out
    assert "its repo is not known" in said
    assert "add one in Backrest" not in said
    assert not list(tmp_path.iterdir())


def test_a_hook_says_what_its_failure_does(capsys: pytest.CaptureFixture[str]) -> None:
    """The recorded engine has a stack with a dump before the backup."""
    assert run(["explain", "--replay", REPLAY, "--config", SAMPLE, "--json"]) == ExitCode.CHANGED
    hooks = re.findall(r'"start[^"]*"', capsys.readouterr().out)
    assert '"start (on error: fatal)"' in hooks
    assert '"start"' not in hooks
