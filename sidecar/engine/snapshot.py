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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import quote

from sidecar.engine import decode
from sidecar.engine.errors import EngineError
from sidecar.engine.inspect import Inspections
from sidecar.engine.model import SWARM_SERVICE, Container, EngineSnapshot, SwarmService, Volume
from sidecar.engine.types import EngineInfo
from sidecar.labels.guess import is_ours
from sidecar.labels.keys import NO_LABELS

_LIST = "/containers/json"
_SPELLINGS = 4
"""How many texts of one container are remembered on average: each order of its mounts is one."""
_OWN_FILE = re.compile(r"/(?:containers|overlay-containers)/([0-9a-f]{64})/")
_OWN_MOUNTS = frozenset({"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv"})
_HEX64 = re.compile(r"[0-9a-f]{64}")
_SHORT_ID = re.compile(r"[0-9a-f]{12,64}")
_ON_A_WORKER = (
    "labels of Swarm services are not known on a worker node: give the labels to the containers"
    " (labels: in the Compose file, not deploy.labels), or run the sidecar on a manager"
)
NO_SERVICES: Mapping[str, SwarmService] = MappingProxyType({})


class Source(Protocol):
    """Where the answers come from: a live engine, or a recorded one."""

    @property
    def generation(self) -> int:
        """Changes when the connection was lost: what is remembered may be of another engine."""

    @property
    def api_version(self) -> str:
        """The API version in use; empty when not known."""

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
        self._seen: dict[bytes, Container] = {}  # digest of an entry's text → what was made of it
        self._containers: tuple[Container, ...] = ()
        self._last: tuple[int, EngineSnapshot] | None = None  # hash of the whole list, what was made of it
        self._images: dict[str, Mapping[str, str]] = {}
        self._refused_images = False
        self._inspections = Inspections(self._json, lambda: source.api_version, self._note)
        self._volumes: Mapping[str, Volume] = MappingProxyType({})
        self._labelled_volumes: frozenset[str] = frozenset()
        self._known_missing: frozenset[str] = frozenset()
        self._volume_rows: dict[str, tuple[decode.Raw, Volume]] = {}
        self._volumes_fresh = False  # asked for since the list of containers that is being read
        self._services: Mapping[str, SwarmService] | None = None
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
            body = self._source.fetch(_LIST + "?all=1")
            self._volumes_fresh = False
            self._renew()
            # Keyed anew in each process, 64 bits: enough to tell one answer from the one before it.
            digest = hash(body)
            if self._last is not None and self._last[0] == digest:
                snapshot = self._last[1]
                return replace(snapshot, notes=tuple(self._notes.values())) if self._notes else snapshot
            self._containers = self._read(decode.entries(body, _LIST))
            info = self._facts()
            snapshot = EngineSnapshot(
                containers=self._containers,
                volumes=self._volumes,
                engine_id=info.id,
                docker_root=info.docker_root,
                self_id=self._self_id(),
                notes=tuple(self._notes.values()),
                swarm="manager" if self._services else info.swarm,
                services=self._services or NO_SERVICES,
            )
            self._last = digest, snapshot
            return snapshot

    def _renew(self) -> None:
        """Forget what may be outdated."""
        generation = self._source.generation
        if generation != self._generation:
            self._generation = generation
            self._info = None
            self._refused_images = False
            self._inspections.reset()
            self._notes.clear()
            self._seen = {}
            self._stale.set()
        if self._stale.is_set():
            self._stale.clear()
            self._last = None
            try:
                self._look_at_volumes()
            except EngineError:
                self._stale.set()
                raise
            if self._services is not None:
                self._info = None  # the node may have been promoted or demoted
        if self._services is not None:
            # New labels on a service leave its tasks as they are, so no new container tells of them.
            services = self._services_now()
            if services != self._services:
                self._services, self._seen, self._last = services, {}, None

    def _look_at_volumes(self) -> None:
        """Ask for the volumes again; forget containers only where one of theirs may look different now."""
        old, new = self._volumes, self._volumes_now()
        self._volumes_fresh = True
        altered = any(new.get(name) is not one for name, one in old.items())
        if altered or self._known_missing & new.keys():
            self._seen = {}
        self._known_missing -= new.keys()
        if altered or len(new) != len(old):
            self._volumes = new
            self._labelled_volumes = frozenset(n for n, one in new.items() if any(map(is_ours, one.labels)))

    def _read(self, entries: list[bytes]) -> tuple[Container, ...]:
        """Return the containers of the list's entries; an entry that was seen before is not even parsed."""
        digests = [blake2b(entry, digest_size=16).digest() for entry in entries]
        try:
            rows = self._unseen(digests, entries)
            if rows:
                seen = self._seen
                self._prepare(rows.values())
                if self._seen is not seen:  # what was learnt on the way makes others look different, too
                    rows = self._unseen(digests, entries)
            if len(self._seen) + len(rows) > _SPELLINGS * len(entries):
                self._seen = {d: self._seen[d] for d in digests if d in self._seen}
            old = {one.id: one for one in self._containers} if rows else {}
            for digest, row in rows.items():
                one = self._container(row)
                # The engine shuffles mounts, and counts the minutes of "Up 3 minutes": the same container then.
                same = old.get(one.id)
                self._seen[digest] = same if same is not None and same == one else one
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise decode.wrong_shape(_LIST) from error
        containers = tuple(self._seen[digest] for digest in digests)
        used = {one.image_id for one in containers}
        self._images = {i: labels for i, labels in self._images.items() if i in used}
        if rows:
            self._inspections.keep({one.id for one in containers})
        return containers

    def _unseen(self, digests: list[bytes], entries: list[bytes]) -> dict[bytes, decode.Raw]:
        return {d: self._row(e) for d, e in zip(digests, entries, strict=True) if d not in self._seen}

    @staticmethod
    def _row(entry: bytes) -> decode.Raw:
        row: decode.Raw = decode.loads(entry, _LIST)
        return row

    def _prepare(self, rows: Iterable[decode.Raw]) -> None:
        """Ask for what new or changed containers need: their volumes, their services."""
        old = {one.id for one in self._containers}
        named: set[str] = set()
        newcomers = False
        wanted: set[str] = set()
        for row in rows:
            volumes = {str(m["Name"]) for m in row.get("Mounts") or () if m.get("Name")}
            named |= volumes
            newcomers = newcomers or (bool(volumes and old) and row["Id"] not in old)
            wanted.add((row.get("Labels") or NO_LABELS).get(SWARM_SERVICE, ""))
        wanted.discard("")
        if newcomers or named - self._volumes.keys() - self._known_missing:
            if not self._volumes_fresh:
                self._look_at_volumes()
            self._known_missing |= named - self._volumes.keys()
        if wanted and (self._services is None or wanted - self._services.keys()):
            known, self._services = self._services, self._services_now()
            if known is not None and known != self._services:
                self._seen = {}

    def _container(self, row: decode.Raw) -> Container:
        labels: Mapping[str, str] = row.get("Labels") or NO_LABELS
        service = (self._services or {}).get(labels.get(SWARM_SERVICE, ""))
        image: Mapping[str, str] = NO_LABELS
        if any(map(is_ours, labels)):
            image = self._image_labels(row.get("ImageID") or "")
        one = decode.container(row, self._volumes, service.labels if service else NO_LABELS, image)
        return self._inspections.complete(one, labelled=self._labelled_volumes)

    def _image_labels(self, image_id: str) -> Mapping[str, str]:
        if not image_id or image_id in self._images:
            return self._images.get(image_id, NO_LABELS)
        labels: Mapping[str, str] = NO_LABELS
        if not self._refused_images:
            try:
                image = self._json(f"/images/{quote(image_id, safe=':')}/json")
                config = image.get("Config") or image.get("ContainerConfig") or {}
                found = {k: v for k, v in (config.get("Labels") or {}).items() if is_ours(k)}
                labels = decode.frozen(found)
            except EngineError as error:
                if error.kind in {"unreachable", "timeout", "denied"}:
                    raise
                if error.kind == "forbidden":
                    self._refused_images = True
                if error.kind != "not-found":
                    self._note("images", "labels of images cannot be told from the containers' own", error)
        self._images[image_id] = labels
        return labels

    def _volumes_now(self) -> Mapping[str, Volume]:
        """Return the volumes; one that has not changed is the very same object."""
        answer = self._optional("volumes", "/volumes", "labels and options of volumes are unknown")
        before, found = self._volume_rows, {}
        try:
            for row in (answer.get("Volumes") or ()) if answer is not None else ():
                known = before.get(row["Name"])
                if known is None or known[0] != row:
                    one = decode.volume(row)
                    known = row, known[1] if known is not None and known[1] == one else one
                found[row["Name"]] = known
        except (AttributeError, KeyError, TypeError) as error:
            raise decode.wrong_shape("/volumes") from error
        self._volume_rows = found
        return MappingProxyType({name: one for name, (_, one) in found.items()})

    def _services_now(self) -> Mapping[str, SwarmService]:
        # Where /info is forbidden nobody knows what this node is, and the question itself must tell.
        if self._facts().swarm != "manager" and "info" not in self._notes:
            self._notes["services"] = _ON_A_WORKER
            return NO_SERVICES
        try:
            rows = self._optional("services", "/services", "labels of Swarm services are unknown") or ()
        except EngineError as error:
            if "not a swarm manager" in error.message:
                self._notes["services"] = _ON_A_WORKER
                return NO_SERVICES
            if error.kind not in {"protocol", "conflict"} or self._services is None:
                raise
            # A swarm without a leader answers nothing; this node's containers are what they were.
            self._note("services", "labels of Swarm services are those of an earlier look", error)
            return self._services
        return MappingProxyType({one.name: one for one in map(decode.service, rows)})

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
                self._info = decode.info(raw, components)
            except (AttributeError, TypeError) as error:
                raise decode.wrong_shape("/info") from error
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
        return decode.loads(self._source.fetch(path), path)

    def _self_id(self) -> str:
        if self._candidates is None:
            self._candidates = self._own_ids()
        for candidate in self._candidates:
            for listed in self._containers:
                if listed.id.startswith(candidate):
                    return listed.id
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
