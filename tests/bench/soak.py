"""Many passes in one process: what grows?"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path

import orjson

from sidecar.engine.model import EngineSnapshot
from sidecar.engine.snapshot import Snapshots
from tests.bench.figures import Figure, figure
from tests.bench.passes import Pass
from tests.bench.probe import descriptors, memory, threads
from tests.bench.world import container_body, write_config

CONTAINERS = 50
GROWTH = 1.0
"""MiB that may come on top between the first tenth and the end: the allocator breathes."""


class ScriptedEngine:
    """Answers as an engine does, from memory; every hundredth look finds one container changed."""

    generation = 0
    api_version = ""

    def __init__(self) -> None:
        self.looks = 0
        self._rows = [_row(number) for number in range(CONTAINERS)]
        self._snapshots = Snapshots(self, own_ids=lambda: ())

    def fetch(self, path: str) -> bytes:
        """Give the recorded answer, as the engine's source of snapshots."""
        if path.startswith("/containers/json"):
            self.looks += 1
            changed = self.looks // 100
            rows = list(self._rows)
            # Each change has been made once within the first tenth: what is remembered of it is no growth.
            rows[changed % CONTAINERS] = _row(changed % CONTAINERS, minute=changed % 10)
            return b"[" + b",".join(rows) + b"]"
        return orjson.dumps({"Volumes": [], "ID": "soak", "DockerRootDir": "/var/lib/docker"})

    def snapshot(self) -> EngineSnapshot:
        return self._snapshots.take()

    def invalidate_volumes(self) -> None:
        self._snapshots.invalidate()


def _row(number: int, minute: int | None = None) -> bytes:
    body = container_body(number)
    labels = dict(body["Labels"])
    if minute is not None:
        labels["backrest.schedule"] = f"{minute} 5 * * *"
    source, destination = body["HostConfig"]["Binds"][0].split(":")
    mount = {"Type": "bind", "Source": f"/srv/{source.strip('/')}", "Destination": destination, "RW": True}
    row = {
        "Id": f"{number:064x}",
        "Names": [f"/c{number:05d}"],
        "Image": "busybox",
        "ImageID": "",
        "Created": 1_700_000_000,
        "State": "running",
        "Labels": labels,
        "Mounts": [mount],
    }
    return orjson.dumps(row)


def soak(folder: Path, passes: int) -> Iterator[Figure]:
    """Give what grew over so many passes."""
    config = folder / "soak.json"
    write_config(config, 10)
    ours = Pass(config, ScriptedEngine())  # type: ignore[arg-type]  # the two calls that a pass makes
    early = max(1, passes // 10)
    for _ in range(early):
        ours.run()
    gc.collect()
    before = memory(), threads(), descriptors(), len(gc.get_objects())
    began = time.perf_counter()
    for _ in range(passes - early):
        ours.run()
    seconds = time.perf_counter() - began
    gc.collect()
    after = memory(), threads(), descriptors(), len(gc.get_objects())
    of = f"over {passes:,} passes"
    yield figure(
        "soak", f"resident memory grown {of}", after[0].resident - before[0].resident, "MiB", budget=GROWTH
    )
    yield figure("soak", f"threads grown {of}", float(after[1] - before[1]), "", budget=0.0)
    yield figure("soak", f"descriptors grown {of}", float(after[2] - before[2]), "", budget=0.0)
    yield figure(
        "soak",
        f"objects grown {of}",
        float(after[3] - before[3]),
        "",
        budget=1000.0,
        note=f"{seconds / (passes - early) * 1e6:.0f} µs a pass, {ours.board.facts.writes:,} of them with a write",
    )
