"""Thompson sampling whose posteriors fade, against arithmetic done by hand."""

import json

import pytest

from policies import Action, Context, InvalidInput, Outcome, Policy
from policies.independent import IndependentThompson
from policies.thompson import ThompsonSpec

NOW = Context.of({})
A, B, C = (Action.of(name) for name in "abc")
EXACT = 3e-5  # error of the quadrature


def learned(policy: Policy, *lessons: tuple[Action, float, int]) -> Policy:
    """Teach the policy each reward so many times."""
    for action, reward, times in lessons:
        for _ in range(times):
            policy.learn(Outcome(context=NOW, actions=[action], chosen=0, propensity=1.0, reward=reward))
    return policy


def test_every_outcome_of_the_lane_takes_its_part_off() -> None:
    """With discount 0.5, a success of A, then two of B, leave 0.25 and 1.5: Beta(1.25, 1) wins 1.25 ÷ 3.75."""
    policy = learned(ThompsonSpec(discount=0.5).make(), (A, 1.0, 1), (B, 1.0, 2))

    assert policy.probabilities(NOW, [A, B]) == pytest.approx([1.25 / 3.75, 2.5 / 3.75], abs=EXACT)


def test_fading_goes_in_steps_of_one_in_a_hundred() -> None:
    """With discount 0.999 ten outcomes are a step: the ninth takes nothing off, the tenth 0.999¹⁰ of all before it."""
    policy = learned(ThompsonSpec(discount=0.999).make(), (A, 1.0, 9))
    nine = policy.probabilities(NOW, [A, C])[0]

    learned(policy, (B, 0.0, 1))

    assert nine == pytest.approx(10 / 11, abs=EXACT)
    successes = 9 * 0.999**10
    assert policy.probabilities(NOW, [A, C])[0] == pytest.approx((successes + 1) / (successes + 2), abs=EXACT)


@pytest.mark.parametrize("model", ["beta", "gaussian"])
def test_what_is_long_past_is_the_prior_again(model: str) -> None:
    """After 2,000 outcomes of another action nothing is left of the first one's."""
    policy = learned(ThompsonSpec(model=model, discount=0.98).make(), (A, 1.0, 50), (B, 0.5, 2_000))

    vector = policy.probabilities(NOW, [A, B, C])

    assert vector[0] == pytest.approx(vector[2], rel=1e-9)


def test_the_gaussian_forgets_number_and_spread_alike() -> None:
    """With discount 0.5, rewards of 1 and 3 of A are half an outcome of 1 and one of 3: mean 7/3, squares 4/3."""
    policy = ThompsonSpec(model="gaussian", discount=0.5).make()
    learned(policy, (A, 1.0, 1), (A, 3.0, 1))
    assert isinstance(policy, IndependentThompson)

    assert policy._statistics_of("a") == pytest.approx((1.5, 7 / 3, 4 / 3))


def test_answers_follow_the_fading() -> None:
    """A list that was asked for before a step is computed anew after it."""
    policy = learned(ThompsonSpec(discount=0.9).make(), (A, 1.0, 30))
    before = policy.probabilities(NOW, [A, C])[0]

    learned(policy, (B, 0.5, 30))

    assert policy.probabilities(NOW, [A, C])[0] < before - 0.1


def test_a_reward_that_turns_is_followed() -> None:
    """After 1,000 outcomes the other way round a fading policy has turned, and one that keeps all has not."""
    good, bad = [1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]
    log = [(A, good[i % 4], 1) if i % 2 else (B, bad[i // 2 % 4], 1) for i in range(2_000)]
    log += [(A, bad[i % 4], 1) if i % 2 else (B, good[i // 2 % 4], 1) for i in range(1_000)]

    forgetful = learned(ThompsonSpec(discount=0.99).make(), *log)
    steady = learned(ThompsonSpec().make(), *log)

    assert forgetful.probabilities(NOW, [A, B])[1] > 0.95
    assert steady.probabilities(NOW, [A, B])[0] > 0.95


def test_the_step_of_the_last_lesson_is_part_of_the_state() -> None:
    """A state holds the number of outcomes and, per action, its statistics and the step that they are of."""
    policy = learned(ThompsonSpec(discount=0.999).make(), (A, 1.0, 12), (B, 0.0, 10))

    lines = policy.dumps().split(b"\n")[-3:]

    assert json.loads(lines[0]) == [22.0]
    assert [(row[0], row[-1]) for row in json.loads(lines[2])] == [("a", 1.0), ("b", 2.0)]


@pytest.mark.parametrize("discount", [0.49, 1.01, float("nan")])
def test_a_discount_out_of_range_is_refused(discount: float) -> None:
    """Less than half, or more than all, cannot be what is left of an outcome."""
    with pytest.raises(InvalidInput) as caught:
        ThompsonSpec(discount=discount)

    assert caught.value.field == "discount"
