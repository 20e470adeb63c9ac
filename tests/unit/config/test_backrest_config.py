"""Parsing config.json: what is carried faithfully, and what is refused in which words."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.config.document import MAX_BYTES, ConfigError, dump, missing, parse
from sidecar.plans.config_view import view
from tests.unit.merge_rig import SAMPLES, config, sample

BROKEN = {
    "array": ("shape", "holds a list where Backrest keeps an object"),
    "blank": ("empty", "is empty"),
    "bom": ("encoding", "byte order mark"),
    "comment": ("syntax", "is not JSON"),
    "duplicate-key": ("duplicate", 'the key "repos" twice'),
    "duplicate-key-escaped": ("duplicate", 'the key "id" twice'),
    "empty": ("empty", "is empty"),
    "empty-object": ("no-version", 'has no "version"'),
    "float-infinite": ("number", "JSON cannot express"),
    "integer-65-bit": ("number", "outside 64 bits"),
    "integer-negative": ("number", "outside 64 bits"),
    "latin-1": ("encoding", "is not UTF-8: bad byte at offset 30 (line 1)"),
    "lone-surrogate": ("encoding", "half a surrogate pair"),
    "minus-infinity": ("number", "JSON cannot express"),
    "nan": ("number", "JSON cannot express (line 1 column 26)"),
    "nested": ("deep", "nested too deeply"),
    "no-version": ("no-version", 'has no "version"'),
    "plan-id-number": ("shape", "a number as the id of plan number 1"),
    "plans-object": ("shape", 'an object under "plans"'),
    "repos-of-text": ("shape", "text as repo number 1"),
    "text": ("shape", "holds text where Backrest keeps an object"),
    "trailing-comma": ("syntax", "trailing comma"),
    "truncated": ("truncated", "it is truncated"),
    "two-documents": ("syntax", "line 2 column 1"),
    "utf-16": ("encoding", "byte order mark"),
    "version-text": ("shape", 'text as "version"'),
    "version-zero": ("no-version", 'has no "version"'),
    "zeros": ("empty", "is empty"),
}


def test_every_broken_sample_is_told_apart() -> None:
    assert {path.stem for path in (SAMPLES / "broken").iterdir()} == set(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_refused_in_its_own_words(name: str) -> None:
    kind, words = BROKEN[name]
    with pytest.raises(ConfigError) as caught:
        parse((SAMPLES / "broken" / f"{name}.json").read_bytes(), where="/config/config.json")
    assert caught.value.kind == kind
    assert words in str(caught.value)
    assert str(caught.value).startswith("/config/config.json ")
    assert str(caught.value).count(". ") >= 1, "says what is wrong, and what to do"
    assert caught.value.__cause__ is None, (
        "a cause would carry the document, secrets included, into a traceback"
    )


def test_too_large() -> None:
    with pytest.raises(ConfigError, match="larger than 64 MiB"):
        parse(b" " * (MAX_BYTES + 1), where="config.json")


def test_missing_says_who_makes_the_file() -> None:
    assert missing("config.json").kind == "missing"
    assert "Start Backrest" in str(missing("config.json"))


@pytest.mark.parametrize("path", sorted((SAMPLES / "valid").iterdir()), ids=lambda p: p.stem)
def test_valid_sample_comes_back_equal(path: Any) -> None:
    raw = path.read_bytes()
    data = parse(raw, where="config.json")
    again = dump(data)
    assert json.loads(again) == json.loads(raw)
    assert list(json.loads(again)) == list(json.loads(raw)), "key order is kept"
    assert parse(again, where="config.json") == data


@pytest.mark.parametrize(
    "member",
    [
        '"command": "echo {\\"a\\": 1}"',
        '"a:b": ":", "c" : ":"',
        '"x":":","y":"\\":"',
        '"big": 18446744073709551615, "small": -9223372036854775808',
        '"digits": "00000000000000000000000000000000", "float": 12345678901234567890.5',
        '"colon\\u003a": 1, "colon": 2',
        '"half": 1e2, "tiny": 5e-324, "zero": -0.0',
        '"line\\u2028": "\\u0026\\u003c"',
    ],
)
def test_odd_but_good_members(member: str) -> None:
    raw = f'{{"version": 6, {member}}}'
    data = parse(raw.encode(), where="config.json")
    assert data == json.loads(raw)
    assert json.loads(dump(data)) == json.loads(raw)


@pytest.mark.parametrize(
    "members",
    [
        '"a": 1, "a": 1',
        '"a": ":", "a" : 2',
        '"a\\u003a": 1, "a:": 2, "b": "x"',
        '"x": {"y": [{"z": 1, "z": 2}]}',
        '"x": {"a": 1, "a": {"b": 2}}, "y": "::"',
        '"": 1, "": 2',
        '"x": [{"\\u003ak": 1, ":k": 2}], "z": "\\u003A"',
        '"backslash\\\\": 1, "backslash\\\\": 2',
    ],
)
def test_duplicates_are_found_wherever_they_hide(members: str) -> None:
    with pytest.raises(ConfigError, match="twice in one object"):
        parse(f'{{"version": 6, {members}}}'.encode(), where="config.json")


def test_view_takes_repos_and_plans_in_their_order() -> None:
    seen = view(sample("valid/v6-rich.json"))
    assert seen.repo_ids == ("main", "usb")
    assert [plan.id for plan in seen.plans] == ["a-usb", "backrest_sidecar_web", "never", "stdin"]
    assert seen.plans[0].paths == ("/home", "/etc")
    assert seen.plans[3].paths == ()


def test_view_leaves_out_a_repo_that_backrest_is_about_to_remove() -> None:
    assert view(sample("valid/v6-remote-repo-orphaned.json")).repo_ids == ("main",)


def test_view_survives_wrong_types() -> None:
    seen = view(config({"id": "odd", "repo": 5, "paths": [1, "/a", None]}, {"paths": "/a"}))
    assert [(plan.id, plan.repo, plan.paths) for plan in seen.plans] == [("odd", "", ("/a",)), ("", "", ())]


def test_ten_thousand_plans_parse_quickly() -> None:
    plans = [
        {
            "id": f"p{n}",
            "repo": "main",
            "paths": [f"/v/{n}"],
            "schedule": {"cron": "1 2 * * *", "clock": "CLOCK_LOCAL"},
        }
        for n in range(10_000)
    ]
    raw = dump(config(*plans))
    start = time.process_time()
    data = parse(raw, where="config.json")
    assert time.process_time() - start < 1.0, "some forty milliseconds; a second means it is not linear"
    assert len(data["plans"]) == 10_000


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from([":", '":', '\\":', "\\", '": "']),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(extra=json_values, indent=st.sampled_from([None, 2]), ascii_only=st.booleans())
def test_any_json_is_carried_faithfully(extra: Any, indent: int | None, ascii_only: bool) -> None:
    document = {"version": 6, "extra": extra}
    raw = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    data = parse(raw, where="config.json")
    assert data == document
    assert json.loads(dump(data)) == document


@settings(max_examples=150, deadline=None)
@given(raw=st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_bytes_give_a_document_or_a_config_error(raw: bytes) -> None:
    refusal = _refusal(raw)
    assert refusal.startswith("config.json ") or parse(raw, where="config.json")["version"]


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, 3000), flip=st.integers(0, 3000), byte=st.integers(0, 255))
def test_a_damaged_file_never_raises_anything_else(cut: int, flip: int, byte: int) -> None:
    raw = bytearray((SAMPLES / "valid" / "v6-rich.json").read_bytes()[: cut or None])
    raw[flip % len(raw)] = byte
    assert "made-up" not in _refusal(bytes(raw))


def _refusal(raw: bytes) -> str:
    """What is said of a file; empty when it is taken. Any other exception goes through."""
    try:
        parse(raw, where="config.json")
    except ConfigError as error:
        return str(error)
    return ""
