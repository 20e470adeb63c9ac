"""The base of everything that is reported instead of traced: what happened, where, and what to do."""

from __future__ import annotations


class SidecarError(Exception):
    """Something outside of us went wrong. A command reports it, and no traceback is shown.

    Attributes:
        message: What happened and where, one sentence.
        advice: What a person can do; empty where the message says it, or nothing can be done.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message} — {self.advice}" if self.advice else self.message


def told(failure: SidecarError) -> dict[str, str]:
    """Return ``reason`` and, where there is one apart from it, ``advice``, for a log event."""
    return {"reason": failure.message} | ({"advice": failure.advice} if failure.advice else {})
