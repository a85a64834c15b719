"""Specs from tables of settings."""

import math
from typing import Any

import pytest

from policies import KINDS, InvalidInput, parse_spec
from policies.epsilon_greedy import EpsilonGreedySpec
from policies.thompson import ThompsonSpec


def test_defaults_are_filled_in() -> None:
    """A kind alone is a whole spec, but for the one that is nothing without others."""
    alone = set(KINDS) - {"mixture"}

    assert {parse_spec({"kind": kind}).kind for kind in alone} == alone


def test_whole_numbers_pass_for_floats() -> None:
    """TOML's 1 is as good as 1.0 where a float is meant."""
    spec = parse_spec({"kind": "epsilon_greedy", "epsilon": 1, "initial_reward": 2})

    assert spec == EpsilonGreedySpec(epsilon=1.0, initial_reward=2.0)
    assert isinstance(spec, EpsilonGreedySpec)
    assert type(spec.epsilon) is type(spec.initial_reward) is float


def test_lists_become_tuples() -> None:
    """A list in the table is a tuple in the spec, its numbers floats."""
    assert parse_spec({"kind": "thompson", "reward_range": [0, 5]}) == ThompsonSpec(reward_range=(0.0, 5.0))


@pytest.mark.parametrize(
    ("code", "field", "table"),
    [
        ("unknown_kind", "kind", {}),
        ("unknown_kind", "kind", {"kind": "magic"}),
        ("unknown_kind", "kind", {"kind": ["vw"]}),
        ("unknown_kind", "kind", {"kind": 10**5000}),
        ("unknown_setting", "epsilonn", {"kind": "epsilon_greedy", "epsilonn": 0.1}),
        ("invalid_type", "", {"kind": "epsilon_greedy", 5: 0.1}),
        ("invalid_type", "policies[1]", {"kind": "mixture", "policies": [{"kind": "uniform"}, {"kind": "vw", 5: 0.1}]}),
        ("invalid_type", "epsilon", {"kind": "epsilon_greedy", "epsilon": "0.1"}),
        ("invalid_type", "epsilon", {"kind": "epsilon_greedy", "epsilon": True}),
        ("invalid_type", "max_actions", {"kind": "epsilon_greedy", "max_actions": 10.0}),
        ("invalid_type", "reward_range", {"kind": "thompson", "reward_range": 5.0}),
        ("invalid_type", "reward_range[1]", {"kind": "thompson", "reward_range": [0.0, "5"]}),
        ("setting_out_of_range", "epsilon", {"kind": "epsilon_greedy", "epsilon": math.nan}),
        ("setting_out_of_range", "epsilon", {"kind": "epsilon_greedy", "epsilon": 10**400}),
    ],
)
def test_bad_tables_are_refused(code: str, field: str, table: dict[Any, Any]) -> None:
    """What is wrong with a table is said with the setting's name."""
    with pytest.raises(InvalidInput) as caught:
        parse_spec(table)

    assert (caught.value.code, caught.value.field) == (code, field)
