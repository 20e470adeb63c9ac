"""The labels as a JSON Schema, made from the same table as everything else. For editors and for CI.

A schema can say less than lint: what it refuses is wrong, what it lets pass may still be wrong. Its patterns keep
to what JSON Schema's dialect and Python's share.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from sidecar.labels.keep import ALL, COUNTS, NONE, WITHINS
from sidecar.labels.keys import (
    FALSE_WORDS,
    KEYS,
    NO_TEMPLATE,
    ON_ERROR_WORDS,
    STOP_TEMPLATES,
    TRUE_WORDS,
    VOLUME_KEYS,
    LabelKey,
)

SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"


def label_schema() -> dict[str, Any]:
    """Return the schema of a container's ``labels`` in mapping syntax; ``$defs/volumeLabels`` is a volume's.

    Labels of other tools pass. Among ours only known keys do, with values that can be right.
    """
    plain = {key.key: _value(key) for key in KEYS}
    firsts = sorted({key.short.partition(".")[0] for key in KEYS})
    shorts = [key.short.replace(".", r"\.") for key in KEYS if key.per_plan]
    not_first = "|".join(firsts)
    named = rf"^backrest\.(?!(?:{not_first})\.){_NAME}\.(?:{'|'.join(shorts)})$"
    return {
        "$schema": SCHEMA,
        "title": "backrest-sidecar labels of a container",
        "type": "object",
        "properties": plain,
        "patternProperties": {
            rf"^backrest\.(?!(?:{not_first})\.){_NAME}\.{key.short.replace('.', chr(92) + '.')}$": _value(key)
            for key in KEYS
            if key.per_plan
        },
        "propertyNames": _names([key.key for key in KEYS], named),
        "$defs": {
            "volumeLabels": {
                "title": "backrest-sidecar labels of a volume",
                "type": "object",
                "properties": {key.key: _value(key) for key in VOLUME_KEYS},
                "propertyNames": _names([key.key for key in VOLUME_KEYS], ""),
            }
        },
    }


def _names(keys: list[str], pattern: str) -> dict[str, Any]:
    ways: list[dict[str, Any]] = [{"not": {"pattern": r"^backrest\."}}, {"enum": keys}]
    return {"anyOf": [*ways, {"pattern": pattern}] if pattern else ways}


def _value(key: LabelKey) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "description": key.summary,
        "examples": [key.example],
        # YAML reads `true` and `7` as what they look like; Compose makes text of them.
        "type": ["string", "number", "boolean", "null"],
    }
    pattern = _patterns()[key.kind]
    if pattern:
        # Values are trimmed; an empty one counts as absent. Compose puts variables in before anyone reads it.
        schema["pattern"] = rf"^\s*(?:{pattern})?\s*$|\$"
    return schema


def _patterns() -> dict[str, str]:
    count = rf"(?:{_any_case(*COUNTS)})\s*=\s*\+?[0-9]+"
    span = rf"(?:{_any_case(*reversed(WITHINS))})\s*=\s*(?:[0-9]+[ymdh])+"
    part = rf"(?:{count}|{span})"
    return {
        "bool": _any_case(*TRUE_WORDS, *FALSE_WORDS),
        "text": "[^\\u0000-\\u001f\\u007f]+",
        "cron": r"\S+[^\S\r\n]+\S+[^\S\r\n]+\S+[^\S\r\n]+\S+[^\S\r\n]+\S+",
        "keep": rf"[\s,]*(?:(?:{_any_case(ALL, NONE)})|{part}(?:[\s,]*,\s*{part})*)[\s,]*",
        "paths": r"""[\s,]*(?:(?:/|'/|"/)[^\r\n]*)?""",
        "patterns": r"[^\r\n]+",
        "commands": "",
        "template": _any_case(*STOP_TEMPLATES, NO_TEMPLATE),
        "on-error": _any_case(*ON_ERROR_WORDS),
    }


def _any_case(*words: str) -> str:
    """Return a pattern for these words in any case; JSON Schema knows no flag for that."""
    return "|".join("".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in word) for word in words)


def dump() -> str:
    """Return the schema as the file in ``testdata`` holds it."""
    return json.dumps(label_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(dump())
