"""Commands that cannot work: what lint refuses, ``sh`` refuses too."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.lint.shell import command_problems, starts_and_stops

SH = shutil.which("sh") or "sh"


def refused(command: str) -> bool:
    return any(problem.code == "shell-syntax" for problem in command_problems(command))


def sh_refuses(command: str) -> bool:
    return subprocess.run([SH, "-n"], input=command.encode(), capture_output=True).returncode != 0


@pytest.mark.parametrize(
    "command",
    [
        "echo it's",
        'sh -c "dump',
        "echo `date",
        "echo $(date",
        "echo ${x",
        "a &&",
        "a ||",
        "a |",
        "&& b",
        "| b",
        "; b",
        'echo "$(echo \'a)"',
        'x="${y:-"z}"',
    ],
)
def test_what_sh_refuses_is_an_error(command: str) -> None:
    assert sh_refuses(command)
    assert refused(command)


@pytest.mark.parametrize(
    "command",
    [
        'echo "it\'s"',
        r"echo it\'s",
        "echo # it's",
        "a && b",
        "a & ",
        "echo ${x#y}",
        "echo a#'b'",
        "true;",
        'echo "$(echo "x")"',
        'echo "$(echo \'a"b\')"',
        'echo "${x:-"y"}"',
        'sh -c "a; b" </dev/null',
    ],
)
def test_what_sh_takes_passes(command: str) -> None:
    assert not sh_refuses(command)
    assert command_problems(command) == ()


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("ab'\"\\`$(){}#&|; \n"), max_size=14))
def test_lint_never_refuses_what_sh_takes(command: str) -> None:
    if refused(command):
        assert sh_refuses(command)


@pytest.mark.parametrize(
    ("command", "codes"),
    [
        ("docker exec -it db dump", ["no-terminal"]),
        ("docker exec -t -i db dump", ["no-terminal"]),
        ("docker exec --interactive --tty db dump", ["no-terminal"]),
        ("/usr/bin/docker container exec -ti db dump", ["no-terminal"]),
        ("docker run --rm -it busybox", ["no-terminal"]),
        ("docker exec -i db dump", ["stdin"]),
        ("docker exec -u root -i db dump", ["stdin"]),
        ("true && docker exec -i db dump > /x", ["stdin"]),
        ("docker exec -i db dump </dev/null", []),
        ("docker exec -i db dump < /file", []),
        ("echo x | docker exec -i db load", []),
        ("docker exec -t db dump", []),
        ("docker exec db ls -it", []),
        ("docker exec -w -i db ls", []),
        ("docker exec -e A=i db ls", []),
        ("docker exec -uit db ls", []),
        ("docker ps", []),
        ("docker", []),
        ("echo 'docker exec -it db'", []),
    ],
)
def test_docker(command: str, codes: list[str]) -> None:
    assert [problem.code for problem in command_problems(command)] == codes


def test_starts_and_stops() -> None:
    assert starts_and_stops(
        ("docker stop -t 10 a b; docker start c", "docker unpause d && echo docker start e")
    ) == (
        {"c", "d", "e"},
        {"a", "b"},
    )


def test_monsters_are_passed_over() -> None:
    assert command_problems("${" * 40_000) == ()
    assert len(command_problems("'" * 65_535)) == 1
