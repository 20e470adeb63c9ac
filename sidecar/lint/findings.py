"""What lint passes around: places in files, labels with their place, what carries labels, and findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from sidecar.engine.model import Container

Level = Literal["error", "warning", "note"]
"""An error or a warning makes lint exit 3; a note is only said."""


class Place(NamedTuple):
    """Where something stands. Line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1


class LabelAt(NamedTuple):
    """One label in a file.

    Attributes:
        value: After interpolation.
        key_place: Where the key begins.
        value_place: Where the value begins.
        unset: Variables in the value that nothing sets.
        lone: Whether a ``$`` in it begins no variable.
    """

    value: str
    key_place: Place
    value_place: Place
    unset: tuple[str, ...] = ()
    lone: bool = False


class VolumeSays(NamedTuple):
    """What the labels of a volume say: whether it is backed up (None: not said), and its excludes."""

    enable: bool | None
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LintFinding:
    """Something that is wrong or odd about a file.

    Attributes:
        place: Where.
        level: How bad.
        code: Stable word for programs.
        message: What, and what to do.
        hint: What was probably meant; may be empty.
        label: The label's key; may be empty.
    """

    place: Place
    level: Level
    code: str
    message: str
    hint: str = ""
    label: str = ""


@dataclass(slots=True)
class Target:
    """A service, a container or a volume with labels.

    Attributes:
        name: What people call it.
        place: Where it stands.
        labels: All labels, those from ``deploy`` and from the image build included.
        container: It as the engine would show it; None for a volume.
        image_labels: Labels that the image carries.
        deploy_labels: Keys that stand in ``deploy.labels`` alone.
        all_mounts: Whether the file shows every mount.
    """

    name: str
    place: Place
    labels: dict[str, LabelAt]
    container: Container | None = None
    image_labels: dict[str, str] = field(default_factory=dict)
    deploy_labels: tuple[str, ...] = ()
    all_mounts: bool = True


class LintError(Exception):
    """A file cannot be read or understood. Carries the finding that says so."""

    def __init__(self, finding: LintFinding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def unreadable(place: Place, message: str, code: str = "unreadable") -> LintError:
    """Return the error for a file that cannot be used."""
    return LintError(LintFinding(place, "error", code, message))
