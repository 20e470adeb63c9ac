"""The table of ``backrest.*`` labels: the one source of the reader, the README, lint and the JSON Schema.

A full key is ``backrest.<key>``, or ``backrest.<name>.<key>`` for a named plan. No model and no heavy import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, NamedTuple

PREFIX = "backrest."
NO_LABELS: Mapping[str, str] = MappingProxyType({})
"""What a thing without labels has."""

Kind = Literal["bool", "text", "cron", "keep", "paths", "patterns", "commands", "template", "on-error"]


class LabelKey(NamedTuple):
    """One known label.

    Attributes:
        key: Full key of the default plan's label.
        summary: What it means, in one line.
        example: A value that is right.
        kind: How its value is read.
        per_plan: Whether ``backrest.<name>.<key>`` exists too.
    """

    key: str
    summary: str
    example: str
    kind: Kind
    per_plan: bool = True

    @property
    def short(self) -> str:
        """The key without ``backrest.``."""
        return self.key.removeprefix(PREFIX)


KEYS: tuple[LabelKey, ...] = (
    LabelKey(
        "backrest.enable",
        "true backs this container up; false withdraws: its plan is disabled, its snapshots stay",
        "true",
        "bool",
    ),
    LabelKey("backrest.repo", "id of the Backrest repository; else the default one", "usb-disk", "text"),
    LabelKey(
        "backrest.schedule",
        "five cron fields; T as the first is a minute of its own for each plan, always the same",
        "T 3 * * *",
        "cron",
    ),
    LabelKey(
        "backrest.paths.include",
        "paths in the container, comma-separated; replaces the discovery of its mounts",
        "/data,/config",
        "paths",
    ),
    LabelKey(
        "backrest.paths.exclude",
        "paths in the container or restic patterns to leave out, comma-separated",
        "/data/cache,*.tmp",
        "patterns",
    ),
    LabelKey(
        "backrest.keep",
        "what to keep: last, hourly, daily, weekly, monthly, yearly, within…=value; or all; or none",
        "daily=7,weekly=4",
        "keep",
    ),
    LabelKey(
        "backrest.snapshot-start",
        "commands before the backup, comma-separated; $SELF is the container's name",
        'docker exec $SELF sh -c "pg_dump app >/dump/new && test -s /dump/new && mv /dump/new /dump/app" </dev/null',
        "commands",
    ),
    LabelKey(
        "backrest.snapshot-end",
        "commands after the backup, comma-separated; $SELF is the container's name",
        "docker exec $SELF rm /dump/app </dev/null",
        "commands",
    ),
    LabelKey(
        "backrest.hooks.template",
        "simple-stop-start stops the container for the backup (unless a hook label is set); none does not",
        "simple-stop-start",
        "template",
    ),
    LabelKey(
        "backrest.hooks.on-error",
        "when a snapshot-start command fails: fatal (default) fails the backup; cancel, ignore, retry-1m, retry-10m",
        "fatal",
        "on-error",
    ),
    LabelKey(
        "backrest.quiesce",
        "true: backup-once stops this container for its run",
        "true",
        "bool",
        per_plan=False,
    ),
)
"""The labels of a container."""

VOLUME_KEYS: tuple[LabelKey, ...] = (
    LabelKey(
        "backrest.enable",
        "true backs this volume up wherever it is mounted; false leaves it out everywhere",
        "false",
        "bool",
        per_plan=False,
    ),
    LabelKey(
        "backrest.exclude",
        "paths from the volume's root (/cache) or restic patterns to leave out, comma-separated",
        "/cache,*.tmp",
        "patterns",
        per_plan=False,
    ),
    LabelKey(
        "backrest.paths.exclude",
        "the same as backrest.exclude",
        "/cache,*.tmp",
        "patterns",
        per_plan=False,
    ),
)
"""The labels of a volume."""

TRUE_WORDS = ("true", "1", "t", "y", "yes", "on")
FALSE_WORDS = ("false", "0", "f", "n", "no", "off")
STOP_TEMPLATES = ("simple-stop-start", "stop-start", "quiesce-stop-start")
NO_TEMPLATE = "none"
ON_ERROR_WORDS = ("fatal", "cancel", "ignore", "retry-1m", "retry-10m")

PLAN_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
"""Name of a named plan."""

_BY_SHORT = {key.short: key for key in KEYS}
NO_NAMES = frozenset(short.partition(".")[0] for short in _BY_SHORT)
"""First segments of known keys, ``paths`` and ``hooks`` among them, are not names of plans."""
_MAX_KEY = 200
"""Characters; prefix, the longest name and the longest key are shorter."""
_MAX_GUESS = 100
"""Characters of a word beyond which no nearest one is looked for."""


class KnownKey(NamedTuple):
    """A key that means something: the plan it is for (empty: the default plan), its short form and its kind."""

    plan: str
    short: str
    kind: Kind


def classify(key: str) -> KnownKey | None:
    """Return what a container's label key means; None for an unknown one."""
    return _classify(key) if len(key) <= _MAX_KEY else None


@lru_cache(maxsize=4096)
def _classify(key: str) -> KnownKey | None:
    short = key[len(PREFIX) :] if key.startswith(PREFIX) else ""
    entry = _BY_SHORT.get(short)
    if entry is not None:
        return KnownKey("", short, entry.kind)
    name, _, rest = short.partition(".")
    entry = _BY_SHORT.get(rest)
    if entry is None or not entry.per_plan or name in NO_NAMES or not PLAN_NAME.fullmatch(name):
        return None
    return KnownKey(name, rest, entry.kind)


def nearest(word: str, known: list[str] | tuple[str, ...], cutoff: float = 0.72) -> str:
    """Return the one of ``known`` that looks most like ``word``; empty when none comes near.

    ``cutoff`` is difflib's ratio, 1.0 for equal.
    """
    if len(word) > _MAX_GUESS:
        return ""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word.lower(), known, n=1, cutoff=cutoff)), "")


def parse_bool(text: str) -> bool | None:
    """Return what ``text`` says, in any case, or None when it says neither yes nor no."""
    word = text.strip().lower()
    if word in TRUE_WORDS:
        return True
    return False if word in FALSE_WORDS else None


def split_csv(text: str) -> tuple[str, ...]:
    """Split at commas, trim, drop empties; a comma inside single or double quotes does not split.

    Quotes stay in the item, so that a shell command arrives as it was written. As in a shell, a backslash outside
    single quotes takes a quote its meaning. A quote that is never closed is an ordinary character.
    """
    if "'" not in text and '"' not in text:
        return tuple([item for part in text.split(",") if (item := part.strip())])
    items: list[str] = []
    start = at = 0
    while at < len(text):
        char = text[at]
        if char == ",":
            items.append(text[start:at])
            start = at + 1
        elif char == "\\" and text[at + 1 : at + 2] in {"'", '"', "\\"}:
            at += 1
        elif char in "'\"":
            at = _closing(text, at)
        at += 1
    items.append(text[start:])
    return tuple([item for part in items if (item := part.strip())])


def _closing(text: str, opening: int) -> int:
    """Return where the quote that opens at ``opening`` closes; ``opening`` itself when it never does."""
    if text[opening] == "'":
        found = text.find("'", opening + 1)
        return found if found >= 0 else opening
    at = opening + 1
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == '"':
            return at
        at += 1
    return opening
