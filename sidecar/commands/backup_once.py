"""``backup-once`` and ``recover``: the quiesce worker under the supervisor, and what the flags mean to it.

Beside ``commands/daemon.py`` the only module of ``sidecar`` that knows a worker.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from sidecar.apply.config_file import ConfigFile
from sidecar.backup.options import BackupOptions, parse_mount
from sidecar.commands.left_down import work_off
from sidecar.commands.wiring import api_maker, writing
from sidecar.engine.client import Engine
from sidecar.errors import SidecarError, told
from sidecar.exit_codes import ExitCode
from sidecar.log import flush, get_logger
from sidecar.plans.rendering import origins_of
from sidecar.settings.settings import Settings
from sidecar.status.announcer import Announcer
from sidecar.supervision.child import ChildSpec, Context
from sidecar.supervision.supervisor import Supervisor, diagnose
from workers.quiesce import SHUTDOWN, backup_worker, recover_worker

STARTS = 300.0
"""Seconds within which containers are started that stop hooks left down; each engine call has its own deadline."""

log = get_logger(__name__)


def backup_once(settings: Settings) -> int:
    """Run one backup; return the exit code of contract §1."""
    try:
        options = _options(settings)
    except ValueError as error:
        log.error("backup-once.failed", reason=f"--backup-mount {error}")
        return ExitCode.BAD_USAGE
    except SidecarError as failure:
        log.error("backup-once.failed", **told(failure))
        return ExitCode.FAILED
    if not settings.dry_run:
        _start_backrest(settings)
    return _supervised(
        settings,
        lambda engine: ChildSpec(
            "quiesce", backup_worker(engine, options, os.environ), restart="temporary", shutdown=SHUTDOWN
        ),
    )


def recover(settings: Settings) -> int:
    """Start what was stopped and never started: Backrest, what the journal lists, what stop hooks left down."""
    owed, done = _start_backrest(settings)
    code = _supervised(
        settings,
        lambda engine: ChildSpec(
            "quiesce", _recover_worker(settings, engine), restart="temporary", shutdown=SHUTDOWN
        ),
    )
    if not done:
        return ExitCode.FAILED
    return ExitCode.CHANGED if owed and code == ExitCode.UNCHANGED else code


def _recover_worker(settings: Settings, engine: Engine) -> Callable[[Context], int]:
    """Return a worker for the journal, then for the markers of stop hooks; its exit code is that of both."""
    journal = recover_worker(engine, settings.state_path)

    def run(context: Context) -> int:
        code = journal(context)
        context.beat(settings.hook_watch_grace + STARTS)
        file = ConfigFile(settings, now=time.time, read_only=True, wait=context.stop.wait)
        api = api_maker(settings)
        found = work_off(settings, engine, file, api, stop=context.stop, monotonic=time.monotonic)
        if found.left:
            return ExitCode.FAILED
        return ExitCode.CHANGED if found.started and code == ExitCode.UNCHANGED else code

    return run


def _start_backrest(settings: Settings) -> tuple[bool, bool]:
    """Start a Backrest that a dead process of ours had stopped; return whether there was one, and no failure.

    What fails here is said, and does not keep the containers of a journal down.
    """
    owed = False
    try:
        parts = writing(
            settings,
            Engine(settings.docker_sock),
            Announcer(),
            lambda _: None,
            stop=threading.Event(),
            patient=False,
        )
        owed = parts.file.state().stopped is not None
        if owed:
            parts.work_off()
    except SidecarError as failure:
        log.error("recover.failed", **told(failure))
        return owed, False
    return owed, True


def _supervised(settings: Settings, spec: Callable[[Engine], ChildSpec]) -> int:
    diagnose()
    try:
        engine = Engine(settings.docker_sock)
    except SidecarError as failure:
        log.error("engine.unusable", **told(failure))
        return ExitCode.FAILED
    code = Supervisor([spec(engine)]).run()
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        # Nothing is down any more, but a pull that nobody can cancel would keep the process for minutes.
        flush()
        os._exit(code)
    return code


def _options(settings: Settings) -> BackupOptions:
    owners = ConfigFile(settings, now=time.time, read_only=True).state().owners
    return BackupOptions(
        state_dir=settings.state_path,
        docker_host=settings.docker_sock,
        docker_root=settings.docker_root or "",
        backrest_container=settings.backrest_container,
        kind=settings.engine,
        rcb_image=settings.rcb_image,
        env_file=settings.rcb_env_file,
        rcb_command=settings.rcb_command,
        rcb_args=settings.rcb_arg,
        restic_image=settings.restic_image,
        mounts=tuple(parse_mount(text) for text in settings.backup_mount),
        quiesce_label=settings.quiesce_label,
        quiesce_timeout=settings.quiesce_timeout if "quiesce_timeout" in settings.explicit else None,
        mode=settings.quiesce_mode,
        together=settings.quiesce_together,
        group_by=settings.restic_group_by,
        path_prefix=settings.restic_path_prefix,
        include_project=settings.include_project_name,
        exclude_bind_mounts=settings.exclude_bind_mounts,
        plan_id_prefix=settings.plan_id_prefix,
        plan_owners={plan_id: owner.workload for plan_id, owner in owners.items()},
        plan_origins=origins_of(owners),
        policy=settings.label_policy,
        allow_path=settings.allow_path,
        dry_run=settings.dry_run,
        allow_volatile_state=settings.allow_volatile_state,
    )
