"""Directories that no plan should hold: its own repository, and what Backrest keeps of its own. Pure.

A backup that holds its own repository stores at each run what the last one wrote, without an end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.findings import Finding, printable
from sidecar.labels import patterns
from sidecar.plans.mounts import View, in_host, join, under
from sidecar.plans.path_facts import Facts

_BACKREST = (
    ("/data", "/data/oplog.sqlite", "Backrest's own data"),
    ("/cache", "/cache/restic/CACHEDIR.TAG", "Backrest's own cache"),
)
"""Where Backrest's image keeps them (backrest: cmd/docker-entrypoint/main.go:9-15), and the file that proves it: a
person may have set other places, and mounted data of his own there."""


def signs(view: View) -> tuple[str, ...]:
    """Return the paths to look up that tell which of Backrest's mounts are its own directories."""
    return tuple(sign for place, sign, _ in _BACKREST if any(inside == place for _, inside in view))


def backrest_directories(view: View, facts: Facts) -> tuple[tuple[str, str], ...]:
    """Return (host path, what it is) of the mounts in which Backrest keeps what is its own."""
    return tuple(
        (host, what)
        for place, sign, what in _BACKREST
        for host, inside in view
        if inside == place and (fact := facts.get(sign)) is not None and fact.there
    )


@dataclass(frozen=True, slots=True)
class OwnData:
    """A plan's paths and excludes without what no plan should hold, and what is to be said of it."""

    paths: tuple[str, ...]
    excludes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


def leave_out_own(
    paths: Sequence[str],
    excludes: Sequence[str],
    repository: str,
    view: View,
    facts: Facts,
    container: str,
) -> OwnData:
    """Return a plan's paths and excludes without its own repository and Backrest's own directories.

    A path that an include names itself stays, unless it lies in the repository.

    Args:
        paths: As Backrest sees them.
        excludes: As written.
        repository: Directory of a local repository as Backrest sees it; empty for any other.
        view: Backrest's mounts; empty when not known.
        facts: What is known of paths in its container.
        container: For the findings.
    """
    kept, out = list(paths), dict.fromkeys(excludes)
    findings: list[Finding] = []

    def say(code: str, text: str) -> None:
        findings.append(Finding(code, f"{container}: {text}", container=container))

    if repository:
        directory = in_host(repository, view) or repository
        for path in paths:
            host = in_host(path, view) or path
            if under(host, directory) is not None:
                kept.remove(path)
                say("own-repository", f"{printable(path)} is the plan's own repository and is left out")
            elif rest := under(directory, host):
                out[patterns.escape(join(path, rest))] = None
                what = f"the plan's own repository ({printable(rest)}), which is excluded"
                say("own-repository", f"{printable(path)} holds {what}")
    for directory, what in backrest_directories(view, facts):
        for path in kept:
            if rest := under(directory, in_host(path, view) or path):
                out[patterns.escape(join(path, rest))] = None
                say("own-data", f"{printable(path)} holds {what} ({printable(rest)}), which is excluded")
    return OwnData(tuple(kept), tuple(out), tuple(findings))
