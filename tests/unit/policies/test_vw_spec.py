"""The settings of the vw policy: what is refused, what is filled in, what VW makes of them."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.errors import InvalidInput
from policies.features import Action, Context
from policies.registry import parse_spec, spec_fields
from policies.vw import VwSpec
from policies.vw_exploration import EXPLORATIONS, RANGES
from policies.vw_model import layout_of

_ROOT = Path(__file__).parents[3]
_CONTEXT = Context.of({"device": "ios"})
_ACTIONS = [Action.of("a"), Action.of("b")]


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        pytest.param("exploration", {"exploration": "regcbopt2"}, id="unknown exploration"),
        pytest.param("cb_type", {"exploration": "epsilon", "cb_type": "sm"}, id="cb_type that picks wrong actions"),
        pytest.param("cb_type", {"cb_type": "dr"}, id="cb_type that squarecb has not"),
        pytest.param("cb_type", {"exploration": "cover", "cb_type": "dm"}, id="cb_type that cover has not"),
        pytest.param("n_models", {"exploration": "bag", "n_models": 0}, id="bag of none, which ends the process"),
        pytest.param("n_models", {"exploration": "cover", "n_models": 0}, id="cover of none, which answers NaN"),
        pytest.param("n_models", {"exploration": "bag", "n_models": 101}, id="bag of too many"),
        pytest.param("n_models", {"n_models": 3}, id="n_models for squarecb"),
        pytest.param("greedify", {"exploration": "cover", "greedify": True}, id="greedify for cover"),
        pytest.param("psi", {"exploration": "synthcover", "psi": 0.0}, id="psi of 0"),
        pytest.param("mellowness", {"exploration": "regcb", "mellowness": float("nan")}, id="mellowness of NaN"),
        pytest.param("n_first", {"exploration": "first", "n_first": 0}, id="first of none"),
        pytest.param("rnd_alpha", {"exploration": "rnd", "rnd_alpha": 0.0}, id="rnd_alpha of 0"),
        pytest.param("exploration", {"exploration": "squarecb --bag 0"}, id="options inside a setting"),
        pytest.param("gamma_scale", {"gamma_scale": 0.0}, id="gamma_scale of 0"),
        pytest.param("gamma_scale", {"gamma_scale": float("nan")}, id="gamma_scale of NaN"),
        pytest.param("gamma_scale", {"exploration": "epsilon", "gamma_scale": 10.0}, id="gamma_scale for epsilon"),
        pytest.param("epsilon", {"exploration": "epsilon", "epsilon": 0.0}, id="epsilon of 0"),
        pytest.param("epsilon", {"exploration": "epsilon", "epsilon": 1.1}, id="epsilon over 1"),
        pytest.param("epsilon", {"exploration": "softmax", "epsilon": 0.0}, id="softmax that may play 0"),
        pytest.param("softmax_lambda", {"exploration": "softmax", "softmax_lambda": -1.0}, id="negative lambda"),
        pytest.param("softmax_lambda", {"softmax_lambda": 1.0}, id="lambda for squarecb"),
        pytest.param("interactions[0]", {"interactions": ("sab",)}, id="unknown namespace"),
        pytest.param("interactions[0]", {"interactions": ("",)}, id="empty interaction"),
        pytest.param("numbers", {"numbers": "scaled"}, id="unknown way with numbers"),
        pytest.param("interactions[0]", {"interactions": ("sa --bag 0",)}, id="options inside an interaction"),
        pytest.param("interactions[1]", {"interactions": ("sa", "sa")}, id="repeated interaction"),
        pytest.param("learning_rate", {"learning_rate": 0.0}, id="learning_rate of 0"),
        pytest.param("learning_rate", {"learning_rate": float("inf")}, id="infinite learning_rate"),
        pytest.param("power_t", {"power_t": -0.5}, id="negative power_t"),
        pytest.param("bits", {"bits": 33}, id="more bits than VW has"),
        pytest.param("bits", {"bits": 9}, id="too few bits"),
        pytest.param("reward_min", {"reward_min": float("-inf")}, id="infinite reward_min"),
        pytest.param("reward_max", {"reward_max": 1e10}, id="reward_max beyond any request"),
        pytest.param("reward_max", {"reward_min": 1.0, "reward_max": 1.0}, id="empty reward range"),
    ],
)
def test_a_bad_setting_is_refused_by_name(field: str, settings: dict[str, Any]) -> None:
    """A setting out of range, or of another exploration, is refused before VW sees it, and named."""
    with pytest.raises(InvalidInput) as refused:
        VwSpec(**settings)

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("bits", {"bits": 18.5}),
        ("bits", {"bits": 18.0}),
        ("n_models", {"exploration": "bag", "n_models": 2.5}),
        ("marginal", {"marginal": "no"}),
        ("gamma_scale", {"gamma_scale": True}),
        ("learning_rate", {"learning_rate": np.float64(0.5)}),
        ("learning_rate", {"learning_rate": None}),
        ("interactions", {"interactions": "sa"}),
        ("interactions[0]", {"interactions": (1,)}),
        ("window", {"window": 2.5}),
        ("min_probability", {"min_probability": "0"}),
    ],
    ids=str,
)
def test_a_setting_of_another_type_is_refused_by_name(field: str, settings: dict[str, Any]) -> None:
    """A spec made in Python holds its settings to their types as one out of a configuration does."""
    with pytest.raises(InvalidInput) as refused:
        VwSpec(**settings)

    assert (refused.value.field, refused.value.code) == (field, "invalid_type")


def test_equal_settings_are_equal_specs() -> None:
    """A whole number given for a float is one, and a list given for a tuple: VW gets the same text."""
    given: dict[str, Any] = {"gamma_scale": 10, "interactions": ["sa"], "reward_min": -5}
    spec, same = VwSpec(**given), VwSpec(gamma_scale=10.0, interactions=("sa",), reward_min=-5.0)

    assert spec == same
    assert spec.arguments() == same.arguments()


def test_the_default_is_squarecb_with_every_default_written_out() -> None:
    """``{kind = "vw"}`` is squarecb, and its spec holds the numbers that it runs with."""
    spec = parse_spec({"kind": "vw"})

    assert isinstance(spec, VwSpec)
    assert dataclasses.asdict(spec) == {
        "min_probability": 0.0,
        "window": None,
        "exploration": "squarecb",
        "cb_type": "mtr",
        "epsilon": 0.001,
        "gamma_scale": 10.0,
        "softmax_lambda": None,
        "n_first": None,
        "n_models": None,
        "greedify": None,
        "psi": None,
        "mellowness": None,
        "rnd_alpha": None,
        "rnd_invlambda": None,
        "interactions": ("sa",),
        "numbers": "standardised",
        "learning_rate": 1.0,
        "power_t": 0.5,
        "bits": 18,
        "marginal": False,
        "options": "",
        "reward_min": -1000.0,
        "reward_max": 1000.0,
    }


@pytest.mark.parametrize("exploration", EXPLORATIONS)
def test_a_spec_that_was_written_out_reads_back_equal(exploration: str) -> None:
    """What a spec writes out describes the same spec again."""
    spec = VwSpec(exploration=exploration)

    assert parse_spec({"kind": "vw", **dataclasses.asdict(spec)}) == spec


def test_the_reward_range_is_that_of_the_spec() -> None:
    """The policy says at the edge which rewards its spec allows."""
    assert VwSpec(reward_min=-3.0, reward_max=7.0).build().reward_range == (-3.0, 7.0)


def test_settings_at_their_limits_never_cost_a_process() -> None:
    """At the ends of every range VW starts, predicts a distribution and learns, in a process of its own."""
    code = """
import math
from policies.features import Action, Context
from policies.protocol import Outcome
from policies.vw import VwSpec
from policies.vw_exploration import EXPLORATIONS, RANGES
from policies.vw_model import layout_of

actions, n_seen = [Action.of("a"), Action.of("b"), Action.of("c")], 0
extremes = [
    {"learning_rate": 1e-3}, {"learning_rate": 100.0},
    {"power_t": 0.0}, {"power_t": 1.0}, {"bits": 10}, {"bits": 24}, {"interactions": ()},
    {"interactions": ("ss", "sa", "aa")}, {"marginal": True},
]
for exploration, about in EXPLORATIONS.items():
    for name in about.defaults:
        for end in RANGES.get(name, ()):
            extremes += [{"exploration": exploration, name: end, "cb_type": t} for t in about.cb_types]
for settings in extremes:
    vw = VwSpec(**settings).build()
    for i, reward in enumerate([0.0, 1.0, -1000.0, 1000.0] * 5):
        context = Context.of({"x": 1e9 if i % 3 else -0.5})
        vw.learn(Outcome(context, actions, i % 3, 1e-9, reward))
        played = vw.probabilities(context, actions)
        assert abs(math.fsum(played) - 1) < 1e-5 and played.min() > 0, (settings, i, played)
    n_seen += 1
assert n_seen > 100
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=_ROOT, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_every_exploration_has_its_settings_within_their_ranges() -> None:
    """Every default lies in the range of its setting, and every setting with a range belongs to an exploration."""
    named = {name for exploration in EXPLORATIONS.values() for name in exploration.defaults}

    assert named == {*RANGES, "greedify"}
    for exploration in EXPLORATIONS.values():
        for name, value in exploration.defaults.items():
            low, high = RANGES.get(name, (False, True))
            assert low <= value <= high


def test_every_setting_is_of_a_type_that_a_configuration_can_hold() -> None:
    """The registry finds a plain type for every setting."""
    assert set(map(str, spec_fields(VwSpec).values())) == {
        "<class 'str'>",
        "<class 'int'>",
        "<class 'float'>",
        "<class 'bool'>",
        "bool | None",
        "float | None",
        "int | None",
        "tuple[str, ...]",
    }


@pytest.mark.parametrize("exploration", EXPLORATIONS)
def test_untrained_is_uniform(exploration: str) -> None:
    """Before any outcome every action is as likely as every other."""
    played = VwSpec(exploration=exploration).build().probabilities(_CONTEXT, _ACTIONS)

    assert played.tolist() == pytest.approx([0.5, 0.5], abs=1e-7)
    assert played.dtype == float


@pytest.mark.parametrize(
    ("exploration", "cb_type"),
    [(name, cb_type) for name, exploration in EXPLORATIONS.items() for cb_type in exploration.cb_types],
)
def test_each_model_has_as_many_weights(exploration: str, cb_type: str) -> None:
    """The table that several models share grows with their number: what we count is what VW's file says."""
    spec = VwSpec(exploration=exploration, cb_type=cb_type, bits=12)
    n_models = layout_of(spec.arguments()).n_models

    assert EXPLORATIONS[exploration].count_models(cb_type, spec.n_models) == n_models
    assert f"--bit_precision {12 + (n_models - 1).bit_length()} " in spec.arguments()


def test_all_models_share_the_largest_table() -> None:
    """A hundred models of 2^24 weights get 2^24 weights together, 256 MB."""
    assert "--bit_precision 24 " in VwSpec(exploration="bag", n_models=100, bits=24).arguments()
