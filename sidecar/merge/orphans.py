"""Plans of ours that are not rendered now: whose workload is gone, withdrawn, skipped, or has another plan id.

Only what the state records is looked at. A workload that is present but skipped keeps its plan as it is; absence
counts only when the engine could be listed wholly, and only after the grace. The grace is measured by the machine's
uptime: a clock that is set ahead does not shorten it. Of the time before a boot only what was counted then is known;
since the boot, its uptime has passed at the least.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from sidecar.findings import Finding
from sidecar.merge.result import MergeOptions
from sidecar.plans.rendering import NOT_COUNTED, Counted, Owner, Owners, Rendering
from sidecar.plans.succession import Overlapped, is_of_overlap
from sidecar.plans.workloads import Workload

Action = Literal["leave", "disable", "remove", "retire", "hand-over", "forget"]
_COUNT_ANEW = 3600.0
"""Seconds after which what has been counted is written down again, so that a boot loses no more of it."""


@dataclass(frozen=True, slots=True)
class Absent:
    """One plan of ours that is not rendered, and what to do with it.

    Attributes:
        plan_id: The plan.
        owner: Its record.
        action: ``leave`` it, ``disable`` or ``remove`` it, ``retire`` it (removed, or disabled where somebody has
            touched it), ``hand-over`` to a successor, or ``forget`` the record of a plan that is gone.
        absent_since: The new value for the record.
        counted: The same.
        orphan: Whether its workload is gone or has another id now.
        finding: What to tell, at a change only.
        renamed_to: The plan id that the workload has now, at the change only.
        heir: Key of the workload that takes the plan over.
    """

    plan_id: str
    owner: Owner
    action: Action
    absent_since: float = 0.0
    orphan: bool = False
    finding: Finding | None = None
    renamed_to: str = ""
    counted: Counted = NOT_COUNTED
    heir: str = ""


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
    overlapped: Overlapped | None = None
    cases = []
    for plan_id, owner in owners.items():
        if plan_id in rendered:
            continue
        new_id = pairs.get(plan_id) or new_ids.get(owner.workload, "")
        new_id = new_id if new_id and settled(new_id) else ""
        if plan_id not in standing:
            cases.append(_not_standing(plan_id, owner, rendering, renamed=bool(new_id)))
        elif new_id:
            new_owner = owners.get(new_id)
            twin = new_owner is not None and new_owner.origin != "" and new_owner.paths == owner.paths
            cases.append(_renamed(plan_id, owner, new_id, options, now, twin=twin))
        elif owner.workload in rendering.withdrawn:
            cases.append(_withdrawn(plan_id, owner, options))
        elif owner.workload in rendering.present:
            cases.append(Absent(plan_id, owner, "leave"))
        elif rendering.complete:
            silent = rendering.silent.get(owner.workload, "")
            if not silent and not owner.absent_since and overlapped is None:
                plans = ((item.plan.id, item.workload, item.plan.paths) for item in rendering.plans)
                overlapped = Overlapped(plans, owners, now)
            heir = overlapped.heir(owner) if overlapped is not None and not silent else ""
            if heir and not options.keeps_all:
                cases.append(
                    Absent(plan_id, owner, "hand-over", finding=succeeded(plan_id, owner, heir), heir=heir)
                )
            else:
                cases.append(_gone(plan_id, owner, options, now, silent))
    return tuple(cases)


def _not_standing(plan_id: str, owner: Owner, rendering: Rendering, *, renamed: bool) -> Absent:
    """A plan that somebody deleted: forgotten, unless its workload may yet want it back."""
    wanted = owner.workload in rendering.present and not renamed
    unknown = not rendering.complete and owner.workload not in rendering.withdrawn and not renamed
    return Absent(plan_id, owner, "leave" if wanted or unknown else "forget", owner.absent_since)


def _since(owner: Owner, now: float) -> float:
    """A clock that was set back starts the grace anew; it never shortens it."""
    return owner.absent_since if 0 < owner.absent_since <= now else max(now, 1.0)


def _missed(owner: Owner, options: MergeOptions, now: float) -> tuple[float, float, Counted]:
    """Return since when a workload is missed, for how many seconds without a doubt, and the count for the record."""
    boot, counted = options.boot, owner.counted
    if not boot.id:
        since = _since(owner, now)
        return since, now - since, NOT_COUNTED
    since = owner.absent_since or max(now, 1.0)
    fresh = Counted(0.0, boot.id, boot.uptime)
    if (
        not owner.absent_since or not counted.boot
    ):  # missed for the first time, or by a version that did not count
        return since, 0.0, fresh
    same = counted.boot == boot.id
    passed = max(0.0, boot.uptime - counted.uptime) if same else boot.uptime
    seconds = counted.seconds + passed
    due = not same or passed >= min(_COUNT_ANEW, max(options.orphan_grace / 4, 60.0))
    acts = options.orphans != "keep" and not owner.disabled
    return since, seconds, fresh._replace(seconds=seconds) if due and acts else counted


def _renamed(
    plan_id: str, owner: Owner, new_id: str, options: MergeOptions, now: float, *, twin: bool
) -> Absent:
    """The workload lives under another id: no grace, for nothing is in doubt. Told once, at the change.

    A twin was made while a deploy had the old container and the new one, and the new one now has the old one's plan.
    """
    if twin and is_of_overlap(owner, now) and not owner.absent_since and not options.keeps_all:
        finding = Finding(
            "twin-retired",
            f'plan "{plan_id}" was made while both containers of a deploy were there; the plan of '
            f'{Workload.of_key(owner.workload)} is "{new_id}" now, so this one goes again. Its snapshots stay in the '
            "repository.",
        )
        return Absent(plan_id, owner, "retire", now, orphan=True, finding=finding)
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
    if options.keeps_all:
        return Absent(plan_id, owner, "leave")
    finding = Finding(
        "withdrawn",
        f'plan "{plan_id}" is disabled, because backrest.enable of {owner.workload} says so. Its snapshots stay.',
        label="backrest.enable",
    )
    return Absent(plan_id, owner, "disable", finding=None if owner.disabled else finding)


def _gone(plan_id: str, owner: Owner, options: MergeOptions, now: float, silent: str) -> Absent:
    """The workload is gone, or asks no more (``silent`` says so).

    Disabled once: whoever enables the plan by hand afterwards has decided to keep it.
    """
    since, missed, counted = _missed(owner, options, now)
    due = options.orphans != "keep" and missed >= options.orphan_grace

    def finding(code: str, fate: str) -> Finding:
        return Finding(code, _orphan(plan_id, owner, silent, fate), container=silent.partition(" ")[0])

    if due and options.orphans == "remove":
        told = finding("orphan-removed", "it is removed")
        return Absent(plan_id, owner, "remove", since, orphan=True, finding=told)
    if due and not owner.disabled:
        told = finding("orphan-disabled", "it is disabled")
        return Absent(plan_id, owner, "disable", since, orphan=True, finding=told, counted=counted)
    first = None if owner.absent_since else finding("orphan", "it stays for now")
    return Absent(plan_id, owner, "leave", since, orphan=True, finding=first, counted=counted)


def _orphan(plan_id: str, owner: Owner, silent: str, fate: str) -> str:
    if silent:
        return f'{silent}: nothing asks for plan "{plan_id}", and {fate}. See --orphans.'
    return f'the container of plan "{plan_id}" ({owner.workload}) is gone; {fate}. See --orphans.'


def succeeded(plan_id: str, owner: Owner, heir: str) -> Finding:
    """Return the word that a plan has gone over to another workload."""
    return Finding(
        "successor",
        f"{Workload.of_key(owner.workload)} is gone, and {Workload.of_key(heir)} has its paths: it takes over "
        f'the plan "{plan_id}"',
        value=plan_id,
    )
