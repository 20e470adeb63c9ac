"""Lint and Docker Compose read the same labels and mounts out of the same files, and refuse the same files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.compose.reference import (
    ODD,
    RECORD,
    REFUSED,
    case_by_compose,
    case_by_lint,
    cases,
    digest,
    odd_by_compose,
    odd_by_lint,
)

BINARY = os.environ.get("COMPOSE_BIN", "")
EXPECTED: dict[str, Any] = json.loads(RECORD.read_text())
STEP = 50

needs_compose = pytest.mark.skipif(not BINARY, reason="COMPOSE_BIN names no Compose v2")
every_case = pytest.mark.parametrize("name", cases())


@every_case
def test_lint_reads_what_compose_read(name: str, tmp_path: Path) -> None:
    assert case_by_lint(name, tmp_path) == EXPECTED["cases"][name]


def test_the_record_is_of_these_cases() -> None:
    assert set(EXPECTED["cases"]) == set(cases())
    assert len(EXPECTED["odd"]) == ODD
    refused = sum(reading == REFUSED for reading in EXPECTED["cases"].values())
    assert 50 < refused < len(EXPECTED["cases"]) - 30
    # Of the made-up ones too, many are taken and many are not.
    assert 60 < EXPECTED["odd"].count("refused") < ODD - 60


@needs_compose
@every_case
def test_lint_reads_what_compose_reads(name: str, tmp_path: Path) -> None:
    assert case_by_lint(name, tmp_path) == case_by_compose(BINARY, name, tmp_path)


@pytest.mark.parametrize("first", range(0, ODD, STEP))
def test_made_up_files(first: int, tmp_path: Path) -> None:
    differing = [
        seed
        for seed in range(first, min(first + STEP, ODD))
        if digest(odd_by_lint(seed, tmp_path)) != EXPECTED["odd"][seed]
    ]
    assert differing == []


@needs_compose
@pytest.mark.parametrize("first", range(0, ODD, STEP))
def test_made_up_files_with_compose(first: int, tmp_path: Path) -> None:
    for seed in range(first, min(first + STEP, ODD)):
        assert odd_by_lint(seed, tmp_path) == odd_by_compose(BINARY, seed, tmp_path), seed
