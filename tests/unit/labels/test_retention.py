"""Retention: a keep spec is never weakened, and a wrong one never passes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sidecar.labels.keep import COUNTS, WITHINS
from sidecar.labels.retention import Keep, most_generous


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        ("daily=7,weekly=4", {"policyTimeBucketed": {"daily": 7, "weekly": 4}}),
        (" Daily = 7 ,, WEEKLY=4 ", {"policyTimeBucketed": {"daily": 7, "weekly": 4}}),
        (
            "yearly=1,monthly=2,weekly=3,daily=4,hourly=5,last=6",
            {
                "policyTimeBucketed": {
                    "hourly": 5,
                    "daily": 4,
                    "weekly": 3,
                    "monthly": 2,
                    "yearly": 1,
                    "keepLastN": 6,
                }
            },
        ),
        ("last=5", {"policyKeepLastN": 5}),
        ("last=5,daily=0", {"policyKeepLastN": 5}),
        ("all", {"policyKeepAll": True}),
        ("ALL", {"policyKeepAll": True}),
        ("none", None),
        ("within=90d", None),
        ("daily=7,within-w=1y", None),
    ],
)
def test_policy(spec: str, policy: dict[str, object] | None) -> None:
    assert Keep.parse(spec).policy() == policy


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("", "empty"),
        (",,", "empty"),
        ("daily=0", "keep nothing"),
        ("within=0d", "keep nothing"),
        ("daily=-1", "whole number"),
        ("daily=1.5", "whole number"),
        ("daily=x", "whole number"),
        ("daily=٣", "whole number"),
        ("daily=1_0", "whole number"),
        ("daily=", "no value"),
        ("daily", "key=value"),
        ("dayly=7", "none of last"),
        ("within-h=1d", "none of last"),
        ("all=true", "stands alone"),
        ("all,daily=7", "stands alone"),
        ("daily=7,none", "stands alone"),
        ("daily=7,daily=8", "twice"),
        ("within=90", "span"),
        ("within=-1d", "span"),
        ("within=1s", "span"),
        ("daily=99999999999", "larger"),
        ("daily=2147483648", "larger"),
        ("daily=7" + "," * 2000, "longer"),
    ],
)
def test_a_wrong_spec_is_refused_with_a_reason(spec: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Keep.parse(spec)


def test_what_backrest_cannot_express_is_named() -> None:
    keep = Keep.parse("daily=7,within=90d,within-m=1y6m")
    assert keep.inexpressible == ("within=90d", "within-m=1y6m")
    assert keep.policy() is None
    assert Keep.parse("daily=7").inexpressible == ()
    assert Keep.parse("none").inexpressible == ()


def test_restic_gets_the_whole_spec() -> None:
    spec = "last=1,hourly=2,daily=3,weekly=4,monthly=5,yearly=6,within=7d,within-d=1m,"
    spec += "within-w=2m,within-m=1y,within-y=9y"
    assert " ".join(Keep.parse(spec).forget_flags()) == (
        "--keep-last 1 --keep-hourly 2 --keep-daily 3 --keep-weekly 4 --keep-monthly 5 --keep-yearly 6 "
        "--keep-within 7d --keep-within-daily 1m --keep-within-weekly 2m --keep-within-monthly 1y "
        "--keep-within-yearly 9y"
    )
    assert Keep.parse("all").forget_flags() == ()
    assert Keep.parse("none").forget_flags() == ()


def test_words() -> None:
    assert Keep.parse("last=3,daily=7,within=1y").words() == "keep the last 3, 7 daily, all within 1y"
    assert Keep.parse("all").words() == "keep everything"
    assert "nothing is forgotten" in Keep.parse("none").words()


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        Keep.parse("daily=7").word = "all"


COUNT_PARTS = st.dictionaries(st.sampled_from(COUNTS), st.integers(0, 400), max_size=6)
WITHIN_PARTS = st.dictionaries(
    st.sampled_from(WITHINS), st.from_regex(r"([1-9][0-9]?[ymdh]){1,3}", fullmatch=True)
)


SPECS = st.one_of(
    st.sampled_from(["all", "none"]),
    st.builds(
        lambda counts, withins: ",".join(f"{key}={value}" for key, value in {**counts, **withins}.items()),
        st.dictionaries(st.sampled_from(COUNTS), st.integers(1, 99), min_size=1),
        st.dictionaries(st.sampled_from(WITHINS), st.sampled_from(["1y", "500d", "1y6m", "2d12h", "9h"])),
    ),
)
HOURS = {"y": 8766, "m": 730, "d": 24, "h": 1}


def hours(span: str) -> int:
    return sum(int(number) * HOURS[unit] for number, unit in re.findall(r"(\d+)([ymdh])", span))


@given(st.lists(SPECS, max_size=4))
def test_the_most_generous_of_several_keeps_whatever_one_of_them_keeps(specs: list[str]) -> None:
    keeps = [Keep.parse(spec) for spec in specs]
    together = most_generous(keeps)
    if not together.forget_flags():
        return
    assert all(keep.forget_flags() for keep in keeps)  # one that forgets nothing is not outvoted
    for keep in keeps:
        for key, count in keep.counts:
            assert dict(together.counts)[key] >= count
        for key, span in keep.withins:
            assert hours(dict(together.withins)[key]) >= hours(span)
    assert {key for key, _ in together.counts} <= {key for keep in keeps for key, _ in keep.counts}
    Keep.parse(",".join(f"{key}={value}" for key, value in (*together.counts, *together.withins)))


def test_the_most_generous_of_none_forgets_nothing() -> None:
    assert most_generous(()).forget_flags() == ()
    assert most_generous([Keep.parse("last=1"), Keep.parse("all")]).forget_flags() == ()
    assert most_generous([Keep.parse("last=1"), Keep.parse("last=3,daily=2")]) == Keep.parse("last=3,daily=2")


@given(COUNT_PARTS, WITHIN_PARTS)
def test_no_part_is_ever_lost(counts: dict[str, int], withins: dict[str, str]) -> None:
    spec = ",".join(f"{k}={v}" for k, v in {**counts, **withins}.items())
    if not any(counts.values()) and not withins:
        with pytest.raises(ValueError):
            Keep.parse(spec)
        return
    keep = Keep.parse(spec)
    flags = keep.forget_flags()
    values = dict(zip(flags[::2], flags[1::2], strict=True))
    assert len(values) == len([n for n in counts.values() if n]) + len(withins)
    policy = keep.policy()
    if withins:
        assert policy is None
        return
    assert policy is not None
    ((kind, value),) = policy.items()
    expressed = {"last": value} if kind == "policyKeepLastN" else dict(value)
    if "keepLastN" in expressed:
        expressed["last"] = expressed.pop("keepLastN")
    assert expressed == {k: n for k, n in counts.items() if n}


@given(st.text(max_size=50))
def test_any_text_is_a_spec_or_a_value_error(text: str) -> None:
    try:
        Keep.parse(text).words()
    except ValueError as error:
        assert str(error)  # noqa: PT017 - every refusal has a reason; most texts take this way
