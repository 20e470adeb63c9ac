"""What the containers of one workload ask for, by their labels and by those of their volumes. Pure.

Plans for Backrest and ``backup-once`` both ask here: what the one ignores, the other must not obey.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sidecar.engine.model import Container, Volume
from sidecar.findings import Finding
from sidecar.labels.guess import ENABLE
from sidecar.labels.policy import LabelPolicy, PlanLabels, VolumeLabels, parse, parse_volume
from sidecar.labels.reader import ours
from sidecar.plans.workloads import Workload


@dataclass(frozen=True, slots=True)
class Asked:
    """What one workload asks for.

    Attributes:
        plans: Its plans, without those that are broken.
        withdrawn: Names of plans with ``enable=false``; the default plan's is empty.
        broken: Names of plans that are left out because of a wrong label.
        by_volume: Names of the volumes that alone ask for the plan; empty where the containers' labels decide.
        findings: In label order.
    """

    plans: tuple[PlanLabels, ...] = ()
    withdrawn: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    by_volume: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether it asks for nothing, rightly or wrongly."""
        return not (self.plans or self.withdrawn or self.broken)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all plans that the labels are about, right or wrong."""
        return (*(plan.name for plan in self.plans), *self.withdrawn, *self.broken)


def labels_of_volumes(volumes: Mapping[str, Volume]) -> dict[str, VolumeLabels]:
    """Return the labels of those volumes that carry any of ours, by name."""
    return {
        name: parse_volume(volume.labels, volume=name)
        for name, volume in volumes.items()
        if volume.labels and ours(volume.labels)
    }


def enabled_volumes(labels: Mapping[str, VolumeLabels]) -> frozenset[str]:
    """Return the names of the volumes that say ``backrest.enable=true``."""
    return frozenset(name for name, volume in labels.items() if volume.enable)


def asked_by(
    workload: Workload, containers: tuple[Container, ...], enabled: AbstractSet[str], policy: LabelPolicy
) -> Asked:
    """Return what a workload asks for.

    The labels of its newest container count. Where they ask for nothing, a volume that is enabled asks for the
    default plan, with the container's other labels; what comes from the image counts in neither case.

    Args:
        workload: The workload, for the findings.
        containers: Its containers, at least one.
        enabled: Names of the volumes that say ``backrest.enable=true``.
        policy: What labels may do.
    """
    newest = max(containers, key=lambda c: (c.created, c.id))
    name, image = newest.name, newest.image_labels
    labels = parse(newest.labels, container=name, image_labels=image, policy=policy)
    findings = list(labels.findings)
    if any(_ours(c) != _ours(newest) for c in containers if c is not newest):
        text = f"replicas of {workload} differ in their labels; those of the newest, {newest.name}, count"
        findings.append(Finding("replicas-differ", text, container=newest.name))
    plans, broken = labels.plans, labels.broken
    by_volume: frozenset[str] = frozenset()
    if not (plans or labels.withdrawn or broken):
        by_volume = frozenset(
            m.name for c in containers for m in c.mounts if m.type == "volume" and m.name in enabled
        )
    if by_volume:
        wanted = {**newest.labels, ENABLE: "true"}
        # The volume enables; whether the image does as well makes no difference.
        rest = {key: value for key, value in image.items() if key != ENABLE}
        asked = parse(wanted, container=name, image_labels=rest, policy=policy)
        plans = tuple(plan for plan in asked.plans if not plan.name)
        broken = tuple(plan for plan in asked.broken if not plan)
    return Asked(plans, labels.withdrawn, broken, by_volume, tuple(findings))


def _ours(container: Container) -> dict[str, str]:
    return {key: container.labels[key] for key in ours(container.labels)}
