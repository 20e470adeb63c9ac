"""Which strings of a config.json must never be shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any


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
                for key, action in hook.items():
                    if key.startswith("action") and key not in {"actionCommand", "action_command"}:
                        yield from _strings(action, but=("template", "titleTemplate", "method"))
    yield from _strings(data.get("auth"), but=("name", "disabled"))
    yield from _strings(data.get("sync"), but=("keyId", "instanceId", "instanceUrl"))


def _strings(value: object, but: tuple[str, ...] = ()) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in but:
                yield from _strings(inner, but)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, but)
