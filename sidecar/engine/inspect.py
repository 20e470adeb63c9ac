"""What the list of containers does not tell and an inspect does. Asked once for each container.

Whether the engine removes it when it stops is asked where a label asks for the stop/start template; what of a volume
is mounted, where a label of ours stands on a container with volumes and the engine knows subpaths at all. So a
thousand other containers cost no call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sidecar.engine.errors import EngineError
from sidecar.engine.model import Container, Mount
from sidecar.labels.guess import is_ours

_TEMPLATE = "hooks.template"
SUBPATHS_SINCE: Final = (1, 45)
"""API version of engine 26, the first with ``volume-subpath`` (moby: api/types/mount, VolumeOptions)."""
_UNKNOWN = (
    "whether a container runs with --rm, or has but a part of a volume, is unknown; its stop hook looks before it"
    " stops it, and paths on a part of a volume may be wrong"
)


@dataclass(frozen=True, slots=True)
class Details:
    """What an inspect adds to a container: none of it changes in the container's life.

    Attributes:
        auto_remove: The engine removes it when it stops.
        subpaths: Destination of a volume's mount → what of the volume is mounted there.
    """

    auto_remove: bool = False
    subpaths: Mapping[str, str] = field(default_factory=dict)


_NOTHING = Details()


class Inspections:
    """Completes containers by an inspect. Not for several threads.

    Args:
        fetch: Returns the engine's JSON answer to a GET. Raises :class:`EngineError`.
        api_version: Returns the API version in use, such as ``1.45``; empty when not known.
        note: Takes what could not be looked up: a key, what follows from it, the error.
    """

    def __init__(
        self,
        fetch: Callable[[str], Any],
        api_version: Callable[[], str],
        note: Callable[[str, str, EngineError], object],
    ) -> None:
        self._fetch = fetch
        self._api_version = api_version
        self._note = note
        self._known: dict[str, Details] = {}
        self._refused = False

    def reset(self) -> None:
        """Forget everything: another engine may answer, or the same one with other permissions."""
        self._known, self._refused = {}, False

    def keep(self, there: Collection[str]) -> None:
        """Forget the containers that are not among these ids."""
        if len(self._known) > len(there):
            self._known = {i: details for i, details in self._known.items() if i in there}

    def complete(self, container: Container, *, labelled: Collection[str] = ()) -> Container:
        """Return the container with what an inspect tells of it; as it is where nothing needs one.

        Where nobody may ask it is a note.

        Args:
            container: As the list has it.
            labelled: Names of the volumes that carry labels of ours.

        Raises:
            EngineError: The engine does not answer.
        """
        if not self._is_needed(container, labelled):
            return container
        details = self._details(container.id)
        if details == _NOTHING:
            return container
        mounts = tuple(_with_subpath(mount, details.subpaths) for mount in container.mounts)
        return replace(container, auto_remove=details.auto_remove, mounts=mounts)

    def _is_needed(self, container: Container, labelled: Collection[str]) -> bool:
        ours = [key for key in container.labels if is_ours(key)]
        if any(key.endswith(_TEMPLATE) for key in ours):
            return True
        names = [mount.name for mount in container.mounts if mount.type == "volume"]
        asked = bool(ours and names) or any(name in labelled for name in names)
        return asked and _version(self._api_version()) >= SUBPATHS_SINCE

    def _details(self, container_id: str) -> Details:
        if container_id not in self._known and not self._refused:
            try:
                self._known[container_id] = _details(self._fetch(f"/containers/{container_id}/json"))
            except EngineError as error:
                if error.kind in {"unreachable", "timeout", "denied"}:
                    raise
                self._refused = error.kind == "forbidden"
                if error.kind != "not-found":
                    self._note("inspect", _UNKNOWN, error)
        return self._known.get(container_id, _NOTHING)


def _details(raw: Mapping[str, Any]) -> Details:
    """Return what an inspect says (Engine API: ContainerInspect, HostConfig)."""
    host = raw.get("HostConfig") or {}
    subpaths = {
        str(mount.get("Target")): subpath.strip("/")
        for mount in host.get("Mounts") or ()
        if (subpath := str((mount.get("VolumeOptions") or {}).get("Subpath") or ""))
    }
    return Details(bool(host.get("AutoRemove")), subpaths)


def _with_subpath(mount: Mount, subpaths: Mapping[str, str]) -> Mount:
    subpath = subpaths.get(mount.destination, "") if mount.type == "volume" else ""
    return replace(mount, subpath=subpath) if subpath else mount


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
