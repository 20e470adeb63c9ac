"""Two engines in network namespaces of their own, joined by a virtual cable into one swarm."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.engine.busybox import search_path
from tests.engine.harness import TestEngine

ADDRESSES = ("198.18.7.1", "198.18.7.2")  # RFC 2544: for tests, routed nowhere


@dataclass(frozen=True, slots=True)
class Pair:
    """A manager and a worker."""

    manager: TestEngine
    worker: TestEngine


def names() -> tuple[str, str]:
    """Return the names of the two namespaces, which are the nodes' host names too."""
    return (f"bs{os.getpid()}a", f"bs{os.getpid()}b")


def _ip(*args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": search_path()}
    return subprocess.run(["ip", *args], capture_output=True, text=True, env=env, check=False)


def make_cable() -> str:
    """Make the namespaces and the cable; return why that cannot be done, or nothing."""
    one, other = names()
    steps: list[tuple[str, ...]] = [("netns", "add", one), ("netns", "add", other)]
    steps += [("link", "add", "cable", "netns", one, "type", "veth", "peer", "name", "cable", "netns", other)]
    for name, address in zip((one, other), ADDRESSES, strict=True):
        steps += [("-n", name, "address", "add", f"{address}/30", "dev", "cable")]
        steps += [("-n", name, "link", "set", device, "up") for device in ("lo", "cable")]
    for step in steps:
        done = _ip(*step)
        if done.returncode:
            remove_cable()
            return f"ip {' '.join(step)}: {done.stderr.strip()}"
    return ""


def remove_cable() -> None:
    """Remove the namespaces, and the cable with them."""
    for name in names():
        _ip("netns", "delete", name)


@contextmanager
def joined() -> Iterator[Pair]:
    """Yield both engines in one swarm. The cable must be there."""
    one, other = names()
    with TestEngine(netns=one) as manager, TestEngine(netns=other) as worker:
        here, there = (f"{address}:2377" for address in ADDRESSES)
        manager.docker("swarm", "init", "--advertise-addr", ADDRESSES[0], "--listen-addr", here)
        token = manager.docker("swarm", "join-token", "--quiet", "worker").strip()
        address = ("--advertise-addr", ADDRESSES[1], "--listen-addr", there)
        worker.docker("swarm", "join", "--token", token, *address, here)
        yield Pair(manager, worker)
        worker.docker("swarm", "leave", "--force")
        manager.docker("swarm", "leave", "--force")
