"""Takes away what an engine can leave behind: processes, mounts, control groups. Only what bears its own folder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from tests.waiting import eventually


def processes_of(folder: Path) -> set[int]:
    """Return the processes that name ``folder`` on their command line, and all their descendants."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(entry.name)
            parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if str(folder).encode() in (entry / "cmdline").read_bytes() and _is_engine(entry):
                found.add(pid)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found - {os.getpid()}


def _is_engine(entry: Path) -> bool:
    name = (entry / "comm").read_text().strip()
    return name.startswith(("dockerd", "containerd", "docker-proxy", "runc"))


def catches(pid: int, signum: int) -> bool:
    """Whether the process has a handler for the signal; one that is gone has nothing to wait for."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return True
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")), 0)
    return bool(caught >> (signum - 1) & 1)


def kill_processes(folder: Path, timeout: float = 10.0) -> None:
    """Kill what the engine of ``folder`` left running, and wait until it is gone."""

    def none_left() -> bool:
        left = {pid for pid in processes_of(folder) if not _zombie(pid)}
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    eventually(none_left, timeout)


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def kill_containerd(folder: Path, timeout: float = 10.0) -> None:
    """Kill the engine's containerd and wait; its shims, and so the containers, live on."""

    def gone() -> bool:
        left = [pid for pid in processes_of(folder) if not _zombie(pid) and _name(pid) == "containerd"]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    eventually(gone, timeout)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def unmount(folder: Path) -> None:
    """Unmount everything below ``folder`` in this mount namespace, innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split(" ")[4] for line in lines]
    for point in reversed([p for p in points if p == str(folder) or p.startswith(f"{folder}/")]):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)


def remove_cgroups(name: str) -> None:
    """Remove the control groups called ``name`` in every hierarchy, v1 or v2."""
    root = Path("/sys/fs/cgroup")
    for top in [*root.glob(name), *root.glob(f"*/{name}")]:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
