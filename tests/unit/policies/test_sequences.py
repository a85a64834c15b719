"""Confidence sequences: the bound by hand, the same from any batches, and what they refuse."""

import math

import numpy as np
import pytest

from policies.errors import InvalidInput, StateInvalid
from policies.lower_bound import LowerBound
from policies.protocol import FloatArray
from policies.sequences import LiftSequence, ValueSequence


def _rows(n: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.25, 4.0, 0.0), (rng.random(n) < 0.6).astype(np.float64)


def test_the_bound_is_where_the_mean_wealth_reaches_one_over_alpha() -> None:
    """Worked out term by term: at the bound, the mean over bets of the martingale is 1 ÷ α."""
    terms, centres, scales = np.full(50, 0.9), np.full(50, 0.8), np.full(50, 1.5)
    bound = LowerBound()
    bound.add(terms, centres, scales)

    found = bound.value(0.025, least=0.0)

    wealth = []
    for step in range(28):
        bet = 1e-4 * (0.95 / 1e-4) ** (step / 27)
        penalty = -math.log(1 - bet) - bet
        wealth.append(math.exp(sum(bet * (0.9 - found) / 1.5 - penalty * (0.1 / 1.5) ** 2 for _ in range(50))))
    assert sum(wealth) / 28 == pytest.approx(40.0, rel=1e-9)
    assert 0.0 < found < 0.9


def test_nothing_seen_bounds_nothing() -> None:
    """Before the first row the bounds are the range, and the lift may be anything."""
    assert ValueSequence(4.0, -1.0, 3.0).interval() == (-1.0, 3.0)
    assert LiftSequence(4.0).interval() == (-1.0, 1.0)


@pytest.mark.parametrize("max_weight", [4.0, None], ids=["bounded", "unbounded"])
def test_batches_do_not_matter(max_weight: float | None) -> None:
    """Row by row, or all at once: the same bounds to 1e-9."""
    weights, rewards = _rows(200)
    at_once, one_by_one = ValueSequence(max_weight), ValueSequence(max_weight)

    at_once.add(weights, rewards)
    for row in range(200):
        one_by_one.add(weights[row : row + 1], rewards[row : row + 1])

    assert one_by_one.interval() == pytest.approx(at_once.interval(), abs=1e-9)
    assert one_by_one.n == at_once.n == 200


def test_lifts_do_not_depend_on_batches() -> None:
    """The same for a lift."""
    weights, rewards = _rows(200)
    at_once, parts = LiftSequence(4.0), LiftSequence(4.0)

    at_once.add(weights, np.ones(200), rewards)
    for start in (0, 50, 51):
        stop = {0: 50, 50: 51, 51: 200}[start]
        parts.add(weights[start:stop], np.ones(stop - start), rewards[start:stop])

    assert parts.interval() == pytest.approx(at_once.interval(), abs=1e-9)
    assert parts.n == 200


def test_knowing_the_largest_weight_narrows_the_bounds() -> None:
    """A known bound on weights gives less than half the width on 5,000 rows of clicks at 2 %."""
    weights, _ = _rows(5000)
    rewards = (np.random.default_rng(1).random(5000) < 0.02).astype(np.float64)
    known, unknown = ValueSequence(4.0), ValueSequence()
    for each in (known, unknown):
        each.add(weights, rewards)

    widths = [high - low for low, high in (known.interval(), unknown.interval())]

    assert widths[0] < 0.5 * widths[1]
    assert known.interval()[0] < 0.02 < known.interval()[1]


@pytest.mark.parametrize("scale", [(-2.0, 6.0), (0.0, 0.5)])
def test_the_unit_of_rewards_does_not_matter(scale: tuple[float, float]) -> None:
    """Rewards in another unit give the same bounds in that unit, of values and of lifts."""
    low, high = scale
    weights, rewards = _rows(800)
    plain, scaled = ValueSequence(4.0), ValueSequence(4.0, low, high)
    lift, scaled_lift = LiftSequence(4.0), LiftSequence(4.0, 1.0, low, high)

    plain.add(weights, rewards)
    scaled.add(weights, low + (high - low) * rewards)
    lift.add(weights, np.ones(800), rewards)
    scaled_lift.add(weights, np.ones(800), low + (high - low) * rewards)

    expected = [low + (high - low) * end for end in plain.interval()]
    assert scaled.interval() == pytest.approx(expected, abs=1e-9)
    assert scaled_lift.interval() == pytest.approx([(high - low) * end for end in lift.interval()], abs=1e-9)


def test_bounds_that_cross_meet_in_the_middle() -> None:
    """Rows that contradict what weights must be on average cannot turn an interval inside out."""
    rewards = np.tile([0.0, 1.0], 2000)
    weights = np.full(4000, 4.0)  # their mean should be 1
    value, lift = ValueSequence(), LiftSequence(4.0)
    value.add(weights, rewards)
    lift.add(weights, np.zeros(4000), rewards)

    for low, high in (value.interval(), lift.interval()):
        assert low <= high


def test_the_state_comes_back() -> None:
    """What was dumped and loaded goes on as if nothing had been."""
    weights, rewards = _rows(300)
    value, lift = ValueSequence(4.0), LiftSequence(4.0)
    value.add(weights, rewards)
    lift.add(weights, np.ones(300), rewards)

    again, lift_again = ValueSequence(4.0).loads(value.dumps()), LiftSequence(4.0).loads(lift.dumps())
    for each in (value, again):
        each.add(weights, rewards)

    assert again.interval() == value.interval()
    assert lift_again.interval() == lift.interval()


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(((1.0,), ((0, 0.0, 0.0, 0.0), (0, 0.0, 0.0, 0.0))), id="too-few"),
        pytest.param(((1.0, math.nan), ((0, 0.0, 0.0, 0.0), (0, 0.0, 0.0, 0.0))), id="not-finite"),
    ],
)
def test_a_broken_state_is_refused(state: tuple[object, ...]) -> None:
    """Another number of sums, or one that is no number, raises `StateInvalid`."""
    with pytest.raises(StateInvalid):
        ValueSequence().loads(state)


def test_rows_that_cannot_be_are_refused() -> None:
    """A weight above the bound, a negative one or a reward outside its range raises and changes nothing."""
    value, lift = ValueSequence(4.0), LiftSequence(4.0)
    ones = np.ones(1)

    for weight, reward, field in ((4.5, 1.0, "weights"), (-1.0, 1.0, "weights"), (1.0, 1.5, "rewards")):
        with pytest.raises(InvalidInput) as raised:
            value.add(np.array([weight]), np.array([reward]))
        assert raised.value.field == field
    with pytest.raises(InvalidInput, match="baseline_weights"):
        lift.add(ones, 2 * ones, ones)
    with pytest.raises(InvalidInput, match="weights"):
        ValueSequence().add(-ones, ones)
    assert value.n == lift.n == 0


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param((0.5, 0.0, 1.0), id="weight-below-1"),
        pytest.param((math.inf, 0.0, 1.0), id="weight-infinite"),
        pytest.param((4.0, 1.0, 1.0), id="empty-range"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: tuple[float, float, float]) -> None:
    """A bound below the mean of weights, or a range without width, raises."""
    weight, low, high = settings
    with pytest.raises(InvalidInput):
        ValueSequence(weight, low, high)
    with pytest.raises(InvalidInput):
        LiftSequence(weight, 1.0, low, high)


@pytest.mark.parametrize("level", [0.0, 1.0, math.nan])
def test_a_level_that_cannot_be_is_refused(level: float) -> None:
    """The level lies between 0 and 1."""
    with pytest.raises(InvalidInput):
        ValueSequence().interval(level)
    with pytest.raises(InvalidInput):
        LiftSequence(4.0).interval(level)
