"""What stands in Backrest's queue by its own log: the operations that the API would list, where it does not answer.

Backrest says when it plans a task, when it begins one and when one fails; that one ended well it says until v1.8
only (backrest: internal/orchestrator/orchestrator.go:597,674-677,760, logging/logging.go:40-43). One task runs at a
time, hooks within it, so the next one that begins ends the one before. Seen on 1.8.1, 1.10.1, 1.12.1 and 1.14.1.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass, replace

from sidecar.backrest.queue import Operation

LINES = 4000
"""Lines of the log that are enough: a run writes some ten of them."""
UNSEEN_END = 600.0
"""Seconds after its last word in which a task without an end counts as running, although no process shows: a hook
that is an HTTP call has none, and neither Backrest nor most of its peers wait for longer."""
SHORT = 5.0
"""The same for what does all of its work in a process of restic, or within a moment."""

STALE = 60.0
"""Seconds after which a task that is due and has not begun, while nothing runs, is none: somebody cancelled it,
which the log does not tell. Backrest begins what is due within a moment."""

_LINE = re.compile(
    r"^(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(?:Z|[+-]\d{4}))\t[A-Z]+\t(?P<rest>[^\n]*)", re.MULTILINE
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_RESET = "reset task queue, scheduling new task set"
_PLANS = {"scheduled task": "pending", "retrying task": "pending", "running task": "inprogress"}
_ENDS = ("task finished", "task failed")
_BACKUP = re.compile(r'backup for plan (?P<name>".*")')
_HOOK = re.compile(r"run hook (?P<type>\w+) hook (?:plan/(?P<plan>[^/]*)/)?")


@dataclass(frozen=True, slots=True)
class TaskLog:
    """What the log of one run of Backrest tells.

    Attributes:
        operations: What is pending, what runs, and the backups that have begun, as the API would list them.
        newest: Unix time of the last line about a task.
    """

    operations: tuple[Operation, ...]
    newest: float


@dataclass(slots=True)
class _Task:
    """A task that has begun, and what is known of it."""

    name: str
    start: float
    heard: float
    quiet: bool = False
    outlived: bool = False
    ended: bool = False


def tasks_in_log(text: str, now: float) -> TaskLog | None:
    """Return what stands in the queue, or None when the log says nothing of tasks.

    Args:
        text: The container's log since its start, or the end of it; colours and all.
        now: Unix time in seconds.
    """
    pending: dict[str, float] = {}
    begun: list[_Task] = []
    newest = 0.0
    for line in _LINE.finditer(_ANSI.sub("", text)):
        message, at = line["rest"], _time(line["at"])
        current = begun[-1] if begun and not begun[-1].ended else None
        if message.startswith(_RESET):
            pending.clear()
            if current is not None:
                current.outlived = True  # it is not planned again at its end
        elif any(f"\t{end}" in message for end in _ENDS):
            name = message.partition("\t")[0]
            if current is not None:
                current.heard = at
                current.ended = current.name == name
                current.quiet = current.quiet and not name.startswith("run hook ")
        else:
            said, _, rest = message.partition("\t")
            status, fields = _PLANS.get(said, ""), _fields(rest)
            name = str(fields.get("task", ""))
            if not status or not name:
                continue
            if status == "pending":
                pending[name] = _time(str(fields.get("runAt", "")))
                if current is not None and current.name == name and not current.outlived:
                    current.ended = True
            else:
                pending.pop(name, None)
                _begin(begun, name, at)
        newest = at
    if not newest:
        return None
    running = bool(begun) and not begun[-1].ended and now - begun[-1].heard <= _patience(begun[-1])
    found = [
        _operation(name, "pending", start)
        for name, start in sorted(pending.items())
        if running or now - max(start, newest) <= STALE
    ]
    for task in begun:
        last = running and task is begun[-1]
        if last or task.name.startswith("backup "):
            found.append(_operation(task.name, "inprogress" if last else "success", task.start))
    return TaskLog(tuple(replace(op, id=number) for number, op in enumerate(found, 1)), newest)


def _begin(begun: list[_Task], name: str, at: float) -> None:
    hook = _HOOK.match(name)
    if hook is not None and begun and not begun[-1].ended:
        begun[-1].heard = at
        begun[-1].quiet = hook["type"] != "command"  # a command shows as a process
    else:
        begun.append(_Task(name, at, at, quiet=hook is not None))


def _patience(task: _Task) -> float:
    """Return the seconds for which a task that says nothing more counts as running."""
    return UNSEEN_END if task.quiet or task.name.startswith("backup ") else SHORT


def _operation(name: str, status: str, start: float) -> Operation:
    backup = _BACKUP.fullmatch(name)
    if backup is not None:
        return Operation(0, "backup", status, plan_id=_unquoted(backup["name"]), start=start)
    kind = "runHook" if name.startswith("run hook ") else name.partition(" ")[0]
    repo = re.search(r'repo ("(?:[^"\\]|\\.)*")', name)
    return Operation(0, kind, status, repo_id=_unquoted(repo[1]) if repo else "", start=start)


def _unquoted(text: str) -> str:
    """Return what Go quoted with %q; for what JSON quotes otherwise, the text between the quotes."""
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]


def _fields(raw: str) -> dict[str, object]:
    try:
        fields = json.loads(raw)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _time(text: str) -> float:
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
