"""Epsilon-greedy against arithmetic done by hand."""

import pytest

from policies import Action, Context, InvalidInput, Outcome, Policy
from policies.epsilon_greedy import EpsilonGreedySpec
from policies.fixed import FixedSpec

NOW = Context.of({})
A, B, C, D = (Action.of(name) for name in "abcd")


def learned(policy: Policy, *rewards: tuple[Action, float]) -> Policy:
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


def test_epsilon_falls_with_the_outcomes_learned() -> None:
    """With ε = 0.4 and `decay_after` 1, three outcomes leave 0.2 to be drawn evenly."""
    policy = learned(EpsilonGreedySpec(epsilon=0.4, decay_after=1.0).make(), (A, 1.0), (B, 0.0), (B, 0.0))

    assert policy.probabilities(NOW, [A, B]) == pytest.approx([0.9, 0.1], abs=1e-15)


def test_a_discount_weighs_the_last_outcomes_of_an_action_more() -> None:
    """With discount 0.5, rewards of 1, 1 and 0 have the mean (0.25 + 0.5) ÷ 1.75, above 0.4 and below 0.45."""
    spec = EpsilonGreedySpec(epsilon=0.2, discount=0.5, initial_reward=0.0)
    lessons = ((A, 1.0), (A, 1.0), (A, 0.0))

    below = learned(spec.make(), *lessons, (B, 0.42))
    above = learned(spec.make(), *lessons, (B, 0.43))

    assert below.probabilities(NOW, [A, B])[0] == pytest.approx(0.9)
    assert above.probabilities(NOW, [A, B])[0] == pytest.approx(0.1)


def test_a_discount_counts_an_actions_own_outcomes() -> None:
    """What other actions earn in between takes nothing off an action's mean."""
    alone = learned(EpsilonGreedySpec(discount=0.5).make(), (A, 1.0), (A, 0.0), (B, 0.34))
    between = learned(EpsilonGreedySpec(discount=0.5).make(), (A, 1.0), *((B, 0.34),) * 20, (A, 0.0))

    assert (alone.probabilities(NOW, [A, B]) == between.probabilities(NOW, [A, B])).all()


def test_a_parents_means_count_as_five_outcomes_at_most() -> None:
    """After 1,000 rewards of 1 in the parent, 6 of 0 in the child take the mean to 5 ÷ 11."""
    parent = learned(EpsilonGreedySpec(initial_reward=0.0).make(), *((A, 1.0),) * 1_000)
    child = EpsilonGreedySpec(initial_reward=0.0).make()
    child.adopt(parent)

    learned(child, *((A, 0.0),) * 6)

    assert learned(child, (B, 5 / 11 - 1e-9)).probabilities(NOW, [A, B])[0] > 0.9
    assert learned(child, (C, 5 / 11 + 1e-9)).probabilities(NOW, [A, C])[0] < 0.1


def test_a_child_explores_from_the_start_and_gives_newcomers_its_parents_mean() -> None:
    """Adopting passes on means, not the number of outcomes that ε has fallen with."""
    spec = EpsilonGreedySpec(epsilon=0.4, decay_after=1.0)
    parent = learned(spec.make(), (A, 1.0), (B, 0.0), (B, 0.5))
    child = spec.make()

    child.adopt(parent)

    assert child.probabilities(NOW, [A, D]) == pytest.approx([0.8, 0.2])
    assert child.probabilities(NOW, [B, D]) == pytest.approx([0.2, 0.8])


def test_only_a_policy_of_the_same_model_is_adopted() -> None:
    """A parent of another kind is a mistake of the caller."""
    with pytest.raises(TypeError):
        EpsilonGreedySpec().make().adopt(FixedSpec().make())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epsilon", 0.0),
        ("epsilon", 1e-7),
        ("epsilon", 1.0001),
        ("epsilon", float("nan")),
        ("initial_reward", float("inf")),
        ("initial_reward", 1.1e9),
        ("discount", 0.4),
        ("discount", 1.1),
        ("discount", float("nan")),
        ("max_actions", 0),
        ("max_actions", 1_000_001),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: float) -> None:
    """A setting out of its range is refused by name."""
    with pytest.raises(InvalidInput) as caught:
        EpsilonGreedySpec(**{field: value})  # type: ignore[arg-type]  # the table mixes the types of the settings

    assert caught.value.field == field
