"""What passes between the supervisor, its children and the signal handler: frozen values."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

Report = Any
"""What workers report. The supervisor passes it on and never looks into it."""


class Stop(enum.Enum):
    """The typed end of an inbox: after it nothing else comes."""

    STOP = enum.auto()


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """A worker's thread has ended. Put by the thread itself as its last act.

    Attributes:
        name: Id of the child spec.
        error: What it raised; None when it returned.
        result: What it returned; the exit code of a worker that is meant to end.
    """

    name: str
    error: BaseException | None
    result: int | None = None


@dataclass(frozen=True, slots=True)
class Signalled:
    """A stop signal arrived. Put by the signal handler.

    Attributes:
        signum: ``signal.SIGTERM`` or ``signal.SIGINT``.
        count: How many stop signals there were by then, this one included.
    """

    signum: int
    count: int
