"""Thompson's computed probabilities against drawing from the posteriors, and the intervals' coverage."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from policies import Action, Context, RunningMean
from policies.thompson import Thompson, ThompsonSpec

N_DRAWS = 1_000_000
SIGMAS = 5.7  # two-sided false alarm 1.2e-8 a number; some 60 numbers are compared
QUADRATURE_ERROR = 3e-5

# Per case: successes and failures of each action; None stands for an action never seen.
Counts = tuple[tuple[float, float] | None, ...]
BETA: dict[str, Counts] = {
    "cold and warm": (None, None, (3.0, 7.0), (12.0, 40.0)),
    "narrow": ((500_400.0, 499_600.0), (500_000.0, 500_000.0), (500_900.0, 499_100.0), (499_000.0, 501_000.0)),
    "narrow and wide": ((500_000.0, 500_000.0), (40.0, 60.0), (1.0, 2.0), None),
    "narrow amid wide ones": (*((float(i), 9.0) for i in range(12)), (600_000.0, 400_000.0)),
    "rare clicks": ((9.0, 991.0), (14.0, 986.0), (3.0, 497.0), (1_000.0, 99_000.0), None),
    "a thousandfold": tuple((0.02 * 4.0**i, 0.98 * 4.0**i) for i in range(10)),
}
# Number, mean, squared deviations.
Sums = tuple[tuple[float, float, float] | None, ...]
GAUSSIAN: dict[str, Sums] = {
    "cold and warm": (None, (1.0, 0.9, 0.0), (6.0, 0.3, 2.0), (50.0, 0.5, 12.0)),
    "narrow": ((1e6, 0.5, 2.5e5), (1e6, 0.5004, 2.5e5), (9e5, 0.5007, 2.2e5)),
    "narrow and wide": ((1e6, 0.5, 2.5e5), (30.0, 0.45, 7.0), (2.0, 0.7, 0.1), None),
    "another unit": ((3.0, 900.0, 5e5), (12.0, 1_100.0, 4e6), (200.0, 1_000.0, 5e7), None),
}


def statistics_of(model: str, rows: Counts | Sums) -> tuple[Thompson, list[Action]]:
    """Return a policy with these statistics, put there directly, and its actions."""
    policy = ThompsonSpec(model=model).make()
    for i, numbers in enumerate(rows):
        if numbers is not None:
            policy._statistics.put(f"a{i}", numbers)
    return policy, [Action.of(f"a{i}") for i in range(len(rows))]


def agree(computed: NDArray[np.float64], draws: NDArray[np.float64]) -> None:
    """Assert that the shares of the best draws are within their sampling error of what was computed."""
    share = np.bincount(draws.argmax(axis=0), minlength=len(draws)) / draws.shape[1]
    error = SIGMAS * np.sqrt(computed * (1.0 - computed) / draws.shape[1]) + QUADRATURE_ERROR
    assert np.all(np.abs(share - computed) <= error), (share, computed)


@pytest.mark.parametrize("name", BETA)
def test_beta_probabilities_are_those_of_drawing(name: str) -> None:
    """A million draws from the Beta posteriors choose each action as often as was computed."""
    policy, actions = statistics_of("beta", BETA[name])
    source = np.random.default_rng(13)

    computed = policy.probabilities(Context.of({}), actions)

    draws = [source.beta(1.0 + (row or (0, 0))[0], 1.0 + (row or (0, 0))[1], N_DRAWS) for row in BETA[name]]
    agree(computed, np.array(draws))


@pytest.mark.parametrize("name", GAUSSIAN)
def test_gaussian_probabilities_are_those_of_drawing(name: str) -> None:
    """A million draws of a variance, then of a mean given it, choose each action as often as was computed."""
    policy, actions = statistics_of("gaussian", GAUSSIAN[name])
    source = np.random.default_rng(14)

    computed = policy.probabilities(Context.of({}), actions)

    draws = []
    for row in GAUSSIAN[name]:
        n, mean, squares = row or (0.0, 0.0, 0.0)
        weight, shape = 2.0 + n, (2.0 + n) / 2.0
        rate = 1.0 + squares / 2.0 + 2.0 * n / (2.0 + n) * mean**2 / 2.0
        variance = rate / source.gamma(shape, size=N_DRAWS)
        draws.append(source.normal(n * mean / weight, np.sqrt(variance / weight)))
    agree(computed, np.array(draws))


@pytest.mark.parametrize("world", ["normal", "clicks", "skewed", "heavy"])
def test_intervals_hold_at_all_times_at_once(world: str) -> None:
    """Of 1,000 streams no more than chance allows ever leave the 95 % interval between 10 and 3,000 rewards."""
    n_streams, length, level = 1_000, 3_000, 0.95
    source = np.random.default_rng(15)
    values, mean = {
        "normal": (source.normal(1.0, 2.0, (n_streams, length)), 1.0),
        "clicks": ((source.random((n_streams, length)) < 0.3).astype(float), 0.3),
        "skewed": (source.exponential(5.0, (n_streams, length)), 5.0),
        "heavy": (source.standard_t(5, (n_streams, length)), 0.0),
    }[world]

    left = sum(ever_outside(stream.tolist(), mean, level) for stream in values)

    allowed = n_streams * (1.0 - level)
    assert left <= allowed + 5.0 * math.sqrt(allowed * level)  # binomial tail at 5 sigma above 50: below 1e-6
    assert left >= 1, "an interval that never fails in 1,000 streams is far too wide to be this one"


def ever_outside(stream: list[float], mean: float, level: float) -> bool:
    """Return whether the interval excludes `mean` at any time; all early times, then every tenth."""
    sums = RunningMean()
    for value in stream:
        sums.add(value)
        if sums.n < 200 or sums.n % 10 == 0:
            bounds = sums.interval(level)
            if bounds is not None and not bounds[0] <= mean <= bounds[1]:
                return True
    return False
