"""Every message that passes between workers: frozen values, and the union that each inbox takes.

A watcher's message says "look again", never what changed. A rendering is a whole wish, never a delta. So a
message that is lost, doubled or overtaken by a newer one costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.engine.model import EngineSnapshot
from sidecar.plans.rendering import Basis, Rendering


@dataclass(frozen=True, slots=True)
class EngineChanged:
    """Something on the engine may have changed, or an interval has passed.

    Attributes:
        reason: For people: the event's action, ``resync``, ``interval``, …
        at: Monotonic time of the cause in seconds; the latency of a pass is counted from it.
    """

    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """config.json was written, replaced or removed, perhaps by ourselves.

    Attributes:
        reason: For people: ``modified``, ``added``, ``deleted``, ``watch renewed``, …
        at: Monotonic time of the cause in seconds.
    """

    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class VolumesChanged:
    """A volume came or went: the engine says so, or its directory below the Docker root.

    Attributes:
        reason: For people.
        at: Monotonic time of the cause in seconds.
    """

    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class PlansRendered:
    """The whole of what config.json should hold of ours. A newer one replaces one that still waits.

    Attributes:
        rendering: The plans, the skips and the reasons.
        snapshot: The look at the engine that it was made from.
        basis: What else it was made from; the writer renders again when that has changed.
        number: Counts the renderings of this process, upwards from 1.
        at: Monotonic time of the earliest cause in seconds.
    """

    rendering: Rendering
    snapshot: EngineSnapshot
    basis: Basis
    number: int
    at: float


@dataclass(frozen=True, slots=True)
class HooksCutOff:
    """A restart of Backrest cut operations off: what their hooks had stopped must be started now.

    Attributes:
        at: Monotonic time in seconds.
    """

    at: float


@dataclass(frozen=True, slots=True)
class Applied:
    """The writer is done with a rendering.

    Attributes:
        number: The rendering's number.
        changed: Whether config.json was written.
        at: Monotonic time of the cause in seconds, as the rendering had it.
        done_at: Monotonic time at which the file was on disk and synced (or found to be right).
        restarted: Whether Backrest was restarted, or told through its API.
        owed: What is still owed, e.g. ``restart``; empty when nothing is.
        reason: Why it is still owed; empty when nothing is.
        skipped: Containers whose plan was left out when it came to merging, e.g. because its id is taken.
    """

    number: int
    changed: bool
    at: float
    done_at: float
    restarted: bool = False
    owed: str = ""
    reason: str = ""
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplyWaits:
    """The writer waits until Backrest may be told of a rendering; said anew when the reason changes.

    Attributes:
        number: The rendering's number.
        reason: For what it waits, as one clause.
        plans: Ids of the plans that wait.
        overdue: Whether it waits for longer than ``--apply-max-wait``.
    """

    number: int
    reason: str
    plans: tuple[str, ...] = ()
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """The writer could not put a rendering into config.json. It tries again by itself.

    Attributes:
        number: The rendering's number.
        reason: One sentence: what went wrong, where.
        advice: One sentence: what to do; empty where there is nothing to do.
        blocked: Ids of the plans that could not be applied.
    """

    number: int
    reason: str
    advice: str = ""
    blocked: tuple[str, ...] = ()


RendererInbox = EngineChanged | ConfigChanged | VolumesChanged
WriterInbox = PlansRendered
BringBackInbox = HooksCutOff
Report = Applied | ApplyWaits | WriteFailed
