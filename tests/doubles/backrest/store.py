"""config.json as the double of Backrest keeps it.

backrest: internal/config/config.go:33-151, internal/config/jsonstore.go:45-144.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

from tests.doubles.backrest import rules
from tests.doubles.backrest.messages import Json, Refused, read
from tests.doubles.backrest.version import NEWEST, Version

KEEP = 10


class Fatal(Exception):
    """The start ends; the arguments are the log line's sentence and its fields."""


class ApiError(Exception):
    """A Connect error: code and message."""


class Store:
    """config.json as Backrest keeps it: read once, cached, written as a whole."""

    def __init__(self, path: Path, version: Version = NEWEST) -> None:
        self._path = path
        self._version = version
        self.lock = threading.RLock()
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            self.cached: Json = {"version": version.config, "auth": {"disabled": True}}
            if version.has_identity:
                self.cached["sync"] = {"identity": rules.new_identity(version)}
            return
        except OSError as error:
            raise Fatal("error loading config", {"error": f"failed to read config file: {error}"}) from None
        try:
            config = read(raw, version)
        except Refused as error:
            raise Fatal("error loading config", {"error": f"failed to unmarshal config: {error}"}) from None
        prefix = ""
        try:
            if rules.migrate(config, version):
                prefix = "validation after migration: " if version.since("1.9.2") else ""
                rules.validate(config, version)
                self._write(config)
            rules.validate(config, version)
        except Refused as error:
            at_migration = str(error).startswith("config version")
            raise Fatal(
                "error loading config", {"error": ("" if at_migration else prefix) + str(error)}
            ) from None
        self.cached = config

    def save(self, config: Json) -> None:
        """Check, write and cache a config."""
        try:
            rules.validate(config, self._version)
        except Refused as error:
            raise ApiError("invalid_argument", f"validation error: {error}") from None
        self._write(config)
        self.cached = config

    def _write(self, config: Json) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
            self._replace(Path(f"{self._path}.bak.{stamp}"), self._path.read_bytes())
            for old in sorted(self._path.parent.glob(self._path.name + ".bak.*"))[:-KEEP]:
                old.unlink()
        self._replace(self._path, json.dumps(config, indent=2, ensure_ascii=False).encode())

    def _replace(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f"{path.name}{os.getpid()}{threading.get_ident()}")
        temporary.write_bytes(data)
        temporary.replace(path)
        path.chmod(0o600)
