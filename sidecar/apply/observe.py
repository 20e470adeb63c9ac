"""One look at the world: list the engine, render, look the paths up, and render again with what was found.

For the renderer, ``reconcile`` and ``explain`` alike. What fails is raised as it is; what to do about it differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from sidecar.apply.path_probe import Engine, PathProbe
from sidecar.engine.model import EngineSnapshot
from sidecar.plans.desired import Desired, path_view
from sidecar.plans.mounts import View
from sidecar.plans.rendering import Basis, ConfigView, Owners, Rendering
from sidecar.settings.settings import Settings


class Source(Protocol):
    """Where snapshots come from."""

    def snapshot(self) -> EngineSnapshot:
        """Return everything the engine has."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look gave."""

    snapshot: EngineSnapshot
    basis: Basis
    rendering: Rendering


class Observer:
    """Looks; keeps what saves work for the next time. One worker's; not for several threads.

    Args:
        settings: Options.
        source: The engine, live or recorded.
        clock: Monotonic seconds.
    """

    def __init__(self, settings: Settings, source: Source, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._source = source
        self._desired = Desired(settings)
        live = source if isinstance(source, Engine) else None
        self._probe = PathProbe(live, settings.backrest_container, clock, on_host=_on_host(settings))

    @property
    def note(self) -> str:
        """Why paths cannot be looked up where Backrest is; empty when they can."""
        return self._probe.note

    def snapshot(self) -> EngineSnapshot:
        """List the engine. Raises EngineError."""
        return self._source.snapshot()

    def render(
        self, snapshot: EngineSnapshot, view: ConfigView, owners: Owners, remembered: View
    ) -> Observation:
        """Return the plans that the labels ask for now.

        Args:
            snapshot: The engine.
            view: What plans depend on in config.json.
            owners: Which workload has which plan.
            remembered: How Backrest saw the host's paths when it was last seen.
        """
        basis = Basis(view, owners, path_view(snapshot, remembered, self._settings), self._probe.known)
        rendering = self._desired.render(snapshot, basis)
        # What a symlink leads to is a new path to look up; it leads to no other.
        for _ in range(2):
            facts = self._probe.facts(rendering.candidates, snapshot, viewed=bool(basis.path_view))
            if facts is basis.facts:
                break
            basis = replace(basis, facts=facts)
            rendering = self._desired.render(snapshot, basis)
        return Observation(snapshot, basis, rendering)


def _on_host(settings: Settings) -> bool:
    """Whether this process is on the engine's host itself: the engine is local, and no container is around us."""
    remote = "://" in settings.docker_sock and not settings.docker_sock.startswith("unix://")
    return not remote and not any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
