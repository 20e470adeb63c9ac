"""The command line: where commands and flags may stand, and the exit codes of contract §1."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar import __version__
from sidecar.cli import run
from sidecar.commands import reconcile as oneshot
from sidecar.exit_codes import ExitCode
from sidecar.settings.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
Seen = list[Settings]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The settings that ``reconcile`` and ``daemon`` were called with; they do nothing."""
    from sidecar.commands import daemon

    found: Seen = []

    def body(settings: Settings) -> int:
        found.append(settings)
        return ExitCode.CHANGED

    monkeypatch.setattr(oneshot, "reconcile", body)
    monkeypatch.setattr(daemon, "daemon", body)
    return found


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        ([], "reconcile"),
        (["reconcile"], "reconcile"),
        (["--apply"], "reconcile"),
        (["--config", "daemon"], "reconcile"),
        (["--config=x", "daemon"], "daemon"),
        (["--config", "x", "daemon", "--with-events"], "daemon"),
        (["--with-events", "daemon", "--config", "x"], "daemon"),
        (["--apply=false", "daemon"], "daemon"),
        (["daemon"], "daemon"),
    ],
)
def test_the_command_may_stand_anywhere_or_nowhere(argv: list[str], command: str, seen: Seen) -> None:
    assert run(argv) == ExitCode.CHANGED
    assert [settings.command for settings in seen] == [command]


@pytest.mark.parametrize(
    ("argv", "env", "apply"),
    [
        ([], "", False),
        ([], "true", True),
        (["--apply"], "", True),
        (["--apply=true"], "", True),
        (["--apply=1"], "no", True),
        (["--apply=false"], "true", False),
        (["--apply=F"], "yes", False),
        (["--no-apply"], "yes", False),
        (["--apply", "--apply=false"], "", False),
    ],
)
def test_a_switch_is_spelled_as_people_do(
    argv: list[str], env: str, apply: bool, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKREST_SIDECAR_APPLY", env)
    assert run(argv) == ExitCode.CHANGED
    assert seen[0].apply is apply


def test_flags_take_their_value_either_way(seen: Seen) -> None:
    run(["--plan-id-prefix", "", "--allow-path=/a", "--allow-path", "/b/", "--config", "--odd", "--strict"])
    settings = seen[0]
    assert settings.plan_id_prefix == ""
    assert settings.allow_path == ("/a", "/b")
    assert str(settings.config) == "--odd"
    assert settings.strict


@pytest.mark.parametrize(
    "argv",
    [
        ["reconsile"],
        ["reconcile", "daemon"],
        ["--aply"],
        ["daemon", "--nonsense=1"],
        ["daemon", "--rcb-image", "x"],
        ["--interval", "5s"],
        ["--config"],
        ["--apply=maybe"],
        ["backup-once", "--apply"],
        ["lint"],
        ["completion", "tcsh"],
        ["version", "--config", "x"],
    ],
)
def test_bad_usage_exits_1_and_says_why(
    argv: list[str], capsys: pytest.CaptureFixture[str], seen: Seen
) -> None:
    assert run(argv) == ExitCode.BAD_USAGE
    assert seen == []
    out = capsys.readouterr()
    assert out.out == ""
    assert "Error: " in out.err


def test_a_mistyped_command_or_flag_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    run(["reconsile"])
    run(["--aply"])
    said = capsys.readouterr().err
    assert "reconsile" in said
    assert "--aply" in said


@pytest.mark.parametrize("argv", [["version"], ["--version"]])
def test_version(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == ExitCode.CHANGED
    assert capsys.readouterr().out == f"backrest-sidecar {__version__}\n"


@pytest.mark.parametrize(
    "argv", [["--help"], ["-h"], ["daemon", "--help"], ["reconcile", "-h"], ["backup-once", "--help"]]
)
def test_help_exits_0_and_goes_to_stdout(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == ExitCode.CHANGED
    out = capsys.readouterr()
    assert "Usage: backrest-sidecar" in out.out
    assert out.err == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == ExitCode.CHANGED
    assert "backrest-sidecar" in capsys.readouterr().out


# --- what reconcile makes of recorded replies -------------------------------------------------------------------


def marks(path: Path) -> tuple[int, int, int]:
    """What tells whether a file was written or replaced."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_mode


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_bytes((ROOT / "testdata" / "example-sidecar.config.json").read_bytes())
    return path


@pytest.fixture
def reconcile(config: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[Any], str]]:
    """Runs one pass over the recorded engine; gives the exit code, the log's events and stderr."""

    def call(*args: str) -> tuple[int, list[Any], str]:
        replay = str(ROOT / "testdata" / "engine")
        code = run(["reconcile", "--replay", replay, "--config", str(config), *args])
        out = capsys.readouterr()
        return code, [json.loads(line) for line in out.out.splitlines()], out.err

    return call


Reconcile = Callable[..., tuple[int, list[Any], str]]


def test_0_when_written_then_2_and_the_file_is_left_alone(config: Path, reconcile: Reconcile) -> None:
    code, events, _ = reconcile()
    assert code == ExitCode.CHANGED
    assert events[-1]["action"] == "reconcile.complete"
    assert (events[-1]["plans"], events[-1]["skipped"], events[-1]["changed"]) == (5, 3, True)
    raw, status = config.read_bytes(), marks(config)
    for _ in range(2):
        code, events, _ = reconcile()
        assert code == ExitCode.UNCHANGED
        assert events[-1]["changed"] is False
        assert (config.read_bytes(), marks(config)) == (raw, status)


def test_strict_makes_a_skip_3_whether_written_or_not(config: Path, reconcile: Reconcile) -> None:
    assert reconcile("--strict")[0] == 3
    assert len(json.loads(config.read_bytes())["plans"]) > 6, "what is right is written all the same"
    assert reconcile("--strict")[0] == 3
    assert reconcile("--strict", "--dry-run")[0] == 3
    assert reconcile()[0] == ExitCode.UNCHANGED


def test_a_dry_run_shows_the_diff_and_touches_nothing(config: Path, reconcile: Reconcile) -> None:
    raw, status = config.read_bytes(), marks(config)
    code, events, diff = reconcile("--dry-run", "--apply")
    assert code == ExitCode.UNCHANGED
    assert (config.read_bytes(), marks(config)) == (raw, status)
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]
    assert events[-1]["action"] == "dry-run.complete"
    assert "+++ plans/backrest_sidecar_db" in diff
    assert '+    "/var/lib/docker/volumes/shop_db-data/_data"' in diff
    for secret in ("made-up-for-this-example", "made-up-as-well", "EXAMPLEKEY", "EXAMPLESECRET"):
        assert secret not in diff + json.dumps(events)


def test_the_log_of_a_write_holds_no_secret(reconcile: Reconcile) -> None:
    _, events, said = reconcile("--log-level", "debug")
    for secret in ("made-up-for-this-example", "made-up-as-well", "EXAMPLEKEY", "EXAMPLESECRET"):
        assert secret not in said + json.dumps(events)


def test_what_was_in_the_file_is_there_to_the_last_value(config: Path, reconcile: Reconcile) -> None:
    before = json.loads(config.read_bytes())
    reconcile()
    after = json.loads(config.read_bytes())
    count = len(before["plans"])
    assert after["plans"][:count] == before["plans"]
    assert list(after) == list(before)
    assert {key: value for key, value in after.items() if key != "plans"} == {
        key: value for key, value in before.items() if key != "plans"
    }


def test_recorded_replies_cannot_be_applied(config: Path, reconcile: Reconcile) -> None:
    raw = config.read_bytes()
    code, events, said = reconcile("--apply")
    assert (code, events) == (ExitCode.BAD_USAGE, [])
    assert "--replay" in said
    assert config.read_bytes() == raw


def test_no_engine_is_3_with_advice(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = config.read_bytes()
    code = run(["--docker-sock", str(config.parent / "no.sock"), "--config", str(config)])
    assert code == 3
    event = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (event["action"], event["level"]) == ("reconcile.failed", "error")
    assert "no.sock" in event["reason"]
    assert event["advice"]
    assert config.read_bytes() == raw


def test_a_reader_that_goes_away_is_no_traceback(config: Path) -> None:
    script = f"{sys.executable} -m sidecar reconcile --replay testdata/engine --config {config} | true"
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert "Traceback" not in done.stderr
