"""The writer: the only worker that touches config.json and Backrest's container, one thing at a time.

It takes renderings, the newest of which counts, and lets ``apply.Applier`` bring them about. What the applier has to
wait for comes back as a deadline, so a newer rendering or a stop is never kept waiting. Told to stop in the middle,
it does not leave Backrest down: stop, write and start are one step, and a start that failed is tried once more.
"""

from __future__ import annotations

from collections.abc import Callable

from sidecar.apply.applier import Applier
from sidecar.errors import SidecarError
from sidecar.log import get_logger
from sidecar.messages import PlansRendered
from sidecar.supervision.child import Context
from sidecar.supervision.mailbox import Mailbox
from sidecar.supervision.messages import Stop

LONGEST_WAIT = 30.0
"""Seconds after which the loop comes round at the latest, to show that it lives."""

log = get_logger(__name__)


def run(
    ctx: Context,
    *,
    inbox: Mailbox[PlansRendered],
    start: Callable[[Context], None],
    applier: Callable[[Context], Applier],
    finish: Callable[[], None],
    clock: Callable[[], float],
    longest_step: float,
) -> None:
    """Work until told to stop.

    Args:
        ctx: The supervisor's side.
        inbox: Renderings; the newest alone waits.
        start: Works off what an earlier process left behind: leftovers of a write, a Backrest that must start.
        applier: Makes the applier.
        finish: Starts a Backrest that is still down because of us.
        clock: Monotonic seconds.
        longest_step: Seconds that one step may take: a stop, a write and a start.
    """
    ctx.beat(longest_step)
    start(ctx)
    work = applier(ctx)
    due: float | None = None
    while not ctx.stop.is_set():
        wait = LONGEST_WAIT if due is None else min(LONGEST_WAIT, max(0.0, due - clock()))
        ctx.beat(wait + longest_step)
        message = inbox.take(wait)
        if message is Stop.STOP:
            break
        if message is not None:
            work.want(message)
        if message is not None or (due is not None and clock() >= due):
            due = work.step()
    try:
        finish()
    except SidecarError as failure:
        log.error("backrest.start_failed", reason=str(failure), advice="backrest-sidecar recover starts it")
