"""Vowpal Wabbit: one linear model of the reward over context × action, with exploration on top.

Rewards are standardised before VW sees them: cost = (mean − reward) ÷ (2 × standard deviation),
both over the outcomes learned so far, this one included. Exploration and step sizes of VW are
absolute, so that without it rewards of 5 to 10, of 0 to 100 or of 0 to 0.01 learn slowly or lock
in on the first action that got one; with it, only how rewards differ matters, not their unit.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from policies.errors import InvalidInput, StateInvalid
from policies.features import Action, Context
from policies.outcomes import check_actions, check_outcome
from policies.protocol import REWARD_RANGE, FloatArray, Outcome, Policy
from policies.settings import check_range
from policies.spec import BaseSpec
from policies.state import seal, unseal
from policies.vw_raw import RawVw, canonical

__all__ = ["Vw", "VwSpec"]

_DEFAULTS = {
    "squarecb": {"gamma_scale": 10.0},
    "epsilon": {"epsilon": 0.05},
    "softmax": {"softmax_lambda": 10.0, "epsilon": 0.01},
}
_INTERACTIONS = ("aa", "sa", "ss")  # a product of three numbers of 1e9 overflows the float32 squares in VW
_LEAST_LEARN_PROPENSITY = 1e-3  # VW weighs by 1 ÷ propensity: one weight of 1e6 wrecks a model for hundreds of outcomes
_MOMENTS = struct.Struct("<Qdd")


@dataclass(frozen=True, slots=True)
class VwSpec(BaseSpec):
    """Settings of `Vw`; docs/policies.md has the measurements behind the defaults.

    Parameters
    ----------
    exploration
        ``"squarecb"``: the further an action's predicted reward lies behind the best, the less it
        is played, and the more so the more was learned. ``"epsilon"``: `epsilon` of the decisions
        evenly, the rest on the best. ``"softmax"``: in proportion to exp(`softmax_lambda` ×
        prediction), mixed with `epsilon` of evenly.
    gamma_scale
        squarecb only: how fast it turns greedy; 0.01 to 100,000, default 10.
    epsilon
        epsilon and softmax only: 0.000001 to 1, default 0.05 and 0.01.
    softmax_lambda
        softmax only, per two standard deviations of reward: 0.01 to 1,000, default 10.
    interactions
        Which features multiply in pairs: ``"sa"`` context by action, ``"ss"``, ``"aa"``. Without
        ``"sa"`` the context makes no difference to which action is best.
    learning_rate
        Size of a step; 0.001 to 100.
    power_t
        How fast steps shrink with what a weight has seen; 0 (never) to 1.
    bits
        log2 of the number of weights, 16 bytes each once touched; 10 to 24.
    reward_min, reward_max
        A reward outside is refused; within ±1e9. What lies far from every other reward stretches
        the standard deviation, so narrow these to what can really come.

    Raises
    ------
    InvalidInput
        A setting is out of its range or belongs to another exploration.

    References
    ----------
    Foster & Rakhlin (2020), "Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles".
    """

    kind: ClassVar[str] = "vw"

    exploration: str = "squarecb"
    gamma_scale: float | None = None
    epsilon: float | None = None
    softmax_lambda: float | None = None
    interactions: tuple[str, ...] = ("sa",)
    learning_rate: float = 1.0
    power_t: float = 0.5
    bits: int = 18
    reward_min: float = -1_000.0
    reward_max: float = 1_000.0

    def __post_init__(self) -> None:
        """Check every setting and write out the defaults that depend on `exploration`."""
        BaseSpec.__post_init__(self)  # super() does not find the class that slots=True made
        if self.exploration not in _DEFAULTS:
            allowed = ", ".join(sorted(_DEFAULTS))
            raise InvalidInput(
                "unknown_exploration", "exploration", f"must be one of {allowed}, not {self.exploration!r}"
            )
        _check_interactions(self.interactions)
        self._settle("gamma_scale", low=0.01, high=1e5)
        self._settle("epsilon", low=1e-6, high=1.0)
        self._settle("softmax_lambda", low=0.01, high=1e3)
        check_range("learning_rate", self.learning_rate, low=1e-3, high=100.0)
        check_range("power_t", self.power_t, low=0.0, high=1.0)
        check_range("bits", self.bits, low=10, high=24)
        check_range("reward_min", self.reward_min, low=REWARD_RANGE[0], high=REWARD_RANGE[1])
        check_range("reward_max", self.reward_max, low=REWARD_RANGE[0], high=REWARD_RANGE[1])
        if not self.reward_min < self.reward_max:
            raise InvalidInput(
                "setting_out_of_range", "reward_max", f"must be larger than reward_min, {self.reward_min:g}"
            )

    def make(self) -> "Vw":
        """Make the policy, as it is before any outcome."""
        return Vw(self)

    def arguments(self) -> str:
        """Return the VW options that these settings stand for.

        The context is left out of the linear part (``--ignore_linear s``): there it adds the same
        to every action, and costs step size that the interactions need.
        """
        exploration = {
            "squarecb": f"--squarecb --gamma_scale {self.gamma_scale!r}",
            "epsilon": f"--epsilon {self.epsilon!r}",
            "softmax": f"--softmax --lambda {self.softmax_lambda!r}",  # `Vw` mixes in its epsilon
        }[self.exploration]
        return " ".join(
            [
                "--cb_explore_adf --cb_type mtr --quiet --random_seed 1",
                "--ring_size 16",  # 0.9 MB a workspace; VW's own 256 takes 8.5 MB
                "--preserve_performance_counters",  # without it a loaded model starts other counts
                exploration,
                f"--bit_precision {self.bits} --learning_rate {self.learning_rate!r} --power_t {self.power_t!r}",
                "--ignore_linear s",
                *(f"--interactions {word}" for word in self.interactions),
            ]
        )

    def _settle(self, name: str, *, low: float, high: float) -> None:
        defaults = _DEFAULTS[self.exploration]
        given = getattr(self, name)
        if name not in defaults:
            if given is not None:
                raise InvalidInput("setting_not_used", name, f"is no setting of exploration {self.exploration!r}")
        elif given is None:
            object.__setattr__(self, name, defaults[name])  # frozen from here on
        else:
            check_range(name, given, low=low, high=high)


class Vw:
    """Plays what VW's exploration makes of its predictions."""

    __slots__ = ("_arguments", "_mean", "_n", "_raw", "_reward_range", "_spec", "_squares")

    resumable = True  # held by tests for every exploration; options that fail them are not on offer

    def __init__(self, spec: VwSpec) -> None:
        self._spec = spec
        self._arguments = spec.arguments()
        self._reward_range = (spec.reward_min, spec.reward_max)
        self._raw = RawVw(self._arguments)
        self._n = 0
        self._mean = 0.0
        self._squares = 0.0

    @property
    def reward_range(self) -> tuple[float, float]:
        """The least and the largest reward that `learn` takes."""
        return self._reward_range

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:
        """Return what would be played now: shape (n_actions,), each > 0."""
        if not actions:
            check_actions(actions)
        scores = self._raw.predict(f"shared {context.line}\n" + "\n".join([action.line for action in actions]))
        if len(scores) != len(actions):
            raise AssertionError(f"VW saw {len(scores)} actions in {len(actions)} lines")
        result = np.array(scores)
        if self._spec.exploration == "softmax":
            epsilon = self._spec.epsilon or 0.0
            result = (1.0 - epsilon) * result + epsilon / len(actions)
        return result

    def learn(self, outcome: Outcome) -> None:
        """Take one outcome in."""
        check_outcome(outcome, self._reward_range)
        n = self._n + 1
        mean = self._mean + (outcome.reward - self._mean) / n
        squares = self._squares + (outcome.reward - self._mean) * (outcome.reward - mean)
        cost = (mean - outcome.reward) / (2.0 * math.sqrt(squares / n)) if squares > 0.0 else 0.0
        lines = [f"shared {outcome.context.line}", *(action.line for action in outcome.actions)]
        # float(): a numpy scalar writes itself as "np.float64(…)", which VW would read as no label at all.
        label = f"0:{float(cost)!r}:{float(self._weighed(outcome.propensity))!r} "
        lines[1 + outcome.chosen] = label + lines[1 + outcome.chosen]
        self._raw.learn("\n".join(lines))
        self._n, self._mean, self._squares = n, float(mean), float(squares)

    def adopt(self, parent: Policy) -> None:
        """Start from what a policy of the same spec has learned."""
        if not isinstance(parent, Vw):
            raise TypeError("the parent is of another spec")
        self.loads(parent.dumps())

    def dumps(self) -> bytes:
        """Return the whole state."""
        try:
            model = canonical(self._raw.save(), n_outcomes=self._n)
        except StateInvalid as error:
            raise AssertionError(str(error)) from error
        return seal(self._spec, _MOMENTS.pack(self._n, self._mean, self._squares) + model)

    def loads(self, state: bytes) -> None:
        """Replace the state."""
        payload = unseal(self._spec, state)
        if len(payload) < _MOMENTS.size:
            raise StateInvalid("the moments of the reward are not there")
        n, mean, squares = _MOMENTS.unpack_from(payload)
        model = payload[_MOMENTS.size :]
        if canonical(model, n_outcomes=n) != model:
            raise StateInvalid("the VW model counts predictions, so that `dumps` did not write it")
        self._raw = RawVw(self._arguments, model=model)
        self._n, self._mean, self._squares = n, mean, squares

    def _weighed(self, propensity: float) -> float:
        """Return the propensity that VW learns with.

        squarecb regresses without weights; VW sets it to 1 on every action line but the last,
        where the logged one would leak into the model, so it is set here.
        """
        if self._spec.exploration == "squarecb":
            return 1.0
        return max(propensity, _LEAST_LEARN_PROPENSITY)


def _check_interactions(words: tuple[str, ...]) -> None:
    for i, word in enumerate(words):
        if word not in _INTERACTIONS:
            allowed = ", ".join(_INTERACTIONS)
            raise InvalidInput("unknown_interaction", f"interactions[{i}]", f"must be one of {allowed}, not {word!r}")
        if word in words[:i]:
            raise InvalidInput("repeated_interaction", f"interactions[{i}]", f"repeats {word!r}")
