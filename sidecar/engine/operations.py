"""What is done to single containers: find, stop, start, run, logs.

Each call has a deadline above the engine's own timeout, so that the engine gives up first and says why.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from sidecar.engine import decode
from sidecar.engine.connection import Connection, segment
from sidecar.engine.errors import EngineError
from sidecar.engine.transport import Stream
from sidecar.engine.types import ContainerState, PathStat, Process, RunSpec

MARGIN: Final = 20.0
"""Seconds above the engine's own timeout: killing and unmounting come after the timeout."""
ENGINE_STOP_TIMEOUT: Final = 10
"""Seconds that the engine waits before SIGKILL when neither call nor container say (moby: container/container.go)."""
START_TIMEOUT: Final = 60.0
LONGEST: Final = 3600.0
PS_ARGS: Final = "-eo pid,ppid,args"
"""For the ps of the engine's host (Docker) or of the container (Podman), which may be busybox's."""
HEADER: Final = 8


class Operations:
    """Calls about single containers. Every method raises :class:`EngineError`; ``not-found`` for no such container.

    A container is given by id or name.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, name: str, /) -> ContainerState | None:
        """Return the container of that name or id (or a unique start of an id), or None."""
        if not name:
            return None
        path = f"/containers/{segment(name)}/json"
        try:
            raw = self._connection.get_json(path)
        except EngineError as error:
            if error.kind == "not-found":
                return None
            raise
        try:
            return decode.state(raw)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise decode.wrong_shape(path) from error

    def top(self, container_id: str, /) -> tuple[Process, ...]:
        """Return the processes of a running container; ``conflict`` when it does not run."""
        path = f"/containers/{segment(container_id)}/top"
        body = self._connection.get(path, {"ps_args": PS_ARGS})
        if not body:  # Podman's answer when the container has no `ps`
            raise EngineError(
                "protocol", f"the engine gives no processes of {container_id[:64]}", "does it have ps?"
            )
        try:
            return decode.processes(decode.loads(body, path))
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise decode.wrong_shape(path) from error

    def stat_path(self, container_id: str, path: str, /) -> PathStat | None:
        """Return what is at ``path`` in the container, running or not; None when nothing is there.

        The engine answers from outside, as ``docker cp`` does, so no mount of ours is needed.
        """
        call = f"/containers/{segment(container_id)}/archive"
        try:
            header = self._connection.head(call, {"path": path}, "X-Docker-Container-Path-Stat")
        except EngineError as error:
            if error.kind == "not-found":
                return None
            raise
        return decode.path_stat(header, call)

    def stop(self, container_id: str, /, timeout: int | None = None) -> bool:
        """Stop it and wait until it has stopped; return False when it was down already (304).

        Args:
            container_id: Container.
            timeout: Seconds until SIGKILL; None leaves it to the container's own stop timeout, -1 is for ever.

        Raises:
            EngineError: ``timeout`` means that the engine may still be stopping it.
        """
        grace = timeout
        if grace is None:
            found = self.find(container_id)
            grace = (
                found.stop_timeout
                if found is not None and found.stop_timeout is not None
                else ENGINE_STOP_TIMEOUT
            )
        return self._do(container_id, "stop", grace, {} if timeout is None else {"t": timeout})

    def restart(self, container_id: str, /, timeout: int | None = None) -> None:
        """Stop and start it; ``timeout`` as for :meth:`stop`."""
        grace = ENGINE_STOP_TIMEOUT * 6 if timeout is None else timeout
        self._do(container_id, "restart", grace, {} if timeout is None else {"t": timeout})

    def start(self, container_id: str, /) -> bool:
        """Start it; return False when it ran already (304)."""
        return self._do(container_id, "start", START_TIMEOUT)

    def pause(self, container_id: str, /) -> None:
        """Freeze its processes; ``conflict`` when it is paused already or does not run."""
        self._do(container_id, "pause")

    def unpause(self, container_id: str, /) -> None:
        """Thaw its processes; ``conflict`` when it is not paused."""
        self._do(container_id, "unpause")

    def kill(self, container_id: str, /, signal: str = "SIGKILL") -> None:
        """Send ``signal`` to its main process; ``conflict`` when it does not run."""
        self._do(container_id, "kill", 0, {"signal": signal})

    def remove(self, container_id: str, /, force: bool = False) -> None:
        """Remove it with its anonymous volumes; ``conflict`` when it runs and ``force`` is not given."""
        path = f"/containers/{segment(container_id)}"
        self._connection.call(
            "DELETE", path, {"force": int(force), "v": 1}, timeout=self._connection.timeout + 2 * MARGIN
        )

    def wait(self, container_id: str, /, timeout: float) -> int | None:
        """Return its exit code once it does not run, or None when it still runs after ``timeout`` seconds.

        The answer is immediate for a container that has ended. Small timeouts in a loop keep the caller free to
        look at a stop event in between.
        """
        try:
            _, body = self._connection.call(
                "POST", f"/containers/{segment(container_id)}/wait", timeout=timeout, may_run_out=True
            )
        except EngineError as error:
            if error.kind != "timeout":
                raise
            found = self.find(container_id)  # a hung engine fails here
            return found.exit_code if found is not None and not found.running else None
        answer = decode.loads(body, "/containers/{id}/wait")
        return int(answer["StatusCode"])

    def logs(self, container_id: str, /, since: float = 0, tail: int = 200) -> str:
        """Return the end of its output, both streams in order.

        Args:
            container_id: Container.
            since: Unix time; nothing older is returned.
            tail: At most so many lines.
        """
        with contextlib.closing(self._open_logs(container_id, since, str(tail), False)) as stream:
            return b"".join(stream).decode(errors="replace")

    def stream_logs(self, container_id: str, /, since: float = 0, silence: float = LONGEST) -> LogStream:
        """Return its output as it comes, from ``since`` until it ends; ``close`` ends it from any thread.

        Args:
            container_id: Container.
            since: Unix time; nothing older is returned.
            silence: Seconds without output after which the engine counts as hung.
        """
        return self._open_logs(container_id, since, "all", True, silence)

    def create_and_start(self, spec: RunSpec, /, pull_timeout: float = 900.0) -> str:
        """Create and start a container; return its id. A missing image is pulled.

        Raises:
            EngineError: It could not be created, or not be started; then it is removed again.
        """
        try:
            container_id = self.create(spec)
        except EngineError as error:
            if error.kind != "not-found" or "image" not in error.message.lower():
                raise
            self.pull(spec.image, timeout=pull_timeout)
            container_id = self.create(spec)
        try:
            self.start(container_id)
        except EngineError:
            with contextlib.suppress(EngineError):
                self.remove(container_id, force=True)
            raise
        return container_id

    def create(self, spec: RunSpec, /) -> str:
        """Create a container; return its id. ``not-found`` when the engine does not have the image."""
        params = {"name": spec.name} if spec.name else {}
        try:
            _, body = self._connection.call(
                "POST", "/containers/create", params, body=creation(spec), timeout=START_TIMEOUT
            )
        except EngineError as error:
            # The engine quotes a variable that it refuses.
            message = error.message
            for value in sorted(filter(None, spec.env.values()), key=len, reverse=True):
                message = message.replace(value, "***")
            raise EngineError(error.kind, message, error.advice) from None
        return str(decode.loads(body, "/containers/create")["Id"])

    def has_image(self, image: str, /) -> bool:
        """Whether the engine has the image."""
        try:
            self._connection.get(f"/images/{image}/json")
        except EngineError as error:
            if error.kind == "not-found":
                return False
            raise
        return True

    def pull(self, image: str, /, timeout: float = 900.0) -> None:
        """Pull an image that anyone may pull; ``timeout`` seconds in all."""
        name, _, tag = image.partition("@") if "@" in image else image.rpartition(":")
        if "@" not in image and (not name or "/" in tag):
            name, tag = image, "latest"
        _, body = self._connection.call(
            "POST", "/images/create", {"fromImage": name, "tag": tag}, timeout=timeout
        )
        for line in body.splitlines():
            said = decode.loads(line, "/images/create") if line.strip() else {}
            if said.get("error"):
                raise EngineError("protocol", f"image {image} could not be pulled: {said['error']}")

    def _do(
        self, container_id: str, action: str, grace: float = 0, params: dict[str, Any] | None = None
    ) -> bool:
        """POST an action; return False for 304. ``grace`` is the engine's own timeout; negative is for ever."""
        timeout = LONGEST if grace < 0 else self._connection.timeout + grace + MARGIN
        path = f"/containers/{segment(container_id)}/{action}"
        status, _ = self._connection.call("POST", path, params, timeout=timeout)
        return status != 304

    def _open_logs(
        self, container_id: str, since: float, tail: str, follow: bool, silence: float | None = None
    ) -> LogStream:
        found = self.find(container_id)
        if found is None:
            raise EngineError("not-found", f"there is no container {container_id[:64]}")
        stream = self._connection.stream(
            f"/containers/{segment(found.id)}/logs",
            {"stdout": 1, "stderr": 1, "follow": int(follow), "since": f"{since:.9f}", "tail": tail},
            read_timeout=silence or self._connection.timeout,
        )
        return LogStream(stream, tty=found.tty)


class LogStream:
    """A container's output as bytes, both streams in order. Close it from any thread."""

    def __init__(self, stream: Stream, *, tty: bool) -> None:
        self._stream = stream
        self._tty = tty

    def __iter__(self) -> Iterator[bytes]:
        if self._tty:
            yield from self._stream
            return
        rest = b""
        for chunk in self._stream:
            rest += chunk
            while len(rest) >= HEADER:
                # One frame: stream number, three zero bytes, length as 32 bit (Engine API: ContainerAttach).
                size = int.from_bytes(rest[4:HEADER], "big")
                if len(rest) < HEADER + size:
                    break
                yield rest[HEADER : HEADER + size]
                rest = rest[HEADER + size :]

    def close(self) -> None:
        """End it; harmless when repeated."""
        self._stream.close()


def creation(spec: RunSpec) -> dict[str, Any]:
    """Return the body of ``POST /containers/create`` for ``spec``."""
    body: dict[str, Any] = {
        "Image": spec.image,
        "Labels": dict(spec.labels),
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "HostConfig": {
            "AutoRemove": spec.auto_remove,
            "Mounts": [
                {
                    "Type": "bind" if bind.source.startswith("/") else "volume",
                    "Source": bind.source,
                    "Target": bind.target,
                    "ReadOnly": bind.read_only,
                    **({"VolumeOptions": {"Subpath": bind.subpath}} if bind.subpath else {}),
                }
                for bind in spec.binds
            ],
        },
    }
    if spec.network_mode:
        body["HostConfig"]["NetworkMode"] = spec.network_mode
    given: tuple[tuple[str, object], ...] = (
        ("Cmd", list(spec.command)),
        ("Entrypoint", list(spec.entrypoint)),
        ("User", spec.user),
        ("WorkingDir", spec.working_dir),
        ("Hostname", spec.hostname),
    )
    body.update({key: value for key, value in given if value})
    return body
