"""backup-once: for how long containers are down, beside how long the backup itself takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sidecar.engine.client import Engine
from tests.bench.figures import Figure, figure
from tests.bench.listener import Moments
from tests.bench.world import RawEngine
from tests.doubles.rcb import image
from tests.engine.backup_rig import QUIESCE, Site
from tests.engine.harness import TestEngine

CONTAINERS = 20
SLACK = 1.0
"""Seconds above the backup and the slowest stop and start that are allowed."""


class _Timed(Engine):
    """The engine as backup-once uses it, and how long each of its starts took, in seconds."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.starts: list[float] = []

    def start(self, container_id: str, /) -> bool:
        began = time.perf_counter()
        try:
            return super().start(container_id)
        finally:
            self.starts.append(time.perf_counter() - began)


def downtime(engine: TestEngine, folder: Path) -> Iterator[Figure]:
    """Give the time between the first stop and the last start with independent containers."""
    image.make(engine)
    site = Site(engine, folder)
    site.init()
    for number in range(CONTAINERS):
        site.service(f"s{number:02d}", QUIESCE)
    timed = _Timed(str(engine.socket))
    with Moments(engine, ("kill", "die", "start")) as moments:
        outcome = site.run(site.options(kind="restic", together=True), engine=timed)
    events = moments.seen
    expected = {f"shop-s{number:02d}-1" for number in range(CONTAINERS)}
    if set(outcome.summary.downtime) != expected:
        raise RuntimeError(f"not all were taken down: {outcome.summary}")
    # A stop begins with the engine's `kill`, an operation's end is the event of its success.
    mine = [event for event in events if _name(event) in expected]
    killed = {_name(e): _at(e) for e in reversed(mine) if e["Action"] == "kill"}
    died = {_name(e): _at(e) for e in mine if e["Action"] == "die"}
    started = {_name(e): _at(e) for e in mine if e["Action"] == "start"}
    others = [e for e in events if _name(e) not in expected]
    backup_from = min(_at(e) for e in others if e["Action"] == "start")
    backup_to = max(_at(e) for e in others if e["Action"] == "die")
    backup = backup_to - backup_from
    slowest_stop = max(died[name] - killed[name] for name in expected)
    slowest_start, alone = max(timed.starts), _slowest_start(engine, sorted(expected))
    down = max(started.values()) - min(killed.values())
    yield figure(
        "backup-once",
        f"first stop to last start, {CONTAINERS} independent containers",
        down,
        "s",
        floor=backup,
        floor_name="the backup itself",
        budget=backup + slowest_stop + slowest_start + SLACK,
        rule="backup + slowest stop + slowest start + 1 s",
        note=f"slowest stop {slowest_stop:.2f} s, slowest start {slowest_start:.2f} s; a start with nothing beside "
        f"it {alone:.2f} s",
    )


def _slowest_start(engine: TestEngine, names: list[str]) -> float:
    """Return the slowest of single starts, one after the other, of three of the containers."""
    slowest = 0.0
    with RawEngine(engine.socket) as raw:
        for name in names[:3]:
            raw.bytes_of("POST", f"/containers/{name}/stop?t=1")
            began = time.perf_counter()
            raw.bytes_of("POST", f"/containers/{name}/start")
            slowest = max(slowest, time.perf_counter() - began)
    return slowest


def _name(event: dict[str, Any]) -> str:
    return str(event["Actor"]["Attributes"].get("name", ""))


def _at(event: dict[str, Any]) -> float:
    return float(event["timeNano"]) / 1e9
