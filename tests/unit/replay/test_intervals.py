"""The intervals are right: against scipy, against closed forms, and by summing over every sample."""

import math

import pytest
from scipy.stats import beta  # type: ignore[import-untyped]  # scipy ships no annotations

from replay import InvalidLog, clopper_pearson, empirical_bernstein
from replay.intervals import quantiles

EXACT = 1e-9


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999999])
@pytest.mark.parametrize("trials", [1, 2, 10, 217, 10_000, 50_000_000])
def test_clopper_pearson_equals_the_beta_quantiles_of_scipy(trials: int, level: float) -> None:
    """Both ends agree with scipy's beta quantiles to 1e-9, from one trial to fifty million."""
    tail = (1 - level) / 2

    for successes in sorted({0, 1, trials // 100, trials // 3, trials - 1, trials}):
        lower, upper = clopper_pearson(successes, trials, level=level)

        expected_lower = beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
        expected_upper = beta.isf(tail, successes + 1, trials - successes) if successes < trials else 1.0
        assert lower == pytest.approx(expected_lower, abs=EXACT, rel=0), (successes, trials)
        assert upper == pytest.approx(expected_upper, abs=EXACT, rel=0), (successes, trials)


def test_clopper_pearson_without_a_success_has_a_closed_form() -> None:
    """With 0 successes of n the upper end is 1 − (α/2)^(1/n), worked out by hand."""
    lower, upper = clopper_pearson(0, 20, level=0.95)

    assert lower == 0.0
    assert upper == pytest.approx(1 - 0.025 ** (1 / 20), abs=1e-15)


@pytest.mark.parametrize("trials", [5, 40])
@pytest.mark.parametrize("probability", [0.02, 0.3, 0.77])
def test_clopper_pearson_covers_at_least_as_often_as_promised(probability: float, trials: int) -> None:
    """The chance of all samples whose interval holds the truth, summed exactly, reaches the level."""
    covered = 0.0

    for successes in range(trials + 1):
        lower, upper = clopper_pearson(successes, trials, level=0.9)
        if lower <= probability <= upper:
            ways = math.comb(trials, successes)
            covered += ways * probability**successes * (1 - probability) ** (trials - successes)

    assert covered >= 0.9


def test_clopper_pearson_of_nothing_is_everything() -> None:
    """Without a trial the interval is the whole of [0, 1]."""
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("successes", "trials", "level", "field"),
    [
        pytest.param(-1, 5, 0.95, "successes", id="negative"),
        pytest.param(6, 5, 0.95, "successes", id="more-than-trials"),
        pytest.param(0, -1, 0.95, "successes", id="negative-trials"),
        pytest.param(1, 5, 0.0, "level", id="level-0"),
        pytest.param(1, 5, 1.0, "level", id="level-1"),
        pytest.param(1, 5, math.nan, "level", id="level-nan"),
    ],
)
def test_clopper_pearson_refuses_impossible_counts(successes: int, trials: int, level: float, field: str) -> None:
    """A count or level out of range raises `InvalidLog` that names it."""
    with pytest.raises(InvalidLog) as raised:
        clopper_pearson(successes, trials, level=level)

    assert raised.value.field == field


def test_a_fraction_that_does_not_converge_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few steps raise instead of giving a wrong number."""
    monkeypatch.setattr(quantiles, "_FRACTION_STEPS", 3)

    with pytest.raises(ArithmeticError, match="did not converge"):
        clopper_pearson(500, 1000)


def test_empirical_bernstein_equals_the_formula_by_hand() -> None:
    """For n = 101, V = 0.25, level 0.95 in [0, 10] each margin is √(0.5 ln 80 / 101) + 70 ln 80 / 300."""
    lower, upper = empirical_bernstein(5.0, 0.25, 101, reward_range=(0.0, 10.0), level=0.95)

    assert math.log(80) == pytest.approx(4.382026634673881)
    margin = 0.1472857 + 1.0224729
    assert lower == pytest.approx(5.0 - margin, abs=1e-6)
    assert upper == pytest.approx(5.0 + margin, abs=1e-6)


def test_empirical_bernstein_stays_in_the_range() -> None:
    """An end that would leave the range is cut off there."""
    assert empirical_bernstein(0.0, 4.0, 5, reward_range=(-1.0, 3.0)) == (-1.0, 3.0)


@pytest.mark.parametrize("n", [0, 1])
def test_empirical_bernstein_needs_two_rewards(n: int) -> None:
    """Without a sample variance the interval is the whole range."""
    assert empirical_bernstein(0.5, 0.0, n, reward_range=(0.0, 1.0)) == (0.0, 1.0)


@pytest.mark.parametrize(
    "reward_range",
    [
        pytest.param((1.0, 1.0), id="empty"),
        pytest.param((1.0, 0.0), id="reversed"),
        pytest.param((0.0, math.inf), id="infinite"),
        pytest.param((math.nan, 1.0), id="nan"),
    ],
)
def test_empirical_bernstein_refuses_an_impossible_range(reward_range: tuple[float, float]) -> None:
    """A range that is empty or not finite raises `InvalidLog`."""
    with pytest.raises(InvalidLog) as raised:
        empirical_bernstein(0.5, 0.1, 10, reward_range=reward_range)

    assert raised.value.code == "range_invalid"
