"""``make bench``: every figure beside its floor and its budget, as a table and as JSON.

It starts an engine of its own and needs root. Figures are medians; a budget that is missed is shown as missed, and
does not fail the run.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from sidecar import __version__, log
from tests.bench import daemon, world
from tests.bench.downtime import downtime
from tests.bench.figures import Figure, table
from tests.bench.passes import measure
from tests.bench.probe import machine
from tests.bench.soak import soak
from tests.bench.start import start
from tests.bench.world import write_config
from tests.engine import backrest_container
from tests.engine.backrest_container import BackrestContainer
from tests.engine.harness import TestEngine, missing

RESULTS = Path(__file__).resolve().parents[2] / "bench-results"
PARTS = ("start", "idle", "latency", "window", "storm", "pass", "soak", "backup-once")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        sizes: Numbers of containers for a pass.
        plans: Numbers of plans in config.json, at :attr:`plans_at` containers.
        plans_at: See :attr:`plans`.
        rounds: Repetitions of a pass.
        starts: Repetitions of a command.
        samples: Events for the latency.
        at: Containers while latency is measured, about.
        idle: Seconds of watching an idle daemon.
        execs: Exec events.
        burst: Containers of the creation storm.
        soak: Passes of the soak.
        windows: Values of ``--debounce`` that are compared.
    """

    sizes: tuple[int, ...] = (10, 100, 1000, 5000)
    plans: tuple[int, ...] = (1000, 10_000)
    plans_at: int = 1000
    rounds: int = 30
    starts: int = 15
    samples: int = 100
    at: int = 500
    idle: float = 60.0
    execs: int = 10_000
    burst: int = 1000
    soak: int = 100_000
    windows: tuple[float, ...] = (0.1, 0.3, 0.6, 1.0)


QUICK = Scale(
    sizes=(10, 100),
    plans=(1000,),
    plans_at=100,
    rounds=10,
    starts=5,
    samples=10,
    at=100,
    idle=15.0,
    execs=1000,
    burst=100,
    soak=3000,
    windows=(0.1, 0.3),
)


class Bench:
    """One engine, filled further and further, and the parts that are measured on it in the order of its size."""

    def __init__(self, engine: TestEngine, folder: Path, scale: Scale, parts: frozenset[str]) -> None:
        self.engine = engine
        self.folder = folder
        self.scale = scale
        self.parts = parts
        self._there = 0
        self._next = 90_000

    def run(self) -> Iterator[Figure]:
        """Give figure after figure."""
        scale = self.scale
        if "backup-once" in self.parts:
            yield from downtime(self.engine, self._place("backup"))
            self.engine.clean()
        if "storm" in self.parts:
            yield from daemon.exec_storm(self.engine, self._config("exec"), scale.execs, 60)
            config = self._config("burst")
            yield from daemon.creation_storm(self.engine, config, self._spare(scale.burst), scale.burst)
            self.engine.clean()
            yield from self._apply_storm()
            self.engine.clean()
        at_sizes: dict[int, list[Callable[[], Iterator[Figure]]]] = {size: [] for size in scale.sizes}
        for size in scale.sizes if "pass" in self.parts else ():
            at_sizes[size].append(lambda size=size: self._pass(size, 10))  # type: ignore[misc]  # default
        if "pass" in self.parts:
            for plans in scale.plans:
                at_sizes.setdefault(scale.plans_at, []).append(
                    lambda plans=plans: self._pass(scale.plans_at, plans)  # type: ignore[misc]  # default
                )
        hundred = at_sizes.setdefault(100, [])
        if "start" in self.parts:
            hundred.append(lambda: start(self.engine, self._place("start"), scale.starts))
        if "idle" in self.parts:
            hundred.append(lambda: daemon.idle(self.engine, self._config("idle"), scale.idle))
        if "window" in self.parts:
            hundred.append(
                lambda: daemon.windows(self.engine, self._place("window"), self._spare(20), scale.windows)
            )
        if "latency" in self.parts:
            at_sizes.setdefault(scale.at, []).append(self._latency)
        for size in sorted(size for size, work in at_sizes.items() if work):
            self._grow(size)
            for work in at_sizes[size]:
                gc.collect()
                yield from work()
        if "soak" in self.parts:
            yield from soak(self._place("soak"), scale.soak)

    def _apply_storm(self) -> Iterator[Figure]:
        """The same with a Backrest that has to be restarted for it; the double of the tests stands in."""
        image = backrest_container.make_image(self.engine, "double")
        config = self._config("apply")
        BackrestContainer(self.engine, "double", image, config.parent)
        first = self._spare(self.scale.burst)
        flags = ("--apply", "--apply-mode=restart", "--path-view=host")
        yield from daemon.creation_storm(self.engine, config, first, self.scale.burst, *flags, restarts=1)

    def _pass(self, size: int, plans: int) -> Iterator[Figure]:
        return measure(self.engine, self._place("pass"), size, plans, self.scale.rounds)

    def _latency(self) -> Iterator[Figure]:
        first = self._spare(self.scale.samples)
        yield from daemon.latency(
            self.engine, self._config("latency"), first, self.scale.samples, self.scale.at
        )
        world.remove(self.engine, range(first, first + self.scale.samples))

    def _grow(self, size: int) -> None:
        world.create(self.engine, range(self._there, size))
        self._there = max(self._there, size)

    def _spare(self, count: int) -> int:
        """Return the first of so many numbers that no other container has."""
        self._next -= count
        return self._next

    def _place(self, name: str) -> Path:
        place = self.folder / name
        place.mkdir(exist_ok=True)
        return place

    def _config(self, name: str) -> Path:
        config = self._place(name) / "config.json"
        write_config(config, 10)
        return config


def main() -> int:
    """Measure and print; return 0, or 1 when nothing can be measured here."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, a minute or two")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--sizes", default="", help="numbers of containers for a pass, e.g. 10,1000")
    parser.add_argument("--soak", type=int, default=0, help="passes of the soak")
    parser.add_argument("--samples", type=int, default=0, help="events for the latency")
    given = parser.parse_args()
    if reason := missing():
        sys.stderr.write(f"bench: {reason}\n")
        return 1
    parts = frozenset(part.strip() for part in given.parts.split(","))
    if unknown := parts - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    scale = _scaled(QUICK if given.quick else Scale(), given)
    log.configure("json", "error", sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # told to stop, it still ends its engine
    figures: list[Figure] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as folder,
        TestEngine(keep_network=True) as engine,
    ):
        facts = machine(engine.call("GET", "/version") | {"Driver": engine.call("GET", "/info")["Driver"]})
        try:
            for one in Bench(engine, Path(folder), scale, parts).run():
                figures.append(one)
                sys.stderr.write(f"{one.part}: {one.name}: {one.value:.3f} {one.unit} {one.verdict}\n")
                sys.stderr.flush()
        finally:  # cut short, what has been measured is told all the same
            _report(facts, figures)
    return 0


def _report(facts: dict[str, object], figures: list[Figure]) -> None:
    described = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items())
    sys.stdout.write(f"backrest-sidecar {__version__}; {described}\n\n{table(figures)}\n")
    missed = [one for one in figures if one.verdict == "MISSED"]
    held = sum(one.budget is not None for one in figures) - len(missed)
    sys.stdout.write(f"\n{held} budgets met, {len(missed)} missed\n")
    sys.stdout.flush()
    _keep(facts, figures)


def _scaled(scale: Scale, given: argparse.Namespace) -> Scale:
    from dataclasses import replace

    changes: dict[str, object] = {}
    if given.sizes:
        changes["sizes"] = tuple(int(size) for size in given.sizes.split(","))
        changes["plans_at"] = max(s for s in changes["sizes"] if s <= 1000)  # type: ignore[attr-defined]  # a tuple
    if given.soak:
        changes["soak"] = given.soak
    if given.samples:
        changes["samples"] = given.samples
    return replace(scale, **changes)  # type: ignore[arg-type]  # checked by the dataclass's own fields


def _keep(facts: dict[str, object], figures: list[Figure]) -> None:
    RESULTS.mkdir(exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    document = {
        "version": __version__,
        "taken": now.isoformat(timespec="seconds"),
        "machine": facts,
        "figures": [one.plain() for one in figures],
    }
    raw = orjson.dumps(document, option=orjson.OPT_INDENT_2)
    for name in (f"{now:%Y%m%d-%H%M%S}.json", "latest.json"):
        (RESULTS / name).write_bytes(raw)


if __name__ == "__main__":
    sys.exit(main())
