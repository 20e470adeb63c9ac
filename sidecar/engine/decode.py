"""Engine API documents → our frozen values. Pure; shared by the live engine and the recorded one.

Shapes: https://docs.docker.com/reference/api/engine/ (ContainerSummary, ContainerInspectResponse, Volume,
SystemInfo, Service). Fields that an engine leaves out, or sends as null, are taken as empty.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import orjson

from sidecar.engine.errors import EngineError
from sidecar.engine.model import Container, Mount, SwarmRole, SwarmService, Volume
from sidecar.engine.types import Attachment, ContainerState, EngineInfo, PathStat, Process
from sidecar.labels.keys import NO_LABELS

Raw = dict[str, Any]
_SYMLINK = 1 << 27
"""Go: io/fs, ModeSymlink."""
_START = b'{"Id":"'
_FIRST, _NEXT = b"[" + _START, b"}," + _START


def loads(body: bytes, path: str) -> Any:
    """Return the JSON document. Raises :class:`EngineError` (``protocol``) on anything else."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise EngineError(
            "protocol",
            f"the engine's answer to {path} is not JSON ({len(body)} bytes)",
            "is this an engine at all?",
        ) from error


def wrong_shape(path: str) -> EngineError:
    """Return the error for an answer that is JSON but not what the API promises."""
    return EngineError(
        "protocol", f"the engine's answer to {path} has the wrong shape", "is this a Docker engine?"
    )


def entries(body: bytes, path: str) -> list[bytes]:
    """Return the entries of a list of containers, each as its own JSON text, without parsing the whole.

    Most entries are byte for byte what they were at the last look, and parsing is the dearest part of a look. The
    cut is safe: within a JSON string the quotes of ``},{"Id":"`` would be escaped, and a cut through a nested list
    leaves unbalanced brackets, which :func:`loads` refuses. An answer of another form is parsed and cut again.

    Raises:
        EngineError: It is no list.
    """
    body = body.strip()
    if body.startswith(_FIRST) and body.endswith(b"}]"):
        first, *more = body[1:-2].split(_NEXT)
        return [first + b"}", *(_START + rest + b"}" for rest in more)]
    rows = loads(body, path)
    if not isinstance(rows, list):
        raise wrong_shape(path)
    return [orjson.dumps(row) for row in rows]


def container(
    raw: Raw,
    volumes: Mapping[str, Volume] = MappingProxyType({}),
    service_labels: Mapping[str, str] = NO_LABELS,
    image_labels: Mapping[str, str] = NO_LABELS,
) -> Container:
    """Return the container of one entry of ``GET /containers/json``.

    Args:
        raw: The entry.
        volumes: For the mountpoint of a volume whose ``Source`` the engine left empty (it does so for stopped
            containers after its own restart).
        service_labels: Labels of its Swarm service; its own win.
        image_labels: The ``backrest.*`` labels of its image.
    """
    labels: Mapping[str, str] = raw.get("Labels") or NO_LABELS
    if service_labels:
        labels = {**service_labels, **labels}
    networks = (raw.get("NetworkSettings") or NO_LABELS).get("Networks") or ()
    container_id = str(raw["Id"])
    return Container(
        id=container_id,
        name=_name(raw.get("Names") or ()) or container_id[:12],
        labels=MappingProxyType(labels) if isinstance(labels, dict) else labels,
        mounts=mounts(raw.get("Mounts") or (), volumes),
        state=raw.get("State") or "",
        created=int(raw.get("Created") or 0),
        image=raw.get("Image") or "",
        image_id=raw.get("ImageID") or "",
        image_labels=image_labels,
        network_mode=(raw.get("HostConfig") or NO_LABELS).get("NetworkMode") or "default",
        networks=tuple(sorted(networks)),
    )


def _name(names: Iterable[str]) -> str:
    """Return the container's own name: of the names without a link's ``/other/alias``, the first."""
    for name in names:
        plain = name.removeprefix("/")
        if "/" not in plain:
            return plain
    return ""


def mounts(raw: Iterable[Raw], volumes: Mapping[str, Volume] = MappingProxyType({})) -> tuple[Mount, ...]:
    """Return the mounts, by destination: the engine keeps them in a map and lists them in any order."""
    found = []
    for one in raw:
        name = one.get("Name") or ""
        source = one.get("Source") or ""
        if not source and name in volumes:
            source = volumes[name].mountpoint
        found.append(
            Mount(
                type=one.get("Type") or "",
                source=source,
                destination=one.get("Destination") or "",
                name=name,
                driver=one.get("Driver") or "",
                read_only=not one.get("RW", True),
            )
        )
    if len(found) > 1:
        found.sort(key=lambda m: m.destination)
    return tuple(found)


def volume(raw: Raw) -> Volume:
    """Return the volume of one entry of ``GET /volumes``."""
    return Volume(
        name=str(raw["Name"]),
        driver=raw.get("Driver") or "local",
        mountpoint=raw.get("Mountpoint") or "",
        labels=frozen(raw.get("Labels")),
        options=frozen(raw.get("Options")),
    )


def service(raw: Raw) -> SwarmService:
    """Return the service of one entry of ``GET /services``."""
    spec = raw.get("Spec") or {}
    template = spec.get("TaskTemplate") or {}
    task = template.get("ContainerSpec") or {}
    mode = spec.get("Mode") or {}
    kind = next(iter(mode), "Replicated")
    replicas = (mode.get("Replicated") or {}).get("Replicas")
    return SwarmService(
        id=str(raw.get("ID") or ""),
        name=spec.get("Name") or "",
        labels=frozen(spec.get("Labels")),
        mode=kind[:1].lower() + kind[1:],
        replicas=None if replicas is None else int(replicas),
        image=task.get("Image") or "",
        mounts=tuple(
            Mount(
                type=m.get("Type") or "bind",
                source=m.get("Source") or "",
                destination=m.get("Target") or "",
                name=m.get("Source") or "" if m.get("Type") == "volume" else "",
                read_only=bool(m.get("ReadOnly")),
            )
            for m in task.get("Mounts") or ()
        ),
        container_labels=frozen(task.get("Labels")),
        restart=(template.get("RestartPolicy") or {}).get("Condition") or "any",
        stop_grace=10.0 if task.get("StopGracePeriod") is None else int(task["StopGracePeriod"]) / 1e9,
    )


def frozen(labels: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return a read-only view; None and empty give the shared empty one."""
    return MappingProxyType(dict(labels)) if labels else NO_LABELS


def info(raw: Raw, components: Iterable[Raw] = ()) -> EngineInfo:
    """Return the engine's own facts from ``GET /info`` and the ``Components`` of ``GET /version``.

    Podman makes up a new id for every answer, so its host name stands in.
    """
    swarm = raw.get("Swarm") or {}
    role: SwarmRole = "none"
    if swarm.get("LocalNodeState") == "active":
        role = "manager" if swarm.get("ControlAvailable") else "worker"
    security = " ".join(raw.get("SecurityOptions") or ())
    podman = any("podman" in str(c.get("Name", "")).lower() for c in components)
    return EngineInfo(
        id=f"podman:{raw.get('Name', '')}" if podman else raw.get("ID") or "",
        name=raw.get("Name") or "",
        version=raw.get("ServerVersion") or "",
        docker_root=raw.get("DockerRootDir") or "",
        swarm=role,
        node_id=swarm.get("NodeID") or "",
        rootless="name=rootless" in security,
        userns="name=userns" in security,
        product="podman" if podman else "docker",
    )


def state(raw: Raw) -> ContainerState:
    """Return the container of ``GET /containers/{id}/json``. Of its environment only ``TZ`` is kept."""
    now, config, host = raw.get("State") or {}, raw.get("Config") or {}, raw.get("HostConfig") or {}
    networks = (raw.get("NetworkSettings") or {}).get("Networks") or {}
    tz = next((e[3:] for e in config.get("Env") or () if e.startswith("TZ=")), "")
    health = (now.get("Health") or {}).get("Status") or ""
    return ContainerState(
        id=str(raw["Id"]),
        name=str(raw.get("Name") or "").removeprefix("/"),
        image=config.get("Image") or "",
        image_id=raw.get("Image") or "",
        status=now.get("Status") or "",
        running=bool(now.get("Running")),
        paused=bool(now.get("Paused")),
        restarting=bool(now.get("Restarting")),
        exit_code=int(now.get("ExitCode") or 0),
        restart_count=int(raw.get("RestartCount") or 0),
        started_at=now.get("StartedAt") or "",
        finished_at=now.get("FinishedAt") or "",
        created=raw.get("Created") or "",
        health="" if health == "none" else health,
        labels=frozen(config.get("Labels")),
        mounts=mounts(raw.get("Mounts") or ()),
        stop_timeout=config.get("StopTimeout"),
        tz=tz,
        network_mode=host.get("NetworkMode") or "default",
        networks=tuple(
            Attachment(name, tuple((networks[name] or {}).get("Aliases") or ())) for name in sorted(networks)
        ),
        auto_remove=bool(host.get("AutoRemove")),
        tty=bool(config.get("Tty")),
        pid=int(now.get("Pid") or 0),
    )


def path_stat(header: str, path: str) -> PathStat:
    """Return what ``X-Docker-Container-Path-Stat`` says (moby: api/types/container, PathStat)."""
    try:
        raw = orjson.loads(base64.b64decode(header, validate=True))
        is_link = bool(int(raw["mode"]) & _SYMLINK)
        return PathStat(str(raw.get("linkTarget") or "") if is_link else "")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise wrong_shape(path) from error


def processes(raw: Raw) -> tuple[Process, ...]:
    """Return the processes of ``GET /containers/{id}/top``, whatever columns its ``ps`` has.

    Podman runs the container's own ``ps`` and gives each line of it as a single column.
    """
    titles = " ".join(str(t) for t in raw.get("Titles") or ()).upper().split()
    if "PID" not in titles:
        return ()
    pid = titles.index("PID")
    ppid = titles.index("PPID") if "PPID" in titles else -1
    rows = [[str(c) for c in row] for row in raw.get("Processes") or ()]
    rows = [row[0].split(None, len(titles) - 1) if len(row) == 1 else row for row in rows]
    return tuple(
        Process(int(row[pid]), int(row[ppid]) if ppid >= 0 else 0, row[-1])
        for row in rows
        if len(row) == len(titles) and row[pid].isdigit()
    )
