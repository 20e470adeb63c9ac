"""config.json between two writers and under ``kill -9``, at length. The short forms are in tests/faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.contest import contest
from tests.faults.test_kill import apply_rounds, kill_rounds

pytestmark = [pytest.mark.torture, pytest.mark.timeout(900)]

Figures = Callable[[dict[str, Any]], None]


@pytest.fixture(params=["memory", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An empty directory: in memory, where everything is fast, or where temporary files are."""
    memory: Path = request.getfixturevalue("memory")
    return memory if request.param == "memory" else tmp_path


@pytest.mark.parametrize(
    ("place", "role", "edits"),
    [
        ("memory", "editor", 10_000),
        ("memory", "cached", 10_000),
        ("memory", "in-place", 10_000),
        ("disk", "editor", 10_000),
        ("disk", "cached", 2_000),
        ("disk", "in-place", 2_000),
    ],
    indirect=["place"],
)
def test_thousands_of_edits(place: Path, role: str, edits: int, figures: Figures) -> None:
    outcome = contest(place, role, edits, timeout=800)
    ours = outcome.sidecar
    figures(
        {
            "edits": edits,
            "lost": len(outcome.lost),
            "only_in_a_kept_version": len(outcome.only_kept),
            "unseen_by_their_author": len(outcome.unseen),
            "our_writes": ours["writes"],
            "started_over": ours["changed"],
            "put_back": ours["put_back"],
            "window_us": ours["window_us"],
        }
    )
    assert outcome.lost == set()
    assert outcome.leftovers == []
    assert ours["writes"] > 0


@pytest.mark.parametrize(("place", "count"), [("memory", 1000), ("disk", 300)], indirect=["place"])
def test_a_thousand_kills(place: Path, count: int, figures: Figures) -> None:
    found = kill_rounds(place, count, seed=20260101, timeout=800)
    figures({name: found[name] for name in ("rounds", "interrupted", "writes", "kept")})
    assert (found["wrong"], found["leftovers"], found["kept"]) == ([], [], 0)
    assert found["rounds"] == count
    assert found["interrupted"] > 0


@pytest.mark.parametrize(("place", "edits"), [("memory", 10_000), ("disk", 2_000)], indirect=["place"])
def test_kills_while_an_editor_is_at_work(place: Path, edits: int, figures: Figures) -> None:
    found = kill_rounds(place, 0, seed=20260102, edits=edits, timeout=800)
    figures({name: found[name] for name in ("rounds", "interrupted", "writes", "kept", "lost", "only_kept")})
    assert (found["lost"], found["leftovers"]) == ([], [])
    assert found["interrupted"] > 0


def test_two_hundred_kills_between_stop_and_start(memory: Path, figures: Figures) -> None:
    found = apply_rounds(memory, 200, seed=20260103, timeout=800)
    figures({name: found[name] for name in ("rounds", "found_down", "running_in_the_end")})
    assert found["wrong"] == []
    assert found["running_in_the_end"] == found["rounds"] == 200
    assert found["found_down"] > 0
