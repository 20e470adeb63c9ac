"""``restore-config [TIME]``: put a kept config.json back, by the same safe apply as any other change."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from sidecar.apply.config_file import ConfigFile, Written
from sidecar.apply.restarter import Restarter
from sidecar.backrest.copies import Copies
from sidecar.commands.reconcile import stopping
from sidecar.commands.wiring import writing
from sidecar.config import document
from sidecar.config.protojson import MAX_INT32, as_int
from sidecar.engine.client import Engine
from sidecar.errors import SidecarError, told
from sidecar.exit_codes import ExitCode
from sidecar.log import get_logger
from sidecar.merge.result import Merge
from sidecar.settings.settings import Settings
from sidecar.status.announcer import Announcer
from sidecar.store.versions import UndoCopy

log = get_logger(__name__)


def restore_config(settings: Settings, *, version: str | None = None, list_only: bool = False) -> int:
    """Put back the version of ``version`` (as ``--list`` shows it), or the newest; return the exit code."""
    in_place = threading.Event()
    try:
        with stopping() as stop:
            engine = Engine(settings.docker_sock)
            parts = writing(settings, engine, Announcer(), lambda _: None, stop=stop, patient=False)
            if list_only:
                return _show(parts.file.store.list_undo(), sorted(Copies(settings.config).mark()))
            parts.work_off()
            copy, raw = parts.file.store.read_undo(version or "")
            data = document.parse(raw, where=str(copy.path))
            faults = document.validate(data)
            if faults:
                text = f"{copy.path} is one that Backrest would refuse: {faults[0].where} {faults[0].message}"
                log.error("config.restore_failed", reason=text, advice="name another: restore-config --list")
                return ExitCode.FAILED
            assert parts.restarter is not None  # noqa: S101  # an engine was given
            owed = _put_back(parts.restarter, parts.file, data, stop, in_place.set)
    except SidecarError as failure:
        log.error("config.restore_failed", in_place=in_place.is_set(), **told(failure))
        return ExitCode.FAILED
    except LookupError as error:  # read_undo: no such version
        log.error("config.restore_failed", reason=str(error.args[0]))
        return ExitCode.FAILED
    if owed is None and in_place.is_set():
        log.warn(
            "config.restored",
            version=copy.label,
            reason="the version is in place and Backrest was started with it; told to stop before it was seen up",
            advice="see its log; what stood there before is kept: restore-config --list",
        )
        return ExitCode.FAILED
    if owed is None:
        log.warn("config.restore_failed", reason="told to stop before Backrest was idle; nothing was changed")
        return ExitCode.FAILED
    if owed:
        log.error("restart.owed", reason=owed, advice="start or restart Backrest")
        return ExitCode.FAILED
    log.info(
        "config.restored",
        version=copy.label,
        note="labels win over it at the next reconcile; what stood there before is kept as well",
    )
    return ExitCode.CHANGED


def _put_back(
    restarter: Restarter,
    file: ConfigFile,
    data: dict[str, Any],
    stop: threading.Event,
    in_place: Callable[[], object] = lambda: None,
) -> str | None:
    """Stop, put, start. Return what is still owed, empty for nothing; None when told to stop before that is known.

    Args:
        restarter: Stops and starts Backrest.
        file: config.json.
        data: What is put there.
        stop: Ends the waits, before the stop of Backrest and after its start.
        in_place: Called once the file is swapped.
    """

    def put() -> Written:
        before = file.store.read().raw
        file.put(_newer(data, before), lambda state: state)
        in_place()
        return Written(
            Merge(data=data, owners=file.state().owners, changed=True), changed=True, before=before
        )

    waits = restarter.restart(put, lambda: True)
    try:
        while not stop.is_set():
            stop.wait(max(0.0, next(waits) - time.monotonic()))
    except StopIteration as end:
        return str(end.value.refused or end.value.owed)
    return None


def _newer(data: dict[str, Any], before: bytes) -> dict[str, Any]:
    """Return the document with a ``modno`` that no open tab of Backrest's UI has, so that its save is refused."""
    numbers = [as_int(data.get("modno")) or 0]
    with suppress(document.ConfigError):  # what is put back may well replace a broken file
        numbers.append(as_int(document.parse(before, where="config.json").get("modno")) or 0)
    return {**data, "modno": min(max(numbers) + 1, MAX_INT32)}


def _show(copies: tuple[UndoCopy, ...], backrests: Sequence[str]) -> int:
    for copy in copies:
        note = "  another program's edit, in no merge" if copy.kept else ""
        sys.stdout.write(f"{copy.label}  {copy.path.name}{note}\n")
    if not copies:
        sys.stdout.write("No previous version of config.json is kept yet.\n")
    if backrests:  # what is changed through its API, Backrest replaces and keeps itself
        sys.stderr.write(
            f"note: Backrest keeps {len(backrests)} of its own beside it, also of what it was told through its API; "
            f"the newest is {backrests[-1]}. To put one back: stop Backrest, copy it over config.json, start.\n"
        )
    return ExitCode.CHANGED
