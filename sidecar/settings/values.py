"""Parsers of flag values: text in, value out, ValueError with what is wrong about it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from sidecar.duration import parse_duration
from sidecar.settings.address import parse_address


def text(raw: str) -> str:
    """Any text without NUL."""
    if "\x00" in raw:
        raise ValueError("holds a NUL byte")
    return raw


def path(raw: str) -> str:
    """A path; not empty."""
    if not raw:
        raise ValueError("is empty; a path is wanted")
    return text(raw)


def absolute(raw: str) -> str:
    """An absolute path, without a slash at its end."""
    if not raw.startswith("/"):
        raise ValueError("is not an absolute path")
    return text(raw).rstrip("/") or "/"


def boolean(raw: str) -> bool:
    """A switch, in any usual spelling."""
    word = raw.strip().lower()
    if word in {"1", "t", "true", "y", "yes", "on"}:
        return True
    if word in {"0", "f", "false", "n", "no", "off"}:
        return False
    raise ValueError("is neither true nor false")


def positive(raw: str) -> float:
    """A duration in seconds, longer than nothing."""
    seconds = parse_duration(raw)
    if seconds <= 0:
        raise ValueError("must be longer than 0s")
    return seconds


def choice(*words: str) -> Callable[[str], str]:
    """Return a parser that takes one of ``words``, in any case."""

    def parse(raw: str) -> str:
        word = raw.strip().lower()
        if word not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return word

    parse.words = words  # type: ignore[attr-defined]  # for completion in a shell
    return parse


def mode(raw: str) -> int | None:
    """A file mode in octal that its owner can read, or None for ``preserve``."""
    if raw.strip().lower() == "preserve":
        return None
    try:
        mode = int(raw, 8)
    except ValueError:
        mode = -1
    if not 0o400 <= mode <= 0o777 or not mode & 0o400:
        raise ValueError("is neither an octal mode that its owner can read, such as 0600, nor preserve")
    return mode


def host(raw: str) -> str:
    """An engine's address: a path, ``unix://…``, ``tcp://…``."""
    if not raw:
        raise ValueError("is empty; a path, unix://… or tcp://… is wanted")
    if raw.startswith("ssh://"):
        raise ValueError("ssh:// is not supported; forward the socket and name it as unix://…")
    if "://" in raw and urlsplit(raw).scheme not in {"unix", "tcp", "http", "https"}:
        raise ValueError("is neither a path nor unix://… nor tcp://…")
    if "://" in raw and not raw.startswith("unix://") and not _port(raw):
        raise ValueError("names no host and port; write tcp://host:2375, or tcp://host:2376 with TLS")
    return text(raw)


def _port(address: str) -> int:
    """Return the port of an address, 0 for none or a wrong one."""
    try:
        parts = urlsplit(address)
        return (parts.port or 0) if parts.hostname else 0
    except ValueError:
        return 0


def url(raw: str) -> str:
    """An http(s) address without credentials."""
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not an http:// or https:// address, such as http://backrest:9898")
    if parts.username or parts.password:
        raise ValueError("holds credentials; use --backrest-username and --backrest-password-file")
    return raw.rstrip("/")


def budget(raw: str) -> tuple[int, int]:
    """``PER_MINUTE/PER_HOUR``."""
    try:
        minute, hour = (int(part) for part in raw.split("/"))
    except ValueError:
        minute = hour = 0
    if not 1 <= minute <= hour:
        raise ValueError("is not PER_MINUTE/PER_HOUR, such as 1/6")
    return minute, hour


def label(raw: str) -> str:
    """A label selector, ``key`` or ``key=value``."""
    if not raw.partition("=")[0].strip():
        raise ValueError("is not a label selector such as backrest.quiesce=true")
    return text(raw)


def address(raw: str) -> str:
    """Where to listen, see ``settings.address.parse_address``; checked here, parsed where it is used."""
    parse_address(raw)
    return raw
