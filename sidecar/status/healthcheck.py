"""``backrest-sidecar healthcheck``: is the daemon healthy? One line and exit 0 or 1, as Docker's HEALTHCHECK wants.

It runs every half minute for years, so it imports the standard library alone, and little of it. It reads the
status file, and finds it without being told: a HEALTHCHECK has the daemon's environment but not its
arguments, so those are read from ``/proc``, from the process that it shares the container with.
"""

# No pathlib here: importing it takes longer than all that this module does.
# ruff: noqa: PTH115, PTH118, PTH120, PTH123, PTH208
from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Container, Mapping, Sequence

HEALTHY, UNHEALTHY = 0, 1

STALE_AFTER = 90.0
"""Seconds after which a status file says that nobody writes it any more; it is rewritten every 30."""
LIMITS = {
    "--engine-limit": ("BACKREST_SIDECAR_ENGINE_LIMIT", 60.0),
    "--owed-limit": ("BACKREST_SIDECAR_OWED_LIMIT", 7 * 3600.0),
}
"""Flag → (variable, default): seconds for which the engine may be unreachable, and for which a restart may be
owed. The latter is above the daemon's longest wait for an idle Backrest, ``--apply-max-wait`` 6h."""

_PLACES = {"--state-dir": "BACKREST_STATE_DIR", "--config": "BACKREST_CONFIG"}
_DAEMON = "daemon"

USAGE = """Usage: backrest-sidecar healthcheck [--state-dir DIR] [--config FILE]
                                    [--engine-limit SECONDS] [--owed-limit SECONDS]

Is the daemon healthy? One line; exit 0 when it is, 1 when not. Without --state-dir and --config the daemon's
own
arguments and environment count."""


def main(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    proc: str = "/proc",
    clock: Callable[[], float] = time.monotonic,
    say: Callable[[str], object] = print,
) -> int:
    """Judge the daemon; return 0 when it is healthy, else 1.

    Args:
        argv: The flags, see :data:`USAGE`.
        environ: The environment; that of the process when None.
        proc: Where the process file system is.
        clock: Monotonic time in seconds.
        say: Takes the one line.
    """
    env = os.environ if environ is None else environ
    if "--help" in argv or "-h" in argv:
        say(USAGE)
        return HEALTHY
    try:
        given = _flags(argv, _PLACES.keys() | LIMITS.keys(), strict=True)
        limits = {
            flag: _seconds(flag, given.get(flag) or env.get(variable), default)
            for flag, (variable, default) in LIMITS.items()
        }
    except ValueError as error:
        say(f"unhealthy: {error}")
        return UNHEALTHY
    path = status_path(given, env, proc)
    try:
        with open(path, "rb") as file:
            status = json.load(file)
        reason = judge(status, clock(), limits["--engine-limit"], limits["--owed-limit"])
    except FileNotFoundError:
        reason = f"there is no status file {path}: the daemon does not run, or has another --state-dir"
    except OSError as error:
        reason = f"the status file {path} cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = f"the status file {path} is damaged"
    say(f"unhealthy: {reason}" if reason else "healthy")
    return UNHEALTHY if reason else HEALTHY


def judge(status: dict[str, object], now: float, engine_limit: float, owed_limit: float) -> str:
    """Return why the daemon is unhealthy in one sentence, or an empty text.

    Args:
        status: The status file, as ``status.file.document`` makes it.
        now: Monotonic time in seconds.
        engine_limit: Seconds for which the engine may be unreachable.
        owed_limit: Seconds for which something may be owed.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: It is no status file.
    """
    s: dict = status  # type: ignore[type-arg] # plain JSON, and typing it would need an import
    age = now - float(s["monotonic"])
    if s.get("stopped"):
        return f"the daemon was stopped at {s['written']}"
    if age < 0 or age > STALE_AFTER:
        when = "before this machine was started" if age < 0 else f"{_short(age)} ago"
        return f"the daemon shows no sign of life: its status was last written {when}"
    for worker in s["workers"]:
        if worker["overdue"]:
            return f"the worker {worker['name']} hangs"
        if worker["state"] not in {"running", "new"}:
            error = f": {worker['error']}" if worker["error"] else ""
            return f"the worker {worker['name']} is down ({worker['state']}){error}"
    engine = s["engine"]
    if not engine["reachable"] and engine["for_seconds"] + age > engine_limit:
        lasting = _short(engine["for_seconds"] + age)
        why = "; ".join(filter(None, (engine["reason"], engine["advice"]))) or "it has not answered yet"
        return f"the Docker engine has been unreachable for {lasting}: {why}"
    failure = s["failure"]
    if failure:
        what = _named(failure["blocked"]) or "config.json"
        return f"{what} cannot be written: {failure['reason']}" + (
            f"; {failure['advice']}" if failure["advice"] else ""
        )
    waiting = s.get("waiting")
    if waiting and waiting["overdue"]:
        lasting = _short(waiting["for_seconds"] + age)
        what = _named(waiting["plans"]) or "config.json"
        return f"the apply of {what} has waited for {lasting} for an idle Backrest: {waiting['why']}"
    owed = s["owed"]
    if owed and owed["for_seconds"] + age > owed_limit:
        return f"Backrest is owed a {owed['kind']} for {_short(owed['for_seconds'] + age)}: {owed['why']}"
    return ""


def _named(plans: Sequence[str]) -> str:
    more = f" and {len(plans) - 3} more" if len(plans) > 3 else ""
    return f"plans {', '.join(plans[:3])}{more}" if plans else ""


def status_path(given: Mapping[str, str], env: Mapping[str, str], proc: str) -> str:
    """Return where the status file is: own flags, else the daemon's flags, else the environment, else default.

    A path that the daemon was given relative to its working directory is taken relative to that.
    """
    place = {flag: given.get(flag, "") for flag in _PLACES}
    base = ""
    if not any(place.values()):
        flags, base = _daemon_flags(proc)
        place = {flag: flags.get(flag) or env.get(variable, "") for flag, variable in _PLACES.items()}
    else:
        # One of the two was given: the other may still come from the environment, as for any command.
        place = {flag: place[flag] or env.get(variable, "") for flag, variable in _PLACES.items()}
    config = place["--config"] or "./backrest.config.json"
    directory = place["--state-dir"] or os.path.join(os.path.dirname(config), ".backrest-sidecar")
    return os.path.normpath(os.path.join(base, directory, "status.json"))


def _daemon_flags(proc: str) -> tuple[dict[str, str], str]:
    """Return the flags of the daemon that runs here, and its working directory; both empty when there is none.

    In a container the daemon is process 1, or 7 or so below an init; the lowest number wins.
    """
    try:
        numbers = sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    except OSError:
        return {}, ""
    for number in numbers:
        try:
            with open(f"{proc}/{number}/cmdline", "rb") as file:
                words = os.fsdecode(file.read()).rstrip("\0").split("\0")
        except OSError:
            continue  # it has ended, or is not ours to look at
        if _DAEMON not in words or not any(map(_is_ours, words[: words.index(_DAEMON)])):
            continue
        if _mounts(proc, str(number)) != _mounts(proc, "self"):
            continue  # in another container: its paths are not ours
        try:
            base = os.readlink(f"{proc}/{number}/cwd")
        except OSError:
            base = ""
        return _flags(words, _PLACES.keys(), strict=False), base
    return {}, ""


def _mounts(proc: str, number: str) -> str:
    """Return the mount namespace of a process; empty when it may not be known."""
    try:
        return os.readlink(f"{proc}/{number}/ns/mnt")
    except OSError:
        return ""


def _is_ours(word: str) -> bool:
    name = word.rpartition("/")[2]
    return name in {"backrest-sidecar", "sidecar"} or word.endswith("sidecar/__main__.py")


def _flags(words: Sequence[str], known: Container[str], *, strict: bool) -> dict[str, str]:
    """Return flag → value for ``--flag value`` and ``--flag=value``; the last one counts.

    Raises:
        ValueError: A word is no known flag or a value is missing, and ``strict`` is set.
    """
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag in known:
            found[flag] = value if equals else next(rest, "")
            if strict and not found[flag]:
                raise ValueError(f"{flag} needs a value")
        elif strict:
            raise ValueError(f"unknown argument {word[:40]!r}; see --help")
    return found


def _seconds(flag: str, text: str | None, default: float) -> float:
    if not text:
        return default
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], units[text[-1]]) if text[-1] in units else (text, 1)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{flag} {text[:40]!r} is no duration; write 90s, 10m, 7h or plain seconds")
    return seconds


def _short(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
