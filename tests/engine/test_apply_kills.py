"""``kill -9`` at each step of stop, write, start, with Backrest's double in a container of a real engine."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.double_container import DoubleContainer
from tests.engine.harness import TestEngine
from tests.engine.sidecar_process import REPO, ROOT, environment
from tests.torture.conftest import figures
from tests.waiting import eventually

pytestmark = pytest.mark.engine

__all__ = ["figures"]

WEB = "backrest_sidecar_web"
HAND = {
    "id": "by-hand",
    "repo": "main",
    "paths": ["/etc"],
    "schedule": {"disabled": True},
    "iexcludes": ["*.TMP"],
}
CONFIG: dict[str, Any] = {"modno": 1, "version": 6, "instance": "test", "repos": [REPO], "plans": [HAND]}


@pytest.fixture
def backrest(image_engine: TestEngine) -> Iterator[DoubleContainer]:
    with tempfile.TemporaryDirectory(prefix="bs-") as home:
        image_engine.run_container("web", {"backrest.enable": "true"}, ["web:/data"], start=False)
        yield DoubleContainer(image_engine, Path(home)).run(CONFIG)
        image_engine.clean()


def kill_rounds(backrest: DoubleContainer, count: int, timeout: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.faults.engine_kills", str(backrest.config), backrest.engine.host]
    done = subprocess.run(
        [*command, str(count)], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, timeout=timeout
    )
    assert done.returncode == 0
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["rounds"] == found["running_in_the_end"] == count
    assert found["found_down"] > 0
    eventually(backrest.api.answers)
    document = json.loads(backrest.config.read_bytes())
    running_with = {plan["id"]: plan for plan in backrest.api.get_config()["plans"]}
    assert running_with[WEB]["schedule"]["cron"] == document["plans"][1]["schedule"]["cron"]
    assert document["plans"][0] == HAND
    return found


def test_backrest_runs_with_the_new_plans_whichever_step_was_the_last(backrest: DoubleContainer) -> None:
    kill_rounds(backrest, 5, 50)


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_two_hundred_kills_on_an_engine(
    backrest: DoubleContainer,
    figures: Callable[[dict[str, Any]], None],
) -> None:
    found = kill_rounds(backrest, 200, 1100)
    figures({name: found[name] for name in ("rounds", "found_down", "running_in_the_end")})
