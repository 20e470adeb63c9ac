"""Which labels are this tool's, and what a key that means nothing was meant to be. The one place of both rules.

A key is ours when it begins with ``backrest.``, or when it is one of ours but for case, separators, blanks, a value
written into it (``backrest.enable: true`` as a list item), or one slip in the namespace (``backrset.enable``). Every
label of every container goes through :func:`is_ours`, most of which are other tools': so the first look is cheap,
the rest is remembered, and another tool's key (``backup.enable``, ``com.example.backrest``) is never claimed.
"""

from __future__ import annotations

import re
from functools import lru_cache

from sidecar.findings import printable
from sidecar.labels.keys import (
    KEYS,
    NO_NAMES,
    PLAN_NAME,
    PREFIX,
    VOLUME_KEYS,
    KnownKey,
    classify,
    nearest,
    parse_bool,
)

ENABLE = "backrest.enable"
_NAMESPACE = "backrest"
_OTHER_WORDS = frozenset({"backtest"})
"""Words that are one slip away from ours and mean something else."""
_MAX_GUESS = 100
"""Characters of a key or word beyond which no nearest one is looked for."""
_BLANK = " \t\r\n'\""
_SEPARATOR = re.compile(r"[._:/\-\s]+")
_HEAD = re.compile(
    r"[._:/\-\s]*(?:back[._-]rest|(?P<one>[a-z]+))(?:[_-]sidecar(?=[._:/\-]))?(?:(?P<sep>[._:/\-\s]+)(?P<rest>.+))?",
    re.DOTALL,
)
_VALUE = re.compile(r"\s*[:=\s]")
"""What may stand between a key and a value that was written into it."""
_BY_SHORT = {entry.short: entry for entry in KEYS}
_SHORT = {_SEPARATOR.sub(".", entry.short): entry for entry in KEYS}


def is_ours(key: str) -> bool:
    """Return whether a label's key is of this tool's namespace, or looks as if it was meant to be."""
    return key.startswith(PREFIX) or _looks_ours(key[:_MAX_GUESS])


@lru_cache(maxsize=2048)
def _looks_ours(key: str) -> bool:
    head = key[:14].lower()
    # One slip leaves the one half or the other as it is.
    if "bac" not in head and "est" not in head:
        return False
    return bool(nearest_key(key) or nearest_key(key, volume=True))


def meant_key(key: str) -> KnownKey | None:
    """Return the known key that ``key``, which is none, was probably meant to be."""
    return classify(near) if (near := nearest_key(key)) else None


def nearest_key(key: str, *, volume: bool = False) -> str:
    """Return the known key that looks most like ``key``; empty when none comes near."""
    return _near(key[:_MAX_GUESS], volume)


@lru_cache(maxsize=4096)
def _near(key: str, volume: bool) -> str:
    if volume and classify(key):
        return ""
    text = key.strip(_BLANK)
    namespace, rest, _ = _split(text)
    if not namespace:
        return ""
    cuts = [match.start() for match in _VALUE.finditer(text)]
    for form in (text, *(text[:cut].strip(_BLANK) for cut in reversed(cuts))):
        if found := _spelled(form, text[len(form) :].strip(_BLANK + ":="), volume):
            return found
    if key.startswith(PREFIX):
        alone = text[: cuts[0]] if cuts else text
        return _misspelt(alone, volume) or _misspelt(text, volume)
    # The namespace is ours but for its case. With a slip in both halves it is another tool's label.
    found = nearest(rest, [entry.short for entry in KEYS], 0.81) if namespace == _NAMESPACE else ""
    return PREFIX + found if found else ""


def _split(form: str) -> tuple[str, str, str]:
    """Return the namespace, if it is ours or nearly, what follows it in lower case, and the separator between."""
    found = _HEAD.match(form.lower())
    namespace = (found["one"] or "backrest") if found is not None else ""
    if found is None or not _close(namespace):
        return "", "", ""
    return namespace, found["rest"] or "", found["sep"] or ""


def _close(word: str) -> bool:
    """Whether a word is ``backrest`` but for one letter: left out, put in, another one, or two exchanged."""
    if word == _NAMESPACE:
        return True
    if word in _OTHER_WORDS or abs(len(word) - len(_NAMESPACE)) > 1:
        return False
    pairs = list(zip(word, _NAMESPACE, strict=False))
    same = next((at for at, (a, b) in enumerate(pairs) if a != b), len(pairs))
    mine, other = _NAMESPACE[same:], word[same:]
    exchanged = mine[:2] == other[1::-1] and mine[2:] == other[2:]
    return exchanged or mine[1:] == other[1:] or mine[1:] == other or mine == other[1:]


def _spelled(form: str, value: str, volume: bool) -> str:
    """Return the known key that a form is but for case, separators and namespace; empty for none.

    The bare namespace (``backrest=true``, ``backrest: true``) stands for ``backrest.enable``.
    """
    if not volume and classify(form):
        return form
    namespace, rest, separator = _split(form)
    if not rest:
        bare = namespace == _NAMESPACE and form.isalpha() and (not value or parse_bool(value) is not None)
        return ENABLE if bare else ""
    plain = _SEPARATOR.sub(".", rest)
    if volume:
        return next((e.key for e in VOLUME_KEYS if _SEPARATOR.sub(".", e.short) == plain), "")
    return _SHORT[plain].key if plain in _SHORT else _of_named_plan(rest, separator)


def _of_named_plan(rest: str, separator: str) -> str:
    """Return the named plan's key that ``rest`` is: its separators are all as the one after the namespace.

    So ``backrest-ui.enable`` is another tool's.
    """
    if separator == ".":
        name, _, last = rest.partition(".")
        splits = [(name, last)]
    elif set(_SEPARATOR.findall(rest)) == {separator}:
        parts = rest.split(separator)
        splits = [("_".join(parts[:-n]), ".".join(parts[-n:])) for n in (1, 2)]
    else:
        splits = []
    for name, last in splits:
        entry = _SHORT.get(_SEPARATOR.sub(".", last))
        if entry is not None and entry.per_plan and name not in NO_NAMES and PLAN_NAME.fullmatch(name):
            return f"{PREFIX}{name}.{entry.short}"
    return ""


def _misspelt(text: str, volume: bool) -> str:
    """Return the known key that looks most like ``backrest.<…>``; empty when none comes near."""
    rest = re.sub(r"[_:/]", ".", text[len(PREFIX) :].lower())
    table = VOLUME_KEYS if volume else KEYS
    candidates = [entry.short for entry in table]
    name, _, last = rest.partition(".")
    if last and not volume and name not in NO_NAMES and PLAN_NAME.fullmatch(name):
        # Perhaps a label of a named plan, misspelt in its last part.
        candidates += [f"{name}.{entry.short}" for entry in table if entry.per_plan]
    found = nearest(rest, candidates)
    return PREFIX + found if found else ""


def unknown_reason(key: str, *, volume: bool = False) -> str:
    """Return why a key is unknown, as one clause with a suggestion."""
    near = nearest_key(key, volume=volume)
    if near:
        return f"is not a label of this tool; did you mean {near}?{_how(key, near)}"
    if volume and classify(key):
        return f"means nothing on a volume, which knows {', '.join(k.key for k in VOLUME_KEYS)}"
    name, _, rest = key.removeprefix(PREFIX).partition(".")
    if not volume and rest in _BY_SHORT and name not in NO_NAMES:
        return f'is not a label of this tool: "{printable(name, 60)}" cannot be the name of a plan'
    return "is not a label of this tool"


def _how(key: str, near: str) -> str:
    """Return what cannot be seen when the two are read side by side."""
    if key.strip() == near:
        return " The key has a blank before or after it"
    before, colon, value = key.partition(":")
    if colon and (before.strip().lower() == near.lower() or parse_bool(value) is not None):
        return " In a list of labels it is key=value, without a colon"
    return ""
