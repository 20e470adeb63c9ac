"""The paths and excludes of one plan, written as Backrest sees them. Pure.

What is wanted of each container is decided in ``selection``; here it becomes host paths, and those become the paths
in Backrest's container. A path that Backrest cannot read would fail the whole backup (backrest:
pkg/restic/restic.go:318-323), so it is left out and said, or the plan stays as it is (``--unseen-paths``).
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sidecar.engine.model import Container, Mount, Volume
from sidecar.findings import Finding, printable
from sidecar.labels import patterns
from sidecar.labels.policy import PlanLabels, VolumeLabels
from sidecar.plans.chosen import EXCLUDE, Exclude, Pick, SelectionRules
from sidecar.plans.mounts import (
    PathRules,
    View,
    compose_line,
    host_path,
    in_host,
    in_view,
    through_mount,
    under,
    volume_path,
)
from sidecar.plans.own_data import backrest_directories
from sidecar.plans.path_facts import Facts, no_facts
from sidecar.plans.selection import select

INVISIBLE_PATH = "invisible-path"
"""Code of the finding about a path that Backrest cannot read."""


@dataclass(frozen=True, slots=True)
class PathContext:
    """What all plans of one rendering share when paths are worked out.

    Attributes:
        rules: The options.
        volumes: The engine's volumes.
        volume_labels: Labels of those volumes that carry any.
        allowed: ``--allow-path`` prefixes; empty allows every path.
        view: How Backrest sees host paths; empty for not at all known.
        facts: What is known of paths as Backrest sees them.
        unseen: ``--unseen-paths``.
    """

    rules: PathRules
    volumes: Mapping[str, Volume]
    volume_labels: Mapping[str, VolumeLabels]
    allowed: tuple[str, ...] = ()
    view: View = ()
    facts: Facts = field(default_factory=no_facts)
    unseen: Literal["leave-out", "keep"] = "leave-out"

    @property
    def selection(self) -> SelectionRules:
        """The part of it that ``selection`` needs."""
        own = backrest_directories(self.view, self.facts)
        return SelectionRules(self.rules, self.volume_labels, self.allowed, own)


@dataclass(slots=True)
class PathDraft:
    """Paths as they are to be written, with what was found on the way.

    Attributes:
        paths: Sorted, without doubles.
        excludes: In label order, without doubles.
        findings: Skips and warnings.
        without: Host paths that are asked for and left out, because Backrest cannot read them.
        candidates: Paths as Backrest sees them before anything was known of them; to be looked up.
    """

    paths: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    without: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()

    @property
    def skipped(self) -> bool:
        """Whether there is no plan to be made of this."""
        return any(finding.skips for finding in self.findings)


def draft_paths(
    containers: Sequence[Container],
    labels: PlanLabels,
    context: PathContext,
    *,
    only_enabled_volumes: bool = False,
) -> PathDraft:
    """Return the paths of one plan: the union over the containers (replicas) of its workload.

    Args:
        containers: At least one.
        labels: The plan's labels.
        context: Options, volumes, view.
        only_enabled_volumes: Take volumes labelled ``backrest.enable=true`` alone, for a container that asks
            for nothing itself.
    """
    return _Drafting(containers, labels, context).run(only_enabled=only_enabled_volumes)


class _Drafting:
    """One call of :func:`draft_paths`."""

    def __init__(self, containers: Sequence[Container], labels: PlanLabels, context: PathContext) -> None:
        self.containers = containers
        self.labels = labels
        self.context = context
        self.name = containers[0].name
        self.findings: dict[Finding, None] = {}
        self.paths: dict[str, None] = {}
        self.without: dict[str, None] = {}
        self.candidates: dict[str, None] = {}
        self.followed: dict[str, str] = {}

    def run(self, *, only_enabled: bool) -> PathDraft:
        excludes: list[Exclude] = []
        rules = self.context.selection
        for container in self.containers:
            chosen = select(container, self.labels, rules, only_enabled=only_enabled)
            self.findings.update(dict.fromkeys(chosen.findings))
            for pick in chosen.picks:
                self._pick(container, pick)
            excludes += chosen.excludes
        if not self.paths and not any(finding.skips for finding in self.findings):
            self._say_nothing_left()
        written: dict[str, None] = {}
        for exclude in excludes:
            for pattern in self._patterns(exclude):
                if not self._takes_a_path(exclude, pattern):
                    written[pattern] = None
        return PathDraft(
            paths=tuple(sorted(self.paths)),
            excludes=tuple(written),
            findings=list(self.findings),
            without=tuple(sorted(self.without)),
            candidates=tuple(sorted(self.candidates)),
        )

    def _say(self, code: str, text: str, *, label: str = "", value: str = "", skips: bool = False) -> None:
        self.findings[Finding(code, text, self.name, label, value, skips=skips)] = None

    def _say_nothing_left(self) -> None:
        if self.without:
            text = f"{self.name} has no path that Backrest can read, so it has no plan to be written"
        else:
            what = (
                "none of its paths.include leads to one"
                if self.labels.include
                else "it has no mount that can be backed up"
            )
            text = f"{self.name} has no path to back up: {what}; set backrest.paths.include"
        self._say("no-path", text, skips=True)

    def _pick(self, container: Container, pick: Pick) -> None:
        mount = pick.mount
        if mount is None:
            self._write(container, pick.path, pick)
            return
        context = self.context
        base = host_path(mount, context.rules, context.volumes)
        if base:
            self._tell_mounted_on_use(container, mount, base)
            host = through_mount(pick.path, mount, context.rules, context.volumes)
            self._write(container, posixpath.normpath(host), pick)
            return
        text = (
            f"volume {printable(mount.name)} of {container.name} (driver {printable(mount.driver)}) has no path "
            "on this host and is not backed up; back it up where it lives"
        )
        self.findings[Finding("volume-without-path", text, container=container.name)] = None

    def _write(self, container: Container, host: str, pick: Pick) -> None:
        """Put a host path among the plan's paths as Backrest sees it, or among those that it does not see."""
        view, facts = self.context.view, self.context.facts
        seen = in_view(host, view) if view else host
        if seen is None:
            why = f'add to the volumes of the Backrest service: "{compose_line(host)}"'
            self._leave_out(container, host, f"Backrest does not see {printable(host)}", why)
            return
        self.candidates[seen] = None
        fact = facts.get(seen)
        if fact is None or (fact.there and not fact.target):
            self.paths[seen] = None
        elif not fact.target:
            self._leave_out(container, host, *self._missing(seen, pick))
        else:
            self._follow(container, host, seen, fact.target, there=fact.there)

    def _follow(self, container: Container, host: str, seen: str, target: str, *, there: bool) -> None:
        """Write where a symlink leads: of one that is named as a path, restic stores the link alone."""
        view = self.context.view
        if not there or (view and in_host(target, view) is None):
            # The link says a path of the host, which Backrest may see under another name. What it has there beside
            # its mounts, its own /var/log say, is of its image.
            elsewhere = in_view(target, view)
            self.candidates.update({elsewhere: None} if elsewhere else {})
            fact = self.context.facts.get(elsewhere or "")
            if not elsewhere or fact is None or not fact.there or fact.target:
                what = f"{printable(seen)} is a symlink to {printable(target)}, which Backrest does not see"
                why = f'add to the volumes of the Backrest service: "{compose_line(target)}"'
                self._leave_out(container, host, what, why)
                return
            target = elsewhere
        self.paths[target] = None
        self.followed[seen] = target
        text = (
            f"{container.name}: {printable(seen)} is a symlink, of which restic would store the link alone; "
            f"{printable(target)}, to which it leads, is backed up in its place"
        )
        value = printable(seen)
        self.findings[Finding("symlink-followed", text, container=container.name, value=value)] = None

    def _missing(self, seen: str, pick: Pick) -> tuple[str, str]:
        """Return what is to be said of a path that is not there: what, and what to do."""
        what = f"there is no {printable(seen)} in Backrest's container"
        if pick.mount is not None and pick.path == posixpath.normpath(pick.mount.destination):
            return what, "is the volume or directory still there, and mounted into Backrest?"
        label = self.labels.sources.get("include", "backrest.paths.include")
        if patterns.has_wildcard(pick.path):
            return (
                what,
                f"Backrest does not expand patterns: name the directory in {label}, and exclude the rest",
            )
        return what, f"correct {label}"

    def _leave_out(self, container: Container, host: str, what: str, advice: str) -> None:
        self.without[host] = None
        keep = self.context.unseen == "keep"
        fate = "its plan stays as it is (--unseen-paths keep)" if keep else "it is left out of the backup"
        text = f"{container.name}: {what}: {fate}; {advice}"
        finding = Finding(INVISIBLE_PATH, text, container.name, value=printable(host), skips=keep)
        self.findings[finding] = None

    def _tell_mounted_on_use(self, container: Container, mount: Mount, path: str) -> None:
        """Warn of a volume of the local driver that the engine mounts (``o=bind``, NFS, …) for its users alone.

        When its last container stops, its directory is empty (moby: volume/local/local_unix.go, Unmount), and a
        mount that is made later does not reach a container that has the directory above it, for binds are private.
        Backrest reads the data for certain only when it mounts the volume itself.
        """
        volume = self.context.volumes.get(mount.name) if mount.type == "volume" else None
        if volume is None or volume.driver != "local" or not volume.options.get("device"):
            return
        root = posixpath.normpath(volume_path(mount, self.context.rules, self.context.volumes))
        if any(source == root for source, _ in self.context.view):
            return
        kind = volume.options.get("type") or "a mount"
        if kind == "none":
            kind = "a bind mount"
        text = (
            f"volume {printable(mount.name)} of {container.name} is {printable(kind)} that the engine makes only "
            "while a container uses the volume: Backrest may find an empty directory there; add to the volumes of "
            f'the Backrest service: "- {printable(mount.name)}:{printable(path)}:ro"'
        )
        value = printable(mount.name)
        self.findings[Finding("volume-mounted-on-use", text, container=container.name, value=value)] = None

    def _patterns(self, exclude: Exclude) -> tuple[str, ...]:
        """Return the patterns that restic is to be given for one exclude."""
        mark, rest = patterns.split_negation(exclude.pattern)
        if exclude.mount is not None:
            root = volume_path if exclude.from_root and exclude.mount.type == "volume" else host_path
            host = root(exclude.mount, self.context.rules, self.context.volumes)
            return (f"{mark}{patterns.escape(self._seen(posixpath.normpath(host)))}/{rest}",) if host else ()
        if not rest.startswith("/"):
            return tuple(patterns.below(path, exclude.pattern) for path in sorted(self.paths))
        if not any(under(rest, path) for path in self.paths) and not mark:
            label = self.labels.sources.get("exclude", EXCLUDE)
            shown = printable(exclude.raw)
            text = (
                f"{self.name}: {label} names {shown}, which lies under no mount of the container: it excludes "
                "nothing; a path in the container is meant"
            )
            self._say("exclude-under-no-mount", text, label=label, value=shown)
        return (exclude.pattern,)

    def _seen(self, host: str) -> str:
        """Return a host path as it is written; of a symlink that is followed, where it leads."""
        seen = in_view(host, self.context.view) or host
        return self.followed.get(seen, seen)

    def _takes_a_path(self, exclude: Exclude, pattern: str) -> bool:
        """Whether a written pattern leaves nothing of a path that lies below no other; that is a wrong label."""
        if pattern.startswith("!"):
            return False
        taken = patterns.taken_whole(pattern, self.paths)
        if exclude.taken_back:  # of what is in them, a later pattern takes something back
            taken = [path for path in taken if patterns.takes(pattern, path)]
        if not taken:
            return False
        kept = self.paths.keys() - set(taken)
        whole = next((p for p in taken if not any(under(p, k) for k in kept)), "")
        volume = exclude.from_root
        label = "backrest.exclude" if volume else self.labels.sources.get("exclude", EXCLUDE)
        if not whole:
            for path in taken:
                text = (
                    f'{self.name}: {label}="{printable(exclude.raw)}" takes {printable(path)} whole, which lies in '
                    "another path of the plan: nothing of it is backed up; if it should be, name what is to be left "
                    "out more closely"
                )
                self._say("exclude-takes-path", text, label=label, value=printable(exclude.raw))
            return False
        fate = "it does not count there" if volume else "it is skipped, its plan stays as it is"
        text = f'{self.name}: {label}="{printable(exclude.raw)}" takes {printable(whole)} whole; {fate}'
        code = "exclude-ignored" if volume else "wrong-label"
        self._say(code, text, label=label, value=printable(exclude.raw), skips=not volume)
        return True
