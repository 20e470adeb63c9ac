"""The event listener in a thread of its own, with its inbox in the test's hand."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Self

from sidecar.engine.client import Engine
from sidecar.messages import RendererInbox
from sidecar.supervision.child import Context
from sidecar.supervision.mailbox import Mailbox
from sidecar.supervision.messages import Stop
from workers import docker_events

SOON = 5.0


@dataclass
class Rig:
    """The worker in a thread, as the supervisor runs it."""

    engine: Engine
    window: float = 20.0
    inbox: Mailbox[RendererInbox] = field(default_factory=lambda: Mailbox(1))
    stop: threading.Event = field(default_factory=threading.Event)
    beats: list[float] = field(default_factory=list)
    result: list[int] = field(default_factory=list)

    def __enter__(self) -> Self:
        context = Context("docker_events", self.stop, self.beats.append, lambda _message: None)
        self._thread = threading.Thread(target=self._run, args=(context,), name="docker_events")
        self._thread.start()
        return self

    def _run(self, context: Context) -> None:
        self.result.append(
            docker_events.run(
                context, engine=self.engine, inbox=self.inbox, window=self.window, jitter=lambda: 0.0
            )
        )
        self.engine.close()

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop it as the supervisor does; twice is harmless."""
        self.stop.set()
        self.engine.close_events()
        self._thread.join(SOON)
        assert not self._thread.is_alive(), "it does not stop"

    def next(self, timeout: float = SOON) -> str:
        """Return the reason of the next message, or nothing."""
        message = self.inbox.take(timeout)
        assert not isinstance(message, Stop)
        return "" if message is None else message.reason
