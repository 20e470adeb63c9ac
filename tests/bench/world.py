"""What is measured on: containers made fast, a config.json with many plans, and the floors."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import orjson

from tests.engine.harness import BUSYBOX, TestEngine
from tests.engine.sidecar_process import REPO

WORKERS = 8


class RawEngine(http.client.HTTPConnection):
    """One kept connection to the engine: a call costs what the engine needs, and no more."""

    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=120)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def bytes_of(self, method: str, path: str, body: object = None) -> bytes:
        """Return the whole answer, not decoded; anything but success is a failure of the benchmark."""
        data = None if body is None else orjson.dumps(body)
        self.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        answer = self.getresponse()
        raw = answer.read()
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {raw[:300]!r}")
        return raw

    def list_seconds(self) -> float:
        """Return how long the engine's own list call takes: the floor of a pass."""
        began = time.perf_counter()
        self.bytes_of("GET", "/containers/json?all=1")
        return time.perf_counter() - began


def container_body(number: int) -> dict[str, Any]:
    """Return the body that creates container ``number``: labels of Compose and ours, a volume or a bind."""
    project, service = f"stack{number // 10:04d}", f"svc{number:05d}"
    labels = {
        "com.docker.compose.project": project,
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": "1",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.config-hash": f"{number:064x}",
        "org.opencontainers.image.title": "a service like many",
        "backrest.enable": "true",
        "backrest.schedule": f"{number % 60} {number % 24} * * *",
    }
    if number % 3 == 0:
        labels["backrest.keep"] = "daily=7,weekly=4"
    if number % 5 == 0:
        labels["backrest.paths.exclude"] = "*.tmp,cache"
    volume = number % 2 == 0
    bind = f"{service}_data:/data" if volume else f"/srv/{project}/{service}:/data"
    return {
        "Image": BUSYBOX,
        "Cmd": ["true"],
        "Labels": labels,
        "HostConfig": {"NetworkMode": "none", "Binds": [bind]},
    }


def create(engine: TestEngine, numbers: Iterable[int], workers: int = WORKERS) -> float:
    """Create containers in parallel, not started; return the seconds it took."""
    began = time.perf_counter()

    def some(mine: list[int]) -> None:
        with RawEngine(engine.socket) as raw:
            for number in mine:
                raw.bytes_of("POST", f"/containers/create?name=c{number:05d}", container_body(number))

    wanted = list(numbers)
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(some, wanted[start::workers]) for start in range(workers)]:
            done.result()
    return time.perf_counter() - began


def remove(engine: TestEngine, numbers: Iterable[int], workers: int = WORKERS) -> None:
    """Remove containers in parallel; their named volumes stay."""

    def some(mine: list[int]) -> None:
        with RawEngine(engine.socket) as raw:
            for number in mine:
                with contextlib.suppress(RuntimeError):
                    raw.bytes_of("DELETE", f"/containers/c{number:05d}?force=1")

    wanted = list(numbers)
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(some, wanted[start::workers]) for start in range(workers)]:
            done.result()


def write_config(path: Path, plans: int) -> None:
    """Write a config.json with so many plans that are none of ours."""
    document = {
        "modno": 1,
        "version": 6,
        "instance": "bench",
        "repos": [REPO],
        "plans": [
            {
                "id": f"hand-made-{number:05d}",
                "repo": "main",
                "paths": [f"/srv/by-hand/{number}"],
                "excludes": ["*.tmp"],
                "schedule": {"cron": f"{number % 60} 3 * * *", "clock": "CLOCK_LOCAL"},
                "retention": {"policyTimeBucketed": {"daily": 7, "weekly": 4}},
            }
            for number in range(plans)
        ],
        "auth": {"disabled": True},
    }
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def write_seconds(like: Path) -> float:
    """Return how long fsync and rename of the same bytes take in the same directory: the floor of a write."""
    content = like.read_bytes()
    target = like.with_name("floor.bin")
    temporary = like.with_name("floor.tmp")
    began = time.perf_counter()
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds
