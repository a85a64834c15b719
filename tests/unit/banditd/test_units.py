"""Durations: what is read, what is refused, and that what is written reads the same."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.units import LONGEST_S, SHORTEST_S, format_duration, parse_duration


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("500ms", 0.5, id="milliseconds"),
        pytest.param("5s", 5.0, id="seconds"),
        pytest.param("10m", 600.0, id="minutes"),
        pytest.param("48h", 172_800.0, id="hours"),
        pytest.param("90d", 7_776_000.0, id="days"),
        pytest.param("1.5h", 5_400.0, id="fraction"),
        pytest.param("1.1m", 66.0, id="fraction-without-rounding-error"),
        pytest.param(30, 30.0, id="whole-number"),
        pytest.param(0.25, 0.25, id="number"),
    ],
)
def test_duration_is_read_in_seconds(value: object, seconds: float) -> None:
    """A number with a unit, or a bare number of seconds, is that many seconds."""
    assert parse_duration(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "10",
        "10 m",
        "m",
        "-5s",
        "5S",
        "1h30m",
        "1e3s",
        "\u0661s",
        "5s\n",
        "0s",
        "0.1ms",
        "3651d",
        "9" * 400 + "d",
        True,
        0,
        -1,
        math.nan,
        math.inf,
        10**400,
        None,
        [],
    ],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    """Whatever else comes, absurdly short and long durations included, is a `ValueError`."""
    with pytest.raises(ValueError, match='duration from "1ms" to "3650d"'):
        parse_duration(value)


@given(st.floats(min_value=SHORTEST_S, max_value=LONGEST_S))
def test_written_duration_reads_the_same(seconds: float) -> None:
    """`format_duration` loses nothing."""
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["1ms", "5s", "75s", "10m", "90m", "36h", "90d"])
def test_common_duration_is_written_as_a_person_would(text: str) -> None:
    """The largest unit that divides a duration is used."""
    assert format_duration(parse_duration(text)) == text
