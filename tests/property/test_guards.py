"""Everything that may be handed to a policy by mistake or on purpose, thrown at every policy.

Each step either is refused with an error of ours or leaves a policy that answers with a distribution; and whatever
came before, the next good outcomes are learned from.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import Action, Context, Outcome, Policy, PolicyError, PolicySpec
from tests.contract.policies_under_test import SPECS, learns

NOW = Context.of({"good": 1.0})
GOOD = 300  # outcomes after which something must have been learned
FEW = settings(max_examples=max(10, settings().max_examples // 10))  # of each profile: every spec takes that many


class Many(dict[str, Any]):
    """So many features that only their number is shown when a test fails."""

    def __repr__(self) -> str:
        return f"Many({len(self)} × {next(iter(self.values()))!r})"


# What a client could send to break out of a text format, to collide with a name of ours, or to be too long.
NAMES = st.one_of(
    st.sampled_from(["a", "b", "|", ":", "a|b:1", "|s c:9", "% ", "%0A", "%id=a", "=", "a=b", ".", "a.b", "shared"]),
    st.sampled_from(["0:1:0.5", "\u2028", "\u2029", "é", "😀", "a" * 256, "\xa0x", "%segment", "None", "nan"]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=4),
)
EXTREMES = [0.0, -0.0, 0, 1, 0.5, 1e9, -1e9, 10**9, -(10**9), 1e-20, 1e-300, 5e-324, 1e-9, 3e8, np.float64(0.5)]
NUMBERS = st.one_of(st.sampled_from(EXTREMES), st.floats(-1e9, 1e9), st.integers(-(10**9), 10**9))
VALUES = st.one_of(NUMBERS, NUMBERS, NAMES, st.none(), st.booleans())
NESTED = st.recursive(
    VALUES,
    lambda inner: st.one_of(st.lists(VALUES, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)
MANY = st.builds(lambda n, value: Many({f"f{i}": value for i in range(n)}), st.integers(50, 400), NUMBERS)
FEATURES = st.one_of(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), NUMBERS, max_size=3),
    st.dictionaries(NAMES, NESTED, max_size=4),
    MANY,
)
ACTIONS = st.lists(st.tuples(st.one_of(st.sampled_from(["a", "b", "c", "d"]), NAMES), FEATURES), min_size=1, max_size=6)

# Values of the wrong type, not finite, too large, or no text: at any place of a request.
STRANGE = st.one_of(
    st.sampled_from([None, b"a", (1, 2), {1}, 1j, True, [], {}, [[1]], [{"a": 1}, 2], {1: 2}, {"a": b""}]),
    st.sampled_from(["0.5", "", "\n", "\0", "\x7f", "\ud800", "a" * 257, {"\ud800": 1}]),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1e300, 1e9, -1e9, 5e-324, 1e-300, 0.0, -0.1, 1.0000001]),
    st.sampled_from([-1, 6, 10**18, 10**400, np.float32(0.5), np.float64(math.nan), np.int64(0)]),
    st.sampled_from([{"a": math.nan}, {"a": [10**400]}, {"a": {"a": 1e9 + 1}}]),
    st.builds(lambda n: {f"f{i}": 1 for i in range(n)}, st.just(1_001)),  # made anew: it is too long to be shown
)
PLACES = ("context", "feature", "id", "features", "chosen", "propensity", "reward")


@dataclass(frozen=True, slots=True)
class Step:
    """What is done to a policy, in raw values.

    Attributes
    ----------
    what
        ask, learn or reload.
    """

    what: str
    context: Any
    actions: list[tuple[Any, Any]]
    chosen: Any
    propensity: Any
    reward: Any


@st.composite
def _steps(draw: st.DrawFn) -> Step:
    """Draw a step whose parts are extreme but right, but for at most one."""
    actions = draw(ACTIONS)
    step = Step(
        what=draw(st.sampled_from(["ask", "learn", "learn", "learn", "learn", "reload"])),
        context=draw(FEATURES),
        actions=actions,
        chosen=draw(st.integers(0, len(actions) - 1)),
        propensity=draw(st.one_of(st.floats(1e-3, 1.0), st.sampled_from([1, 1e-9, 1e-300, 5e-324, np.float64(0.5)]))),
        reward=draw(st.one_of(st.floats(0.0, 1.0), st.sampled_from([0, 1, 0.5, 1e-300, 1e3, -1e3, 1e9, -1e9]))),
    )
    return _spoilt(step, draw(st.sampled_from(PLACES)), draw(STRANGE)) if draw(st.booleans()) else step


def _spoilt(step: Step, place: str, value: Any) -> Step:
    (action_id, features), *others = step.actions
    match place:
        case "feature":
            return replace(step, context={**step.context, "a": value})
        case "id":
            return replace(step, actions=[(value, features), *others])
        case "features":
            return replace(step, actions=[*others, (action_id, value)])
        case _:
            return replace(step, **{place: value})


STEPS = st.lists(_steps(), min_size=1, max_size=8)


def accepted(call: Callable[[], object]) -> bool:
    """Whether a call was taken; what is refused is refused with an error of ours, anything else fails the test."""
    try:
        call()
    except PolicyError:
        return False
    return True


def assert_distribution(policy: Policy, context: Context, actions: list[Action]) -> None:
    """Assert that a policy has a sound answer."""
    vector = policy.probabilities(context, actions)

    assert vector.shape == (len(actions),)
    assert vector.dtype == np.float64
    assert np.isfinite(vector).all()
    assert vector.min() >= 0.0
    assert abs(vector.sum() - 1.0) <= 1e-5


def taken(policy: Policy, step: Step) -> float | None:
    """Ask for, and learn from, what can be made of a step; return the reward if it was learned from."""
    try:
        context = Context.of(step.context)
        actions = [Action.of(action_id, features) for action_id, features in step.actions]
    except PolicyError:
        return None
    assert_distribution(policy, context, actions)
    outcome = Outcome(context, actions, step.chosen, step.propensity, step.reward)
    if step.what != "learn" or not accepted(lambda: policy.learn(outcome)):
        return None
    assert_distribution(policy, context, actions)
    return float(step.reward)


def reloaded(spec: PolicySpec, policy: Policy) -> Policy:
    """Return a new policy with the state of another."""
    state = policy.dumps()
    result = spec.build()
    result.loads(state)
    assert result.dumps() == state
    return result


def lessons(n: int, *, worst: float, best: float) -> list[Outcome]:
    """Return good outcomes of three actions in turn; the second earns the best reward, the others the worst."""
    actions = [Action.of(f"good{i}") for i in range(3)]
    return [Outcome(NOW, actions, i % 3, 1 / 3, best if i % 3 == 1 else worst) for i in range(n)]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@FEW
@given(steps=STEPS)
def test_nothing_that_is_thrown_at_it_hurts_a_policy(spec: PolicySpec, steps: list[Step]) -> None:
    """After any steps the answers are distributions, and 300 good outcomes make the best action the likeliest."""
    policy = spec.build()
    rewards = [0.0, 1.0]
    for step in steps:
        if step.what == "reload":
            policy = reloaded(spec, policy)
            continue
        reward = taken(policy, step)
        if reward is not None:
            rewards.append(reward)
    good = lessons(GOOD, worst=min(rewards), best=max(rewards))
    state = policy.dumps()

    for outcome in good:
        policy.learn(outcome)

    assert_distribution(policy, NOW, [*good[0].actions])
    if learns(spec):
        assert policy.dumps() != state
        assert int(policy.probabilities(NOW, good[0].actions).argmax()) == 1
