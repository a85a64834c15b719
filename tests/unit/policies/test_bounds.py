"""The running mean and its interval against arithmetic done by hand."""

import math

import pytest

from policies import InvalidInput, RunningMean, StateInvalid


def of(*values: float) -> RunningMean:
    """Return the running mean of the values."""
    result = RunningMean()
    for value in values:
        result.add(value)
    return result


def test_the_sums_are_right() -> None:
    """1, 2, 6: mean 3, squared deviations 4 + 1 + 9."""
    assert of(1.0, 2.0, 6.0) == RunningMean(3, 3.0, 14.0)


def test_halves_add_up() -> None:
    """(1, 2) + (6, 7, 14) has the mean and the squares of all five."""
    both = of(1.0, 2.0) + of(6.0, 7.0, 14.0)

    assert both.n == 5
    assert both.mean == pytest.approx(6.0)
    assert both.squares == pytest.approx(25 + 16 + 0 + 1 + 64)


def test_nothing_is_neutral() -> None:
    """Adding an empty one changes nothing, on either side."""
    some = of(1.0, 5.0)

    assert RunningMean() + some == some == some + RunningMean()
    assert RunningMean() + RunningMean() == RunningMean()


def test_the_interval_is_the_formula() -> None:
    """For n = 1,000, variance 1/4, level 0.95: the half width by the formula of the docstring."""
    sums = RunningMean(1_000, 0.5, 250.0)
    rho2 = (5.991464547107982 + math.log(6.991464547107982)) / 1_000  # -2 log 0.05 = 5.99146...
    spread = 1_000 * rho2 + 1
    half = 0.5 * math.sqrt(2 * spread / (1e6 * rho2) * math.log(math.sqrt(spread) / 0.05))

    assert sums.interval(0.95) == pytest.approx((0.5 - half, 0.5 + half), rel=1e-12)


def test_the_interval_is_tightest_where_it_should_be() -> None:
    """Relative to a fixed-size interval the width at 1,000 is below that at 50 and at 50,000."""

    def relative(n: int) -> float:
        bounds = RunningMean(n, 0.0, float(n)).interval()
        assert bounds is not None
        return bounds[1] * math.sqrt(n)

    assert relative(1_000) < min(relative(50), relative(50_000))
    assert relative(1_000) < 3.1  # 1.96 is what one look alone would take


def test_too_little_gives_no_interval() -> None:
    """Below ten values, and while all are equal, nothing is claimed."""
    assert RunningMean().interval() is None
    assert of(*[0.0, 1.0] * 4, 1.0).interval() is None
    assert of(*[0.0] * 1_000).interval() is None
    assert of(*[0.0] * 1_000, 1.0).interval() is not None


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, math.nan])
def test_levels_outside_0_and_1_are_refused(level: float) -> None:
    """A level that is no probability is refused by name."""
    with pytest.raises(InvalidInput) as caught:
        RunningMean(20, 0.0, 1.0).interval(level)

    assert caught.value.field == "level"


def test_a_snapshot_comes_back() -> None:
    """loads(dumps()) is the same running mean."""
    sums = of(0.1, 0.7, 12.0)

    assert RunningMean.loads(sums.dumps()) == sums


@pytest.mark.parametrize("state", [(-1, 0.0, 0.0), (1, math.nan, 0.0), (2, 0.0, -1.0), (2, 0.0, math.inf)])
def test_impossible_snapshots_are_refused(state: tuple[int, float, float]) -> None:
    """A state that no values could have led to is refused."""
    with pytest.raises(StateInvalid):
        RunningMean.loads(state)
