"""An env file as ``docker run --env-file`` reads it, and which of its values are secrets. Pure but for one read.

The format is docker's own, not a shell's (docker/cli: opts/file.go, parseKeyValueFile): one ``KEY=VALUE`` a line,
the value taken to the letter, quotes and blanks included; ``#`` begins a comment only at the start of a line; a
bare ``KEY`` takes the value from our own environment, or is left out when it is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGEST = 1 << 20

_HARMLESS_PREFIXES = ("KEEP_", "CRON_")
_HARMLESS = frozenset({
    "AWS_DEFAULT_REGION", "AWS_REGION", "EXCLUDE_BIND_MOUNTS", "HOME", "INCLUDE_PROJECT_NAME", "LANG", "LOG_LEVEL",
    "PATH", "RESTIC_CACHE_DIR", "RESTIC_COMPRESSION", "RESTIC_HOST", "RESTIC_PACK_SIZE", "RESTIC_PASSWORD_FILE",
    "RESTIC_PROGRESS_FPS", "SWARM_MODE", "TMPDIR", "TZ", "XDG_CACHE_HOME",
})  # fmt: skip
_LOCATIONS = frozenset({"RESTIC_REPOSITORY", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"})
_WORDS = frozenset({"true", "false", "none", "null"})


class EnvFileError(ValueError):
    """The env file cannot be used. The text names file and line, and never what stands there."""


def read(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an env file.

    Args:
        path: The file.
        environ: Where a bare ``KEY`` takes its value from.

    Raises:
        EnvFileError: It cannot be read, or docker would refuse it.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise EnvFileError(
            f"the env file {path} cannot be read: {error.strerror}; check --rcb-env-file"
        ) from error
    if len(raw) > LARGEST:
        raise EnvFileError(
            f"the env file {path} is larger than 1 MiB; is it the right file? See --rcb-env-file"
        )
    return parse(raw, environ, where=str(path))


def parse(raw: bytes, environ: Mapping[str, str], *, where: str) -> dict[str, str]:
    """Return the variables in these bytes; of two with one name the later wins.

    Raises:
        EnvFileError: docker would refuse it.
    """
    variables: dict[str, str] = {}
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            text = line.removesuffix(b"\r").decode().lstrip()
        except UnicodeDecodeError as error:
            raise EnvFileError(f"{where}, line {number}: not UTF-8") from error
        if not text or text.startswith("#"):
            continue
        if "\0" in text:
            raise EnvFileError(f"{where}, line {number}: a NUL character, which no variable can hold")
        name, equals, value = text.partition("=")
        name = name if equals else name.rstrip()
        if not name:
            raise EnvFileError(f"{where}, line {number}: there is no name before the =")
        if " " in name or "\t" in name:
            raise EnvFileError(
                f"{where}, line {number}: a blank in the name; write KEY=VALUE, without `export`"
            )
        if equals:
            variables[name] = value
        elif name in environ:
            variables[name] = environ[name]
    return variables


def secrets(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values that no log may show.

    Every value counts as a secret but those of well-known settings, plain numbers and yes or no. Of an address
    (``RESTIC_REPOSITORY``) only the user and password in it are secret, for people need to know where a backup
    went.
    """
    return tuple(dict.fromkeys(_secrets(variables)))


def _secrets(variables: Mapping[str, str]) -> Iterable[str]:
    for name, value in variables.items():
        if name in _LOCATIONS:
            yield from _of_address(value)
        elif name in _HARMLESS or name.startswith(_HARMLESS_PREFIXES):
            continue
        elif value and not value.isdigit() and value.lower() not in _WORDS:
            yield value


def _of_address(value: str) -> Iterable[str]:
    """Return the credentials in an URL; restic puts the backend's name before it (``rest:https://…``)."""
    at = value.find("://")
    if at < 0 or "@" not in value:
        return
    scheme = value[:at].rpartition(":")[2]
    try:
        parts = urlsplit(f"{scheme}{value[at:]}")
    except ValueError:
        yield value
        return
    for word in (parts.password, parts.username):
        if word:
            yield word
            yield unquote(word)
