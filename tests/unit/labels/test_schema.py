"""The JSON Schema: current, valid, and never stricter than the reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sidecar.labels.keys import KEYS, VOLUME_KEYS
from sidecar.labels.policy import parse, parse_volume
from sidecar.labels.schema import dump, label_schema

COMMITTED = Path(__file__).parents[3] / "testdata" / "labels.schema.json"
CONTAINER = Draft202012Validator(label_schema())
VOLUME = Draft202012Validator(label_schema()["$defs"]["volumeLabels"])


def test_the_committed_copy_is_current() -> None:
    assert COMMITTED.read_text() == dump(), (
        "write it anew: python -m sidecar.labels.schema > testdata/labels.schema.json"
    )
    Draft202012Validator.check_schema(json.loads(COMMITTED.read_text()))


def test_examples_pass() -> None:
    CONTAINER.validate({key.key: key.example for key in KEYS})
    VOLUME.validate({key.key: key.example for key in VOLUME_KEYS})
    CONTAINER.validate({"com.example": "x", "backrest.db.schedule": "0 1 * * *", "backrest.enable": True})
    CONTAINER.validate(
        {"backrest.repo": "${REPO}", "backrest.keep": "${KEEP:-daily=7}", "backrest.schedule": None}
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backrest.enabled", "true"),
        ("backrest.enable", "ture"),
        ("backrest.db.enable", "ture"),
        ("backrest.db.shedule", "x"),
        ("backrest.db.quiesce", "true"),
        ("backrest.paths.repo", "x"),
        ("backrest.schedule", "@daily"),
        ("backrest.schedule", "0 0 0 * * *"),
        ("backrest.keep", "dayly=7"),
        ("backrest.keep", "daily=-1"),
        ("backrest.keep", "all,daily=7"),
        ("backrest.paths.include", "data"),
        ("backrest.hooks.template", "stop"),
        ("backrest.repo", ["a"]),
        ("backrest.repo", "a\nb"),
    ],
)
def test_what_is_wrong_is_refused(key: str, value: object) -> None:
    assert not CONTAINER.is_valid({key: value})


def test_volumes_know_fewer() -> None:
    assert VOLUME.is_valid({"backrest.enable": "no", "backrest.exclude": "/cache"})
    assert not VOLUME.is_valid({"backrest.schedule": "0 0 * * *"})


WORDS = st.sampled_from(
    [
        "true",
        "OFF",
        "t 3 * * *",
        "*/5 1-3 * JAN mon-fri",
        " daily = 7 ,, within=1y2d",
        "ALL",
        ",none,",
        "Stop-Start",
        "/a,/b",
        '"/a,b", /c',
        " ,/x",
        "last=1,hourly=2 , yearly=+3",
        "a\tb",
        "within-d=1d",
        "",
        " ",
        ",",
        "docker x",
    ]
)
VALUES = st.one_of(WORDS, st.text(max_size=20))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([key.key for key in KEYS]), VALUES)
def test_what_the_reader_takes_the_schema_takes(key: str, value: str) -> None:
    if not parse({key: value}, container="x").findings:
        CONTAINER.validate({key: value})
    if not parse_volume({key: value}, volume="x").findings:
        VOLUME.validate({key: value})
