"""What needs a real daemon process: latency, windows, storms, and what it costs when nothing happens."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from tests.bench import world
from tests.bench.figures import Figure, Sample, figure
from tests.bench.listener import Moments
from tests.bench.probe import (
    LIBRARIES,
    Memory,
    cpu_seconds,
    descriptors,
    memory,
    rest,
    threads,
    wakeups_by_thread,
)
from tests.bench.world import RawEngine, write_config
from tests.engine.harness import BUSYBOX, TestEngine
from tests.engine.sidecar_process import Sidecar
from tests.waiting import eventually


class Daemon(Sidecar):
    """A daemon on a config.json of its own, and what it says of itself in its status file."""

    def __init__(self, engine: TestEngine, config: Path, *flags: str) -> None:
        super().__init__(
            *(
                f"--config={config}",
                f"--docker-sock={engine.socket}",
                "--with-events",
                "--config-mode=preserve",
            ),
            *flags,
        )
        self.config = config

    def __enter__(self) -> Self:
        super().__enter__()
        self.wait_for("engine.connected", 60)
        eventually(lambda: self.counts().get("reconciles", 0) > 0, 60)
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    def status(self) -> dict[str, Any]:
        """Return the status file; it is at most two seconds old when something has changed."""
        try:
            found: dict[str, Any] = json.loads(
                (self.config.parent / ".backrest-sidecar" / "status.json").read_bytes()
            )
        except FileNotFoundError:
            return {}
        return found

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.status().get("counts", {})
        return counts

    def settled(self, seconds: float = 4.0) -> dict[str, int]:
        """Wait until its counts have not changed for so long; return them."""
        counts = self.counts()
        since = time.monotonic()
        while time.monotonic() - since < seconds:
            rest(0.5)
            now = self.counts()
            if (now.get("reconciles"), now.get("writes")) != (counts.get("reconciles"), counts.get("writes")):
                since = time.monotonic()
            counts = now
        return counts

    def has(self, plan: str) -> bool:
        return f'"{plan}"'.encode() in self.config.read_bytes()


def latency(engine: TestEngine, config: Path, first: int, samples: int, containers: int) -> Iterator[Figure]:
    """Give the time from an event to config.json on the disk: of single changes with quiet between them."""
    took: list[float] = []
    lists: list[float] = []
    with Daemon(engine, config) as daemon, Moments(engine) as moments, RawEngine(engine.socket) as raw:
        daemon.settled(3)
        for number in range(first, first + samples):
            inode = config.stat().st_ino
            raw.bytes_of("POST", f"/containers/create?name=c{number:05d}", world.container_body(number))
            ends = time.monotonic() + 20
            while config.stat().st_ino == inode and time.monotonic() < ends:
                rest(0.001)
            now = time.time()
            eventually(lambda number=number: f"c{number:05d}" in moments.created, 5)  # type: ignore[misc]  # default
            if not daemon.has(f"backrest_sidecar_svc{number:05d}"):
                raise RuntimeError("config.json was written without the plan")
            took.append((now - moments.created[f"c{number:05d}"]) * 1000)
            rest(0.8)
            lists.append(raw.list_seconds() * 1000)
            rest(0.2)
    whole, floor = Sample.of(took), Sample.of(lists)
    p50 = 1.3 * floor.median + 15
    more: dict[str, Any] = {"floor": floor.median, "floor_name": "list"}
    yield figure("latency", f"engine's list, {containers:,} containers", floor, "ms")
    yield figure("latency", "event to disk, p50", whole, "ms", **more, budget=p50, rule="1.3 × list + 15 ms")
    yield figure(
        "latency",
        "event to disk, p99",
        whole.quantile(0.99),
        "ms",
        **more,
        budget=3 * p50,
        rule="3 × that",
        note=f"p90 {whole.quantile(0.9):.0f} ms, largest of {samples}: {whole.values[-1]:.0f} ms",
    )


def windows(engine: TestEngine, folder: Path, first: int, lengths: tuple[float, ...]) -> Iterator[Figure]:
    """Give what different windows make of a burst: twenty containers, one every 150 ms, as Compose makes them."""
    for length in lengths:
        config = folder / f"window-{length}.json"
        write_config(config, 10)
        with Daemon(engine, config, f"--debounce={length}s") as daemon, RawEngine(engine.socket) as raw:
            before = daemon.settled(3)
            spent = cpu_seconds(daemon.pid)
            numbers = range(first, first + 20)
            for number in numbers:
                raw.bytes_of("POST", f"/containers/create?name=c{number:05d}", world.container_body(number))
                rest(0.15)
            last = time.monotonic()
            plan = f"backrest_sidecar_svc{numbers[-1]:05d}"
            eventually(lambda daemon=daemon, plan=plan: daemon.has(plan), 30, every=0.01)  # type: ignore[misc]  # the same
            late = time.monotonic() - last
            after = daemon.settled(3)
            spent = cpu_seconds(daemon.pid) - spent
        world.remove(engine, numbers)
        passes, writes = (after[key] - before[key] for key in ("reconciles", "writes"))
        yield figure(
            "window",
            f"--debounce {length:g}s: from the last of 20 containers to disk",
            late * 1000,
            "ms",
            note=f"{passes} passes, {writes} writes, {spent * 1000:.0f} ms of a processor",
        )


def idle(engine: TestEngine, config: Path, seconds: float) -> Iterator[Figure]:
    """Give what an idle daemon costs: memory, processor, wake-ups."""
    with Daemon(engine, config) as daemon:
        daemon.settled(5)
        rest(5)
        before = wakeups_by_thread(daemon.pid)
        spent, began = cpu_seconds(daemon.pid), time.monotonic()
        rest(seconds)
        spent, lasted = cpu_seconds(daemon.pid) - spent, time.monotonic() - began
        after = wakeups_by_thread(daemon.pid)
        used = memory(daemon.pid)
        counts = threads(daemon.pid), descriptors(daemon.pid)
    each = {name: (count - before.get(name, 0)) / lasted for name, count in after.items()}
    bare, libraries = _memory_with("import sys"), _memory_with(f"import sys; {LIBRARIES}")
    floor = {"floor_name": "bare interpreter"}
    yield figure("idle", "resident memory", used.resident, "MiB", floor=bare.resident, **floor, budget=40.0)
    yield figure("idle", "private memory", used.private, "MiB", floor=bare.private, **floor, budget=25.0)
    yield figure(
        "idle", "resident memory of the libraries, imported and nothing else", libraries.resident, "MiB"
    )
    yield figure("idle", "private memory of the libraries", libraries.private, "MiB")
    yield figure("idle", f"share of a core over {lasted:.0f} s", 100 * spent / lasted, "%", budget=0.1)
    yield figure(
        "idle",
        "wake-ups a second, all threads",
        sum(each.values()),
        "",
        budget=2.0,
        note=f"{counts[0]} threads, {counts[1]} descriptors; by thread: "
        + ", ".join(f"{value:.2f}" for value in sorted(each.values(), reverse=True)),
    )


def _memory_with(imports: str) -> Memory:
    with subprocess.Popen(
        [sys.executable, "-c", f"{imports}; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as bare:
        assert bare.stdout is not None
        bare.stdout.readline()
        return memory(bare.pid)


def exec_storm(engine: TestEngine, config: Path, events: int, longest: float) -> Iterator[Figure]:
    """Give what events cost that can change no plan: exec, as health checks make them all day."""
    engine.run_container("target", image=BUSYBOX)
    with Daemon(engine, config) as daemon:
        before = daemon.settled(4)
        spent, began = cpu_seconds(daemon.pid), time.monotonic()
        made = _execs(engine, events, longest)
        lasted = time.monotonic() - began
        spent = cpu_seconds(daemon.pid) - spent
        after = daemon.settled(3)
    engine.remove("target")
    of = f"{made:,} exec events in {lasted:.0f} s"
    yield figure("storm", f"passes, {of}", float(after["reconciles"] - before["reconciles"]), "", budget=0.0)
    yield figure("storm", f"share of a core, {of}", 100 * spent / lasted, "%", budget=1.0)


def _execs(engine: TestEngine, events: int, longest: float) -> int:
    """Emit so many exec_create events, or as many as the engine can in that time; return how many it were."""
    ends = time.monotonic() + longest
    body = {"Cmd": ["true"], "AttachStdout": False}

    def some(count: int) -> int:
        with RawEngine(engine.socket) as raw:
            for done in range(count):
                if time.monotonic() > ends:
                    return done
                raw.bytes_of("POST", "/containers/target/exec", body)
        return count

    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(some, [events // 4] * 4))


def creation_storm(
    engine: TestEngine, config: Path, first: int, count: int, *flags: str, restarts: int | None = None
) -> Iterator[Figure]:
    """Give what so many new containers at once cost in passes and writes, and with ``--apply`` in restarts."""
    with Daemon(engine, config, *flags) as daemon:
        before = daemon.settled(4)
        spent = cpu_seconds(daemon.pid)
        lasted = world.create(engine, range(first, first + count))
        began = time.monotonic()
        plans = [f'"backrest_sidecar_svc{number:05d}"'.encode() for number in range(first, first + count)]

        def all_there() -> bool:
            text = config.read_bytes()
            return all(plan in text for plan in plans)

        eventually(all_there, 90, every=0.05)
        late = time.monotonic() - began
        if restarts is not None:
            eventually(lambda: daemon.counts()["restarts"] > before["restarts"], 120)
        after = daemon.settled(
            4 if restarts is None else 20
        )  # a second restart would come within the settle time
        spent = cpu_seconds(daemon.pid) - spent
    of = f"{count:,} containers created in {lasted:.1f} s{' with --apply' if flags else ''}"
    passes, writes = (float(after[key] - before[key]) for key in ("reconciles", "writes"))
    if restarts is None:
        yield figure("storm", f"passes, {of}", passes, "", budget=5.0)
    else:
        note = (
            "with those that the restart itself calls for: Backrest ends, starts, and config.json has changed"
        )
        yield figure("storm", f"passes, {of}", passes, "", note=note)
    yield figure("storm", f"writes, {of}", writes, "", budget=2.0)
    if restarts is not None:
        made = float(after["restarts"] - before["restarts"])
        yield figure("storm", f"restarts of Backrest, {of}", made, "", budget=float(restarts))
        return
    yield figure(
        "storm",
        f"from the last of {count:,} containers to disk",
        late,
        "s",
        note=f"{spent:.2f} s of a processor in all",
    )
