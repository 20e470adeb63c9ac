"""The README tells the truth: its tables are current, its examples are taken by the tool itself."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from scripts.readme_tables import README, with_tables
from sidecar import cli
from sidecar.lint.checks import LintOptions
from sidecar.lint.command import run_lint

TEXT = README.read_text(encoding="utf-8")
ROOT = README.parent


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    lines = (line.strip() for block in blocks("sh") for line in block.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def test_tables_are_current() -> None:
    assert with_tables(TEXT) == TEXT, "run python scripts/readme_tables.py"
    assert "\n| `backrest.schedule` |" in TEXT
    assert "\n| `--apply-max-wait` |" in TEXT


def test_tables_are_filled_in_and_renewed() -> None:
    empty = re.sub(r"(<!-- (labels|flags) -->\n).*?(<!-- /\2 -->)", r"\1\3", TEXT, flags=re.DOTALL)
    assert with_tables(empty) == TEXT
    assert with_tables(TEXT.replace("| `backrest.keep` |", "| `backrest.old` |")) == TEXT
    with pytest.raises(ValueError, match="no place"):
        with_tables(TEXT.replace("<!-- flags -->", ""))


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_compose_examples_are_clean(number: int, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(blocks("yaml")[number])
    code, text = run_lint([str(file)], "text", options=LintOptions(), env={})
    assert code == 0, text


@pytest.mark.parametrize("line", commands())
def test_commands_are_taken(line: str) -> None:
    words = shlex.split(line)
    if words[0].endswith("backrest-sidecar"):
        args = cli._normalize(words[1:])
        command = cli._build().commands[args[0]]
        context = command.make_context(args[0], args[1:])
        assert isinstance(context, click.Context)
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    else:
        assert words[:2] == ["docker", "compose"], line
        assert (ROOT / "compose.yaml").exists()


def test_every_command_is_in_the_table() -> None:
    for name in cli._build().commands:
        assert re.search(rf"^\| `{name}[ `]", TEXT, re.MULTILINE), name


def test_every_named_file_exists() -> None:
    for name in re.findall(r"`((?:testdata|scripts|workers|sidecar)/[\w./-]+)`", TEXT):
        assert (ROOT / name).exists(), name
    modules = re.findall(r"^\| [^|]+ \| (`.*) \|$", TEXT.split("## Where is what")[1], re.MULTILINE)
    for name in re.findall(r"`([\w*]+\.py)`", " ".join(modules)):
        assert list((ROOT / "sidecar").glob(name)), name
