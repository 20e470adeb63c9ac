"""What of one container a plan is about: which mounts and paths, and what is left out of them. Pure.

Decided once, in the container's own paths; ``paths`` writes the result as Backrest sees it, ``backup.sets`` as a
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

from sidecar.engine.model import Container, Mount
from sidecar.findings import Finding, printable
from sidecar.labels import patterns
from sidecar.plans.chosen import INCLUDE, PathLabels, Pick, Selection, SelectionRules, destination
from sidecar.plans.excludes import add_exclude, add_volume_excludes
from sidecar.plans.mounts import longest_mount, under
from sidecar.plans.special_paths import why_no_data

_WITH_DATA = frozenset({"bind", "volume", "cluster"})


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
                chosen.picks.append(Pick(destination(mount), mount))
    chosen.picks = list(dict.fromkeys(chosen.picks))
    for at, raw in enumerate(labels.exclude, start=1):
        add_exclude(container, raw, labels, chosen, later=labels.exclude[at:])
    for mount in container.mounts:
        add_volume_excludes(container, mount, rules, chosen)
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
    below = [m for m in container.mounts if m is not mount and under(destination(m), path)]
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
            chosen.picks.append(Pick(destination(inner), inner))
