"""Gathers containers into workloads. Pure, but remembers what it found out about a container."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sidecar.engine.model import Container, EngineSnapshot
from sidecar.labels.guess import is_ours
from sidecar.plans import workloads
from sidecar.plans.workloads import Workload


@dataclass(frozen=True, slots=True)
class _Facts:
    container: Container
    workload: Workload
    labelled: bool
    counts: bool


class Grouping:
    """Gathers containers into workloads, cheaply when most containers are the objects of the last time."""

    def __init__(self) -> None:
        self._facts: dict[str, _Facts] = {}
        self._gathered: dict[Workload, list[Container]] = {}

    def groups(
        self, snapshot: EngineSnapshot, enabled_volumes: frozenset[str], also: AbstractSet[str] = frozenset()
    ) -> Iterator[tuple[Workload, tuple[Container, ...]]]:
        """Yield each workload that has anything to do with us, with its containers, one per slot.

        Args:
            snapshot: The engine.
            enabled_volumes: Names of volumes labelled ``backrest.enable=true``: who mounts one is concerned.
            also: Ids of containers that are concerned, whatever their labels say.
        """
        facts: dict[str, _Facts] = {}
        gathered: dict[Workload, list[Container]] = {}
        ours: set[Workload] = set()
        for container in snapshot.containers:
            known = self._facts.get(container.id)
            if known is None or known.container is not container:
                known = _look(container)
            facts[container.id] = known
            if not known.counts:
                continue
            gathered.setdefault(known.workload, []).append(container)
            if (
                known.labelled
                or (also and container.id in also)
                or (enabled_volumes and any(m.name in enabled_volumes for m in container.mounts))
            ):
                ours.add(known.workload)
        self._facts = facts
        self._gathered = gathered
        for workload, containers in gathered.items():
            if workload not in ours:
                continue
            if len(containers) == 1 and not containers[0].swarm_service:  # most of them
                yield workload, tuple(containers)
            elif standing := workloads.newest_per_slot(workloads.without_history(containers, snapshot)):
                yield workload, standing

    def of(self, key: str, snapshot: EngineSnapshot) -> tuple[Container, ...]:
        """Return the containers that count of a workload, whatever their labels; of the last :meth:`groups`.

        Args:
            key: Key of the workload's default plan.
            snapshot: The engine.
        """
        containers = self._gathered.get(Workload.of_key(key))
        if containers is None and key.count("/") > 1:  # in a name that is no name of Compose's
            containers = next((c for w, c in self._gathered.items() if w.key == key), None)
        return workloads.newest_per_slot(workloads.without_history(containers or (), snapshot))


def _look(container: Container) -> _Facts:
    return _Facts(
        container=container,
        workload=workloads.workload_of(container),
        labelled=any(map(is_ours, container.labels)),
        counts=not container.is_oneoff,
    )
