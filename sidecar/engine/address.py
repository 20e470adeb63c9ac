"""Where the engine is: what a person wrote, made into one form, or refused at once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sidecar.engine.errors import EngineError
from sidecar.findings import printable

DEFAULT_SOCKET: Final = "/var/run/docker.sock"


def normalize_host(host: str) -> str:
    """Return the engine's address with its scheme, e.g. ``unix:///var/run/docker.sock``.

    Args:
        host: A path, ``unix://…``, ``tcp://…``, ``http://…``, ``https://…``, or empty for the default socket.

    Raises:
        EngineError: ``ssh://``, ``npipe://``, ``fd://`` or another scheme that cannot be used.
    """
    host = host.strip() or DEFAULT_SOCKET
    scheme, separator, rest = host.partition("://")
    if not separator:
        return f"unix://{Path(host).absolute()}"
    if scheme == "unix":
        return f"unix:///{rest.lstrip('/')}"
    if scheme in {"tcp", "http", "https"} and rest.strip("/"):
        return host
    if scheme == "ssh":
        raise EngineError(
            "unreachable",
            f"ssh:// is not supported ({printable(host)})",
            "forward the socket instead (ssh -L /run/engine.sock:/var/run/docker.sock …) and use its path, or tcp://"
            " with TLS",
        )
    raise EngineError(
        "unreachable",
        f"{printable(host)} is no address of an engine",
        "use a path, unix://… or tcp://host:port",
    )
