"""A Docker engine of the tests' own: dockerd with its own folders, socket, control group and namespaces.

Nothing of it meets the machine's own engine. It runs in a network and a mount namespace of its own where the
kernel allows it, so bridges and overlay mounts go with it.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.engine import busybox, raw_api, remains
from tests.waiting import eventually

BUSYBOX = "busybox:test"
_DIES_WITH_US = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()
"""So that a killed test run leaves no engine. It is the thread that counts: start engines in the main one."""
STAYS = ("sh", "-c", 'trap "exit 0" TERM; sleep 100000 & wait')
"""Runs until it is told to end, and then ends at once; a bare ``sleep`` as process 1 ignores SIGTERM."""


def missing() -> str:
    """Return why no engine can be started here, or nothing."""
    if os.geteuid() != 0:
        return "an engine of our own needs root"
    for tool in ("dockerd", "docker", "containerd", "runc"):
        if shutil.which(tool, path=busybox.search_path()) is None:
            return f"an engine of our own needs {tool}"
    if busybox.binary() is None:
        return "an engine of our own needs a static busybox (Debian: busybox-static)"
    return ""


@functools.cache
def _major_version() -> int:
    said = subprocess.run(
        ["dockerd", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": busybox.search_path()},
    ).stdout
    found = re.search(r"version v?(\d+)\.", said)
    return int(found[1]) if found else 0


class TestEngine:
    """A context manager: the engine runs inside the ``with``, and nothing is left of it afterwards.

    Args:
        options: More options of dockerd.
        netns: Name of a network namespace (``ip netns``) to run in, and host name; None makes one of its own.
        keep_network: Use the machine's own network namespace instead.
        root: Data root; a moved one for tests of that. None takes one of its own.
    """

    __test__ = False

    def __init__(
        self,
        options: Sequence[str] = (),
        *,
        netns: str | None = None,
        keep_network: bool = False,
        root: Path | None = None,
    ) -> None:
        self.folder = Path(
            tempfile.mkdtemp(prefix="bse-", dir="/var/tmp")
        )  # short: a socket path has 107 bytes
        self.root = root or self.folder / "root"
        self.socket = self.folder / "run" / "docker.sock"
        self.host = f"unix://{self.socket}"
        self.cgroup = self.folder.name
        self._options = [*options]
        self._wrap = self._namespaces(netns, keep_network)
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False
        self.socket.parent.mkdir()
        # Not the machine's own settings; and an id of its own, which older engines keep outside their data root.
        own: dict[str, str] = (
            {"deprecated-key-path": str(self.folder / "key.json")} if _major_version() < 24 else {}
        )
        (self.folder / "daemon.json").write_text(json.dumps(own))

    def _namespaces(self, netns: str | None, keep_network: bool) -> list[str]:
        mount = ["unshare", "--mount", "--propagation", "slave"]
        if netns is not None:  # not `ip netns exec`, which hides the control groups; a host name of its own
            uts = ["--uts", "sh", "-c", f'hostname {netns}; exec "$@"', "sh"]
            return ["nsenter", f"--net=/run/netns/{netns}", *mount, *uts]
        if (
            keep_network
            or subprocess.run([*mount, "--net", "true"], capture_output=True, check=False).returncode
        ):
            return []
        return [*mount, "--net", "sh", "-c", 'ip link set lo up 2>/dev/null; exec "$@"', "sh"]

    # --- its life ------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.start()
            self.make_image(BUSYBOX)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def running(self) -> bool:
        """Whether dockerd runs and is not frozen."""
        return self._process is not None and not self._frozen

    @property
    def pid(self) -> int:
        """Return the process id of dockerd."""
        assert self._process is not None, "the engine does not run"
        return self._process.pid

    def start(self, timeout: float = 30.0) -> None:
        """Start dockerd and wait until it answers."""
        self.launch()
        eventually(self._answers, timeout)

    def launch(self) -> None:
        """Start dockerd without waiting."""
        assert self._process is None, "the engine runs already"
        command = [
            *self._wrap,
            *_DIES_WITH_US,
            "dockerd",
            f"--config-file={self.folder / 'daemon.json'}",
            f"--data-root={self.root}",
            f"--exec-root={self.folder / 'exec'}",
            f"--pidfile={self.folder / 'docker.pid'}",
            f"--host={self.host}",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            f"--cgroup-parent=/{self.cgroup}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--shutdown-timeout=3",
            *self._options,
        ]
        (self.folder / "docker.pid").unlink(missing_ok=True)
        with (self.folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PATH": busybox.search_path()},
            )

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            self._process = None
            raise RuntimeError(f"dockerd ended at once:\n{self.log()[-2000:]}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.request("GET", "/_ping")[0] == 200
        return False

    def log(self) -> str:
        """Return what dockerd has logged."""
        return (self.folder / "dockerd.log").read_text(errors="replace")

    def stop(self, timeout: float = 30.0) -> None:
        """End dockerd in order; it stops its containers. Harmless when it does not run."""
        if self._process is None:
            return
        self.thaw()
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill9(self) -> None:
        """Kill dockerd and its containerd; its containers may live on until it is back.

        A containerd that dockerd started dies with it, but not at once, and a new dockerd would wait for the old one.
        """
        assert self._process is not None, "the engine does not run"
        self._process.kill()
        self._process.wait()
        self._process = None
        remains.kill_containerd(self.folder)
        # As a zombie that nobody reaps it would still count as running.
        (self.folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def freeze(self) -> None:
        """Make dockerd hang: it accepts connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        self._frozen = True
        threads = Path(f"/proc/{self.pid}/task")
        # A thread on another processor may answer one more request before the signal reaches it.
        eventually(lambda: all(") T " in (t / "stat").read_text() for t in threads.iterdir()))

    def thaw(self) -> None:
        """End :meth:`freeze`."""
        if self._frozen:
            os.kill(self.pid, signal.SIGCONT)
            self._frozen = False

    def restart(self) -> None:
        """Stop and start dockerd."""
        self.stop()
        self.start()

    def _end(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            if self._process is not None:
                self.thaw()
                self.clean()
        self.stop()
        remains.kill_processes(self.folder)
        for folder in {self.folder, self.root}:
            remains.unmount(folder)
            shutil.rmtree(folder, ignore_errors=True)
        remains.remove_cgroups(self.cgroup)

    # --- what is in it -------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: object = None, timeout: float = 60.0) -> tuple[int, Any]:
        """Send one call to the engine's API, past everything under test; return status and decoded answer."""
        return raw_api.request(self.socket, method, path, body, timeout)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the decoded answer of one call; anything but success fails the test."""
        status, answer = self.request(method, path, body)
        assert 200 <= status < 300 or status == 304, f"{method} {path}: {status} {answer}"
        return answer

    def docker(
        self, *args: str, check: bool = True, stdin: bytes | None = None, timeout: float = 120.0
    ) -> str:
        """Run the docker client; return its standard output."""
        return self._tool(["docker", "--host", self.host, *args], check, stdin, timeout)

    def compose(self, project: str, yaml: str, *args: str, check: bool = True, timeout: float = 180.0) -> str:
        """Run docker-compose for ``yaml`` (``up -d`` unless ``args`` says otherwise); return its output.

        The file is kept per project, so that a second call with another text changes the stack.
        """
        folder = self.folder / "compose" / project
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "docker-compose.yml"
        file.write_text(yaml)
        command = ["docker-compose", "--project-name", project, "--file", str(file), *(args or ("up", "-d"))]
        return self._tool(command, check, None, timeout)

    def _tool(self, command: list[str], check: bool, stdin: bytes | None, timeout: float) -> str:
        env = {
            **os.environ,
            "PATH": busybox.search_path(),
            "DOCKER_HOST": self.host,
            "COMPOSE_PARALLEL_LIMIT": "64",  # docker-compose 1 hangs where a stack has as many services
        }
        done = subprocess.run(
            command, input=stdin or b"", capture_output=True, timeout=timeout, check=False, env=env
        )
        said = done.stdout.decode(errors="replace")
        assert not check or done.returncode == 0, f"{command}: {said}{done.stderr.decode(errors='replace')}"
        return said

    def make_image(
        self,
        tag: str,
        files: Mapping[str, bytes] | None = None,
        labels: Mapping[str, str] | None = None,
        changes: Iterable[str] = (),
    ) -> None:
        """Import an image: busybox, ``files`` by path (executable), ``labels``, and Dockerfile ``changes``."""
        given = [f"CMD {json.dumps(STAYS)}", "ENV PATH=/usr/local/bin:/usr/bin:/bin", *changes]
        given += [f"LABEL {json.dumps(key)}={json.dumps(value)}" for key, value in (labels or {}).items()]
        options = [part for change in given for part in ("--change", change)]
        self.docker("import", *options, "-", tag, stdin=busybox.root_filesystem(files or {}))

    def run_container(
        self,
        name: str,
        labels: Mapping[str, str] | None = None,
        volumes: Iterable[str] = (),
        *,
        command: Sequence[str] = STAYS,
        image: str = BUSYBOX,
        start: bool = True,
        network: str = "none",
        **more: Any,
    ) -> str:
        """Create a container and start it; return its id.

        Args:
            name: Name.
            labels: Labels.
            volumes: ``source:target[:ro]`` as for ``docker run -v``.
            command: Command.
            image: Image.
            start: False leaves it created.
            network: Network mode.
            more: More of the body of ``POST /containers/create``; ``HostConfig`` is merged.
        """
        host = {"NetworkMode": network, "Binds": list(volumes), **more.pop("HostConfig", {})}
        body = {
            "Image": image,
            "Cmd": list(command),
            "Labels": dict(labels or {}),
            "HostConfig": host,
            **more,
        }
        made: str = self.call("POST", f"/containers/create?name={name}", body)["Id"]
        if start:
            self.call("POST", f"/containers/{made}/start")
            if command is STAYS:
                pid = self.call("GET", f"/containers/{made}/json")["State"]["Pid"]
                eventually(lambda: remains.catches(pid, signal.SIGTERM), every=0.001)
        return made

    def remove(self, name: str) -> None:
        """Remove a container, running or not, with its anonymous volumes."""
        self.call("DELETE", f"/containers/{name}?force=1&v=1")

    def clean(self) -> None:
        """Remove all containers, volumes and networks; images stay."""
        for one in self.call("GET", "/containers/json?all=1"):
            self.request("DELETE", f"/containers/{one['Id']}?force=1&v=1")
        for one in self.call("GET", "/volumes")["Volumes"] or ():
            self.request("DELETE", f"/volumes/{one['Name']}?force=1")
        for one in self.call("GET", "/networks"):
            if one["Name"] not in {"bridge", "host", "none", "ingress", "docker_gwbridge"}:
                self.request("DELETE", f"/networks/{one['Id']}")
