"""Which workloads a backup is about: those whose labels ask for a plan, and those that are taken down. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from sidecar.backup.sets import Wish
from sidecar.engine.model import EngineSnapshot
from sidecar.labels.keys import NO_LABELS
from sidecar.labels.policy import LabelPolicy, VolumeLabels
from sidecar.plans import workloads
from sidecar.plans.discovery import asked_by, enabled_volumes, labels_of_volumes
from sidecar.plans.grouping import Grouping
from sidecar.plans.workloads import Workload


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be backed up.

    Attributes:
        wishes: Sorted by workload.
        broken: One sentence for each workload (or named plan) that is left out because of a wrong label.
        notes: Oddities, one sentence each.
        volume_labels: Labels of the volumes that have any, by name.
        doubtful: Workloads with a plan that is left out: nobody knows what it wants to keep.
    """

    wishes: tuple[Wish, ...] = ()
    broken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    volume_labels: Mapping[str, VolumeLabels] | None = None
    doubtful: frozenset[Workload] = frozenset()


def gather(
    snapshot: EngineSnapshot,
    quiesced: AbstractSet[str],
    *,
    policy: LabelPolicy,
    plan_prefix: str,
    include_project: bool,
    owned: Mapping[str, str],
    origins: Mapping[str, str] = NO_LABELS,
) -> Wishes:
    """Return what is to be backed up.

    Args:
        snapshot: The engine.
        quiesced: Ids of the containers that are taken down; they are backed up even when nothing else asks.
        policy: What labels may do.
        plan_prefix: ``--plan-id-prefix``.
        include_project: ``--include-project-name``.
        owned: Plan id → workload key as the state has it, so that tags name the plans that Backrest has.
        origins: Workload key → key of the workload whose plan it has taken over, from the state.
    """
    volumes = labels_of_volumes(snapshot.volumes)
    enabled = enabled_volumes(volumes)
    found: list[Wish] = []
    doubtful: set[Workload] = set()
    findings = [finding for labels in volumes.values() for finding in labels.findings]
    for base, containers in Grouping().groups(snapshot, enabled, also=quiesced):
        asked = asked_by(base, containers, enabled, policy)
        findings += asked.findings
        if any(c.id in quiesced for c in containers) and (asked.nothing or asked.by_volume):
            found.append(Wish(base, "", containers))  # the volume's wish is part of it
            continue
        if asked.broken:
            doubtful.add(base)
        only, alone = asked.by_volume or None, len(asked.names) == 1
        found.extend(Wish(base.named(p.name), "", containers, p, only, alone=alone) for p in asked.plans)
    ids = workloads.assign_ids(
        {wish.workload: () for wish in found},
        prefix=plan_prefix,
        include_project=include_project,
        owned=owned,
        origins=origins,
        standing={},
    ).ids
    named = (replace(wish, plan_id=ids.get(wish.workload.key, "")) for wish in found)
    wishes = tuple(sorted(named, key=lambda wish: wish.workload))
    broken = tuple(finding.message for finding in findings if finding.skips)
    notes = tuple(finding.message for finding in findings if not finding.skips)
    return Wishes(wishes, broken, notes, volumes, frozenset(doubtful))
