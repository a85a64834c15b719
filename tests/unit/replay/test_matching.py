"""The replay method counts what it should, adds up, and finds a value that is known."""

import math

import numpy as np
import pytest

from policies.draw import draw
from replay import InvalidLog, Matching, clopper_pearson, empirical_bernstein


def test_only_matched_rows_count() -> None:
    """The value is the mean reward of matched rows; the others are counted and thrown away."""
    matching = Matching()

    for matched, reward in [(True, 1), (False, 1), (True, 0), (False, 0), (True, 0), (True, 0)]:
        matching.add(matched=matched, reward=reward)

    assert (matching.n_rows, matching.n_matched, matching.value) == (6, 4, 0.25)


def test_without_a_match_nothing_is_known() -> None:
    """No match: the value is NaN and the interval everything that a reward can be."""
    matching = Matching()
    matching.add(matched=False, reward=1)

    assert math.isnan(matching.value)
    assert matching.interval() == (0.0, 1.0)
    assert Matching(reward_range=(-2.0, 5.0)).interval() == (-2.0, 5.0)


def test_rewards_of_0_and_1_get_the_exact_interval() -> None:
    """Without a range the interval is Clopper-Pearson's for the successes among the matches."""
    matching = Matching()

    for i in range(2_170):
        matching.add(matched=i % 10 == 0, reward=1 if i % 700 == 0 else 0)

    assert matching.n_matched == 217
    assert matching.interval(level=0.9) == clopper_pearson(4, 217, level=0.9)


def test_rewards_in_a_range_get_the_empirical_bernstein_interval() -> None:
    """With a range the interval is Maurer and Pontil's for the matched rewards' mean and variance."""
    rewards = np.random.default_rng(7).uniform(-1, 3, size=500)
    matching = Matching(reward_range=(-1.0, 3.0))

    for reward in rewards:
        matching.add(matched=True, reward=float(reward))

    expected = empirical_bernstein(
        float(rewards.mean()), float(rewards.var(ddof=1)), 500, reward_range=(-1.0, 3.0), level=0.95
    )
    assert matching.value == pytest.approx(float(rewards.mean()), abs=1e-12)
    assert matching.interval() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("cut", [0, 1, 40, 99, 100])
def test_two_halves_add_up_to_the_whole(cut: int) -> None:
    """Sums of two parts of a log, added, equal the sums of the whole, wherever it is cut."""
    generator = np.random.default_rng(11)
    rows = [(bool(m), float(r)) for m, r in zip(generator.random(100) < 0.3, generator.random(100), strict=True)]

    whole = _summed(rows)
    parts = _summed(rows[:cut]) + _summed(rows[cut:])

    assert (parts.n_rows, parts.n_matched) == (whole.n_rows, whole.n_matched)
    assert parts.value == pytest.approx(whole.value, abs=1e-12)
    assert parts.interval() == pytest.approx(whole.interval(), abs=1e-12)


def test_nothing_plus_nothing_is_nothing() -> None:
    """Two empty sums add up to an empty one."""
    both = Matching() + Matching()

    assert (both.n_rows, both.n_matched) == (0, 0)
    assert math.isnan(both.value)


def test_sums_for_different_rewards_do_not_add_up() -> None:
    """Adding sums whose rewards mean different things raises."""
    with pytest.raises(InvalidLog) as raised:
        Matching() + Matching(reward_range=(0.0, 1.0))

    assert raised.value.code == "range_differs"


@pytest.mark.parametrize(
    ("reward_range", "reward"),
    [
        pytest.param(None, 0.5, id="binary-half"),
        pytest.param(None, math.nan, id="binary-nan"),
        pytest.param((0.0, 2.0), 2.1, id="above"),
        pytest.param((0.0, 2.0), -0.1, id="below"),
        pytest.param((0.0, 2.0), math.nan, id="nan"),
    ],
)
def test_a_reward_that_cannot_be_is_refused(reward_range: tuple[float, float] | None, reward: float) -> None:
    """A matched reward out of range raises and leaves the sums as they were."""
    matching = Matching(reward_range=reward_range)
    matching.add(matched=True, reward=1)

    with pytest.raises(InvalidLog) as raised:
        matching.add(matched=True, reward=reward)

    assert raised.value.field == "reward"
    assert (matching.n_rows, matching.n_matched, matching.value) == (1, 1, 1.0)


def test_replay_of_a_uniform_log_finds_the_value_of_the_policy() -> None:
    """On a uniform log with known click rates the interval holds the target policy's true value.

    Seeded; at level 1 − 1e-9 a false alarm is rarer than one in a billion.
    """
    generator = np.random.default_rng(3)
    click_rates = np.array([0.05, 0.2, 0.6])
    target = [0.1, 0.2, 0.7]
    matching = Matching()

    for _ in range(30_000):
        logged = int(generator.integers(3))
        click = int(generator.random() < click_rates[logged])
        matching.add(matched=draw(target, generator.random()) == logged, reward=click)

    lower, upper = matching.interval(level=1 - 1e-9)
    truth = float(np.dot(click_rates, target))
    assert lower < truth < upper
    assert upper - lower < 0.07  # narrow enough to tell it from the log's own mean, 0.283
    assert lower > click_rates.mean()


def _summed(rows: list[tuple[bool, float]]) -> Matching:
    matching = Matching(reward_range=(0.0, 1.0))
    for matched, reward in rows:
        matching.add(matched=matched, reward=reward)
    return matching
