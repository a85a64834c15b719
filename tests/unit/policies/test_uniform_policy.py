"""Chance."""

import pytest

from policies import Action, Context, Outcome
from policies.uniform_policy import UniformSpec

NOW = Context.of({})


@pytest.mark.parametrize("n_actions", [1, 3, 1_000])
def test_every_action_is_as_likely(n_actions: int) -> None:
    """Each of n actions gets 1 ÷ n, whatever was learned."""
    policy = UniformSpec().build()
    actions = [Action.of(str(i)) for i in range(n_actions)]
    policy.learn(Outcome(context=NOW, actions=actions, chosen=0, propensity=0.5, reward=1.0))

    assert policy.probabilities(NOW, actions).tolist() == [1.0 / n_actions] * n_actions
