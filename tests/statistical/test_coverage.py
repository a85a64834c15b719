"""Intervals hold as often as they promise, on logs whose truth is known, and cost no more width than they must.

`bench.coverage` runs more worlds and more logs; docs/intervals.md has its table.
"""

import math

import numpy as np
import pytest

from bench.coverage import measure, narrowest
from bench.coverage_worlds import CASES, Case, World, worlds
from policies.lower_bound import LowerBound
from policies.protocol import FloatArray
from policies.sequences import LiftSequence, ValueSequence
from replay.batch import Batch
from replay.estimators.dr import Dr
from replay.estimators.ips import Snips
from replay.intervals import Bootstrap, interval
from replay.sums import PairedSums

LEVEL = 0.95
SEED = 31


def _least(n: int) -> float:
    """Three standard errors of n logs below the level."""
    return LEVEL - 3 * math.sqrt(LEVEL * (1 - LEVEL) / n)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.logging}-{case.n_actions or 'any'}-{case.n}")
def test_the_default_interval_holds_and_is_narrow(case: Case) -> None:
    """95 % intervals hold in 500 logs within three standard errors, at most 1.05 as wide as the best anchor there."""
    (world,) = worlds(case, 1, SEED)

    scores = measure(world, 500, np.random.default_rng([SEED, case.n]))

    best = narrowest(scores)
    for name in ("auto", "auto, largest weight given"):
        assert scores[name].coverage >= _least(500), name
        assert scores[name].width <= 1.05 * scores[best].width, (name, best)


@pytest.mark.parametrize("n", [200, 1000])
def test_intervals_with_a_reward_model_and_of_lifts_hold(n: int) -> None:
    """Doubly robust and paired intervals hold in 400 epsilon-greedy logs within three standard errors."""
    (world,) = worlds(Case("", "epsilon-greedy", n), 1, SEED)
    rng = np.random.default_rng(n)
    predicted = np.clip(world.means + rng.normal(size=world.means.shape) * 0.1, 0.0, 1.0)
    lift = world.value - float(world.shares @ (world.logging * world.means).sum(axis=1))
    held = {"dr": 0, "lift": 0}

    for _ in range(400):
        batch, logged = _with_model(world, predicted, rng)
        by = Dr()
        by.add(batch)
        ours = by.interval()
        paired = interval(PairedSums.of(Snips().terms(batch), Snips().terms(logged)))
        held["dr"] += ours.lower <= world.value <= ours.upper
        held["lift"] += paired.lower <= lift <= paired.upper

    assert held["dr"] / 400 >= _least(400)
    assert held["lift"] / 400 >= _least(400)


def _with_model(world: World, predicted: FloatArray, rng: np.random.Generator) -> tuple[Batch, Batch]:
    """Draw a log with a reward model's predictions: of the target, and of the logging policy."""
    n_actions = world.means.shape[1]
    contexts = rng.choice(len(world.shares), world.case.n, p=world.shares)
    ends = world.logging[contexts].cumsum(axis=1)
    actions = np.minimum((ends < rng.random(world.case.n)[:, None]).sum(axis=1), n_actions - 1)
    rewards = (rng.random(world.case.n) < world.means[contexts, actions]).astype(np.float64)
    propensities = world.logging[contexts, actions]
    return (
        Batch.of(
            rewards,
            propensities,
            world.target[contexts, actions],
            q_logged=predicted[contexts, actions],
            q_target=(world.target * predicted).sum(axis=1)[contexts],
        ),
        Batch.of(rewards, propensities, propensities),
    )


def test_a_frozen_mean_weight_is_nearly_twice_too_wide() -> None:
    """Resampling r w ÷ mean(w) is 1.6 to 2 times as wide as SNIPS varies; the bootstrap that divides anew is not."""
    rng = np.random.default_rng(5)
    n = 2000
    values, ours, frozen = [], [], []

    for log in range(60):
        rewards = (rng.random(n) < 0.7).astype(np.float64)
        batch = Batch.of(rewards, np.full(n, 0.1), (rng.random(n) < 0.1).astype(np.float64))
        values.append(float(batch.weights @ rewards / batch.weights.sum()))
        bootstrap = Bootstrap(seed=log, n_replicates=400)
        bootstrap.add([Snips().terms(batch)])
        found = bootstrap.interval()
        ours.append(found.upper - found.lower)
        terms = rewards * batch.weights / batch.weights.mean()
        means = terms[rng.integers(0, n, size=(200, n))].mean(axis=1)
        frozen.append(float(np.diff(np.quantile(means, [0.025, 0.975]))[0]))

    right = 2 * 1.96 * math.sqrt(0.7 * 0.3 / (n * 0.1))  # the width that SNIPS's spread calls for, by hand
    assert 2 * 1.96 * np.std(values) == pytest.approx(right, rel=0.3)
    assert np.mean(ours) == pytest.approx(right, rel=0.05)
    assert 1.6 < np.mean(frozen) / right < 2.0


@pytest.mark.timeout(180)
def test_confidence_sequences_hold_at_every_row_at_once() -> None:
    """Looked at after every one of 70 rows, 1,000 logs leave values and lifts at most 5 % + 3 standard errors often."""
    rng = np.random.default_rng(17)
    n, n_logs, truth, alpha = 70, 1000, 0.15, (1 - LEVEL) / 2
    missed = {"value": 0, "unbounded": 0, "lift": 0, "gaussian": 0}

    for _ in range(n_logs):
        weights = np.where(rng.random(n) < 0.25, 4.0, 0.0)
        rewards = (rng.random(n) < truth).astype(np.float64)
        value, unbounded, lift = ValueSequence(4.0), ValueSequence(), LiftSequence(4.0)
        out = dict.fromkeys(missed, False)
        for row in range(n):
            here = slice(row, row + 1)
            value.add(weights[here], rewards[here])
            unbounded.add(weights[here], rewards[here])
            lift.add(weights[here], np.ones(1), rewards[here])
            for name, sides, least in (
                ("value", value._sides, (truth, 1 - truth)),
                ("unbounded", unbounded._sides, (truth, 1 - truth)),
                ("lift", lift._sides, (0.0, 0.0)),
            ):
                out[name] |= any(_above(side, mean, alpha) for side, mean in zip(sides, least, strict=True))
        out["gaussian"] = _ever_out(weights * rewards, truth)
        for name, is_out in out.items():
            missed[name] += is_out

    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / n_logs)
    assert missed["value"] / n_logs <= most
    assert missed["unbounded"] / n_logs <= most
    assert missed["lift"] / n_logs <= most
    assert missed["gaussian"] / n_logs > 0.2  # what looking again and again does to an interval for one look


def _above(side: LowerBound, mean: float, alpha: float) -> bool:
    """Whether the bound lies above the true mean: cheaper than to find the bound."""
    return side._log_wealth(mean)[0] > -math.log(alpha)


def _ever_out(terms: FloatArray, truth: float) -> bool:
    n = np.arange(1, len(terms) + 1)
    means = terms.cumsum() / n
    errors = np.sqrt(np.maximum((terms**2).cumsum() / n - means**2, 0.0) / n)
    return bool((np.abs(means - truth) > 1.96 * errors)[20:].any())


def test_a_confidence_sequence_ends_in_the_bound_that_its_wealth_says() -> None:
    """Whether the interval holds the truth is the same as whether no side has won 1 ÷ α by betting against it."""
    rng = np.random.default_rng(19)

    for _ in range(50):
        sequence = ValueSequence(4.0)
        sequence.add(np.where(rng.random(300) < 0.25, 4.0, 0.0), (rng.random(300) < 0.5).astype(np.float64))
        low, high = sequence.interval()
        for mean in rng.random(20):
            sides = zip(sequence._sides, (mean, 1.0 - mean), strict=True)
            assert (low <= mean <= high) == (not any(_above(side, value, 0.025) for side, value in sides))
