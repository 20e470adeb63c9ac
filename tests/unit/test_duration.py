import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.duration import doubling, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60s", 60.0),
        ("1m30s", 90.0),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        ("90", 90.0),
        ("0.3", 0.3),
        (".5s", 0.5),
        ("5.s", 5.0),
        ("0", 0.0),
        ("-0s", 0.0),
        ("+2m", 120.0),
        (" 10s ", 10.0),
        ("1h2m3s4ms", 3723.004),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("250\u03bcs", 0.00025),
        ("7ns", 7e-9),
    ],
)
def test_go_and_plain_spellings(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-",
        "s",
        "1d",
        "1w",
        "five",
        "1m 30s",
        "1e3",
        "1e3s",
        "inf",
        "nan",
        "1,5s",
        "10S",
        "١s",
        "0x10",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        parse_duration(text)


def test_negative_and_too_short() -> None:
    with pytest.raises(ValueError, match="'-5s' is too short; it must be at least 0s"):
        parse_duration("-5s")
    with pytest.raises(ValueError, match="at least 1m"):
        parse_duration("59s", minimum=60)
    assert parse_duration("-1h", minimum=float("-inf")) == -3600.0


def test_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="292 years"):
        parse_duration("9999999999h")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.3, "300ms"),
        (0.00025, "250us"),
        (0.9999, "1s"),
        (1, "1s"),
        (2.5, "2.5s"),
        (90, "1m30s"),
        (60, "1m"),
        (59.9999, "1m"),
        (3900, "1h5m"),
        (90061.5, "25h1m1.5s"),
        (-90, "-1m30s"),
    ],
)
def test_format(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=10**11))
def test_format_is_read_back(millis: int) -> None:
    assert parse_duration(format_duration(millis / 1000)) == pytest.approx(millis / 1000, abs=1e-6)


def test_doubling_ends_at_the_longest_and_never_overflows() -> None:
    assert [doubling(n, 0.5, 3.0) for n in (1, 2, 3, 4, 10**9)] == [0.5, 1.0, 2.0, 3.0, 3.0]
