"""The Docker engine as the sidecar sees it: one snapshot, events in windows, operations, and one kind of error.

``docker`` is imported below this module only (``engine/connection.py``). Any thread may use one :class:`Engine`: each
thread has a connection of its own, made when it is first needed and again after a failure.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from sidecar.engine.connection import Connection
from sidecar.engine.errors import EngineError
from sidecar.engine.events import EventWindow
from sidecar.engine.model import EngineSnapshot
from sidecar.engine.operations import Operations
from sidecar.engine.snapshot import Snapshots
from sidecar.engine.swarm import Swarm
from sidecar.engine.types import EngineInfo

__all__ = ["Engine", "EngineError"]

LIST_TIMEOUT = 30.0
"""Seconds for a listing: an engine with thousands of containers and a busy disk needs more than for a call."""


class _Live:
    """The engine as a source of snapshots."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def generation(self) -> int:
        return self._connection.generation

    @property
    def api_version(self) -> str:
        return self._connection.api_version

    def fetch(self, path: str) -> bytes:
        return self._connection.get(path, timeout=max(LIST_TIMEOUT, self._connection.timeout))


class Engine(Operations):
    """One engine. The constructor does no I/O.

    Args:
        host: A path, ``unix://…``, ``tcp://…``; empty is ``/var/run/docker.sock``. TLS by ``DOCKER_TLS_VERIFY`` and
            ``DOCKER_CERT_PATH``, API version by ``DOCKER_API_VERSION`` or else negotiated.
        timeout: Seconds for a call that should answer at once.
        environ: The environment; the process's own by default.

    Raises:
        EngineError: The address cannot be used at all, e.g. ``ssh://``.
    """

    def __init__(self, host: str, *, timeout: float = 10.0, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(Connection(host, timeout=timeout, environ=environ))
        self.swarm = Swarm(self._connection)
        self._snapshots = Snapshots(_Live(self._connection))
        self._window: EventWindow | None = None
        self._window_lock = threading.Lock()

    @property
    def host(self) -> str:
        """Return its address with the scheme."""
        return self._connection.host

    @property
    def socket_path(self) -> str:
        """Return the path of its unix socket; empty for ``tcp://``."""
        return self._connection.socket_path

    @property
    def api_version(self) -> str:
        """Return the API version in use; empty before the first call."""
        return self._connection.api_version

    def ping(self) -> None:
        """Return when the engine answers. Raises :class:`EngineError`."""
        self._connection.get("/_ping")

    def info(self) -> EngineInfo:
        """Return the engine's own facts, remembered until the connection is lost. Raises :class:`EngineError`."""
        return self._snapshots.info()

    def snapshot(self) -> EngineSnapshot:
        """Return everything the engine has; unchanged containers are the same objects as before.

        Raises:
            EngineError: The listing failed. There is never a partial one; what is merely forbidden (volumes, info,
                images, services) becomes a note.
        """
        return self._snapshots.take()

    def invalidate_volumes(self) -> None:
        """Have volumes and services asked for again at the next snapshot. Never blocks."""
        self._snapshots.invalidate()

    def events(self, since: str = "", window: float = 20.0) -> EventWindow:
        """Subscribe to what can change a plan, for ``window`` seconds; list after this has returned.

        Args:
            since: ``since`` of the window before; empty for now.
            window: Seconds until the engine ends the stream.

        Raises:
            EngineError: The engine cannot be reached; iterating raises it when the stream is lost.
        """
        opened = EventWindow(self._connection, since, window)
        with self._window_lock:
            self._window = opened
        return opened

    def close_events(self) -> None:
        """End the open event window from any thread; harmless without one."""
        with self._window_lock:
            window = self._window
        if window is not None:
            window.close()

    def close(self) -> None:
        """End the event window and this thread's connection. The engine can be used again afterwards."""
        self.close_events()
        self._connection.close()
