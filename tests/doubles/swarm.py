"""The scripted engine as the manager of a swarm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sidecar.engine.errors import EngineError
from sidecar.engine.model import SWARM_SERVICE, SWARM_STACK, Container, Mount, SwarmService
from sidecar.engine.types import SwarmTask

if TYPE_CHECKING:
    from tests.unit.quiesce_rig import FakeEngine

TASK_STOP_TAKES = 1.0


@dataclass
class FakeSwarm:
    """The engine as a manager: a service's tasks end a little after it was scaled to nothing."""

    engine: FakeEngine

    def service(self, name: str) -> SwarmService | None:
        return self.engine.step("service", name, lambda: self.engine.services.get(name))

    def tasks(self) -> tuple[SwarmTask, ...]:
        alive = [b.container for b in self.engine.boxes.values() if b.state == "running"]
        return tuple(
            SwarmTask(c.id, self.engine.services[c.swarm_service].id, "n", 1, "running", "running", c.id)
            for c in alive
            if c.swarm_service
        )

    def scale(self, name: str, replicas: int) -> int:
        engine = self.engine
        if name not in engine.services:
            raise EngineError("not-found", f"there is no service {name}")
        before = engine.services[name].replicas or 0

        def act() -> int:
            engine.services[name] = replace(engine.services[name], replicas=replicas)
            template = next(b.container for b in engine.boxes.values() if b.container.swarm_service == name)
            for box in [b for b in engine.boxes.values() if b.container.swarm_service == name]:
                if box.state == "running":
                    engine.later.append((engine.now + TASK_STOP_TAKES, box.container.id, "exited"))
            for _ in range(replicas):
                made = f"task{next(engine.ids)}"
                engine.add(replace(template, id=made, name=f"{name}.1.{made}"))
            return before

        return engine.step("scale", f"{name}={replicas}", act)


def add_service(engine: FakeEngine, name: str, *, stack: str = "shop", replicas: int = 1) -> None:
    """Add a replicated Swarm service that asks to be quiesced, with its tasks; they share one volume."""
    full = f"{stack}_{name}"
    engine.services[full] = SwarmService(f"{full}-id", full, {SWARM_STACK: stack}, replicas=replicas)
    labels = {SWARM_SERVICE: full, SWARM_STACK: stack, "backrest.quiesce": "true"}
    mount = Mount("volume", f"/var/lib/docker/volumes/{name}/_data", "/data", name=name, driver="local")
    for slot in range(1, replicas + 1):
        engine.add(Container(f"{full}-{slot}", f"{full}.{slot}.first", labels=labels, mounts=(mount,)))
