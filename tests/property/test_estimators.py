"""For any rows: shards add up to the whole, a weighted mean stays among its rewards, no interval is inside out."""

import itertools
import json
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from replay.arrays import estimate
from replay.batch import Batch
from replay.diagnostics import WeightCounts
from replay.estimators import estimator
from replay.results import Diagnostics

NAMES = ("ips", "ips_clipped", "snips", "dm", "dr", "dr_clipped", "sndr", "switch_dr", "dros", "sub_gaussian")
REWARDS = st.floats(-5.0, 5.0)
SHARES = st.floats(0.0, 1.0)
PROPENSITIES = st.floats(1e-4, 1.0)


@st.composite
def batches(draw: DrawFn) -> Batch:
    """Rows with predictions and multiplicity."""
    n = draw(st.integers(1, 40))

    def column(values: st.SearchStrategy[float]) -> list[float]:
        return draw(st.lists(values, min_size=n, max_size=n))

    return Batch.of(
        column(REWARDS),
        column(PROPENSITIES),
        column(SHARES),
        q_logged=column(REWARDS),
        q_target=column(REWARDS),
        multiplicity=column(st.floats(1.0, 10.0)),
    )


def _rows(batch: Batch, start: int, stop: int) -> Batch:
    columns = (batch.rewards, batch.propensities, batch.target, batch.q_logged, batch.q_target, batch.multiplicity)
    return Batch(*(None if column is None else column[start:stop] for column in columns))  # type: ignore[arg-type]  # the first three are there


@settings(deadline=None, max_examples=150)
@given(batch=batches(), cuts=st.lists(st.integers(0, 40), max_size=4), name=st.sampled_from(NAMES))
def test_shards_add_up_to_the_whole(batch: Batch, cuts: list[int], name: str) -> None:
    """However a log is split, and in whatever order its shards are merged, the value is the same to 1e-12."""
    whole = estimator(name, clip=2.0, tau=2.0, lam=0.5)
    whole.add(batch)
    edges = [0, *sorted(min(cut, len(batch)) for cut in cuts), len(batch)]
    merged = estimator(name, clip=2.0, tau=2.0, lam=0.5)
    for start, stop in itertools.pairwise(edges):
        shard = estimator(name, clip=2.0, tau=2.0, lam=0.5)
        shard.add(_rows(batch, start, stop))
        merged = merged.loads(json.loads(json.dumps(shard.dumps()))) + merged

    if math.isnan(whole.value):
        assert math.isnan(merged.value)
        return
    terms = whole.terms(batch)
    size = np.abs(terms.numerator).max() + (0.0 if terms.base is None else np.abs(terms.base).max())
    if whole.sums.self_normalised:
        size /= whole.sums.moments.mean[1]
    assert math.isclose(merged.value, whole.value, rel_tol=1e-12, abs_tol=1e-12 * size)
    assert math.isclose(merged.sums.squares, whole.sums.squares, rel_tol=1e-9, abs_tol=1e-10 * size**2)


@settings(deadline=None, max_examples=150)
@given(batch=batches())
def test_snips_lies_among_the_rewards(batch: Batch) -> None:
    """A self-normalised estimate is never below the least nor above the largest reward that has weight."""
    by = estimator("snips")
    by.add(batch)

    seen = batch.rewards[batch.weights > 0.0]

    if not len(seen):
        assert math.isnan(by.value)
    else:
        assert seen.min() - 1e-12 <= by.value <= seen.max() + 1e-12


@settings(deadline=None, max_examples=60)
@given(batch=batches(), method=st.sampled_from(["auto", "gaussian", "empirical_bernstein"]))
def test_intervals_are_never_inside_out(batch: Batch, method: str) -> None:
    """Whatever the rows, both ends are numbers and the lower is not above the upper."""
    columns = (batch.rewards, batch.propensities, batch.target)

    found = estimate(*columns, interval=method, reward_range=(-5.0, 5.0), multiplicity=batch.multiplicity)

    for each in found.values():
        assert each.lower <= each.upper


@settings(deadline=None, max_examples=60)
@given(batch=batches(), cut=st.integers(0, 40))
def test_weights_of_shards_add_up(batch: Batch, cut: int) -> None:
    """However rows are split, the diagnostics of the weights are the same up to rounding."""
    whole, left, right = WeightCounts(), WeightCounts(), WeightCounts()
    whole.add(batch)
    left.add(_rows(batch, 0, min(cut, len(batch))))
    right.add(_rows(batch, min(cut, len(batch)), len(batch)))

    merged, expected = (left + right).diagnostics(), whole.diagnostics()

    for name in set(Diagnostics.__slots__) - {"mean_weight_z"}:  # of two rows alike it is a rounding over a rounding
        mine, theirs = getattr(merged, name), getattr(expected, name)
        assert math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(mine) and math.isnan(theirs))
