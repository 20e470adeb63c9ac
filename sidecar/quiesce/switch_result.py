"""What became of something that was to be taken down or brought up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Fate(Enum):
    """What became of a container. ``GONE`` on the way down: it was not ours to take down, so nothing is owed."""

    DOWN = auto()
    UP = auto()
    GONE = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one change.

    Attributes:
        fate: What became of it.
        reason: Why, in words that follow the container's name; for ``UP`` something odd, or empty.
        name: The container's name now; a recreated one may have another.
        touched: Whether we did something, or found it done.
    """

    fate: Fate
    reason: str = ""
    name: str = ""
    touched: bool = True
