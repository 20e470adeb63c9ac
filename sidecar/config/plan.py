"""The plans that we write, as Backrest spells them. Only the fields that we own; everything else is the user's.

Source of the names: backrest: proto/v1/config.proto:119-304.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SNAPSHOT_START = "CONDITION_SNAPSHOT_START"
SNAPSHOT_END = "CONDITION_SNAPSHOT_END"
SNAPSHOT_ERROR = "CONDITION_SNAPSHOT_ERROR"

OWNED_FIELDS = ("repo", "paths", "excludes", "schedule", "retention")
"""Fields of an owned plan that are ours as a whole. ``hooks`` is shared with the user, hook by hook."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hook(_Frozen):
    """One command hook. ``on_error`` empty means Backrest's default, ``ON_ERROR_IGNORE``."""

    conditions: tuple[str, ...]
    command: str
    on_error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the hook as protojson writes it, defaults left out."""
        out: dict[str, Any] = {"conditions": list(self.conditions)}
        if self.on_error:
            out["onError"] = self.on_error
        out["actionCommand"] = {"command": self.command}
        return out


class Plan(_Frozen):
    """One plan of ours. ``retention`` is Backrest's policy object, or None for no retention at all."""

    id: str
    repo: str
    paths: tuple[str, ...]
    excludes: tuple[str, ...] = ()
    cron: str
    retention: dict[str, Any] | None = None
    hooks: tuple[Hook, ...] = Field(default=())

    def owned_json(self) -> dict[str, Any]:
        """Return our fields without ``hooks``, in Backrest's order; empty and absent ones left out."""
        out: dict[str, Any] = {"id": self.id, "repo": self.repo, "paths": list(self.paths)}
        if self.excludes:
            out["excludes"] = list(self.excludes)
        out["schedule"] = {"cron": self.cron, "clock": "CLOCK_LOCAL"}
        if self.retention is not None:
            out["retention"] = self.retention
        return out

    def to_json(self) -> dict[str, Any]:
        """Return the whole plan as it would stand in a config.json that knew no user's edits."""
        out = self.owned_json()
        if self.hooks:
            out["hooks"] = [hook.to_json() for hook in self.hooks]
        return out
