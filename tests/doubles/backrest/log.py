"""The console log of the double of Backrest: a line in the form of the version that it plays.

backrest: cmd/backrest/backrest.go of v1.14.1 and, for the old form, of v1.10.1.
"""

from __future__ import annotations

import json
import time

from tests.doubles.backrest.messages import Json
from tests.doubles.backrest.version import NEWEST, Version

_COLOURS = {"INFO": "34", "WARN": "33", "ERROR": "31", "FATAL": "31"}
_OLD = {
    "backrest starting": "backrest version {version}@{commit}, using log directory: {log_dir}",
    "starting web server": "starting web server {addr}",
    "error loading config": "error loading config: {error}",
    "oplog is locked by another instance of backrest": "oplog is locked by another instance of backrest that is using"
    ' the same data directory "{data_dir}", kill that instance before starting another one.',
}
"""Sentences whose fields were words until 1.10."""


def log_line(level: str, message: str, fields: Json, version: Version = NEWEST) -> str:
    """Return a line as Backrest's console log has it; several lines for an old FATAL."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"
    if not version.logs_fields and message in _OLD:
        message, fields = _OLD[message].format(**fields), {}
    line = f"{stamp}\t\x1b[{_COLOURS[level]}m{level}\x1b[0m\t{message}"
    return line + ("\t" + json.dumps(fields, ensure_ascii=False) if fields else "")
