"""Plans of ours that are not rendered now: whose workload is gone, withdrawn, skipped, or has another plan id.

Only what the state records is looked at. A workload that is present but skipped keeps its plan as it is; absence
counts only when the engine could be listed wholly, and only after the grace.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from sidecar.merge_result import MergeOptions
from sidecar.model import Finding
from sidecar.rendering import Owner, Owners, Rendering

Action = Literal["leave", "disable", "remove", "forget"]


@dataclass(frozen=True, slots=True)
class Absent:
    """One plan of ours that is not rendered, and what to do with it.

    Attributes:
        plan_id: The plan.
        owner: Its record.
        action: ``leave`` it, ``disable`` or ``remove`` it, or ``forget`` the record of a plan that is gone.
        absent_since: The new value for the record.
        orphan: Whether its workload is gone or has another id now.
        finding: What to tell, at a change only.
        renamed_to: The plan id that the workload has now, at the change only.
    """

    plan_id: str
    owner: Owner
    action: Action
    absent_since: float = 0.0
    orphan: bool = False
    finding: Finding | None = None
    renamed_to: str = ""


def look_at_absent(
    rendering: Rendering,
    owners: Owners,
    standing: Collection[str],
    options: MergeOptions,
    now: float,
    settled: Callable[[str], bool],
) -> tuple[Absent, ...]:
    """Return every recorded plan that is not rendered, with its fate.

    Args:
        rendering: The whole wish.
        owners: What the state remembers.
        standing: Ids of the plans in the file.
        options: See :class:`MergeOptions`.
        now: Unix time.
        settled: Whether a plan id is ours and will stand in the merged document. An old plan is dealt with only
            when the new one is: otherwise nothing would back up the workload.
    """
    if len(owners) == len(rendering.plans) and all(item.plan.id in owners for item in rendering.plans):
        return ()
    rendered = {item.plan.id for item in rendering.plans}
    new_ids = {item.workload: item.plan.id for item in rendering.plans}
    pairs = dict(rendering.renamed)
    cases = []
    for plan_id, owner in owners.items():
        if plan_id in rendered:
            continue
        new_id = pairs.get(plan_id) or new_ids.get(owner.workload, "")
        new_id = new_id if new_id and settled(new_id) else ""
        if plan_id not in standing:
            cases.append(_not_standing(plan_id, owner, rendering, renamed=bool(new_id)))
        elif new_id:
            cases.append(_renamed(plan_id, owner, new_id, options, now))
        elif owner.workload in rendering.withdrawn:
            cases.append(_withdrawn(plan_id, owner, options))
        elif owner.workload in rendering.present:
            cases.append(Absent(plan_id, owner, "leave"))
        elif rendering.complete:
            cases.append(_gone(plan_id, owner, options, now))
    return tuple(cases)


def _not_standing(plan_id: str, owner: Owner, rendering: Rendering, *, renamed: bool) -> Absent:
    """A plan that somebody deleted: forgotten, unless its workload may yet want it back."""
    wanted = owner.workload in rendering.present and not renamed
    unknown = not rendering.complete and owner.workload not in rendering.withdrawn and not renamed
    return Absent(plan_id, owner, "leave" if wanted or unknown else "forget", owner.absent_since)


def _since(owner: Owner, now: float) -> float:
    """A clock that was set back starts the grace anew; it never shortens it."""
    return owner.absent_since if 0 < owner.absent_since <= now else now


def _renamed(plan_id: str, owner: Owner, new_id: str, options: MergeOptions, now: float) -> Absent:
    """The workload lives under another id: no grace, for nothing is in doubt. Told once, at the change."""
    fate = {
        "keep": "stays and backs the same data up a second time",
        "disable": "is disabled",
        "remove": "is removed",
    }
    finding = Finding(
        "plan-renamed",
        f'the plan of {owner.workload} is now "{new_id}"; its old plan "{plan_id}" {fate[options.orphans]}. '
        "Its snapshots stay in the repository. See --orphans.",
    )
    action: Action = "leave"
    if options.orphans == "remove" or (options.orphans == "disable" and not owner.disabled):
        action = options.orphans
    if owner.absent_since and action != "remove":
        return Absent(plan_id, owner, action, _since(owner, now), orphan=True)
    return Absent(plan_id, owner, action, now, orphan=True, finding=finding, renamed_to=new_id)


def _withdrawn(plan_id: str, owner: Owner, options: MergeOptions) -> Absent:
    """``backrest.enable=false``: disabled at once and whenever somebody enables it by hand."""
    if options.orphans == "keep" and options.orphans_explicit:
        return Absent(plan_id, owner, "leave")
    finding = Finding(
        "withdrawn",
        f'plan "{plan_id}" is disabled, because backrest.enable of {owner.workload} says so. Its snapshots stay.',
        label="backrest.enable",
    )
    return Absent(plan_id, owner, "disable", finding=None if owner.disabled else finding)


def _gone(plan_id: str, owner: Owner, options: MergeOptions, now: float) -> Absent:
    """The workload is gone. Disabled once: whoever enables the plan by hand afterwards has decided to keep it."""
    since = _since(owner, now)
    due = options.orphans != "keep" and now - since >= options.orphan_grace
    if due and options.orphans == "remove":
        finding = Finding("orphan-removed", _orphan(plan_id, owner, "it is removed"))
        return Absent(plan_id, owner, "remove", since, orphan=True, finding=finding)
    if due and not owner.disabled:
        finding = Finding("orphan-disabled", _orphan(plan_id, owner, "it is disabled"))
        return Absent(plan_id, owner, "disable", since, orphan=True, finding=finding)
    told = None if owner.absent_since else Finding("orphan", _orphan(plan_id, owner, "it stays for now"))
    return Absent(plan_id, owner, "leave", since, orphan=True, finding=told)


def _orphan(plan_id: str, owner: Owner, fate: str) -> str:
    return f'the container of plan "{plan_id}" ({owner.workload}) is gone; {fate}. See --orphans.'
