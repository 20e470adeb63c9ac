"""Listens to the engine and says "look again". What happened does not matter, only that something did.

The whole life of a connection is one function: subscribe, have the renderer look (so in this order), then window
after window. A window that ends on time is a sign of life and continues where the last one ended. Any other end is
a loss: the function raises, and what calls it waits and tries again, for ever, with a capped delay and jitter; the
cap is low, for an engine that is back must be seen within seconds. After every new connection the renderer looks at
everything, for an engine forgets its events when it restarts.

A socket file that was mounted into this container goes stale when the engine makes a new one. Nothing in here can
mend that: after minutes of refusals the worker returns with an exit code, and the restart policy mounts it afresh.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

from sidecar.duration import doubling
from sidecar.engine.errors import EngineError
from sidecar.engine.types import Event
from sidecar.log import get_logger
from sidecar.messages import EngineChanged, RendererInbox, VolumesChanged
from sidecar.supervision.child import Context
from sidecar.supervision.mailbox import Mailbox

WINDOW: Final = 20.0
"""Seconds of one subscription. A hung engine is noticed so much later, plus the stream's own grace."""
SLACK: Final = 15.0
"""Seconds beyond the window within which the stream itself has given up."""
OPENING: Final = 60.0
"""Seconds within which a subscription is made or has failed by its own deadlines."""
FIRST_DELAY, LONGEST_DELAY = 0.1, 3.0
STABLE: Final = 10.0
"""Seconds of life after which a connection counts as good, and the next loss begins with the first delay."""
STALE_TRIES, STALE_SECONDS = 20, 300.0
"""Refusals in a row, and the seconds they must span, after which a unix socket counts as stale."""
STALE_EXIT: Final = 4

log = get_logger(__name__)


class Window(Protocol):
    """One subscription; see ``engine.events.EventWindow``."""

    since: str

    @property
    def closed(self) -> bool:
        """Whether somebody closed it before its end."""

    def __iter__(self) -> Iterator[Event]:
        """Give its events; raise EngineError when it is lost."""

    def close(self) -> None:
        """End it."""


class Events(Protocol):
    """What is asked of the engine."""

    @property
    def host(self) -> str:
        """Its address."""

    @property
    def socket_path(self) -> str:
        """Path of its unix socket, or empty."""

    def events(self, since: str, window: float) -> Window:
        """Subscribe."""

    def invalidate_volumes(self) -> None:
        """Forget what is remembered of volumes."""


class Board(Protocol):
    """Where the state of the stream is told; see ``status.board.StatusBoard``."""

    def event_seen(self) -> None:
        """Something came."""

    def stream_renewed(self) -> None:
        """The stream was lost and is back."""

    def engine_up(self) -> None:
        """The engine answers."""

    def engine_down(self, reason: str, advice: str = "") -> None:
        """The engine does not."""


def run(
    ctx: Context,
    *,
    engine: Events,
    inbox: Mailbox[RendererInbox],
    board: Board | None = None,
    window: float = WINDOW,
    clock: Callable[[], float] = time.monotonic,
    jitter: Callable[[], float] = random.random,
) -> int:
    """Listen until told to stop; return 0, or the exit code for the process when the socket is stale.

    Args:
        ctx: The supervisor's side. Its stop event does not end a window: have ``engine.close_events`` called.
        engine: The engine.
        inbox: The renderer's.
        board: Where to tell the state of the stream.
        window: Seconds of one subscription.
        clock: Monotonic time in seconds.
        jitter: Gives 0 to 1; spreads the delays of many sidecars.
    """
    return _Listener(ctx, engine, inbox, board, window, clock, jitter).run()


class _Listener:
    def __init__(
        self,
        ctx: Context,
        engine: Events,
        inbox: Mailbox[RendererInbox],
        board: Board | None,
        window: float,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._ctx = ctx
        self._engine = engine
        self._inbox = inbox
        self._board = board
        self._length = window
        self._clock = clock
        self._jitter = jitter
        self._connected_at: float | None = None
        self._ever_connected = False
        self._losses = 0
        self._said = ""
        self._refusals = 0
        self._refused_since = 0.0

    def run(self) -> int:
        while not self._ctx.stop.is_set():
            try:
                self._listen()
            except EngineError as error:
                if self._ctx.stop.is_set():
                    break
                self._lost(error)
                if self._stale(error):
                    return STALE_EXIT
                delay = self._delay()
                self._ctx.beat(delay + OPENING)
                self._ctx.stop.wait(delay)
        return 0

    def _listen(self) -> None:
        """Live one connection; raise EngineError at its end, return when told to stop."""
        since = ""
        while not self._ctx.stop.is_set():
            self._ctx.beat(OPENING)
            with closing(self._engine.events(since, self._length)) as window:
                if self._ctx.stop.is_set():
                    return
                if not since:
                    self._connected()
                self._ctx.beat(self._length + SLACK)
                for event in window:
                    self._seen(event)
                if window.closed and not self._ctx.stop.is_set():
                    raise EngineError(
                        "timeout", "the event stream hung and was closed", "is the engine frozen?"
                    )
                since = window.since

    def _connected(self) -> None:
        self._connected_at = self._clock()
        self._refusals = 0
        self._engine.invalidate_volumes()
        reason = "engine back" if self._ever_connected else "engine connected"
        if self._said or not self._ever_connected:
            log.info("engine.connected", engine=self._engine.host)
        self._said = ""
        if self._board is not None:
            self._board.engine_up()
            if self._ever_connected:
                self._board.stream_renewed()
        self._ever_connected = True
        self._inbox.offer(EngineChanged(reason, self._clock()))

    def _seen(self, event: Event) -> None:
        reason, now = f"{event.type} {event.action}", self._clock()
        if event.type != "container":
            self._engine.invalidate_volumes()
        # The event of a volume comes just before that of its container, which is the one to hurry for.
        if event.type == "volume":
            self._inbox.offer(VolumesChanged(reason, now))
        else:
            self._inbox.overtake(EngineChanged(reason, now), VolumesChanged)
        if self._board is not None:
            self._board.event_seen()

    def _lost(self, error: EngineError) -> None:
        if self._connected_at is not None and self._clock() - self._connected_at >= STABLE:
            self._losses = 0
        self._losses += 1
        was_connected, self._connected_at = self._connected_at is not None, None
        if self._board is not None and not was_connected:
            self._board.engine_down(error.message, error.advice)
        if error.message == self._said:
            return
        self._said = error.message
        if self._ever_connected:
            log.warn("engine.lost", reason=error.message, advice=error.advice)
        else:
            log.warn("engine.waiting", reason=error.message, advice=error.advice)

    def _delay(self) -> float:
        delay = doubling(self._losses, FIRST_DELAY, LONGEST_DELAY)
        return delay * (0.5 + self._jitter() / 2)

    def _stale(self, error: EngineError) -> bool:
        """Whether the socket is there but nobody has answered on it for minutes."""
        path = self._engine.socket_path
        if error.kind != "unreachable" or not path or not Path(path).exists():
            self._refusals = 0
            return False
        now = self._clock()
        if not self._refusals:
            self._refused_since = now
        self._refusals += 1
        if self._refusals < STALE_TRIES or now - self._refused_since < STALE_SECONDS:
            return False
        log.error(
            "engine.socket_stale",
            socket=path,
            refused=self._refusals,
            reason="the socket is there, but nobody has listened on it for minutes",
            advice="ending, so that the restart policy mounts it afresh; mount the directory of the socket instead",
        )
        return True
