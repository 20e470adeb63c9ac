"""Empty and half backups as far as a file shows them: by the very rules that select what a plan backs up. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sidecar.engine.model import Container
from sidecar.findings import Finding, printable
from sidecar.labels.reader import PlanReading
from sidecar.lint.findings import Level, VolumeSays
from sidecar.plans.chosen import EXCLUDE, INCLUDE, Selection, SelectionRules
from sidecar.plans.mounts import PathRules
from sidecar.plans.selection import select

_WILDCARD = re.compile(r"[*?]")
_SOCKET = "/var/run/docker.sock"
_LEVELS: dict[str, tuple[Level, str]] = {
    "special-file": ("note", "special-file"),
    "volume-left-out": ("note", "volume-left-out"),
    "exclude-not-inherited": ("warning", "exclude-not-inherited"),
    "exclude-ignored": ("warning", "exclude-ignored"),
    "no-host-path": ("warning", "path-under-no-volume"),
    "path-under-no-mount": ("warning", "path-under-no-volume"),
    "wrong-label": ("error", "wrong-label"),
}
"""Level and code of what the selection finds."""


class PathProblem(NamedTuple):
    """One problem: how bad, a stable word, the label that it is about, what, and what was probably meant."""

    level: Level
    code: str
    label: str
    message: str
    hint: str = ""


class _Labels:
    """What one plan's labels say of paths."""

    def __init__(self, plan: PlanReading) -> None:
        self.name = plan.name
        self.include: tuple[str, ...] = plan.values.get("include", ())
        self.exclude: tuple[str, ...] = plan.values.get("exclude", ())
        self.sources: Mapping[str, str] = plan.sources


def path_problems(
    container: Container, plan: PlanReading, volumes: Mapping[str, VolumeSays]
) -> Iterator[PathProblem]:
    """Yield what a plan would leave out, whole or in part, against what its labels seem to want.

    Args:
        container: With all of its mounts, named as people call it.
        plan: What its labels say.
        volumes: What the labels of volumes say, by name.
    """
    labels = _Labels(plan)
    says: Mapping[str, Any] = volumes
    rules = SelectionRules(PathRules(engine_socket=_SOCKET), says)
    chosen = select(container, labels, rules)
    who = printable(container.name)
    for finding in chosen.findings:
        yield _placed(finding)
    yield from _patterns_in_include(who, labels)
    yield from _excludes_of_nothing(who, labels, chosen)
    if not chosen.picks and not any(finding.skips for finding in chosen.findings):
        what = (
            "none of its paths.include leads to anything that can be backed up"
            if labels.include
            else "has no volume or bind mount to back up; add one, or set backrest.paths.include"
        )
        label = labels.sources.get("include", "") if labels.include else ""
        yield PathProblem("warning", "no-path", label, f"{who}: {what}")


def _placed(finding: Finding) -> PathProblem:
    level, code = _LEVELS.get(finding.code, ("warning", finding.code))
    text = finding.message
    if finding.code == "special-file" and "socket" not in text:
        text += "; to back it up, name it in backrest.paths.include"
    return PathProblem(level, code, finding.label, text, finding.hint)


def _patterns_in_include(who: str, labels: _Labels) -> Iterator[PathProblem]:
    for raw in labels.include:
        # A bracket or a backslash may well stand in the name of a directory.
        found = _WILDCARD.search(raw)
        if found is not None:
            directory = raw[: found.start()].rpartition("/")[0] or "/"
            text = (
                f"{who}: Backrest does not expand {printable(raw)}: no such path is there, and nothing is backed up; "
                f"name the directory ({printable(directory)}), and leave the rest out by backrest.paths.exclude"
            )
            label = labels.sources.get("include", INCLUDE)
            yield PathProblem("warning", "pattern-in-include", label, text, directory)


def _excludes_of_nothing(who: str, labels: _Labels, chosen: Selection) -> Iterator[PathProblem]:
    for exclude in chosen.excludes:
        if exclude.mount is None and exclude.pattern.startswith("/"):
            label = labels.sources.get("exclude", EXCLUDE)
            text = (
                f"{who}: {printable(exclude.raw)} lies under no volume of this service and excludes nothing"
            )
            yield PathProblem("warning", "exclude-under-no-volume", label, text)
