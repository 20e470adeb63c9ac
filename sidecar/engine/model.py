"""What the engine told us, and what we made of it: the frozen values that pass between modules.

Nothing here does I/O or imports anything heavy. A value is never changed after it was built, so it may cross
a thread without a lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sidecar.labels.keys import NO_LABELS


def _no_labels() -> Mapping[str, str]:
    return NO_LABELS


def _nothing() -> Mapping[str, Any]:
    return NO_LABELS


COMPOSE_PROJECT = "com.docker.compose.project"
COMPOSE_SERVICE = "com.docker.compose.service"
COMPOSE_NUMBER = "com.docker.compose.container-number"
COMPOSE_ONEOFF = "com.docker.compose.oneoff"
COMPOSE_REPLACE = "com.docker.compose.replace"
COMPOSE_DEPENDS_ON = "com.docker.compose.depends_on"
SWARM_SERVICE = "com.docker.swarm.service.name"
SWARM_STACK = "com.docker.stack.namespace"

SwarmRole = Literal["none", "worker", "manager"]
"""An engine's part in a swarm."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a container, as the engine's container list reports it.

    Attributes:
        type: ``bind``, ``volume``, ``tmpfs``, ``npipe``, ``cluster`` or ``image``.
        source: Path on the engine's host (for a volume: its mountpoint there); may be empty.
        destination: Path inside the container.
        name: Volume name; empty for anything but a volume.
        driver: Volume driver, ``local`` for most.
        read_only: Whether the container may only read.
        subpath: What of the volume is mounted, relative to its root; empty for the whole. The list does not tell it.
    """

    type: str
    source: str
    destination: str
    name: str = ""
    driver: str = ""
    read_only: bool = False
    subpath: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume of the engine. ``mountpoint`` is empty where the driver has none on this host."""

    name: str
    driver: str = "local"
    mountpoint: str = ""
    labels: Mapping[str, str] = field(default_factory=_no_labels)
    options: Mapping[str, str] = field(default_factory=_no_labels)


@dataclass(frozen=True, slots=True)
class Container:
    """One container of the engine.

    Attributes:
        id: The full 64-digit id.
        name: First name without its slash.
        image: Image reference as the list shows it.
        image_id: ``sha256:…`` id of the image.
        created: Unix time in seconds.
        state: ``created``, ``running``, ``paused``, ``restarting``, ``removing``, ``exited`` or ``dead``.
        labels: All labels (the image's are among them, as the engine merges them). In Swarm the labels of
            the service are merged in below the container's own.
        image_labels: The ``backrest.*`` labels that the image itself carries.
        mounts: Its mounts, in the engine's order.
        network_mode: ``HostConfig.NetworkMode``, e.g. ``default`` or ``container:<id>``.
        networks: Names of the networks it is in.
        auto_remove: Whether the engine removes it when it stops (``--rm``); looked up only where a label asks for
            the stop/start template, else False.
    """

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=_no_labels)
    mounts: tuple[Mount, ...] = ()
    state: str = "running"
    created: int = 0
    image: str = ""
    image_id: str = ""
    image_labels: Mapping[str, str] = field(default_factory=_no_labels)
    network_mode: str = "default"
    networks: tuple[str, ...] = ()
    auto_remove: bool = False

    @property
    def project(self) -> str:
        """Compose project or Swarm stack; empty for a bare container."""
        return (self.labels.get(COMPOSE_PROJECT) or self.labels.get(SWARM_STACK) or "").strip()

    @property
    def service(self) -> str:
        """Compose or Swarm service; empty for a bare container. A stack's prefix is taken off."""
        compose = self.labels.get(COMPOSE_SERVICE, "").strip()
        if compose:
            return compose
        swarm = self.labels.get(SWARM_SERVICE, "").strip()
        stack = self.labels.get(SWARM_STACK, "").strip()
        return swarm.removeprefix(f"{stack}_") if stack else swarm

    @property
    def swarm_service(self) -> str:
        """Full name of the Swarm service whose task it is; empty for any other container."""
        return self.labels.get(SWARM_SERVICE, "").strip()

    @property
    def has_ended(self) -> bool:
        """Whether its process is over. A task that has ended never starts again: Swarm starts another."""
        return self.state in {"exited", "dead", "removing"}

    @property
    def is_oneoff(self) -> bool:
        """Whether ``compose run`` made it. Such a container shares its service's labels but is no workload."""
        return self.labels.get(COMPOSE_ONEOFF, "").lower() == "true"


@dataclass(frozen=True, slots=True)
class SwarmService:
    """One service of the swarm.

    Attributes:
        id: Service id.
        name: Full name, with the stack's prefix.
        labels: Labels of the service (not those of its containers).
        mode: ``replicated``, ``global`` or a job mode.
        replicas: Wanted replicas; None for anything but ``replicated``.
        image: Image reference.
        mounts: Mounts of its tasks as the specification has them.
        container_labels: Labels that its tasks' containers get.
        restart: Which ended tasks Swarm replaces: ``any``, ``on-failure`` or ``none``.
        stop_grace: Seconds that a task gets to stop.
    """

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=_no_labels)
    mode: str = "replicated"
    replicas: int | None = None
    image: str = ""
    mounts: tuple[Mount, ...] = ()
    container_labels: Mapping[str, str] = field(default_factory=_no_labels)
    restart: str = "any"
    stop_grace: float = 10.0

    @property
    def may_end(self) -> bool:
        """Whether a task may end for good: a job, or one that is not restarted whatever happens."""
        return self.restart != "any" or self.mode not in {"replicated", "global"}


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """Everything that one look at the engine gave.

    Attributes:
        containers: All containers, running or not.
        volumes: Volumes by name; only those that could be listed.
        engine_id: The engine's own id; a change means another engine answers.
        docker_root: The engine's ``DockerRootDir``; empty where it could not be asked.
        self_id: Id of the container this process runs in; empty outside one.
        notes: Things that could not be looked up (a proxy's 403, say), one sentence each.
        swarm: The engine's part in a swarm.
        services: Services of the swarm by full name; only where the engine is a manager and tasks were seen.
    """

    containers: tuple[Container, ...]
    volumes: Mapping[str, Volume] = field(default_factory=_nothing)
    engine_id: str = ""
    docker_root: str = ""
    self_id: str = ""
    notes: tuple[str, ...] = ()
    swarm: SwarmRole = "none"
    services: Mapping[str, SwarmService] = field(default_factory=_nothing)
