"""Real mounts for the tests, in a mount namespace that dies with its process.

Code under test runs inside it as a Python child: what a mount does to a file is the kernel's own doing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPLACE = """
import json, os, sys, time
from pathlib import Path
from sidecar.store.config_store import ConfigStore
from sidecar.store.lock import LockError
from sidecar.store.errors import StoreError
path, state, uid, mode = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if uid:
    os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
store = ConfigStore(path, mode=None if mode == "preserve" else int(mode, 8), state_dir=state, clock=time.time)
out = {"error": "", "message": "", "notes": [], "exchange": None, "errno": 0, "locked": ""}
try:
    with store.lock():
        out["locked"] = "yes"
except LockError as error:
    out["locked"] = str(error)
try:
    loaded = store.read()
    done = store.replace(sys.stdin.buffer.read(), loaded.fingerprint)
    store.settle()
    out["notes"] = [*loaded.notes, *done.notes]
except StoreError as error:
    out["error"], out["message"] = type(error).__name__, str(error)
    out["errno"] = getattr(error, "errno", 0)
out["exchange"] = store.exchange_supported
print(json.dumps(out))
"""
"""A child that replaces a config.json once and tells what it saw."""


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
"""A child that enters another mount namespace also changes its directory."""


class NotAllowed(Exception):
    """The machine lets us make no mount namespace."""


class Namespace:
    """A process in a mount namespace (and, without root, a user namespace) of its own.

    Raises:
        NotAllowed: There is no ``unshare``, or the kernel refuses.
    """

    def __init__(self) -> None:
        flags = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
        try:
            self._holder = subprocess.Popen(
                ["unshare", *flags, "sh", "-c", "echo ready && exec cat"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise NotAllowed(str(error)) from error
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            _, said = self._holder.communicate(timeout=10)
            raise NotAllowed(said.decode(errors="replace").strip())
        self._enter = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt"]
        if os.geteuid() != 0:
            self._enter += [f"--user=/proc/{self._holder.pid}/ns/user", "--preserve-credentials"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.communicate(timeout=10)

    def run(self, *command: str, stdin: bytes = b"") -> bytes:
        """Run a command inside and return what it prints; a failure is an AssertionError with its words."""
        done = subprocess.run([*self._enter, *command], input=stdin, capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def replace(self, path: Path, new: bytes, *, uid: int = 0, mode: str = "644") -> dict[str, Any]:
        """Replace a config.json inside, as a user if one is given, and return what the child saw."""
        return replace(path, new, uid=uid, mode=mode, enter=tuple(self._enter))


def replace(
    path: Path,
    new: bytes,
    *,
    uid: int = 0,
    mode: str = "644",
    state: Path | None = None,
    enter: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Replace a config.json in a Python child and return what it saw."""
    there = str(state or path.parent / ".backrest-sidecar")
    command = [*enter, sys.executable, "-c", REPLACE, str(path), there, str(uid), mode]
    done = subprocess.run(command, input=new, capture_output=True, timeout=30, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
