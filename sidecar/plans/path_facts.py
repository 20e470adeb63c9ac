"""What is known of paths in Backrest's container: whether they are there, and where a symlink leads. Pure.

``path_probe`` finds it out; a rendering takes it as given.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class PathFact(NamedTuple):
    """One path as Backrest would find it.

    Attributes:
        there: Whether something is there; for a symlink, whether what it leads to is.
        target: Where a symlink leads in the end, absolute, as Backrest sees it; empty for anything else.
    """

    there: bool
    target: str = ""


Facts = Mapping[str, PathFact]
"""By path as Backrest sees it. A path that is not in it is not known, and is taken for one that is there."""

NO_FACTS: Facts = MappingProxyType({})


def no_facts() -> Facts:
    """Return the facts of one who has looked nothing up."""
    return NO_FACTS
