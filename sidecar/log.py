"""Structured logs: one event a line, as JSON for programs or as text for people, on stdlib logging.

``log = get_logger(__name__)`` gives ``log.info("plan.skipped", container="web", reason="…")``. Fields may
hold any
value: what JSON cannot say is turned into text, an exception into one line. No line can be forged: control
characters are escaped in both formats. Strings announced by :func:`set_secrets` are masked in every field.
Libraries do not speak here: only our own loggers have a handler.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any, Literal, TextIO
from urllib.parse import quote

import orjson

from sidecar.findings import printable

Format = Literal["json", "text"]
Level = Literal["debug", "info", "warn", "error"]

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
MASK = "***"
SHORTEST_SECRET = 4
LONGEST_VALUE = 16_384
"""Characters of one string value; what is longer is cut, with its length noted."""

_ROOT = "backrest_sidecar"
_LEVEL_NAMES = {number: name for name, number in LEVELS.items()}
_RESERVED = frozenset({"time", "level", "action"})
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[36m", "warn": "\x1b[33m", "error": "\x1b[31m"}
_PLAIN_WORD = re.compile(r"[^\s\"=]+")
_LIBRARIES = ("asyncio", "docker", "py.warnings", "requests", "urllib3", "watchfiles")


class _Secrets:
    """The strings to mask. ``pattern`` is swapped whole, so readers need no lock."""

    pattern: re.Pattern[str] | None = None


class Log:
    """One module's logger. Each method takes the event's name and its fields."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, action: str, /, **fields: object) -> None:
        """Say something that only matters when looking for a fault."""
        self._say(logging.DEBUG, action, fields)

    def info(self, action: str, /, **fields: object) -> None:
        """Say something that happened as it should."""
        self._say(logging.INFO, action, fields)

    def warn(self, action: str, /, **fields: object) -> None:
        """Say something that a person should look at some day."""
        self._say(logging.WARNING, action, fields)

    def error(self, action: str, /, **fields: object) -> None:
        """Say something that a person must mend."""
        self._say(logging.ERROR, action, fields)

    def _say(self, level: int, action: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, action, extra={"fields": fields}, stacklevel=3)


def get_logger(name: str) -> Log:
    """Return the logger of a module; ``name`` is its ``__name__``."""
    return Log(logging.getLogger(f"{_ROOT}.{name}"))


def set_secrets(values: Iterable[str]) -> None:
    """Mask these strings in every value from now on, instead of those given before.

    Strings under four characters are left out: masking them would blot out ordinary words. Each secret is
    also found as it looks escaped in JSON, in a Python ``repr`` and in an URL, and line by line when it has
    several.
    """
    words: set[str] = set()
    for value in values:
        for part in {value, value.strip(), *value.splitlines()}:
            if len(part) < SHORTEST_SECRET:
                continue
            escaped = part.encode("unicode_escape").decode("ascii")
            printed = printable(part, limit=len(part))
            json_text = orjson.dumps(_encodable(part)).decode()[1:-1]
            words |= {part, escaped, printed, json_text, quote(_encodable(part), safe=""), repr(part)[1:-1]}
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    _Secrets.pattern = re.compile("|".join(map(re.escape, longest_first))) if words else None


def mask(text: str) -> str:
    """Return ``text`` with every announced secret replaced by ``***``."""
    pattern = _Secrets.pattern
    return pattern.sub(MASK, text) if pattern is not None else text


def configure(
    format: Format = "json",  # noqa: A002 - named after the flag
    level: Level = "info",
    stream: TextIO | None = None,
) -> None:
    """Set up the logs of this process; may be called again.

    Args:
        format: ``json`` or ``text``.
        level: The least level that is written.
        stream: Where to; the standard output when None.
    """
    out = stream if stream is not None else sys.stdout
    colour = format == "text" and _is_terminal(out) and not os.environ.get("NO_COLOR")
    handler = _Lines(out, JsonFormatter() if format == "json" else TextFormatter(colour=colour))
    ours = logging.getLogger(_ROOT)
    for old in list(ours.handlers):
        ours.removeHandler(old)
    ours.addHandler(handler)
    ours.setLevel(LEVELS[level])
    ours.propagate = False
    logging.raiseExceptions = False
    logging.captureWarnings(capture=True)
    for library in _LIBRARIES:
        quiet = logging.getLogger(library)
        quiet.setLevel(logging.CRITICAL + 1)
        quiet.addHandler(logging.NullHandler())


def flush() -> None:
    """Write out what is buffered, before the process ends without ceremony."""
    for handler in logging.getLogger(_ROOT).handlers:
        handler.flush()


def describe(error: BaseException) -> str:
    """Return an exception as one line: its class and what it says, causes left to the traceback."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class JsonFormatter(logging.Formatter):
    """``{"time": …, "level": …, "action": …, …}`` on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        return orjson.dumps(_event(record)).decode()


class TextFormatter(logging.Formatter):
    """``2026-01-31T02:00:00.000Z warn  plan.skipped container=web reason="…"`` for people."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of text."""
        event = _event(record)
        time, level, action = event.pop("time"), event.pop("level"), event.pop("action")
        head = f"{level:<5}"
        if self._colour:
            head = f"{_COLOURS[level]}{head}\x1b[0m"
        tail = "".join(f" {printable(key)}={_word(value)}" for key, value in event.items())
        return f"{time} {head} {printable(action)}{tail}"


class _Lines(logging.Handler):
    """Writes lines to a stream and outlives it: a reader that went away, or a full disk, stops no backup."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__()
        self._stream = stream
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._stream.write(self.format(record) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            self._abandon()
        except (OSError, ValueError):
            return  # the disk behind it is full, or the stream was closed: there is nowhere left to say so

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def _abandon(self) -> None:
        # What Python still has buffered would raise again when the interpreter ends; let it go to /dev/null.
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)


def _event(record: logging.LogRecord) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record.created, UTC)
    level = _LEVEL_NAMES.get(record.levelno, "info")
    event: dict[str, Any] = {
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "action": _clean(record.getMessage()),
    }
    fields: Mapping[str, object] = getattr(record, "fields", {})
    for key, value in fields.items():
        event[f"{key}_" if key in _RESERVED else _clean(key)] = _plain(value)
    error = fields.get("error")
    if isinstance(error, BaseException) and logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
        event["traceback"] = _clean("".join(traceback.format_exception(error)))
    return event


def _plain(value: object) -> Any:
    """Return ``value`` as JSON can say it, secrets masked."""
    match value:
        case None | bool():
            return value
        case str():
            return _clean(value)
        case int():
            text = str(value)
            return value if abs(value) < 2**63 and mask(text) == text else mask(text)
        case float():
            text = repr(value)
            return value if mask(text) == text else mask(text)
        case BaseException():
            return _clean(describe(value))
        case Mapping():
            return {_clean(str(key)): _plain(item) for key, item in value.items()}
        case AbstractSet():
            return sorted((_plain(item) for item in value), key=str)
        case list() | tuple():
            return [_plain(item) for item in value]
        case bytes():
            return _clean(value.decode("utf-8", "backslashreplace"))
        case _:
            return _clean(str(value))


def _clean(text: str) -> str:
    masked = mask(_encodable(text))
    if len(masked) > LONGEST_VALUE:
        return f"{masked[:LONGEST_VALUE]}… ({len(masked)} characters)"
    return masked


def _encodable(text: str) -> str:
    """Escape lone surrogates, which a file name that is not UTF-8 becomes in Python."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _word(value: object) -> str:
    if isinstance(value, str):
        text = printable(value, limit=LONGEST_VALUE)
        return text if _PLAIN_WORD.fullmatch(text) else orjson.dumps(text).decode()
    return printable(orjson.dumps(value).decode(), limit=LONGEST_VALUE)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (OSError, ValueError):
        return False
