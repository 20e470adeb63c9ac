"""What a rendering depends on besides the engine, and the rendering itself, remembered while nothing changes.

The renderer and the writer both render: the renderer when the engine or the file changed, the writer again when
it finds, under the lock, that the file or the owners are not what the rendering was made from. Rendering is pure
and cheap, so doing it twice beats asking each other.
"""

from __future__ import annotations

from dataclasses import replace

from sidecar.backrest.protected import choose_backrest, find_backrest
from sidecar.engine.model import EngineSnapshot
from sidecar.findings import Finding
from sidecar.plans.mounts import View, view_of
from sidecar.plans.render import Memo, render
from sidecar.plans.rendering import AMBIGUOUS_BACKREST, Basis, Rendering
from sidecar.settings.settings import Settings


def path_view(snapshot: EngineSnapshot, remembered: View, settings: Settings) -> View:
    """Return how Backrest sees the host's paths.

    A Backrest that is being recreated is away for a moment; then the view last seen holds, so that no path
    changes because of it. One that was never seen gives an empty view: host paths are written.
    """
    if settings.path_view == "host":
        return ()
    backrest = find_backrest(snapshot, settings.backrest_container)  # none, too, where nobody can tell which
    if backrest is None or backrest.state in {"removing", "dead"}:
        return remembered
    return view_of(backrest.mounts) or remembered


class Desired:
    """Renders, and gives the very same object back while neither snapshot nor basis has changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._memo = Memo()
        self._last: tuple[EngineSnapshot, Basis, Rendering] | None = None

    def render(self, snapshot: EngineSnapshot, basis: Basis) -> Rendering:
        """Return the rendering of ``snapshot`` on ``basis``."""
        if self._last is not None:
            before, on, rendering = self._last
            if basis == on and _same(snapshot, before):
                return rendering
        rendering = render(
            snapshot,
            basis.view,
            basis.owners,
            self._settings,
            path_view=basis.path_view,
            facts=basis.facts,
            memo=self._memo,
        )
        if self._settings.path_view == "auto":
            choice = choose_backrest(snapshot.containers, self._settings.backrest_container)
            if choice.ambiguous:
                rendering = _in_doubt(rendering, choice.ambiguous, seen=bool(basis.path_view))
        self._last = (snapshot, basis, rendering)
        return rendering


def _in_doubt(rendering: Rendering, reason: str, *, seen: bool) -> Rendering:
    """Return the rendering where nobody can tell which container is Backrest.

    With a view that was seen before, that one holds. Without one no path can be written that Backrest surely sees:
    no plan is, and those that stand stay as they are.
    """
    if seen:
        text = f"which container is Backrest is not clear: {reason}; till then paths go through the one seen last"
        return replace(rendering, findings=(*rendering.findings, Finding(AMBIGUOUS_BACKREST, text)))
    text = f"which container is Backrest is not clear: {reason}; till then no plan is written, and none is changed"
    waiting = (
        Finding(
            "backrest-unknown",
            f"{name}: its plan waits until it is clear which container is Backrest",
            container=name,
            skips=True,
        )
        for plan in rendering.plans
        for name in plan.containers
    )
    findings = (*rendering.findings, Finding(AMBIGUOUS_BACKREST, text), *dict.fromkeys(waiting))
    return replace(rendering, plans=(), renamed=(), findings=findings)


def _same(one: EngineSnapshot, other: EngineSnapshot) -> bool:
    """Whether two snapshots hold the same containers: the engine adapter reuses the object of an unchanged one."""
    return (
        len(one.containers) == len(other.containers)
        and all(a is b for a, b in zip(one.containers, other.containers, strict=True))
        and (one.volumes is other.volumes or one.volumes == other.volumes)
        and (one.engine_id, one.docker_root, one.self_id, one.swarm)
        == (other.engine_id, other.docker_root, other.self_id, other.swarm)
        and one.services == other.services
    )
