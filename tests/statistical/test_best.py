"""Thompson's computed probabilities against drawing from the posteriors, and the intervals' coverage."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats  # type: ignore[import-untyped]  # scipy ships no annotations

from policies import Action, Context, Outcome, RunningMean
from policies.independent import IndependentThompson
from policies.thompson import ThompsonSpec

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


def statistics_of(model: str, rows: Counts | Sums) -> tuple[IndependentThompson, list[Action]]:
    """Return a policy with these statistics, put there directly, and its actions."""
    policy = ThompsonSpec(model=model).make()
    assert isinstance(policy, IndependentThompson)
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


# How F of one posterior is computed, and where it is neither 0 nor 1.
Distribution = tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float, float]


def beta_distribution(a: float, b: float) -> Distribution:
    """Return F of log(x / (1 - x)) for x of Beta(a, b), by the incomplete beta function of the nearer end."""

    def below(y: NDArray[np.float64]) -> NDArray[np.float64]:
        left = special.betainc(a, b, special.expit(y))
        return np.asarray(np.where(y < 0.0, left, 1.0 - special.betainc(b, a, special.expit(-y))))

    middle = special.digamma(a) - special.digamma(b)
    spread = math.sqrt(special.polygamma(1, a) + special.polygamma(1, b))
    return below, middle - 12.0 * spread, middle + 12.0 * spread


def t_distribution(middle: float, scale: float, degrees: float) -> Distribution:
    """Return F of Student's t."""
    reach = scale * float(stats.t.isf(1e-9, degrees))
    return lambda y: np.asarray(stats.t.cdf((y - middle) / scale, degrees)), middle - reach, middle + reach


def mixture(weights: list[float], parts: list[Distribution]) -> Distribution:
    """Return F of a mixture."""
    total = math.fsum(weights)
    return (
        lambda y: sum((w / total * part[0](y) for w, part in zip(weights, parts, strict=True)), np.zeros_like(y)),
        min(low for _, low, _ in parts),
        max(high for _, _, high in parts),
    )


def reference(distributions: list[Distribution], parts: list[Distribution]) -> NDArray[np.float64]:
    """Return ∫ Π F_j dF_i by the trapezoid rule in F_i, on 6,000 even and 6,000 uneven points for each part."""
    points = []
    for _, low, high in parts:
        unit = np.linspace(-1.0, 1.0, 6_000)
        points += [(low + high) / 2 + (high - low) / 2 * grid for grid in (unit, unit**5)]
    grid = np.unique(np.concatenate(points))
    below = np.array([distribution(grid) for distribution, _, _ in distributions])
    return np.array(
        [
            float(np.sum(np.diff(row) * (others[1:] + others[:-1]) / 2.0))
            for i, row in enumerate(below)
            for others in [np.prod(np.delete(below, i, axis=0), axis=0)]
        ]
    )


@pytest.mark.parametrize("name", BETA)
def test_beta_probabilities_are_the_integral(name: str) -> None:
    """The computed probabilities are those of a far finer integration with exact F, within 3e-5."""
    policy, actions = statistics_of("beta", BETA[name])
    parts = [beta_distribution(1.0 + (row or (0, 0))[0], 1.0 + (row or (0, 0))[1]) for row in BETA[name]]

    computed = policy.probabilities(Context.of({}), actions)

    assert computed == pytest.approx(reference(parts, parts), abs=QUADRATURE_ERROR)


@pytest.mark.parametrize("name", GAUSSIAN)
def test_gaussian_probabilities_are_the_integral(name: str) -> None:
    """The computed probabilities are those of a far finer integration with exact F, within 3e-5."""
    policy, actions = statistics_of("gaussian", GAUSSIAN[name])
    parts = []
    for row in GAUSSIAN[name]:
        n, mean, squares = row or (0.0, 0.0, 0.0)
        weight = 2.0 + n
        spread = 2.0 + squares + 2.0 * n / weight * mean**2
        parts.append(t_distribution(n * mean / weight, math.sqrt(spread) / weight, weight))

    computed = policy.probabilities(Context.of({}), actions)

    assert computed == pytest.approx(reference(parts, parts), abs=QUADRATURE_ERROR)


@pytest.mark.parametrize("n_outcomes", [0, 5, 60, 2_000])
@pytest.mark.parametrize("shift", [1.0, 0.2])
def test_probabilities_of_mixtures_are_the_integral(n_outcomes: int, shift: float) -> None:
    """A child's two priors per action, its outcomes and the evidence give what fine integration gives, within 3e-5."""
    source = np.random.default_rng(16)
    rates = np.array([0.03, 0.05, 0.1, 0.2, 0.4, 0.6])
    actions = [Action.of(f"a{i}") for i in range(len(rates))]
    parent, child = ThompsonSpec().make(), ThompsonSpec().make()
    for policy, chances, n in ((parent, rates, 600), (child, np.abs(rates - (1.0 - shift)), n_outcomes)):
        for i in source.integers(0, len(rates) - 1, n):  # the last one is never seen
            reward = float(source.random() < chances[i])
            policy.learn(Outcome(Context.of({}), actions, int(i), 0.2, reward))
        if policy is parent:
            child.adopt(parent)
    assert isinstance(child, IndependentThompson)
    distributions, parts = [], []
    for action in actions:
        s, f = child._statistics.values.get(action.id, (0.0, 0.0))
        priors = [(child._base[0], child._base[1])]
        priors += [(a, b) for a, b in [child._adopted.values.get(action.id, ())[:2] or (0.0, 0.0)] if a]
        own = [beta_distribution(a + s, b + f) for a, b in priors]
        evidence = np.array([special.betaln(a + s, b + f) - special.betaln(a, b) for a, b in priors])
        evidence += np.log([0.2, 0.8][: len(own)])
        distributions.append(mixture(np.exp(evidence - evidence.max()).tolist(), own))
        parts += own

    computed = child.probabilities(Context.of({}), actions)

    assert computed == pytest.approx(reference(distributions, parts), abs=QUADRATURE_ERROR)


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
