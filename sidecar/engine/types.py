"""What the engine is asked for and what it answers, beyond the snapshot: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sidecar.engine.model import COMPOSE_PROJECT, COMPOSE_SERVICE, Mount, SwarmRole
from sidecar.labels.keys import NO_LABELS


def _nothing() -> Mapping[str, str]:
    return NO_LABELS


@dataclass(frozen=True, slots=True)
class Attachment:
    """One network of a container, with the names it has there."""

    network: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PathStat:
    """What is at a path in a container: where a symlink leads in the end, absolute; empty for anything else."""

    link_target: str = ""


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container as an inspect shows it.

    Attributes:
        id: The full id.
        name: Name without its slash.
        image: Image reference from the container's configuration.
        image_id: ``sha256:…`` of the image.
        status: ``created``, ``running``, ``paused``, ``restarting``, ``removing``, ``exited`` or ``dead``.
        running: True also while paused or restarting, as the engine says it.
        paused: Whether it is paused.
        restarting: Whether its restart policy is between two attempts.
        exit_code: Code of the last exit; 0 before the first.
        restart_count: Restarts by the restart policy.
        started_at: RFC 3339 time of the last start as the engine writes it; changes with each start.
        finished_at: RFC 3339 time of the last exit.
        created: RFC 3339 time of its creation.
        health: ``starting``, ``healthy`` or ``unhealthy``; empty without a healthcheck.
        labels: All labels.
        mounts: Its mounts.
        stop_timeout: Its own stop timeout in seconds, None without one (the engine then takes 10).
        tz: Value of ``TZ`` in its environment; no other variable is kept.
        network_mode: ``HostConfig.NetworkMode``.
        networks: Networks and aliases.
        auto_remove: Whether the engine removes it when it stops (``docker run --rm``).
        tty: Whether its output is a terminal's.
        pid: Process id on the engine's host; 0 when it does not run.
    """

    id: str
    name: str
    image: str = ""
    image_id: str = ""
    status: str = "running"
    running: bool = True
    paused: bool = False
    restarting: bool = False
    exit_code: int = 0
    restart_count: int = 0
    started_at: str = ""
    finished_at: str = ""
    created: str = ""
    health: str = ""
    labels: Mapping[str, str] = field(default_factory=_nothing)
    mounts: tuple[Mount, ...] = ()
    stop_timeout: int | None = None
    tz: str = ""
    network_mode: str = "default"
    networks: tuple[Attachment, ...] = ()
    auto_remove: bool = False
    tty: bool = False
    pid: int = 0

    @property
    def project(self) -> str:
        """Compose project, or empty."""
        return self.labels.get(COMPOSE_PROJECT, "")

    @property
    def service(self) -> str:
        """Compose service, or empty."""
        return self.labels.get(COMPOSE_SERVICE, "")


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a container, with ids of the engine's host."""

    pid: int
    ppid: int
    command: str


@dataclass(frozen=True, slots=True)
class Bind:
    """One mount to give to a new container.

    Attributes:
        source: Absolute path on the engine's host, or the name of a volume.
        target: Path inside the container.
        read_only: Whether the container may only read.
        subpath: What of the volume is mounted, relative to its root (engine 26 and newer); empty for the whole.
    """

    source: str
    target: str
    read_only: bool = False
    subpath: str = ""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A container to create and start.

    Attributes:
        image: Image reference; pulled when the engine does not have it.
        command: Arguments; empty takes the image's.
        env: Environment. Never logged, never in an error.
        binds: Mounts; a path that does not exist is an error, it is not created.
        network_mode: ``HostConfig.NetworkMode``; empty takes the engine's default.
        labels: Labels.
        name: Name; empty lets the engine choose.
        user: ``uid[:gid]``; empty takes the image's.
        entrypoint: Replaces the image's when given.
        working_dir: Working directory; empty takes the image's.
        hostname: Host name inside; empty takes the short id.
        auto_remove: Whether the engine removes it when it ends.
    """

    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    binds: tuple[Bind, ...] = ()
    network_mode: str = ""
    labels: Mapping[str, str] = field(default_factory=_nothing)
    name: str = ""
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    working_dir: str = ""
    hostname: str = ""
    auto_remove: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        type: ``container``, ``volume`` or ``service``.
        action: ``create``, ``destroy``, …
        subject: Name of the container, volume or service, or its id where it has none.
        stamp: Its time as ``seconds.nanoseconds``, for ``since``.
    """

    type: str
    action: str
    subject: str
    stamp: str


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The engine itself.

    Attributes:
        id: Its id; survives a restart, differs between engines.
        name: Host name of its machine.
        version: Version of the engine, e.g. ``28.2.2``.
        docker_root: ``DockerRootDir``.
        swarm: Its part in a swarm.
        node_id: Its node id in the swarm; empty outside one.
        rootless: Whether it runs without root.
        userns: Whether it maps user ids (``userns-remap``).
        product: ``docker`` or ``podman``.
    """

    id: str = ""
    name: str = ""
    version: str = ""
    docker_root: str = ""
    swarm: SwarmRole = "none"
    node_id: str = ""
    rootless: bool = False
    userns: bool = False
    product: Literal["docker", "podman"] = "docker"


@dataclass(frozen=True, slots=True)
class SwarmNode:
    """One node of the swarm: its id, host name, role, state (``ready``, ``down`` …) and availability."""

    id: str
    hostname: str
    role: str
    state: str
    availability: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class SwarmTask:
    """One task: which service, on which node, in which state, and the container it became."""

    id: str
    service_id: str
    node_id: str
    slot: int
    state: str
    desired_state: str
    container_id: str = ""
