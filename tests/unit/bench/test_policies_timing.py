"""Cells are timed in turns, and ratios are taken within a round."""

import time

import pytest

from bench.policies_timing import Cell, interleave, median_us, ratio


def _spin(us: float) -> None:
    until = time.process_time_ns() + int(us * 1e3)
    while time.process_time_ns() < until:
        pass


def test_every_round_times_every_cell_in_another_order() -> None:
    """Each cell runs `n` calls a round, and another cell begins each round, so that none is always first."""
    seen: list[str] = []
    cells = [Cell(name, lambda i, name=name: seen.append(f"{name}{i}"), 2) for name in "ab"]  # type: ignore[misc]  # a default binds the name

    times = interleave(cells, rounds=2)

    warm = ["a0", "a1", "b0", "b1"]
    assert seen == [*warm, *("a0", "a1", "b0", "b1"), *("b0", "b1", "a0", "a1")]
    assert {name: len(each) for name, each in times.items()} == {"a": 2, "b": 2}


def test_what_comes_before_a_call_is_not_timed() -> None:
    """A cell's preparation runs before each call, and its time does not count."""
    prepared: list[int] = []

    def prepare(i: int) -> None:
        prepared.append(i)
        _spin(2_000)

    times = interleave([Cell("prepared", lambda _: None, 3, before=prepare)], rounds=1)

    assert prepared == [0, 1, 2, 0, 1, 2]  # to warm up, then timed
    assert median_us(times, "prepared") < 1_000


def test_times_are_microseconds_of_this_process() -> None:
    """A call that works for 300 µs is said to take at least that long, and one that sleeps next to nothing."""
    times = interleave(
        [Cell("works", lambda _: _spin(300), 3), Cell("sleeps", lambda _: time.sleep(0.02), 3)], rounds=3
    )

    assert median_us(times, "works") >= 300
    assert median_us(times, "sleeps") < 10_000


def test_ratios_are_taken_within_rounds() -> None:
    """The ratio is the median of 8/2, 6/3 and 9/3, not the ratio of the medians; the spread leaves out a tenth."""
    times = {"one": [8.0, 6.0, 9.0], "other": [2.0, 3.0, 3.0]}

    each = ratio(times, "one", "other")

    assert (each.median, each.low, each.high) == (3.0, 2.0, 4.0)
    assert str(each) == "3.00 (2.00-4.00)"


def test_a_spread_holds_the_middle_of_the_rounds() -> None:
    """Of twenty rounds the two lowest and the two highest ratios lie outside of the spread."""
    times = {"one": [float(i) for i in range(1, 21)], "other": [1.0] * 20}

    each = ratio(times, "one", "other")

    assert (each.low, each.high) == (3.0, 18.0)


def test_a_round_that_is_missing_is_an_error() -> None:
    """Two cells with different numbers of rounds have no ratio."""
    with pytest.raises(ValueError, match="shorter"):
        ratio({"one": [1.0, 2.0], "other": [1.0]}, "one", "other")
