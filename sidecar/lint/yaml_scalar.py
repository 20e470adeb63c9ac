"""What Compose makes of a YAML scalar: the value, and the text that the value becomes in a label. Pure.

Compose reads YAML by Go's library, which is neither YAML 1.1 nor 1.2: ``yes`` is a text and ``010`` is eight.

Source of the rules: go-yaml v3: resolve.go; Go: strconv/atoi.go, strconv/ftoa.go and fmt ("%v").
"""

from __future__ import annotations

import base64
import binascii
import math
import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
# Compiled when the first number comes, for most files have none.
_INT = r"([-+]?)(0[xX]|0[oO]|0[bB]|0(?=.))?([0-9A-Fa-f]+)"
_BASES = {"": 10, "0": 8, "0x": 16, "0o": 8, "0b": 2}
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_TIMESTAMP = (
    r"[0-9]{4}-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
    r"(?:(?:[Tt]|(?P<blank> ))(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2}):(?P<second>[0-9]{1,2})"
    r"(?:[.,](?P<fraction>[0-9]+))?(?P<zone>Z|[-+][0-9]{2}:[0-9]{2})?)?"
)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PLAIN = 6
"""Power of ten from which on Go writes an exponent."""
_LARGEST = 1 << 64
_SMALLEST = -(1 << 63)
_RESOLVED = frozenset({"", "str", "bool", "int", "float", "null", "timestamp"})


class ScalarError(ValueError):
    """Compose would refuse the scalar. The message says why."""


class Timestamp(str):
    """A date or time, as it was written. Compose takes it for no value of anything, and where it does, prints it."""

    __slots__ = ()

    def printed(self) -> str:
        """Return it as Go prints it."""
        match = re.fullmatch(_TIMESTAMP, self)
        if match is None:
            return str(self)
        month, day, hour, minute, second = _numbers(match)
        fraction = (match["fraction"] or "")[:9].rstrip("0")
        zone = (match["zone"] or "Z").replace(":", "")
        zones = "+0000 UTC" if zone == "Z" else f"{zone} {zone}"
        clock = f"{hour:02d}:{minute:02d}:{second:02d}" + (f".{fraction}" if fraction else "")
        return f"{self[:4]}-{month:02d}-{day:02d} {clock} {zones}"


def _numbers(match: re.Match[str]) -> tuple[int, ...]:
    return tuple(int(match[name] or 0) for name in ("month", "day", "hour", "minute", "second"))


def read_scalar(text: str, tag: str = "", *, quoted: bool = False) -> Scalar:
    """Return the value of a scalar.

    Args:
        text: As the YAML parser gives it.
        tag: Explicit tag without its ``!!``; a local tag (``!reset``) with its ``!``; empty for none.
        quoted: Whether it stands in quotes or is a block, which makes a text of it.

    Raises:
        ScalarError: The tag does not fit the text.
    """
    if tag == "binary":
        try:
            return base64.b64decode(text.replace("\n", ""), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError) as error:
            raise ScalarError("!!binary holds no base64") from error
    if tag == "str" or (quoted and not tag) or tag not in _RESOLVED:
        return text
    kind, value = _resolved(text, timestamps=tag in {"", "timestamp"})
    if tag in {"", kind}:
        return value
    if tag == "float" and kind == "int" and isinstance(value, int):
        return float(value)
    raise ScalarError(f'"{text}" is no !!{tag}')


def _resolved(text: str, *, timestamps: bool) -> tuple[str, Scalar]:
    if text in _WORDS:
        value = _WORDS[text]
        return ("null" if value is None else "bool" if isinstance(value, bool) else "float"), value
    first = text[:1]
    if first == ".":
        if re.fullmatch(_FLOAT, text) and math.isfinite(found := float(text)):
            return "float", found
        return "str", text
    if first not in "+-0123456789":
        return "str", text
    if timestamps and _is_timestamp(text):
        return "timestamp", Timestamp(text)
    plain = text.replace("_", "")
    whole = _whole(plain)
    if whole is not None:
        return "int", whole
    if re.fullmatch(_FLOAT, plain) and math.isfinite(found := float(plain)):
        return "float", found
    return "str", text


def _whole(plain: str) -> int | None:
    match = re.fullmatch(_INT, plain)
    if match is None:
        return None
    sign, prefix, digits = match.groups()
    try:
        value = int(digits, _BASES[(prefix or "").lower()])
    except ValueError:
        return None
    value = -value if sign == "-" else value
    # Beyond 63 bits Go reads a number without a sign only.
    largest = _LARGEST if not sign else -_SMALLEST
    return value if _SMALLEST <= value < largest else None


def _is_timestamp(text: str) -> bool:
    match = re.fullmatch(_TIMESTAMP, text)
    if match is None:
        return False
    month, day, hour, minute, second = _numbers(match)
    # With a T it needs a zone; with a blank it must have none.
    if match["hour"] is not None and bool(match["blank"]) == bool(match["zone"]):
        return False
    if not (1 <= month <= 12 and 1 <= day <= _DAYS[month - 1]):
        return False
    year = int(text[:4])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if month == 2 and day == 29 and not leap:
        return False
    return hour < 24 and minute < 60 and second < 60


def go_text(value: Scalar) -> str:
    """Return the text of a value as Go prints it; a null is empty, as in a label."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _go_float(value)
    return value.printed() if isinstance(value, Timestamp) else str(value)


def _go_float(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    # repr gives the fewest digits that say the same number, as Go does.
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    point = len(whole) - leading + int(exponent or 0)
    digits = digits.rstrip("0") or "0"
    sign = "-" if value < 0 else ""
    power = point - 1
    if power < -4 or power >= _PLAIN:
        body = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
        return f"{sign}{body}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"
