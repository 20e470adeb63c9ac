"""What is said to a person about a container, and text made safe to be shown. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person should know: why a container is skipped, or what is odd about it.

    Attributes:
        code: Stable word for programs, e.g. ``wrong-label``, ``unknown-label``, ``no-path``.
        message: One plain sentence: what, where, and what to do.
        container: Name of the container it is about.
        label: The label key it is about.
        value: The label's value, shortened and made printable by :func:`printable`.
        hint: A suggestion, e.g. the nearest known key.
        skips: Whether the container (or named plan) is skipped because of it.
    """

    code: str
    message: str
    container: str = ""
    label: str = ""
    value: str = ""
    hint: str = ""
    skips: bool = False


def printable(text: str, limit: int = 120) -> str:
    """Return ``text`` safe for one log line or table cell.

    Control characters, line separators and bidirectional overrides are escaped, and the text is cut at
    ``limit`` characters with its full length noted, so that a label can neither forge a log line nor flood it.
    """
    cut = text[:limit]
    out = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return f"{out}… ({len(text)} characters)" if len(text) > limit else out
