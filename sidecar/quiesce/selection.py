"""Which containers a backup takes down, which it must not, and in which order. Pure.

What needs another container goes down before it and comes up after it: Compose's ``depends_on`` labels, and a
container that lives in another one's network. Whatever is independent goes in parallel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sidecar.engine.model import COMPOSE_NUMBER, Container, EngineSnapshot, SwarmService
from sidecar.engine.types import ContainerState
from sidecar.plans.plan_hooks import against_scaling
from sidecar.quiesce.dependencies import needs, network_hosts
from sidecar.quiesce.records import Entry, Mode

ENGINE_GRACE = 10.0
"""Seconds that the engine gives a container to stop which says nothing itself (moby: DefaultStopTimeout)."""

_TRUE = frozenset({"1", "t", "true", "y", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector as ``docker ps --filter label=`` takes it: ``key`` or ``key=value``; empty: nothing.

    A value that says yes (``true``, ``1``, ``on``, …) is equal to any other spelling of yes.
    """

    key: str
    value: str | None = None

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Return the selector that ``--quiesce-label`` spells."""
        key, equals, value = text.strip().partition("=")
        return cls(key.strip(), value.strip() if equals else None)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels are selected."""
        if not self.key or self.key not in labels:
            return False
        if self.value is None:
            return True
        found = labels[self.key].strip()
        return found == self.value or (found.lower() in _TRUE and self.value.lower() in _TRUE)


@dataclass(frozen=True, slots=True)
class Target:
    """One container to take down.

    Attributes:
        container: The container.
        needs: Ids of the other targets that it needs, directly or through containers that stay up.
        grace: Seconds that it may take to stop.
        why: Why it is taken down, when it does not carry the label itself.
        host: Id of the target whose network it uses; empty for none.
        service: The Swarm service that is scaled to nothing instead; ``container`` is then one of its tasks'.
    """

    container: Container
    needs: tuple[str, ...] = ()
    grace: float = ENGINE_GRACE
    why: str = ""
    host: str = ""
    service: SwarmService | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.service.name if self.service else self.container.name


@dataclass(frozen=True, slots=True)
class Refusal:
    """A container that is asked for and is not taken down, and the reason in words that follow its name."""

    container: str
    reason: str


@dataclass(frozen=True, slots=True)
class QuiescePlan:
    """What is taken down.

    Attributes:
        targets: In the order in which they come up: what is needed comes first.
        refused: Labelled, running, and left alone: the backup reads its live files.
        idle: Names of labelled containers that are left alone because they do not run.
        notes: Oddities, one sentence each.
    """

    targets: tuple[Target, ...] = ()
    refused: tuple[Refusal, ...] = ()
    idle: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def waves(self) -> tuple[tuple[Target, ...], ...]:
        """Return the targets by the earliest moment at which they can come up; down is the reverse."""
        level: dict[str, int] = {}
        out: list[list[Target]] = []
        for target in self.targets:
            mine = max((level[need] + 1 for need in target.needs if need in level), default=0)
            level[target.container.id] = mine
            if mine == len(out):
                out.append([])
            out[mine].append(target)
        return tuple(tuple(wave) for wave in out)

    def entries(self, now: float) -> tuple[Entry, ...]:
        """Return the journal's entries, in the order of coming up."""
        return tuple(
            Entry(
                id=t.container.id,
                name=t.name,
                project=t.container.project,
                service=t.container.service,
                number=t.container.labels.get(COMPOSE_NUMBER, ""),
                needs=t.needs,
                grace=t.grace,
                since=now,
                swarm=t.service.name if t.service else "",
                replicas=(t.service.replicas or 0) if t.service else 0,
            )
            for t in self.targets
        )


@dataclass(slots=True)
class _Choice:
    refused: list[Refusal] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)


def candidates(snapshot: EngineSnapshot, selector: Selector) -> tuple[Container, ...]:
    """Return the containers whose details :func:`plan` wants: selected ones, and guests of their networks."""
    selected = {c.id for c in snapshot.containers if selector.matches(c.labels) and c.state == "running"}
    hosts = network_hosts(snapshot.containers)
    return tuple(c for c in snapshot.containers if c.id in selected or hosts.get(c.id) in selected)


def plan(
    snapshot: EngineSnapshot,
    selector: Selector,
    *,
    protected: Mapping[str, str],
    details: Mapping[str, ContainerState],
    mode: Mode = "stop",
    timeout: float | None = None,
    trust_image: bool = False,
) -> QuiescePlan:
    """Decide what is taken down.

    Args:
        snapshot: The engine.
        selector: Which containers ask for it.
        protected: Container id → why it must not be stopped, see ``backrest.protected.protected``.
        details: An inspect of each of :func:`candidates`; one that is missing has gone meanwhile.
        mode: ``stop`` or ``pause``.
        timeout: Seconds for every container to stop; None lets each container's own setting win.
        trust_image: Whether a ``backrest.*`` label that comes from the image counts.
    """
    choice = _Choice()
    chosen: dict[str, Container] = {}
    for container in snapshot.containers:
        if not selector.matches(container.labels):
            continue
        if container.state != "running":
            if not (container.swarm_service and container.has_ended):  # an ended task is history
                choice.idle.append(container.name)
            continue
        reason = _against(
            container, selector, details.get(container.id), protected, mode, snapshot, trust_image=trust_image
        )
        if reason:
            choice.refused.append(Refusal(container.name, reason))
        else:
            chosen[container.id] = container
    if mode == "stop":
        _one_for_each_service(snapshot.containers, chosen, choice)
        _add_guests(snapshot.containers, chosen, details, protected, choice)
    hosts = network_hosts(snapshot.containers)
    order, cut = needs(snapshot.containers, chosen)
    services = {
        i: snapshot.services[c.swarm_service]
        for i, c in chosen.items()
        if mode == "stop" and c.swarm_service in snapshot.services
    }
    position = {i: number for number, i in enumerate(order)}
    targets = tuple(
        Target(
            container=chosen[i],
            needs=tuple(sorted(order[i], key=position.__getitem__)),
            grace=services[i].stop_grace if i in services else _grace(details[i], timeout),
            why=choice.why.get(i, ""),
            service=services.get(i),
            host=hosts[i] if hosts.get(i) in chosen and mode == "stop" else "",
        )
        for i in order
    )
    notes = tuple(f"{a} and {b} depend on each other; their order is left open" for a, b in cut)
    return QuiescePlan(targets, tuple(choice.refused), tuple(choice.idle), notes)


def _against(
    container: Container,
    selector: Selector,
    detail: ContainerState | None,
    protected: Mapping[str, str],
    mode: Mode,
    snapshot: EngineSnapshot,
    *,
    trust_image: bool,
) -> str:
    """Return why a running container must not be taken down; empty when it may."""
    if container.id in protected:
        return protected[container.id]
    if container.is_oneoff:
        return "it is a one-off of `compose run`"
    if not trust_image and container.image_labels.get(selector.key) == container.labels.get(selector.key):
        return f"{selector.key} comes from its image, and --trust-image-labels is off"
    if detail is None:
        return "it has gone meanwhile"
    if mode == "stop" and container.swarm_service:
        why = against_scaling(container.swarm_service, snapshot)
        return f"{why}; use --quiesce-mode pause" if why else ""
    if mode == "stop":
        return _against_stop(container, detail)
    return ""


def _against_stop(container: Container, detail: ContainerState) -> str:
    if detail.auto_remove:
        return "the engine removes it when it stops (--rm); use --quiesce-mode pause"
    if container.swarm_service:
        return "it is a task of a Swarm service, and Swarm would start another"
    return ""


def _one_for_each_service(
    containers: Iterable[Container], chosen: dict[str, Container], choice: _Choice
) -> None:
    """Keep one container for each Swarm service: all its tasks end at once, or none when one of them must not."""
    everything = tuple(containers)
    guests = {owner: guest for guest, owner in network_hosts(everything).items()}
    by_id = {c.id: c for c in everything}
    for service in dict.fromkeys(c.swarm_service for c in chosen.values() if c.swarm_service):
        tasks = [c for c in everything if c.swarm_service == service and c.state == "running"]
        guest = next((by_id[guests[c.id]] for c in tasks if c.id in guests), None)
        whole = all(c.id in chosen for c in tasks)
        newest = max(tasks, key=lambda c: (c.created, c.id))
        for task in tasks:
            if task is not newest or not whole or guest:
                chosen.pop(task.id, None)
        if whole and guest:
            reason = f"{guest.name} uses the network of one of its tasks, which does not come back"
            choice.refused.append(Refusal(service, reason))
        elif not whole:
            choice.refused.append(Refusal(service, "it has a task that must not be stopped"))


def _add_guests(
    containers: Iterable[Container],
    chosen: dict[str, Container],
    details: Mapping[str, ContainerState],
    protected: Mapping[str, str],
    choice: _Choice,
) -> None:
    """Take the guests of a network down with its owner: a restarted owner has a new network without them."""
    everything = tuple(containers)
    hosts = network_hosts(everything)
    for guest in everything:
        owner = chosen.get(hosts.get(guest.id, ""))
        if owner is None or guest.state != "running" or guest.id in chosen:
            continue
        detail = details.get(guest.id)
        reason = protected.get(guest.id, "") or (_against_stop(guest, detail) if detail else "")
        if reason:
            del chosen[owner.id]
            choice.refused.append(
                Refusal(owner.name, f"{guest.name} uses its network and cannot be stopped: {reason}")
            )
        elif detail:
            chosen[guest.id] = guest
            choice.why[guest.id] = f"it uses the network of {owner.name}"
    for lost in [i for i in choice.why if i in chosen and hosts[i] not in chosen]:
        del chosen[lost]


def _grace(detail: ContainerState, timeout: float | None) -> float:
    if timeout is not None:
        return timeout
    return float(detail.stop_timeout) if detail.stop_timeout is not None else ENGINE_GRACE
