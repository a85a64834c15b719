"""Empirical likelihood is right: against what VW's estimators gave, and against a numerical optimiser."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize  # type: ignore[import-untyped]  # scipy ships no annotations
from scipy.stats import f as f_distribution  # type: ignore[import-untyped]  # the same
from scipy.stats import t as t_distribution

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.estimators.ips import Ips, Snips
from replay.intervals import interval
from replay.intervals.interval import Limits
from replay.intervals.likelihood import cressie_read
from replay.intervals.quantiles import normal_quantile, student_quantile

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the reference data is not beside this repository")
SAME = 1e-9
OF_VW = {"gaussian": "ci95_gaussian", "clopper_pearson": "ci95_clopper_pearson", "cressie_read": "ci95_cressieread"}


def _ips(batch: Batch) -> Ips:
    by = Ips()
    by.add(batch)
    return by


@pytest.mark.parametrize("alpha", [0.5, 0.05, 1e-4])
@pytest.mark.parametrize("freedom", [1.0, 2.5, 10.0, 499.0, 500.0, 10_000.0, 1e9])
def test_student_quantile_equals_scipys(freedom: float, alpha: float) -> None:
    """Quantiles agree with scipy's to 1e-9 of their size, on both sides of the switch to the expansion."""
    expected = t_distribution.isf(alpha / 2, freedom)

    assert student_quantile(alpha, freedom) == pytest.approx(expected, rel=1e-9)
    assert student_quantile(alpha, freedom) ** 2 == pytest.approx(f_distribution.isf(alpha, 1, freedom), rel=1e-9)


def test_normal_quantile_is_the_one_everybody_knows() -> None:
    """|Z| exceeds 1.959964 with probability 0.05."""
    assert normal_quantile(0.05) == pytest.approx(1.959963984540054, abs=1e-12)


@needs_data
@pytest.mark.parametrize("method", OF_VW)
@pytest.mark.parametrize("policy", ["soft", "det"])
def test_intervals_on_the_synthetic_log_are_those_of_vw_estimators(policy: str, method: str) -> None:
    """Gaussian, Clopper-Pearson and Cressie-Read intervals of 10,000 rows equal VW's estimators' to 1e-9."""
    found = json.loads((DATA / "ope_synth" / "expected.json").read_text())["sets"]["synth_10k"]["policies"][policy]
    log = np.load(DATA / "ope_synth" / "synth_10k.npz")
    scores = np.c_[log["context"].astype(np.float64), np.ones(len(log["context"]))] @ log["pi_e_W"]
    soft = np.exp(8 * (scores - scores.max(axis=1, keepdims=True)))
    target = soft / soft.sum(axis=1, keepdims=True) if policy == "soft" else np.eye(10)[scores.argmax(axis=1)]
    rows = np.arange(len(scores))
    batch = Batch.of(log["reward"], log["pscore"], target[rows, log["action"]])

    ours = _ips(batch).interval(method)

    assert (ours.lower, ours.upper) == pytest.approx(found["vw_estimators"][OF_VW[method]], abs=SAME, rel=0)


def _open_bandit(campaign: str, scenario: str) -> Batch:
    log = "bts" if scenario.startswith("C") else "random"
    with gzip.open(DATA / "obd" / log / campaign / f"{campaign}.csv.gz", "rt") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["timestamp"])
    item = np.array([int(row["item_id"]) for row in rows])
    position = np.array([int(row["position"]) - 1 for row in rows])
    policies = np.load(DATA / "obd" / f"policies_{campaign}.npz")
    k = len(policies["bts_prior"])
    policy = {"A": policies["bts_prior"], "B": policies["bts_empirical"]}.get(scenario[0], np.full((k, 3), 1 / k))
    return Batch.of(
        [float(row["click"]) for row in rows],
        [float(row["propensity_score"]) for row in rows],
        policy[item, position],
    )


@needs_data
@pytest.mark.parametrize("scenario", ["A_random_log__bts_prior", "B_random_log__bts_empirical", "C_bts_log__uniform"])
@pytest.mark.parametrize("campaign", ["all", "women"])
def test_intervals_on_open_bandit_data_are_those_of_vw_estimators(campaign: str, scenario: str) -> None:
    """All three equal VW's estimators' to 1e-9, with the largest weight known and without."""
    expected = json.loads((DATA / "obd" / "expected.json").read_text())["campaigns"][campaign][scenario][
        "vw_estimators"
    ]
    by = _ips(_open_bandit(campaign, scenario))

    for method, name in OF_VW.items():
        known = expected["wmax"] if method == "cressie_read" else None
        ours = by.interval(method, max_weight=known)
        assert (ours.lower, ours.upper) == pytest.approx(expected[name], abs=SAME, rel=0), method


def _optimised(weights: FloatArray, rewards: FloatArray, *, sign: float, reward: float, largest: float) -> float:
    """Find the smallest mean of sign × w r over all reweightings, by a general optimiser."""
    n = len(weights)
    ends = []
    budgets = {}
    for phantom in (0.0, largest):
        w = np.append(weights, phantom)

        def misfit(q: FloatArray) -> float:
            return float(((q - 1.0) ** 2).sum())

        fitted = minimize(
            misfit,
            np.ones(n + 1),
            constraints=[
                {"type": "eq", "fun": lambda q, w=w: (q * w).mean() - 1.0},
                {"type": "eq", "fun": lambda q: q.mean() - 1.0},
            ],
            options={"ftol": 1e-14, "maxiter": 500},
        )
        budgets[phantom] = (misfit(fitted.x), fitted.x)
    least = budgets[largest if weights.sum() < n else 0.0][0] + f_distribution.isf(0.05, 1, n)
    for phantom in (0.0, largest):
        w, x = np.append(weights, phantom), sign * np.append(weights * rewards, phantom * reward)
        if budgets[phantom][0] > least:
            continue
        found = minimize(
            lambda q, x=x: float((q * x).mean()),
            budgets[phantom][1],
            constraints=[
                {"type": "eq", "fun": lambda q, w=w: (q * w).mean() - 1.0},
                {"type": "eq", "fun": lambda q: q.mean() - 1.0},
                {"type": "ineq", "fun": lambda q: least - float(((q - 1.0) ** 2).sum())},
            ],
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        ends.append(found.fun)
    return sign * float(min(ends))


@pytest.mark.parametrize("seed", range(4))
def test_closed_form_equals_a_numerical_optimum(seed: int) -> None:
    """The closed form gives what a general optimiser finds among all reweightings of twelve rows and a phantom."""
    rng = np.random.default_rng(seed)
    rewards = rng.random(12)
    propensities = np.where(rng.random(12) < 0.5, 0.25, 0.75)
    batch = Batch.of(rewards, propensities, rng.random(12))
    largest = 4.0

    ours = cressie_read(_ips(batch).sums, Limits(0.95, 0.0, 1.0, largest))

    lower = _optimised(batch.weights, rewards, sign=1.0, reward=0.0, largest=largest)
    upper = _optimised(batch.weights, rewards, sign=-1.0, reward=1.0, largest=largest)
    assert ours.lower == pytest.approx(max(lower, 0.0), abs=1e-5)
    assert ours.upper == pytest.approx(min(upper, 1.0), abs=1e-5)


def test_a_huge_weight_bound_comes_near_to_none() -> None:
    """Without a bound the interval is the limit of larger and larger bounds."""
    rng = np.random.default_rng(3)
    rewards = (rng.random(400) < 0.4).astype(np.float64)
    by = _ips(Batch.of(rewards, np.full(400, 0.5), rng.random(400)))

    bounded = by.interval("cressie_read", max_weight=1e6)
    unbounded = by.interval("cressie_read")

    assert (bounded.lower, bounded.upper) == pytest.approx((unbounded.lower, unbounded.upper), abs=1e-4)


@pytest.mark.parametrize("heavier", [False, True], ids=["mean-below-1", "mean-above-1"])
def test_unbounded_weights_hold_whatever_the_mean_weight(heavier: bool) -> None:  # noqa: FBT001 - a table of two
    """Weights whose mean is off on either side still give an ordered interval inside the range."""
    target = np.tile([0.2, 0.9] if heavier else [0.1, 0.6], 50)
    by = _ips(Batch.of(np.tile([0.0, 1.0, 1.0, 0.0], 25), np.full(100, 0.5), target))

    found = by.interval("cressie_read")

    assert 0.0 <= found.lower < found.upper <= 1.0


def test_intervals_of_shards_are_those_of_the_whole() -> None:
    """Sums added over four shards give the interval of the whole log to 1e-12, for every method."""
    rng = np.random.default_rng(9)
    columns = ((rng.random(800) < 0.3).astype(np.float64), rng.choice([0.1, 0.4], 800), rng.random(800))
    whole, parts = Snips(), Snips()
    whole.add(Batch.of(*columns))

    for shard in np.array_split(np.arange(800), 4):
        part = Snips()
        part.add(Batch.of(*(column[shard] for column in columns)))
        parts = parts + part

    for method in ("auto", "gaussian", "clopper_pearson", "cressie_read", "empirical_bernstein"):
        one, other = whole.interval(method), parts.interval(method)
        assert (one.lower, one.upper) == pytest.approx((other.lower, other.upper), abs=1e-12)


@pytest.mark.parametrize("method", ["auto", "gaussian", "clopper_pearson", "cressie_read", "empirical_bernstein"])
def test_no_rows_say_nothing(method: str) -> None:
    """Without rows the interval is everything."""
    found = interval(Ips().sums, method)

    assert found.lower <= 0.0
    assert found.upper >= 1.0


def test_a_phantom_that_tells_no_more_than_the_rows_is_left_out() -> None:
    """Where all weights are 1 and none can be other, only the phantom of weight 0 counts, and the interval stands."""
    by = _ips(Batch.of([0.0, 1.0, 1.0, 0.0] * 5, np.full(20, 0.5), np.full(20, 0.5)))

    none, hardly = by.interval("cressie_read", max_weight=1.0), by.interval("cressie_read", max_weight=1.0 + 1e-9)

    assert 0.0 < none.lower < 0.5 < none.upper < 1.0
    assert (none.lower, none.upper) == pytest.approx((hardly.lower, hardly.upper), abs=1e-6)


def test_a_level_near_zero_gives_an_interval_that_is_still_in_order() -> None:
    """At a level of 1 % nothing but the most likely reweightings is left, and the ends do not cross."""
    by = _ips(Batch.of([0.0, 1.0, 1.0, 0.0], np.full(4, 0.5), [0.5, 0.6, 0.5, 0.6]))

    found = by.interval("cressie_read", 0.01)

    assert 0.0 <= found.lower <= found.upper <= 1.0
