"""Actions are drawn as often as the reported probabilities say."""

import numpy as np
import pytest
from numpy.typing import NDArray

from policies import draw, uniform
from tests.contract.policies_under_test import SPECS, actions_of, contexts, folded, outcomes

N_DRAWS = 100_000
KEY = b"a fixed key of thirty-two bytes."
FALSE_ALARM = 1e-6


def test_uniforms_are_uniform() -> None:
    """Over 100,000 event ids the 100 percentiles are hit equally often."""
    numbers = np.array([uniform(KEY, "lane", f"event-{i}", 0) for i in range(N_DRAWS)])

    hits = np.bincount((numbers * 100).astype(int), minlength=100)

    assert chi_square(hits, np.full(100, 0.01)) < threshold(99)


def test_slots_and_lanes_draw_independently() -> None:
    """The numbers of one event in two slots, and in two lanes, fill the 100 squares of a 10 × 10 board evenly."""
    for other in (("lane", 1), ("other lane", 0)):
        pairs = [(uniform(KEY, "lane", f"e{i}", 0), uniform(KEY, other[0], f"e{i}", other[1])) for i in range(N_DRAWS)]

        hits = np.bincount([int(x * 10) * 10 + int(y * 10) for x, y in pairs], minlength=100)

        assert chi_square(hits, np.full(100, 0.01)) < threshold(99)


@pytest.mark.parametrize("name", SPECS)
def test_draws_follow_the_reported_probabilities(name: str) -> None:
    """100,000 draws from a policy's vector pass a chi-square test against that vector."""
    policy = folded(SPECS[name], list(outcomes(60, seed=12)))
    vector = policy.probabilities(contexts()[0], actions_of(6))
    probabilities = vector.tolist()

    drawn = [draw(probabilities, uniform(KEY, name, f"event-{i}", 0)) for i in range(N_DRAWS)]

    hits = np.bincount(drawn, minlength=6)
    expected, observed = pooled(vector / vector.sum(), hits)
    assert chi_square(observed, expected) < threshold(len(expected) - 1)


def pooled(
    probabilities: NDArray[np.float64], hits: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Put the actions that fewer than 20 hits are expected of together with the likeliest."""
    rare = probabilities * N_DRAWS < 20
    rare[probabilities.argmax()] = True
    kept = ~rare
    return np.append(probabilities[kept], probabilities[rare].sum()), np.append(hits[kept], hits[rare].sum())


def chi_square(hits: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Return Pearson's statistic."""
    expected = probabilities * hits.sum()
    return float(((hits - expected) ** 2 / expected).sum())


def threshold(degrees: int) -> float:
    """Return what chi-square exceeds with a probability below 1e-6 (Laurent & Massart 2000, lemma 1)."""
    x = -np.log(FALSE_ALARM)
    return float(degrees + 2.0 * np.sqrt(degrees * x) + 2.0 * x)
