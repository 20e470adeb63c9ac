"""The writer as the daemon has it, on a running Backrest: label changes go in, saves through the API come out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sidecar.apply.applier import Applier
from sidecar.apply.config_file import ConfigFile
from sidecar.engine.model import Container, EngineSnapshot
from sidecar.messages import Applied, PlansRendered, Report
from sidecar.plans.desired import Desired, path_view
from sidecar.plans.rendering import Basis
from sidecar.settings.settings import resolve
from sidecar.status.announcer import Announcer
from tests.contract.harness import Running

GUID = "0" * 64
RARE = {"cron": "0 3 1 1 *", "clock": "CLOCK_LOCAL"}


def config(*plans: dict[str, Any]) -> dict[str, Any]:
    """Return a config of a version that every Backrest from 1.8.1 on takes."""
    repo = {"id": "r1", "uri": "/nowhere", "guid": GUID, "password": "x"}
    return {"version": 4, "instance": "i", "repos": [repo], "plans": list(plans)}


def plan(plan_id: str, schedule: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a plan that by itself does not run while a test does."""
    return {"id": plan_id, "repo": "r1", "paths": ["/etc/hostname"], "schedule": schedule or RARE, **fields}


class LiveRig:
    """The applier, its file and state, with real time.

    Args:
        backrest: A Backrest that runs.
        flags: Options of the daemon.
    """

    def __init__(self, backrest: Running, **flags: Any) -> None:
        self.backrest = backrest
        given = {"config": str(backrest.config), "apply": True, "apply-settle": "0s", "apply-mode": "api"}
        given |= {"backrest-url": f"http://127.0.0.1:{backrest.port}", "default-repo": "r1"}
        self.settings = resolve("daemon", given | {key.replace("_", "-"): v for key, v in flags.items()}, {})
        self.reports: list[Report] = []
        self.number = 0
        self._due: float | None = None
        self.reborn()

    def reborn(self) -> None:
        """The process died and is started anew: nothing but the disk remains."""
        self.file = ConfigFile(self.settings, now=time.time)
        self.applier = Applier(
            self.settings,
            self.file,
            Announcer(),
            None,
            lambda: self.backrest.api,
            clock=time.monotonic,
            now=time.time,
            report=self.reports.append,
            patient=True,
        )

    def want(self, *containers: Container) -> PlansRendered:
        """A new rendering comes."""
        snapshot, state = EngineSnapshot(containers), self.file.state()
        basis = Basis(self.file.current().view, state.owners, path_view(snapshot, state.view, self.settings))
        self.number += 1
        rendering = Desired(self.settings).render(snapshot, basis)
        wish = PlansRendered(rendering, snapshot, basis, self.number, time.monotonic())
        self.applier.want(wish)
        self._due = time.monotonic()
        return wish

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Step as the writer does, for so many seconds or ``until`` something holds."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not until():
            if self._due is not None and time.monotonic() >= self._due:
                self._due = self.applier.step()
            time.sleep(0.02)

    @property
    def served(self) -> int:
        """Number of the last rendering that was brought about."""
        return max((report.number for report in self.reports if isinstance(report, Applied)), default=0)
