"""Backrest's own rules for config.json: would it start with this file?

A single fault keeps Backrest from starting at all (backrest: cmd/backrest/backrest.go:82-86), so every backup stops.
The rules are those of backrest: internal/config/validate.go as of the file's ``version``, after the migrations that
Backrest would run on it (backrest: internal/config/migrations). Older ones take more, see tests/double_version.py:
there our rules are the stricter ones; what an older one refuses beyond them is asked for by ``stdin_only``. No fault
text ever holds a value that may be secret.

Not checked, because the file alone does not tell: whether migration 5 refuses over RESTIC_PASSWORD in Backrest's
environment, and whether a repo with ``autoInitialize`` can be initialised.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.config.backrest_cron import cron_problem
from sidecar.config.protojson import PLAN, as_int
from sidecar.config.schema import REPO, TOP
from sidecar.config.sync_validation import sync_faults
from sidecar.findings import printable

Document = Mapping[str, Any]

GUID_FILLED_SINCE = 4
"""The migration to this version gives every repo without ``guid`` one."""
OLDEST_VERSION = 2
"""A file below this version is refused as too old (backrest: internal/config/migrations/migrations.go:42-45)."""
IDENTITY_RENEWED_SINCE = 6
"""The migration to this version replaces a sync identity of the old kind."""

_INSTANCE_MAX = 50
_BUCKETS = ("hourly", "daily", "weekly", "monthly", "yearly", "keepLastN", "keep_last_n")


@dataclass(frozen=True, slots=True)
class Fault:
    """One reason why Backrest would not start.

    Attributes:
        where: The place in the file, for people: ``plan "web"``, ``repo "main"``, ``auth``.
        message: What is wrong with it, as the rest of a sentence that begins with ``where``.
        plan_id: The plan it is about; empty for none.
        repo_id: The repo it is about; empty for none.
    """

    where: str
    message: str
    plan_id: str = ""
    repo_id: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class Checked:
    """What was found good, by identity: documents share the plans that did not change. Only saves time.

    Whoever keeps one never changes a document in place. It holds the last document and its plans alone.

    Attributes:
        last: The last document, the day and the ``stdin_only`` that it was judged by, and its faults.
    """

    def __init__(self) -> None:
        self.last: tuple[Document, dt.date | None, bool, tuple[Fault, ...]] | None = None
        self._rules: tuple[frozenset[str], dt.date | None, bool] = (frozenset(), None, False)
        self._good: dict[int, Mapping[str, Any]] = {}
        self._before: dict[int, Mapping[str, Any]] = {}

    def begin(self, repos: Collection[str], today: dt.date | None, stdin_only: bool) -> None:
        """Begin with a document; forget everything where its plans are judged by other repos or another day."""
        rules = (frozenset(repos), today, stdin_only)
        self._before = self._good if rules == self._rules else {}
        self._rules, self._good = rules, {}

    def problems(self, plan: Mapping[str, Any]) -> list[str]:
        """Return :func:`plan_problems` of a plan, at once when it was found good before."""
        key = id(plan)
        # The plan is kept, so no other object can have its id.
        if self._before.get(key) is not plan and (texts := plan_problems(plan, *self._rules)):
            return texts
        self._good[key] = plan
        return []


def validate(
    data: Document, *, now: float | None = None, checked: Checked | None = None, stdin_only: bool = False
) -> tuple[Fault, ...]:
    """Return every fault for which Backrest would refuse to start; empty for a good file. Linear time.

    Args:
        data: The document, of the shape that ``config.document.parse`` guarantees.
        now: Unix time; a cron expression must fire within five years from it. Without it, ever firing is enough.
        checked: Remembers which plans are good, for the next call.
        stdin_only: See :func:`plan_problems`.
    """
    checked = checked or Checked()
    today = day_of(now)
    last = checked.last
    if last is not None and last[0] is data and last[1:3] == (today, stdin_only):
        return last[3]
    faults = [Fault("config.json", wrong.lstrip(". ")) for wrong in [TOP.check(data)] if wrong]
    faults += [Fault(where, message) for where, message in _top_faults(data)] if not faults else []
    version = as_int(data.get("version")) or 0
    gone = orphaned_repos(data)
    seen: set[str] = set()
    for repo in data.get("repos") or ():
        repo_id = repo.get("id") or ""
        where = f'repo "{printable(repo_id)}"'
        if repo_id in gone and _origin(repo):
            faults += [Fault(where, text, repo_id=repo_id) for text in _unreadable(REPO.check(repo))]
            continue
        faults += [Fault(where, text, repo_id=repo_id) for text in _repo_faults(repo, version, today)]
        if repo_id in seen:
            faults.append(Fault(where, "the id is given twice", repo_id=repo_id))
        seen.add(repo_id)
    ids: set[str] = set()
    checked.begin(seen, today, stdin_only)
    for plan in data.get("plans") or ():
        plan_id = plan.get("id") or ""
        if gone and str(plan.get("repo")) in gone:
            faults += [
                Fault(f'plan "{printable(plan_id)}"', text, plan_id) for text in _unreadable(PLAN.check(plan))
            ]
            continue
        if plan_id in ids:
            faults.append(Fault(f'plan "{printable(plan_id)}"', "the id is given twice", plan_id))
        ids.add(plan_id)
        if texts := checked.problems(plan):
            faults += [Fault(f'plan "{printable(plan_id)}"', text, plan_id) for text in texts]
    checked.last = data, today, stdin_only, tuple(faults)
    return checked.last[3]


def day_of(now: float | None) -> dt.date | None:
    """Return the UTC day of a Unix time."""
    return None if now is None else dt.datetime.fromtimestamp(now, tz=dt.UTC).date()


def known_repos(data: Document) -> tuple[str, ...]:
    """Return the repo ids that a plan may name, in the file's order.

    A repo that came from a peer which is no longer paired is not among them: Backrest removes it, and with it every
    plan that names it (backrest: internal/config/validate.go:291-329).
    """
    gone = orphaned_repos(data)
    return tuple(repo["id"] for repo in data.get("repos") or () if repo.get("id") and repo["id"] not in gone)


def orphaned_repos(data: Document) -> frozenset[str]:
    """Return the ids of the repos that Backrest will remove, see :func:`known_repos`."""
    repos = data.get("repos") or ()
    if not any("originInstanceId" in repo or "origin_instance_id" in repo for repo in repos):
        return frozenset()
    sync = _either(data, "sync", "multihost")
    peers = {
        str(_either(peer, "instanceId", "instance_id") or "")
        for key in (("authorizedClients", "authorized_clients"), ("knownHosts", "known_hosts"))
        for peer in (_either(sync, *key) if isinstance(sync, dict) else None) or ()
        if isinstance(peer, dict)
    }
    return frozenset(repo.get("id") or "" for repo in repos if _origin(repo) and _origin(repo) not in peers)


def plan_problems(
    plan: Mapping[str, Any], repos: Collection[str], today: dt.date | None, stdin_only: bool = False
) -> list[str]:
    """Return what Backrest finds wrong with one plan (backrest: internal/config/validate.go:144-182).

    Args:
        plan: The plan.
        repos: The ids that it may name.
        today: A cron expression must fire within five years from it; None for ever firing at all.
        stdin_only: Of the flags only ``--stdin-from-command`` may stand for paths (backrest v1.12.1:
            internal/config/validate.go:137-140); before and after any flag may.
    """
    if wrong := PLAN.check(plan):
        return _unreadable(wrong)
    out: list[str] = []
    plan_id = plan.get("id") or ""
    if not plan_id or plan_id[0] == "_":
        out += _id_problem(plan_id)
    schedule = plan.get("schedule")
    if schedule is not None and (problem := _schedule_problem(schedule, today)):
        out.append(f"schedule {problem}")
    paths = plan.get("paths")
    flags = plan.get("backup_flags") or ()
    if not paths and not flags:
        out.append("has no path")
    elif not paths and stdin_only and "--stdin-from-command" not in flags:
        out.append("has no path, instead of which this Backrest takes --stdin-from-command alone")
    elif paths and "" in paths:
        out.append("has an empty path")
    repo = plan.get("repo") or ""
    if not repo:
        out.append("names no repo")
    elif repo not in repos:
        out.append(f'names the repo "{printable(repo)}", which does not exist')
    retention = plan.get("retention")
    if retention is not None and (problem := _retention_problem(retention)):
        out.append(f"retention {problem}")
    return out


def _top_faults(data: Document) -> Iterator[tuple[str, str]]:
    version = as_int(data.get("version")) or 0
    if version < OLDEST_VERSION:
        yield (
            "version",
            f"{version} is too old for Backrest to migrate; start Backrest 1.4.0 once with this file",
        )
    instance = data.get("instance") or ""
    if instance:
        yield from (("instance", text) for text in _id_problem(instance))
        if len(instance.encode()) > _INSTANCE_MAX:
            yield "instance", f"the name is longer than {_INSTANCE_MAX} bytes"
    auth = data.get("auth")
    if auth is not None and not auth.get("disabled"):
        yield from (("auth", text) for text in _auth_problem(auth))
    sync = _either(data, "sync", "multihost")
    if sync is not None:
        legacy_allowed = version < IDENTITY_RENEWED_SINCE
        yield from (("sync", text) for text in sync_faults(sync, instance, legacy_allowed=legacy_allowed))


def _auth_problem(auth: Mapping[str, Any]) -> Iterator[str]:
    users = auth.get("users") or ()
    if not users:
        yield "is on, but there is no user"
    for user in users:
        name = user.get("name") or ""
        if problem := _id_problem(name):
            yield f'user "{printable(name)}": {problem[0]}'
            return
        if not _either(user, "passwordBcrypt", "password_bcrypt"):
            yield f'user "{printable(name)}" has no password'
            return


def _repo_faults(repo: Mapping[str, Any], version: int, today: dt.date | None) -> Iterator[str]:
    if wrong := REPO.check(repo):
        yield from _unreadable(wrong)
        return
    yield from _id_problem(repo.get("id") or "")
    guid, initialise = repo.get("guid") or "", _either(repo, "autoInitialize", "auto_initialize")
    filled = not guid and version < GUID_FILLED_SINCE
    if (guid or filled) and initialise:
        yield "has autoInitialize together with a guid" + (" (which the migration adds)" if filled else "")
    if guid and len(guid.encode()) != 64:
        yield "has a guid that is not 64 characters long"
    if not guid and not filled and not initialise:
        yield "has neither a guid nor autoInitialize"
    if not repo.get("uri"):
        yield "has no uri"
    for name in ("prune", "check", "forget"):
        policy = _either(repo, f"{name}Policy", f"{name}_policy")
        if policy is None:
            continue
        schedule = policy.get("schedule")
        if schedule is not None and (problem := _schedule_problem(schedule, today)):
            yield f"{name} policy: schedule {problem}"
        if name == "forget" and schedule is not None and _enabled(schedule):
            retention = policy.get("retention")
            if retention is None:
                yield "forget policy: has no retention"
            elif problem := _retention_problem(retention):
                yield f"forget policy: retention {problem}"
    for index, entry in enumerate(repo.get("env") or ()):
        if "=" not in entry:
            yield f"env[{index}] is not of the form KEY=VALUE"


def _id_problem(text: str) -> list[str]:
    """Backrest's character check is unanchored and so never fails; only these two rules bite.

    Source: backrest: internal/config/validationutil/validationutil.go:10-43.
    """
    if text.startswith("_") and text.endswith("_"):
        return ["the id starts and ends with '_', which Backrest keeps for itself"]
    return [] if text else ["the id is empty"]


def _schedule_problem(schedule: Mapping[str, Any], today: dt.date | None) -> str:
    """Source: backrest: internal/protoutil/schedule.go:105-136."""
    cron = schedule.get("cron")
    if cron is not None:
        problem = cron_problem(cron, today)
        return f'cron "{printable(cron)}" {problem}' if problem else ""
    if schedule.get("disabled") is False:
        return 'has "disabled": false; leave it out or say true'
    for key in ("maxFrequencyDays", "maxFrequencyHours"):
        if schedule.get(key) is not None and (as_int(schedule[key]) or 0) < 1:
            return f"{key} must be at least 1"
    return ""


def _enabled(schedule: Mapping[str, Any]) -> bool:
    return any(schedule.get(key) is not None for key in ("cron", "maxFrequencyDays", "maxFrequencyHours"))


def _retention_problem(retention: Mapping[str, Any]) -> str:
    """Source: backrest: internal/protoutil/conversion.go:113-123."""
    buckets = _either(retention, "policyTimeBucketed", "policy_time_bucketed")
    if buckets is not None:
        for key in _BUCKETS:
            count = buckets.get(key)
            if count and as_int(count) != 0:
                return ""
        return "keeps nothing in any time bucket"
    for pair in (("policyKeepLastN", "policy_keep_last_n"), ("policyKeepAll", "policy_keep_all")):
        if _either(retention, *pair) is not None:
            return ""
    return "names no policy"


def _unreadable(wrong: str) -> list[str]:
    return [f"Backrest cannot read it: {wrong.lstrip('. ')}"] if wrong else []


def _origin(repo: Mapping[str, Any]) -> str:
    return str(_either(repo, "originInstanceId", "origin_instance_id") or "")


def _either(value: Mapping[str, Any], camel: str, snake: str) -> Any:
    found = value.get(camel)
    return value.get(snake) if found is None else found
