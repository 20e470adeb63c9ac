"""Configs with what Backrest 1.14.1 makes of each, as it was seen: taken, or refused for which reason.

The file is the document of these tests: each name says what is odd about the sample. What older ones
made of it, where that is something else, stands in :data:`OLDER`.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from tests.doubles.backrest.version import Version

GUID = "a" * 64
SECRET = "hunter2-never-shown"

GOOD: dict[str, Any] = {
    "version": 6,
    "instance": "test",
    "repos": [{"id": "r1", "uri": "/nowhere/repo", "guid": GUID, "password": SECRET}],
    "plans": [{"id": "p1", "repo": "r1", "paths": ["/data"]}],
}


@dataclass(frozen=True)
class Sample:
    """One config.

    Attributes:
        raw: The file.
        says: Part of the sentence that Backrest refuses it with; empty when it takes it.
        kind: Kind of the fault that we make of that sentence.
        plan: The plan that the sentence names.
        repo: The repo that the sentence names.
    """

    raw: bytes
    says: str = ""
    kind: str = ""
    plan: str = ""
    repo: str = ""


def plan(**fields: Any) -> dict[str, Any]:
    """Return the good config with fields of its plan changed."""
    config = deepcopy(GOOD)
    config["plans"][0].update(fields)
    return config


def _repo(drop: str = "", **fields: Any) -> dict[str, Any]:
    config = deepcopy(GOOD)
    config["repos"][0].update(fields)
    config["repos"][0].pop(drop, None)
    return config


def _top(drop: str = "", **fields: Any) -> dict[str, Any]:
    config = {**deepcopy(GOOD), **fields}
    config.pop(drop, None)
    return config


def _raw(config: dict[str, Any]) -> bytes:
    return json.dumps(config).encode()


def _cron(expression: str) -> dict[str, Any]:
    return plan(schedule={"cron": expression, "clock": "CLOCK_LOCAL"})


_TAKEN: dict[str, dict[str, Any]] = {
    "good": GOOD,
    "odd characters in an id": plan(id="a b/c"),
    "schedule disabled": plan(schedule={"disabled": True}),
    "schedule empty": plan(schedule={}),
    "schedule with a clock alone": plan(schedule={"clock": "CLOCK_LOCAL"}),
    "schedule null": plan(schedule=None),
    "keep last 0": plan(retention={"policyKeepLastN": 0}),
    "keep a negative number": plan(retention={"policyTimeBucketed": {"daily": -1}}),
    "keep all false": plan(retention={"policyKeepAll": False}),
    "keepLastN in the bucket": plan(retention={"policyTimeBucketed": {"keepLastN": 3}}),
    "version 2": _top(version=2),
    "version 3 without guid": {**_repo(drop="guid"), "version": 3},
    "version above the newest": _top(version=7),
    "version as a string": _top(version="6"),
    "auth null": _top(auth=None),
    "instance empty": _top(instance=""),
    "plans null": _top(plans=None),
    "hook condition unknown": plan(
        hooks=[{"conditions": ["CONDITION_X"], "actionCommand": {"command": "x"}}]
    ),
    "hook condition by number": plan(hooks=[{"conditions": [2], "actionCommand": {"command": "x"}}]),
    "hook without an action": plan(hooks=[{"conditions": ["CONDITION_SNAPSHOT_START"]}]),
    "modno negative": _top(modno=-5),
    "unknown field": _top(zzz=1),
    "camelCase of a snake_case name": {**plan(backup_flags=["--x"]), "zzz": {"backupFlags": 1}},
    "repo of a peer that is gone": _repo(originInstanceId="gone"),
    "sync empty": _top(sync={}),
    "nothing but a version": {"version": 6},
    "flags instead of paths": plan(paths=[], backup_flags=["--files-from x"]),
    "a command instead of paths": plan(paths=[], backup_flags=["--stdin-from-command", "--", "true"]),
    "forget with no schedule chosen": _repo(forgetPolicy={"schedule": {}}),
}

_REFUSED: dict[str, tuple[dict[str, Any] | bytes, str, str]] = {
    "unknown repo": (plan(repo="nope"), 'repo "nope" not found', "plan"),
    "no repo": (plan(repo=""), "repo is required", "plan"),
    "two plans of one id": (_top(plans=GOOD["plans"] * 2), "duplicate id", "plan"),
    "two repos of one id": (_top(repos=GOOD["repos"] * 2), "duplicate id", "repo"),
    "no path": (plan(paths=[]), "at least one path is required", "plan"),
    "empty path": (plan(paths=["/a", ""]), "path[1] cannot be empty", "plan"),
    "reserved id": (plan(id="_p1_"), "reserved by backrest", "plan"),
    "schedule disabled:false": (plan(schedule={"disabled": False}), "must be set to true", "plan"),
    "frequency 0": (plan(schedule={"maxFrequencyDays": 0}), "invalid max frequency days", "plan"),
    "cron and frequency": (plan(schedule={"cron": "0 2 * * *", "maxFrequencyDays": 1}), "oneof", "syntax"),
    "retention without a policy": (plan(retention={}), "must specify a policy", "plan"),
    "retention empty bucket": (plan(retention={"policyTimeBucketed": {}}), "non-empty bucket", "plan"),
    "retention all zero": (plan(retention={"policyTimeBucketed": {"daily": 0}}), "non-empty bucket", "plan"),
    "retention of old days": (plan(retention={"keepLastN": 3}), "must specify a policy", "plan"),
    "version 0": (_top(version=0), "config version 0 is invalid", "version"),
    "version missing": (_top(drop="version"), "config version 0 is invalid", "version"),
    "version 1": (_top(version=1), "config version 1 is too old", "version"),
    "version negative": (_top(version=-1), "config version -1 is too old", "version"),
    "version fraction": (_top(version=6.5), "invalid value", "syntax"),
    "version beyond 32 bits": (_top(version=1 << 31), "invalid value", "syntax"),
    "empty object": (b"{}", "config version 0 is invalid", "version"),
    "guid missing at version 6": (_repo(drop="guid"), "guid is required", "repo"),
    "guid short": (_repo(guid="abc"), "must be 64 characters", "repo"),
    "guid and autoInitialize": (_repo(autoInitialize=True), "auto_initialize set with guid", "repo"),
    "uri missing": (_repo(uri=""), "uri is required", "repo"),
    "env without =": (_repo(env=[SECRET]), "invalid env var", "repo"),
    "prune cron": (_repo(prunePolicy={"schedule": {"cron": "bad"}}), "prune policy schedule", "repo"),
    "check disabled:false": (
        _repo(checkPolicy={"schedule": {"disabled": False}}),
        "check policy schedule",
        "repo",
    ),
    "forget without retention": (
        _repo(forgetPolicy={"schedule": {"cron": "0 1 * * *"}}),
        "must specify",
        "repo",
    ),
    "auth without users": (_top(auth={}), "auth enabled but no users", "auth"),
    "auth user without password": (_top(auth={"users": [{"name": "u"}]}), "password is required", "auth"),
    "instance too long": (_top(instance="x" * 51), "too long", "instance"),
    "identity without key": (_top(sync={"identity": {}}), "identity keyid is required", "sync"),
    "identity broken": (_top(sync={"identity": {"keyId": "ed25519.x"}}), "invalid ed25519", "sync"),
    "truncated": (_raw(GOOD)[:-10], "unmarshal", "syntax"),
    "empty file": (b"", "unmarshal", "syntax"),
    "blank file": (b"  \n", "unmarshal", "syntax"),
    "duplicate key": (b'{"version":6,"version":6}', 'duplicate field "version"', "syntax"),
    "duplicate key in a plan": (
        _raw(GOOD).replace(b'"id": "p1"', b'"id": "p1", "id": "p2"'),
        "duplicate",
        "syntax",
    ),
    "byte order mark": (b"\xef\xbb\xbf" + _raw(GOOD), "unmarshal", "syntax"),
    "not UTF-8": (_raw(GOOD).replace(b"/data", b"/\xff"), "unmarshal", "syntax"),
    "lone surrogate": (_raw(GOOD).replace(b"/data", b"\\ud800"), "unmarshal", "syntax"),
    "list": (b"[]", "unmarshal", "syntax"),
    "null": (b"null", "unmarshal", "syntax"),
    "text after the end": (_raw(GOOD) + b"x", "unmarshal", "syntax"),
    "NUL after the end": (_raw(GOOD) + b"\0", "unmarshal", "syntax"),
    "comma before the end": (b'{"version":6,}', "unmarshal", "syntax"),
    "comment": (b'//x\n{"version":6}', "unmarshal", "syntax"),
    "paths a string": (plan(paths="/a"), "unmarshal", "syntax"),
    "path a number": (plan(paths=[1]), "invalid value", "syntax"),
    "path null": (plan(paths=["/a", None]), "invalid value", "syntax"),
    "plans an object": (_top(plans={}), "unmarshal", "syntax"),
    "plan null": (_top(plans=[None]), "unmarshal", "syntax"),
    "password a number": (_repo(password=4711), "invalid value", "syntax"),
}

CRON_TAKEN = (
    *("0 2 * * *", "*/99 * * * *", "0 0 29 2 *", "0 0 * * 5,7", "0 0 * * 1-7", "0 0 * * MON", "0 0 * JAN *"),
    *(
        "0 0 13 * 5",
        "5/15 * * * *",
        "1-5/2 * * * *",
        "* * * * mon-fri",
        "0  2 * * *",
        " 0 2 * * * ",
        "0\t2 * * *",
    ),
    *("+1 * * * *", "0 0 * * SUN-SAT", "00 02 * * *", "0 24,1 * * *", "70,5 * * * *"),
)
CRON_REFUSED = (
    *(
        "bad",
        "",
        "* * * *",
        "* * * * * *",
        "@daily",
        "TZ=UTC 0 0 * * *",
        "60 * * * *",
        "99 * * * *",
        "* 24 * * *",
    ),
    *(
        "0 0 0 * *",
        "0 0 32 * *",
        "0 0 30 2 *",
        "0 0 31 4 *",
        "0 0 29 2 1",
        "0 0 * * 7",
        "0 0 * 13 *",
        "-1 * * * *",
    ),
    *("1-0 * * * *", "5-1 * * * *", "a * * * *", "0 0 L * *", "0 0 ? * *", "0,, * * * *", "1,2, * * * *"),
    *(
        "0x1 * * * *",
        "1.5 * * * *",
        "*/2/2 * * * *",
        "*-5 * * * *",
        "1-2-3 * * * *",
        "\uff10 0 * * *",
        "*/x * * * *",
    ),
)
CRON_PANICS = "*/-1 * * * *"
CRON_HANGS = ("*/0 * * * *", "5/0 * * * *")

SAMPLES: dict[str, Sample] = {
    **{name: Sample(_raw(config)) for name, config in _TAKEN.items()},
    "duplicate unknown key": Sample(_raw(GOOD)[:-1] + b',"zz":1,"zz":2}'),
    **{f"cron {text!r}": Sample(_raw(_cron(text))) for text in CRON_TAKEN},
    **{
        name: Sample(
            config if isinstance(config, bytes) else _raw(config),
            says,
            kind,
            plan=("_p1_" if name == "reserved id" else "p1") if kind == "plan" else "",
            repo="r1" if kind == "repo" else "",
        )
        for name, (config, says, kind) in _REFUSED.items()
    },
    **{
        f"cron {text!r}": Sample(
            _raw(_cron(text)), "invalid cron" if text else "empty cron expression", "plan", "p1"
        )
        for text in CRON_REFUSED
    },
}

_NEVER_FIRE = (
    *("60 * * * *", "99 * * * *", "* 24 * * *", "0 0 0 * *", "0 0 32 * *", "0 0 30 2 *", "0 0 31 4 *"),
    *("0 0 29 2 1", "0 0 * * 7", "0 0 * 13 *", "1-0 * * * *", "5-1 * * * *"),
)
_TAKEN_THEN = ("", "")
OLDER: dict[str, dict[str, tuple[str, str]]] = {
    **{f"cron {text!r}": {"1.12": _TAKEN_THEN} for text in _NEVER_FIRE},
    "no path": {"1.12.1": _TAKEN_THEN},
    "flags instead of paths": {"1.13": ("at least one path is required", "plan"), "1.12.1": _TAKEN_THEN},
    "forget without retention": {"1.13": _TAKEN_THEN},
    "forget with no schedule chosen": {"1.14.1": ("must specify a retention", "repo"), "1.13": _TAKEN_THEN},
    "identity broken": {"1.13": ("no private key found in pem", "sync"), "1.9": _TAKEN_THEN},
    "identity without key": {"1.9": _TAKEN_THEN},
    "empty object": {"1.9": _TAKEN_THEN},
}
"""Name → version before which it was otherwise → part of the sentence and kind of the fault, as in a sample."""


def sample_for(name: str, version: Version) -> Sample:
    """Return a sample with what this version makes of it."""
    sample = SAMPLES[name]
    for before, (says, kind) in OLDER.get(name, {}).items():
        if not version.since(before):
            sample = replace(
                sample, says=says, kind=kind, plan="p1" * (kind == "plan"), repo="r1" * (kind == "repo")
            )
    return sample


def refused_plans(version: Version) -> dict[str, dict[str, Any]]:
    """Return the plans that SetConfig of this version refuses one by one."""
    return {
        name: json.loads(sample.raw)["plans"][0]
        for name in SAMPLES
        if (sample := sample_for(name, version)).plan and name != "two plans of one id"
    }


PANICS = _raw(_cron(CRON_PANICS))
HANGS = {text: _raw(_cron(text)) for text in CRON_HANGS}
