"""The probabilities of being the best, of independent and of correlated normals, against finer ways to compute them."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats  # type: ignore[import-untyped]  # scipy ships no annotations

from policies.correlated_best import N_DRAWS, largest_of_scores
from policies.gaussian_best import largest_of_normals

FloatArray = NDArray[np.float64]
QUADRATURE_ERROR = 1e-4
DRAWS_ERROR = 0.06


def fine(means: FloatArray, deviations: FloatArray) -> FloatArray:
    """Return the same probabilities by six-point panels a tenth of a deviation wide, for every one of them."""
    edges = np.unique([np.linspace(m - 9 * s, m + 9 * s, 181) for m, s in zip(means, deviations, strict=True)])
    nodes, weights = np.polynomial.legendre.leggauss(6)
    halves = np.diff(edges)[:, None] / 2.0
    points = (edges[:-1, None] + halves * (nodes + 1.0)).ravel()
    z = (points - means[:, None]) / deviations[:, None]
    logs = special.log_ndtr(z)
    densities = np.exp(-z * z / 2.0) / deviations[:, None] / np.sqrt(2.0 * np.pi)
    result: FloatArray = densities * np.exp(logs.sum(axis=0) - logs) @ (halves * weights).ravel()
    return result


@pytest.mark.parametrize("n", [1, 2, 3, 5, 12, 30])
@pytest.mark.parametrize("ratio", [1.0, 3.0, 100.0, 1e4])
@pytest.mark.parametrize("apart", [0.0, 0.3, 2.0])
def test_independent_normals(n: int, ratio: float, apart: float) -> None:
    """Near or far, alike or narrow amid wide: every probability is within 1e-4."""
    rng = np.random.default_rng([n, int(ratio), int(10 * apart)])
    for _ in range(4):
        deviations = ratio ** rng.random(n)
        means = rng.normal(size=n) * apart * ratio ** rng.random()

        chances = largest_of_normals(means, deviations**2)

        expected = fine(means, deviations)
        assert expected.sum() == pytest.approx(1.0, abs=1e-9)
        assert chances == pytest.approx(expected, abs=QUADRATURE_ERROR)
        assert chances.min() >= 0.0
        assert chances.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("n", [3, 7, 15, 31, 100, 200])
@pytest.mark.parametrize("ratio", [1.41, 2.0, 2.6, 10.0, 1e3, 1e7])
def test_narrow_and_wide_normals(n: int, ratio: float) -> None:
    """One, half or all but one of a crowd narrow, the others wide, wherever they lie: still within 1e-4."""
    compared = 0
    for n_narrow in sorted({1, n // 2, n - 1}):
        deviations = np.repeat([1.0, ratio], [n_narrow, n - n_narrow])
        for apart in (-0.5 * ratio, 0.0, 0.5, 2.0, 5.0):
            means = np.repeat([0.0, apart], [n_narrow, n - n_narrow])
            expected = fine(means, deviations)
            if abs(expected.sum() - 1.0) < 1e-6:  # else the panels are too coarse to compare with
                compared += 1

                chances = largest_of_normals(means, deviations**2)

                assert np.abs(chances - expected).max() < QUADRATURE_ERROR
                assert chances.min() >= 0.0
    assert compared >= 5


@pytest.mark.parametrize("n", [3, 20, 200])
def test_one_far_ahead_of_many(n: int) -> None:
    """What many hopeless ones would have together is no more than 1e-4 of what is given to the one ahead."""
    for ahead in np.linspace(2.0, 8.0, 13):
        means = np.append(ahead, np.zeros(n - 1))

        chances = largest_of_normals(means, np.ones(n))

        assert chances == pytest.approx(fine(means, np.ones(n)), abs=QUADRATURE_ERROR)


@pytest.mark.parametrize("ratio", [1e6, 1e9, 1e12])
def test_a_needle_among_haystacks(ratio: float) -> None:
    """Five wide ones of mean 0 and one that is all but known to be 0: of 2⁵ signs it wins where all are minus."""
    chances = largest_of_normals(np.zeros(6), np.array([1.0] * 5 + [ratio**-2]))

    assert chances[5] == pytest.approx(2.0**-5, abs=1e-3)
    assert chances[:5] == pytest.approx([(1.0 - 2.0**-5) / 5] * 5, abs=1e-3)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("n", [3, 10, 40])
@pytest.mark.parametrize("n_columns", [2, 20, 100])
def test_correlated_normals(seed: int, n: int, n_columns: int) -> None:
    """Every estimate is within 0.06 of the share of a million other draws, on average much nearer."""
    rng = np.random.default_rng([seed, n, n_columns])
    spread = rng.normal(size=(n, n_columns)) / np.sqrt(n_columns) + rng.normal(size=n_columns)
    means = 0.3 * rng.normal(size=n)

    chances = largest_of_scores(means, spread, seed=seed)

    wins = np.zeros(n)
    for _ in range(10):
        scores = means[:, None] + spread @ rng.normal(size=(n_columns, 20_000))
        wins += np.bincount(scores.argmax(axis=0), minlength=n)
    errors = chances - wins / wins.sum()
    assert np.abs(errors).max() < DRAWS_ERROR
    assert np.sqrt(np.mean(errors**2)) < 1.5 * np.sqrt(1.0 / n / N_DRAWS)
    assert chances.sum() == pytest.approx(1.0, abs=1e-12)


def test_two_correlated_normals_are_computed() -> None:
    """Of two scores the larger is known by the normal distribution of their difference."""
    spread = np.array([[1.0, 2.0, 0.5], [0.5, 2.0, -1.0]])

    chances = largest_of_scores(np.array([0.2, 0.5]), spread, seed=0)

    expected = stats.norm.cdf(-0.3 / np.sqrt(0.25 + 2.25))
    assert chances == pytest.approx([expected, 1.0 - expected], abs=1e-12)


def test_uncorrelated_scores_are_independent_normals() -> None:
    """Where the spread is diagonal, both ways agree."""
    means, deviations = np.array([0.0, 0.4, 0.2, -1.0]), np.array([1.0, 0.5, 0.8, 2.0])

    chances = largest_of_scores(means, np.diag(deviations), seed=3)

    assert chances == pytest.approx(largest_of_normals(means, deviations**2), abs=DRAWS_ERROR)
