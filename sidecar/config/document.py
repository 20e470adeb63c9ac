"""config.json as a plain document: parse it, write it.

The document is never modelled: what we do not know belongs to the user or to Backrest and is carried as it is. What
cannot be carried faithfully is refused, above all duplicate keys and integers outside 64 bits.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

from sidecar.config.protojson import INT32, as_int
from sidecar.config.validation import Fault, validate
from sidecar.errors import SidecarError
from sidecar.findings import printable

__all__ = ["MAX_BYTES", "ConfigError", "Fault", "dump", "missing", "parse", "validate"]

MAX_BYTES = 64 * 1024 * 1024
"""The largest file that is read."""

_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG_NUMBER = b"0" * 19
_OUTSIDE = "holds a whole number outside 64 bits, which cannot be kept exactly"
_NOT_JSON_NUMBER = re.compile(rb"-?(NaN|Infinity)")


class ConfigError(SidecarError):
    """config.json cannot be used. The message says what, where, and what to do; it quotes no content.

    Attributes:
        kind: Stable word for programs: ``missing empty too-large encoding truncated syntax number duplicate deep
            shape no-version``.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def missing(where: str) -> ConfigError:
    """Return the error for a file that is not there."""
    return ConfigError(
        f"{where} does not exist. Start Backrest once and save its first settings; it creates the file.",
        "missing",
    )


def parse(raw: bytes, *, where: str) -> dict[str, Any]:
    """Return the document of a config.json.

    Args:
        raw: The file's bytes.
        where: The file's name for messages.

    Returns:
        The document: an object with a ``version``; ``plans`` and ``repos``, where present, are lists of objects
        whose ``id`` is text. ``dump`` gives back an equal document.

    Raises:
        ConfigError: The file is empty, too large, truncated, not UTF-8, not JSON, of the wrong shape, without a
            version, or holds what cannot be carried faithfully.
    """
    if len(raw) > MAX_BYTES:
        _refuse(
            where,
            f"is larger than {MAX_BYTES >> 20} MiB. Check that this is Backrest's config.json.",
            "too-large",
        )
    if not raw.strip(b" \t\r\n\0"):
        advice = "Restore it from the newest config.json.bak.* beside it, or remove it and start Backrest."
        _refuse(where, f"is empty. {advice}", "empty")
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        _refuse(
            where,
            "begins with a byte order mark, which Backrest refuses. Save it as plain UTF-8.",
            "encoding",
        )
    document = _load(raw, where)
    _check_exact(raw, document, where)
    _check_shape(document, where)
    return document  # type: ignore[no-any-return]  # _check_shape proved it


def dump(data: Mapping[str, Any]) -> bytes:
    """Return the document as JSON: UTF-8, two-space indent, keys in their order, one line end at the end."""
    return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _refuse(where: str, what: str, kind: str) -> NoReturn:
    raise ConfigError(f"{where} {what}", kind)


def _load(raw: bytes, where: str) -> Any:
    # A collection in the middle would walk every new object and double the time. The parser holds the
    # interpreter lock throughout, so no other thread ever runs with the collector switched off.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        problem, at = error.msg, error.pos
    finally:
        if collecting:
            gc.enable()
    backup = "Repair it, or restore the newest config.json.bak.* beside it."
    try:
        text = raw.decode()
    except UnicodeDecodeError as wrong:
        line = raw.count(b"\n", 0, wrong.start) + 1
        _refuse(where, f"is not UTF-8: bad byte at offset {wrong.start} (line {line}). {backup}", "encoding")
    place = f"line {text.count(chr(10), 0, at) + 1} column {at - text.rfind(chr(10), 0, at)}"
    if "unexpected end" in problem or at >= len(text.rstrip()):
        _refuse(where, f"ends in the middle ({place}): it is truncated. {backup}", "truncated")
    if (
        "infinity" in problem
        or _NOT_JSON_NUMBER.match(raw, len(text[: max(at - 1, 0)].encode()))
        or (_NOT_JSON_NUMBER.match(raw, len(text[:at].encode())))
    ):
        _refuse(where, f"holds a number that JSON cannot express ({place}). {backup}", "number")
    if "surrogate" in problem:
        _refuse(where, f"holds half a surrogate pair ({place}), which is no character. {backup}", "encoding")
    if "depth" in problem:
        _refuse(where, "is nested too deeply. Check that this is Backrest's config.json.", "deep")
    _refuse(where, f"is not JSON: {problem.split(': line ')[0]} ({place}). {backup}", "syntax")


def _check_exact(raw: bytes, document: object, where: str) -> None:
    """Refuse duplicate keys and integers outside 64 bits, which the parser takes silently.

    Every key is followed by one colon. The document has at most as many keys as the file, and its strings are among
    those of the file; so as long as no colon is spelled as an escape, equal counts of colons in the file and in the
    document written anew prove that no key was lost. Anything else goes through the slow and exact reading.
    """
    try:
        compact = orjson.dumps(document)
    except TypeError:
        _refuse(where, "is nested too deeply. Check that this is Backrest's config.json.", "deep")
    if (
        raw.count(b":") == compact.count(b":")
        and b"\\u003a" not in raw
        and b"\\u003A" not in raw
        and _LONG_NUMBER not in raw.translate(_DIGITS)
    ):
        return

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(members)
        if len(found) != len(members):
            names = [name for name, _ in members]
            twice = next(name for name in names if names.count(name) > 1)
            _refuse(
                where,
                f'has the key "{printable(twice)}" twice in one object; Backrest refuses that, and one of the two '
                "values would be lost. Remove one.",
                "duplicate",
            )
        return found

    def integer(text: str) -> int:
        if len(text) > 20 or not -(1 << 63) <= int(text) < 1 << 64:
            _refuse(where, f"{_OUTSIDE}. Write it as a string, or correct it.", "number")
        return int(text)

    json.loads(raw, object_pairs_hook=pairs, parse_int=integer)


def _check_shape(document: object, where: str) -> None:
    hint = "Check that this is Backrest's config.json."
    if not isinstance(document, dict):
        _refuse(where, f"holds {_kind(document)} where Backrest keeps an object. {hint}", "shape")
    for key, one in (("repos", "repo"), ("plans", "plan")):
        entries = document.get(key)
        if entries is None:
            continue
        if type(entries) is not list:
            _refuse(where, f'has {_kind(entries)} under "{key}" where Backrest keeps a list. {hint}', "shape")
        for index, entry in enumerate(entries):
            if type(entry) is not dict:
                _refuse(
                    where, f"has {_kind(entry)} as {one} number {index + 1}, not an object. {hint}", "shape"
                )
            entry_id = entry.get("id")
            if type(entry_id) is not str and entry_id is not None:
                _refuse(
                    where,
                    f"has {_kind(entry_id)} as the id of {one} number {index + 1}, not text. {hint}",
                    "shape",
                )
    version = document.get("version")
    if version is not None and INT32.check(version):
        _refuse(where, f'has {_kind(version)} as "version", not a whole number. {hint}', "shape")
    if not as_int(version):
        _refuse(
            where,
            'has no "version", and Backrest refuses such a file. Let Backrest make the file: move this one away, '
            "start Backrest and save its first settings.",
            "no-version",
        )


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {
        bool: "true or false",
        str: "text",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "something else")
