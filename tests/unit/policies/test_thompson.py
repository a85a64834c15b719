"""Thompson sampling against arithmetic done by hand."""

import math
from typing import Any

import pytest

from policies import Action, Context, InvalidInput, Outcome, independent
from policies.independent import IndependentThompson
from policies.thompson import ThompsonSpec

NOW = Context.of({})
A, B, C, D = (Action.of(name) for name in "abcd")
FLOOR = 1e-6  # of every probability, as n-th part of it
EXACT = 3e-5  # error of the quadrature


def made(model: str = "beta", **settings: Any) -> IndependentThompson:
    """Return the policy of a spec."""
    policy = ThompsonSpec(model=model, **settings).make()
    assert isinstance(policy, IndependentThompson)
    return policy


def learned(policy: IndependentThompson, *lessons: tuple[Action, float, int]) -> IndependentThompson:
    """Teach the policy each reward so many times."""
    for action, reward, times in lessons:
        for _ in range(times):
            policy.learn(Outcome(context=NOW, actions=[action], chosen=0, propensity=1.0, reward=reward))
    return policy


@pytest.mark.parametrize("model", ["beta", "gaussian"])
@pytest.mark.parametrize("n_actions", [1, 2, 3, 50, 1_000])
def test_a_cold_start_is_uniform(model: str, n_actions: int) -> None:
    """Actions that nothing tells apart get the same probability, to 1e-12."""
    actions = [Action.of(str(i)) for i in range(n_actions)]

    vector = made(model=model).probabilities(NOW, actions)

    assert vector == pytest.approx([1 / n_actions] * n_actions, abs=1e-12)


@pytest.mark.parametrize("model", ["beta", "gaussian"])
def test_equal_lessons_give_equal_probabilities(model: str) -> None:
    """Four actions with the same history get a quarter each."""
    policy = learned(made(model=model), *((action, r, 3) for action in (A, B, C, D) for r in (0.0, 1.0)))

    assert policy.probabilities(NOW, [A, B, C, D]) == pytest.approx([0.25] * 4, abs=1e-12)


@pytest.mark.parametrize("successes", [(1, 2, 5), (99, 119, 129), (0, 0, 1), (1, 30, 1_000)])
def test_powers_of_the_uniform_have_exact_probabilities(successes: tuple[int, int, int]) -> None:
    """Beta(s, 1) has F = x^s, so P(i is best) = s_i ÷ Σ s; the unseen one is Beta(1, 1)."""
    policy = made(prior_mean=0.5, prior_weight=2.0)
    learned(policy, *((action, 1.0, n) for action, n in zip((A, B, C), successes, strict=True)))
    weights = [n + 1 for n in (*successes, 0)]

    vector = policy.probabilities(NOW, [A, B, C, D])

    assert vector == pytest.approx([w / sum(weights) for w in weights], abs=EXACT)


def test_unseen_actions_share_alike_wherever_they_stand() -> None:
    """Beta(3, 1) against three unseen: 3/6 and 1/6 each, in the order asked for."""
    policy = learned(made(), (B, 1.0, 2))

    vector = policy.probabilities(NOW, [A, B, C, D])

    assert vector == pytest.approx([1 / 6, 3 / 6, 1 / 6, 1 / 6], abs=EXACT)
    assert vector[0] == vector[2] == vector[3]


def test_fractions_count_as_parts_of_a_success() -> None:
    """Four rewards of 0.25 are one success and three failures."""
    parts = learned(made(), (A, 0.25, 4))
    whole = learned(made(), (A, 1.0, 1), (A, 0.0, 3))

    assert parts.dumps() == whole.dumps()


def test_the_reward_range_scales_beta() -> None:
    """Rewards of -5 to 15 are learned as 0 to 1, and the prior mean is their middle."""
    wide = learned(made(reward_range=(-5.0, 15.0)), (A, 15.0, 2), (B, 0.0, 4))
    plain = learned(made(), (A, 1.0, 2), (B, 0.25, 4))

    assert wide.reward_range == (-5.0, 15.0)
    assert (wide.probabilities(NOW, [A, B, C]) == plain.probabilities(NOW, [A, B, C])).all()


def test_the_gaussian_posterior_is_students_t() -> None:
    """Against an action known to be 0.1, an unseen t with 2 degrees of freedom and scale 1/√2 wins 1 - F(0.1)."""
    policy = made(model="gaussian")
    for i in range(100_000):
        policy.learn(Outcome(context=NOW, actions=[A], chosen=0, propensity=1.0, reward=0.0 if i % 2 else 0.2))
    x = 0.1 * math.sqrt(2.0)
    wins = 0.5 - x / (2.0 * math.sqrt(2.0 + x * x))

    vector = policy.probabilities(NOW, [A, B])

    assert vector == pytest.approx([1.0 - wins, wins], abs=1e-4)


def test_the_normal_inverse_gamma_update_is_right() -> None:
    """After 1 and 3 with weight 2 and sd 1: middle 1, spread 2 + 2 + 4 = 8, scale √8 ÷ 4, 4 degrees of freedom."""
    policy = learned(made(model="gaussian"), (A, 1.0, 1), (A, 3.0, 1))
    mirrored = learned(made(model="gaussian"), (A, -1.0, 1), (A, -3.0, 1))

    posterior, reflected = policy._posterior("a"), mirrored._posterior("a")

    ((middle, factor, power, log_factor),) = posterior.components
    assert (middle, power) == (1.0, -2.5)
    assert factor == pytest.approx(1.0 / (math.sqrt(8.0) / 4.0 * math.sqrt(4.0)))
    assert reflected.components == ((-1.0, factor, -2.5, log_factor),)


def test_the_certain_loser_keeps_its_floor() -> None:
    """An action that cannot win any more is still played one time in a million, shared evenly."""
    policy = learned(made(), (A, 1.0, 20_000), (B, 0.0, 20_000))

    vector = policy.probabilities(NOW, [A, B])

    assert vector == pytest.approx([1.0 - FLOOR / 2, FLOOR / 2], abs=1e-15)


def test_one_lesson_is_seen_by_the_next_prediction() -> None:
    """Cached probabilities do not outlive the outcome that changes them, nor a load."""
    policy = made()
    empty = policy.dumps()
    before = policy.probabilities(NOW, [A, B])

    learned(policy, (A, 1.0, 1))

    assert policy.probabilities(NOW, [A, B]) == pytest.approx([2 / 3, 1 / 3], abs=EXACT)
    policy.loads(empty)
    assert (policy.probabilities(NOW, [A, B]) == before).all()


def test_what_a_caller_gets_cannot_be_written_to() -> None:
    """The cached vector is read-only, so that no caller changes another's answer."""
    vector = made().probabilities(NOW, [A, B])

    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 1.0


def test_a_forgotten_action_is_a_newcomer_again() -> None:
    """With room for two, the action learned from least recently falls back to the prior."""
    policy = learned(made(max_actions=2), (A, 1.0, 9), (B, 1.0, 1))
    policy.probabilities(NOW, [A, B])

    learned(policy, (C, 1.0, 2))

    assert policy.probabilities(NOW, [A, D]) == pytest.approx([0.5, 0.5], abs=1e-9)
    assert policy.probabilities(NOW, [B, C]) == pytest.approx([2 / 5, 3 / 5], abs=EXACT)


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many lists and actions are asked for, only so many answers are kept, and they stay right."""
    monkeypatch.setattr(independent, "_CACHED_POSTERIORS", 10)
    policy = made()
    actions = [Action.of(str(i)) for i in range(600)]

    learned(policy, *((action, 1.0, 1) for action in actions))

    for i in range(599):
        assert policy.probabilities(NOW, actions[i : i + 2]) == pytest.approx([0.5, 0.5], abs=1e-12)

    assert len(policy._vectors) <= 256
    assert len(policy._posteriors) <= 10


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("model", {"model": "normal"}),
        ("prior_weight", {"prior_weight": 0.5}),
        ("prior_weight", {"prior_weight": math.nan}),
        ("prior_mean", {"prior_mean": 0.0}),
        ("prior_mean", {"prior_mean": 1.0}),
        ("prior_mean", {"prior_mean": math.nan}),
        ("prior_mean", {"model": "gaussian", "prior_mean": math.inf}),
        ("prior_sd", {"prior_sd": 1.0}),
        ("prior_sd", {"model": "gaussian", "prior_sd": 0.0}),
        ("reward_range", {"reward_range": (1.0, 1.0)}),
        ("reward_range", {"reward_range": (0.0,)}),
        ("reward_range", {"reward_range": (0.0, math.inf)}),
        ("max_actions", {"max_actions": 0}),
    ],
)
def test_settings_out_of_range_are_refused(field: str, settings: dict[str, object]) -> None:
    """A setting that is out of range, or that the model does not have, is refused by name."""
    with pytest.raises(InvalidInput) as caught:
        ThompsonSpec(**settings)  # type: ignore[arg-type]  # the table mixes the types of the settings

    assert caught.value.field == field


@pytest.mark.parametrize("weight", [1.0, 2.0, 1e6])
@pytest.mark.parametrize("reward", [-1e9, -3.0, 0.0, 1e-9, 1e9])
def test_any_reward_leaves_a_distribution(weight: float, reward: float) -> None:
    """The Gaussian model stays finite from the least to the largest reward."""
    policy = learned(made(model="gaussian", prior_weight=weight), (A, reward, 1), (B, reward, 50))

    vector = policy.probabilities(NOW, [A, B, C])

    assert vector.min() > 0.0
    assert vector.sum() == pytest.approx(1.0, abs=1e-9)
