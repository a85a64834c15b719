"""Mixtures: what they play and learn by hand, what they refuse, and how they start and resume."""

import dataclasses
import struct
from typing import Any

import pytest

from policies import InvalidInput, Outcome, StateInvalid, parse_spec
from policies.mixture import Mixture, MixtureSpec
from policies.state import seal, spec_bytes, unseal
from tests.contract.policies_under_test import actions_of, contexts, folded, outcomes

GREEDY = {"kind": "epsilon_greedy", "epsilon": 0.1, "initial_reward": 0.0}
EVEN = {"kind": "epsilon_greedy", "epsilon": 1.0}
MIXED = {"kind": "mixture", "policies": [GREEDY, EVEN]}
CORRAL = {**MIXED, "model": "corral"}
TYPO = {"kind": "epsilon_greedy", "epsilonn": 0.1}
LENGTH = struct.Struct("<Q")


def made(table: dict[str, Any]) -> Mixture:
    """Return the mixture that a table describes."""
    policy = parse_spec(table).build()
    assert isinstance(policy, Mixture)
    return policy


def learned(table: dict[str, Any], n: int, *, seed: int) -> Mixture:
    """Return the mixture after outcomes of a world in which action 2 is the best."""
    policy = folded(parse_spec(table), list(outcomes(n, seed=seed, best=2)))
    assert isinstance(policy, Mixture)
    return policy


@pytest.fixture(name="clicked")
def _clicked() -> Outcome:
    return Outcome(contexts()[0], actions_of(4), 0, 0.25, 1.0)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        pytest.param(None, [0.5875, 0.1375, 0.1375, 0.1375], id="even"),
        pytest.param([3, 1], [0.75625, 0.08125, 0.08125, 0.08125], id="three to one"),
        pytest.param([0.001, 0.003], [0.41875, 0.19375, 0.19375, 0.19375], id="one to three"),
    ],
)
def test_the_mixed_probabilities_are_what_they_are_by_hand(
    weights: list[float] | None, expected: list[float], clicked: Outcome
) -> None:
    """One policy plays 0.925 and three times 0.025, the other 0.25; the mixture is the weighted sum."""
    policy = folded(parse_spec({**MIXED, "weights": weights}), [clicked])

    vector = policy.probabilities(contexts()[0], actions_of(4))

    assert vector == pytest.approx(expected, abs=1e-12)


def test_every_policy_learns_every_outcome() -> None:
    """Each policy inside ends with the state of one that has learned the same outcomes alone."""
    policy = made({"kind": "mixture", "policies": [GREEDY, {"kind": "vw"}], "model": "corral"})
    log = list(outcomes(60, seed=31))

    for outcome in log:
        policy.learn(outcome)

    for inner, spec in zip(policy._policies, policy._spec.policies, strict=True):
        assert inner.dumps() == folded(spec, log).dumps()


def test_learned_weights_move_by_what_each_would_have_earned(clicked: Outcome) -> None:
    """After rewards of 1 and 0 for the same action the weights are those of the formula with numbers put in."""
    policy = made({**CORRAL, "learning_rate": 1.0})

    policy.learn(clicked)
    after_one = policy.weights
    policy.learn(dataclasses.replace(clicked, propensity=0.5, reward=0.0))

    # A loss of (1 - 0) / (2 × 0.5) = 1 times 0.925 / 0.5 and 0.25 / 0.5. So 1/w is 2 + x + 1.35 and 2 + x, and with
    # b = 2 + x: b² - 0.65 b - 1.35 = 0, which has b = 0.325 + √(0.105625 + 1.35).
    expected = 1 / (0.325 + (0.105625 + 1.35) ** 0.5)
    assert after_one == (0.5, 0.5)
    assert policy.weights == pytest.approx((1 - expected, expected), abs=1e-12)


def test_the_probabilities_follow_the_learned_weights() -> None:
    """What is played is the sum of what each plays times its weight as it is now."""
    policy = learned(CORRAL, 300, seed=32)

    mixed = policy.probabilities(contexts()[0], actions_of(5))

    parts = [inner.probabilities(contexts()[0], actions_of(5)) for inner in policy._policies]
    assert policy.weights[0] > 0.9
    assert mixed == pytest.approx(policy.weights[0] * parts[0] + policy.weights[1] * parts[1], abs=1e-12)


def test_rewards_are_what_all_policies_take() -> None:
    """The range is where all ranges overlap."""
    policies = [{"kind": "thompson", "reward_range": [-1.0, 5.0]}, {"kind": "vw", "reward_max": 3.0}, GREEDY]

    assert made({"kind": "mixture", "policies": policies}).reward_range == (-1.0, 3.0)


@pytest.mark.parametrize("high", [1.0, 2.0])
def test_policies_without_a_common_reward_are_refused(high: float) -> None:
    """Ranges that do not overlap, or touch in one number, are named when the policy is made."""
    policies = [{"kind": "thompson", "reward_range": [0.0, 1.0]}, {"kind": "thompson", "reward_range": [high, 3.0]}]

    with pytest.raises(InvalidInput, match=rf"theirs are 0 to 1, {high:g} to 3$") as caught:
        made({"kind": "mixture", "policies": policies})

    assert caught.value.field == "policies"


@pytest.mark.parametrize(
    ("code", "field", "settings"),
    [
        ("missing_setting", "policies", {}),
        ("setting_out_of_range", "policies", {"policies": []}),
        ("setting_out_of_range", "policies", {"policies": [GREEDY] * 33}),
        ("setting_out_of_range", "policies", {"policies": [{**MIXED, "policies": [GREEDY] * 16}] * 2}),
        ("invalid_type", "policies", {"policies": "vw"}),
        ("invalid_type", "policies", {"policies": GREEDY}),
        ("invalid_type", "policies[1]", {"policies": [GREEDY, "vw"]}),
        ("unknown_kind", "policies[1].kind", {"policies": [GREEDY, {"kind": "magic"}]}),
        ("unknown_kind", "policies[0].kind", {"policies": [{"epsilon": 0.1}]}),
        ("setting_out_of_range", "policies[1].epsilon", {"policies": [GREEDY, {**GREEDY, "epsilon": 2}]}),
        ("unknown_setting", "policies[0].policies[1].epsilonn", {"policies": [{**MIXED, "policies": [EVEN, TYPO]}]}),
        ("unknown_choice", "model", {"policies": [GREEDY], "model": "magic"}),
        ("setting_does_not_apply", "learning_rate", {"policies": [GREEDY], "learning_rate": 0.1}),
        ("setting_does_not_apply", "min_weight", {"policies": [GREEDY], "min_weight": 0.1}),
        ("setting_out_of_range", "learning_rate", {"policies": [GREEDY], "model": "corral", "learning_rate": 0.0}),
        ("setting_out_of_range", "min_weight", {"policies": [GREEDY], "model": "corral", "min_weight": 1.5}),
        ("setting_out_of_range", "weights", {"policies": [GREEDY], "weights": [1, 2]}),
        ("setting_out_of_range", "weights", {"policies": [GREEDY, EVEN], "weights": []}),
        ("setting_out_of_range", "weights[1]", {"policies": [GREEDY, EVEN], "weights": [1, 0]}),
        ("setting_out_of_range", "weights[0]", {"policies": [GREEDY, EVEN], "weights": [1, 120], "model": "corral"}),
        ("setting_out_of_range", "min_probability", {"policies": [GREEDY], "min_probability": 2}),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(code: str, field: str, settings: dict[str, Any]) -> None:
    """What is wrong is said with the path to it, through policies inside policies."""
    with pytest.raises(InvalidInput) as caught:
        parse_spec({"kind": "mixture", **settings})

    assert (caught.value.code, caught.value.field) == (code, field)


def test_defaults_of_the_model_are_written_out() -> None:
    """The settings of the learned weights are numbers in its spec and in the bytes of that, and no one else's."""
    assert parse_spec(CORRAL) == parse_spec({**CORRAL, "learning_rate": 0.5, "min_weight": 0.01})
    assert b'"min_weight":0.01' in spec_bytes(parse_spec(CORRAL))
    assert b'"min_weight":null' in spec_bytes(parse_spec(MIXED))


def test_a_least_weight_beyond_an_even_share_keeps_weights_even() -> None:
    """With three policies and a least weight of 0.6 all weights stay a third."""
    policy = learned({**CORRAL, "policies": [GREEDY, EVEN, EVEN], "min_weight": 0.6}, 50, seed=33)

    assert policy.weights == pytest.approx((1 / 3, 1 / 3, 1 / 3), abs=1e-12)


@pytest.mark.parametrize("table", [MIXED, CORRAL])
def test_each_policy_of_a_child_starts_from_its_like(table: dict[str, Any]) -> None:
    """A child's policies are as if each had adopted alone, and its weights are the parent's."""
    parent = learned(table, 200, seed=34)
    child = made(table)

    child.adopt(parent)

    assert child.weights == parent.weights
    for inner, other, spec in zip(child._policies, parent._policies, parent._spec.policies, strict=True):
        alone = spec.build()
        alone.adopt(other)
        assert inner.dumps() == alone.dumps()


@pytest.mark.parametrize("other", [GREEDY, CORRAL, {**MIXED, "policies": [EVEN, GREEDY]}])
def test_parents_of_another_spec_are_refused(other: dict[str, Any]) -> None:
    """A mixture starts from no policy but one of its own spec, and then nothing has changed."""
    child = made(MIXED)
    before = child.dumps()

    with pytest.raises(TypeError, match="of another spec"):
        child.adopt(parse_spec(other).build())

    assert child.dumps() == before


@pytest.mark.parametrize("table", [MIXED, CORRAL])
def test_states_that_cannot_be_are_refused(table: dict[str, Any]) -> None:
    """A policy missing, cut short or of another spec, or bytes too many, is refused and changes nothing."""
    policy = learned(table, 20, seed=35)
    before = policy.dumps()
    payload = unseal(policy._spec, learned(table, 30, seed=35).dumps())
    size = LENGTH.size + LENGTH.unpack_from(payload)[0]
    first, rest = payload[:size], payload[size:]

    for bad in (b"", payload[:5], first, first + rest[:5], rest + first, payload[:-1], payload + b"\0", first + first):
        with pytest.raises(StateInvalid):
            policy.loads(seal(policy._spec, bad))

    assert policy.dumps() == before


def test_specs_are_counted_at_every_depth() -> None:
    """Sixteen policies and a mixture of fifteen are 32; a sixteenth inside is one too many."""
    inner = parse_spec(GREEDY)

    assert len(MixtureSpec(policies=(inner,) * 16 + (MixtureSpec(policies=(inner,) * 15),)).policies) == 17
    with pytest.raises(InvalidInput):
        MixtureSpec(policies=(inner,) * 16 + (MixtureSpec(policies=(inner,) * 16),))


def test_tables_too_deep_for_the_stack_are_refused() -> None:
    """A table nested a thousand times is an error of ours and not one of Python's."""
    table: dict[str, Any] = GREEDY
    for _ in range(1_000):
        table = {"kind": "mixture", "policies": [table]}

    with pytest.raises(InvalidInput) as caught:
        parse_spec(table)

    assert caught.value.code == "too_deep"
