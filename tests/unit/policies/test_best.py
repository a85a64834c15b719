"""Which of several posteriors is the best: one rule over the whole range, and panels, against each other."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from policies.best import best_probabilities
from policies.best_panels import chances_by_panels
from policies.best_rule import chances_by_rule, grid_for
from policies.posterior import Model, mixed, single
from policies.shapes import Posterior
from policies.thompson_beta import BetaModel
from policies.thompson_gaussian import GaussianModel

By = Callable[[list[Posterior], list[int]], list[float]]
EXACT = 3e-5  # error of either quadrature
CLICKS: Model = BetaModel.of(reward_range=None, prior_mean=None, prior_weight=2.0)
NORMAL: Model = GaussianModel.of(reward_range=None, prior_mean=None, prior_weight=2.0, prior_sd=None)


def clicks(*counts: tuple[float, float]) -> list[Posterior]:
    """Return Beta posteriors of so many successes and failures, the prior's included."""
    return [single(CLICKS.component(pair, CLICKS.unseen)) for pair in counts]


def floor_of(posteriors: list[Posterior]) -> float:
    """Return the highest of all lower ends."""
    return max(posterior.shape.low for posterior in posteriors)


def by_rule(posteriors: list[Posterior], counts: list[int], model: Model = CLICKS) -> list[float]:
    """Return the probabilities by one rule, which there must be."""
    grid = grid_for([posterior.shape for posterior in posteriors], floor_of(posteriors), model)
    assert grid is not None
    return normalised(chances_by_rule(grid, posteriors, counts, model), counts)


def by_panels(posteriors: list[Posterior], counts: list[int], model: Model = CLICKS) -> list[float]:
    """Return the probabilities by panels."""
    return normalised(chances_by_panels(posteriors, counts, floor_of(posteriors), model), counts)


def normalised(chances: list[float], counts: list[int]) -> list[float]:
    """Return the numbers divided by their sum over all copies."""
    total = math.fsum(chance * count for chance, count in zip(chances, counts, strict=True))
    return [chance / total for chance in chances]


@pytest.mark.parametrize("n_outcomes", [0.5, 5.0, 50.0, 5_000.0])
@pytest.mark.parametrize("spread", [0.0, 2.0], ids=["alike", "a hundredfold"])
def test_rule_and_panels_agree_on_clicks(n_outcomes: float, spread: float) -> None:
    """Twenty sets of 2 to 12 Beta posteriors, of as many outcomes each or not, get the same from both."""
    source = np.random.default_rng(7)
    for _ in range(20):
        n = int(source.integers(2, 13))
        sizes = n_outcomes * 10.0 ** source.uniform(0.0, spread, n)
        rates = source.beta(3.0, 20.0, n)
        posteriors = clicks(*((1.0 + s * r, 1.0 + s * (1.0 - r)) for s, r in zip(sizes, rates, strict=True)))
        floor = floor_of(posteriors)
        alive = [posterior for posterior in posteriors if posterior.shape.high > floor]

        rule, panels = by_rule(alive, [1] * len(alive)), by_panels(alive, [1] * len(alive))

        assert rule == pytest.approx(panels, abs=EXACT)


def test_rule_and_panels_agree_on_normal_rewards() -> None:
    """Student's t of 7 to 30 degrees of freedom, apart and with different scales, get the same from both."""
    source = np.random.default_rng(8)
    for _ in range(20):
        sums = [
            (float(source.integers(5, 29)), float(source.normal(0.0, 0.5)), float(source.uniform(1.0, 40.0)))
            for _ in range(6)
        ]
        posteriors = [single(NORMAL.component(NORMAL.prior, numbers)) for numbers in sums]

        rule, panels = by_rule(posteriors, [1] * 6, NORMAL), by_panels(posteriors, [1] * 6, NORMAL)

        assert rule == pytest.approx(panels, abs=EXACT)


@pytest.mark.parametrize("by", [by_rule, by_panels])
def test_copies_share_as_if_each_were_there(by: By) -> None:
    """Three copies of one posterior get what three entries of it get."""
    few, many = clicks((3.0, 9.0), (2.0, 2.0)), clicks((3.0, 9.0), (2.0, 2.0), (2.0, 2.0), (2.0, 2.0))

    together, apart = by(few, [1, 3]), by(many, [1, 1, 1, 1])

    assert together == pytest.approx(apart[:2], abs=1e-9)


@pytest.mark.parametrize("by", [by_rule, by_panels])
def test_a_mixture_wins_as_often_as_its_parts_would(by: By) -> None:
    """Against Beta(1, s), a mixture of Beta(1, a) and Beta(1, b) wins with the mean of s/(s+a) and s/(s+b)."""
    parts = [CLICKS.component(prior, CLICKS.unseen) for prior in ((1.0, 2.0), (1.0, 6.0))]
    posteriors = [mixed(*parts), *clicks((1.0, 3.0))]

    wins = by(posteriors, [1, 1])[0]

    assert wins == pytest.approx(0.2 * 3.0 / 5.0 + 0.8 * 3.0 / 9.0, abs=EXACT)  # 0.2 and 0.8: no outcome said otherwise


def test_many_actions_get_what_they_get_in_parts() -> None:
    """Of 600 posteriors, more than one product of matrices takes, each gets what the panels say."""
    source = np.random.default_rng(9)
    posteriors = clicks(*((1.0 + float(a), 20.0 + float(b)) for a, b in source.integers(0, 30, (600, 2))))

    assert by_rule(posteriors, [1] * 600) == pytest.approx(by_panels(posteriors, [1] * 600), abs=EXACT)


def test_what_one_rule_cannot_resolve_goes_by_panels() -> None:
    """Beta(0.01, 1) and Beta(1, 0.01) reach over 1,600 scales: no rule has as many points, and panels are exact."""
    posteriors = clicks((0.01, 1.0), (0.02, 1.0))

    grid = grid_for([posterior.shape for posterior in posteriors], floor_of(posteriors), CLICKS)

    assert grid is None
    assert best_probabilities(posteriors, [1, 1], CLICKS) == pytest.approx([1.0 / 3.0, 2.0 / 3.0], abs=EXACT)


def test_one_that_lies_below_another_gets_nothing() -> None:
    """Beta(10, 1e6) never beats Beta(1e6, 1e6), and the two others share the rest."""
    posteriors = clicks((10.0, 1e6), (1e6, 1e6), (1e6, 1e6))

    assert best_probabilities(posteriors, [1, 1, 1], CLICKS) == pytest.approx([0.0, 0.5, 0.5], abs=1e-9)


def test_copies_of_the_only_contender_share_evenly() -> None:
    """Four copies far above the rest get a quarter each."""
    posteriors = clicks((10.0, 1e6), (1e6, 10.0))

    assert best_probabilities(posteriors, [1, 4], CLICKS) == [0.0, 0.25]


def test_the_same_posteriors_get_the_same_bits_whatever_was_asked_before() -> None:
    """Other decisions in between, which make other grids, change no bit of a probability."""
    asked = clicks((3.0, 9.0), (2.0, 30.0), (4.0, 40.0))
    first = best_probabilities(asked, [1, 1, 1], CLICKS)

    for k in range(1, 40):
        best_probabilities(clicks((k, 2.0 * k), (1.0, k)), [1, 1], CLICKS)

    assert best_probabilities(asked, [1, 1, 1], CLICKS) == first
