"""Estimates from columns."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from policies.protocol import FloatArray
from replay import InvalidLog
from replay.arrays import estimate, estimate_difference
from replay.intervals import METHODS

METHODS_OF_ALL = [
    *sorted(set(METHODS) - {"clopper_pearson", "cressie_read"}),
    "percentile_bootstrap",
    "studentised_bootstrap",
]
N_ACTIONS = 5


@pytest.fixture(scope="module")
def log() -> dict[str, FloatArray]:
    """2,000 rows of an epsilon-greedy logger over five actions, with a model that is a little off."""
    rng = np.random.default_rng(11)
    n = 2_000
    play = np.full((n, N_ACTIONS), 0.08)
    play[np.arange(n), rng.integers(N_ACTIONS, size=n)] += 0.6
    action = (rng.random(n)[:, None] > play.cumsum(axis=1)).sum(axis=1)
    mean = np.linspace(0.2, 0.6, N_ACTIONS)
    target, baseline = np.full((n, N_ACTIONS), 0.1), np.full((n, N_ACTIONS), 0.2)
    target[:, -1] += 0.5
    rows = np.arange(n)
    return {
        "rewards": (rng.random(n) < mean[action]).astype(float),
        "propensities": play[rows, action],
        "target": target[rows, action],
        "baseline": baseline[rows, action],
        "q_logged": mean[action] + 0.05,
        "q_target": np.full(n, float((target[0] * (mean + 0.05)).sum())),
        "q_baseline": np.full(n, float((baseline[0] * (mean + 0.05)).sum())),
    }


def _three(log: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray, FloatArray]:
    return log["rewards"], log["propensities"], log["target"]


def _model(log: Mapping[str, FloatArray]) -> dict[str, Any]:
    return {"q_logged": log["q_logged"], "q_target": log["q_target"]}


def test_values_are_those_of_plain_python(log: Mapping[str, FloatArray]) -> None:
    """Every estimator gives what its definition gives in plain Python."""
    found = estimate(*_three(log), **_model(log), clip=2.0, tau=2.0, lam=0.5)

    rows = list(zip(*(column.tolist() for column in (*_three(log), log["q_logged"], log["q_target"])), strict=True))
    n = len(rows)
    weights = [t / p for _, p, t, _, _ in rows]
    mean_weight = math.fsum(weights) / n
    used = {
        "": weights,
        "clip": [min(w, 2.0) for w in weights],
        "tau": [w if w <= 2.0 else 0.0 for w in weights],
        "dros": [0.5 * w / (w * w + 0.5) for w in weights],
        "sub": [w / (0.5 + 0.5 * w) for w in weights],
    }
    ips = {key: math.fsum(w * row[0] for w, row in zip(each, rows, strict=True)) / n for key, each in used.items()}
    fix = {
        key: math.fsum(w * (row[0] - row[3]) for w, row in zip(each, rows, strict=True)) / n
        for key, each in used.items()
    }
    dm = math.fsum(row[4] for row in rows) / n
    expected = {
        "ips": ips[""],
        "ips_clipped": ips["clip"],
        "snips": ips[""] / mean_weight,
        "dm": dm,
        "dr": dm + fix[""],
        "dr_clipped": dm + fix["clip"],
        "sndr": dm + fix[""] / mean_weight,
        "switch_dr": dm + fix["tau"],
        "dros": dm + fix["dros"],
        "sub_gaussian": ips["sub"],
        "sub_gaussian_dr": dm + fix["sub"],
    }
    assert {name: each.value for name, each in found.items()} == pytest.approx(expected, rel=1e-12)


def test_each_estimate_says_what_it_rests_on(log: Mapping[str, FloatArray]) -> None:
    """Rows, effective sample size and largest weight are those of the log, and nothing is refused."""
    weights = log["target"] / log["propensities"]

    found = estimate(*_three(log))

    assert set(found) == {"ips", "snips"}
    for each in found.values():
        assert each.n == 2_000
        assert each.ess == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
        assert each.max_weight == weights.max()
        assert each.refused == ""
        assert each.lower < each.value < each.upper


@pytest.mark.parametrize("method", METHODS_OF_ALL)
def test_every_method_gives_intervals_about_the_truth(log: Mapping[str, FloatArray], method: str) -> None:
    """Each method's interval holds the true value of this log's target, for every estimator that is not shrunk."""
    truth = 0.1 * (0.2 + 0.3 + 0.4 + 0.5) + 0.6 * 0.6

    found = estimate(*_three(log), **_model(log), interval=method, estimators=("ips", "snips", "dr", "sndr"))

    for name, each in found.items():
        assert each.lower < truth < each.upper, name
        assert each.method


def test_the_seed_decides_the_bootstrap(log: Mapping[str, FloatArray]) -> None:
    """The same seed gives the same interval, another one a slightly different one."""
    first, again, other = (
        estimate(*_three(log), estimators=("snips",), interval="percentile_bootstrap", seed=seed)["snips"]
        for seed in (1, 1, 2)
    )

    assert (first.lower, first.upper) == (again.lower, again.upper)
    assert (first.lower, first.upper) != (other.lower, other.upper)


def test_a_higher_level_is_wider(log: Mapping[str, FloatArray]) -> None:
    """What promises more is wider."""
    narrow, wide = (estimate(*_three(log), level=level)["snips"] for level in (0.8, 0.99))

    assert wide.lower < narrow.lower < narrow.upper < wide.upper


def test_one_row_that_decides_alone_is_refused() -> None:
    """Where one row has more than a tenth of all weight, the estimate is kept and marked as none."""
    propensities = np.full(1_000, 0.5)
    propensities[0] = 1e-4

    found = estimate(np.ones(1_000), propensities, np.full(1_000, 0.5), clip=10.0)

    for name in ("ips", "snips"):
        assert "one row has 83% of all weight" in found[name].refused
        assert found[name].ess < 2
    assert found["ips_clipped"].refused == ""


def test_a_target_that_was_never_logged_is_refused() -> None:
    """Where no row has weight there is no ratio to speak of, and the reason is given."""
    found = estimate([1.0, 0.0], [0.5, 0.5], [0.0, 0.0])

    assert math.isnan(found["snips"].value)
    assert "never plays" in found["snips"].refused
    assert (found["snips"].lower, found["snips"].upper) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"rewards": [1.0, 2.0]}, "reward_out_of_range", "rewards"),
        ({"rewards": [1.0]}, "length_differs", "propensities"),
        ({"rewards": [1.0, math.nan]}, "not_finite", "rewards"),
        ({"rewards": ["a", "b"]}, "not_numbers", "rewards"),
        ({"rewards": [[1.0, 0.0]]}, "shape_invalid", "rewards"),
        ({"rewards": [], "propensities": [], "target": []}, "no_rows", "rewards"),
        ({"propensities": [0.5, 0.0]}, "propensity_zero", "propensities"),
        ({"propensities": [0.5, 5e-324]}, "propensity_too_small", "propensities"),
        ({"target": [0.5, 1.5]}, "out_of_range", "target"),
        ({"multiplicity": [1.0, 0.5]}, "out_of_range", "multiplicity"),
        ({"q_logged": [1.0], "q_target": [1.0, 1.0]}, "length_differs", "q_logged"),
        ({"estimators": ("dr",)}, "reward_model_missing", "q_logged"),
        ({"estimators": ("dm",), "q_logged": [0.5, 0.5]}, "reward_model_missing", "q_target"),
        ({"estimators": ("switch_dr",)}, "parameter_missing", "tau"),
        ({"estimators": ("magic",)}, "estimator_unknown", "estimators"),
        ({"interval": "magic"}, "method_unknown", "interval"),
        ({"level": 1.0}, "level_out_of_range", "level"),
        ({"reward_range": (1.0, 0.0)}, "range_invalid", "reward_range"),
        ({"reward_range": (0.0, math.inf)}, "range_invalid", "reward_range"),
        ({"reward_range": (0.0, 0.5, 1.0)}, "range_invalid", "reward_range"),
        ({"max_weight": 1.5}, "weight_out_of_range", "max_weight"),
        ({"max_weight": math.nan}, "weight_out_of_range", "max_weight"),
        ({"estimators": "ips"}, "estimators_invalid", "estimators"),
        ({"interval": "percentile_bootstrap", "seed": -1}, "seed_out_of_range", "seed"),
        ({"interval": "studentised_bootstrap", "level": 95.0}, "level_out_of_range", "level"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
def test_rubbish_is_refused_by_name(changed: dict[str, Any], code: str, field: str) -> None:
    """What no estimate may be made from is refused, and the array or setting named."""
    given: dict[str, Any] = {"rewards": [1.0, 0.0], "propensities": [0.5, 0.25], "target": [0.5, 0.5]} | changed

    with pytest.raises(InvalidLog) as caught:
        estimate(given.pop("rewards"), given.pop("propensities"), given.pop("target"), **given)

    assert (caught.value.code, caught.value.field) == (code, field)


def test_an_infinite_largest_weight_is_one_that_nobody_knows(log: Mapping[str, FloatArray]) -> None:
    """`max_weight` of infinity says as much as none, for every interval."""
    for method in METHODS:
        settings: dict[str, Any] = {"interval": method, "estimators": ("ips", "snips")}

        assert estimate(*_three(log), max_weight=math.inf, **settings) == estimate(*_three(log), **settings)


def test_weights_that_are_all_cut_are_not_said_to_be_never_played() -> None:
    """`switch_dr` whose `tau` leaves no weight is refused, and the reason names that."""
    found = estimate([1.0, 0.0], [0.1, 0.1], [1.0, 1.0], q_logged=[0.5, 0.5], q_target=[0.5, 0.5], tau=5.0)["switch_dr"]

    assert "tau cuts all of it" in found.refused


# ------------------------------------------------------------------------------------------------------ differences


@pytest.mark.parametrize("method", ["auto", "gaussian", "percentile_bootstrap"])
def test_a_difference_is_of_the_two_values(log: Mapping[str, FloatArray], method: str) -> None:
    """The difference is that of the two estimates, and its interval is narrower than the gap between theirs."""
    ours = estimate(*_three(log), **_model(log), interval="gaussian")
    theirs = estimate(
        log["rewards"],
        log["propensities"],
        log["baseline"],
        q_logged=log["q_logged"],
        q_target=log["q_baseline"],
        interval="gaussian",
    )

    found = estimate_difference(
        *_three(log), log["baseline"], **_model(log), q_baseline=log["q_baseline"], interval=method
    )

    assert set(found) == {"ips", "snips", "dm", "dr", "sndr"}
    for name in ("ips", "snips", "dr", "sndr"):
        each = found[name]
        assert each.value == pytest.approx(ours[name].value - theirs[name].value, rel=1e-12)
        assert each.relative == pytest.approx(each.value / theirs[name].value)
        assert each.lower < each.value < each.upper
        apart = (ours[name].upper - theirs[name].lower) - (ours[name].lower - theirs[name].upper)
        assert each.upper - each.lower < 0.9 * apart


def test_a_policy_is_no_better_than_itself(log: Mapping[str, FloatArray]) -> None:
    """Against itself a policy's lift is 0, and its interval holds 0."""
    found = estimate_difference(*_three(log), log["target"])

    for each in found.values():
        assert each.value == 0.0
        assert each.lower <= 0.0 <= each.upper


def test_a_difference_is_refused_where_one_of_the_two_is() -> None:
    """A baseline of which the log knows nothing takes the lift with it; there is nothing to be relative to."""
    rewards, propensities = np.tile([1.0, 0.0], 50), np.full(100, 0.5)

    found = estimate_difference(rewards, propensities, propensities, np.zeros(100), estimators=("ips",))

    assert "never plays" in found["ips"].refused
    assert math.isnan(found["ips"].relative)


def test_the_level_of_a_differences_bootstrap_is_checked(log: Mapping[str, FloatArray]) -> None:
    """A bootstrap of a difference refuses a level that is none, as every other interval does."""
    with pytest.raises(InvalidLog, match="level"):
        estimate_difference(*_three(log), log["propensities"], interval="percentile_bootstrap", level=95.0)


def test_a_ratio_without_weight_has_no_bootstrap() -> None:
    """Where no replicate of one policy has weight, every difference is possible."""
    half = np.full(100, 0.5)

    found = estimate_difference(
        np.ones(100), half, half, np.zeros(100), estimators=("snips",), interval="percentile_bootstrap"
    )

    assert (found["snips"].lower, found["snips"].upper) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"baseline_target": [0.5, 2.0]}, "out_of_range", "baseline_target"),
        ({"q_logged": [0.5, 0.5], "q_target": [0.5, 0.5], "q_baseline": [0.5]}, "length_differs", "q_baseline"),
        ({"baseline_target": [0.5, 0.5], "interval": "studentised_bootstrap"}, "method_unknown", "interval"),
        ({"baseline_target": [0.5, 0.5], "estimators": ("dr",)}, "reward_model_missing", "q_logged"),
    ],
    ids=["probability", "predictions", "method", "model"],
)
def test_rubbish_of_the_baseline_is_refused_by_name(changed: dict[str, Any], code: str, field: str) -> None:
    """What is wrong with the baseline is said of the baseline's array."""
    given: dict[str, Any] = {"baseline_target": [0.5, 0.5]} | changed

    with pytest.raises(InvalidLog) as caught:
        estimate_difference([1.0, 0.0], [0.5, 0.25], [0.5, 0.5], given.pop("baseline_target"), **given)

    assert (caught.value.code, caught.value.field) == (code, field)
