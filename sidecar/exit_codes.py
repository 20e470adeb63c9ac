"""Exit codes of the commands, contract §1."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command, or the daemon, ends with.

    Attributes:
        CHANGED: Done.
        BAD_USAGE: A flag, label or argument that cannot be; also "not healthy" of the health check.
        UNCHANGED: Nothing to change or to do, or a dry run.
        FAILED: Failure, or partial failure.
        GAVE_UP: Restarting workers did not help.
        UNCLEAN: A worker that could not be stopped was left behind.
    """

    CHANGED = 0
    BAD_USAGE = 1
    UNCHANGED = 2
    FAILED = 3
    GAVE_UP = 4
    UNCLEAN = 70
