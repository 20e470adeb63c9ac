"""``reconcile --apply`` on a real engine, killed with ``kill -9`` at each of its steps, and run once more.

Run as ``python -m tests.faults.engine_kills CONFIG ENGINE ROUNDS``; prints one JSON object. A step is the moment
before or after a call that changes something: stop, start, the swap of the file, each save of the state. The waits
for an idle Backrest and for one that is up are shortened; nothing else is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from sidecar.backrest import container, idle
from sidecar.cli import run
from sidecar.engine.client import Engine
from sidecar.store.config_store import ConfigStore
from sidecar.store.state_store import StateStore

PLAN = "backrest_sidecar_web"
CHANGES = ((Engine, "stop"), (ConfigStore, "replace"), (StateStore, "save"), (Engine, "start"))


class Steps:
    """Counts the steps of this process, and kills it at one of them."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self.names: list[str] = []
        for owner, name in CHANGES:
            setattr(owner, name, self._watched(name, getattr(owner, name)))

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self._step(f"before {name}")
            found = real(*args, **options)
            self._step(f"after {name}")
            return found

        return call

    def _step(self, name: str) -> None:
        if len(self.names) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(name)


def apply(config: Path, engine: str, schedule: str, kill_at: int = -1) -> tuple[int, list[str]]:
    """Run the command in a process of its own; return its wait status and the names of its steps."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        container.UP_AFTER, idle.LOOKS_APART, idle.BLIND = 0.3, 0.1, 0.1  # type: ignore[attr-defined]
        steps = Steps(kill_at)
        with config.with_name("sidecar.log").open("a") as log, contextlib.redirect_stdout(log):
            code = run([
                "reconcile", "--apply", "--config", str(config), "--docker-sock", engine, "--path-view", "host",
                "--restart-timeout", "2s", "--default-schedule", schedule,
            ])  # fmt: skip
        os.write(writer, json.dumps(steps.names).encode())
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    return status, json.loads(said or "[]")


def rounds(config: Path, engine: str, count: int) -> dict[str, Any]:
    """Kill and run again ``count`` times; the steps take turns."""
    found: dict[str, Any] = {"rounds": 0, "found_down": 0, "running_in_the_end": 0, "wrong": []}
    apply(config, engine, "59 4 1 1 *")  # the first run has more to remember
    status, names = apply(config, engine, "59 3 1 1 *")
    assert status == 0, config.with_name("sidecar.log").read_text()[-3000:]
    found["steps"] = names
    eyes = Engine(engine, environ={})
    for number in range(count):
        schedule = f"{number % 59} {number // 59} 1 1 *"
        # Evenly over all steps, whatever the count.
        kill_at = number * len(names) // count if count < len(names) else number % len(names)
        status, _ = apply(config, engine, schedule, kill_at)
        assert os.WIFSIGNALED(status), f"not killed at step {kill_at}"
        state = eyes.find("backrest")
        found["found_down"] += state is not None and not state.running
        status, _ = apply(config, engine, schedule)
        state = eyes.find("backrest")
        up = state is not None and state.running
        found["running_in_the_end"] += up
        found["rounds"] += 1
        plans = {plan["id"]: plan for plan in orjson.loads(config.read_bytes())["plans"]}
        kept = orjson.loads((config.parent / ".backrest-sidecar" / "state.json").read_bytes())
        right = (
            up
            and os.waitstatus_to_exitcode(status) in {0, 2}
            and plans[PLAN]["schedule"]["cron"] == schedule
            and not (kept.get("owed") or kept.get("stopped"))
            and not list(config.parent.glob(".config.json*"))
        )
        if not right:
            found["wrong"].append([number, names[kill_at], up, status, kept.get("owed"), kept.get("stopped")])
    eyes.close()
    return found


if __name__ == "__main__":
    json.dump(rounds(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])), sys.stdout)
