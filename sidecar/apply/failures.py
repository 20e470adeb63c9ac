"""Why an apply comes to nothing for now; nothing of the user's or ours is lost."""

from __future__ import annotations

from sidecar.errors import SidecarError


class Contended(SidecarError):
    """Other programs kept writing config.json all the time; nothing of theirs or ours is lost."""


class Busy(SidecarError):
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
