"""Who is the largest of several normals: the cases that need no quadrature."""

import math

import numpy as np
import pytest

from policies.correlated_best import largest_of_scores
from policies.gaussian_best import largest_of_normals, normal_distribution


def test_one_alone_is_the_largest() -> None:
    """One normal is the largest of itself."""
    assert largest_of_normals(np.array([3.0]), np.array([2.0])).tolist() == [1.0]
    assert largest_of_scores(np.array([3.0]), np.array([[2.0, 1.0]]), seed=0).tolist() == [1.0]


def test_two_by_hand() -> None:
    """Means 1 and 0 with variances 9 and 16 differ by one fifth of a deviation: Φ(0.2) = 0.579260."""
    chances = largest_of_normals(np.array([1.0, 0.0]), np.array([9.0, 16.0]))

    assert chances == pytest.approx([0.579260, 0.420740], abs=1e-6)
    assert normal_distribution(0.0) == 0.5


def test_three_alike_share() -> None:
    """Three of the same mean and variance win a third each, wherever they lie."""
    for mean in (0.0, -1e9, 1e9):
        chances = largest_of_normals(np.full(3, mean), np.full(3, 4e-3))
        assert chances == pytest.approx([1 / 3] * 3, abs=1e-12)


def test_the_hopeless_get_nothing() -> None:
    """One that is hardly ever the largest gets next to nothing, and the others share as if it were not there."""
    for variance in (1.0, 0.1):  # alike, and so narrow that it is worth leaving out
        chances = largest_of_normals(np.array([0.0, -10.0, 0.0, 0.0]), np.array([1.0, variance, 1.0, 1.0]))

        assert 0.0 <= chances[1] < 1e-12
        assert chances[[0, 2, 3]] == pytest.approx([1 / 3] * 3)


def test_a_share_is_spread_evenly() -> None:
    """With 0.4 of it spread evenly, one that always wins among four has 0.6 + 0.1, the others 0.1 each."""
    chances = largest_of_normals(np.array([0.0, 99.0, 0.0, 0.0]), np.ones(4), evenly=0.4)

    assert chances == pytest.approx([0.1, 0.7, 0.1, 0.1])


def test_equal_scores_share() -> None:
    """Scores that are one and the same share what they win, however many they are."""
    spread = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])

    chances = largest_of_scores(np.zeros(4), spread, seed=0)

    assert chances == pytest.approx([1 / 6, 1 / 2, 1 / 6, 1 / 6])


def test_scores_that_differ_for_certain() -> None:
    """Two scores with the same uncertainty are ordered by their means for certain."""
    spread = np.array([[1.0, 2.0], [1.0, 2.0]])

    assert largest_of_scores(np.array([0.5, 0.4]), spread, seed=0).tolist() == [1.0, 0.0]
    assert largest_of_scores(np.array([0.3, 0.4]), spread, seed=0).tolist() == [0.0, 1.0]


def test_a_hopeless_score_gets_nothing() -> None:
    """A score that lies far below all others is not drawn for."""
    spread = np.array([[1.0, 0.0], [0.0, 1.0], [0.1, 0.1]])

    assert largest_of_scores(np.array([0.0, 0.0, -50.0]), spread, seed=0) == pytest.approx([0.5, 0.5, 0.0])


def test_the_order_of_the_scores_does_not_matter() -> None:
    """The same scores in another order win as often to the bit, also where they depend on each other."""
    rng = np.random.default_rng(1)
    means, spread = rng.normal(size=12), rng.normal(size=(12, 4)) @ rng.normal(size=(4, 30))
    order = rng.permutation(12)

    chances = largest_of_scores(means, spread, seed=0)

    assert largest_of_scores(means[order], spread[order], seed=0).tolist() == chances[order].tolist()


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_rounding_does_not_change_the_play(rank: int) -> None:
    """Scores that differ in the thirteenth digit win as often to the bit, though some depend on each other."""
    rng = np.random.default_rng(rank)
    means, spread = 0.3 * rng.normal(size=20), rng.normal(size=(20, 40))
    spread[:8] = rng.normal(size=(8, rank)) @ rng.normal(size=(rank, 40))

    chances = largest_of_scores(means, spread, seed=0)

    for _ in range(5):
        rounded = spread * (1.0 + 1e-13 * rng.normal(size=spread.shape))
        assert largest_of_scores(means, rounded, seed=0).tolist() == chances.tolist()


def test_the_seed_names_the_draws() -> None:
    """The same seed gives the same numbers to the bit; another gives others, a little way off."""
    rng = np.random.default_rng(0)
    means, spread = rng.normal(size=6), rng.normal(size=(6, 4))

    first, again, other = (largest_of_scores(means, spread, seed=seed) for seed in (1, 1, 2))

    assert first.tobytes() == again.tobytes()
    assert not np.array_equal(first, other)
    assert first == pytest.approx(other, abs=0.06)
    assert math.isclose(first.sum(), 1.0)
