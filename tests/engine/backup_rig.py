"""What tests of backups share: a stack with data, a local repository, a run in this process or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sidecar.backup.options import BackupOptions
from sidecar.backup.run import run_backup_once
from sidecar.backup.summary import Outcome
from sidecar.engine.client import Engine
from sidecar.engine.types import Bind
from sidecar.quiesce.recovery import Recovered, recover
from sidecar.supervision.child import Context
from tests.doubles.rcb import image
from tests.engine.harness import STAYS, TestEngine
from workers.quiesce import tools_for

DRIVER = Path(__file__).parents[1] / "faults" / "quiesce_driver.py"
ROOT = Path(__file__).parents[2]
PASSWORD = "correct-horse-battery"
RCB = {"restic-compose-backup.volumes": "true"}
QUIESCE = {"backrest.quiesce": "true"}


@dataclass
class Site:
    """An engine with the images, a repository on a volume, and a state directory.

    Attributes:
        engine: The engine of the tests.
        folder: Of this test alone.
    """

    engine: TestEngine
    folder: Path

    def __post_init__(self) -> None:
        self.socket = self.engine.socket
        self.env_file = self.folder / "restic.env"
        self.env_file.write_text(
            f"RESTIC_REPOSITORY=/repo\nRESTIC_PASSWORD={PASSWORD}\nRESTIC_CACHE_DIR=/cache\n"
        )
        self.state_dir = self.folder / "state"

    @classmethod
    def at(cls, socket: Path, folder: Path) -> Site:
        """Return one that exists already, as a process sees it that has no engine of its own."""
        site = cls.__new__(cls)
        site.socket, site.folder = socket, folder
        site.env_file, site.state_dir = folder / "restic.env", folder / "state"
        return site

    def options(self, **changes: Any) -> BackupOptions:
        """Return the flags of a run here."""
        plain = BackupOptions(
            state_dir=self.state_dir,
            docker_host=str(self.socket),
            rcb_image=image.RCB_IMAGE,
            restic_image=image.RESTIC_IMAGE,
            env_file=self.env_file,
            mounts=(Bind("repo", "/repo"), Bind("cache", "/cache")),
        )
        return replace(plain, **changes)

    def add_env(self, **variables: str) -> None:
        """Put more into the env file."""
        with self.env_file.open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in variables.items())

    def service(
        self,
        name: str,
        labels: Mapping[str, str] | None = None,
        *,
        project: str = "shop",
        command: Sequence[str] = STAYS,
        **more: Any,
    ) -> str:
        """Start a container as Compose would, with a volume of its own that has one file in it."""
        wanted = {
            "com.docker.compose.project": project,
            "com.docker.compose.service": name,
            "com.docker.compose.container-number": "1",
            "com.docker.compose.oneoff": "False",
            **(labels or {}),
        }
        made = self.engine.run_container(
            f"{project}-{name}-1", wanted, (f"{project}_{name}:/data",), command=command, **more
        )
        self.data(name, project=project).joinpath("file").write_text(f"data of {name}\n")
        return made

    def data(self, name: str, *, project: str = "shop") -> Path:
        """Return where a service's volume lies on this machine."""
        return self.engine.root / "volumes" / f"{project}_{name}" / "_data"

    # --- running -------------------------------------------------------------------------------------------

    def run(
        self,
        options: BackupOptions | None = None,
        stop: threading.Event | None = None,
        engine: Engine | None = None,
    ) -> Outcome:
        """Run a backup in this process."""
        with self._tools(stop) as tools:
            through = engine or Engine(str(self.engine.socket))
            return run_backup_once(through, options or self.options(), tools, os.environ)

    def recover(self) -> Recovered:
        """Work off the journal in this process."""
        with self._tools(None) as tools:
            return recover(Engine(str(self.engine.socket)), self.state_dir, tools)

    @contextmanager
    def _tools(self, stop: threading.Event | None) -> Iterator[Any]:
        context = Context("test", stop or threading.Event(), lambda _seconds: None, lambda _report: None)
        with tools_for(context) as tools:
            yield tools
            tools.executor.shutdown(wait=True)

    def driver(self, kill: str = "", command: str = "backup", **options: Any) -> subprocess.Popen[str]:
        """Run a backup (or ``recover``) in a process of its own, to be killed; see the driver."""
        plain = {
            "socket": str(self.engine.socket),
            "folder": str(self.folder),
            "kill": kill,
            "options": options,
        }
        return subprocess.Popen(
            [sys.executable, str(DRIVER), command, json.dumps(plain)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    # --- looking -------------------------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        """Return every container's state by name."""
        return {c["Names"][0][1:]: c["State"] for c in self.engine.call("GET", "/containers/json?all=1")}

    def inspect(self, name: str) -> dict[str, Any]:
        """Return an inspect."""
        found: dict[str, Any] = self.engine.call("GET", f"/containers/{name}/json")
        return found

    def restic(self, *args: str) -> str:
        """Run the machine's own restic on the repository."""
        env = {
            **os.environ,
            "RESTIC_REPOSITORY": str(self.engine.root / "volumes" / "repo" / "_data"),
            "RESTIC_PASSWORD": PASSWORD,
        }
        done = subprocess.run(
            ["restic", "--no-cache", *args], capture_output=True, text=True, env=env, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def init(self) -> None:
        """Make the repository."""
        self.engine.call("POST", "/volumes/create", {"Name": "repo"})
        self.restic("init")

    def snapshots(self) -> list[dict[str, Any]]:
        """Return the repository's snapshots, oldest first."""
        found: list[dict[str, Any]] = json.loads(self.restic("snapshots", "--json"))
        return sorted(found, key=lambda s: s["time"])

    def restored(self, snapshot: str, target: Path) -> dict[str, str]:
        """Restore a snapshot; return its files' contents by path."""
        self.restic("restore", snapshot, "--target", str(target))
        return {
            str(path.relative_to(target)): path.read_text()
            for path in sorted(target.rglob("*"))
            if path.is_file()
        }


def seconds_between(began: float) -> float:
    """Return the seconds since ``began``, monotonic."""
    return time.monotonic() - began
