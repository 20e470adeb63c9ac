"""Containers that no hook and no quiesce may stop: stopping them would cut the branch we sit on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sidecar.engine.model import COMPOSE_SERVICE, SWARM_SERVICE, Container, EngineSnapshot
from sidecar.findings import printable

VERSION_LABEL = "org.opencontainers.image.version"
"""Label of Backrest's image."""
_IMAGE = "garethgeorge/backrest"
_ID_LENGTH = 12
"""Characters of an id that ``docker ps`` shows."""


def is_backrest(container: Container, wanted: str) -> bool:
    """Whether this is the Backrest container that ``--backrest-container`` names.

    By name or id as Docker would resolve it, or by Compose service, which survives a recreate and the
    ``project-service-1`` names that Compose gives.
    """
    if wanted and wanted in {container.name, container.service}:
        return True
    return is_by_id(container.id, wanted)


def _has_its_image(container: Container) -> bool:
    if _IMAGE not in container.image:
        return False
    path, _, name = container.image.partition("@")[0].rpartition("/")
    return f"{path}/{name.partition(':')[0]}".endswith(_IMAGE)


@dataclass(frozen=True, slots=True)
class BackrestChoice:
    """Which container is Backrest.

    Attributes:
        container: The container; None when there is none, or no telling which.
        ambiguous: One sentence with all that it might be, and what to do; empty otherwise.
    """

    container: Container | None = None
    ambiguous: str = ""


def choose_backrest(containers: Iterable[Container], wanted: str) -> BackrestChoice:
    """Return which container ``--backrest-container`` means; paths and restarts both go by this one answer.

    The one of that name, or whose id begins so; else that of the Compose or Swarm service of that name, of several
    (in the middle of a recreate, or tasks of the past) one that runs before one that does not, then the newest;
    else, as Docker has it, the only one whose id begins with a shorter text. Services of several projects are not
    chosen between: the next look might choose another.
    """
    everything = tuple(containers) if wanted else ()
    named = [c for c in everything if c.name == wanted]
    named = named or [c for c in everything if is_by_id(c.id, wanted)]
    if named:
        return BackrestChoice(named[0])
    services = [c for c in everything if _may_be_of(c, wanted) and c.service == wanted and not c.is_oneoff]
    services = [c for c in services if c.state not in {"removing", "dead"}] or services
    newest: dict[str, Container] = {}
    for container in sorted(services, key=_standing):
        newest[container.project] = container
    if len(newest) == 1:
        return BackrestChoice(next(iter(newest.values())))
    if newest:
        projects = ", ".join(printable(project) or "none" for project in sorted(newest))
        names = " and ".join(newest[project].name for project in sorted(newest))
        return BackrestChoice(
            ambiguous=f"no container {printable(wanted)!r}, and several projects have such a service: {projects}; "
            f"name {names} with --backrest-container, whichever it is"
        )
    short = [c for c in everything if c.id.startswith(wanted)]
    return BackrestChoice(short[0] if len(short) == 1 else None)


def _may_be_of(container: Container, service: str) -> bool:
    """Whether it could be of that service: cheap, for it is asked of every container at every rendering."""
    labels = container.labels
    return service in labels.get(COMPOSE_SERVICE, "") or service in labels.get(SWARM_SERVICE, "")


def is_by_id(container_id: str, wanted: str) -> bool:
    """Whether an id is meant by so much of it that no name is mistaken for one."""
    return len(wanted) >= _ID_LENGTH and container_id.startswith(wanted)


def _standing(container: Container) -> tuple[bool, int]:
    """Order containers of one service: those that run are last, and among them the newest."""
    return (container.state in {"running", "paused", "restarting"}, container.created)


def find_backrest(snapshot: EngineSnapshot, wanted: str) -> Container | None:
    """Return the Backrest container; None when there is none, or no telling which: see :func:`choose_backrest`."""
    return choose_backrest(snapshot.containers, wanted).container


def protected(snapshot: EngineSnapshot, backrest: str, engine_host: str) -> Mapping[str, str]:
    """Return the reason, by container id, for each container that must not be stopped.

    Args:
        snapshot: The engine.
        backrest: ``--backrest-container``.
        engine_host: ``--docker-sock``; where it is ``tcp://name``, that container serves the engine to us.
    """
    reasons: dict[str, str] = {}
    server = urlsplit(engine_host).hostname if "://" in engine_host else None
    for container in snapshot.containers:
        if is_backrest(container, backrest) or _has_its_image(container):
            reasons[container.id] = "it runs Backrest"
        elif container.id == snapshot.self_id:
            reasons[container.id] = "it runs this sidecar"
        elif server and server in {container.name, container.service, container.id[:12]}:
            reasons[container.id] = "it serves the engine's socket"
    by_id = {container.id: container for container in snapshot.containers}
    for guarded in list(reasons):
        mode = by_id[guarded].network_mode
        owner = mode.partition(":")[2] if mode.startswith("container:") else ""
        for container in snapshot.containers:
            if owner and owner in {container.id, container.name}:
                reasons.setdefault(container.id, f"{by_id[guarded].name} uses its network")
    return reasons
