"""Vowpal Wabbit: one linear model of the reward over context × action, with exploration on top.

Rewards are standardised before VW sees them: cost = (mean − reward) ÷ (2 × standard deviation),
both over the outcomes learned so far, this one included. Exploration and step sizes of VW are
absolute, so that without it rewards of 5 to 10, of 0 to 100 or of 0 to 0.01 learn slowly or lock
in on the first action that got one; with it, only how rewards differ matters, not their unit.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Final

from policies.errors import InvalidInput
from policies.protocol import REWARD_RANGE, Policy
from policies.settings import check_range
from policies.spec import BaseSpec
from policies.vw_exploration import EXPLORATIONS, RANGES
from policies.vw_numbers import Standardised
from policies.vw_options import check_options, joined, resumes
from policies.vw_policy import Vw, VwPlan

__all__ = ["Vw", "VwSpec"]

_NUMBERS = ("plain", "standardised")
_MOST_BITS: Final = 24
_INTERACTIONS = ("aa", "sa", "ss")  # a product of three numbers of 1e9 overflows the float32 squares in VW


@dataclass(frozen=True, slots=True)
class VwSpec(BaseSpec):
    """Settings of `Vw`; docs/policies.md has the measurements behind the defaults.

    Those that belong to one exploration or two are refused with any other, and None is their default there.

    Parameters
    ----------
    exploration
        One of `policies.vw_exploration.EXPLORATIONS`; docs/policies.md says what each of them does.
    cb_type
        How an outcome is learned from: ``"mtr"``, ``"ips"``, ``"dr"`` or ``"dm"``; not every exploration has all.
    epsilon
        Share of the decisions that is drawn evenly; 0.000001 to 1.
    gamma_scale
        squarecb: how fast it turns greedy; 0.01 to 100,000.
    softmax_lambda
        softmax, per two standard deviations of reward: 0.01 to 1,000.
    n_first
        first: outcomes before it turns greedy; 1 to 1,000,000.
    n_models
        bag, cover, rnd: models that learn, each at the cost of one; synthcover: steps of the probabilities. 1 to 100.
    greedify
        bag: the first model learns from every outcome once, instead of a random number of times.
    psi
        cover, synthcover: worth of playing what is played less; 0.001 to 100.
    mellowness
        regcb, regcbopt: width of the confidence bounds; 0.000001 to 100.
    rnd_alpha, rnd_invlambda
        rnd: width of its bounds for features that repeat, and for new ones; 0.001 to 100.
    interactions
        Which features multiply in pairs: ``"sa"`` context by action, ``"ss"``, ``"aa"``. Without
        ``"sa"`` the context makes no difference to which action is best.
    numbers
        What VW gets of the numbers in a context: ``"standardised"``, how many deviations they lie from their mean, or
        ``"plain"``, what they are.
    learning_rate
        Size of a step; 0.001 to 100.
    power_t
        How fast steps shrink with what a weight has seen; 0 (never) to 1.
    bits
        log2 of the number of weights of each model, 16 bytes each once touched; 10 to 24. All models together have at
        most 2²⁴.
    marginal
        Whether the running mean cost of each action id is a feature of it.
    options
        Further VW options, tried out in a process of their own when the spec is made.
    reward_min, reward_max
        A reward outside is refused; within ±1e9. What lies far from every other reward stretches
        the standard deviation, so narrow these to what can really come.

    Raises
    ------
    InvalidInput
        A setting is out of its range or belongs to another exploration, or VW refuses the options.

    References
    ----------
    Foster & Rakhlin (2020), "Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles".
    """

    kind: ClassVar[str] = "vw"

    exploration: str = "squarecb"
    cb_type: str = "mtr"
    epsilon: float | None = None
    gamma_scale: float | None = None
    softmax_lambda: float | None = None
    n_first: int | None = None
    n_models: int | None = None
    greedify: bool | None = None
    psi: float | None = None
    mellowness: float | None = None
    rnd_alpha: float | None = None
    rnd_invlambda: float | None = None
    interactions: tuple[str, ...] = ("sa",)
    numbers: str = "standardised"
    learning_rate: float = 1.0
    power_t: float = 0.5
    bits: int = 18
    marginal: bool = False
    options: str = ""
    reward_min: float = -1_000.0
    reward_max: float = 1_000.0

    def __post_init__(self) -> None:
        """Check every setting and write out the defaults that depend on `exploration`."""
        BaseSpec.__post_init__(self)  # super() does not find the class that slots=True made
        _check_word("unknown_exploration", "exploration", self.exploration, tuple(EXPLORATIONS))
        exploration = EXPLORATIONS[self.exploration]
        _check_word("unknown_cb_type", "cb_type", self.cb_type, exploration.cb_types)
        for name in (*RANGES, "greedify"):
            self._settle(name)
        _check_interactions(self.interactions)
        _check_word("unknown_numbers", "numbers", self.numbers, _NUMBERS)
        check_range("learning_rate", self.learning_rate, low=1e-3, high=100.0)
        check_range("power_t", self.power_t, low=0.0, high=1.0)
        check_range("bits", self.bits, low=10, high=_MOST_BITS)
        check_range("reward_min", self.reward_min, low=REWARD_RANGE[0], high=REWARD_RANGE[1])
        check_range("reward_max", self.reward_max, low=REWARD_RANGE[0], high=REWARD_RANGE[1])
        if not self.reward_min < self.reward_max:
            raise InvalidInput(
                "setting_out_of_range", "reward_max", f"must be larger than reward_min, {self.reward_min:g}"
            )
        check_options(self.options, self._set())

    def make(self) -> Policy:
        """Make the policy, as it is before any outcome."""
        plan = VwPlan(
            arguments=self.arguments(),
            epsilon=self.epsilon or 0.0,
            has_free_options=bool(self.options),
            is_regression=EXPLORATIONS[self.exploration].is_regression,
            overflows=self.exploration == "rnd",
            sums_to_one=self.exploration != "regcbopt",
            least_propensity=EXPLORATIONS[self.exploration].least_propensity,
            marginal=self.marginal,
            resumable=resumes(self.options, self._set()),
            reward_range=(self.reward_min, self.reward_max),
        )
        policy = Vw(self, plan)
        return policy if self.numbers == "plain" else Standardised(self, policy)

    def arguments(self) -> str:
        """Return the VW options that these settings stand for, and those given as text."""
        return f"{self._set()} {joined(self.options)}".rstrip()

    def _set(self) -> str:
        """Return the VW options that the settings alone stand for.

        The context is left out of the linear part (``--ignore_linear s``): there it adds the same
        to every action, and costs step size that the interactions need.
        """
        exploration = EXPLORATIONS[self.exploration]
        settings = {name: getattr(self, name) for name in exploration.defaults}
        words = [
            f"--cb_explore_adf --cb_type {self.cb_type} --quiet",
            "--ring_size 16",  # 0.9 MB a workspace; VW's own 256 takes 8.5 MB
            "--preserve_performance_counters",  # without it a loaded model starts other counts
            "--per_model_save_load",  # without it all but the first of several models forget how they step
            exploration.arguments.format(**settings),
            f"--bit_precision {self._all_bits()} --learning_rate {self.learning_rate!r} --power_t {self.power_t!r}",
            "--ignore_linear s",
            *(f"--interactions {word}" for word in self.interactions),
        ]
        if self.greedify:
            words.append("--greedify")
        if self.marginal:
            words.append("--marginal m --initial_numerator 0")  # standardised costs are 0 in the mean
        return " ".join(words)

    def _all_bits(self) -> int:
        """Return log2 of the weights of all models: in one table, with `bits` for all, they would crowd each other out.

        Features that share a weight spoil each other for good where one of them was ever very large.
        """
        n_models = EXPLORATIONS[self.exploration].count_models(self.cb_type, self.n_models)
        return min(self.bits + math.ceil(math.log2(n_models)), _MOST_BITS)

    def _settle(self, name: str) -> None:
        defaults = EXPLORATIONS[self.exploration].defaults
        given = getattr(self, name)
        if name not in defaults:
            if given is not None:
                raise InvalidInput("setting_not_used", name, f"is no setting of exploration {self.exploration!r}")
        elif given is None:
            object.__setattr__(self, name, defaults[name])  # frozen from here on
        elif name in RANGES:
            low, high = RANGES[name]
            check_range(name, given, low=low, high=high)


def _check_word(code: str, name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidInput(code, name, f"must be one of {', '.join(sorted(allowed))}, not {value!r}")


def _check_interactions(words: tuple[str, ...]) -> None:
    for i, word in enumerate(words):
        _check_word("unknown_interaction", f"interactions[{i}]", word, _INTERACTIONS)
        if word in words[:i]:
            raise InvalidInput("repeated_interaction", f"interactions[{i}]", f"repeats {word!r}")
