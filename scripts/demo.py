"""``make run``: the main job on real input, on a copy of a sample config.json. Nothing of yours is touched.

The containers are those of the local engine (``DOCKER_HOST``, else the default socket) when it answers within
two seconds and any of them asks for a backup; else those of recorded engine replies in testdata/. Neither root
nor an engine is needed.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "testdata" / "example-sidecar.config.json"
RECORDED = ROOT / "testdata" / "engine"
DEFAULT_SOCKET = "/var/run/docker.sock"
PATIENCE = 2.0

MEANING = {0: "done, something changed", 2: "nothing to change, or a dry run"}
QUIET = ["--log-level", "error"]
STEPS: tuple[tuple[str, list[str], int], ...] = (
    ("What would change", ["--dry-run"], 2),
    ("Now for real, on the copy", QUIET, 0),
    ("Once more: a second run changes nothing", QUIET, 2),
)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def labelled(host: str) -> int:
    """Return how many containers of the engine at ``host`` carry a ``backrest.*`` label.

    Raises:
        OSError: The engine does not answer, or not as an engine does.
    """
    address = urlsplit(host if "://" in host else f"unix://{host}")
    if address.scheme == "unix":
        connection: http.client.HTTPConnection = UnixConnection(address.path)
    elif address.scheme in {"tcp", "http"} and not os.environ.get("DOCKER_TLS_VERIFY"):
        connection = http.client.HTTPConnection(
            address.hostname or "", address.port or 2375, timeout=PATIENCE
        )
    else:
        raise OSError("this demo speaks to unix sockets and plain tcp only")
    try:
        connection.request("GET", "/containers/json?all=1")
        containers = json.loads(connection.getresponse().read())
        return sum(any(label.startswith("backrest.") for label in c.get("Labels") or {}) for c in containers)
    except (http.client.HTTPException, ValueError, AttributeError, TypeError) as error:
        raise OSError(f"no engine's answer: {error}") from error
    finally:
        connection.close()


def source() -> list[str]:
    """Say where the containers come from; return the flags for it."""
    host = os.environ.get("DOCKER_HOST") or DEFAULT_SOCKET
    try:
        found = labelled(host)
    except OSError as error:
        print(f"No engine answers at {host} ({error.strerror or error}): recorded engine replies are used.")
    else:
        if found:
            print(f"The engine at {host} has {found} containers with backrest labels.")
            return ["--docker-sock", host]
        print(f"No container of the engine at {host} has a backrest label: recorded engine replies are used.")
    return ["--replay", str(RECORDED)]


def show(config: Path) -> None:
    """Print the plans that the copy has now."""
    before = {plan["id"]: plan for plan in json.loads(SAMPLE.read_text())["plans"]}
    for plan in json.loads(config.read_text())["plans"]:
        if plan["id"] in before:
            said = "made by hand, unchanged" if before[plan["id"]] == plan else "made by hand, CHANGED"
        else:
            said = f"{plan['schedule']['cron']:<14} {plan['repo']:<12} {', '.join(plan['paths'])}"
        print(f"  {plan['id']:<34} {said}")


def main() -> int:
    """Run the steps; return 0 when each ended as it should."""
    # Settings meant for a real Backrest, --apply above all, have no part in a demo.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BACKREST_")}
    good = True
    with tempfile.TemporaryDirectory(prefix="backrest-sidecar-demo-") as directory:
        config = Path(directory) / "config.json"
        shutil.copy(SAMPLE, config)
        flags = ["--config", str(config), "--log-format", "text", *source()]
        for title, extra, expected in STEPS:
            command = ["reconcile", *extra, *flags]
            print(f"\n== {title}\n$ backrest-sidecar {shlex.join(command)}", flush=True)
            code = subprocess.run(
                [sys.executable, "-P", "-m", "sidecar", *command], env=environment, check=False
            ).returncode
            print(f"exit code {code}: {MEANING.get(code, 'failed')}")
            good = good and code == expected
            if code == 0:
                show(config)
        print(f"\nThe sample was {SAMPLE.relative_to(ROOT)}; the copy is gone again. Next:")
        print("  make dry-run CONFIG=/path/to/config.json     # your own, still without writing")
        print('  make run ARGS="explain"                      # why is a container backed up, or not')
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
