"""Starts what the contract is checked on: the double as a program, and a real Backrest where one is at hand."""

from __future__ import annotations

import functools
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from sidecar.backrest.api import BackrestApi
from tests.doubles.backrest.version import NEWEST, Version
from tests.waiting import eventually

DOUBLE = Path(__file__).resolve().parent.parent / "doubles/backrest/server.py"

RESTIC = """#!/bin/sh
id=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
case "$1" in
    version) echo "restic 0.19.1 compiled with go1.26.0 on linux/amd64" ;;
    init) echo "{\\"message_type\\":\\"initialized\\",\\"id\\":\\"$id\\",\\"repository\\":\\"x\\"}" ;;
    cat) echo "{\\"version\\":2,\\"id\\":\\"$id\\",\\"chunker_polynomial\\":\\"25b468838dcb75\\"}" ;;
    backup)
        echo "{\\"message_type\\":\\"summary\\",\\"files_new\\":1,\\"snapshot_id\\":\\"$id\\"}"
        exec sleep "$(cat "$(dirname "$0")/seconds")" # no child of its own: a kill is to end it
        ;;
    snapshots) echo "[]" ;;
esac
"""
"""What a real Backrest takes for restic: enough to add a repo and to run a backup that takes ``seconds``."""


class Running:
    """One Backrest, double or real, as a process of its own.

    Args:
        command: The program.
        home: A directory of its own: ``config/config.json``, ``data``, ``log``.
        environ: Environment.
        version: Which version it is.
        log: Name of its log in ``home``.
    """

    def __init__(
        self,
        command: list[str],
        home: Path,
        environ: dict[str, str],
        version: Version = NEWEST,
        log: str = "log",
    ) -> None:
        self.home = home
        self.version = version
        self.config = home / "config" / "config.json"
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.command = command
        self.environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._log = home / log
        self.port = free_port()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def api(self) -> BackrestApi:
        """A client of it, without credentials."""
        return self.client()

    def client(self, username: str = "", password: str = "") -> BackrestApi:
        """Return a client of it."""
        return BackrestApi(f"http://127.0.0.1:{self.port}", username, password)

    @property
    def log(self) -> str:
        """What it wrote since its last start."""
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll() if self._process is not None else None

    def start(self, raw: bytes | None = None) -> Self:
        """Start it, with ``raw`` as config.json where given, and wait until it answers or has ended."""
        self.launch(raw)
        eventually(lambda: self.exit_code is not None or self.up())
        return self

    def launch(self, raw: bytes | None = None) -> None:
        """Start it and do not wait."""
        if raw is not None:
            self.config.write_bytes(raw)
        arguments = ["-config-file", str(self.config), "-data-dir", str(self.home / "data")]
        bind = ["-bind-address", f"127.0.0.1:{self.port}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self.command, *arguments, *bind],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call a method that the sidecar has no client for and return its answer, whatever the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/" + path, body=json.dumps(body).encode(), headers=headers)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()

    def add_repo(self, repo: dict[str, Any]) -> None:
        """Add a repo as its web page does."""
        self.post("v1.Backrest/AddRepo", {"repo": repo} if self.version.wraps_repo else repo)

    def up(self) -> bool:
        """Return whether its port takes a connection."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def backups_take(self, seconds: float) -> None:
        """Say how long the next backups take."""
        (self.home / "seconds").write_text(str(seconds))
        self._tell(seconds)

    def _tell(self, seconds: float) -> None:
        """Nothing to tell a real one: its restic reads the file."""

    def kill(self) -> None:
        """Kill it, as the kernel does when a container's first process ends."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int | None:
        """Send SIGTERM and return its exit code."""
        self._end(signal.SIGTERM)
        return self.exit_code

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(30)


class RunningDouble(Running):
    """The double as a process."""

    def _tell(self, seconds: float) -> None:
        self.post("double/backup", {"seconds": seconds})


def start_double(home: Path, version: Version = NEWEST) -> Running:
    """Return a double that lives in ``home`` and plays this version, not started yet."""
    return RunningDouble(
        [sys.executable, str(DOUBLE), "--play", str(version)], home, dict(os.environ), version
    )


def start_real(home: Path, version: Version | None = None) -> Running:
    """Return the real Backrest that BACKREST_BIN names, not started yet."""
    binary = os.environ["BACKREST_BIN"]
    return Running([binary], home, real_environ(home), version or binary_version(binary))


def real_environ(home: Path) -> dict[str, str]:
    """Return the environment for a real Backrest in ``home``, with a restic that needs no storage."""
    home.mkdir(parents=True, exist_ok=True)
    restic = home / "restic"
    restic.write_text(RESTIC)
    restic.chmod(0o755)
    (home / "seconds").write_text("0")
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("RESTIC_", "BACKREST_"))
    }
    environ.update(BACKREST_RESTIC_COMMAND=str(restic), HOME=str(home), XDG_CACHE_HOME=str(home / "cache"))
    return environ


@functools.cache
def binary_version(binary: str) -> Version:
    """Return the version of a Backrest, from the first line that it logs: older ones have no ``-version``.

    One that was built without a version counts as the newest.
    """
    with tempfile.TemporaryDirectory() as home:
        command = [binary, "-install-deps-only", "-data-dir", home]
        said = subprocess.run(command, env=real_environ(Path(home)), capture_output=True, timeout=30).stdout
    first = next(line for line in said.decode().splitlines() if "backrest " in line)
    return (
        NEWEST if "unknown" in first.partition("commit")[0] and "@" not in first else Version.of(first[24:])
    )


def free_port() -> int:
    """Return a port of the loopback that nobody listens on.

    Below those that the kernel hands out by itself: a probe of such a port may connect to itself, and any other
    program may be given it in the meantime.
    """
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
