"""Hook commands that cannot work, found without running anything.

Backrest feeds a command to ``sh`` on stdin, with no terminal (backrest: internal/hook/types/command.go). Only what
is certain is said: a construct that is not understood here is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from sidecar.lint.findings import Level

_UNCLEAR = re.compile(r"<<|\bcase\b|\$'|\$\(\(|\\$")
_OPERATOR_END = re.compile(r"(?<![\\|&])(?:&&|\|\|?)\s*$")
_OPERATOR_START = re.compile(r"^(?:&&?|\|\|?|;;?|\))")
_PARAMETER = re.compile(r"\$\{#?(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*?$!#-])(?:[}:=?+%#/-]|$)")
_DOCKER = frozenset({"docker", "podman"})
_WITH_VALUE = frozenset(
    {
        "-e",
        "--env",
        "--env-file",
        "-u",
        "--user",
        "-w",
        "--workdir",
        "--detach-keys",
        "-v",
        "--volume",
        "--name",
    }
    | {"--network", "--net", "--entrypoint", "-l", "--label", "-p", "--publish", "--mount", "--volumes-from"}
)


class _UnclearError(Exception):
    """Shells differ here."""


class CommandProblem(NamedTuple):
    """One problem of one command: how bad, a stable word, and a clause that follows the command."""

    level: Level
    code: str
    message: str


def command_problems(command: str) -> tuple[CommandProblem, ...]:
    """Return what is wrong with a hook command; empty for nothing that can be seen from here."""
    refused = _refused(command)
    if refused:
        return (CommandProblem("error", "shell-syntax", f"is refused by sh: {refused}"),)
    return tuple(_docker_problems(command))


def starts_and_stops(commands: tuple[str, ...]) -> tuple[set[str], set[str]]:
    """Return the names after ``docker start`` (or unpause) and ``docker stop`` (or pause) in these commands."""
    started: set[str] = set()
    stopped: set[str] = set()
    for command in commands:
        for words, _ in _simple_commands(command):
            verb, rest = _docker_verb(words)
            names = {word for word in rest if not word.startswith("-") and not word.isdigit()}
            if verb in {"start", "unpause", "restart"}:
                started |= names
            elif verb in {"stop", "pause", "kill"}:
                stopped |= names
    return started, stopped


def _refused(command: str) -> str:
    """Return why ``sh`` would refuse the text; empty when it would not, or when that is not certain."""
    text = command.strip()
    if _UNCLEAR.search(text):
        return ""
    if _OPERATOR_START.match(text):
        return f'it begins with "{text[:1]}"'
    try:
        opened = _scan(text, 0, "")[1]
    except (RecursionError, _UnclearError):
        return ""
    if opened:
        names = {"'": "single quote", '"': "double quote", "`": "backquote", ")": "$(", "}": "${"}
        return f"a {names[opened]} is not closed (does a comma split the command? put it in quotes)"
    found = _OPERATOR_END.search(text)
    if found and "#" not in text:
        return f'nothing follows "{found.group().strip()}"'
    return ""


def _scan(text: str, at: int, until: str) -> tuple[int, str]:
    """Walk to the unquoted ``until``; return where it ends and, when something stays open, what would close it."""
    while at < len(text):
        char = text[at]
        if char == until:
            return at + 1, ""
        if char == "\\":
            at += 2
            continue
        if until == "`":
            # What stands in backquotes is read later, by itself.
            at += 1
            continue
        if char == "'" and until == "}":
            raise _UnclearError
        if char == "#" and until != '"' and until != "}" and (at == 0 or text[at - 1] in " \t\n;&|()"):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        if char == "'" and until != '"':
            end = text.find("'", at + 1)
            if end < 0:
                return len(text), "'"
            at = end + 1
            continue
        inner, width = _opens(text, at)
        at += width
        if not inner:
            continue
        at, opened = _scan(text, at, inner)
        if opened:
            return at, opened
    return at, until


def _opens(text: str, at: int) -> tuple[str, int]:
    """Return what closes that which opens here (empty: nothing opens), and how many characters it takes."""
    if text[at] in {'"', "`"}:
        return text[at], 1
    if text.startswith("$(", at):
        return ")", 2
    if text.startswith("${", at):
        if not _PARAMETER.match(text, at):
            raise _UnclearError
        return "}", 2
    return "", 2 if text.startswith("$$", at) else 1


def _simple_commands(command: str) -> Iterator[tuple[list[str], bool]]:
    """Yield the words of each simple command, and whether something is fed to its stdin."""
    import shlex

    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.whitespace = " \t\r"
    words: list[str] = []
    fed = False
    try:
        tokens = list(lexer)
    except ValueError:
        return
    for token in tokens:
        if token.startswith("<"):
            fed = True
        elif token.strip("\n") == "" or set(token) <= set(";&|()"):
            yield words, fed
            words, fed = [], token in {"|", "|&"}
        else:
            words += token.split("\n") if "\n" in token else [token]
    yield words, fed


def _docker_verb(words: list[str]) -> tuple[str, list[str]]:
    """Return the verb after ``docker`` and what follows; empty for another command."""
    for at, word in enumerate(words):
        if word.rpartition("/")[2] in _DOCKER:
            rest = words[at + 1 :]
            rest = rest[1:] if rest[:1] == ["container"] else rest
            return (rest[0], rest[1:]) if rest else ("", [])
    return "", []


def _docker_problems(command: str) -> Iterator[CommandProblem]:
    for words, fed in _simple_commands(command):
        verb, rest = _docker_verb(words)
        if verb not in {"exec", "run"}:
            continue
        letters = _switches(rest)
        if {"i", "t"} <= letters:
            text = f'asks for a terminal (docker {verb} -it), and a hook has none: docker refuses; leave out "-it"'
            yield CommandProblem("error", "no-terminal", text)
        elif "i" in letters and not fed:
            text = (
                f"reads stdin (docker {verb} -i), which is the hook's own text in Backrest; leave out -i, or add "
                "</dev/null"
            )
            yield CommandProblem("warning", "stdin", text)


def _switches(words: list[str]) -> set[str]:
    """Return which of -i and -t the options of ``docker exec`` or ``run`` hold."""
    found: set[str] = set()
    at = 0
    while at < len(words) and words[at].startswith("-"):
        word = words[at]
        if word in {"--interactive", "--interactive=true"}:
            found.add("i")
        elif word in {"--tty", "--tty=true"}:
            found.add("t")
        elif not word.startswith("--") and "=" not in word:
            # A cluster ends at the first letter that takes a value.
            found |= set(re.match(r"-([itdP]*)", word).group(1)) & {"i", "t"}  # type: ignore[union-attr]  # can match nothing
        at += 2 if word in _WITH_VALUE else 1
    return found
