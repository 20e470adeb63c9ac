"""The tests' own engine leaves nothing behind, however it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine import remains
from tests.engine.harness import TestEngine

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("end", ["stop", "kill9", "freeze"])
def test_nothing_is_left_of_an_engine(can_run_engine: None, end: str) -> None:
    with TestEngine() as engine:
        engine.run_container("one", volumes=["data:/data"])
        assert remains.processes_of(engine.folder)
        getattr(engine, end)()

    assert not remains.processes_of(engine.folder)
    assert not engine.folder.exists()
    assert str(engine.folder) not in Path("/proc/self/mountinfo").read_text()
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{engine.cgroup}"))


def test_a_stack_of_compose_is_there_and_goes(engine: TestEngine) -> None:
    stack = """
        version: "2.4"
        services: {web: {image: "busybox:test", volumes: ["data:/data"]}}
        volumes: {data: {}}
    """

    engine.compose("shop", stack)
    names = [c["Names"] for c in engine.call("GET", "/containers/json")]
    engine.clean()

    assert names == [["/shop_web_1"]]
    assert engine.call("GET", "/containers/json?all=1") == []
