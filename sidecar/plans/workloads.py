"""Workloads and their plan ids. The letter of it is kept from the Go tool, so that migration renames nothing.

A workload is what a plan belongs to: a Compose or Swarm service, or a bare container. It survives a recreate;
container ids do not. Each plan of a workload (the default one and the named ones) has a key and an id.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from sidecar.engine.model import (
    COMPOSE_NUMBER,
    COMPOSE_REPLACE,
    SWARM_STACK,
    Container,
    EngineSnapshot,
    SwarmService,
)
from sidecar.labels.keys import NO_LABELS

_TEMPORARY_NAME = re.compile(r"^[0-9a-f]{12}_(?=.)")
_SWARM_TASK_NAME = "com.docker.swarm.task.name"


class Workload(NamedTuple):
    """What one plan belongs to. Sorts by project, service, container, plan name.

    A named tuple, for it is hashed several times per pass and container.

    Attributes:
        project: Compose project or Swarm stack; empty for none.
        service: Compose or Swarm service; empty for a bare container.
        container: Final name of a bare container; empty where there is a service.
        plan: Name of a named plan; empty for the default plan.
    """

    project: str
    service: str
    container: str = ""
    plan: str = ""

    @property
    def key(self) -> str:
        """The durable key of this plan's workload in the state file; no two workloads share one."""
        base = f"{self.project or '/'}/{self.service}" if self.service else f"/{self.container}"
        return f"{base}#{self.plan}" if self.plan else base

    @property
    def base(self) -> Workload:
        """The workload of the default plan of the same containers."""
        return self._replace(plan="")

    def named(self, plan: str) -> Workload:
        """Return the workload of another plan of the same containers."""
        return self._replace(plan=plan)

    @classmethod
    def of_key(cls, key: str) -> Workload:
        """Return the workload of a :attr:`key`."""
        base, _, plan = key.partition("#")
        if base.startswith("//"):
            return cls("", base[2:], plan=plan)
        project, _, name = base.partition("/")
        return cls(project, name, plan=plan) if project else cls("", "", name, plan)

    def __str__(self) -> str:
        """The workload as people would say it."""
        base = "/".join(p for p in (self.project, self.service or self.container) if p)
        return f"{base} ({self.plan})" if self.plan else base


@lru_cache(maxsize=65536)
def sanitize(text: str) -> str:
    """Lower-case, replace every character outside ``[a-z0-9]`` by ``_``, trim ``_`` at both ends.

    Lower-casing is done rune by rune, as Go does: ``İ`` becomes one ``i``, not two code points.
    """
    lowered = (char.lower()[0] for char in text)
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in lowered).strip("_")


def final_name(container: Container) -> str:
    """Return the name that the container has, or will have once Compose has finished recreating it.

    Compose calls one of the two containers of a recreate ``<12 hex digits>_<name>`` for a moment, or for good where
    the recreate did not end. Only what must survive a recreate goes by this name: the key of a bare container.
    Hooks and messages use the name that the engine knows now, for by no other is the container found.
    """
    if container.project or COMPOSE_REPLACE in container.labels:
        return without_temporary(container.name)
    return container.name


def without_temporary(name: str) -> str:
    """Return a name without the digits that Compose puts before it during a recreate."""
    return _TEMPORARY_NAME.sub("", name)


def workload_of(container: Container) -> Workload:
    """Return the workload of a container's default plan."""
    service = container.service
    if service:
        return Workload(container.project, service)
    return Workload("", "", final_name(container) or container.id[:12])


def workload_of_service(service: SwarmService) -> Workload:
    """Return the workload of a Swarm service's default plan: that of its tasks' containers."""
    stack = service.labels.get(SWARM_STACK, "").strip()
    return Workload(stack, service.name.removeprefix(f"{stack}_") if stack else service.name)


def without_history(containers: Iterable[Container], snapshot: EngineSnapshot) -> tuple[Container, ...]:
    """Return the containers of one workload without those of Swarm tasks that stand for nothing any more.

    Swarm keeps the containers of some tasks as its history: ended ones, which it never starts again, and created
    ones that an update overtook before they ran. So what runs here counts alone. While nothing does, one that is
    created is about to; an ended one counts when it may have ended for good (a job) or when, on a worker, nobody can
    tell whether the service has moved. Of a service that is scaled to nothing none counts.
    """
    everything = tuple(containers)
    tasks = tuple(c for c in everything if c.swarm_service)
    if not tasks:
        return everything
    others = tuple(c for c in everything if not c.swarm_service)
    alive = tuple(c for c in tasks if c.state in {"running", "paused", "restarting"})
    if alive:
        return others + alive
    wanted = tuple(c for c in tasks if _may_count(c, snapshot))
    coming = tuple(c for c in wanted if not c.has_ended)
    return others + (coming or wanted)


def _may_count(task: Container, snapshot: EngineSnapshot) -> bool:
    """Whether the container of a task that does not run may stand for its service."""
    service = snapshot.services.get(task.swarm_service)
    if service is None:
        return snapshot.swarm != "manager" or not snapshot.services
    return service.replicas != 0 and (not task.has_ended or service.may_end)


def slot_of(container: Container) -> str:
    """Return what tells replicas of one workload apart and survives a recreate.

    Compose numbers its containers; a Swarm task is named ``service.slot.task`` and replaced by another task of
    the same slot. Anything else is its own slot.
    """
    number = container.labels.get(COMPOSE_NUMBER, "")
    if number:
        return number
    task = container.labels.get(_SWARM_TASK_NAME, "")
    return task.rpartition(".")[0] or container.id


def newest_per_slot(containers: Iterable[Container]) -> tuple[Container, ...]:
    """Of several containers of one slot keep the newest; return the rest in the engine's order.

    The list reports whole seconds, so a tie is possible within a recreate: the container that says it replaces
    another one is the newer, else the one that already has its final name. As long as Compose has not started it and
    the older one still has the final name, it goes by that: what runs is to be stopped, and a plan does not change
    twice at each recreate.
    """
    newest: dict[str, Container] = {}
    for container in containers:
        slot = slot_of(container)
        rival = newest.get(slot)
        if rival is None:
            newest[slot] = container
        elif _age_key(container) > _age_key(rival):
            newest[slot] = _instead_of(container, rival)
        else:
            newest[slot] = _instead_of(rival, container)
    return tuple(newest.values())


def _instead_of(newer: Container, older: Container) -> Container:
    coming = newer.state == "created" and newer.name != older.name and final_name(newer) == older.name
    return replace(newer, name=older.name) if coming else newer


def _age_key(container: Container) -> tuple[int, bool, bool, bool]:
    return (
        container.created,
        COMPOSE_REPLACE in container.labels,
        not _TEMPORARY_NAME.match(container.name),
        not container.has_ended,
    )


def base_id(workload: Workload, *, include_project: bool) -> str:
    """Return the sanitized base of a default plan's id; empty when nothing of the name survives."""
    if include_project and workload.project and workload.service:
        return sanitize(f"{workload.project}_{workload.service}")
    return sanitize(workload.service or workload.container)


def plan_id(prefix: str, base: str, plan: str = "") -> str:
    """Return the plan id of a base, with the prefix and the name of a named plan; empty for an empty base."""
    if not base:
        return ""
    whole = f"{base}_{plan}" if plan else base
    return sanitize(prefix + whole) if prefix else sanitize(whole)


def stable_minute(plan_id: str) -> int:
    """Return the minute, 0 to 59, that ``T`` stands for: 32-bit FNV-1a over the id's UTF-8 bytes, modulo 60."""
    digest = 0x811C9DC5
    for byte in plan_id.encode():
        digest = ((digest ^ byte) * 0x01000193) & 0xFFFFFFFF
    return digest % 60


@lru_cache(maxsize=32768)
def candidate_ids(workload: Workload, prefix: str, *, include_project: bool) -> tuple[str, ...]:
    """Return the ids a workload may have, the preferred first.

    After the natural one comes the project-qualified one (without a project: the container name and six hex
    digits of its hash), then the qualified one with the hash, then ever more digits of it: no two workloads
    share the whole list.
    """
    natural = base_id(workload, include_project=include_project)
    if not natural:
        return ()
    from hashlib import sha256  # Slow to load, and lint does without.

    digest = sha256(workload.key.encode()).hexdigest()
    qualified = base_id(workload, include_project=True) if workload.project and workload.service else natural
    bases = [natural, qualified, *(f"{qualified}_{digest[:digits]}" for digits in (6, 12, 64))]
    if not (workload.project and workload.service):
        bases.remove(qualified)
    return tuple(dict.fromkeys(plan_id(prefix, base, workload.plan) for base in bases))


@dataclass(frozen=True, slots=True)
class Assignment:
    """Plan ids by workload key, and (loser, winner's description) pairs for the warning."""

    ids: Mapping[str, str]
    contested: tuple[tuple[Workload, str, str], ...]


def _inherited(
    own: Mapping[Workload, tuple[str, ...]],
    origins: Mapping[str, str],
    prefix: str,
    *,
    include_project: bool,
) -> dict[Workload, tuple[str, ...]]:
    """Return the ids of the workloads that have taken over a plan: those of its first workload, then their own."""
    found = {}
    for workload in own if origins else ():
        if first := origins.get(workload.key):
            inherited = candidate_ids(Workload.of_key(first), prefix, include_project=include_project)
            found[workload] = tuple(dict.fromkeys(inherited + own[workload]))
    return found


def assign_ids(
    wishes: Mapping[Workload, tuple[str, ...]],
    *,
    prefix: str,
    include_project: bool,
    owned: Mapping[str, str],
    standing: Mapping[str, tuple[str, ...]],
    living: Collection[str] = (),
    origins: Mapping[str, str] = NO_LABELS,
) -> Assignment:
    """Give every workload an id of its own.

    Args:
        wishes: Workload → the sorted paths its plan will have; they find an owner again when the state is lost.
        prefix: Plan id prefix; may be empty.
        include_project: Whether natural ids carry the project.
        owned: Plan id → workload key, as recorded in the state.
        standing: Plan id → paths of the plans that stand in config.json and are not disabled by us.
        living: Keys of the workloads that there are, also of those that get no plan now.
        origins: Workload key → key of the workload that its plan was made for, where it has taken over another's.
            It goes by that name before its own.

    Returns:
        The assignment. Who already has an id keeps it; an id that belongs to an absent workload whose plan
        still stands is not given away, for then that plan would be lost.
    """
    candidates = {w: candidate_ids(w, prefix, include_project=include_project) for w in wishes}
    candidates |= _inherited(candidates, origins, prefix, include_project=include_project)
    keys = {workload: workload.key for workload in sorted(wishes)}
    ids: dict[str, str] = {}
    taken: dict[str, Workload] = {}

    def claim(workload: Workload, wanted: str) -> None:
        ids[keys[workload]] = wanted
        taken[wanted] = workload

    def left() -> list[Workload]:
        return [workload for workload, key in keys.items() if key not in ids]

    for workload, key in keys.items():
        for kept in candidates[workload]:
            if owned.get(kept) == key:
                if kept not in taken:
                    claim(workload, kept)
                break
    for workload in left():
        paths = wishes[workload]
        for found in candidates[workload]:
            if (
                found not in taken
                and paths
                and found in standing
                and tuple(sorted(standing[found])) == paths
                and (owned.get(found) == workload.key or owned.get(found) not in living)
            ):
                claim(workload, found)
                break
    reserved = {i: key for i, key in owned.items() if (i in standing or key in living) and i not in taken}
    contested: list[tuple[Workload, str, str]] = []
    for workload in left():
        for chosen in candidates[workload]:
            if chosen not in taken and reserved.get(chosen, workload.key) == workload.key:
                claim(workload, chosen)
                natural = candidates[workload][0]
                if chosen != natural:
                    winner = str(taken.get(natural, "")) or reserved.get(natural, "")
                    contested.append((workload, natural, winner))
                break
    return Assignment(ids, tuple(contested))
