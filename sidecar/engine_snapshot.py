"""One look at the whole engine: one list call, and what it needs besides, remembered.

Containers, their labels and mounts come from a single ``GET /containers/json?all=1`` without a label filter, so
that a mistyped label is seen at all. An unchanged container gives the very same frozen object again. Volumes,
the engine's own facts, image labels and Swarm services change rarely: they are asked for once, and again when
something shows that they may have changed. A volume in use cannot be replaced, so new labels on it mean a new
container as well. Where a proxy forbids one of them, that is a note; a listing that fails is a failure.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import quote

from sidecar import engine_decode
from sidecar.engine_errors import EngineError
from sidecar.engine_types import EngineInfo
from sidecar.model import NO_LABELS, SWARM_SERVICE, Container, EngineSnapshot, Volume

_OWN_FILE = re.compile(r"/(?:containers|overlay-containers)/([0-9a-f]{64})/")
_OWN_MOUNTS = frozenset({"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv"})
_HEX64 = re.compile(r"[0-9a-f]{64}")
_SHORT_ID = re.compile(r"[0-9a-f]{12,64}")
_PREFIX = "backrest."


class Source(Protocol):
    """Where the answers come from: a live engine, or a recorded one."""

    @property
    def generation(self) -> int:
        """Changes when the connection was lost: what is remembered may be of another engine."""

    def fetch(self, path: str) -> bytes:
        """Return the whole answer to a GET. Raises :class:`EngineError`."""


class Snapshots:
    """Takes snapshots and keeps what saves work for the next. Any thread may call it; one at a time is served.

    Args:
        source: Where the answers come from.
        own_ids: Gives candidates for the id of the container that this process runs in, best first.
    """

    def __init__(self, source: Source, own_ids: Callable[[], tuple[str, ...]] | None = None) -> None:
        self._source = source
        self._own_ids = own_ids if own_ids is not None else read_own_ids
        self._candidates: tuple[str, ...] | None = None
        self._lock = threading.Lock()
        self._stale = threading.Event()
        self._generation = -1
        self._body = b""
        self._containers: tuple[Container, ...] = ()
        self._cache: dict[str, tuple[tuple[object, ...], Container]] = {}
        self._images: dict[str, Mapping[str, str]] = {}
        self._refused_images: str = ""
        self._volumes: Mapping[str, Volume] = MappingProxyType({})
        self._known_missing: frozenset[str] = frozenset()
        self._services: Mapping[str, Mapping[str, str]] | None = None
        self._info: EngineInfo | None = None
        self._notes: dict[str, str] = {}

    def invalidate(self) -> None:
        """Ask again for volumes and services at the next snapshot. Never blocks."""
        self._stale.set()

    def info(self) -> EngineInfo:
        """Return the engine's own facts, remembered. Raises :class:`EngineError`, also for a 403."""
        with self._lock:
            self._renew()
            return self._engine_info()

    def take(self) -> EngineSnapshot:
        """Return everything the engine has. Raises :class:`EngineError`; never returns a part."""
        with self._lock:
            body = self._source.fetch("/containers/json?all=1")
            refreshed = self._renew()
            if refreshed or body != self._body:
                self._containers = self._read(body)
                self._body = body
            info = self._facts()
            return EngineSnapshot(
                containers=self._containers,
                volumes=self._volumes,
                engine_id=info.id,
                docker_root=info.docker_root,
                self_id=self._self_id(),
                notes=tuple(self._notes.values()),
            )

    def _renew(self) -> bool:
        """Forget what may be outdated; return whether anything was forgotten."""
        generation = self._source.generation
        if generation != self._generation:
            self._generation = generation
            self._info = None
            self._refused_images = ""
            self._notes.clear()
            self._stale.set()
        if not self._stale.is_set():
            return False
        self._stale.clear()
        self._body = b""
        self._known_missing = frozenset()
        self._services = None
        self._volumes = self._volumes_now()
        return True

    def _read(self, body: bytes) -> tuple[Container, ...]:
        path = "/containers/json"
        try:
            rows = engine_decode.loads(body, path)
            if not isinstance(rows, list):
                raise engine_decode.wrong_shape(path)
            old = self._cache
            new: dict[str, tuple[tuple[object, ...], Container]] = {}
            fresh: list[tuple[engine_decode.Raw, tuple[object, ...]]] = []
            for row in rows:
                key = engine_decode.identity(row)
                known = old.get(row["Id"])
                if known is not None and known[0] == key:
                    new[row["Id"]] = known
                else:
                    fresh.append((row, key))
            services_before = self._services
            if fresh:
                self._prepare([row for row, _ in fresh], old)
            if services_before is not self._services or self._outdated(new):
                fresh += [(row, new[row["Id"]][0]) for row in rows if row["Id"] in new]
            for row, key in fresh:
                new[row["Id"]] = (key, self._container(row))
            containers = tuple(new[row["Id"]][1] for row in rows)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise engine_decode.wrong_shape(path) from error
        self._cache = new
        used = {c.image_id for c in containers}
        self._images = {i: labels for i, labels in self._images.items() if i in used}
        return containers

    def _prepare(self, fresh: list[engine_decode.Raw], old: Mapping[str, object]) -> None:
        """Ask for what new or changed containers need: their volumes, their services."""
        named = {str(m["Name"]) for row in fresh for m in row.get("Mounts") or () if m.get("Name")}
        unknown = named - self._volumes.keys() - self._known_missing
        newcomers = any(row["Id"] not in old and row.get("Mounts") for row in fresh) and bool(old)
        if unknown or (named and newcomers):
            self._volumes = self._volumes_now()
            self._known_missing |= named - self._volumes.keys()
        wanted = {s for row in fresh if (s := (row.get("Labels") or NO_LABELS).get(SWARM_SERVICE))}
        if wanted and (self._services is None or wanted - self._services.keys()):
            self._services = self._services_now()

    def _outdated(self, kept: Mapping[str, tuple[tuple[object, ...], Container]]) -> bool:
        """Whether a kept container was made from a volume or image that is answered otherwise now."""
        return any(
            mount.name in self._volumes and not mount.source and self._volumes[mount.name].mountpoint
            for _, one in kept.values()
            for mount in one.mounts
        )

    def _container(self, row: engine_decode.Raw) -> Container:
        labels: Mapping[str, str] = row.get("Labels") or NO_LABELS
        service = (self._services or {}).get(labels.get(SWARM_SERVICE, ""), NO_LABELS)
        image: Mapping[str, str] = NO_LABELS
        if any(key.startswith(_PREFIX) for key in labels):
            image = self._image_labels(row.get("ImageID") or "")
        return engine_decode.container(row, self._volumes, service, image)

    def _image_labels(self, image_id: str) -> Mapping[str, str]:
        if not image_id or image_id in self._images:
            return self._images.get(image_id, NO_LABELS)
        labels: Mapping[str, str] = NO_LABELS
        if not self._refused_images:
            try:
                image = self._json(f"/images/{quote(image_id, safe=':')}/json")
                config = image.get("Config") or image.get("ContainerConfig") or {}
                found = {k: v for k, v in (config.get("Labels") or {}).items() if k.startswith(_PREFIX)}
                labels = engine_decode.frozen(found)
            except EngineError as error:
                if error.kind in {"unreachable", "timeout", "denied"}:
                    raise
                if error.kind == "forbidden":
                    self._refused_images = error.message
                if error.kind != "not-found":
                    self._note("images", "labels of images cannot be told from the containers' own", error)
        self._images[image_id] = labels
        return labels

    def _volumes_now(self) -> Mapping[str, Volume]:
        answer = self._optional("volumes", "/volumes", "labels and options of volumes are unknown")
        rows = (answer or {}).get("Volumes") or ()
        return MappingProxyType({one.name: one for one in map(engine_decode.volume, rows)})

    def _services_now(self) -> Mapping[str, Mapping[str, str]]:
        if self._facts().swarm != "manager":
            self._notes["services"] = (
                "labels of Swarm services are not known on a worker node: give the labels to the containers"
                " (labels: in the Compose file, not deploy.labels), or run the sidecar on a manager"
            )
            return {}
        rows = self._optional("services", "/services", "labels of Swarm services are unknown") or ()
        specs = [row.get("Spec") or {} for row in rows]
        return {str(s.get("Name")): s.get("Labels") or {} for s in specs}

    def _facts(self) -> EngineInfo:
        """Return the engine's facts; empty ones with a note where they are forbidden."""
        try:
            return self._engine_info()
        except EngineError as error:
            if error.kind != "forbidden":
                raise
            self._note("info", "the engine's id and data root are unknown", error)
            self._info = EngineInfo()
            return self._info

    def _engine_info(self) -> EngineInfo:
        if self._info is None:
            raw = self._json("/info")
            components = ()
            with contextlib.suppress(EngineError):
                components = self._json("/version").get("Components") or ()
            try:
                self._info = engine_decode.info(raw, components)
            except (AttributeError, TypeError) as error:
                raise engine_decode.wrong_shape("/info") from error
        return self._info

    def _optional(self, key: str, path: str, without: str) -> Any:
        """Return the answer, or None with a note where it is forbidden."""
        try:
            answer = self._json(path)
        except EngineError as error:
            if error.kind != "forbidden":
                raise
            self._note(key, without, error)
            return None
        self._notes.pop(key, None)
        return answer

    def _note(self, key: str, without: str, error: EngineError) -> None:
        self._notes[key] = f"{without}: {error}"

    def _json(self, path: str) -> Any:
        return engine_decode.loads(self._source.fetch(path), path)

    def _self_id(self) -> str:
        if self._candidates is None:
            self._candidates = self._own_ids()
        for candidate in self._candidates:
            for listed in self._cache:
                if listed.startswith(candidate):
                    return listed
        return ""


def read_own_ids(proc: Path = Path("/proc/self"), hostname: str | None = None) -> tuple[str, ...]:
    """Return what may be the id of the container that this process runs in, best first.

    Args:
        proc: Where ``mountinfo`` and ``cgroup`` are.
        hostname: The host name, which is the short id unless someone set another; None asks the system.
    """
    found: list[str] = []
    with contextlib.suppress(OSError):
        for line in (proc / "mountinfo").read_text(errors="replace").splitlines():
            fields = line.split(" ")
            # Only the files that the engine itself mounts: with the data root mounted, others' files are here too.
            if len(fields) > 4 and fields[4] in _OWN_MOUNTS:
                found += _OWN_FILE.findall(fields[3] + "/")
    with contextlib.suppress(OSError):
        found += _HEX64.findall((proc / "cgroup").read_text(errors="replace"))
    name = socket.gethostname() if hostname is None else hostname
    if _SHORT_ID.fullmatch(name):
        found.append(name)
    return tuple(dict.fromkeys(found))
