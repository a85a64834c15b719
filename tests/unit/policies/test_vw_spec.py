"""The settings of the vw policy: what is refused, what is filled in, what VW makes of them."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from policies.errors import InvalidInput
from policies.features import Action, Context
from policies.registry import parse_spec, spec_fields
from policies.vw import VwSpec

_ROOT = Path(__file__).parents[3]
_CONTEXT = Context.of({"device": "ios"})
_ACTIONS = [Action.of("a"), Action.of("b")]


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        pytest.param("exploration", {"exploration": "bag"}, id="exploration that is not resumable"),
        pytest.param("exploration", {"exploration": "squarecb --bag 0"}, id="options inside a setting"),
        pytest.param("gamma_scale", {"gamma_scale": 0.0}, id="gamma_scale of 0"),
        pytest.param("gamma_scale", {"gamma_scale": float("nan")}, id="gamma_scale of NaN"),
        pytest.param("gamma_scale", {"exploration": "epsilon", "gamma_scale": 10.0}, id="gamma_scale for epsilon"),
        pytest.param("epsilon", {"exploration": "epsilon", "epsilon": 0.0}, id="epsilon of 0"),
        pytest.param("epsilon", {"exploration": "epsilon", "epsilon": 1.1}, id="epsilon over 1"),
        pytest.param("epsilon", {"epsilon": 0.1}, id="epsilon for squarecb"),
        pytest.param("epsilon", {"exploration": "softmax", "epsilon": 0.0}, id="softmax that may play 0"),
        pytest.param("softmax_lambda", {"exploration": "softmax", "softmax_lambda": -1.0}, id="negative lambda"),
        pytest.param("softmax_lambda", {"softmax_lambda": 1.0}, id="lambda for squarecb"),
        pytest.param("interactions[0]", {"interactions": ("sab",)}, id="unknown namespace"),
        pytest.param("interactions[0]", {"interactions": ("",)}, id="empty interaction"),
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


def test_the_default_is_squarecb_with_every_default_written_out() -> None:
    """``{kind = "vw"}`` is squarecb, and its spec holds the numbers that it runs with."""
    spec = parse_spec({"kind": "vw"})

    assert isinstance(spec, VwSpec)
    assert dataclasses.asdict(spec) == {
        "min_probability": 0.0,
        "window": None,
        "exploration": "squarecb",
        "gamma_scale": 10.0,
        "epsilon": None,
        "softmax_lambda": None,
        "interactions": ("sa",),
        "learning_rate": 1.0,
        "power_t": 0.5,
        "bits": 18,
        "reward_min": -1000.0,
        "reward_max": 1000.0,
    }


@pytest.mark.parametrize("exploration", ["squarecb", "epsilon", "softmax"])
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

actions, n_seen = [Action.of("a"), Action.of("b")], 0
extremes = [
    {"gamma_scale": 0.01}, {"gamma_scale": 1e5}, {"learning_rate": 1e-3}, {"learning_rate": 100.0},
    {"power_t": 0.0}, {"power_t": 1.0}, {"bits": 10}, {"bits": 24}, {"interactions": ()},
    {"interactions": ("ss", "sa", "aa")}, {"exploration": "epsilon", "epsilon": 1e-6},
    {"exploration": "epsilon", "epsilon": 1.0}, {"exploration": "softmax", "softmax_lambda": 0.01},
    {"exploration": "softmax", "softmax_lambda": 1e3, "epsilon": 1e-6},
]
for settings in extremes:
    vw = VwSpec(**settings).build()
    for i, reward in enumerate([0.0, 1.0, -1000.0, 1000.0] * 5):
        context = Context.of({"x": 1e9 if i % 3 else -0.5})
        vw.learn(Outcome(context, actions, i % 2, 1e-9, reward))
        played = vw.probabilities(context, actions)
        assert abs(math.fsum(played) - 1) < 1e-5 and played.min() > 0, (settings, i, played)
    n_seen += 1
assert n_seen == 14
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=_ROOT, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_every_setting_is_of_a_type_that_a_configuration_can_hold() -> None:
    """The registry finds a plain type for every setting."""
    assert set(map(str, spec_fields(VwSpec).values())) == {
        "<class 'str'>",
        "<class 'int'>",
        "<class 'float'>",
        "float | None",
        "int | None",
        "tuple[str, ...]",
    }


@pytest.mark.parametrize("exploration", ["squarecb", "epsilon", "softmax"])
def test_untrained_is_uniform(exploration: str) -> None:
    """Before any outcome every action is as likely as every other."""
    played = VwSpec(exploration=exploration).build().probabilities(_CONTEXT, _ACTIONS)

    assert played.tolist() == pytest.approx([0.5, 0.5], abs=1e-7)
    assert played.dtype == float
