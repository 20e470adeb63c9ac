#!/usr/bin/env python3
"""A double of Backrest: its config handling, its API and its hooks, for tests. Standard library only.

It keeps what matters to another writer of config.json: the config is read once and cached, every save writes the
whole cached file over whatever is on disk, at 0600 and with a rotated ``.bak``; unknown fields are lost; SetConfig
checks ``modno``, AddRepo does not; an invalid file ends the start with code 1 and Backrest's FATAL line.

As a program, also on Python 3.9 inside a container (copy the directory ``tests`` and link ``/backrest`` to this
file): ``python3 /backrest --config /config/config.json --bind 0.0.0.0:9898 --data /data``. In a test: ``Double``.

``POST /double/backup {"seconds": 2, "fail": true}`` says how the next backups go.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent.parent))

from tests.doubles.backrest import rules
from tests.doubles.backrest.log import log_line
from tests.doubles.backrest.messages import Json, Refused, read
from tests.doubles.backrest.store import ApiError, Fatal, Store
from tests.doubles.backrest.tasks import Oplog, Tasks
from tests.doubles.backrest.version import NEWEST, Version

if TYPE_CHECKING:
    from typing import Self

MASK = "********"


class Double:
    """A running double inside the test's process.

    Args:
        config: Path of config.json.
        data_dir: Where operations are kept.
        bind: ``host:port``; port 0 takes a free one.
        out: Where the log goes.
        version: Which Backrest it plays, see ``double_version``.

    Attributes:
        before: Method name → what is called before it is served, once for each call. Tests put races here.

    Raises:
        Fatal: It refuses the config.
    """

    def __init__(
        self,
        config: Path,
        data_dir: Path,
        bind: str = "127.0.0.1:0",
        out: IO[str] | None = None,
        *,
        version: Version = NEWEST,
    ) -> None:
        self._out = out
        self.version = version
        self._log_lock = threading.Lock()
        self.before: dict[str, Callable[[], None]] = {}
        self.methods: dict[str, Callable[[bytes], Json]] = {
            "GetConfig": self._get_config,
            "SetConfig": self._set_config,
            "AddRepo": self._add_repo,
            "RemoveRepo": self._remove_repo,
            "GetOperations": self._get_operations,
            "Backup": self._backup,
        }
        self.log("INFO", "backrest starting", version=str(version), commit="double", log_dir=str(data_dir))
        self.store = Store(config, version)
        data_dir.mkdir(parents=True, exist_ok=True)
        self._lock_file = (data_dir / "oplog.lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Fatal(
                "oplog is locked by another instance of backrest", {"data_dir": str(data_dir)}
            ) from None
        self.oplog = Oplog(data_dir)
        found = {"incomplete_ops": self.oplog.incomplete, "deleted_ops": 0}
        self.log("INFO", "scrubbed operation log for incomplete operations", **found)
        self.tasks = Tasks(self.oplog, data_dir, self.log)
        self.tasks.tells_start_errors = version.tells_start_errors
        self.oplog.schedule(self.store.cached)
        self.log("INFO", "reset task queue, scheduling new task set", timezone="UTC")
        host, _, port = bind.rpartition(":")
        self._server = ThreadingHTTPServer((host or "0.0.0.0", int(port)), _handler(self))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://{host or '127.0.0.1'}:{self.port}"
        self.log("INFO", "starting web server", addr=f"{host}:{self.port}")
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop gracefully: a running backup is cancelled, its hooks still run."""
        self.tasks.cancel()
        self.tasks.wait(30)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._lock_file.close()

    def log(self, level: str, message: str, **fields: Any) -> None:
        """Write one log line."""
        if self._out is not None:
            with self._log_lock:
                print(log_line(level, message, fields, self.version), file=self._out, flush=True)

    def call(self, method: str, body: bytes) -> Json:
        """Serve one method of ``v1.Backrest``."""
        self.before.get(method, lambda: None)()
        try:
            return self.methods[method](body)
        except Refused as error:
            raise ApiError(
                "invalid_argument", f"unmarshal message: unmarshal into *v1.Config: {error}"
            ) from None
        except ApiError as error:
            code, message = error.args
            if self.version.has_codes or code == "unknown":
                raise
            prefix = (
                "failed to update config: " if method == "SetConfig" and self.version.prefixes_errors else ""
            )
            raise ApiError("unknown", prefix + message) from None

    def permits(self, authorization: str) -> bool:
        """Return whether an ``Authorization`` header is enough."""
        auth = self.store.cached.get("auth", {"disabled": True})
        if auth.get("disabled"):
            return True
        try:
            name, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        except ValueError:
            return False
        known = {user["name"]: user.get("passwordBcrypt", "") for user in auth.get("users", [])}
        return known.get(name) == hash_password(password)

    def _get_config(self, _: bytes) -> Json:
        with self.store.lock:
            shown = deepcopy(self.store.cached)
        if not self.version.masks:
            return shown
        if "identity" in shown.get("sync", {}):
            shown["sync"]["identity"] = {"keyId": shown["sync"]["identity"].get("keyId", "")}
        for user in shown.get("auth", {}).get("users", []):
            user["passwordBcrypt"] = MASK
        return shown

    def _set_config(self, body: bytes) -> Json:
        new = read(body, self.version)
        with self.store.lock:
            old = self.store.cached
            if new.get("modno", 0) != old.get("modno", 0):
                raise ApiError("failed_precondition", "config modno mismatch, reload and try again")
            if "identity" in new.get("sync", {}):
                new["sync"]["identity"] = {
                    **old.get("sync", {}).get("identity", {}),
                    **new["sync"]["identity"],
                }
            known = {user["name"]: user for user in old.get("auth", {}).get("users", [])}
            for user in new.get("auth", {}).get("users", []):
                if user.get("passwordBcrypt") == MASK and user.get("name") in known:
                    user.update(known[user["name"]])
            new["modno"] = new.get("modno", 0) + 1
            self.store.save(new)
            self.oplog.schedule(new)
            saved = deepcopy(new)
        return self._get_config(b"") if self.version.masks_answers else saved

    def _add_repo(self, body: bytes) -> Json:
        """Add a repo. ``modno`` is neither checked nor raised: that is Backrest's gap, and the point of this."""
        asked = json.loads(body)
        asked = asked.get("repo", {}) if self.version.wraps_repo else asked
        repo = read(json.dumps({"repos": [asked]}).encode(), self.version)["repos"][0]
        repo["guid"] = hashlib.sha256(repo.get("uri", "").encode()).hexdigest()
        with self.store.lock:
            config = deepcopy(self.store.cached)
            config["repos"] = [r for r in config.get("repos", []) if r["id"] != repo.get("id")] + [repo]
            self.store.save(config)
        return self._get_config(b"")

    def _remove_repo(self, body: bytes) -> Json:
        gone = json.loads(body).get("repoId" if self.version.names_repo_id else "value")
        with self.store.lock:
            config = deepcopy(self.store.cached)
            config["repos"] = [r for r in config.get("repos", []) if r["id"] != gone]
            self.store.save(config)
        return self._get_config(b"")

    def _get_operations(self, body: bytes) -> Json:
        asked = json.loads(body)
        if "selector" not in asked:
            raise ApiError("unknown", "empty selector")
        found = self.oplog.last(int(asked.get("lastN", 0)), asked["selector"].get("planId", ""))
        return {"operations": found} if found else {}

    def _backup(self, body: bytes) -> Json:
        config, wanted = self.store.cached, json.loads(body).get("value")
        plan = next((plan for plan in config.get("plans", []) if plan["id"] == wanted), None)
        if plan is None:
            raise ApiError("not_found", f"plan {wanted} not found")
        failed = self.tasks.backup(next(r for r in config["repos"] if r["id"] == plan["repo"]), plan)
        if failed:
            raise ApiError("unknown", failed)
        return {}


def hash_password(password: str) -> str:
    """Return what stands for a bcrypt hash: base64, as in Backrest's config."""
    return base64.b64encode(b"double:" + hashlib.sha256(password.encode()).digest()).decode()


def _handler(double: Double) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(200, b"", "text/html")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            service, _, method = self.path.lstrip("/").partition("/")
            if service == "v1.Authentication" and method == "HashPassword":
                return self._json(200, {"value": hash_password(json.loads(body)["value"])})
            if service == "double" and method == "backup":
                told = json.loads(body)
                double.tasks.seconds, double.tasks.fail = (
                    float(told.get("seconds", 0)),
                    bool(told.get("fail")),
                )
                return self._json(200, {})
            if service != "v1.Backrest" or method not in double.methods:
                return self._answer(404, b"404 page not found\n", "text/plain")
            if not double.permits(self.headers.get("Authorization", "")):
                return self._answer(401, b"Unauthorized (No Authorization Header)\n", "text/plain")
            try:
                return self._json(200, double.call(method, body))
            except ApiError as error:
                code, message = error.args
                status = {"unknown": 500, "not_found": 404}.get(code, 400)
                return self._json(status, {"code": code, "message": message})
            except rules.Panicked:  # Backrest's server recovers and cuts the connection
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Keep quiet, as Backrest does about requests."""

        def _json(self, status: int, body: Json) -> None:
            self._answer(status, json.dumps(body).encode(), "application/json")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="A double of Backrest", allow_abbrev=False)
    parser.add_argument(
        "--config", "-config-file", default=os.environ.get("BACKREST_CONFIG", "/config/config.json")
    )
    parser.add_argument("--bind", "-bind-address", default=os.environ.get("BACKREST_PORT", "127.0.0.1:9898"))
    parser.add_argument("--data", "-data-dir", default=os.environ.get("BACKREST_DATA", "/data"))
    parser.add_argument("--play", type=Version.of, default=NEWEST, help="which version of Backrest to be")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    bind = options.bind if ":" in options.bind else f"0.0.0.0:{options.bind}"
    try:
        double = Double(Path(options.config), Path(options.data), bind, sys.stdout, version=options.play)
    except Fatal as fatal:
        message, fields = fatal.args
        sys.stdout.write(log_line("FATAL", message, fields, options.play) + "\n")
        return 1
    except rules.Panicked:
        sys.stderr.write("panic: runtime error: negative shift amount\n\ngoroutine 1 [running]:\n")
        sys.stderr.write("github.com/gitploy-io/cronexpr.buildBitset(...)\n")
        return 2
    stop.wait()
    double.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
