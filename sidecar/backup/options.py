"""Everything that decides a backup run, as one frozen value; what it needs to know of paths on the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sidecar.engine.model import EngineSnapshot
from sidecar.engine.types import Bind
from sidecar.labels.policy import LabelPolicy
from sidecar.plans.mounts import DEFAULT_DOCKER_ROOT, join, longest_mount, under
from sidecar.quiesce.records import Mode


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """The flags of ``backup-once``.

    Attributes:
        state_dir: ``--state-dir``; journal and lock live there.
        docker_host: ``--docker-sock``, a path or an address.
        docker_root: ``--docker-root``; empty takes what the engine says.
        backrest_container: ``--backrest-container``; never taken down.
        kind: ``--engine``.
        rcb_image: ``--rcb-image``.
        env_file: ``--rcb-env-file``: repository, password, and what else restic needs.
        rcb_command: ``--rcb-command``.
        rcb_args: ``--rcb-arg``.
        restic_image: ``--restic-image``.
        mounts: Further mounts for the backup's containers: a local repository, a cache, ssh keys.
        quiesce_label: ``--quiesce-label``; empty takes nothing down.
        quiesce_timeout: Seconds, only when the flag was given; None lets each container's own setting win.
        mode: ``--quiesce-mode``.
        together: ``--quiesce-together``.
        group_by: ``--restic-group-by``.
        path_prefix: ``--restic-path-prefix``.
        include_project: ``--include-project-name``.
        exclude_bind_mounts: ``--exclude-bind-mounts``.
        plan_id_prefix: ``--plan-id-prefix``, for tags.
        plan_owners: Plan id → workload key, from the state.
        plan_origins: Workload key → key of the workload whose plan it has taken over, from the state.
        policy: What labels may do.
        allow_path: ``--allow-path``.
        dry_run: Only say what would be done.
        allow_volatile_state: ``--allow-volatile-state``.
    """

    state_dir: Path
    docker_host: str = "/var/run/docker.sock"
    docker_root: str = ""
    backrest_container: str = "backrest"
    kind: Literal["rcb", "restic"] = "rcb"
    rcb_image: str = "zettaio/restic-compose-backup:0.7.1"
    env_file: Path | None = None
    rcb_command: tuple[str, ...] = ("rcb", "backup")
    rcb_args: tuple[str, ...] = ()
    restic_image: str = "restic/restic"
    mounts: tuple[Bind, ...] = ()
    quiesce_label: str = "backrest.quiesce=true"
    quiesce_timeout: float | None = None
    mode: Mode = "stop"
    together: bool = False
    group_by: str = "paths"
    path_prefix: str = "/volumes"
    include_project: bool = False
    exclude_bind_mounts: bool = False
    plan_id_prefix: str = "backrest_sidecar_"
    plan_owners: Mapping[str, str] = field(default_factory=dict)
    plan_origins: Mapping[str, str] = field(default_factory=dict)
    policy: LabelPolicy = field(default_factory=LabelPolicy)
    allow_path: tuple[str, ...] = ()
    dry_run: bool = False
    allow_volatile_state: bool = False

    @property
    def image(self) -> str:
        """The image that restic's own commands run in."""
        return self.rcb_image if self.kind == "rcb" else self.restic_image

    @property
    def socket_path(self) -> str:
        """Path of the engine's socket as we see it; empty for ``tcp://``."""
        host = self.docker_host
        if "://" not in host:
            return host
        return host.removeprefix("unix://") if host.startswith("unix://") else ""


def on_host(path: str, snapshot: EngineSnapshot) -> str:
    """Return where a path of ours lies on the engine's host: mounts for new containers are looked up there.

    Outside a container, or where none of our own mounts holds it, the path itself.
    """
    own = next((c for c in snapshot.containers if c.id == snapshot.self_id), None)
    mount = longest_mount(path, own.mounts) if own else None
    if mount is None or not mount.source:
        return path
    return join(mount.source, under(path, mount.destination) or "")


def docker_root(options: BackupOptions, snapshot: EngineSnapshot) -> str:
    """Return the Docker root on the host: the flag, else what the engine says."""
    return (options.docker_root or snapshot.docker_root or DEFAULT_DOCKER_ROOT).rstrip("/") or "/"


def volatile(state_dir: Path, snapshot: EngineSnapshot) -> str:
    """Return why the state directory would not survive, empty when it would (or nobody can know).

    Args:
        state_dir: Absolute, without symbolic links.
        snapshot: Tells which container is ours, and its mounts.
    """
    own = next((c for c in snapshot.containers if c.id == snapshot.self_id), None)
    if own is None:
        return ""
    mount = longest_mount(str(state_dir), own.mounts)
    if mount is None:
        return f"{state_dir} lies on the throw-away layer of this container ({own.name})"
    if mount.type not in {"bind", "volume"}:
        return f"{state_dir} lies on a {mount.type} mount of this container ({own.name})"
    return ""


def parse_mount(text: str) -> Bind:
    """Return the mount that ``SOURCE:TARGET[:ro]`` spells; the source is a host path or a volume's name.

    Raises:
        ValueError: With the reason.
    """
    source, _, rest = text.partition(":")
    target, _, flag = rest.partition(":")
    if not source or not target.startswith("/") or flag not in {"", "ro", "rw"}:
        raise ValueError(
            "must be SOURCE:TARGET or SOURCE:TARGET:ro, such as restic-cache:/root/.cache/restic"
        )
    return Bind(source, target, read_only=flag == "ro")
