"""What the kernel counts of a process: memory, processor time, wake-ups, threads, descriptors. Linux only."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARIES = "import click, croniter, docker, orjson, pydantic, watchfiles; pydantic.BaseModel"
"""What a process has to import that uses them, whatever it does with them."""

_pause = threading.Event()  # never set


def rest(seconds: float) -> None:
    """Let time pass: what is measured goes on meanwhile."""
    _pause.wait(seconds)


@dataclass(frozen=True, slots=True)
class Memory:
    """In MiB; ``private`` is what no other process shares, whether written to or not."""

    resident: float
    private: float


def memory(pid: int | str = "self") -> Memory:
    """Return the memory of a process now."""
    counts: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest_of_line = line.partition(":")
        counts[name] = int(rest_of_line.split()[0])
    private = counts["Private_Clean"] + counts["Private_Dirty"]
    return Memory(counts["Rss"] / 1024, private / 1024)


def cpu_seconds(pid: int | str = "self") -> float:
    """Return the processor time of all threads that live, to the nanosecond where the kernel keeps it."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue  # a thread that has just ended
    return total / 1e9


def wakeups(pid: int) -> int:
    """Return how often its threads have gone to sleep, which is how often they had been woken."""
    return sum(wakeups_by_thread(pid).values())


def wakeups_by_thread(pid: int) -> dict[str, int]:
    """Return the same by thread: name and number."""
    found: dict[str, int] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                found[f"{(task / 'comm').read_text().strip()} {task.name}"] = int(line.split()[1])
    return found


def threads(pid: int | str = "self") -> int:
    """Return the number of threads."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


def descriptors(pid: int | str = "self") -> int:
    """Return the number of open file descriptors."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@dataclass(frozen=True, slots=True)
class Run:
    """One whole process: seconds on the clock, seconds of a processor, exit code."""

    wall: float
    cpu: float
    code: int


def run(command: Sequence[str], env: Mapping[str, str]) -> Run:
    """Run a command to its end, its output thrown away."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    return Run(wall, cpu, process.returncode)


def machine(engine: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the machine; nothing in it tells whose it is or where anything lies."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "engine": engine.get("Version", "?"),
        "storage": engine.get("Driver", "?"),
        "load": round(os.getloadavg()[0], 2),
        "descriptor_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "spin_ms": spin(),
    }


def spin() -> float:
    """Return how many milliseconds a fixed piece of Python takes here: to compare machines, and the noise."""

    def once() -> float:
        began = time.perf_counter()
        sum(i * i for i in range(200_000))
        return (time.perf_counter() - began) * 1000

    return round(statistics.median(once() for _ in range(9)), 2)
