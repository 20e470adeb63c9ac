"""Brings back what was stopped and not started: by a backup-once that died, and by hooks that Backrest cut off.

The journal of ``backup-once`` is worked off as soon as no run holds it. The markers of the stop/start template are
watched: one whose container is down, while Backrest is idle or gone, is worked off after a grace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sidecar.messages import HooksCutOff
from sidecar.supervision.child import Context
from sidecar.supervision.mailbox import Mailbox
from sidecar.supervision.messages import Stop

LONGEST_STEP = 120.0
"""Seconds within which one look and the starts that follow are done; each engine call has its own deadline."""


class Watch(Protocol):
    """See ``quiesce.watchdog.MarkerWatch``."""

    def step(self) -> float:
        """Look once; return the seconds until the next look."""

    def hurry(self) -> None:
        """Have the next looks grant no grace."""


def run(
    ctx: Context, *, inbox: Mailbox[HooksCutOff], recover: Callable[[Context], None], watch: Watch
) -> None:
    """Work until told to stop.

    Args:
        ctx: The supervisor's side.
        inbox: Says that a restart cut hooks off.
        recover: Works off a journal that no run holds, if there is one; cheap when there is none.
        watch: Looks at the markers.
    """
    while not ctx.stop.is_set():
        ctx.beat(LONGEST_STEP)
        recover(ctx)
        wait = watch.step()
        ctx.beat(wait + LONGEST_STEP)
        message = inbox.take(wait)
        if message is Stop.STOP:
            return
        if message is not None:
            watch.hurry()
