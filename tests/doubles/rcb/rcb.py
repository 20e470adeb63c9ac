"""Stands in for restic-compose-backup: does to the engine and to the repository what that does at 0.7.1.

Written from a description of its behaviour, not from its text. It talks to the engine over ``/tmp/docker.sock``
and runs as ``rcb`` and as ``restic-compose-backup`` in the image of the tests. What it reproduces:

* it looks at running containers alone (paused ones run), of its own Compose project alone (all with SWARM_MODE),
  one-offs left out, that carry ``restic-compose-backup.volumes`` (1, true or True);
* ``backup`` starts a second container in its own network, with all of its own mounts (writable) and the volumes
  found, read-only below ``/volumes[/<project>]/<service>``, with a label for the process and its own project;
* it passes on that one's output, says how it ended, removes it, and ends with 0 whatever came of it;
* the second one makes the repository when there is none, makes one snapshot of ``/volumes``, then forgets, prunes
  and checks; without volumes and containers it ends with 1.

Two variables are the tests' own: ``STANDIN_WAIT`` makes the second container wait for so many seconds before it
backs up, ``STANDIN_FAIL`` makes its backup fail.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from typing import Any

TRUE = ("1", "true", "True")
LABEL = "restic-compose-backup"
PROJECT = "com.docker.compose.project"


class Engine(http.client.HTTPConnection):
    """One call to the engine."""

    def __init__(self) -> None:
        super().__init__("engine")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/tmp/docker.sock")


def call(method: str, path: str, body: object = None) -> Any:
    """Return the engine's answer; any error ends the program as an uncaught exception would."""
    connection = Engine()
    connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    if answer.status >= 400:
        raise RuntimeError(f"{method} {path}: {answer.status} {raw.decode()}")
    return json.loads(raw) if raw.startswith((b"{", b"[")) else None


def say(text: str) -> None:
    """Log a line as rcb does, at once."""
    sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} - INFO: {text}\n")
    sys.stdout.flush()


def everything() -> list[dict[str, Any]]:
    """Return an inspect of every container."""
    out = []
    for listed in call("GET", "/containers/json?all=1"):
        try:
            out.append(call("GET", f"/containers/{listed['Id']}/json"))
        except RuntimeError:
            continue
    return out


def label(container: dict[str, Any], name: str) -> Any:
    """Return a label, or None."""
    return (container["Config"]["Labels"] or {}).get(name)


class Look:
    """What rcb sees when it starts."""

    def __init__(self) -> None:
        found = everything()
        mine = [c for c in found if c["Id"].startswith(os.environ["HOSTNAME"])]
        if not mine:
            raise ValueError("Cannot find metadata for backup container")
        self.me = mine[0]
        self.project = label(self.me, PROJECT)
        self.process_label = f"{LABEL}.process-{self.project}"
        running = [c for c in found if c["State"]["Running"]]
        self.process = next((c for c in running if label(c, self.process_label) == "True"), None)
        self.wanted = [
            c
            for c in running
            if (os.environ.get("SWARM_MODE") or label(c, PROJECT) == self.project)
            and label(c, "com.docker.compose.oneoff") != "True"
            and c is not self.process
            and label(c, f"{LABEL}.volumes") in TRUE
        ]

    def binds(self) -> dict[str, str]:
        """Return source → ``source:target:mode`` for all that is to be backed up."""
        out = {}
        for container in self.wanted:
            for mount in container["Mounts"]:
                if os.environ.get("EXCLUDE_BIND_MOUNTS") in TRUE and mount["Type"] != "volume":
                    continue
                parts = ["/volumes"]
                if os.environ.get("INCLUDE_PROJECT_NAME") in TRUE and label(container, PROJECT):
                    parts.append(label(container, PROJECT))
                parts += [label(container, "com.docker.compose.service"), mount["Destination"].lstrip("/")]
                out[mount["Source"]] = f"{mount['Source']}:{'/'.join(parts)}:ro"
        return out


def backup(look: Look) -> None:
    """Have a second container do the backup."""
    if look.process is not None:
        raise RuntimeError("Backup process already running")
    binds = {m["Source"]: f"{m['Source']}:{m['Destination']}:rw" for m in look.me["Mounts"]}
    binds.update(look.binds())
    say("Starting backup container")
    made = call(
        "POST",
        "/containers/create",
        {
            "Image": look.me["Config"]["Image"],
            "Cmd": ["restic-compose-backup", "start-backup-process"],
            "Env": [*look.me["Config"]["Env"], "BACKUP_PROCESS_CONTAINER=true"],
            "Labels": {look.process_label: "True", PROJECT: look.project},
            "Tty": True,
            "WorkingDir": "/",
            "HostConfig": {"Binds": list(binds.values()), "NetworkMode": f"container:{look.me['Id']}"},
        },
    )["Id"]
    call("POST", f"/containers/{made}/start")
    connection = Engine()
    connection.request("GET", f"/containers/{made}/logs?stdout=1&stderr=1&follow=1")
    for line in connection.getresponse():
        say(line.decode().rstrip())
    code = call("POST", f"/containers/{made}/wait")["StatusCode"]
    call("DELETE", f"/containers/{made}")
    say(f"Backup container exit code: {code}")


def restic(*args: str) -> int:
    """Run restic; its output is only shown when it fails."""
    done = subprocess.run(
        ["restic", "-r", os.environ["RESTIC_REPOSITORY"], *args], capture_output=True, check=False
    )
    if done.returncode:
        say((done.stdout + done.stderr).decode(errors="replace"))
    return done.returncode


def start_backup_process(look: Look) -> int:
    """Do the backup, in the second container."""
    if restic("snapshots", "--last"):
        restic("init")
    time.sleep(float(os.environ.get("STANDIN_WAIT", "0")))
    found = os.access("/volumes", os.F_OK)
    if not look.wanted and not found:
        say("No containers for backup found")
        return 1
    if found and restic("--verbose", "backup", "/volumes", *os.environ.get("STANDIN_FAIL", "").split()):
        return 1
    if not look.wanted:
        raise NameError("container")  # rcb's loop variable was never set when it goes on to clean up
    keep = ("--keep-daily", "7", "--keep-weekly", "4", "--keep-monthly", "12", "--keep-yearly", "3")
    forgotten = restic("forget", "--group-by", "paths", *keep)
    pruned = restic("prune")
    if forgotten and pruned:
        return 1
    return int(restic("check") != 0)


def main() -> int:
    """Run the command."""
    look = Look()
    if sys.argv[1] == "backup":
        backup(look)
        return 0
    if sys.argv[1] == "start-backup-process":
        return start_backup_process(look)
    return 2


if __name__ == "__main__":
    sys.exit(main())
