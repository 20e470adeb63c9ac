"""How the value of each kind of label is read. A value that cannot be right raises, with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sidecar.config.cron import CronError, normalize
from sidecar.findings import printable
from sidecar.labels.keep import parse_keep
from sidecar.labels.keys import (
    FALSE_WORDS,
    NO_TEMPLATE,
    ON_ERROR_WORDS,
    STOP_TEMPLATES,
    TRUE_WORDS,
    Kind,
    nearest,
    parse_bool,
    split_csv,
)
from sidecar.labels.patterns import why_invalid

MAX_PATH = 4096
"""Bytes; Linux opens no longer path, so a backup of one would fail."""

CACHED_LENGTH = 1000
"""Characters; longer values are read anew each time, so that no container can fill the memory."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BREAK = re.compile(r"[\x00\n\r]")
_PARENT = re.compile(r"(?:^|/)\.\.(?:/|$)")


class WrongValueError(ValueError):
    """A label's value is wrong.

    Attributes:
        reason: Why, as a clause that follows the value, with what to do.
        hint: The value that was probably meant; may be empty.
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """What labels may do.

    Attributes:
        trust_image: Take labels that come from the image (``--trust-image-labels``).
        hooks: What labels may run (``--hooks``).
        hook_templates: Let ``{{`` pass into hooks (``--hook-templates``).
    """

    trust_image: bool = False
    hooks: Literal["all", "template", "none"] = "all"
    hook_templates: bool = False


def read_value(kind: Kind, text: str, policy: LabelPolicy) -> Any:
    """Return the value of a label.

    Args:
        kind: Which sort of label it is.
        text: Trimmed and not empty.
        policy: Decides about ``{{`` in commands.

    Returns:
        bool for ``bool`` and ``template``; a tuple of strings for ``paths``, ``patterns`` and ``commands``; the
        checked text for the rest.

    Raises:
        WrongValueError: With the reason.
    """
    if kind == "commands" and "{{" in text and policy.hooks == "all" and not policy.hook_templates:
        raise WrongValueError(
            'contains "{{", which Backrest would expand with repository secrets in reach; write the command without '
            "it, or allow it by --hook-templates"
        )
    return _cached(kind, text) if len(text) <= CACHED_LENGTH else _read(kind, text)


def _read(kind: Kind, text: str) -> Any:
    if not text.isascii():
        _refuse_surrogates(text)
    return _READERS[kind](text)


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise WrongValueError("is not valid Unicode") from None


def _one_line(text: str) -> None:
    found = _CONTROL.search(text)
    if found:
        raise WrongValueError(f"contains a control character ({printable(found.group())})")


def _bool(text: str) -> bool:
    value = parse_bool(text)
    if value is None:
        near = nearest(text, ("true", "false", "yes", "no", "on", "off"))
        raise WrongValueError(f"is none of {' '.join((*TRUE_WORDS, *FALSE_WORDS))}{_meant(near)}", near)
    return value


def _text(text: str) -> str:
    _one_line(text)
    return text


def _cron(text: str) -> str:
    try:
        normalize(text)
    except CronError as error:
        raise WrongValueError(f"is not a schedule that Backrest can run: {error}") from error
    return text


def _keep(text: str) -> str:
    _one_line(text)
    try:
        parse_keep(text)
    except ValueError as error:
        raise WrongValueError(f"is not a keep spec: {error}") from error
    return text


def _paths(text: str) -> tuple[str, ...]:
    paths = _path_items(text)
    for path in paths:
        if not path.startswith("/"):
            raise WrongValueError(f'has a path that is not absolute: "{printable(path)}"')
    return paths


def _path_items(text: str) -> tuple[str, ...]:
    if _BREAK.search(text):
        raise WrongValueError("contains a line break or NUL")
    items = tuple([_unquoted(item) for item in split_csv(text)])
    for item in items:
        if ".." in item and _PARENT.search(item):
            raise WrongValueError(f'has a path with a ".." segment: "{printable(item)}"')
        if len(item) > MAX_PATH // 4 and len(item.encode()) >= MAX_PATH:
            raise WrongValueError(f"has a path of {MAX_PATH} bytes or more")
    return items


def _unquoted(item: str) -> str:
    """Take off quotes around a whole path; they are how a path with a comma is written."""
    if len(item) > 2 and item[0] == item[-1] and item[0] in "'\"" and item[0] not in item[1:-1]:
        return item[1:-1]
    return item


def _patterns(text: str) -> tuple[str, ...]:
    items = _path_items(text)
    for item in items:
        why = why_invalid(item)
        if why:
            raise WrongValueError(f"{why}; restic would refuse the backup (write \\[ for a bracket)")
    return items


def _commands(text: str) -> tuple[str, ...]:
    if "\0" in text:
        raise WrongValueError("contains NUL")
    return split_csv(text)


def _template(text: str) -> bool:
    word = text.lower()
    if word in STOP_TEMPLATES:
        return True
    if word == NO_TEMPLATE:
        return False
    near = nearest(text, (*STOP_TEMPLATES, NO_TEMPLATE))
    raise WrongValueError(f"is none of {', '.join((*STOP_TEMPLATES, NO_TEMPLATE))}{_meant(near)}", near)


def _on_error(text: str) -> str:
    word = text.lower()
    if word in ON_ERROR_WORDS:
        return word
    near = nearest(text, ON_ERROR_WORDS)
    raise WrongValueError(f"is none of {', '.join(ON_ERROR_WORDS)}{_meant(near)}", near)


def _meant(near: str) -> str:
    return f'; did you mean "{near}"?' if near else ""


_READERS: dict[Kind, Callable[[str], Any]] = {
    "bool": _bool,
    "text": _text,
    "cron": _cron,
    "keep": _keep,
    "paths": _paths,
    "patterns": _patterns,
    "commands": _commands,
    "template": _template,
    "on-error": _on_error,
}

_cached = lru_cache(maxsize=8192)(_read)
