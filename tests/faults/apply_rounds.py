"""A sidecar that applies one change after the other by restart, is killed at random instants, and started again.

Run as ``python -m tests.faults.apply_rounds DIRECTORY ROUNDS SEED``; prints one JSON object. Backrest is the stage's
double, with its being up or down on the disk, as the engine has it: it outlives the process that stopped it.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import orjson

from tests.unit.builders import container
from tests.unit.stage import Clock, FakeBackrest, Stage

LONGEST = 0.15
"""Seconds until the kill, at most: some applies."""

WEB = "backrest_sidecar_web"
HOUR = 3600.0


class LastingBackrest(FakeBackrest):
    """The double, remembered in a file."""

    def __init__(self, config: Path, clock: Clock) -> None:
        super().__init__(config, clock)
        self._book = config.with_name("engine.book")
        if self._book.exists():
            self.running, cache, self.started_at = json.loads(self._book.read_text())
            self.cache = cache.encode()

    def stop(self, container_id: str, /, timeout: int | None = None) -> None:
        """Stop it, for whoever looks next."""
        super().stop(container_id, timeout)
        self._remember()

    def start(self, container_id: str, /) -> None:
        """Start it with the file as it stands."""
        super().start(container_id)
        self._remember()

    def _remember(self) -> None:
        new = self._book.with_name("engine.book.new")
        new.write_text(json.dumps([self.running, self.cache.decode(), self.started_at]))
        new.rename(self._book)


def stage_of(directory: Path, number: int) -> Stage:
    """Return the stage as process ``number`` finds it, hours after the one before."""
    exists = (directory / "config.json").exists()
    stage = Stage(directory, config={}) if exists else Stage(directory)
    stage.clock.now = HOUR * (number + 1)
    stage.backrest = LastingBackrest(stage.path, stage.clock)
    stage.reborn()
    return stage


def start(stage: Stage) -> None:
    """Do what every start does first."""
    stage.file.recover()
    stage.restarter.must_start()


def apply(stage: Stage, minute: int) -> None:
    """Change the one label and bring it about, restart and all."""
    stage.want(container("web", {"schedule": f"{minute} 2 * * *"}))
    stage.run()


def cron(raw: bytes) -> str:
    """Return the schedule of the one plan of ours in a document."""
    plans: list[dict[str, Any]] = orjson.loads(raw)["plans"]
    return next((str(plan["schedule"]["cron"]) for plan in plans if plan["id"] == WEB), "")


def run_child(directory: Path, number: int) -> NoReturn:
    """Start and apply until killed."""
    try:
        stage = stage_of(directory, number)
        start(stage)
        minute = 0
        while True:
            minute = (minute + 1) % 60
            stage.sleep(HOUR)
            apply(stage, minute)
    finally:
        os._exit(1)


def rounds(directory: Path, count: int, seed: int) -> dict[str, Any]:
    """Kill and start again ``count`` times."""
    dice = random.Random(seed)
    found: dict[str, Any] = {"rounds": 0, "found_down": 0, "running_in_the_end": 0, "wrong": []}
    process = 0
    stage_of(directory, process)
    for number in range(count):
        process += 1000
        pid = os.fork()
        if pid == 0:
            run_child(directory, process)
        select.select([], [], [], dice.uniform(0, LONGEST))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "the sidecar died of itself"
        process += 1000
        stage = stage_of(directory, process)
        found["found_down"] += not stage.backrest.running
        start(stage)
        up = stage.backrest.running
        apply(stage, number % 60)
        state = stage.file.state()
        wanted = f"{number % 60} 2 * * *"
        right = (
            up
            and stage.backrest.running
            and cron(stage.backrest.cache) == cron(stage.path.read_bytes()) == wanted
            and (state.owed, state.stopped) == (None, None)
            and not list(directory.glob(".config.json*"))
            and not list(directory.glob("*.kept"))
        )
        found["running_in_the_end"] += stage.backrest.running
        found["rounds"] += 1
        if not right:
            found["wrong"].append([number, up, stage.backrest.running, wanted, cron(stage.backrest.cache)])
    return found


if __name__ == "__main__":
    json.dump(rounds(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), sys.stdout)
