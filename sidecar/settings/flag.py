"""What a flag is, and which commands there are. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sidecar.settings import values

RECONCILE = frozenset({"reconcile", "daemon"})
DAEMON = frozenset({"daemon"})
BACKUP = frozenset({"backup-once"})
EXPLAIN = frozenset({"explain"})
RENDERING = RECONCILE | EXPLAIN
READING_API = RECONCILE | {"restore-config"}
COMMANDS = (
    "reconcile",
    "daemon",
    "backup-once",
    "recover",
    "explain",
    "lint",
    "status",
    "healthcheck",
    "restore-config",
    "version",
    "completion",
)
ALL = frozenset(COMMANDS) - {"version", "lint", "completion", "healthcheck"}


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        name: Without the dashes.
        default: As a person would type it; None for unset.
        commands: Where it is taken.
        help: One line for ``--help`` and the README.
        env: Its environment variable; empty for none.
        parse: Makes the value from text, raising ValueError with what is wrong about it.
        many: May be repeated; the value is a tuple.
        csv: Each occurrence is split at commas.
        hidden: Not shown in ``--help``.
        secret: Its value is never shown.
    """

    name: str
    default: str | None
    commands: frozenset[str]
    help: str
    env: str = ""
    parse: Callable[[str], Any] = values.text
    many: bool = False
    csv: bool = False
    hidden: bool = False
    secret: bool = False

    @property
    def field(self) -> str:
        """The name of the setting."""
        return self.name.replace("-", "_")

    @property
    def is_switch(self) -> bool:
        """Whether it is given without a value."""
        return self.parse is values.boolean


def switch(name: str, commands: frozenset[str], text: str, env: str = "", *, hidden: bool = False) -> Flag:
    """Return a flag that is given without a value."""
    return Flag(name, "false", commands, text, env, values.boolean, hidden=hidden)
