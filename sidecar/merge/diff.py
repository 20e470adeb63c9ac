"""What a merge changes, for people: a unified diff of plans, and one line of summary.

Only plans are ever shown, so no repository secret can be. Within a plan the commands of hooks are shown, for that is
what a reader must see before they run; addresses and tokens of notification hooks are masked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from sidecar.config.protojson import PLAN
from sidecar.config.secrets import is_open
from sidecar.findings import printable
from sidecar.merge.result import Change

MASK = "********"
_RED, _GREEN, _CYAN, _BOLD, _RESET = "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[1m", "\x1b[0m"


def plan_diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the unified diff of the plans of two documents; empty when they are equal.

    Each plan that differs is one file of the diff, named by its id; plans come sorted by id and are shown as
    two-space JSON, so the same two documents always give the same text.
    """
    import difflib  # only a dry run needs it

    old, new = _by_id(before), _by_id(after)
    parts: list[str] = []
    for plan_id in sorted(old.keys() | new.keys()):
        was, will = old.get(plan_id, []), new.get(plan_id, [])
        if len(was) == len(will) and all(a is b for a, b in zip(was, will, strict=True)):
            continue
        name = printable(plan_id, 200)
        parts += difflib.unified_diff(
            _lines(was),
            _lines(will),
            f"plans/{name}" if was else "/dev/null",
            f"plans/{name}" if will else "/dev/null",
            lineterm="",
        )
    return "".join(f"{line}\n" for line in parts)


def colour(text: str) -> str:
    """Return a unified diff with ANSI colours, as ``git diff`` has them."""
    return "".join(map(_coloured, text.splitlines()))


def changes_summary(changes: Iterable[Change]) -> str:
    """Return one line such as ``added api; updated db (schedule, paths)``; ``nothing to change`` for none."""
    kinds: dict[str, list[str]] = {}
    for change in changes:
        name = printable(change.plan_id)
        detail = f" ({', '.join(change.fields)})" if change.kind in ("updated", "adopted") else ""
        kinds.setdefault(change.kind, []).append(name + detail)
    return (
        "; ".join(f"{kind} {', '.join(names)}" for kind, names in sorted(kinds.items()))
        or "nothing to change"
    )


def masked_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan that may be shown: what could hold a secret is replaced by :data:`MASK`.

    Masked are the texts of hook actions that are no command or template, and every text in a field that this
    version does not know.
    """
    out: dict[str, Any] = {}
    for key, value in plan.items():
        if key not in PLAN.names:
            out[key] = _mask(value)
        elif key == "hooks" and isinstance(value, list):
            out[key] = [_masked_hook(hook) for hook in value]
        else:
            out[key] = value
    return out


def _masked_hook(hook: object) -> object:
    if not isinstance(hook, Mapping):
        return _mask(hook)
    out: dict[str, Any] = {}
    for key, value in hook.items():
        if key in ("conditions", "onError", "on_error"):
            out[key] = value
        elif key.startswith("action") and isinstance(value, Mapping):
            out[key] = {k: v if is_open(key, k) else _mask(v) for k, v in value.items()}
        else:
            out[key] = _mask(value)
    return out


def _mask(value: object) -> object:
    if isinstance(value, str):
        return MASK if value else value
    if isinstance(value, Mapping):
        return {key: _mask(item) for key, item in value.items()}
    return [_mask(item) for item in value] if isinstance(value, list) else value


def _by_id(data: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Plans by id; more than one only in a file that Backrest refuses."""
    out: dict[str, list[Mapping[str, Any]]] = {}
    for plan in data.get("plans") or ():
        out.setdefault(plan.get("id") or "", []).append(plan)
    return out


def _lines(plans: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        line if line.isprintable() else "".join(map(_visible, line))
        for plan in plans
        for line in orjson.dumps(masked_plan(plan), option=orjson.OPT_INDENT_2).decode().split("\n")
    ]


def _visible(char: str) -> str:
    """No character of a command may steer the terminal it is shown on."""
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


def _coloured(line: str) -> str:
    codes = (("---", _BOLD), ("+++", _BOLD), ("+", _GREEN), ("-", _RED), ("@@", _CYAN))
    code = next((code for mark, code in codes if line.startswith(mark)), "")
    return f"{code}{line}{_RESET}\n" if code else f"{line}\n"
