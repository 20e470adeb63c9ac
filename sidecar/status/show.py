"""``backrest-sidecar status``: the daemon's status file, for people or for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from sidecar.duration import format_duration
from sidecar.exit_codes import ExitCode
from sidecar.findings import printable
from sidecar.settings.settings import Settings
from sidecar.status.healthcheck import LIMITS, judge

MOST_ROWS = 30
"""Rows of skipped containers and invisible paths for people; ``--json`` has up to 200."""


def status(settings: Settings, *, as_json: bool = False) -> int:
    """Print what the daemon is doing; return 0, or 3 when there is no status file that can be read."""
    path = settings.state_path / "status.json"
    try:
        found = json.loads(path.read_bytes())
        text = (
            json.dumps(found, indent=2, ensure_ascii=False)
            if as_json
            else render_status(found, time.monotonic())
        )
    except FileNotFoundError:
        return _fail(
            f"there is no status file {path}. Does the daemon run, and with this --config or --state-dir?"
        )
    except OSError as error:
        return _fail(f"the status file {path} cannot be read: {error.strerror}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return _fail(
            f"the status file {path} is damaged; a running daemon writes a new one within half a minute"
        )
    sys.stdout.write(text + "\n")
    return ExitCode.CHANGED


def render_status(found: dict[str, Any], now: float) -> str:
    """Return a status file as text for people, lines of one table each under a heading.

    Args:
        found: The status file, as ``status.file.document`` makes it.
        now: Monotonic time in seconds, for the ages and the verdict.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: It is no status file.
    """
    engine_limit, owed_limit = (default for _, default in LIMITS.values())
    verdict = judge(found, now, engine_limit, owed_limit)
    age = max(0.0, now - found["monotonic"])
    head = [
        ("daemon", f"backrest-sidecar {found['version']}, process {found['pid']}, since {found['started']}"),
        ("health", f"unhealthy: {verdict}" if verdict else "healthy"),
        ("written", f"{found['written']} ({format_duration(round(age))} ago)"),
        ("engine", _engine(found["engine"])),
        *((f"last {name}", moment or "never") for name, moment in found["last"].items()),
        ("counts", ", ".join(f"{number} {name}" for name, number in found["counts"].items())),
        (
            "plans",
            ", ".join(f"{number} {state}" for state, number in sorted(found["plans"].items())) or "none yet",
        ),
        ("owed", _owed(found["owed"])),
        *_awaited(found.get("config_awaited")),
        *_waiting(found.get("waiting")),
        *_backrest(found.get("backrest")),
        *_down(found.get("backrest_down")),
    ]
    lines = [*_table(head)]
    failure = found["failure"]
    if failure:
        lines += ["", "Not written", *_table([("since", failure["since"]), ("why", failure["reason"])], 2)]
        lines += _table([(key, value) for key, value in _advice(failure)], 2)
    lines += ["", "Workers", *_table([_worker(worker) for worker in found["workers"]], 2)]
    lines += _findings("Skipped", found["skipped"], found["skipped_count"])
    lines += _findings("Not visible to Backrest", found["invisible"], found["invisible_count"])
    return "\n".join(lines)


def _engine(engine: dict[str, Any]) -> str:
    if engine["reachable"] is None:
        return "not asked yet"
    if engine["reachable"]:
        return f"reachable since {engine['since']}"
    return f"unreachable since {engine['since']}: {engine['reason']}" + (
        f". {engine['advice']}" if engine["advice"] else ""
    )


def _owed(owed: dict[str, Any] | None) -> str:
    return f"{owed['kind']} since {owed['since']}: {owed['why']}" if owed else "nothing"


def _waiting(waiting: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if waiting:
        plans = f" ({', '.join(waiting['plans'])})" if waiting["plans"] else ""
        late = "; longer than --apply-max-wait" if waiting["overdue"] else ""
        yield "waiting", f"to be applied since {waiting['since']}{plans}: {waiting['why']}{late}"


def _awaited(awaited: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if awaited:
        yield "waiting", f"for config.json since {awaited['since']}: {awaited['why']}"


def _backrest(backrest: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if backrest:
        said = f"does not serve us: {backrest['reason']}" if backrest["reason"] else "answers"
        yield "backrest", f"{backrest['url']} {said}, since {backrest['since']}"


def _down(down: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if down:
        yield "backrest", f"{down['why']}, since {down['since']} or before"


def _advice(failure: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if failure["advice"]:
        yield "advice", failure["advice"]
    if failure["blocked"]:
        yield "plans", ", ".join(failure["blocked"])


def _worker(worker: dict[str, Any]) -> tuple[str, ...]:
    restarts = worker["restarts"]
    past = "" if not restarts else f"restarted {restarts} time{'s' if restarts > 1 else ''}"
    error = f"last failure: {worker['error']}" if worker["error"] else ""
    return worker["name"], worker["state"], worker["last_beat"] or "", "; ".join(filter(None, (past, error)))


def _findings(title: str, rows: list[dict[str, str]], number: int) -> list[str]:
    if not rows:
        return []
    more = number - min(len(rows), MOST_ROWS)
    table = [
        (row["container"], row["reason"].removeprefix(f"{row['container']}: ")) for row in rows[:MOST_ROWS]
    ]
    return ["", f"{title} ({number})", *_table(table, 2), *([f"  and {more} more"] if more > 0 else [])]


def _table(rows: list[tuple[str, ...]] | list[tuple[str, str]], indent: int = 0) -> list[str]:
    """Align all columns but the last; nothing in a cell can break the line or move the cursor."""
    cells = [[printable(str(cell), limit=500) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in cells), strict=True)]
    return [(" " * indent + "  ".join([*map(str.ljust, row, widths), row[-1]])).rstrip() for row in cells]


def _fail(reason: str) -> int:
    sys.stderr.write(f"Error: {reason}\n")
    return ExitCode.FAILED
