"""Which workloads a backup is about: those whose labels ask for a plan, and those that are taken down. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from sidecar import naming
from sidecar.backup_sets import Wish
from sidecar.label_guess import is_ours
from sidecar.labels import LabelPolicy, VolumeLabels, parse, parse_volume
from sidecar.model import NO_LABELS, Container, EngineSnapshot
from sidecar.naming import Workload


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be backed up.

    Attributes:
        wishes: Sorted by workload.
        broken: One sentence for each workload (or named plan) that is left out because of a wrong label.
        notes: Oddities, one sentence each.
        volume_labels: Labels of the volumes that have any, by name.
    """

    wishes: tuple[Wish, ...] = ()
    broken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    volume_labels: Mapping[str, VolumeLabels] | None = None


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
    volumes = {
        name: parse_volume(volume.labels, volume=name)
        for name, volume in snapshot.volumes.items()
        if any(map(is_ours, volume.labels))
    }
    enabled = frozenset(name for name, labels in volumes.items() if labels.enable)
    found: list[Wish] = []
    broken: list[str] = []
    notes: list[str] = []
    for base, containers in _groups(snapshot).items():
        newest = max(containers, key=lambda c: (c.created, c.id))
        labels = parse(
            newest.labels,
            container=newest.name,
            image_labels=newest.image_labels,
            policy=policy,
        )
        for finding in labels.findings:
            (broken if finding.skips else notes).append(finding.message)
        found.extend(Wish(base.named(plan.name), "", containers, plan) for plan in labels.plans)
        by_volume = enabled & {m.name for c in containers for m in c.mounts if m.type == "volume"}
        if labels.plans or labels.withdrawn or labels.broken:
            continue
        if any(c.id in quiesced for c in containers):
            found.append(Wish(base, "", containers))
        elif by_volume:
            wanted = {**newest.labels, "backrest.enable": "true"}
            plans = parse(wanted, container=newest.name, policy=policy).plans[:1]
            found.extend(Wish(base, "", containers, plan, by_volume) for plan in plans)
    ids = naming.assign_ids(
        {wish.workload: () for wish in found},
        prefix=plan_prefix,
        include_project=include_project,
        owned=owned,
        origins=origins,
        standing={},
    ).ids
    named = (replace(wish, plan_id=ids.get(wish.workload.key, "")) for wish in found)
    wishes = tuple(sorted(named, key=lambda wish: wish.workload))
    return Wishes(wishes, tuple(broken), tuple(notes), volumes)


def _groups(snapshot: EngineSnapshot) -> dict[Workload, tuple[Container, ...]]:
    """Return the containers of each workload, one a slot; one-offs of ``compose run`` are none."""
    gathered: dict[Workload, list[Container]] = {}
    for container in snapshot.containers:
        if not container.is_oneoff:
            gathered.setdefault(naming.workload_of(container), []).append(container)
    standing = (
        (workload, naming.newest_per_slot(naming.without_history(several, snapshot)))
        for workload, several in gathered.items()
    )
    return {workload: several for workload, several in standing if several}
