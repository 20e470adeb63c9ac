"""The renderer: whenever somebody says "look again", lists the engine, reads config.json, and renders.

The first cause of a quiet period is served at once, so that a person sees the plan before switching windows.
What follows is gathered: until it has been quiet for ``--debounce``, at most :data:`LONGEST_WINDOW`, and longer
while a storm goes on, so that a thousand containers cost two or three passes. A pass that config.json alone called
for (our own write does) opens no such window: the engine's next event is served at once. Without any message a pass
is made every ``--interval``. A look that fails is repeated with a growing delay; nothing is concluded from it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from sidecar.apply.config_file import ConfigFile
from sidecar.apply.observe import Observer, Source
from sidecar.duration import doubling
from sidecar.engine.errors import EngineError
from sidecar.log import get_logger
from sidecar.messages import ConfigChanged, EngineChanged, PlansRendered, RendererInbox, VolumesChanged
from sidecar.settings.settings import Settings
from sidecar.status.announcer import Announcer
from sidecar.store.state_store import StateError
from sidecar.supervision.child import Context
from sidecar.supervision.mailbox import Mailbox
from sidecar.supervision.messages import Stop

LONGEST_WINDOW = 2.0
"""Seconds for which causes are gathered at most, once the first of them was served."""

STORM_RATE = 20.0
"""Causes a second, all through a window, that make it a storm: a stack that comes up makes fewer."""

STORM_WINDOW = 20.0
"""Seconds for which a storm is gathered at most. Other windows that fill up double to this. Nobody watches a single
container of a storm, and each pass in the middle of one is a write too many."""

LOOK_DEADLINE = 60.0
"""Seconds within which a look at the engine has answered or failed; engine.py's own deadline is shorter."""

FIRST_RETRY, LONGEST_RETRY = 1.0, 30.0

log = get_logger(__name__)


class Renderer:
    """See the module. ``gather`` decides when to look, ``look`` does it; neither knows about the thread."""

    def __init__(
        self,
        settings: Settings,
        engine: Source,
        file: ConfigFile,
        inbox: Mailbox[RendererInbox],
        outbox: Mailbox[PlansRendered],
        clock: Callable[[], float],
        announcer: Announcer,
    ) -> None:
        self._settings = settings
        self._observer = Observer(settings, engine, clock)
        self._file = file
        self._inbox = inbox
        self._outbox = outbox
        self._clock = clock
        self._announcer = announcer
        self._number = 0
        self._had_containers = False
        self._failures = 0

    def run(self, ctx: Context) -> None:
        """Work until told to stop."""
        cause = window_ends = self._clock()
        window = self._settings.debounce
        longest = LONGEST_WINDOW
        while not ctx.stop.is_set():
            ctx.beat(LOOK_DEADLINE)
            delay = self._interval(self.look(cause))
            window_ends = self._clock() + window
            ctx.beat(delay + LOOK_DEADLINE)
            message = self._inbox.take(delay)
            if message is Stop.STOP:
                return
            now = self._clock()
            cause = now if message is None else message.at
            if isinstance(message, VolumesChanged) and now >= window_ends:
                message = self._past_volumes(message)
                if message is Stop.STOP:
                    return
                cause = message.at if isinstance(message, EngineChanged) else cause
            # The watcher of files tells twice a second at most: it makes no storm.
            window = 0.0 if isinstance(message, ConfigChanged) else self._settings.debounce
            if message is None or now >= window_ends:
                longest = LONGEST_WINDOW
                continue
            ctx.beat(STORM_WINDOW + LOOK_DEADLINE)
            window = self._settings.debounce
            filled = self._gather(now, longest)
            if filled is None:
                return
            longest = min(STORM_WINDOW, longest * 2) if filled else LONGEST_WINDOW

    def _interval(self, succeeded: bool) -> float:
        if succeeded:
            self._failures = 0
            return self._settings.interval
        self._failures += 1
        delay = doubling(self._failures, FIRST_RETRY, LONGEST_RETRY)
        return min(self._settings.interval, delay * random.uniform(0.8, 1.2))  # noqa: S311  # jitter

    def _gather(self, since: float, longest: float) -> bool | None:
        """Take what comes until it is quiet; return whether the window filled up, None when told to stop."""
        ends = since + longest
        count = 0
        while True:
            now = self._clock()
            if now >= ends and count >= STORM_RATE * longest:
                ends = since + STORM_WINDOW
            room = min(self._settings.debounce, ends - now)
            if room <= 0:
                return True
            message = self._inbox.take(room)
            if message is Stop.STOP:
                return None
            if message is None:
                if self._clock() >= ends:
                    continue
                return False
            count += 1

    def _past_volumes(self, message: RendererInbox | Stop | None) -> RendererInbox | Stop | None:
        """Wait a window for what a new volume is for: alone it changes no plan, and its container comes next."""
        ends = self._clock() + self._settings.debounce
        while isinstance(message, VolumesChanged) and (room := ends - self._clock()) > 0:
            message = self._inbox.take(room)
        return message

    def look(self, cause: float) -> bool:
        """Make one pass; return whether it succeeded.

        Args:
            cause: Monotonic time of what made us look, for the latency.
        """
        try:
            snapshot = self._observer.snapshot()
        except EngineError as error:
            self._announcer.engine_failed(error)
            return False
        self._announcer.engine_seen(snapshot)
        try:
            current, state = self._file.current(), self._file.state()
        except (*self._file.Unusable, StateError) as error:
            self._announcer.config_unusable(error)
            return False
        seen = self._observer.render(snapshot, current.view, state.owners, state.view)
        rendering = seen.rendering
        # An engine that had containers and has none all at once was wiped, or is not the one we knew.
        suddenly_empty = self._had_containers and not snapshot.containers
        self._had_containers = self._had_containers or bool(snapshot.containers)
        if suddenly_empty:
            rendering = replace(rendering, complete=False)
        self._number += 1
        self._announcer.paths_unknown(self._observer.note)
        self._announcer.rendered(rendering)
        self._outbox.replace(PlansRendered(rendering, snapshot, seen.basis, self._number, cause))
        return True
