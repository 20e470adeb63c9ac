"""What a selection is made of: the labels and options that decide, and what is chosen of one container."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sidecar.engine.model import Mount
from sidecar.findings import Finding
from sidecar.plans.mounts import PathRules

if TYPE_CHECKING:  # lint selects by the same rules, without the time that the models take to load
    from sidecar.labels.policy import VolumeLabels

INCLUDE, EXCLUDE = "backrest.paths.include", "backrest.paths.exclude"


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


def destination(mount: Mount) -> str:
    """Return where a mount is in its container, normalised; empty for one that is nowhere."""
    return posixpath.normpath(mount.destination) if mount.destination else ""
