"""The explorations that VW has for actions with features: their settings and what VW is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["EXPLORATIONS", "RANGES", "Exploration"]

_ALL_TYPES: Final = ("mtr", "ips", "dr", "dm")  # sm is not on offer: it picked the wrong action wherever we tried it


@dataclass(frozen=True, slots=True)
class Exploration:
    """One way of turning predictions into probabilities.

    Attributes
    ----------
    arguments
        VW options, with the names of settings to be filled in.
    defaults
        Every setting that it has, with its default.
    cb_types
        The ways of learning that VW has for it.
    is_regression
        Whether it learns without weights. VW then sets the propensity to 1 on every action line but the last, where
        the logged one would leak into the model.
    least_propensity
        What smaller propensities count as in learning. VW weighs by 1 ÷ propensity: one weight of 1e6 wrecks hundreds
        of outcomes, and in cover, where each model learns from what those before it made of it, 1e3 does.
    more_models
        Models beside its `n_models`; None where there is one model.
    is_doubly_robust
        Whether it learns as with ``"dr"`` unless the cb_type is ``"ips"``.
    """

    arguments: str
    defaults: Mapping[str, Any]
    cb_types: tuple[str, ...] = field(default=_ALL_TYPES)
    is_regression: bool = False
    least_propensity: float = 1e-3
    more_models: int | None = None
    is_doubly_robust: bool = False

    def count_models(self, cb_type: str, n_models: int | None) -> int:
        """Return how many models the table of weights is to hold; ``"dr"`` has one more for each: of the cost."""
        n = 1 if self.more_models is None or n_models is None else n_models + self.more_models
        return 2 * n if cb_type == "dr" or (self.is_doubly_robust and cb_type != "ips") else n


# VW gets no epsilon, since `Vw` spreads it itself: VW's own would leave some explorations with a 0, count ties
# differently, and in cover also change what is learned.
EXPLORATIONS: Final[Mapping[str, Exploration]] = {
    "squarecb": Exploration(
        "--squarecb --gamma_scale {gamma_scale!r}",
        {"epsilon": 0.001, "gamma_scale": 10.0},
        cb_types=("mtr",),
        is_regression=True,
    ),
    "epsilon": Exploration("--epsilon 0", {"epsilon": 0.05}),
    "first": Exploration("--first {n_first}", {"epsilon": 0.02, "n_first": 200}),
    "bag": Exploration(
        "--bag {n_models}",
        {"epsilon": 0.02, "n_models": 5, "greedify": False},
        more_models=0,
    ),
    # --nounif: the even share is `epsilon`. Without an --epsilon VW lets the one it learns with fall as 1 ÷ √outcomes.
    "cover": Exploration(
        "--cover {n_models} --psi {psi!r} --nounif",
        {"epsilon": 0.02, "n_models": 4, "psi": 0.1},
        cb_types=("mtr", "ips", "dr"),
        least_propensity=0.05,
        more_models=1,
        is_doubly_robust=True,
    ),
    # The range bounds predicted costs, which are means: ±1 is two standard deviations of the rewards to either side.
    "regcb": Exploration(
        "--regcb --mellowness {mellowness!r} --cb_min_cost -1 --cb_max_cost 1",
        {"epsilon": 0.02, "mellowness": 0.001},
        cb_types=("mtr",),
        is_regression=True,
    ),
    "regcbopt": Exploration(
        "--regcb --regcbopt --mellowness {mellowness!r} --cb_min_cost -1 --cb_max_cost 1",
        {"epsilon": 0.02, "mellowness": 0.01},
        cb_types=("mtr",),
        is_regression=True,
    ),
    "softmax": Exploration("--softmax --lambda {softmax_lambda!r}", {"epsilon": 0.01, "softmax_lambda": 10.0}),
    "rnd": Exploration(
        "--rnd {n_models} --rnd_alpha {rnd_alpha!r} --rnd_invlambda {rnd_invlambda!r}",
        {"epsilon": 0.02, "n_models": 3, "rnd_alpha": 0.1, "rnd_invlambda": 0.1},
        cb_types=("mtr", "ips", "dr"),
        more_models=1,
    ),
    "synthcover": Exploration(
        "--synthcover --synthcoversize {n_models} --synthcoverpsi {psi!r}",
        {"epsilon": 0.02, "n_models": 100, "psi": 0.1},
    ),
}

RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "epsilon": (1e-6, 1.0),
    "gamma_scale": (0.01, 1e5),
    "softmax_lambda": (0.01, 1e3),
    "n_first": (1, 1_000_000),
    "n_models": (1, 100),  # a model each, but for synthcover
    "psi": (1e-3, 100.0),
    "mellowness": (1e-6, 100.0),
    "rnd_alpha": (1e-3, 100.0),
    "rnd_invlambda": (1e-3, 100.0),
}
