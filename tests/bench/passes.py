"""How long a pass takes, beside the engine's own list call: by number of containers, and by number of plans."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sidecar.apply.config_file import ConfigFile, Latest
from sidecar.commands.wiring import writing
from sidecar.engine.client import Engine
from sidecar.engine.source import Source
from sidecar.messages import PlansRendered, RendererInbox
from sidecar.settings.settings import resolve
from sidecar.status.announcer import Announcer
from sidecar.status.board import StatusBoard
from sidecar.supervision.child import Context
from sidecar.supervision.mailbox import Mailbox
from sidecar.supervision.messages import Stop
from tests.bench.figures import Figure, Sample, figure
from tests.bench.world import RawEngine, write_config, write_seconds
from tests.engine.harness import TestEngine
from workers.renderer import Renderer

PART = "pass"


class Pass:
    """A daemon's renderer and writer in this thread: the whole pass, without the queues in between."""

    def __init__(self, config: Path, source: Source) -> None:
        self.settings = resolve("daemon", {"config": str(config), "config-mode": "preserve"}, {})
        self._out: Mailbox[PlansRendered] = Mailbox(1)
        looks: Mailbox[RendererInbox] = Mailbox(1)
        board = StatusBoard()
        latest = Latest()
        file = ConfigFile(self.settings, now=time.time, read_only=True, latest=latest)
        self.renderer = Renderer(
            self.settings, source, file, looks, self._out, time.monotonic, Announcer(board)
        )
        self.context = Context("bench", threading.Event(), lambda _seconds: None, lambda _report: None)
        parts = writing(
            self.settings,
            source,
            Announcer(board),
            board.reported,
            stop=self.context.stop,
            patient=True,
            latest=latest,
        )
        self.applier = parts.applier
        self.board = board

    def run(self) -> float:
        """Make one pass, from looking at the engine to the file on the disk; return its seconds."""
        began = time.perf_counter()
        if not self.renderer.look(time.monotonic()):
            raise RuntimeError("a pass failed")
        wish = self._out.take(0)
        assert wish is not None
        assert wish is not Stop.STOP
        self.applier.want(wish)
        while self.applier.step() is not None:
            pass
        seconds = time.perf_counter() - began
        if self.board.facts.failure is not None:
            raise RuntimeError(f"a write failed: {self.board.facts.failure.reason}")
        return seconds


@dataclass(frozen=True, slots=True)
class _Measured:
    listing: Sample
    first: Sample
    warm: Sample
    ratio: Sample
    changed: Sample
    write: Sample


def measure(engine: TestEngine, folder: Path, containers: int, plans: int, rounds: int) -> Iterator[Figure]:
    """Give the figures of a pass on the containers that are there now, over a config.json with so many plans."""
    found = _measure(engine, folder, plans, rounds)
    of = f"{containers:,} containers" + (f", {plans:,} plans by hand" if plans != 10 else "")
    floor = {"floor": found.listing.median * 1000, "floor_name": "list"}
    yield figure(PART, f"engine's list, {of}", _ms(found.listing), "ms")
    budget = 1.15 * found.listing.median * 1000 + 10
    yield figure(
        PART,
        f"warm pass, {of}",
        _ms(found.warm),
        "ms",
        **floor,
        budget=budget,
        rule="1.15 × list + 10 ms",
    )
    yield figure(PART, f"warm pass above the list call before it, {of}", _ms(found.ratio), "ms")
    yield figure(PART, f"first pass of a process, {of}", _ms(found.first), "ms", **floor)
    both = (found.listing.median + found.write.median) * 1000
    yield figure(
        PART,
        f"pass that writes one change, {of}",
        _ms(found.changed),
        "ms",
        floor=both,
        floor_name="list + write",
    )
    yield figure(PART, f"fsync and rename of the same bytes, {of}", _ms(found.write), "ms")


def _measure(engine: TestEngine, folder: Path, plans: int, rounds: int) -> _Measured:
    config = folder / f"config-{plans}.json"
    first: list[float] = []
    for _ in range(3):
        write_config(config, plans)
        cold = Pass(config, Engine(str(engine.socket)))
        first.append(cold.run())
        _forget(folder)
    write_config(config, plans)
    ours = Pass(config, Engine(str(engine.socket)))
    ours.run()
    ours.run()
    listing, warm, above, changed, write = [], [], [], [], []
    with RawEngine(engine.socket) as raw:
        raw.list_seconds()
        # In turn, so that a slower moment of the machine meets both.
        for _ in range(rounds):
            floor = raw.list_seconds()
            took = ours.run()
            listing.append(floor)
            warm.append(took)
            above.append(took - floor)
        name, other = "c00000", "other"
        for _ in range(min(rounds, 10)):
            raw.bytes_of("POST", f"/containers/{name}/rename?name={other}")
            _touch(config)
            changed.append(ours.run())
            write.append(write_seconds(config))
            name, other = other, name
        if name != "c00000":
            raw.bytes_of("POST", f"/containers/{name}/rename?name=c00000")
    _forget(folder)
    return _Measured(*map(Sample.of, (listing, first, warm, above, changed, write)))


def _touch(config: Path) -> None:
    """Take one of our plans away, so that the next pass has something to write."""
    text = config.read_bytes()
    at = text.find(b'"backrest_sidecar_svc00000"')
    if at < 0:
        raise RuntimeError("the plan of the first container is missing")
    where = text.find(b'"cron": "', at)
    end = text.find(b'"', where + 9)
    temporary = config.with_name("edit.tmp")
    temporary.write_bytes(text[: where + 9] + b"1 1 1 1 *" + text[end:])
    temporary.replace(config)


def _forget(folder: Path) -> None:
    """Remove the state, so that the next process begins anew."""
    for path in (folder / ".backrest-sidecar").glob("*"):
        if path.is_file():
            path.unlink()


def _ms(sample: Sample) -> Sample:
    return Sample(tuple(value * 1000 for value in sample.values))
