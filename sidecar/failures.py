"""What may go wrong outside of us, as one list, and how it is told: what happened, where, and what to do."""

from __future__ import annotations

from sidecar.backrest_config import ConfigError
from sidecar.backrest_http import BackrestApiError
from sidecar.engine_errors import EngineError
from sidecar.lock import LockError
from sidecar.settings import SettingsError
from sidecar.state_store import StateError
from sidecar.store_errors import StoreError


class Contended(Exception):
    """Other programs kept writing config.json all the time; nothing of theirs or ours is lost."""


class Busy(Exception):
    """Backrest stayed busy for ``--apply-max-wait``; nothing was written, the wish stands.

    Attributes:
        reason: What it was doing.
    """

    def __init__(self, reason: str, waited: float, *, live: bool = False) -> None:
        other = "" if live else ", or use --backrest-url, which needs no restart"
        super().__init__(
            f"Backrest was not idle within {waited:.0f} s ({reason}); nothing was written. "
            f"Run again later, raise --apply-max-wait{other}."
        )
        self.reason = reason


FAILURES = (
    ConfigError,
    StoreError,
    StateError,
    LockError,
    EngineError,
    BackrestApiError,
    SettingsError,
    Contended,
    Busy,
)
"""Everything that a command reports instead of a traceback."""


def told(failure: Exception) -> dict[str, str]:
    """Return ``reason`` and, where there is one apart from it, ``advice``, for a log event."""
    if isinstance(failure, EngineError):
        return {"reason": failure.message} | ({"advice": failure.advice} if failure.advice else {})
    return {"reason": str(failure)}
