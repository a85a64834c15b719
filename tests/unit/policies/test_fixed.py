"""The caller's order."""

import pytest

from policies import Action, Context, Outcome, StateInvalid
from policies.fixed import FixedSpec
from policies.state import seal

NOW = Context.of({})
A, B, C = (Action.of(name) for name in "abc")


def test_the_first_action_is_played() -> None:
    """Whichever action comes first is played, and the others get the floor alone."""
    policy = FixedSpec(min_probability=0.1).build()

    assert policy.probabilities(NOW, [A, B, C]) == pytest.approx([0.8, 0.1, 0.1])
    assert policy.probabilities(NOW, [C, A]) == pytest.approx([0.9, 0.1])


def test_there_is_a_floor_unless_it_is_taken_away() -> None:
    """By default every action has 0.001, with a floor of 0 the first one has all."""
    assert FixedSpec().build().probabilities(NOW, [A, B, C]) == pytest.approx([0.998, 0.001, 0.001])
    assert FixedSpec(min_probability=0.0).build().probabilities(NOW, [A, B, C]).tolist() == [1.0, 0.0, 0.0]


def test_outcomes_and_parents_change_nothing() -> None:
    """The state after outcomes and a parent is that of the beginning."""
    spec = FixedSpec()
    policy = spec.build()
    policy.adopt(spec.build())

    policy.learn(Outcome(context=NOW, actions=[A, B], chosen=1, propensity=0.5, reward=3.0))

    assert policy.dumps() == spec.build().dumps()
    assert policy.probabilities(NOW, [A, B])[0] == pytest.approx(0.999)


def test_a_state_with_something_in_it_is_refused() -> None:
    """The state of a policy that never learns is empty, and only such a one is loaded."""
    spec = FixedSpec()

    spec.build().loads(spec.build().dumps())
    with pytest.raises(StateInvalid):
        spec.build().loads(seal(spec, b"x"))
