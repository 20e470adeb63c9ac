"""Backrest's config messages as protojson reads them: which types it refuses, and when two spellings are equal.

Backrest reads config.json with protojson and ``DiscardUnknown`` (backrest: internal/config/jsonstore.go:72). So an
unknown field is no fault, a JSON name and its snake_case name are the same field, enums go by name or number, a
number may be spelled as a string, ``null`` means absent, and a default value equals an absent one. A wrong type, a
field given twice or two members of one oneof make Backrest refuse to start.

The field names are those of backrest: proto/v1/config.proto:12-316 and proto/v1/crypto.proto.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Checker = Callable[[Any], str]
Normal = Callable[[Any], Any]

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z", re.ASCII)
_MAX_SHAPES = 512
_ACTIONS = ("Command", "Webhook", "Discord", "Gotify", "Slack", "Shoutrrr", "Healthchecks", "Telegram")


def as_int(value: object) -> int | None:
    """Return the integer that protojson reads from a JSON value, None where it reads none.

    Accepted are ``3``, ``3.0``, ``3e2`` and each of these as a string.
    """
    if type(value) is int:
        return value
    if type(value) is str and _INTEGER.match(value) and len(value) <= 40:
        try:
            value = int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError:
            return None
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else None


class Kind:
    """A field type: ``check`` returns what is wrong with a value (empty for nothing), ``normal`` its one spelling.

    ``default`` is what protojson leaves out; ``normal`` never raises, whatever it is given. A value of the type
    ``plain`` needs no further check.
    """

    def __init__(self, check: Checker, normal: Normal, default: object, plain: type | None = None) -> None:
        self.check = check
        self.normal = normal
        self.default = default
        self.plain = plain


def _integer(bits: int) -> Kind:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1

    def check(value: Any) -> str:
        number = value if type(value) is int else as_int(value)
        return (
            "" if number is not None and low <= number <= high else f"must be a whole number of {bits} bits"
        )

    def normal(value: Any) -> Any:
        number = as_int(value)
        return value if number is None else number

    return Kind(check, normal, 0)


def _check_double(value: Any) -> str:
    if type(value) in (int, float):
        return ""
    if type(value) is str and (value in ("NaN", "Infinity", "-Infinity") or _INTEGER.match(value)):
        return ""
    return "must be a number"


def _same(value: Any) -> Any:
    return value


STRING = Kind(lambda v: "" if type(v) is str else "must be text", _same, "", str)
BOOL = Kind(lambda v: "" if type(v) is bool else "must be true or false", _same, False, bool)
INT32 = _integer(32)
MAX_INT32 = (1 << 31) - 1
INT64 = _integer(64)
DOUBLE = Kind(_check_double, lambda v: float(v) if type(v) is int else v, 0.0)


class Enum(Kind):
    """An enum: names or numbers; an unknown name is dropped, an unknown number kept."""

    def __init__(self, names: Mapping[str, int]) -> None:
        number_check = INT32.check
        by_number = {number: name for name, number in names.items()}

        def check(value: Any) -> str:
            if type(value) is str:
                return ""
            if type(value) in (int, float) and not number_check(value):
                return ""
            return "must be the name or number of an enum value"

        def normal(value: Any) -> Any:
            if type(value) is str:
                return value if value in names else None
            number = as_int(value)
            return value if number is None else by_number.get(number, number)

        super().__init__(check, normal, by_number.get(0), str)


class Many(Kind):
    """A repeated field."""

    def __init__(self, item: Kind) -> None:
        check_item, normal_item, plain = item.check, item.normal, item.plain

        def check(value: Any) -> str:
            if type(value) is not list:
                return "must be a list"
            for entry in value:
                if type(entry) is not plain and (wrong := check_item(entry)):
                    index = next(i for i, other in enumerate(value) if other is entry)
                    return f"[{index}]{wrong}" if wrong[0] in ".[ " else f"[{index}] {wrong}"
            return ""

        def normal(value: Any) -> Any:
            if type(value) is not list:
                return value
            entries = (normal_item(entry) for entry in value)
            return [entry for entry in entries if entry is not None]

        super().__init__(check, normal, [])


class Message(Kind):
    """A message. A field is ``name`` or ``name snake_name`` → kind; ``oneofs`` lists fields that exclude another.

    Thousands of plans share a few shapes: for each sequence of keys that holds no conflict the checkers are looked
    up once and kept.
    """

    def __init__(self, fields: Mapping[str, Kind], *oneofs: tuple[str, ...]) -> None:
        self.names = {spelling: field.split()[0] for field in fields for spelling in field.split()}
        self.kinds = {field.split()[0]: kind for field, kind in fields.items()}
        self.present = frozenset(name for members in oneofs for name in members)
        self._oneofs = oneofs
        self._shapes: dict[tuple[str, ...], tuple[tuple[str, type | None, Checker], ...]] = {}
        super().__init__(self._check, self.canonical, None)

    def _check(self, value: Any) -> str:
        if type(value) is not dict:
            return "must be an object"
        keys = tuple(value)
        checkers = self._shapes.get(keys)
        if checkers is None:
            checkers = self._checkers(keys)
            if wrong := self._conflict(value):
                return wrong
            if not self._conflict(dict.fromkeys(keys, 0)) and len(self._shapes) < _MAX_SHAPES:
                self._shapes[keys] = checkers
        for key, plain, checker in checkers:
            item = value[key]
            if type(item) is plain or item is None:
                continue
            if wrong := checker(item):
                return f".{key}{wrong}" if wrong[0] in ".[ " else f".{key} {wrong}"
        return ""

    def _checkers(self, keys: tuple[str, ...]) -> tuple[tuple[str, type | None, Checker], ...]:
        known = ((key, self.kinds[self.names[key]]) for key in keys if key in self.names)
        return tuple((key, kind.plain, kind.check) for key, kind in known)

    def _conflict(self, value: Mapping[str, Any]) -> str:
        spelled: dict[str, str] = {}
        for key in value:
            name = self.names.get(key)
            if name is not None and spelled.setdefault(name, key) != key:
                return f".{spelled[name]} is given twice, also as {key}"
        for members in self._oneofs:
            given = [
                key for key, item in value.items() if self.names.get(key) in members and item is not None
            ]
            if len(given) > 1:
                return f" has both {given[0]} and {given[1]}, which exclude each other"
        return ""

    def canonical(self, value: Any) -> Any:
        """Return ``value`` in its one spelling: JSON names, enum names, no defaults, no unknown fields."""
        if type(value) is not dict:
            return value
        out: dict[str, Any] = {}
        for key, item in value.items():
            name = self.names.get(key)
            if name is None or item is None:
                continue
            kind = self.kinds[name]
            spelled = kind.normal(item)
            if spelled is None or (spelled == kind.default and name not in self.present):
                continue
            out[name] = spelled
        return out

    def unknown(self, value: Any) -> dict[str, Any]:
        """Return the fields of ``value`` that this version of the schema does not know."""
        if type(value) is not dict:
            return {}
        return {key: item for key, item in value.items() if key not in self.names}


def _texts(*fields: str, **others: Kind) -> Message:
    return Message({**dict.fromkeys(fields, STRING), **others})


SCHEDULE = Message(
    {
        "disabled": BOOL,
        "cron": STRING,
        "maxFrequencyDays": INT32,
        "maxFrequencyHours": INT32,
        "clock": Enum({"CLOCK_DEFAULT": 0, "CLOCK_LOCAL": 1, "CLOCK_UTC": 2, "CLOCK_LAST_RUN_TIME": 3}),
    },
    ("disabled", "cron", "maxFrequencyDays", "maxFrequencyHours"),
)
BUCKETS = Message(
    {
        **dict.fromkeys(("hourly", "daily", "weekly", "monthly", "yearly"), INT32),
        "keepLastN keep_last_n": INT32,
    }
)
RETENTION = Message(
    {
        "policyKeepLastN policy_keep_last_n": INT32,
        "policyTimeBucketed policy_time_bucketed": BUCKETS,
        "policyKeepAll policy_keep_all": BOOL,
    },
    ("policyKeepLastN", "policyTimeBucketed", "policyKeepAll"),
)
_CONDITIONS = {
    "CONDITION_UNKNOWN": 0,
    "CONDITION_ANY_ERROR": 1,
    **{
        f"CONDITION_SNAPSHOT_{name}": number
        for number, name in enumerate(("START", "END", "ERROR", "WARNING", "SUCCESS", "SKIPPED"), 2)
    },
    **{
        f"CONDITION_{task}_{name}": base + offset
        for task, base in (("PRUNE", 100), ("CHECK", 200), ("FORGET", 300))
        for offset, name in enumerate(("START", "ERROR", "SUCCESS"))
    },
}
HOOK = Message(
    {
        "conditions": Many(Enum(_CONDITIONS)),
        "onError on_error": Enum(
            {
                "ON_ERROR_IGNORE": 0,
                "ON_ERROR_CANCEL": 1,
                "ON_ERROR_FATAL": 2,
                "ON_ERROR_RETRY_1MINUTE": 100,
                "ON_ERROR_RETRY_10MINUTES": 101,
                "ON_ERROR_RETRY_EXPONENTIAL_BACKOFF": 103,
            }
        ),
        "actionCommand action_command": _texts("command"),
        "actionWebhook action_webhook": _texts(
            "webhookUrl webhook_url", "template", method=Enum({"UNKNOWN": 0, "GET": 1, "POST": 2})
        ),
        "actionDiscord action_discord": _texts("webhookUrl webhook_url", "template"),
        "actionGotify action_gotify": _texts(
            "baseUrl base_url", "token", "template", "titleTemplate title_template", priority=INT32
        ),
        "actionSlack action_slack": _texts("webhookUrl webhook_url", "template"),
        "actionShoutrrr action_shoutrrr": _texts("shoutrrrUrl shoutrrr_url", "template"),
        "actionHealthchecks action_healthchecks": _texts("webhookUrl webhook_url", "template"),
        "actionTelegram action_telegram": _texts("botToken bot_token", "chatId chat_id", "template"),
    },
    tuple(f"action{name}" for name in _ACTIONS),
)
_TEXTS = Many(STRING)
PLAN = Message(
    {
        "id": STRING,
        "repo": STRING,
        "paths": _TEXTS,
        "excludes": _TEXTS,
        "iexcludes": _TEXTS,
        "schedule": SCHEDULE,
        "retention": RETENTION,
        "hooks": Many(HOOK),
        "backup_flags": _TEXTS,
        "skipIfUnchanged skip_if_unchanged": BOOL,
    }
)


def digest(value: object) -> str:
    """Return a short digest of a canonical JSON value; None stands for an absent one."""
    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=12).hexdigest()
