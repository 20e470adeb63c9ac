"""Backrest's HTTP API: read the config, put plans into it live, ask what runs.

The protocol is Connect over HTTP: ``POST /v1.Backrest/<Method>`` with plain JSON (backrest: proto/v1/service.proto).
Four things make it safe for a second writer:

- SetConfig compares ``modno``, validates and writes under one lock (backrest: internal/api/backresthandler.go:73-93).
- We send back the very document that GetConfig gave, with nothing but ``plans`` changed: hashes that come masked
  are restored by Backrest, fields that we do not know survive.
- AddRepo neither checks nor raises ``modno`` (backresthandler.go:189-239), so the document is read once more right
  before it is sent; what is undone all the same is found by :mod:`sidecar.backrest.copies`.
- No text that leaves this module holds credentials or a value of the config.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.backrest.http import (
    ApiDenied,
    ApiUnreachable,
    BackrestApiError,
    BackrestHttp,
    ModnoConflict,
    Rejected,
    UnexpectedReply,
)
from sidecar.backrest.queue import Operation
from sidecar.backrest.start_log import CUT_OFF_MESSAGE

__all__ = [
    "ApiDenied",
    "ApiUnreachable",
    "BackrestApi",
    "BackrestApiError",
    "Config",
    "ModnoConflict",
    "Operation",
    "Rejected",
    "Saved",
    "UnexpectedReply",
    "differing_plans",
    "entries_by_id",
    "ids",
    "plain",
    "save",
]

LAST_OPERATIONS = 1000
"""Operations come newest start first, and a pending one counts from when it will run (backrest:
internal/oplog/sqlitestore/sqlitestore.go:292). One operation runs at a time, so what runs stands behind the pending
ones, a few for each plan and repo."""

RETRY_MESSAGE = "waiting for retry"
"""How the message of an operation begins whose hook asked for a retry (backrest:
internal/orchestrator/orchestrator.go, retryTask). Its start is that of the run before."""

BACKUP_TIMEOUT = 1.0
"""Seconds that a call of Backup is waited for. It ends with the backup, which goes on though nobody waits."""

PLAN_OPERATIONS = 100
"""Operations of one plan that are looked at: its next run, its last ones, and what ran with them."""

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of a SetConfig that was taken.

    Attributes:
        config: The config as read back. Holds secrets: never log it.
        unlike: Ids of plans that stand otherwise in Backrest than we sent them, e.g. because this Backrest does
            not know a field.
        overtaken: Somebody saved since.
    """

    config: Config = field(repr=False)
    unlike: tuple[str, ...] = ()
    overtaken: bool = False


class BackrestApi:
    """A client of one Backrest.

    Args:
        url: ``http://host:port`` or ``https://…``, with a path when a proxy serves it below one.
        username: For HTTP Basic; empty for a Backrest without authentication.
        password: The password in clear. Kept in memory only.
        timeout: Seconds for a whole call.

    Raises:
        ValueError: The URL is not one that can be used.
    """

    def __init__(self, url: str, username: str = "", password: str = "", timeout: float = 10.0) -> None:
        self._http = BackrestHttp(url, username, password, timeout)
        self._hasty = BackrestHttp(url, username, password, min(timeout, BACKUP_TIMEOUT))
        self.where = self._http.where

    def get_config(self) -> Config:
        """Return the whole config as Backrest gives it: repo secrets in clear, hashes and private key masked."""
        return self._http.call("GetConfig", {})

    def set_config(self, config: Config) -> Config:
        """Replace the whole config and return it as Backrest now has it.

        Args:
            config: What :meth:`get_config` gave, edited, its ``modno`` as it came.

        Raises:
            ModnoConflict: Somebody saved in between.
            Rejected: Backrest's validation refuses it.
        """
        return self._http.call("SetConfig", config)

    def operations(self, last: int = LAST_OPERATIONS, plan: str = "") -> tuple[Operation, ...]:
        """Return the ``last`` operations by start, pending ones included, sorted by id.

        Those of other instances, which this Backrest only shows (backrest: proto/v1/operations.proto:33-34), are left
        out: whether they run says nothing about this one.

        Args:
            last: How many at most.
            plan: Id of the plan whose operations are asked for; empty for all.
        """
        selector = {"planId": plan} if plan else {}
        reply = self._http.call("GetOperations", {"selector": selector, "lastN": str(last)})
        found = reply.get("operations", [])
        if not isinstance(found, list):
            raise UnexpectedReply(f"Backrest at {self.where} answered with no list of operations")
        return tuple(
            _operation(entry)
            for entry in found
            if isinstance(entry, dict) and not entry.get("originalInstanceKeyid")
        )

    def back_up(self, plan: str) -> Operation:
        """Have Backrest run a plan's backup; return its operation once it stands in the queue, runs, or has run.

        Backrest answers when the backup has ended, and goes on with it though nobody waits for the answer (backrest:
        internal/api/backresthandler.go:513-536; measured on 1.8.1, 1.10.1, 1.12.1 and 1.14.1). So this waits for
        :data:`BACKUP_TIMEOUT` at most and then asks the log.

        Raises:
            BackrestApiError: It has not begun: nobody answers, or there is no such plan.
        """
        before = max((op.id for op in self.operations(PLAN_OPERATIONS, plan)), default=0)
        failure: BackrestApiError | None = None
        try:
            self._hasty.call("Backup", {"value": plan})
        except ApiDenied:
            raise
        except BackrestApiError as error:
            failure = error
        for op in self.operations(PLAN_OPERATIONS, plan):
            if op.kind == "backup" and op.id > before:
                return op
        raise failure or UnexpectedReply(
            f"Backrest at {self.where} has no backup of plan {plan!r} in its log"
        )

    def operations_in_progress(self) -> tuple[Operation, ...]:
        """Return the operations that run now, hooks included."""
        return tuple(op for op in self.operations() if op.status == "inprogress")

    def answers(self) -> bool:
        """Return whether Backrest is up: it answers, even if it wants other credentials."""
        try:
            self.get_config()
        except ApiDenied:
            return True
        except BackrestApiError:
            return False
        return True


def save(
    api: BackrestApi, config: Config, sent: Config, at_once: Callable[[], object] = lambda: None
) -> Saved | None:
    """Set ``sent`` if the config is still ``config``, and read back; None when somebody else saved before.

    Args:
        api: The client.
        config: As :meth:`BackrestApi.get_config` gave it.
        sent: The same with what is to be changed.
        at_once: Called as soon as it is taken.

    Raises:
        Rejected: Backrest's validation refuses it; nothing was changed.
        BackrestApiError: After ApiUnreachable it is not known whether it was taken.
    """
    if api.get_config() != config:  # an AddRepo since then would be undone: modno does not tell
        return None
    try:
        api.set_config(sent)
    except ModnoConflict:
        return None
    at_once()
    seen = api.get_config()
    return Saved(seen, differing_plans(sent, seen), overtaken=_modno(seen) != _modno(config) + 1)


def differing_plans(wanted: Config, seen: Config) -> tuple[str, ...]:
    """Return the ids of plans that are not the same in both configs, by value.

    Backrest sorts plans and paths (backrest: internal/config/validate.go:66-71, 179) and leaves zero values out, so
    neither makes a difference.
    """
    one = {key: plain(plan) for key, plan in entries_by_id(wanted, "plans").items()}
    other = {key: plain(plan) for key, plan in entries_by_id(seen, "plans").items()}
    return tuple(sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key)))


def ids(config: Config, key: str) -> frozenset[str]:
    """Return the ids of ``repos`` or ``plans`` of a config."""
    return frozenset(_id(entry) for entry in _entries(config, key))


def _entries(config: Config, key: str) -> list[dict[str, Any]]:
    entries = config.get(key) or []
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def entries_by_id(config: Config, key: str) -> dict[str, dict[str, Any]]:
    """Return the ``repos`` or ``plans`` of a config by their ids."""
    return {_id(entry): entry for entry in _entries(config, key)}


def _id(entry: Mapping[str, Any]) -> str:
    return str(entry.get("id", ""))


def _modno(config: Config) -> int:
    modno = config.get("modno", 0)
    return modno if isinstance(modno, int) else 0


def plain(value: Any, key: str = "") -> Any:
    """Return a value of a config as protojson would write it: zero values left out, ``paths`` sorted."""
    if isinstance(value, dict):
        written = {name: plain(inner, name) for name, inner in value.items()}
        return {name: inner for name, inner in written.items() if inner not in (None, False, 0, "", [])}
    if isinstance(value, list):
        return sorted(map(str, value)) if key == "paths" else [plain(inner) for inner in value]
    return value


def _operation(entry: Mapping[str, Any]) -> Operation:
    """Return one operation of GetOperations; int64 come as strings (protojson)."""
    kind = next((name.removeprefix("operation") for name in entry if name.startswith("operation")), "")
    status = entry.get("status", "")
    details = entry.get(f"operation{kind}")
    if isinstance(details, dict) and details.get("dryRun"):
        kind = "dryRun"  # backs nothing up
    return Operation(
        id=_int64(entry.get("id")),
        kind=kind[:1].lower() + kind[1:],
        status=str(status).removeprefix("STATUS_").replace("_", "").lower(),
        plan_id=str(entry.get("planId", "")),
        repo_id=str(entry.get("repoId", "")),
        start=_int64(entry.get("unixTimeStartMs")) / 1000,
        end=_int64(entry.get("unixTimeEndMs")) / 1000,
        cut_off=entry.get("displayMessage") == CUT_OFF_MESSAGE,
        retrying=status == "STATUS_PENDING"
        and str(entry.get("displayMessage", "")).startswith(RETRY_MESSAGE),
    )


def _int64(value: object) -> int:
    try:
        return int(value) if isinstance(value, str | int) else 0
    except ValueError:
        return 0
