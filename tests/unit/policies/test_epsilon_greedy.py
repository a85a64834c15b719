"""Epsilon-greedy against arithmetic done by hand."""

import pytest

from policies import Action, Context, InvalidInput, Outcome
from policies.epsilon_greedy import EpsilonGreedy, EpsilonGreedySpec

NOW = Context.of({})
A, B, C, D = (Action.of(name) for name in "abcd")


def learned(policy: EpsilonGreedy, *rewards: tuple[Action, float]) -> EpsilonGreedy:
    """Teach the policy each reward in turn."""
    for action, reward in rewards:
        policy.learn(Outcome(context=NOW, actions=[action], chosen=0, propensity=1.0, reward=reward))
    return policy


def test_epsilon_is_spread_and_the_rest_goes_to_the_best_mean() -> None:
    """With ε = 0.2 and four actions the best mean gets 0.8 + 0.05, the others 0.05 each."""
    policy = learned(EpsilonGreedySpec(epsilon=0.2).make(), (A, 1.0), (A, 0.0), (B, 1.0), (C, 0.0), (D, 0.25))

    assert policy.probabilities(NOW, [A, B, C, D]) == pytest.approx([0.05, 0.85, 0.05, 0.05], abs=1e-15)


def test_ties_share_the_greedy_part() -> None:
    """Two actions of the same best mean get half of 1 - ε each."""
    policy = learned(EpsilonGreedySpec(epsilon=0.2).make(), (A, 1.0), (A, 0.0), (B, 0.5), (C, 0.25))

    assert policy.probabilities(NOW, [A, B, C]) == pytest.approx([0.4 + 0.2 / 3, 0.4 + 0.2 / 3, 0.2 / 3], abs=1e-15)


def test_a_newcomer_starts_at_the_mean_of_all_rewards() -> None:
    """With means 1 and 0 seen once each, a newcomer at 0.5 stands above one and below the other."""
    policy = learned(EpsilonGreedySpec(epsilon=0.2).make(), (A, 1.0), (B, 0.0))

    assert policy.probabilities(NOW, [A, D])[1] == pytest.approx(0.1)
    assert policy.probabilities(NOW, [B, D])[1] == pytest.approx(0.9)


def test_a_newcomer_starts_at_the_initial_reward_if_there_is_one() -> None:
    """An optimistic `initial_reward` sends the greedy part to the newcomer."""
    policy = learned(EpsilonGreedySpec(epsilon=0.2, initial_reward=2.0).make(), (A, 1.0), (B, 0.0))

    assert policy.probabilities(NOW, [A, B, D]) == pytest.approx([0.2 / 3, 0.2 / 3, 0.8 + 0.2 / 3])


def test_the_propensity_does_not_weigh_the_mean() -> None:
    """A reward counts the same whether its action was likely or not."""
    likely, unlikely = EpsilonGreedySpec().make(), EpsilonGreedySpec().build()
    for policy, propensity in ((likely, 1.0), (unlikely, 1e-3)):
        policy.learn(Outcome(context=NOW, actions=[A, B], chosen=1, propensity=propensity, reward=0.3))

    assert likely.dumps() == unlikely.dumps()


def test_a_forgotten_action_is_a_newcomer_again() -> None:
    """With room for two, a third action pushes out the one that was learned from least recently."""
    policy = learned(
        EpsilonGreedySpec(epsilon=0.2, initial_reward=0.0, max_actions=2).make(),
        (A, 3.0),
        (B, 1.0),
        (A, 3.0),
        (C, 2.0),
    )

    assert policy.probabilities(NOW, [B, C]) == pytest.approx([0.1, 0.9])
    assert policy.probabilities(NOW, [A, C]) == pytest.approx([0.9, 0.1])
    assert policy.probabilities(NOW, [B, D]) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epsilon", 0.0),
        ("epsilon", 1e-7),
        ("epsilon", 1.0001),
        ("epsilon", float("nan")),
        ("initial_reward", float("inf")),
        ("initial_reward", 1.1e9),
        ("max_actions", 0),
        ("max_actions", 1_000_001),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: float) -> None:
    """A setting out of its range is refused by name."""
    with pytest.raises(InvalidInput) as caught:
        EpsilonGreedySpec(**{field: value})  # type: ignore[arg-type]  # the table mixes the types of the settings

    assert caught.value.field == field
