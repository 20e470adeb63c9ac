"""What a run started itself is ended, also what its helper starts in the last moment."""

from __future__ import annotations

from dataclasses import replace

from sidecar.engine.model import Container, EngineSnapshot
from sidecar.engine.types import ContainerState
from sidecar.quiesce.cleanup import RUN_LABEL, end_all


class LateEngine:
    """An engine on which rcb starts its container between our look at the list and its own end."""

    def __init__(self) -> None:
        self.there = {"p": Container("p", "rcb", {RUN_LABEL: "run"}), "x": Container("x", "web")}

    def snapshot(self) -> EngineSnapshot:
        return EngineSnapshot(tuple(self.there.values()))

    def find(self, name: str, /) -> ContainerState | None:
        one = self.there.get(name)
        return ContainerState(one.id, one.name, running=one.state == "running") if one else None

    def kill(self, container_id: str, /, signal: str = "SIGKILL") -> None:
        if container_id == "p":
            self.there["c"] = Container("c", "keen_name", network_mode="container:p")
        self.there[container_id] = replace(self.there[container_id], state="exited")

    def remove(self, container_id: str, /, force: bool = False) -> None:
        del self.there[container_id]


def test_what_rcb_starts_while_it_is_being_ended_is_ended_too() -> None:
    engine = LateEngine()
    assert end_all(engine, (), "run", rest=lambda _: None, monotonic=lambda: 0.0) == ()
    assert set(engine.there) == {"x"}
