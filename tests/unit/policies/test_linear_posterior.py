"""Posteriors of linear models against arithmetic by hand and against solving for them from scratch."""

import math

import numpy as np
import pytest

from policies import linear_posterior
from policies.linear_blocks import Blocks
from policies.protocol import FloatArray


def covariance(block: FloatArray) -> FloatArray:
    """Return the covariance that a block stands for."""
    factor = block[:-2]
    product: FloatArray = factor.T @ factor
    return product


def test_one_outcome_by_hand() -> None:
    """With a prior of precision 1, x = (1, 2) and reward 3: variance 5, gain 1/6, mean (1/2, 1), P = I - xx'/6."""
    block = linear_posterior.prior_block(2, 1.0)

    variance, mean, prior_share = linear_posterior.learn(block, np.array([1.0, 2.0]), 3.0)

    assert (variance, mean, prior_share) == pytest.approx((5.0, 0.0, 1.0))
    assert covariance(block) == pytest.approx(np.array([[5 / 6, -1 / 3], [-1 / 3, 1 / 3]]))
    assert block[2] == pytest.approx([1 / 2, 1.0])
    assert block[3] == pytest.approx([5 / 6, -1 / 3])


@pytest.mark.parametrize("prior_mean", [0.0, 7.5])
@pytest.mark.parametrize("n_columns", [1, 3, 20])
def test_many_outcomes_are_the_ridge_solution(n_columns: int, prior_mean: float) -> None:
    """After 500 outcomes mean and covariance are those of the normal equations, solved at once."""
    rng = np.random.default_rng(n_columns)
    xs, rewards = rng.normal(size=(500, n_columns)), rng.normal(size=500) * 10.0
    block = linear_posterior.prior_block(n_columns, 2.0)

    for x, reward in zip(xs, rewards, strict=True):
        linear_posterior.learn(block, x, float(reward))

    precision = xs.T @ xs + 2.0 * np.eye(n_columns)
    pull = np.zeros(n_columns)
    pull[0] = 2.0 * prior_mean
    assert covariance(block) == pytest.approx(np.linalg.inv(precision), rel=1e-9, abs=1e-13)
    expected = np.linalg.solve(precision, xs.T @ rewards + pull)
    assert block[-2] + prior_mean * block[-1] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("kept", [[0, 2], [0, 1, 2, 5], [0, 1, 2, 3, 4, 5], [5, 0], [0]], ids=str)
def test_columns_that_go_leave_the_marginal(kept: list[int]) -> None:
    """Covariance and means of the weights kept are those of before, and one more outcome is learned the same from."""
    rng = np.random.default_rng(8)
    blocks = np.stack([linear_posterior.prior_block(6, 0.5)] * 2)
    for x in rng.normal(size=(30, 6)):
        linear_posterior.learn(blocks[1], x, float(x.sum()))

    narrow = linear_posterior.narrowed(blocks, kept)

    assert narrow.shape == (2, len(kept) + 2, len(kept))
    x = np.zeros(6)
    x[kept] = rng.normal(size=len(kept))
    for before, after in zip(blocks, narrow, strict=True):
        assert covariance(after) == pytest.approx(covariance(before)[np.ix_(kept, kept)], rel=1e-12, abs=1e-14)
        assert after[-2:] == pytest.approx(before[-2:, kept])
        assert linear_posterior.learn(after, x[kept], 2.0) == pytest.approx(linear_posterior.learn(before, x, 2.0))
        assert covariance(after) == pytest.approx(covariance(before)[np.ix_(kept, kept)], rel=1e-12, abs=1e-14)


def test_columns_that_say_nothing_may_stay() -> None:
    """A factor that is 0 in a column is made square like any other."""
    block = np.zeros((1, 5, 3))
    block[0, 0, 2] = 3.0
    block[0, 2, 2] = 4.0

    narrow = linear_posterior.narrowed(block, [1, 2])

    assert covariance(narrow[0]) == pytest.approx(np.array([[0.0, 0.0], [0.0, 25.0]]))


def test_columns_of_which_nothing_was_learned_go_without_a_trace() -> None:
    """A posterior that never had a feature is the one that never had its column."""
    rng = np.random.default_rng(9)
    wide, narrow = linear_posterior.prior_block(4, 2.0), linear_posterior.prior_block(3, 2.0)
    for _ in range(20):
        x, reward = rng.normal(size=3), rng.normal()
        linear_posterior.learn(wide, np.insert(x, 2, 0.0), reward)
        linear_posterior.learn(narrow, x, reward)

    assert linear_posterior.narrowed(wide[None], [0, 1, 3])[0] == pytest.approx(narrow, rel=1e-12, abs=1e-15)
    assert np.count_nonzero(np.tril(narrow[:3], -1))  # so that a reflected one would differ


def test_twenty_thousand_outcomes_stay_exact() -> None:
    """After 20,000 outcomes of nearly collinear features the factor is still that of the normal equations."""
    rng = np.random.default_rng(5)
    base = rng.normal(size=(20_000, 1))
    xs = np.hstack([np.ones_like(base), base, base + 1e-3 * rng.normal(size=base.shape)])
    block = linear_posterior.prior_block(3, 1.0)

    for x in xs:
        linear_posterior.learn(block, x, 1.0)

    assert covariance(block) == pytest.approx(np.linalg.inv(xs.T @ xs + np.eye(3)), rel=1e-6)


def test_new_columns_start_from_the_prior() -> None:
    """Growing changes nothing about the old weights; the new ones are as if they had been 0 in every outcome."""
    rng = np.random.default_rng(1)
    xs = rng.normal(size=(30, 2))
    grown = linear_posterior.prior_block(2, 4.0)
    whole = linear_posterior.prior_block(5, 4.0)

    for x in xs:
        linear_posterior.learn(grown, x, 1.0)
        linear_posterior.learn(whole, np.append(x, np.zeros(3)), 1.0)

    assert linear_posterior.grown(grown[None], 5, 4.0)[0] == pytest.approx(whole)


def laplace_mode(xs: FloatArray, successes: FloatArray, precision: float) -> tuple[FloatArray, FloatArray]:
    """Return mean and covariance of Laplace's approximation, by Newton's method on all outcomes at once."""
    weights: FloatArray = np.zeros(xs.shape[1])
    hessian: FloatArray = precision * np.eye(xs.shape[1])
    for _ in range(100):
        chances = 1.0 / (1.0 + np.exp(-xs @ weights))
        hessian = (xs.T * (chances * (1.0 - chances))) @ xs + precision * np.eye(xs.shape[1])
        weights = weights + np.linalg.solve(hessian, xs.T @ (successes - chances) - precision * weights)
    return weights, np.asarray(np.linalg.inv(hessian), dtype=np.float64)


def test_one_click_is_laplace_exactly() -> None:
    """For a single outcome the logistic posterior is Laplace's, to rounding."""
    x = np.array([1.0, -0.5, 2.0])
    block = linear_posterior.prior_block(3, 0.25)

    linear_posterior.learn_click(block, x, 1.0, prior_mean=0.0)

    mean, expected = laplace_mode(x[None], np.array([1.0]), 0.25)
    assert block[-2] == pytest.approx(mean, rel=1e-9)
    assert covariance(block) == pytest.approx(expected, rel=1e-9)


def test_many_clicks_are_near_laplace() -> None:
    """After 2,000 clicks each weight is within half a deviation of the mode, each deviation within a tenth."""
    rng = np.random.default_rng(2)
    xs = np.hstack([np.ones((2_000, 1)), rng.normal(size=(2_000, 4))])
    truth = np.array([-1.0, 0.8, 0.0, -0.5, 0.3])
    successes = (rng.random(2_000) < 1.0 / (1.0 + np.exp(-xs @ truth))).astype(float)
    block = linear_posterior.prior_block(5, 0.5)

    for x, success in zip(xs, successes, strict=True):
        linear_posterior.learn_click(block, x, float(success), prior_mean=0.0)

    mean, expected = laplace_mode(xs, successes, 0.5)
    deviations = np.sqrt(np.diag(expected))
    assert np.abs((block[-2] - mean) / deviations).max() < 0.5
    assert np.sqrt(np.diag(covariance(block))) == pytest.approx(deviations, rel=0.1)


@pytest.mark.parametrize("success", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e2, 1e4])
@pytest.mark.parametrize("prior_mean", [-30.0, 0.0, 800.0])
def test_a_click_never_overshoots(success: float, size: float, prior_mean: float) -> None:
    """However wide the prior, the new score satisfies s = before + variance x (success - chance at s)."""
    block = linear_posterior.prior_block(1, 1.0)
    x = np.array([size])

    linear_posterior.learn_click(block, x, success, prior_mean=prior_mean)

    before, variance = prior_mean * size, size * size
    score = before + float(block[-2, 0]) * size
    chance = 1.0 / (1.0 + math.exp(-score)) if score > -700.0 else 0.0
    error = (score - before - variance * (success - chance)) / (1.0 + variance * chance * (1.0 - chance))
    assert abs(error) < 1e-7 * (1.0 + abs(score) + abs(before))
    assert covariance(block)[0, 0] > 0.0


def test_weakening_leaves_means_and_prior() -> None:
    """Counted as a tenth, 200 outcomes leave the mean, a tenth of their precision, and the whole of the prior's."""
    rng = np.random.default_rng(3)
    xs = rng.normal(size=(200, 1))
    blocks = Blocks(precision=2.0, discount=1.0)
    for x in xs:
        linear_posterior.learn(blocks.values[0], x, 5.0)
    mean = blocks.values[0, -2:].copy()

    blocks.weaken(np.array([0.1]))

    assert blocks.values[0, -2:].tolist() == mean.tolist()
    assert 1.0 / covariance(blocks.values[0])[0, 0] == pytest.approx(0.1 * float((xs**2).sum()) + 2.0)


@pytest.mark.parametrize(("discount", "n_columns"), [(0.5, 1), (0.5, 30), (0.9, 7), (0.99, 3), (0.995, 30)])
def test_fading_ends_at_the_prior(discount: float, n_columns: int) -> None:
    """What was learned fades away; the prior's precision stays within half of what it was, and nothing winds up."""
    blocks = Blocks(precision=4.0, discount=discount)
    blocks.widen(n_columns)
    rng = np.random.default_rng(4)
    for x in rng.normal(size=(100, n_columns)):
        linear_posterior.learn(blocks.values[0], x, 3.0)

    for _ in range(int(30 / (1 - discount))):
        blocks.fade(first=0)

    eigenvalues = np.linalg.eigvalsh(covariance(blocks.values[0]))
    assert 1 / 4 * (1 - 1e-6) <= eigenvalues.min() <= eigenvalues.max() <= 2 / 4
    assert blocks.values[0, -2] == pytest.approx(np.zeros(n_columns), abs=1e-6)
    assert blocks.values[0, -1] == pytest.approx(np.eye(n_columns)[0], abs=1e-6)


def test_fading_is_a_discount() -> None:
    """With one feature, what is known after three outcomes is d² x1² + d x2² + x3² and the prior's share."""
    blocks = Blocks(precision=1.0, discount=0.8)

    for x in (1.0, 2.0, 3.0):
        blocks.fade(first=0)
        linear_posterior.learn(blocks.values[0], np.array([x]), 1.0)

    assert 1.0 / covariance(blocks.values[0])[0, 0] == pytest.approx(0.64 + 0.8 * 4.0 + 9.0 + 1.0)


def test_the_state_is_the_same_wherever_it_lies() -> None:
    """Learning does not depend on where in memory a block begins."""
    rng = np.random.default_rng(6)
    xs = rng.normal(size=(50, 23))
    ends = set()
    for offset in range(4):
        room = np.empty(25 * 23 + offset)
        block = room[offset:].reshape(25, 23)
        block[:] = linear_posterior.prior_block(23, 1.0)
        for x in xs:
            linear_posterior.learn(block, x, 0.5)
        ends.add(block.tobytes())

    assert len(ends) == 1
