"""One owned plan: our fields as the labels want them, everything else as it stands.

Values are compared by what they mean to Backrest, not by their spelling: it sorts ``paths``, leaves out defaults,
takes enums by name or number, and reads ``CLOCK_DEFAULT`` as ``CLOCK_LOCAL`` (backrest: proto/v1/config.proto:196).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.config.plan import OWNED_FIELDS, Hook, Plan
from sidecar.config.protojson import RETENTION, SCHEDULE, digest
from sidecar.merge.hooks import hook_digest, in_order, merge_hooks, our_digests
from sidecar.plans.rendering import Owner, RenderedPlan

DISABLED: Mapping[str, Any] = {"disabled": True}
"""The schedule of a plan that is withdrawn or orphaned."""


@dataclass(frozen=True, slots=True)
class PlanMerge:
    """What merging one plan gave.

    Attributes:
        plan: The plan to write; the very object of the file when nothing changes.
        fields: Names of the fields that change, in Backrest's order.
        edited: Those among them that somebody edited since we wrote them; the labels win over the edit.
        stopped_twice: Containers that more than one hook of the plan stops.
        stricter: Whether a hook of ours fails the backup that did not before.
    """

    plan: Mapping[str, Any]
    fields: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    stopped_twice: tuple[str, ...] = ()
    stricter: bool = False


def canonical_schedule(value: object) -> Any:
    """Return a schedule in its one spelling; None for absent. A schedule that never fires has no clock."""
    if value is None:
        return None
    schedule = SCHEDULE.canonical(value)
    if not isinstance(schedule, dict):
        return schedule
    clock = schedule.pop("clock", "CLOCK_LOCAL")
    if schedule and "disabled" not in schedule:
        schedule["clock"] = clock
    if isinstance(cron := schedule.get("cron"), str):
        schedule["cron"] = " ".join(cron.split())
    return schedule


def is_disabled(plan: Mapping[str, Any]) -> bool:
    """Return whether the plan's schedule is switched off explicitly."""
    return bool(canonical_schedule(plan.get("schedule")) == DISABLED)


def _paths(value: object) -> Any:
    return sorted(value) if isinstance(value, list) and all(type(v) is str for v in value) else value or []


_CANONICAL: Mapping[str, Callable[[Any], Any]] = {
    "repo": lambda value: value or "",
    "paths": _paths,
    "excludes": lambda value: value or [],
    "schedule": canonical_schedule,
    "retention": lambda value: None if value is None else RETENTION.canonical(value),
}


def canonical(field: str, value: object) -> Any:
    """Return the value of an owned field in its one spelling; ``excludes`` keep their order, which has meaning."""
    return _CANONICAL[field](value)


def field_digest(field: str, value: object) -> str:
    """Return the digest of an owned field's value, as the state keeps it."""
    return digest(canonical(field, value))


def stands_exactly(current: Mapping[str, Any], plan: Plan) -> bool:
    """Return whether the file has the plan just as we write it, without further hooks. Fast; may miss equals."""
    return (
        current.get("repo") == plan.repo
        and current.get("schedule") == {"cron": plan.cron, "clock": "CLOCK_LOCAL"}
        and current.get("retention") == plan.retention
        and current.get("paths") == list(plan.paths)
        and current.get("excludes") == (list(plan.excludes) or None)
        and _hooks_stand(current.get("hooks"), plan.hooks)
    )


def _hooks_stand(current: object, hooks: tuple[Hook, ...]) -> bool:
    if not hooks:
        return current is None
    if type(current) is not list or len(current) != len(hooks):
        return False
    if in_order(hooks) != list(hooks):
        return False
    for standing, hook in zip(current, hooks, strict=True):
        if (
            type(standing) is not dict
            or standing.get("actionCommand") != {"command": hook.command}
            or standing.get("conditions") != list(hook.conditions)
            or standing.get("onError", "") != hook.on_error
            or len(standing) != (3 if hook.on_error else 2)
        ):
            return False
    return True


def remembers(owner: Owner, rendered: RenderedPlan) -> bool:
    """Return whether an owner record already says what :func:`owner_of` would, as far as a glance can tell."""
    return (
        owner.workload == rendered.workload
        and owner.origin == rendered.origin
        and owner.paths == rendered.plan.paths
        and len(owner.hooks) == len(rendered.plan.hooks)
        and not owner.disabled
        and not owner.absent_since
        and len(owner.fields) == len(OWNED_FIELDS)
    )


def owner_of(rendered: RenderedPlan, since: float = 0.0) -> Owner:
    """Return what the state is to remember of a plan as rendered; ``since`` is when we added it."""
    wanted = rendered.plan.owned_json()
    return Owner(
        workload=rendered.workload,
        fields={field: field_digest(field, wanted.get(field)) for field in OWNED_FIELDS},
        hooks=our_digests(rendered.plan.hooks),
        paths=rendered.plan.paths,
        origin=rendered.origin,
        since=since,
    )


def new_plan(plan: Plan) -> dict[str, Any]:
    """Return a plan that the file does not have yet."""
    out = plan.owned_json()
    if plan.hooks:
        out["hooks"] = [hook.to_json() for hook in in_order(plan.hooks)]
    return out


def merge_plan(current: Mapping[str, Any], rendered: RenderedPlan, owner: Owner | None) -> PlanMerge:
    """Put a rendered plan over the one that stands in the file.

    Args:
        current: The plan in the file; it is not changed.
        rendered: What the labels want.
        owner: What we wrote last; None on adoption, which counts no difference as an edit.

    Returns:
        The merged plan. An unknown field inside ``schedule`` or ``retention`` survives a change of it.
    """
    wanted = rendered.plan.owned_json()
    out = dict(current)
    fields: list[str] = []
    edited: list[str] = []
    for field in OWNED_FIELDS:
        before, after = canonical(field, current.get(field)), canonical(field, wanted.get(field))
        if before == after:
            continue
        fields.append(field)
        if owner is not None and field in owner.fields and owner.fields[field] != digest(before):
            edited.append(field)
        if field in wanted:
            out[field] = _with_unknown(field, wanted[field], current.get(field))
        else:
            out.pop(field, None)
    hooks = merge_hooks(
        current.get("hooks"),
        rendered.plan.hooks,
        written=owner.hooks if owner is not None else (),
        go_commands=rendered.go_hooks,
    )
    if hooks.changed:
        fields.append("hooks")
        if owner is not None and hooks.edited:
            edited.append("hooks")
        if hooks.hooks:
            out["hooks"] = hooks.hooks
        else:
            out.pop("hooks", None)
    return PlanMerge(
        out if fields else current, tuple(fields), tuple(edited), hooks.stopped_twice, hooks.stricter
    )


def stands_as_written(current: Mapping[str, Any], owner: Owner) -> bool:
    """Return whether a plan has nothing that we did not write: nobody has touched it since."""
    if current.keys() - {"id", "hooks", *OWNED_FIELDS}:
        return False
    hooks = current.get("hooks") or ()
    return tuple(map(hook_digest, hooks)) == owner.hooks and all(
        owner.fields.get(field) == field_digest(field, current.get(field)) for field in OWNED_FIELDS
    )


def disable(current: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan with its schedule switched off; everything else stands."""
    return {**current, "schedule": _with_unknown("schedule", dict(DISABLED), current.get("schedule"))}


def _with_unknown(field: str, value: Any, before: object) -> Any:
    message = {"schedule": SCHEDULE, "retention": RETENTION}.get(field)
    return {**value, **message.unknown(before)} if message is not None else value
