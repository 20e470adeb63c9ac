"""``daemon``: the workers, wired to each other and put under the supervisor.

Sinks first, so that whatever is produced has somebody to take it; the supervisor stops them in reverse. This is the
one module of ``sidecar`` that knows the workers.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path

from sidecar.apply.config_file import ConfigFile, Latest
from sidecar.commands.left_down import BackrestLook, directory_of
from sidecar.commands.wiring import Writing, api_maker, writing
from sidecar.engine.client import Engine
from sidecar.engine.errors import EngineError
from sidecar.engine.source import open_engine
from sidecar.errors import SidecarError, told
from sidecar.exit_codes import ExitCode
from sidecar.log import get_logger
from sidecar.messages import EngineChanged, HooksCutOff, PlansRendered, RendererInbox
from sidecar.plans.mounts import DEFAULT_DOCKER_ROOT
from sidecar.quiesce.recovery import owed, recover
from sidecar.quiesce.watchdog import MarkerWatch
from sidecar.settings.settings import Settings
from sidecar.status.announcer import Announcer
from sidecar.status.board import StatusBoard
from sidecar.status.file import StatusFile
from sidecar.supervision.child import ChildSpec, Context
from sidecar.supervision.mailbox import Mailbox
from sidecar.supervision.supervisor import Supervisor, diagnose
from workers import docker_events, filesystem, watchdog, writer
from workers.quiesce import tools_for
from workers.renderer import Renderer

STOP_SLACK = 30.0
"""Seconds that a stop, a write and a start of Backrest may take beyond ``--restart-timeout``."""
API_SLACK = 300.0
"""Seconds that a step through a slow API may take: a save and putting right what it undid, and asking for a few
backups, with calls of 10 s at most."""
ROOT_WAIT = 30.0
"""Seconds for which the watch of files waits for an engine to say where its root is."""

log = get_logger(__name__)


class Daemon:
    """The wired daemon; :meth:`run` is its life."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._board = StatusBoard()
        self._renderings: Mailbox[PlansRendered] = Mailbox(1)
        self._looks: Mailbox[RendererInbox] = Mailbox(1)
        self._cut_off: Mailbox[HooksCutOff] = Mailbox(1)
        self._latest = Latest()
        self._frozen = False
        self._engine = open_engine(settings.docker_sock, settings.replay)
        self._parts: Writing | None = None
        self._supervisor = Supervisor(self._specs(), on_report=self._board.reported, on_tick=self._tick)
        self._status = StatusFile(settings.state_path, self._board, self._supervisor.workers)

    def run(self) -> int:
        """Run until told to stop; return the exit code."""
        diagnose()
        log.info(
            "daemon.start",
            config=str(self._settings.config),
            engine=self._settings.docker_sock,
            events=self._settings.with_events,
            apply=self._settings.apply,
        )
        code = self._supervisor.run()
        if not self._settings.dry_run:
            self._status.close(time.monotonic())
        log.info("daemon.stop", code=code)
        return code

    def _tick(self, now: float) -> None:
        if not self._frozen and self._board.facts.reconciles:
            # What the first pass has made stays. A full collection would walk it in the middle of some later pass:
            # 50 ms at 500 containers, 170 ms at 5,000. The small ones come 150 times a pass at 5,000 by default.
            gc.collect()
            gc.freeze()
            gc.set_threshold(10_000)
            self._frozen = True
        if not self._settings.dry_run:
            self._status.tick(now)

    def _specs(self) -> list[ChildSpec]:
        settings = self._settings
        specs = [
            ChildSpec(
                "writer",
                self._write,
                shutdown=settings.restart_timeout + STOP_SLACK,
                inbox=self._renderings,
                on_restart=self._look_again,
            ),
            ChildSpec("renderer", self._render, shutdown=5.0, inbox=self._looks, on_restart=self._look_again),
        ]
        if isinstance(self._engine, Engine):
            engine = self._engine
            if not settings.dry_run:
                specs.append(ChildSpec("bring_back", self._bring_back, shutdown=60.0, inbox=self._cut_off))
            if settings.with_events:
                # It returns only to end the process: a socket gone stale is mended by a new container alone.
                specs.append(
                    ChildSpec(
                        "docker_events", self._watch_engine, restart="transient", unstick=engine.close_events
                    )
                )
        specs.append(ChildSpec("filesystem", self._watch_files))
        if settings.metrics_addr:
            from sidecar.status.metrics import MetricsServer

            server = MetricsServer(settings.metrics_addr, self._board, lambda: self._supervisor.workers())  # noqa: PLW0108  # it is made after this
            specs.append(server.spec())
        return specs

    def _look_again(self) -> None:
        self._looks.offer(EngineChanged("a worker was restarted", time.monotonic()))

    def _write(self, ctx: Context) -> None:
        settings = self._settings
        longest_step = settings.restart_timeout + STOP_SLACK + (API_SLACK if settings.backrest_url else 0.0)

        def parts() -> Writing:
            if self._parts is None:
                self._parts = writing(
                    settings,
                    self._engine,
                    Announcer(self._board),
                    ctx.report,
                    stop=ctx.stop,
                    patient=True,
                    cut_off=lambda: self._cut_off.offer(HooksCutOff(time.monotonic())),
                    latest=self._latest,
                    board=self._board,
                )
            return self._parts

        self._parts = None
        writer.run(
            ctx,
            inbox=self._renderings,
            start=lambda ctx: self._work_off(ctx, parts()),
            applier=lambda _ctx: parts().applier,
            finish=lambda: self._must_start(parts()),
            clock=time.monotonic,
            longest_step=longest_step,
        )

    def _work_off(self, ctx: Context, parts: Writing) -> None:
        """Do first what an earlier process left: leftovers of a write, a Backrest that must be started."""
        if self._settings.dry_run:
            return
        said = ""
        while not ctx.stop.is_set():
            try:
                parts.work_off()
            except SidecarError as failure:
                reason = told(failure)
                if reason["reason"] != said:
                    log.error("writer.waiting", **reason)
                said = reason["reason"]
                ctx.beat(60.0 + self._settings.restart_timeout)
                ctx.stop.wait(2.0)
                continue
            return

    def _must_start(self, parts: Writing) -> None:
        if parts.restarter is not None:
            parts.restarter.must_start()

    def _render(self, ctx: Context) -> None:
        Renderer(
            self._settings,
            self._engine,
            ConfigFile(
                self._settings,
                now=time.time,
                read_only=True,
                wait=ctx.stop.wait,
                latest=self._latest,
            ),
            self._looks,
            self._renderings,
            time.monotonic,
            Announcer(self._board, self._settings.backrest_container),
        ).run(ctx)

    def _bring_back(self, ctx: Context) -> None:
        settings, engine = self._settings, self._engine
        assert isinstance(engine, Engine)  # noqa: S101  # _specs made it so
        file = ConfigFile(settings, now=time.time, read_only=True, wait=ctx.stop.wait)
        doing = BackrestLook(settings, engine, file, api_maker(settings))

        def work_off_journal(ctx: Context) -> None:
            if owed(settings.state_path):
                with tools_for(ctx) as tools:
                    recover(engine, settings.state_path, tools)

        grace = settings.hook_watch_grace
        watch = MarkerWatch(directory_of(settings), engine, doing, grace, time.monotonic, log)
        watchdog.run(ctx, inbox=self._cut_off, recover=work_off_journal, watch=watch)

    def _watch_engine(self, ctx: Context) -> int:
        assert isinstance(self._engine, Engine)  # noqa: S101  # _specs made it so
        return docker_events.run(ctx, engine=self._engine, inbox=self._looks, board=self._board)

    def _watch_files(self, ctx: Context) -> None:
        filesystem.run(
            ctx,
            config=self._settings.config,
            volumes=self._volumes(ctx),
            inbox=self._looks,
            volumes_changed=self._engine.invalidate_volumes,
        )

    def _volumes(self, ctx: Context) -> Path | None:
        """Return where volumes come and go: below ``--docker-root``, else where the engine says that it is."""
        settings = self._settings
        if settings.replay:
            return None
        root = settings.docker_root or ""
        until = time.monotonic() + ROOT_WAIT
        while not root:
            ctx.beat(ROOT_WAIT * 3)
            try:
                root = self._engine.info().docker_root or DEFAULT_DOCKER_ROOT
            except EngineError as error:
                # Without an engine nothing is to be rendered either; one that forbids the question will not tell.
                if error.kind != "unreachable" or time.monotonic() >= until or ctx.stop.wait(2.0):
                    root = DEFAULT_DOCKER_ROOT
        return Path(root) / "volumes"


def daemon(settings: Settings) -> int:
    """Run the daemon; return the exit code of contract §1."""
    try:
        return Daemon(settings).run()
    except EngineError as error:
        log.error("daemon.failed", reason=error.message, advice=error.advice)
        return ExitCode.FAILED
