"""Where to listen: ``host:port`` as people write it."""

from __future__ import annotations

LOOPBACK = "127.0.0.1"


def parse_address(text: str) -> tuple[str, int]:
    """Return (host, port) of ``host:port``, ``:port``, ``port`` or ``[v6]:port``.

    No host means loopback: metrics name no secrets, but they are nobody's business unless somebody says so.

    Raises:
        ValueError: With one sentence for people.
    """
    host, colon, digits = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, such as [::1]:9099")
    if not digits.isascii() or not digits.isdigit() or int(digits) > 65535:
        raise ValueError(f"{text!r} is no address; write host:port, or :9099 for loopback")
    return (host if colon and host else LOOPBACK), int(digits)
