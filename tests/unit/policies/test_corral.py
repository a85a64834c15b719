"""Corral's weights: the step worked out by hand, its bounds, and what a reward does to it."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import StateInvalid
from policies.corral import Corral, mirror_step

LOSSES = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8)


def corral(*, learning_rate: float = 2.25, least: float = 0.01) -> Corral:
    """Return two policies at even weights."""
    return Corral((0.5, 0.5), learning_rate=learning_rate, least=least)


@pytest.mark.parametrize(
    ("weights", "losses", "learning_rate", "expected"),
    [
        # 1/w: 2 + 1.5 (1 - λ) and 2 - 1.5 λ with λ = 1/3 are 3 and 1.5.
        pytest.param((1 / 2, 1 / 2), (1.0, 0.0), 1.5, (1 / 3, 2 / 3), id="two"),
        # 1/w: 3 + (0 - λ), 3 + (2 - λ) and 3 + (2 - λ) with λ = 1 are 2, 4 and 4.
        pytest.param((1 / 3, 1 / 3, 1 / 3), (0.0, 2.0, 2.0), 1.0, (1 / 2, 1 / 4, 1 / 4), id="three"),
        # 1/w: 4 + (1 - λ) and 4/3 + (11/3 - λ) with λ = 3 are both 2.
        pytest.param((1 / 4, 3 / 4), (1.0, 11 / 3), 1.0, (1 / 2, 1 / 2), id="uneven start"),
        pytest.param((1 / 4, 3 / 4), (7.0, 7.0), 1.0, (1 / 4, 3 / 4), id="equal losses"),
        # Without a least weight the first would be near 1/1000; the second takes what is left.
        pytest.param((1 / 2, 1 / 2), (1_000.0, 0.0), 1.0, (0.01, 0.99), id="the least weight"),
        pytest.param((1.0,), (5.0,), 1.0, (1.0,), id="one"),
    ],
)
def test_a_step_is_what_it_is_by_hand(
    weights: tuple[float, ...], losses: tuple[float, ...], learning_rate: float, expected: tuple[float, ...]
) -> None:
    """The weights after a step are those of the formula, solved on paper."""
    assert mirror_step(weights, losses, learning_rate=learning_rate, least=0.01) == pytest.approx(expected, abs=1e-12)


@given(losses=LOSSES, learning_rate=st.floats(1e-3, 10.0), least=st.floats(1e-4, 1.0), data=st.data())
def test_any_losses_leave_weights(losses: list[float], learning_rate: float, least: float, data: st.DataObject) -> None:
    """After any two steps all weights are at least the least one, sum to 1, and the smaller loss has the larger one."""
    n = len(losses)
    least = min(least, 1 / n)
    before = mirror_step((1 / n,) * n, losses, learning_rate=learning_rate, least=least)
    others = data.draw(st.permutations(losses))

    after = mirror_step(before, others, learning_rate=learning_rate, least=least)

    for weights in (before, after):
        assert min(weights) >= least * (1 - 1e-12)
        assert math.fsum(weights) == pytest.approx(1.0, abs=1e-12)
    for i in range(n):
        for j in range(n):
            if losses[i] < losses[j]:
                assert before[i] >= before[j] * (1 - 1e-9)


@given(losses=LOSSES, shift=st.floats(-100.0, 100.0))
def test_what_all_lose_alike_changes_nothing(losses: list[float], shift: float) -> None:
    """The same number added to every loss leaves the step as it is."""
    even = (1 / len(losses),) * len(losses)

    plain = mirror_step(even, losses, learning_rate=0.5, least=0.01)
    shifted = mirror_step(even, [loss + shift for loss in losses], learning_rate=0.5, least=0.01)

    assert shifted == pytest.approx(plain, abs=1e-6)


def test_an_outcome_is_what_it_is_by_hand() -> None:
    """Rewards of 0 and 1: the second is one of two standard deviations above the mean, so a loss of -1."""
    weights = corral()

    weights.add((1.0, 0.5), propensity=0.75, reward=0.0)
    first = weights.weights
    weights.add((1.0, 0.5), propensity=0.75, reward=1.0)  # losses -4/3 and -2/3; 2.25 times their difference is 1.5

    assert first == (0.5, 0.5)
    assert weights.weights == pytest.approx((2 / 3, 1 / 3), abs=1e-12)


def test_equal_rewards_say_nothing() -> None:
    """While all rewards are alike no policy is better than another."""
    weights = corral()

    for _ in range(50):
        weights.add((0.9, 0.1), propensity=0.5, reward=7.0)

    assert weights.weights == (0.5, 0.5)


def test_the_unit_of_the_reward_does_not_matter() -> None:
    """Rewards in thousands above a large base move the weights as those of 0 and 1 do."""
    small, large = corral(), corral()

    for i in range(40):
        chances = (0.9, 0.1) if i % 3 else (0.2, 0.8)
        small.add(chances, propensity=0.5, reward=float(i % 3 > 0))
        large.add(chances, propensity=0.5, reward=5e6 + 1e3 * float(i % 3 > 0))

    assert small.weights != (0.5, 0.5)
    assert large.weights == pytest.approx(small.weights, abs=1e-6)


def test_a_reward_far_from_all_others_is_forgotten() -> None:
    """A reward of 1e9 among clicks is a bounded step, and 50,000 outcomes later clicks move the weights again."""
    weights = corral(learning_rate=0.2)
    for i in range(2_000):
        weights.add((0.5, 0.5), propensity=0.5, reward=float(i % 2))

    loss = weights._loss(1e9)
    for i in range(50_000):
        weights.add((0.5, 0.5), propensity=0.5, reward=float(i % 2))
    before = weights.weights
    for i in range(200):
        weights.add((0.9, 0.1) if i % 2 else (0.1, 0.9), propensity=0.5, reward=float(i % 2))

    assert -16.0 < loss < -15.0
    assert before == pytest.approx((0.5, 0.5), abs=1e-6)
    assert weights.weights[0] > 0.9


@pytest.mark.parametrize("propensity", [5e-324, 1e-300, 1e-9])
def test_tiny_propensities_move_the_weights_no_further_than_the_least_weight_allows(propensity: float) -> None:
    """What another policy logged with almost no probability counts as the rarest that these weights can play."""
    weights, cut = corral(), corral()
    for each in (weights, cut):
        each.add((0.5, 0.5), propensity=0.5, reward=0.0)

    weights.add((1.0, 0.0), propensity=propensity, reward=1.0)
    cut.add((1.0, 0.0), propensity=0.01, reward=1.0)

    assert weights.weights == pytest.approx(cut.weights, abs=1e-9)
    assert weights.weights[0] > 0.9


def test_a_child_starts_from_the_weights_of_its_parent() -> None:
    """The weights are the parent's, and its mean and deviation count for twenty outcomes."""
    parent, child = corral(), corral()
    for i in range(300):
        parent.add((0.8, 0.3), propensity=0.5, reward=float(i % 2))

    child.adopt(parent)

    assert child.weights == parent.weights
    assert child._n == 20.0
    assert (child._mean, child._variance) == (parent._mean, parent._variance)


def test_states_come_back() -> None:
    """A state that was dumped is loaded bit for bit."""
    one, other = corral(), corral()
    for i in range(30):
        one.add((0.8, 0.3), propensity=0.5, reward=math.sin(i))

    other.loads(one.dumps())

    assert other.dumps() == one.dumps()
    assert other.weights == one.weights


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param((1.0, 0.0, 0.0, 0.5), id="a weight missing"),
        pytest.param((-1.0, 0.0, 0.0, 0.5, 0.5), id="negative number"),
        pytest.param((math.inf, 0.0, 0.0, 0.5, 0.5), id="infinitely many"),
        pytest.param((1.0, math.nan, 0.0, 0.5, 0.5), id="mean not finite"),
        pytest.param((1.0, 0.0, -1.0, 0.5, 0.5), id="negative variance"),
        pytest.param((1.0, 0.0, 0.0, 0.6, 0.5), id="sum above 1"),
        pytest.param((1.0, 0.0, 0.0, 1.0, 0.0), id="below the least weight"),
        pytest.param((1.0, 0.0, 0.0, math.nan, 0.5), id="weight not finite"),
    ],
)
def test_states_that_cannot_be_are_refused(numbers: tuple[float, ...]) -> None:
    """Numbers that no sequence of outcomes gives are not loaded, and change nothing."""
    weights = corral()
    before = weights.dumps()

    with pytest.raises(StateInvalid):
        weights.loads(struct.pack(f"<{len(numbers)}d", *numbers))

    assert weights.dumps() == before
