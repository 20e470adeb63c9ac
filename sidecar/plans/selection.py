"""What of one container a plan is about: which mounts and paths, and what is left out of them. Pure.

Decided once, in the container's own paths; ``plan_paths`` writes the result as Backrest sees it, ``backup_sets`` as a
backup-once has it. The rules (contract §5):

- Without ``backrest.paths.include`` every mount that may hold data.
- With it those paths, and whatever is mounted below one of them: a file that the container has below an included
  path is in the backup. An explicit include of a mount that holds no data takes it.
- An exclude with a leading slash is a path or pattern in the container, and reaches the mounts below it. Any other is
  a restic pattern and counts below each of the plan's paths.
- An exclude that leaves nothing of a path is a wrong label: that would be an empty backup.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sidecar.engine.model import Container, Mount
from sidecar.findings import Finding, printable
from sidecar.labels import patterns
from sidecar.plans.mounts import PathRules, longest_mount, under
from sidecar.plans.special_paths import why_no_data

if TYPE_CHECKING:  # lint selects by the same rules, without the time that the models take to load
    from sidecar.labels.policy import VolumeLabels

INCLUDE, EXCLUDE = "backrest.paths.include", "backrest.paths.exclude"
_WITH_DATA = frozenset({"bind", "volume", "cluster"})


class PathLabels(Protocol):
    """The labels of one plan that concern paths; ``labels.policy.PlanLabels`` satisfies it."""

    @property
    def name(self) -> str:
        """Name of a named plan; empty for the default one."""

    @property
    def include(self) -> tuple[str, ...]:
        """``backrest.paths.include``; empty means every mount."""

    @property
    def exclude(self) -> tuple[str, ...]:
        """``backrest.paths.exclude``."""

    @property
    def sources(self) -> Mapping[str, str]:
        """Field → full key of the label that it came from."""


@dataclass(frozen=True, slots=True)
class SelectionRules:
    """What decides besides labels.

    Attributes:
        paths: Options about mounts.
        volume_labels: Labels of the volumes that carry any, by name.
        allowed: ``--allow-path`` prefixes; empty allows every path.
        own: Host directories that Backrest keeps for itself (its operation log, its cache), and what each is.
    """

    paths: PathRules
    volume_labels: Mapping[str, VolumeLabels]
    allowed: tuple[str, ...] = ()
    own: tuple[tuple[str, str], ...] = ()


class Pick(NamedTuple):
    """One path in the container that is backed up; without a mount it is a path of the host."""

    path: str
    mount: Mount | None


class Exclude(NamedTuple):
    """One exclude: a pattern below the root of ``mount``; without a mount below each path, or absolute on the host.

    Attributes:
        mount: The mount; None for a pattern that is not bound to one.
        pattern: Cleaned, without a leading slash where there is a mount. May begin with ``!``.
        from_root: It counts from the volume's root, whatever part of it is mounted.
        raw: As the label has it.
        taken_back: It leaves nothing of a path but what a later ``!`` pattern takes back.
    """

    mount: Mount | None
    pattern: str
    from_root: bool = False
    raw: str = ""
    taken_back: bool = False


@dataclass(slots=True)
class Selection:
    """What is backed up of one container.

    Attributes:
        picks: In the engine's order, or that of the label.
        excludes: In label order, those of volumes last.
        findings: Skips and warnings.
    """

    picks: list[Pick] = field(default_factory=list)
    excludes: list[Exclude] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def left_out(
    mount: Mount, rules: SelectionRules, *, only_enabled: bool = False, asked: bool = False
) -> tuple[str, str]:
    """Return why a mount is in no plan, as (code, reason); two empty texts when it is.

    The reason of ``special-file`` is what the mount is, as a noun phrase.

    Args:
        mount: The mount.
        rules: Options and the labels of volumes.
        only_enabled: Only volumes that say ``backrest.enable=true`` themselves count.
        asked: An include names it, or a path on it: then only what cannot be or must not be is left out.
    """
    if mount.type not in _WITH_DATA:
        return "no-host-path", "it has no path on the host"
    if mount.type != "bind":
        labels = rules.volume_labels.get(mount.name)
        if labels is not None and labels.enable is False:
            return "volume-left-out", "the volume says backrest.enable=false"
        if only_enabled and (labels is None or not labels.enable):
            return "volume-not-enabled", "nothing enables it"
    if asked:
        return "", ""
    source = posixpath.normpath(mount.source) if mount.source else ""
    if mount.type == "bind":
        if rules.paths.exclude_binds:
            return "binds-excluded", "--exclude-bind-mounts"
        what = why_no_data(source, rules.paths)
        if what:
            return "special-file", what
    for directory, what in rules.own:
        if source and under(source, directory) is not None:
            return "special-file", what
    return "", ""


def select(
    container: Container, labels: PathLabels, rules: SelectionRules, *, only_enabled: bool = False
) -> Selection:
    """Return what of a container one plan backs up. Raises nothing: what is wrong is a finding.

    Args:
        container: The container.
        labels: The plan's labels.
        rules: Options and the labels of volumes.
        only_enabled: Take volumes labelled ``backrest.enable=true`` alone, for a container that asks for nothing.
    """
    chosen = Selection()
    if labels.include:
        for raw in labels.include:
            _include(container, raw, labels, rules, chosen)
    else:
        for mount in container.mounts:
            if _counts(container, mount, rules, chosen, only_enabled=only_enabled):
                chosen.picks.append(Pick(_destination(mount), mount))
    chosen.picks = list(dict.fromkeys(chosen.picks))
    for at, raw in enumerate(labels.exclude, start=1):
        _exclude(container, raw, labels, chosen, later=labels.exclude[at:])
    for mount in container.mounts:
        _volume_excludes(container, mount, rules, chosen)
    return chosen


def _counts(
    container: Container,
    mount: Mount,
    rules: SelectionRules,
    chosen: Selection,
    *,
    only_enabled: bool = False,
) -> bool:
    """Whether a mount that nobody named is taken; says so of one that a person may expect to be."""
    code, why = left_out(mount, rules, only_enabled=only_enabled)
    if code == "special-file":
        text = f"{printable(mount.source)} of {container.name} is {why} and is left out"
        chosen.findings.append(Finding(code, text, container=container.name))
    return not code


def _include(
    container: Container, raw: str, labels: PathLabels, rules: SelectionRules, chosen: Selection
) -> None:
    path = patterns.clean(raw)
    mount = longest_mount(path, container.mounts)
    below = [m for m in container.mounts if m is not mount and under(_destination(m), path)]
    label, shown = labels.sources.get("include", INCLUDE), printable(raw)

    def say(code: str, text: str, *, skips: bool = False) -> None:
        chosen.findings.append(
            Finding(code, text, container=container.name, label=label, value=shown, skips=skips)
        )

    if mount is not None:
        code, _ = left_out(mount, rules, asked=True)
        if code == "volume-left-out":
            say(
                code,
                f"{shown} of {container.name} lies on volume {printable(mount.name)}, which says "
                "backrest.enable=false; it is left out",
            )
        elif code:
            say(
                code,
                f"{shown} of {container.name} lies on a {mount.type} mount, which has no path on the host; "
                "it is left out",
            )
        else:
            chosen.picks.append(Pick(path, mount))
    elif not below:
        if rules.allowed and all(under(path, prefix) is None for prefix in rules.allowed):
            say(
                "path-not-allowed",
                f"{container.name}: {label} names {shown}, which lies under no mount of the container "
                f"and below none of --allow-path {' '.join(rules.allowed)}",
                skips=True,
            )
            return
        say(
            "path-under-no-mount",
            f"{container.name}: {shown} lies under no mount of the container; it is taken as a path of the host",
        )
        chosen.picks.append(Pick(path, None))
    for inner in below:
        if _counts(container, inner, rules, chosen):
            chosen.picks.append(Pick(_destination(inner), inner))


def _exclude(
    container: Container, raw: str, labels: PathLabels, chosen: Selection, *, later: Sequence[str]
) -> None:
    mark, pattern = patterns.split_negation(patterns.clean(raw))
    if not pattern.startswith("/"):
        everything = not mark and patterns.takes_everything(pattern)
        if everything and not all(_is_taken_back(pick.path, later) for pick in chosen.picks):
            _whole(container, raw, labels, chosen, "everything")
        else:
            chosen.excludes.append(Exclude(None, mark + pattern, raw=raw, taken_back=everything))
        return
    taken_back = False
    if not mark:
        covered = [pick for pick in chosen.picks if patterns.leaves_nothing(pattern, pick.path)]
        emptied = [c for c in covered if not patterns.takes(pattern, c.path)]
        taken_back = bool(emptied) and all(_is_taken_back(pick.path, later) for pick in emptied)
        if taken_back:  # it takes what is in these paths, not the paths, and not all of it
            covered = [pick for pick in covered if pick not in emptied]
        kept = [pick for pick in chosen.picks if pick not in covered]
        # A mount below a path that stays is excluded as any other directory of it would be.
        if bare := [c for c in covered if not any(under(c.path, k.path) for k in kept)]:
            _whole(container, raw, labels, chosen, bare[0].path)
            return
        chosen.picks = kept
    found = list(_below_mounts(pattern, container.mounts))
    chosen.excludes += (Exclude(mount, mark + rest, raw=raw, taken_back=taken_back) for mount, rest in found)
    if not found:
        chosen.excludes.append(Exclude(None, mark + pattern, raw=raw))


def _is_taken_back(path: str, later: Sequence[str]) -> bool:
    """Whether one of these excludes is a ``!`` pattern that can bring back something below ``path``."""
    for raw in later:
        mark, pattern = patterns.split_negation(patterns.clean(raw))
        if mark and (not pattern.startswith("/") or under(pattern, path)):
            return True
    return False


def _whole(container: Container, raw: str, labels: PathLabels, chosen: Selection, what: str) -> None:
    """Say that an exclude takes a whole path: a wrong label, or one of another plan that means nothing here."""
    label, shown = labels.sources.get("exclude", EXCLUDE), printable(raw)
    who = printable(container.name)
    if labels.name and label == EXCLUDE:
        text = (
            f'{who}: {label}="{shown}" would take {printable(what)} whole from the plan "{labels.name}", which '
            "includes it; it does not count there"
        )
        chosen.findings.append(
            Finding("exclude-not-inherited", text, container=container.name, label=label, value=shown)
        )
        return
    text = (
        f'{who}: {label}="{shown}" takes {printable(what)} whole, so nothing of it would be backed up; it is '
        "skipped, its plan stays as it is; to leave a mount out, name the others in backrest.paths.include, or label "
        "its volume backrest.enable=false"
    )
    chosen.findings.append(
        Finding("wrong-label", text, container=container.name, label=label, value=shown, skips=True)
    )


def _below_mounts(pattern: str, mounts: Sequence[Mount]) -> Iterator[tuple[Mount, str]]:
    """Yield each mount below whose root an absolute pattern can match, with what remains of it there.

    A pattern without wildcards up to there means one place, that on the mount which lies deepest.
    """
    parts = [part for part in pattern.split("/") if part]
    for mount in sorted(mounts, key=lambda m: len(_destination(m)), reverse=True):
        names = [name for name in _destination(mount).split("/") if name]
        for at, part in enumerate(parts):
            if part == "**":  # any number of directories, those of the mount among them
                yield mount, "/".join(parts[at:])
                break
            if at == len(names):
                yield mount, "/".join(parts[at:])
                if not any(map(patterns.has_wildcard, parts[:at])):
                    return
                break
            if not patterns.name_matches(part, names[at]):
                break


def _volume_excludes(container: Container, mount: Mount, rules: SelectionRules, chosen: Selection) -> None:
    """Excludes labelled on a volume are relative to that volume and must not reach beyond it."""
    labels = rules.volume_labels.get(mount.name) if mount.type == "volume" else None
    if labels is None or not labels.exclude:
        return
    base = patterns.escape(_destination(mount).rstrip("/"))
    for raw in labels.exclude:
        mark, rest = patterns.split_negation(patterns.clean(raw))
        pattern = rest.lstrip("/") if rest.startswith("/") else f"**/{rest.removeprefix('**/')}"
        inside = _inside(pattern, mount)
        text = ""
        if not mark and patterns.takes_everything(rest.lstrip("/")):
            text = "would take the whole volume and is ignored; leave it out by backrest.enable=false"
        elif not mark and inside is not None:
            picked = (pick for pick in chosen.picks if pick.mount is mount)
            hit = next((p for p in picked if patterns.leaves_nothing(f"{base}/{inside}", p.path)), None)
            if hit is not None:
                text = f"would take {printable(hit.path)} of {container.name} whole and does not count there"
        if text:
            shown = printable(raw)
            message = f'volume {printable(mount.name)}: backrest.exclude="{shown}" {text}'
            found = Finding("exclude-ignored", message, container.name, "backrest.exclude", shown)
            chosen.findings.append(found)
        else:
            chosen.excludes.append(Exclude(mount, mark + pattern, from_root=True, raw=raw))


def inside_mount(exclude: Exclude) -> str | None:
    """Return the pattern of an exclude as it counts in what is mounted; None when it lies beside that."""
    if exclude.mount is None or not exclude.from_root:
        return exclude.pattern
    mark, rest = patterns.split_negation(exclude.pattern)
    inside = _inside(rest, exclude.mount)
    return None if inside is None else mark + inside


def _inside(pattern: str, mount: Mount) -> str | None:
    """Return a pattern from the volume's root as one from what is mounted of it; None when it lies beside that."""
    if not mount.subpath or pattern.startswith("**"):
        return pattern
    names = [name for name in mount.subpath.split("/") if name]
    parts = pattern.split("/")
    for at, name in enumerate(names):
        if at == len(parts):
            return ""  # it takes a directory above
        if not patterns.name_matches(parts[at], name):
            return None
    return "/".join(parts[len(names) :])


def _destination(mount: Mount) -> str:
    return posixpath.normpath(mount.destination) if mount.destination else ""
