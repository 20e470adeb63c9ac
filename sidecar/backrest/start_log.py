"""What Backrest's own words mean: its start-up log and its refusals, read without repeating a secret.

Backrest ends with a FATAL line when it cannot use its config.json, and answers a bad SetConfig with the same
sentences. Both quote values from the file, which may be secrets; what leaves this module names the place and
the rule, never a value of a repo, a user or an unreadable file.

Two forms of a FATAL line are read, as running ones wrote them (testdata/backrest-logs, 1.8.1 to 1.14.1): until 1.10
the reason is part of the message and takes several lines, since 1.11 it is the field ``error``. backrest:
cmd/backrest/backrest.go:85 (v1.10.1: :70), internal/config/validate.go, internal/config/config.go:49-52 (the prefix
"validation after migration", since 1.9.2).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

from sidecar.findings import printable

FaultKind = Literal[
    "plan", "repo", "auth", "instance", "sync", "version", "syntax", "file", "environment", "other"
]

CUT_OFF_MESSAGE = "Operation was incomplete when orchestrator was restarted."
"""backrest: internal/orchestrator/orchestrator.go:115."""

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_FATAL = re.compile(r"\bFATAL\t(?P<text>.*?)(?=\n\d{4}-\d\d-\d\dT|\Z)", re.DOTALL)
_DETAIL = re.compile(r": |\n| that is using the same data directory ")
"""Where the sentence of a FATAL line without fields ends."""
_PANIC = re.compile(r"^panic: ", re.MULTILINE)
_SCRUBBED = re.compile(r"\tscrubbed operation log for incomplete operations\t(?P<fields>\{[^\n]*)")
_UP = re.compile(r"\tstarting web server[\t ]")
"""The address follows as a field; until 1.10 as a word."""
_OCCURRED = re.compile(r"(?P<count>\d+) errors? occurred:$")
_POSITION = re.compile(r"\(line (\d+):(\d+)\)")
_FIELD = re.compile(
    r"invalid value for [\w.]+ field (?P<field>\w+)|duplicate field \"(?P<duplicate>\w+)\""
    r"|error parsing \"(?P<oneof>\w+)\", oneof"
)
_AUTO_INIT = re.compile(r'auto-initialize repo "(?P<repo>[^"]*)"')


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One thing that Backrest refuses in a config.

    Attributes:
        kind: What it is about.
        message: One sentence, without any secret.
        plan_id: The plan that Backrest names, or empty.
        repo_id: The repo that Backrest names, or empty.
    """

    kind: FaultKind
    message: str
    plan_id: str = ""
    repo_id: str = ""

    @property
    def may_be_ours(self) -> bool:
        """Whether plans that we wrote can be the cause, so that putting the previous ones back can help."""
        return self.kind in {"plan", "syntax", "other"}

    def __str__(self) -> str:
        return self.message


def config_error_in_log(text: str) -> ConfigFault | None:
    """Return why Backrest's last start failed because of its config, or None.

    Args:
        text: The end of the container's log, colours and all. Only what follows the last successful start
            counts; a plan is preferred to anything else when Backrest names several faults.
    """
    found = config_faults_in_log(text)
    return next((f for f in found if f.plan_id), found[0] if found else None)


def config_faults_in_log(text: str) -> tuple[ConfigFault, ...]:
    """Return all faults that Backrest named when its last start failed; empty when its config was not why."""
    tail = _after_last_up(text)
    fatal = _last(_FATAL, tail)
    panic = _last(_PANIC, tail)
    if panic is not None and (fatal is None or panic.start() > fatal.start()):
        if "cronexpr" not in tail[panic.start() :]:
            return ()
        return (ConfigFault("plan", "Backrest's cron parser crashed on an expression (a negative step?)"),)
    if fatal is None:
        return ()
    sentence, error = _sentence_and_error(fatal["text"])
    match sentence:
        case "error loading config":
            return parse_refusal(error)
        case "error creating orchestrator" if (init := _AUTO_INIT.search(error)) is not None:
            repo = init["repo"]
            said = (
                f"repo {printable(repo)!r} is to be initialised at start, and that failed; see Backrest's log"
            )
            return (ConfigFault("repo", said, repo_id=repo),)
    return ()


def fatal_in_log(text: str) -> str:
    """Return the sentence of the FATAL line that ended Backrest's last start, without its details.

    Empty when there is none. It explains a crash loop that config.json has nothing to do with, e.g. ``oplog is
    locked by another instance of backrest``.
    """
    tail = _after_last_up(text)
    fatal = _last(_FATAL, tail)
    if fatal is not None:
        return printable(_sentence_and_error(fatal["text"])[0])
    return "Backrest panicked" if _PANIC.search(tail) else ""


def cut_off_in_log(text: str) -> int:
    """Return how many operations the last start found cut off, hooks included; 0 also when the log is silent.

    backrest: internal/orchestrator/orchestrator.go:94-149.
    """
    line = _last(_SCRUBBED, _ANSI.sub("", text))
    if line is None:
        return 0
    number = _fields(line["fields"]).get("incomplete_ops", 0)
    return number if isinstance(number, int) else 0


def parse_refusal(text: str) -> tuple[ConfigFault, ...]:
    """Return what a refusal of Backrest says, from its log or from its API, fault by fault and without values."""
    if "\t* " not in text:
        return (_single(text),)
    faults: list[ConfigFault] = []
    owner, left = "", 0
    for item in text.split("\n\t* ")[1:]:
        line = item.strip("\n")
        if left > 0:
            left -= 1
            faults.append(_fault(owner, line))
            continue
        group = _OCCURRED.search(line)
        if group is not None:
            owner, left = line[: group.start()].rstrip(" :"), int(group["count"])
        else:
            head, _, rest = (
                line.partition(": ") if not line.startswith(("plan ", "repo ")) else line.rpartition(": ")
            )
            faults.append(_fault(head, rest))
    return tuple(faults)


def _fault(owner: str, message: str) -> ConfigFault:
    """Return the fault ``message`` of ``owner``, e.g. ``plan web``."""
    word, _, name = owner.partition(" ")
    said = printable(
        re.sub(r"invalid env var .*, must", "invalid env var (not shown), must", message, flags=re.DOTALL),
        300,
    )
    match word:
        case "plan":
            return ConfigFault("plan", f"plan {printable(name)!r}: {said}", plan_id=name)
        case "repo":
            return ConfigFault("repo", f"repo {printable(name)!r}: {said}", repo_id=name)
        case "auth":
            return ConfigFault("auth", f"auth: {said}")
        case "multihost" | "authorized" | "known":
            return ConfigFault("sync", "sync: an identity or a peer is not valid")
        case "instance":
            return ConfigFault("instance", "instance: not a valid instance id (at most 50 characters)")
    return ConfigFault("other", "Backrest refuses the config for a reason of its own; see its log")


def _single(text: str) -> ConfigFault:
    """Return the fault of a refusal that is one sentence."""
    if "potential password conflict" in text:
        said = "RESTIC_PASSWORD, _FILE or _COMMAND in Backrest's environment conflicts with a repo's password"
        return ConfigFault("environment", f"{said}; see Backrest's log")
    version = re.search(r"config version (-?\d+) is (invalid|too old|greater)", text)
    if version is not None:
        return ConfigFault("version", f"config version {version[1]} is {version[2]} for this Backrest")
    if "failed to read config file" in text:
        return ConfigFault(
            "file", "Backrest cannot read its config file; is it a directory, or not permitted?"
        )
    if "unmarshal" not in text:
        return ConfigFault("other", "Backrest refuses the config for a reason of its own; see its log")
    said = "not the JSON that Backrest expects"
    position = _POSITION.search(text)
    field = _FIELD.search(text)
    if field is not None:
        kind = "duplicate field" if field["duplicate"] else "wrong value for field"
        kind = "a second choice beside field" if field["oneof"] else kind
        said = f"{kind} {field['field'] or field['duplicate'] or field['oneof']!r}"
    elif "unexpected EOF" in text:
        said = "the JSON ends too early"
    return ConfigFault("syntax", said + (f" at line {position[1]}, column {position[2]}" if position else ""))


def _after_last_up(text: str) -> str:
    """Return the log without colours from the last start that got as far as its web server."""
    plain = _ANSI.sub("", text).replace("\r\n", "\n")
    up = _last(_UP, plain)
    return plain if up is None else plain[up.end() :]


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = None
    for match in pattern.finditer(text):
        last = match
    return last


def _sentence_and_error(text: str) -> tuple[str, str]:
    """Return the sentence of a FATAL line and its error; the raw fields when they are no JSON (a line cut short)."""
    sentence, tab, _ = text.partition("\t{")
    detail = _DETAIL.search(text)
    if not tab or (detail is not None and detail.start() < len(sentence)):
        return (text[: detail.start()], text[detail.end() :]) if detail is not None else (text, "")
    raw = text[len(sentence) + 1 :].partition("\n")[0]
    error = _fields(raw).get("error", raw)
    return sentence, error if isinstance(error, str) else raw


def _fields(raw: str) -> dict[str, object]:
    try:
        fields, _ = json.JSONDecoder().raw_decode(raw)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
