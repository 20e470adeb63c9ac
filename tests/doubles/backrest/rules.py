"""What the double of Backrest accepts: migrations, validation and cron, in its own words.

Apart from the sidecar's own validation on purpose, see ``double_messages``. The sentences are Backrest's.

backrest: internal/config/validate.go, internal/config/migrations, internal/protoutil/schedule.go:105-136; cron:
gitploy-io/cronexpr v0.2.2 parser.go.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
import secrets
import threading
from collections.abc import Callable

from tests.doubles.backrest.messages import Json, Refused
from tests.doubles.backrest.version import NEWEST, Version

_BOUNDS = (("minute", 0, 59), ("hour", 0, 24), ("dom", 1, 31), ("month", 1, 12), ("dow", 0, 6))
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_NAMES = {
    "month": {name: number for number, name in enumerate(_MONTHS, 1)},
    "dow": {name: number for number, name in enumerate(_DAYS)},
}
_PEM = "-----BEGIN EC PRIVATE-----\n"
_NUMBER = re.compile(r"[+-]?[0-9]+\Z")


class Panicked(Exception):
    """Backrest's parser panics."""


def _hang() -> None:
    """Never return, as Backrest's cron parser on a step of 0. A test replaces it to see that it was met."""
    threading.Event().wait()


hang: Callable[[], None] = _hang


def new_identity(version: Version = NEWEST) -> Json:
    """Return something in the shape of an identity as this version makes it."""
    seed = secrets.token_bytes(32)
    public = hashlib.sha256(b"public" + seed).digest()
    if not version.has_ed25519:
        pems = [f"{_PEM}{base64.b64encode(part).decode()}\n" for part in (seed, public)]
        return {"keyId": "ecdsa." + public.hex(), "ed25519priv": pems[0], "ed25519pub": pems[1]}
    key = base64.urlsafe_b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")
    plain = [base64.b64encode(part).decode().rstrip("=") for part in (seed, public)]
    return {"keyId": "ed25519." + key, "ed25519priv": plain[0], "ed25519pub": plain[1]}


def migrate(config: Json, backrest: Version = NEWEST) -> bool:
    """Bring a config that was read from disk up to date; return whether it must be written."""
    mutated = False
    if backrest.has_identity:
        sync = config.setdefault("sync", {})
        mutated = "identity" not in sync
        sync.setdefault("identity", new_identity(backrest))
    elif config == {}:
        config["version"] = backrest.config
        return True
    version = config.get("version", 0)
    if version >= backrest.config:
        return mutated
    if version == 0:
        raise Refused("config version 0 is invalid")
    if version < 2:
        raise Refused(
            f"config version {version} is too old to migrate, please try first upgrading to backrest 1.4.0"
        )
    for repo in config.get("repos", []):
        for policy in ("prunePolicy", "checkPolicy"):
            if version < 3 and "schedule" in repo.get(policy, {}):
                repo[policy]["schedule"]["clock"] = "CLOCK_LAST_RUN_TIME"
        if version < 4 and not repo.get("guid"):
            repo["guid"] = hashlib.sha256(repo.get("id", "").encode()).hexdigest()
    if backrest.has_ed25519 and not config["sync"]["identity"].get("keyId", "").startswith("ed25519."):
        config["sync"]["identity"] = new_identity()
    config["version"] = backrest.config
    return True


def validate(config: Json, version: Version = NEWEST) -> None:
    """Check and sort a config in place, as every load and save of this version does.

    Raises:
        Refused: With all faults, as Backrest lists them.
    """
    errors = []
    instance = config.get("instance", "")
    if instance and (_reserved(instance) or len(instance.encode()) > 50):
        errors.append(f'instance ID "{instance}" invalid: (> 50 chars): too long')
    errors += _auth(config.get("auth"))
    _drop_orphaned(config)  # one that was before 1.13 has no such repos
    repos: dict[str, Json] = {}
    for repo in config.get("repos", []):
        name = repo.get("id", "")
        errors += [f"repo {name}: {fault}" for fault in _grouped(_repo(repo, version))]
        errors += [f"repo {name}: duplicate id"] if name in repos else []
        repos[name] = repo
    plans = set()
    for plan in config.get("plans", []):
        name = plan.get("id", "")
        errors += [f"plan {name}: duplicate id"] if name in plans else []
        plans.add(name)
        errors += [f"plan {name}: {fault}" for fault in _grouped(_plan(plan, repos, version))]
    for key in ("repos", "plans"):
        if key in config:
            config[key].sort(key=lambda entry: str(entry.get("id", "")))
    if "sync" in config and version.has_identity:
        identity = config["sync"].get("identity", {})
        if not identity.get("keyId"):
            errors.append("multihost: identity keyid is required")
        elif not version.has_ed25519:
            bad = not identity.get("ed25519priv", "").startswith(_PEM)
            errors += ["multihost: verify private key: no private key found in pem"] if bad else []
        elif len(base64.b64decode(identity.get("ed25519priv", "") + "===")) != 32:
            errors.append(
                "multihost: verify private key: invalid ed25519 private key seed size: got 0, want 32"
            )
    if errors:
        raise Refused(_listed(errors))


def _listed(errors: list[str]) -> str:
    many = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    return f"{many} occurred:\n\t" + "\n\t".join("* " + error for error in errors) + "\n\n"


def _grouped(errors: list[str]) -> list[str]:
    return [_listed(errors)] if errors else []


def _reserved(name: str) -> bool:
    return name.startswith("_") and name.endswith("_")


def _identifier(name: str) -> list[str]:
    if _reserved(name):
        return [f"id \"{name}\" invalid: IDs starting and ending with '_' are reserved by backrest"]
    return [] if name else ['id "" invalid: empty']


def _auth(auth: Json | None) -> list[str]:
    if auth is None or auth.get("disabled"):
        return []
    if not auth.get("users"):
        return ["auth: auth enabled but no users"]
    for user in auth["users"]:
        if not user.get("passwordBcrypt"):
            return [f'auth: user "{user.get("name", "")}": password is required']
        if not user.get("name") or _reserved(user["name"]):
            return [f'auth: user "{user.get("name", "")}": empty']
    return []


def _drop_orphaned(config: Json) -> None:
    """Remove repos of peers that are gone, and their plans."""
    sync = config.get("sync", {})
    peers = {
        p.get("instanceId", "") for key in ("authorizedClients", "knownHosts") for p in sync.get(key, [])
    }
    gone = {r.get("id") for r in config.get("repos", []) if r.get("originInstanceId", "") not in peers | {""}}
    if gone:
        config["repos"] = [r for r in config["repos"] if r.get("originInstanceId", "") in peers | {""}]
        config["plans"] = [p for p in config.get("plans", []) if p.get("repo") not in gone]


def _repo(repo: Json, version: Version) -> list[str]:
    errors = _identifier(repo.get("id", ""))
    guid = repo.get("guid", "")
    if guid and repo.get("autoInitialize"):
        errors.append("auto_initialize set with guid but guid implies that repo is already initialized")
    if guid and len(guid.encode()) != 64:
        errors.append(f'guid "{guid}" invalid: must be 64 characters')
    if not guid and not repo.get("autoInitialize"):
        errors.append("guid is required unless using auto_initialize to implicitly initialize repos")
    if not repo.get("uri"):
        errors.append("uri is required")
    for task in ("prune", "check", "forget"):
        errors += _schedule(repo.get(f"{task}Policy", {}).get("schedule"), f"{task} policy schedule", version)
    forget = repo.get("forgetPolicy", {})
    chosen = set(forget.get("schedule", {})) - {"clock"}
    if "disabled" not in chosen and (chosen or ("schedule" in forget and version.empty_schedule_forgets)):
        retention = forget.get("retention")
        missing = ["forget policy must specify a retention policy"]
        errors += missing if retention is None else _retention(retention, "forget policy: ")
    errors += [
        f"invalid env var {e}, must take format KEY=VALUE" for e in repo.get("env", []) if "=" not in e
    ]
    repo.get("env", []).sort()
    return errors


def _plan(plan: Json, repos: dict[str, Json], version: Version) -> list[str]:
    errors = _identifier(plan.get("id", ""))
    errors += _schedule(plan.get("schedule"), "backup schedule", version)
    if not plan.get("paths") and version.wants_a_path:
        errors += _instead_of_paths(plan.get("backup_flags", []), version)
    errors += [f"path[{n}] cannot be empty" for n, path in enumerate(plan.get("paths", [])) if not path]
    if not plan.get("repo"):
        errors.append("repo is required")
    if plan.get("repo", "") not in repos:
        errors.append(f'repo "{plan.get("repo", "")}" not found')
    if "retention" in plan:
        errors += _retention(plan["retention"], "retention: " if version.names_retention else "")
    plan.get("paths", []).sort()
    return errors


def _instead_of_paths(flags: list[str], version: Version) -> list[str]:
    if version.wants_stdin:
        missing = "at least one path is required (unless --stdin-from-command is used)"
        return [] if "--stdin-from-command" in flags else [missing]
    supplied = "backup_flags supplies paths, e.g. --files-from or --stdin-from-command"
    return [] if flags else [f"at least one path is required (unless {supplied})"]


def _retention(policy: Json, where: str) -> list[str]:
    if not policy:
        either = "" if where else "must be nil or "
        return [f"{where}retention policy {either}must specify a policy"]
    if policy.get("policyTimeBucketed") == {}:
        return [f"{where}time bucketed policy must specify a non-empty bucket"]
    return []


def _schedule(schedule: Json | None, where: str, version: Version) -> list[str]:
    schedule = schedule or {}
    for key, unit in (("maxFrequencyDays", "days"), ("maxFrequencyHours", "hours")):
        if schedule.get(key, 1) < 1:
            return [f"{where}: invalid max frequency {unit}"]
    if schedule.get("disabled") is False:
        return [f"{where}: disabled boolean must be set to true"]
    cron = schedule.get("cron")
    if cron is None:
        return []
    if not cron:
        return [f"{where}: empty cron expression"]
    try:
        never = next_time(cron, dt.datetime.now()) is None  # noqa: DTZ005 - the local zone, as Backrest reads it
        if never and version.cron_must_fire:
            raise Refused("next scheduled time is invalid (check for DOW=7 usage)")
    except Refused as error:
        return [f'{where}: invalid cron "{cron}": {error}']
    return []


def next_time(cron: str, after: dt.datetime) -> dt.datetime | None:
    """Return the first minute after ``after`` at which ``cron`` fires; None for none within five years.

    Raises:
        Refused: Not an expression.
        Panicked: Backrest would crash on it. On a step of 0 this hangs, as Backrest does.
    """
    words = cron.split()
    if len(words) != 5:
        raise Refused("The length of fields must be five.")
    bits = {_BOUNDS[n][0]: _bits(words[n], *_BOUNDS[n]) for n in range(5)}
    start = after.replace(second=0, microsecond=0) + dt.timedelta(minutes=1)
    hours = [hour for hour in range(24) if bits["hour"] >> hour & 1]
    minutes = [minute for minute in range(60) if bits["minute"] >> minute & 1]
    day = start.replace(hour=0, minute=0)
    while day.year <= start.year + 5:
        dow = (day.weekday() + 1) % 7
        if bits["dom"] >> day.day & 1 and bits["month"] >> day.month & 1 and bits["dow"] >> dow & 1:
            times = (day.replace(hour=hour, minute=minute) for hour in hours for minute in minutes)
            at = next((time for time in times if time >= start), None)
            if at is not None:
                return at
        day += dt.timedelta(days=1)
    return None


def _bits(text: str, name: str, low: int, high: int) -> int:
    bits = 0
    for part in text.split(","):
        ends, *steps = part.replace("*", f"{low}-{high}", 1).split("/")
        bounds = ends.split("-")
        if len(steps) > 1 or len(bounds) > 2:
            raise Refused(f"Failed to parse the expr '{part}', too many '{'/' if len(steps) > 1 else '-'}'")
        numbers = [_number(bound, part, _NAMES.get(name, {})) for bound in bounds]
        first, last = numbers[0], numbers[-1] if len(numbers) == 2 or not steps else high
        step = _number(steps[0], part, {}) if steps else 1
        if first <= last and step == 0:
            hang()
        if first <= last and step < 0:
            raise Panicked
        for value in range(first, min(last, 63) + 1, step or 1):
            bits |= 1 << value
    return bits


def _number(text: str, part: str, names: dict[str, int]) -> int:
    if _NUMBER.match(text):
        return int(text)
    if text.upper() in names:
        return names[text.upper()]
    raise Refused(f"Failed to parse the expr '{part}': '{text}' is out of reserved words")
