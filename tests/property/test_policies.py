"""Policies under arbitrary lists of actions and histories."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from policies import Action, Context, Outcome, PolicySpec, RunningMean, checked, parse_spec
from policies.independent import IndependentThompson
from policies.thompson import ThompsonSpec
from tests.contract.policies_under_test import SPECS, folded, may_be_zero

NOW = Context.of({"hour": 3})
IDS = st.lists(st.sampled_from([f"a{i}" for i in range(8)]), min_size=1, max_size=8, unique=True)
LESSONS = st.lists(st.tuples(IDS, st.integers(0, 7), st.floats(1e-6, 1.0), st.floats(0.0, 1.0)), max_size=25)
SPEC = st.sampled_from(list(SPECS.values()))

Lessons = list[tuple[list[str], int, float, float]]


def outcomes_of(lessons: Lessons) -> list[Outcome]:
    """Return the outcomes that a drawn history stands for."""
    return [
        Outcome(NOW, [Action.of(action_id) for action_id in ids], chosen % len(ids), propensity, reward)
        for ids, chosen, propensity, reward in lessons
    ]


@given(spec=SPEC, lessons=LESSONS, ids=IDS)
def test_any_history_leaves_a_distribution(spec: PolicySpec, lessons: Lessons, ids: list[str]) -> None:
    """Whatever was learned and whatever is asked for, the answer is a distribution, without zeros if so promised."""
    policy = folded(spec, outcomes_of(lessons))

    vector = policy.probabilities(NOW, [Action.of(action_id) for action_id in ids])

    assert checked(vector.tolist(), len(ids))
    assert vector.min() > 0.0 or may_be_zero(spec)


@given(spec=SPEC, lessons=LESSONS, cut=st.integers(0, 25))
def test_snapshot_and_tail_are_the_whole_fold(spec: PolicySpec, lessons: Lessons, cut: int) -> None:
    """Going on from a snapshot at any cut gives the bytes of the whole fold."""
    log = outcomes_of(lessons)
    whole = folded(spec, log)
    assume(whole.resumable)
    resumed = spec.build()
    resumed.loads(folded(spec, log[:cut]).dumps())

    for outcome in log[cut:]:
        resumed.learn(outcome)

    assert resumed.dumps() == whole.dumps()


@pytest.mark.parametrize("kind", ["epsilon_greedy", "thompson"])
@given(lessons=LESSONS, ids=IDS, data=st.data())
def test_the_order_of_the_actions_does_not_matter(
    kind: str, lessons: Lessons, ids: list[str], data: st.DataObject
) -> None:
    """Asking for the same actions in another order gives each the same probability."""
    policy = folded(parse_spec({"kind": kind}), outcomes_of(lessons))
    shuffled = data.draw(st.permutations(ids))

    straight = dict(zip(ids, policy.probabilities(NOW, [Action.of(i) for i in ids]), strict=True))
    other = dict(zip(shuffled, policy.probabilities(NOW, [Action.of(i) for i in shuffled]), strict=True))

    assert other == pytest.approx(straight, abs=1e-9)


@given(counts=st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)), min_size=2, max_size=6))
def test_a_success_never_makes_an_action_less_likely(counts: list[tuple[int, int]]) -> None:
    """One more reward of 1 does not lower the Beta probability of the action that got it."""
    policy = ThompsonSpec().make()
    assert isinstance(policy, IndependentThompson)
    actions = [Action.of(f"a{i}") for i in range(len(counts))]
    for i, (hits, misses) in enumerate(counts):
        policy._statistics.put(f"a{i}", (float(hits), float(misses)))  # folding so many outcomes would take too long
    before = policy.probabilities(NOW, actions)[0]

    policy.learn(Outcome(NOW, actions, 0, 0.5, 1.0))

    assert policy.probabilities(NOW, actions)[0] >= before - 3e-5  # the error of the quadrature


@given(values=st.lists(st.floats(-1e6, 1e6), max_size=40), cut=st.integers(0, 40))
def test_running_means_add_up(values: list[float], cut: int) -> None:
    """Two halves added have the mean and the squared deviations of the whole, computed exactly."""
    left, right = RunningMean(), RunningMean()
    for value in values[:cut]:
        left.add(value)
    for value in values[cut:]:
        right.add(value)

    both = left + right

    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact) if exact else Fraction(0)
    scale = max(map(abs, values), default=0.0)
    assert both.n == len(values)
    assert math.isclose(both.mean, float(mean), rel_tol=1e-12, abs_tol=1e-12 * scale)
    squares = float(sum((value - mean) ** 2 for value in exact))
    assert math.isclose(both.squares, squares, rel_tol=1e-9, abs_tol=1e-9 * scale**2)
    assert np.isfinite(both.dumps()).all()
