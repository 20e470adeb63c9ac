"""Operations, hooks and backups of the double of Backrest.

Hooks really run, by ``sh`` on stdin; a backup is a child process named ``restic`` that sleeps. One task runs at a
time. What is not copied: schedules do not fire, a plan's paths need not exist, and a hook that asks for a retry only
halts.

backrest: internal/hook/hook.go, internal/hook/types/command.go, internal/orchestrator/tasks/taskbackup.go:125-300,
internal/orchestrator/orchestrator.go:90-150.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.doubles.backrest.messages import Json
from tests.doubles.backrest.rules import next_time

INCOMPLETE = "Operation was incomplete when orchestrator was restarted."
_HALTING = {
    "ON_ERROR_CANCEL",
    "ON_ERROR_FATAL",
    "ON_ERROR_RETRY_1MINUTE",
    "ON_ERROR_RETRY_10MINUTES",
    "ON_ERROR_RETRY_EXPONENTIAL_BACKOFF",
}


class Halted(Exception):
    """A hook ended its event, and said what becomes of the operation."""


class Oplog:
    """The operation log: in memory, and in ``oplog.json`` so that a kill leaves what was in progress.

    Args:
        data_dir: Where it lives.
    """

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "oplog.json"
        self._lock = threading.Lock()
        self._operations: list[Json] = []
        if self._file.exists():
            self._operations = json.loads(self._file.read_bytes() or b"[]")
        self._number = max((int(operation["id"]) for operation in self._operations), default=0)
        self.incomplete = 0
        for operation in self._operations:
            if operation["status"] == "STATUS_INPROGRESS":
                self.incomplete += 1
                operation.update(status="STATUS_ERROR", displayMessage=INCOMPLETE)
                operation["unixTimeEndMs"] = operation["unixTimeStartMs"]
        self._operations = [o for o in self._operations if o["status"] != "STATUS_PENDING"]
        self._store()

    def add(self, status: str, kind: str, start: float, **fields: Any) -> Json:
        """Add an operation and return it; ``kind`` is e.g. ``operationBackup``."""
        with self._lock:
            number = self._number = self._number + 1  # never used twice, also of what was deleted
            operation = {"id": str(number), "flowId": str(number), kind: {}, **fields, "status": status}
            operation["unixTimeStartMs"] = str(int(start * 1000))
            self._operations.append(operation)
            self._store()
        return operation

    def end(self, operation: Json, status: str, message: str = "") -> None:
        """End an operation."""
        with self._lock:
            operation.update(status=status, unixTimeEndMs=str(int(time.time() * 1000)))
            if message:
                operation["displayMessage"] = message
            self._store()

    def last(self, number: int, plan: str = "") -> list[Json]:
        """Return the operations that start last, of one plan where given, or all for 0, sorted by id."""
        with self._lock:
            asked = [o for o in self._operations if plan in ("", o.get("planId"))]
            found = sorted(asked, key=lambda o: int(o["unixTimeStartMs"]), reverse=True)
            found = json.loads(json.dumps(found[:number] if number else found))
        return sorted(found, key=lambda o: int(o["id"]))

    def schedule(self, config: Json) -> None:
        """Drop what is pending and plan anew, as every change of the config does."""
        now = datetime.now()  # noqa: DTZ005 - the local zone, as Backrest reads schedules
        with self._lock:
            self._operations = [o for o in self._operations if o["status"] != "STATUS_PENDING"]
            self._store()
        for plan in config.get("plans", []):
            at = self._next(plan["id"], plan.get("schedule", {}), now)
            if at is not None:
                fields = {"planId": plan["id"], "repoId": plan["repo"]}
                self.add("STATUS_PENDING", "operationBackup", at.timestamp(), **fields)

    def begin(self, operation: Json) -> bool:
        """Begin an operation that waited; return whether it was still there."""
        with self._lock:
            if operation not in self._operations:
                return False
            operation.update(status="STATUS_INPROGRESS", unixTimeStartMs=str(int(time.time() * 1000)))
            self._store()
            return True

    def _next(self, plan: str, schedule: Json, now: datetime) -> datetime | None:
        """Return when a plan runs next (backrest: internal/protoutil/schedule.go:33-65)."""
        if schedule.get("cron"):
            return next_time(schedule["cron"], now)
        hours = schedule.get("maxFrequencyHours", 24 * schedule.get("maxFrequencyDays", 0))
        if not hours:
            return None
        ended = [int(o.get("unixTimeEndMs", 0)) for o in self._operations if o.get("planId") == plan]
        last = max(ended, default=0)
        if schedule.get("clock") == "CLOCK_LAST_RUN_TIME" and last:
            now = datetime.fromtimestamp(last / 1000)  # noqa: DTZ006 - the local zone, too
        return now + timedelta(hours=hours)

    def _store(self) -> None:
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._operations))
        temporary.replace(self._file)


class Tasks:
    """Runs backups, one at a time.

    Attributes:
        seconds: How long a backup takes.
        fail: Whether it fails.
        tells_start_errors: Whether a START hook that halts fires the ERROR hooks.
    """

    def __init__(self, oplog: Oplog, data_dir: Path, log: Callable[..., None]) -> None:
        self._oplog = oplog
        self._log = log
        self._one = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._cancelled = threading.Event()
        self._restic = data_dir / "restic"
        self.seconds = 0.0
        self.fail = False
        self.tells_start_errors = True
        if not self._restic.is_symlink():
            self._restic.symlink_to(sys.executable)

    def backup(self, repo: Json, plan: Json) -> str:
        """Run one backup with its hooks, when those before it have run; return what is wrong, or empty.

        One that a change of the config takes out of the queue is never heard of again, nor is its caller answered.
        """
        fields = {"planId": plan["id"], "repoId": repo["id"]}
        operation = self._oplog.add("STATUS_PENDING", "operationBackup", time.time(), **fields)
        with self._one:
            begun = self._oplog.begin(operation)
            if begun:
                wrong = self._run(repo, plan, operation)
                self._say_end(repo, plan, wrong)
                return wrong
        self._cancelled.wait()
        return "shutting down"

    def _run(self, repo: Json, plan: Json, operation: Json) -> str:
        self._log("INFO", "running task", task=_name(plan))
        try:
            self._hooks(repo, plan, operation, ["CONDITION_SNAPSHOT_START"])
        except Halted as halted:
            status = "STATUS_USER_CANCELLED" if str(halted) == "ON_ERROR_CANCEL" else "STATUS_ERROR"
            self._quietly(repo, plan, operation, ["CONDITION_ANY_ERROR", "CONDITION_SNAPSHOT_ERROR"])
            self._oplog.end(operation, status, "snapshot start hook failed")
            return "snapshot start hook: failed"
        failed = self._restic_runs()
        if failed:
            events = ["CONDITION_SNAPSHOT_ERROR", "CONDITION_ANY_ERROR", "CONDITION_SNAPSHOT_END"]
            self._quietly(repo, plan, operation, events)
            self._oplog.end(operation, "STATUS_ERROR", "failed to backup")
            return "failed to backup"
        try:
            self._hooks(repo, plan, operation, ["CONDITION_SNAPSHOT_SUCCESS", "CONDITION_SNAPSHOT_END"])
        except Halted:
            self._oplog.end(operation, "STATUS_ERROR", "snapshot end hook failed")
            return "snapshot end hook: failed"
        self._oplog.end(operation, "STATUS_SUCCESS")
        return ""

    def _say_end(self, repo: Json, plan: Json, wrong: str) -> None:
        """Log the end as from v1.10 on: a failure as such, a success by what comes next."""
        if wrong:
            self._log("ERROR", f"{_name(plan)}\ttask failed", error=wrong)
        else:
            self._log("INFO", "running task", task=f'index snapshots for repo "{repo["id"]}"')

    def cancel(self) -> None:
        """End the running backup as a graceful stop does; its hooks still run."""
        self._cancelled.set()
        child = self._child
        if child is not None:
            child.kill()

    def wait(self, timeout: float) -> bool:
        """Wait until nothing runs; return whether that came true."""
        got = self._one.acquire(timeout=timeout)
        if got:
            self._one.release()
        return got

    def _restic_runs(self) -> bool:
        """Run the child named ``restic``; return whether it failed."""
        if self._cancelled.is_set():
            return True
        code = f"import time; time.sleep({self.seconds})"
        self._child = subprocess.Popen([str(self._restic), "-S", "-c", code], stdin=subprocess.DEVNULL)
        ended = self._child.wait()
        self._child = None
        return ended != 0 or self.fail

    def _quietly(self, repo: Json, plan: Json, parent: Json, events: list[str]) -> None:
        if not self.tells_start_errors and "CONDITION_SNAPSHOT_END" not in events:
            return
        try:
            self._hooks(repo, plan, parent, events)
        except Halted:
            self._log("WARN", "a hook halted the others of its event")

    def _hooks(self, repo: Json, plan: Json, parent: Json, events: list[str]) -> None:
        """Run the hooks of the repo, then of the plan, each on the first event that it wants."""
        for owner, name in ((repo, "repo/" + repo["id"]), (plan, "plan/" + plan["id"])):
            for number, hook in enumerate(owner.get("hooks", [])):
                event = next((e for e in events if e in hook.get("conditions", [])), "")
                if event:
                    self._hook(hook, f"{name}/hook/{number}", event, parent)

    def _hook(self, hook: Json, name: str, event: str, parent: Json) -> None:
        run = {"parentOp": parent["id"], "name": f"command hook {name}", "condition": event}
        operation = self._oplog.add(
            "STATUS_INPROGRESS",
            "operationRunHook",
            time.time(),
            planId=parent["planId"],
            repoId=parent["repoId"],
            operationRunHook=run,
        )
        command = hook.get("actionCommand", {}).get("command")
        if command is None:  # no handler: the rest of the event is discarded
            self._oplog.end(operation, "STATUS_ERROR")
            raise Halted
        script = command.encode()
        done = subprocess.run(
            ["sh"], input=script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
        self._log("INFO", "hook", name=name, event=event, exit=done.returncode)
        self._oplog.end(operation, "STATUS_ERROR" if done.returncode else "STATUS_SUCCESS")
        if done.returncode and hook.get("onError", "") in _HALTING:
            raise Halted(hook["onError"])


def _name(plan: Json) -> str:
    return f'backup for plan "{plan["id"]}"'
