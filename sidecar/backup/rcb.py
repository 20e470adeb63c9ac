"""restic-compose-backup (rcb): how it is started, what it can see, and what it leaves to be found out. Pure.

What rcb does is read from its source at 0.7.1 (src/restic_compose_backup). Where this differs from the Go tool's
``docker run``: the container gets the Compose project of the containers it is to back up, since rcb looks at no
other project (containers.py: RunningContainers), and a bare container has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sidecar.backup.options import BackupOptions, docker_root, on_host
from sidecar.engine.model import COMPOSE_ONEOFF, COMPOSE_PROJECT, Container, EngineSnapshot, Mount
from sidecar.engine.types import Bind, RunSpec
from sidecar.plans.mounts import PathRules
from sidecar.plans.special_paths import why_no_data
from sidecar.plans.workloads import Workload
from sidecar.quiesce.selection import Target

VOLUMES_LABEL = "restic-compose-backup.volumes"
DATABASE_LABELS = tuple(f"restic-compose-backup.{kind}" for kind in ("mysql", "mariadb", "postgres"))
PROCESS_LABEL = "restic-compose-backup.process"
_TRUE = frozenset({"1", "true", "True"})
_CHILD_EXIT = re.compile(r"Backup container exit code: (-?\d+)")
_PROGRAMS = frozenset({"rcb", "restic-compose-backup"})

ADVICE = "use --quiesce-mode pause, or --engine restic"


class RcbError(Exception):
    """rcb cannot be run as things are. The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """A container that was taken down for a backup that it is not in."""

    container: str
    reason: str


def environment(options: BackupOptions, variables: Mapping[str, str]) -> dict[str, str]:
    """Return rcb's environment: the env file, with the two options that the flags decide."""
    return {
        **variables,
        "EXCLUDE_BIND_MOUNTS": str(int(options.exclude_bind_mounts)),
        "INCLUDE_PROJECT_NAME": str(int(options.include_project)),
    }


def mounts(options: BackupOptions, snapshot: EngineSnapshot) -> tuple[Bind, ...]:
    """Return the engine's socket and the Docker root, read-only, where rcb looks for them, and further mounts.

    Raises:
        RcbError: The engine is remote.
    """
    if not options.socket_path:
        raise RcbError(
            f"rcb needs the engine's socket, and {options.docker_host} is none; use --engine restic, which does not"
        )
    return (
        Bind(on_host(options.socket_path, snapshot), "/tmp/docker.sock", read_only=True),  # noqa: S108 - rcb's place
        Bind(docker_root(options, snapshot), "/var/lib/docker", read_only=True),
        *options.mounts,
    )


def backup_spec(
    options: BackupOptions, variables: Mapping[str, str], snapshot: EngineSnapshot, project: str
) -> RunSpec:
    """Return the container that runs ``rcb backup``. Raises :class:`RcbError`.

    It counts as a one-off of its project, so that Compose neither lists nor takes it for an orphan.
    """
    return RunSpec(
        image=options.rcb_image,
        command=(*options.rcb_command, *options.rcb_args),
        env=environment(options, variables),
        binds=mounts(options, snapshot),
        labels={COMPOSE_PROJECT: project, COMPOSE_ONEOFF: "True"} if project else {},
    )


def directory(workload: Workload, options: BackupOptions) -> str:
    """Return where rcb mounts a workload's volumes: raw names, and only those of services (backup_runner.py: run).

    Several workloads may share one.
    """
    parts = [workload.project] if options.include_project and workload.project else []
    return "/".join((options.path_prefix.rstrip("/"), *parts, workload.service or workload.container))


def starts_child(options: BackupOptions) -> bool:
    """Whether the command is rcb's own, which does the work in a second container."""
    command = (*options.rcb_command, *options.rcb_args)
    return len(command) > 1 and command[0].rpartition("/")[2] in _PROGRAMS and "backup" in command[1:]


def is_child(container: Container, parent: str) -> bool:
    """Whether ``rcb backup`` in ``parent`` started this container (backup_runner.py: run, network_mode)."""
    return container.network_mode == f"container:{parent}"


def child_exit(output: Iterable[str]) -> int | None:
    """Return the exit code of rcb's second container as rcb logs it (cli.py: backup), None without that line."""
    found = None
    for line in output:
        match = _CHILD_EXIT.search(line)
        found = int(match[1]) if match else found
    return found


def sees_all_projects(variables: Mapping[str, str]) -> bool:
    """Whether rcb looks beyond its own project: any non-empty SWARM_MODE does it (config.py, containers.py)."""
    return bool(variables.get("SWARM_MODE"))


def opted_in(container: Container) -> bool:
    """Whether rcb's own labels ask for this container."""
    return any(container.labels.get(key, "") in _TRUE for key in (VOLUMES_LABEL, *DATABASE_LABELS))


def project_for(snapshot: EngineSnapshot, targets: Sequence[Target]) -> str:
    """Return the one Compose project that rcb is to look at; empty when there is none, or no telling which.

    The project of the quiesced containers that rcb's labels ask for; else of all that its labels ask for.
    """
    for containers in ([t.container for t in targets], snapshot.containers):
        projects = {c.project for c in containers if opted_in(c) and c.project and not c.is_oneoff}
        if len(projects) == 1:
            return projects.pop()
    return ""


def objection(container: Container, project: str, *, stopped: bool, everywhere: bool) -> str:
    """Return why rcb cannot see a container, empty when it can (containers.py: RunningContainers)."""
    if stopped:
        return "it was stopped, and rcb backs up running containers only"
    if not everywhere and container.project != project:
        mine = f"of project {container.project}" if container.project else "of no Compose project"
        return f"it is {mine}, and rcb looked at {f'project {project}' if project else 'no project'} alone"
    if not container.service:
        return "it has no Compose service, which rcb needs for its path"
    if not opted_in(container):
        return f"it has no label {VOLUMES_LABEL}=true (or one of its database labels)"
    return ""


def unseen(
    targets: Iterable[Target],
    child_mounts: Sequence[Mount] | None,
    *,
    project: str,
    options: BackupOptions,
    variables: Mapping[str, str],
) -> tuple[Unseen, ...]:
    """Return the quiesced containers whose data is not in the backup.

    Args:
        targets: What was taken down.
        child_mounts: The mounts of rcb's second container, which is what it backed up; None when it was not seen.
        project: The project that rcb looked at.
        options: The options.
        variables: The env file.
    """
    mounted = {m.source for m in child_mounts or () if m.destination.startswith("/volumes/")}
    out: list[Unseen] = []
    for target in targets:
        container = target.container
        data = _data(container, options)
        if not data or target.why or mounted.intersection(data):
            continue
        reason = objection(
            container, project, stopped=options.mode == "stop", everywhere=sees_all_projects(variables)
        )
        if not reason and child_mounts is not None and not _is_database(container):
            reason = "none of its volumes reached the container that rcb backs up from"
        if reason:
            out.append(Unseen(container.name, reason))
    return tuple(out)


def must_run(snapshot: EngineSnapshot) -> dict[str, str]:
    """Return the reason, by container id, for each container that must not be paused while rcb is at work.

    It dumps databases over the network (containers_db.py), and a paused server takes the connection and never
    answers.
    """
    reason = "rcb dumps its database over the network, and would wait for ever for a paused one"
    return {c.id: reason for c in snapshot.containers if _is_database(c)}


def _data(container: Container, options: BackupOptions) -> set[str]:
    rules = PathRules(engine_socket=options.socket_path)
    return {
        m.source
        for m in container.mounts
        if m.source
        and (
            m.type == "volume"
            or (m.type == "bind" and not options.exclude_bind_mounts and not why_no_data(m.source, rules))
        )
    }


def _is_database(container: Container) -> bool:
    return any(container.labels.get(key, "") in _TRUE for key in DATABASE_LABELS)
