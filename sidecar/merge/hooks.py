"""Hooks of an owned plan: which are ours, which the user's, and in which order they stand.

Ours are replaced by what the labels want now; any other hook is the user's and stays. Order: our start hook first
(an earlier hook that halts would skip it, backrest: internal/hook/hook.go:18-56), then our others in label order,
then the user's. Only our stop hook comes behind the start hooks of the user that may halt the backup: up to v1.11
Backrest runs no hook at all after such a halt, and what is stopped by then would stay down (backrest: v1.10.1
internal/orchestrator/tasks/taskbackup.go:128-132).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.config.plan import SNAPSHOT_END, SNAPSHOT_START, Hook
from sidecar.config.protojson import HOOK, digest
from sidecar.plans.hooks import FATAL, START_MARKER, STOP_MARKER

_DOCKER_STOP = re.compile(r"\bdocker\s+(?:container\s+)?stop\s+([^;&|<>\n]*)")
_STOP_OPTIONS_WITH_VALUE = ("-t", "--time", "--timeout", "-s", "--signal")
_GO_CONDITIONS = ([SNAPSHOT_START], [SNAPSHOT_END])


@dataclass(frozen=True, slots=True)
class HookMerge:
    """What merging the hooks of one plan gave.

    Attributes:
        hooks: The hooks in their order; entries that need no change are the file's own objects.
        changed: Whether they differ from the file's.
        edited: Whether somebody removed, changed or moved a hook that we wrote.
        digests: Digests of our hooks, for the state.
        stopped_twice: Containers that more than one of the hooks stops.
        stricter: Whether a hook of ours that ignored its errors, or ended in "cancelled", fails the backup now.
    """

    hooks: list[Any]
    changed: bool
    edited: bool
    digests: tuple[str, ...]
    stopped_twice: tuple[str, ...]
    stricter: bool = False


def hook_digest(hook: object) -> str:
    """Return the digest of a hook by its meaning: spelling, defaults and unknown fields do not count."""
    return digest(HOOK.canonical(hook))


def in_order(hooks: Iterable[Hook]) -> list[Hook]:
    """Return our hooks with the template's start hook first, the rest in label order."""
    return sorted(hooks, key=_not_start)


def _not_start(hook: Hook) -> bool:
    return not hook.command.startswith(START_MARKER)


def our_digests(hooks: Iterable[Hook]) -> tuple[str, ...]:
    """Return the digests of rendered hooks, in the order in which they are written."""
    return tuple(hook_digest(hook.to_json()) for hook in in_order(hooks))


def merge_hooks(
    current: object, ours: Sequence[Hook], *, written: Sequence[str] = (), go_commands: Sequence[str] = ()
) -> HookMerge:
    """Put our hooks into a plan's hooks.

    Args:
        current: The plan's ``hooks`` as they stand in the file; anything but a list counts as none.
        ours: The hooks that the labels want.
        written: Digests of the hooks that we wrote last, from the state.
        go_commands: Commands that the Go tool renders from the same labels.

    Returns:
        The merged hooks. A hook is recognised as ours by its digest (written before, or wanted now), by the marker
        line of a template, or by being exactly what the Go tool renders.
    """
    standing: list[Any] = current if isinstance(current, list) else []
    wanted = in_order(ours)
    digests = tuple(hook_digest(hook.to_json()) for hook in wanted)
    known = {*written, *digests}
    spare: dict[str, list[Any]] = {}
    foreign: list[Any] = []
    ours_before: list[Any] = []
    found: list[str] = []
    for hook in standing:
        name = hook_digest(hook)
        if name in known or _is_marked(hook) or _is_go_hook(hook, go_commands):
            spare.setdefault(name, []).append(hook)
            ours_before.append(hook)
            found.append(name)
        else:
            foreign.append(hook)
    # One label may name a command twice: each of our hooks takes one of the file's.
    merged = [
        spare[name].pop(0) if spare.get(name) else hook.to_json()
        for name, hook in zip(digests, wanted, strict=True)
    ]
    plain = [*merged, *foreign]
    merged = _behind_halting(merged, foreign)
    changed = not _same(merged, standing)
    # What somebody put behind ours is no edit of ours, even where our stop hook moves behind it.
    edited = (
        changed
        and bool(written)
        and (not set(written) <= set(found) or (tuple(written) == digests and not _same(plain, standing)))
    )
    return HookMerge(
        merged,
        changed,
        edited,
        digests,
        _stopped_twice(merged) if foreign else (),
        changed and _stricter(ours_before, wanted),
    )


def _same(merged: Sequence[Any], standing: Sequence[Any]) -> bool:
    return len(merged) == len(standing) and all(a is b for a, b in zip(merged, standing, strict=True))


def _behind_halting(ours: list[Any], foreign: list[Any]) -> list[Any]:
    """Return all hooks in their order; those of the user stay in theirs."""
    first = max((at + 1 for at, hook in enumerate(foreign) if _on_start_error(hook)), default=0)
    stops = [hook for hook in ours if first and _first_line(_command(hook)) == STOP_MARKER]
    others = [hook for hook in ours if not any(hook is stop for stop in stops)]
    return [*others, *foreign[:first], *stops, *foreign[first:]]


def _on_start_error(hook: object) -> str | None:
    """Return what a hook that runs before the backup does when it fails; None for any other, "" for ignore."""
    canonical = HOOK.canonical(hook)
    if not isinstance(canonical, dict) or SNAPSHOT_START not in (canonical.get("conditions") or ()):
        return None
    return str(canonical.get("onError", ""))


def _stricter(before: Iterable[object], wanted: Iterable[Hook]) -> bool:
    """Whether a hook that is to fail the backup stood there without doing so."""
    strict = {_what(hook.to_json()) for hook in wanted if hook.on_error == FATAL}
    return any(_on_start_error(hook) in ("", "ON_ERROR_CANCEL") and _what(hook) in strict for hook in before)


def _what(hook: object) -> str:
    """Return what a hook does, in one word for all versions of our stop hook."""
    command = _command(hook)
    return STOP_MARKER if _first_line(command) == STOP_MARKER else command


def _command(hook: object) -> str:
    canonical = HOOK.canonical(hook)
    action = canonical.get("actionCommand") if isinstance(canonical, dict) else None
    command = action.get("command") if isinstance(action, dict) else None
    return command if isinstance(command, str) else ""


def _first_line(command: str) -> str:
    return command.split("\n", 1)[0].strip()


def _is_marked(hook: object) -> bool:
    return _first_line(_command(hook)) in (STOP_MARKER, START_MARKER)


def _is_go_hook(hook: object, commands: Sequence[str]) -> bool:
    """The Go tool writes one condition, a command, and nothing else."""
    if not commands or not isinstance(hook, Mapping):
        return False
    canonical = HOOK.canonical(hook)
    return (
        canonical.keys() == {"conditions", "actionCommand"}
        and not HOOK.unknown(hook)
        and canonical["conditions"] in _GO_CONDITIONS
        and _command(hook) in commands
    )


def _stopped_twice(hooks: Iterable[object]) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for hook in hooks:
        for name in stopped_containers(_command(hook)):
            counts[name] = counts.get(name, 0) + 1
    return tuple(name for name, count in counts.items() if count > 1)


def stopped_containers(command: str) -> frozenset[str]:
    """Return the containers that a hook's command stops by a plain ``docker stop``; variables are not followed."""
    names: set[str] = set()
    for match in _DOCKER_STOP.finditer(command):
        try:
            words = shlex.split(match[1])
        except ValueError:
            words = match[1].split()
        skip = False
        for word in words:
            if skip or word.startswith("-"):
                skip = not skip and word in _STOP_OPTIONS_WITH_VALUE
            elif not word.isdigit():
                names.add(word)
    return frozenset(names)
