"""Backrest's config messages as the double of Backrest reads them: protojson, unknown fields discarded.

Written from Backrest's source, apart from the sidecar's own reader on purpose: the two check each other. Standard
library only, Python 3.9 and later, for it also runs inside a container.

backrest: proto/v1/config.proto, proto/v1/crypto.proto, internal/config/jsonstore.go:66-76.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.doubles.backrest.version import NEWEST, Version

Json = dict[str, Any]

_ENUMS = {
    "Clock": "CLOCK_DEFAULT=0 CLOCK_LOCAL=1 CLOCK_UTC=2 CLOCK_LAST_RUN_TIME=3",
    "OnError": "ON_ERROR_IGNORE=0 ON_ERROR_CANCEL=1 ON_ERROR_FATAL=2 ON_ERROR_RETRY_1MINUTE=100"
    " ON_ERROR_RETRY_10MINUTES=101 ON_ERROR_RETRY_EXPONENTIAL_BACKOFF=103",
    "Condition": "CONDITION_UNKNOWN=0 CONDITION_ANY_ERROR=1 CONDITION_SNAPSHOT_START=2 CONDITION_SNAPSHOT_END=3"
    " CONDITION_SNAPSHOT_ERROR=4 CONDITION_SNAPSHOT_WARNING=5 CONDITION_SNAPSHOT_SUCCESS=6"
    " CONDITION_SNAPSHOT_SKIPPED=7 CONDITION_PRUNE_START=100 CONDITION_PRUNE_ERROR=101 CONDITION_PRUNE_SUCCESS=102"
    " CONDITION_CHECK_START=200 CONDITION_CHECK_ERROR=201 CONDITION_CHECK_SUCCESS=202 CONDITION_FORGET_START=300"
    " CONDITION_FORGET_ERROR=301 CONDITION_FORGET_SUCCESS=302",
    "Method": "UNKNOWN=0 GET=1 POST=2",
    "IoNice": "IO_DEFAULT=0 IO_BEST_EFFORT_LOW=1 IO_BEST_EFFORT_HIGH=2 IO_IDLE=3",
    "CpuNice": "CPU_DEFAULT=0 CPU_HIGH=1 CPU_LOW=2",
    "Grant": "PERMISSION_UNKNOWN=0 PERMISSION_READ_OPERATIONS=1 PERMISSION_READ_CONFIG=2"
    " PERMISSION_READ_WRITE_CONFIG=3 PERMISSION_RECEIVE_SHARED_REPOS=4",
}
_MESSAGES = {  # name or name|proto_name, ":" its type, "*" for a list, "@" before a member of the message's oneof
    "Config": "modno:i version:i instance:s repos:*Repo plans:*Plan auth:Auth sync|multihost:Multihost",
    "Repo": "id:s uri:s guid:s password:s env:*s flags:*s prunePolicy:Prune checkPolicy:Check hooks:*Hook"
    " autoUnlock:b autoInitialize:b commandPrefix:Prefix shared:b originInstanceId:s forgetPolicy:Forget",
    "Plan": "id:s repo:s paths:*s excludes:*s iexcludes:*s schedule:Schedule retention:Retention hooks:*Hook"
    " backup_flags|backup_flags:*s skipIfUnchanged:b",
    "Prefix": "ioNice:IoNice cpuNice:CpuNice",
    "Retention": "@policyKeepLastN:i @policyTimeBucketed:Buckets @policyKeepAll:b",
    "Buckets": "hourly:i daily:i weekly:i monthly:i yearly:i keepLastN:i",
    "Forget": "schedule:Schedule retention:Retention",
    "Prune": "schedule:Schedule maxUnusedBytes:I maxUnusedPercent:d",
    "Check": "schedule:Schedule @structureOnly:b @readDataSubsetPercent:d",
    "Schedule": "@disabled:b @cron:s @maxFrequencyDays|maxFrequencyDays:i @maxFrequencyHours|maxFrequencyHours:i"
    " clock:Clock",
    "Hook": "conditions:*Condition onError:OnError @actionCommand:Command @actionWebhook:Webhook"
    " @actionDiscord:Url @actionGotify:Gotify @actionSlack:Url @actionShoutrrr:Shoutrrr @actionHealthchecks:Url"
    " @actionTelegram:Telegram",
    "Command": "command:s",
    "Webhook": "webhookUrl:s method:Method template:s",
    "Url": "webhookUrl:s template:s",
    "Gotify": "baseUrl:s token:s template:s titleTemplate:s priority:i",
    "Shoutrrr": "shoutrrrUrl:s template:s",
    "Telegram": "botToken:s chatId:s template:s",
    "Auth": "disabled:b users:*User",
    "User": "name:s @passwordBcrypt:s",
    "Multihost": "identity:Key knownHosts:*Peer authorizedClients:*Peer pairingTokens:*Token",
    "Key": "keyId|keyid:s ed25519priv:s ed25519pub:s",
    "Peer": "instanceId:s keyId|keyid:s permissions:*Permission instanceUrl:s initialPairingSecret:s",
    "Token": "secret:s label:s createdAtUnix:I expiresAtUnix:I maxUses:i uses:i permissions:*Permission",
    "Permission": "type:Grant scopes:*s",
}

_SINCE = {
    ("Multihost", "identity"): "1.9",
    ("Hook", "actionTelegram"): "1.10",
    ("Multihost", "pairingTokens"): "1.13",
    ("Repo", "shared"): "1.13",
    ("Repo", "originInstanceId"): "1.13",
    ("Repo", "forgetPolicy"): "1.13",
}
"""Fields that an older Backrest does not know, so that it discards them."""


class Refused(Exception):
    """Backrest refuses; the text is its sentence."""


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its doubled keys."""


def _fields(message: str) -> dict[str, tuple[str, str, bool, bool]]:
    """Return accepted name → (JSON name, type, is a list, is in the oneof)."""
    found = {}
    for word in _MESSAGES[message].split():
        names, _, kind = word.lstrip("@").partition(":")
        name, _, proto = names.partition("|")
        entry = (name, kind.lstrip("*"), kind.startswith("*"), word.startswith("@"))
        found[name] = entry
        found[proto or re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: "_" + m[1].lower(), name).lower()] = entry
    return found


_TABLE = {message: _fields(message) for message in _MESSAGES}
_NUMBERS = {
    enum: {w.partition("=")[0]: int(w.partition("=")[2]) for w in words.split()}
    for enum, words in _ENUMS.items()
}


def read(raw: bytes, version: Version = NEWEST) -> Json:
    """Return the config in ``raw`` as protojson with DiscardUnknown understands it; zero values are left out."""
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_Pairs, parse_constant=_no_constant)
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        ended = not raw.strip() or "Unterminated" in str(error) or getattr(error, "pos", 0) >= len(raw)
        raise Refused(
            "proto: unexpected EOF" if ended and raw.strip() else "proto: syntax error (line 1:1)"
        ) from None
    return _message("Config", _known("Config", found, version))


def _no_constant(text: str) -> None:
    raise ValueError(text)


def _known(name: str, value: Any, version: Version) -> Any:
    """Return a message without the fields that this version does not know."""
    if version == NEWEST or not isinstance(value, _Pairs) or name not in _TABLE:
        return value
    kept = _Pairs()
    for key, given in value:
        field = _TABLE[name].get(key)
        if field is not None and version.since(_SINCE.get((name, field[0]), "0.0")):
            many = isinstance(given, list) and not isinstance(given, _Pairs)
            inner = (
                [_known(field[1], item, version) for item in given]
                if many
                else _known(field[1], given, version)
            )
            kept.append((key, inner))
    return kept


def _message(name: str, value: Any) -> Json:
    if not isinstance(value, _Pairs):
        raise Refused("proto: syntax error (line 1:1): unexpected token")
    out: Json = {}
    seen = set()
    chosen = ""
    for key, given in value:
        field = _TABLE[name].get(key)
        if field is None:
            continue
        json_name, kind, many, oneof = field
        if json_name in seen:
            raise Refused(f'proto: (line 1:1): duplicate field "{key}"')
        seen.add(json_name)
        if given is None:
            continue
        if oneof and chosen:
            raise Refused(
                f'proto: (line 1:1): error parsing "{key}", oneof v1.{name}.{name.lower()} is already set'
            )
        chosen = json_name if oneof else chosen
        plain = _list(kind, json_name, given) if many else _value(kind, json_name, given)
        if oneof or (kind in _MESSAGES and not many) or plain not in (0, "", False, [], "0", None):
            out[json_name] = plain
    return out


def _list(kind: str, name: str, given: Any) -> list[Any]:
    if not isinstance(given, list) or isinstance(given, _Pairs):
        raise Refused("proto: syntax error (line 1:1): unexpected token")
    values = [_value(kind, name, item, item=True) for item in given]
    return [value for value in values if value is not None]


def _value(kind: str, name: str, given: Any, item: bool = False) -> Any:
    if kind in _MESSAGES:
        return _message(kind, given)
    wrong = Refused(f"proto: (line 1:1): invalid value for field {name}: {given!r}")
    if given is None:
        raise wrong
    if kind in _NUMBERS:
        if isinstance(given, str):  # an unknown name is discarded
            return given if _NUMBERS[kind].get(given, 0) or (item and given in _NUMBERS[kind]) else None
        number = _integer(given, 31, wrong)
        named = {v: k for k, v in _NUMBERS[kind].items()}.get(number, number)
        return named if number or item else None
    if kind == "s" and isinstance(given, str):
        return given
    if kind == "b" and isinstance(given, bool):
        return given
    if kind == "i":
        return _integer(given, 31, wrong)
    if kind == "I":
        return str(_integer(given, 63, wrong))
    if kind == "d" and isinstance(given, (int, float, str)) and not isinstance(given, bool):
        try:
            return float(given)
        except ValueError:
            raise wrong from None
    raise wrong


def _integer(given: Any, bits: int, wrong: Refused) -> int:
    if isinstance(given, str) and re.match(r"-?(0|[1-9][0-9]*)\Z", given):
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, (int, float)) or given != int(given):
        raise wrong
    if not -(1 << bits) <= given < 1 << bits:
        raise wrong
    return int(given)
