"""Plans that go over to a successor: a workload that vanished and one that appeared with its paths are one. Pure.

Deploy tools give a container, and its service, a new name at each deploy; ``docker rename`` does the same. Strict, so
that no plan is taken from a workload that may come back: the old one has no container at all, both are of the same
project (or of none), the paths are the same, and there is one candidate alone. Should the old one come back all the
same, it gets a plan of its own, and nothing is without a backup.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sidecar.findings import Finding
from sidecar.plans.rendering import Owner, Owners
from sidecar.plans.workloads import Workload

LONGEST_OVERLAP = 3600.0
"""Seconds for which a deploy may have both the old and the new container, the new one's plan being made meanwhile."""


@dataclass(frozen=True, slots=True)
class Heir:
    """A workload that takes over a plan.

    Attributes:
        plan_id: The plan.
        before: Key of the workload that had it.
        origin: Key of the workload that it was made for.
    """

    plan_id: str
    before: str
    origin: str


def heirs(
    newcomers: Mapping[Workload, tuple[str, ...]],
    owners: Owners,
    gone: Collection[str],
    standing: Collection[str],
) -> tuple[dict[str, Heir], tuple[Finding, ...]]:
    """Return who takes over which plan, by workload key, and what is to be said where several could.

    Args:
        newcomers: Workloads that have no plan yet, with the sorted paths theirs will have.
        owners: What the state remembers.
        gone: Keys of workloads that the engine, listed wholly, has no container of.
        standing: Ids of the plans in config.json.
    """
    vacant: dict[_Kin, list[str]] = {}
    for plan_id, owner in owners.items():
        if owner.workload in gone and plan_id in standing and owner.paths:
            vacant.setdefault(_kin(Workload.of_key(owner.workload), owner.paths), []).append(plan_id)
    found: dict[str, list[Workload]] = {}
    for newcomer, paths in sorted(newcomers.items()):
        if cases := vacant.get(_kin(newcomer, paths)):
            found.setdefault(_latest(cases, owners), []).append(newcomer)
    out: dict[str, Heir] = {}
    findings = []
    for plan_id, several in found.items():
        owner = owners[plan_id]
        if len(several) == 1:
            out[several[0].key] = Heir(plan_id, owner.workload, owner.origin or owner.workload)
        else:
            findings.append(_compete(plan_id, owner.workload, several))
    return out, tuple(findings)


_Kin = tuple[str, str, tuple[str, ...]]


def _kin(workload: Workload, paths: Iterable[str]) -> _Kin:
    """Return what a successor has in common with its predecessor: project, name of the plan, and paths."""
    return workload.project, workload.plan, tuple(sorted(paths))


def _latest(plan_ids: Iterable[str], owners: Owners) -> str:
    """Return the plan whose workload was there last. What an older version left behind is no successor's matter."""
    return min(plan_ids, key=lambda plan_id: (-(owners[plan_id].absent_since or math.inf), plan_id))


def _compete(plan_id: str, before: str, several: Collection[Workload]) -> Finding:
    names = " and ".join(map(str, several))
    text = (
        f"{names} have the paths of {Workload.of_key(before)}, which is gone, and each could take over its plan "
        f'"{plan_id}": none does, and each gets a plan of its own. See --orphans for the old one'
    )
    return Finding("successors-compete", text, container=str(next(iter(several))), value=plan_id)


class Overlapped:
    """Finds who takes over a plan though it has one already, made while a deploy had both containers.

    Args:
        plans: Plan id → workload key and paths of the plans that are rendered.
        owners: What the state remembers.
        now: Unix time.
    """

    def __init__(self, plans: Iterable[tuple[str, str, tuple[str, ...]]], owners: Owners, now: float) -> None:
        self._young: dict[_Kin, list[tuple[str, float]]] = {}
        for plan_id, key, paths in plans:
            owner = owners.get(plan_id)
            if owner is not None and owner.workload == key and paths and is_of_overlap(owner, now):
                self._young.setdefault(_kin(Workload.of_key(key), paths), []).append((key, owner.since))

    def heir(self, owner: Owner) -> str:
        """Return the workload key of the one successor of a plan whose workload is missed now; empty for none."""
        if owner.absent_since:
            return ""
        found = self._young.get(_kin(Workload.of_key(owner.workload), owner.paths), ())
        return found[0][0] if len(found) == 1 and found[0][1] > owner.since else ""


def is_of_overlap(owner: Owner, now: float) -> bool:
    """Return whether a plan is so young that it may have been made while a deploy had the old container, too."""
    return owner.since > 0 and not owner.origin and abs(now - owner.since) < LONGEST_OVERLAP
