"""Which strings of a config.json must never be shown. Pure.

Backrest reads each field in two spellings (``titleTemplate`` and ``title_template``, ``sync`` and ``multihost``), so
both count here. A field that this version does not know is taken for a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sidecar.config.protojson import HOOK

_OPEN_ACTION_FIELDS = frozenset(
    {"command", "template", "titleTemplate", "title_template", "method", "priority"}
)
_OPEN_AUTH_FIELDS = frozenset({"name", "disabled"})
_OPEN_SYNC_FIELDS = frozenset(
    {"keyId", "keyid", "instanceId", "instance_id", "instanceUrl", "instance_url", "label", "type", "scopes"}
)


def is_open(action: str, field: str) -> bool:
    """Whether a field of a hook's action may be shown.

    Args:
        action: The action as the hook spells it, such as ``actionSlack``.
        field: A field of it.
    """
    return action in HOOK.names and field in _OPEN_ACTION_FIELDS


def secrets_of(data: Mapping[str, Any]) -> Iterable[str]:
    """Yield every string of a config that must never be shown: repo passwords, environment, hook tokens, keys."""
    for repo in data.get("repos") or ():
        yield from _strings(repo.get("password"))
        for entry in repo.get("env") or ():
            if isinstance(entry, str):
                yield entry.partition("=")[2]
        uri = repo.get("uri")
        if isinstance(uri, str) and (found := re.search(r"//[^/@\s]*:([^/@\s]+)@", uri)):
            yield found[1]
    for owner in (*(data.get("repos") or ()), *(data.get("plans") or ())):
        for hook in owner.get("hooks") or ():
            if isinstance(hook, dict):
                yield from _of_hook(hook)
    yield from _strings(data.get("auth"), _OPEN_AUTH_FIELDS)
    for spelling in ("sync", "multihost"):
        yield from _strings(data.get(spelling), _OPEN_SYNC_FIELDS)


def _of_hook(hook: Mapping[str, Any]) -> Iterable[str]:
    for key, action in hook.items():
        if not key.startswith("action"):
            continue
        if isinstance(action, dict):
            for field, value in action.items():
                if not is_open(key, field):
                    yield from _strings(value)
        else:
            yield from _strings(action)


def _strings(value: object, but: frozenset[str] = frozenset()) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in but:
                yield from _strings(inner, but)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, but)
