"""What the command line says to a slip of the hand, and what it offers in a shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.cli import run
from sidecar.exit_codes import ExitCode

REPLAY = Path(__file__).resolve().parents[2] / "testdata/engine"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["explian"], "did you mean explain?"),
        (["frobnicate"], "there are: reconcile, daemon"),
        (["reconcile", "--interval", "5s"], "'--interval' here; it belongs to: daemon."),
        (["backup-once", "--no-strict"], "it belongs to: reconcile, daemon."),
        (["--apply", "false"], "equals sign: --apply=false"),
        (["daemon", "--with-events", "true"], "equals sign: --with-events=true"),
        (["--allow-path", "/a", "--allow-path", "srv"], '--allow-path "srv": is not an absolute path'),
        (["--docker-sock", "tcp://nas"], "write tcp://host:2375"),
        (["--docker-sock", "http://nas:x"], "write tcp://host:2375"),
        (["--backrest-url", "backrest:9898"], "such as http://backrest:9898"),
        (["daemon", "--interval", "0"], "must be longer than 0s"),
        (["--default-schedule", "@daily"], "it has 1 field, not five"),
        (["--default-retention", "weekly"], "such as weekly=4"),
    ],
)
def test_bad_usage_says_what_would_be_right(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(argv) == ExitCode.BAD_USAGE
    assert said in capsys.readouterr().err


def test_the_list_of_commands_has_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == ExitCode.CHANGED
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("backrest-sidecar res", ["plain,restore-config"]),
        ("backrest-sidecar daemon --log-format ", ["plain,json", "plain,text"]),
        ("backrest-sidecar daemon --orphans r", ["plain,remove"]),
        ("backrest-sidecar daemon --config conf", ["file,conf"]),
        ("backrest-sidecar status --state-dir ", ["dir,"]),
        ("backrest-sidecar lint comp", ["file,comp"]),
    ],
)
def test_a_shell_is_offered_words_and_files(
    words: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_BACKREST_SIDECAR_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    with pytest.raises(SystemExit) as end:  # completion is all that such a process does
        run([])
    assert end.value.code == 0
    assert capsys.readouterr().out.splitlines() == offered


def test_a_directory_as_config_is_told_from_one_that_docker_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["--config", str(tmp_path), "--replay", str(REPLAY)])
    said = capsys.readouterr().out
    assert "if it is empty" in said
    assert f"--config {tmp_path}/config.json" in said
