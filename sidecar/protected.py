"""Containers that no hook and no quiesce may stop: stopping them would cut the branch we sit on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from sidecar.model import Container, EngineSnapshot

VERSION_LABEL = "org.opencontainers.image.version"
"""Label of Backrest's image."""
_IMAGE = "garethgeorge/backrest"


def is_backrest(container: Container, wanted: str) -> bool:
    """Whether this is the Backrest container that ``--backrest-container`` names.

    By name or id as Docker would resolve it, or by Compose service, which survives a recreate and the
    ``project-service-1`` names that Compose gives.
    """
    if container.name == wanted or container.service == wanted:
        return True
    return len(wanted) >= 12 and container.id.startswith(wanted)


def _has_its_image(container: Container) -> bool:
    if _IMAGE not in container.image:
        return False
    path, _, name = container.image.partition("@")[0].rpartition("/")
    return f"{path}/{name.partition(':')[0]}".endswith(_IMAGE)


def find_backrest(snapshot: EngineSnapshot, wanted: str) -> Container | None:
    """Return the Backrest container: the one of that name or id first, then one of that service."""
    found = [c for c in snapshot.containers if is_backrest(c, wanted) and not c.is_oneoff]
    found.sort(key=lambda c: (c.name == wanted or c.id.startswith(wanted), c.state == "running", c.created))
    return found[-1] if found else None


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
