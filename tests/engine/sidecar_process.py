"""The sidecar as users run it: a process of its own, its log read line by line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
REPO = {"id": "main", "uri": "/repo", "guid": "0" * 64, "password": "never-shown-secret"}


def environment(**more: str) -> dict[str, str]:
    """The environment without whatever the machine has set for Docker or Backrest."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "BACKREST_"))}
    return {**clean, "PYTHONPATH": str(ROOT), **more}


def write_config(path: Path, plans: list[dict[str, Any]] | None = None, **more: Any) -> None:
    document = {"modno": 1, "version": 6, "instance": "test", "repos": [REPO], "plans": plans or [], **more}
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def plans_in(path: Path) -> dict[str, dict[str, Any]]:
    return {plan["id"]: plan for plan in orjson.loads(path.read_bytes()).get("plans", [])}


def run(*args: str, timeout: float = 60.0, **env: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [sys.executable, "-m", "sidecar", *args]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment(**env), check=False
    )


def events(output: str) -> list[dict[str, Any]]:
    """The log events of an output; every line must be one JSON object."""
    return [json.loads(line) for line in output.splitlines()]


class Sidecar:
    """A daemon, for as long as the ``with`` lasts."""

    def __init__(self, *args: str, **env: str) -> None:
        self._command = [sys.executable, "-m", "sidecar", "daemon", *args]
        self._env = environment(**env)
        self.log: list[dict[str, Any]] = []
        self.code: int | None = None

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._env
        )
        self._reader = threading.Thread(target=self._read, name="log reader")
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        if error is not None:
            for entry in self.log[-40:]:
                sys.stderr.write(f"{entry}\n")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"action": "(no JSON)", "text": line})

    def said(self, action: str, **fields: Any) -> list[dict[str, Any]]:
        """The events of that name whose fields have these values."""
        return [
            entry
            for entry in list(self.log)
            if entry.get("action") == action and all(entry.get(k) == v for k, v in fields.items())
        ]

    def wait_for(self, action: str, timeout: float = 10.0, **fields: Any) -> dict[str, Any]:
        return eventually(lambda: self.said(action, **fields), timeout)[-1]

    def stop(self, number: int = signal.SIGTERM, timeout: float = 10.0) -> tuple[int, float]:
        """Send a signal; return the exit code and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(timeout)
        return code, time.monotonic() - began


def within(look: Callable[[], Any], seconds: float) -> float:
    """Wait until ``look`` is true, at most ``seconds``; return how long it took."""
    began = time.monotonic()
    eventually(look, seconds, every=0.005)
    return time.monotonic() - began
