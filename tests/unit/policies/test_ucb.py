"""UCB1 against arithmetic done by hand."""

import math

import pytest

from policies import Action, Context, InvalidInput, Outcome, Policy
from policies.fixed import FixedSpec
from policies.ucb import UcbSpec

NOW = Context.of({})
A, B, C, D = (Action.of(name) for name in "abcd")
CLICKS = UcbSpec(reward_range=(0.0, 1.0), min_probability=0.0)


def learned(policy: Policy, *lessons: tuple[Action, float, int]) -> Policy:
    """Teach the policy each reward so many times."""
    for action, reward, times in lessons:
        for _ in range(times):
            policy.learn(Outcome(context=NOW, actions=[action], chosen=0, propensity=1.0, reward=reward))
    return policy


def plays(policy: Policy, *actions: Action) -> list[float]:
    """Return the probabilities of some actions."""
    return [float(probability) for probability in policy.probabilities(NOW, actions)]


def test_what_was_never_learned_is_played_first_and_evenly() -> None:
    """Two actions without an outcome share all, however good a third one is."""
    policy = learned(CLICKS.build(), (A, 1.0, 5))

    assert plays(policy, A, B, C) == [0.0, 0.5, 0.5]


def test_equal_bounds_share_evenly() -> None:
    """Actions with the same history get the same."""
    policy = learned(CLICKS.build(), *((action, reward, 2) for action in (A, B, C) for reward in (0.0, 1.0)))

    assert plays(policy, A, B, C) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(("hits", "expected"), [(26, [0.0, 1.0]), (27, [1.0, 0.0])])
def test_the_bound_is_that_of_auer_cesa_bianchi_and_fischer(hits: int, expected: list[float]) -> None:
    """With n = 40 and 10 of N = 50 the bounds differ by √(2 log 50) × (1/√10 − 1/√40) = 0.4423: 0.225 + it = 0.6673.

    The means are hits ÷ 40 and 0.225 (2.25 of 10, in rewards of 0.225): 26 hits are 0.65, 27 are 0.675.
    """
    policy = learned(CLICKS.build(), (A, 1.0, hits), (A, 0.0, 40 - hits), (B, 0.225, 10))

    assert math.sqrt(2 * math.log(50)) * (1 / math.sqrt(10) - 1 / math.sqrt(40)) == pytest.approx(0.4423, abs=1e-4)
    assert plays(policy, A, B) == expected


def test_without_a_range_the_standard_deviation_is_the_unit() -> None:
    """A log of rewards × 1,000 + 5,000 is played as the log itself."""
    lessons = [(A, 0.3, 9), (A, 0.9, 4), (B, 0.5, 3), (C, 0.1, 2), (C, 1.0, 2)]
    for i in range(1, len(lessons) + 1):
        plain = learned(UcbSpec().build(), *lessons[:i])
        scaled = learned(UcbSpec().build(), *((action, 1_000 * r + 5_000, n) for action, r, n in lessons[:i]))

        assert plays(plain, A, B, C) == plays(scaled, A, B, C)


@pytest.mark.parametrize(("alpha", "expected"), [(0.1, [1.0, 0.0]), (10.0, [0.0, 1.0])])
def test_alpha_decides_between_the_best_and_the_least_known(alpha: float, expected: list[float]) -> None:
    """A narrow bound plays the better mean, a wide one the action with fewer outcomes."""
    spec = UcbSpec(alpha=alpha, min_probability=0.0)
    policy = learned(spec.build(), (A, 1.0, 60), (A, 0.0, 40), (B, 1.0, 5), (B, 0.0, 5))

    assert plays(policy, A, B) == expected


def test_rewards_that_are_all_alike_tell_nothing_apart() -> None:
    """Without any spread and without a range all known actions share evenly."""
    policy = learned(UcbSpec(min_probability=0.0).build(), (A, 2.0, 5), (B, 2.0, 1))

    assert plays(policy, A, B) == [0.5, 0.5]


def test_the_floor_is_added_unless_it_is_taken_away() -> None:
    """By default every action is played one time in a thousand, so that the log can be evaluated."""
    assert plays(learned(UcbSpec().build(), (A, 1.0, 1)), A, B) == pytest.approx([0.001, 0.999])


def test_a_discount_brings_an_action_back_that_was_not_played() -> None:
    """With discount 0.9, 60 outcomes of another action leave less than a thousandth of an outcome: as if unseen."""
    forgetful = learned(UcbSpec(discount=0.9, min_probability=0.0).build(), (B, 0.0, 1), (A, 1.0, 66))
    steady = learned(UcbSpec(min_probability=0.0).build(), (B, 0.0, 1), (A, 1.0, 66))

    assert plays(forgetful, A, B) == [0.0, 1.0]
    assert plays(steady, A, B) == [1.0, 0.0]


def test_a_discount_weighs_late_rewards_more() -> None:
    """With discount 0.5, 1 then 0 has the mean 1/3 and 0 then 1 the mean 2/3; two of each action are in N and n."""
    spec = UcbSpec(alpha=0.0, discount=0.5, min_probability=0.0)

    rising = learned(spec.build(), (B, 0.5, 1), (A, 0.0, 1), (A, 1.0, 1))
    falling = learned(spec.build(), (B, 0.5, 1), (A, 1.0, 1), (A, 0.0, 1))

    assert plays(rising, A, B) == [1.0, 0.0]
    assert plays(falling, A, B) == [0.0, 1.0]


def test_a_forgotten_action_is_a_newcomer_again() -> None:
    """With room for two, the action learned from least recently is tried again first."""
    policy = learned(UcbSpec(max_actions=2, min_probability=0.0).build(), (A, 1.0, 1), (B, 0.0, 1), (C, 0.0, 1))

    assert plays(policy, A, B, C) == [1.0, 0.0, 0.0]


def test_a_parents_word_counts_as_five_outcomes_at_most() -> None:
    """A child of 500 rewards of 1 for A and 2 of 0.5 for B bounds them as 5 and 2 outcomes of 7."""
    spec = UcbSpec(reward_range=(0.0, 1.0), min_probability=0.0)
    parent = learned(spec.make(), (A, 1.0, 500), (B, 0.5, 2))
    child = spec.make()
    by_hand = learned(spec.make(), (A, 1.0, 5), (B, 0.5, 2))

    child.adopt(parent)

    for lesson in ((A, 0.0, 1), (B, 1.0, 1), (C, 0.5, 1), (A, 0.0, 3), (B, 0.0, 2)):
        assert plays(child, A, B) == plays(by_hand, A, B)
        assert plays(child, A, B, D) == [0.0, 0.0, 1.0]
        learned(child, lesson)
        learned(by_hand, lesson)


def test_a_parent_passes_on_its_unit_too() -> None:
    """With the parent's spread of 0.4, √(2 log 7) × 0.4 = 0.8 lifts 0.8 of 5 outcomes to 1.15 and 0.65 of 2 to 1.2."""
    parent = learned(UcbSpec(min_probability=0.0).make(), (A, 1.0, 80), (A, 0.0, 20), (B, 1.0, 1), (B, 0.3, 1))
    child = UcbSpec(min_probability=0.0).make()

    child.adopt(parent)

    assert plays(child, A, B) == [0.0, 1.0]


def test_an_empty_parent_passes_on_nothing() -> None:
    """A child of a parent without outcomes is as one without a parent."""
    child = UcbSpec().build()
    child.adopt(UcbSpec().build())

    assert child.dumps() == UcbSpec().build().dumps()


def test_only_a_policy_of_the_same_model_is_adopted() -> None:
    """A parent of another kind is a mistake of the caller."""
    with pytest.raises(TypeError):
        UcbSpec().make().adopt(FixedSpec().make())


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("alpha", {"alpha": -0.1}),
        ("alpha", {"alpha": math.nan}),
        ("discount", {"discount": 0.0}),
        ("reward_range", {"reward_range": (1.0, 0.0)}),
        ("reward_range", {"reward_range": (0.0, 1.0, 2.0)}),
        ("reward_range", {"reward_range": (0.0, 2e9)}),
        ("max_actions", {"max_actions": 0}),
        ("min_probability", {"min_probability": 1.1}),
    ],
)
def test_settings_out_of_range_are_refused(field: str, settings: dict[str, object]) -> None:
    """A setting out of its range is refused by name."""
    with pytest.raises(InvalidInput) as caught:
        UcbSpec(**settings)  # type: ignore[arg-type]  # the table mixes the types of the settings

    assert caught.value.field == field


@pytest.mark.parametrize("reward", [-1e9, 0.0, 1e-300, 1e9])
def test_any_reward_leaves_a_distribution(reward: float) -> None:
    """Bounds stay finite, from the least to the largest reward."""
    policy = learned(UcbSpec(alpha=1_000.0).build(), (A, reward, 1), (B, -reward, 30), (A, 1e9, 2))

    assert sum(plays(policy, A, B)) == pytest.approx(1.0)
