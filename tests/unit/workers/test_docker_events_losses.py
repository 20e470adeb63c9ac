"""The event listener when the engine is away: waiting, giving up, what is said. Time is in the test's hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.engine.errors import EngineError
from sidecar.engine.types import Event
from sidecar.messages import EngineChanged, RendererInbox
from sidecar.supervision.child import Context
from sidecar.supervision.mailbox import Mailbox
from workers import docker_events


@dataclass
class ScriptedEvents:
    """Events without an engine; time passes only in the waits of the worker."""

    outcomes: list[EngineError | list[Event]]
    socket_path: str = ""
    host: str = "unix:///x"
    opened: list[str] = field(default_factory=list)
    invalidated: int = 0

    def events(self, since: str, window: float) -> ScriptedWindow:
        self.opened.append(since)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, EngineError):
            raise outcome
        return ScriptedWindow(outcome)

    def invalidate_volumes(self) -> None:
        self.invalidated += 1


@dataclass
class ScriptedWindow:
    events: list[Event]
    since: str = "7.0"
    closed: bool = False

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def close(self) -> None:
        self.closed = True


class Clock(threading.Event):
    """A stop event whose waits take no time but the clock's, and which is set after so many of them."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.now = 1000.0
        self.waits: list[float] = []
        self._left = waits

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.now += timeout
        if len(self.waits) >= self._left:
            self.set()
        return self.is_set()


def run(engine: ScriptedEvents, clock: Clock, inbox: Mailbox[RendererInbox] | None = None) -> int:
    context = Context("docker_events", clock, lambda _seconds: None, lambda _message: None)
    return docker_events.run(
        context, engine=engine, inbox=inbox or Mailbox(8), clock=lambda: clock.now, jitter=lambda: 1.0
    )


GONE = EngineError("unreachable", "nobody listens on the engine socket /x", "is Docker running?")


class TestBackoff:
    def test_doubles_to_a_low_cap(self) -> None:
        clock = Clock(8)

        assert run(ScriptedEvents([GONE] * 8), clock) == 0

        assert clock.waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0]

    def test_goes_on_where_a_connection_does_not_last(self) -> None:
        clock = Clock(4)
        lost = EngineError("unreachable", "cut")

        class Broken(ScriptedWindow):
            def __iter__(self) -> Iterator[Event]:
                raise lost

        engine = ScriptedEvents([])
        engine.events = lambda since, window: Broken([])  # type: ignore[method-assign]  # a stream that never lasts
        run(engine, clock)

        assert clock.waits == [0.1, 0.2, 0.4, 0.8]

    def test_begins_anew_after_a_good_connection(self) -> None:
        clock = Clock(4)

        class Lasting(ScriptedWindow):
            def __iter__(self) -> Iterator[Event]:
                clock.now += 60
                raise GONE

        engine = ScriptedEvents([GONE, GONE, [], GONE])
        plain = engine.events

        def events(since: str, window: float) -> ScriptedWindow:
            opened = plain(since, window)
            return Lasting([]) if isinstance(opened, ScriptedWindow) else opened

        engine.events = events  # type: ignore[method-assign]  # its third connection lasts a minute
        run(engine, clock)

        assert clock.waits == [0.1, 0.2, 0.1, 0.2]


class TestStaleSocket:
    def test_ends_the_process_after_minutes_of_refusals(self, tmp_path: Path) -> None:
        path = tmp_path / "docker.sock"
        path.touch()
        clock = Clock(10_000)

        code = run(ScriptedEvents([GONE] * 1000, socket_path=str(path)), clock)

        assert code == docker_events.STALE_EXIT
        assert 300 <= clock.now - 1000 < 310

    def test_is_no_matter_while_there_is_no_socket(self, tmp_path: Path) -> None:
        clock = Clock(500)

        assert run(ScriptedEvents([GONE] * 500, socket_path=str(tmp_path / "none")), clock) == 0

    def test_is_no_matter_for_tcp_or_a_hung_engine(self, tmp_path: Path) -> None:
        slow = EngineError("timeout", "did not answer")

        assert run(ScriptedEvents([GONE] * 500), Clock(500)) == 0
        assert run(ScriptedEvents([slow] * 500, socket_path=str(tmp_path)), Clock(500)) == 0

    def test_a_connection_in_between_begins_the_count_anew(self, tmp_path: Path) -> None:
        path = tmp_path / "docker.sock"
        path.touch()
        outcomes: list[EngineError | list[Event]] = [GONE] * 90
        engine = ScriptedEvents([*outcomes, [], *outcomes], socket_path=str(path))

        assert run(engine, Clock(180)) == 0


class TestWhatIsSaid:
    def test_each_reason_once_and_the_return(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said: list[tuple[str, str]] = []

        class Log:
            def warn(self, action: str, **fields: object) -> None:
                said.append((action, str(fields.get("reason"))))

            def info(self, action: str, **fields: object) -> None:
                said.append((action, ""))

        monkeypatch.setattr(docker_events, "log", Log())
        other = EngineError("denied", "no permission")
        inbox: Mailbox[RendererInbox] = Mailbox(8)
        run(ScriptedEvents([GONE, GONE, other, [], GONE, GONE, GONE]), Clock(6), inbox)

        assert said == [
            ("engine.waiting", GONE.message),
            ("engine.waiting", "no permission"),
            ("engine.connected", ""),
            ("engine.lost", GONE.message),
        ]
        message = inbox.take(0)
        assert isinstance(message, EngineChanged)
        assert message.at == pytest.approx(1000.7)


def test_a_container_overtakes_the_volume_that_was_made_for_it() -> None:
    inbox: Mailbox[RendererInbox] = Mailbox(1)

    class Read(ScriptedWindow):
        def __iter__(self) -> Iterator[Event]:
            assert inbox.take(0) == EngineChanged("engine connected", 1000.0)
            return super().__iter__()

    class Engine(ScriptedEvents):
        def events(self, since: str, window: float) -> ScriptedWindow:
            return Read(super().events(since, window).events)

    happened = [Event("volume", "create", "data", "7.0"), Event("container", "create", "web", "7.1")]
    engine = Engine([happened, GONE])
    run(engine, Clock(1), inbox)

    # A volume waits for its container; kept out by it, the container would wait as long.
    assert inbox.take(0) == EngineChanged("container create", 1000.0)
    assert inbox.take(0) is None
    assert engine.invalidated == 2  # when it connected, and for the volume
