"""Excludes of labels: where they count, and which of them would leave nothing to back up. Pure.

In the container's own paths, as ``selection`` decides everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sidecar.engine.model import Container, Mount
from sidecar.findings import Finding, printable
from sidecar.labels import patterns
from sidecar.plans.chosen import EXCLUDE, Exclude, PathLabels, Selection, SelectionRules, destination
from sidecar.plans.mounts import under


def add_exclude(
    container: Container, raw: str, labels: PathLabels, chosen: Selection, *, later: Sequence[str]
) -> None:
    """Put one exclude of the container's labels into a selection; ``later`` are those behind it in the label."""
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
    for mount in sorted(mounts, key=lambda m: len(destination(m)), reverse=True):
        names = [name for name in destination(mount).split("/") if name]
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


def add_volume_excludes(container: Container, mount: Mount, rules: SelectionRules, chosen: Selection) -> None:
    """Excludes labelled on a volume are relative to that volume and must not reach beyond it."""
    labels = rules.volume_labels.get(mount.name) if mount.type == "volume" else None
    if labels is None or not labels.exclude:
        return
    base = patterns.escape(destination(mount).rstrip("/"))
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
