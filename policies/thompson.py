"""Thompson sampling with the probabilities that it plays written down; the models that it comes in.

Each action is played with the probability that its mean reward is the largest, given what was learned: what drawing
once from each posterior and taking the best would do (Thompson 1933), except that the probability is computed and
the draw is made from it, so that the propensity in the log is that of what was played.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from policies.independent import IndependentThompson
from policies.linear_policy import linear_policy, thompson_rule
from policies.linear_response import GaussianResponse, LogisticResponse
from policies.models import Model, model_of
from policies.protocol import Policy
from policies.spec import BaseSpec
from policies.thompson_beta import BetaModel
from policies.thompson_gaussian import GaussianModel

__all__ = ["ThompsonSpec"]

_MAX_ACTIONS = 10_000
_PRIOR_WEIGHT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThompsonSpec(BaseSpec):
    """Settings of the kind ``thompson``.

    Parameters
    ----------
    model
        ``"beta"`` for clicks and other rewards within `reward_range`; ``"gaussian"`` for any. The same with features:
        ``"logistic"`` for clicks, ``"linear"`` for any.
    prior_mean
        ``"beta"``, ``"gaussian"``: mean reward of an action before its first outcome. None: the middle of
        `reward_range` for ``"beta"``, which with the default weight is the uniform prior; 0 for ``"gaussian"``.
        ``"linear"``, ``"logistic"``: the same; None: the mean of all rewards so far.
    prior_weight
        ``"beta"``, ``"gaussian"``: number of imagined outcomes that the prior is worth; 1 to 1e6. None: 2.
        ``"linear"``, ``"logistic"``: that the prior of each weight is worth; 0.01 to 1e6. None: 2 and 10.
    prior_sd
        ``"gaussian"``: standard deviation of those imagined rewards. None: 1.
    reward_range
        Least and largest reward that is accepted. None: 0 to 1 for ``"beta"`` and ``"logistic"``, ±1e9
        for the others.
    discount
        What an outcome still counts after the next one of the lane, for rewards that drift: posteriors fade towards
        the prior; 0.5 to 1 (nothing fades).
    max_actions
        Ids whose posteriors are kept. ``"beta"``, ``"gaussian"``: 1 to 1,000,000; None: 10,000. ``"linear"``,
        ``"logistic"``, not shared: 1 to 10,000; None: 200.
    shared
        ``"linear"``, ``"logistic"``: one model over the actions' features and their products with the context's.
        None: no, but one model of the context's features for each action.
    max_features
        ``"linear"``, ``"logistic"``: features that a model learns about; 1 to 512. None: 128.
    seed
        ``"linear"``, ``"logistic"``: names the draws by which shared models compare actions; 0 to 4,294,967,295.
        None: 0.

    Raises
    ------
    InvalidInput
        A setting is out of its range, or is not one of the model.
    """

    kind: ClassVar[str] = "thompson"

    model: str = "beta"
    prior_mean: float | None = None
    prior_weight: float | None = None
    prior_sd: float | None = None
    reward_range: tuple[float, ...] | None = None
    discount: float = 1.0
    max_actions: int | None = None
    shared: bool | None = None
    max_features: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check the settings, by making the policy that they describe."""
        BaseSpec.__post_init__(self)  # super() does not find the class that slots=True made
        self.make()

    def make(self) -> Policy:
        """Make the policy, as it is before any outcome."""
        return model_of(self, _MODELS).make(self)


def _beta(spec: ThompsonSpec) -> Policy:
    model = BetaModel.of(
        reward_range=spec.reward_range,
        prior_mean=spec.prior_mean,
        prior_weight=_PRIOR_WEIGHT if spec.prior_weight is None else spec.prior_weight,
    )
    return IndependentThompson(spec, model, discount=spec.discount, max_actions=_max_actions(spec))


def _gaussian(spec: ThompsonSpec) -> Policy:
    model = GaussianModel.of(
        reward_range=spec.reward_range,
        prior_mean=spec.prior_mean,
        prior_weight=_PRIOR_WEIGHT if spec.prior_weight is None else spec.prior_weight,
        prior_sd=spec.prior_sd,
    )
    return IndependentThompson(spec, model, discount=spec.discount, max_actions=_max_actions(spec))


def _linear(spec: ThompsonSpec, response: type[GaussianResponse | LogisticResponse] = GaussianResponse) -> Policy:
    return linear_policy(
        spec,
        thompson_rule(spec.seed),
        response=response,
        prior_mean=spec.prior_mean,
        prior_weight=spec.prior_weight,
        reward_range=spec.reward_range,
        discount=spec.discount,
        shared=spec.shared,
        max_actions=spec.max_actions,
        max_features=spec.max_features,
    )


def _logistic(spec: ThompsonSpec) -> Policy:
    return _linear(spec, LogisticResponse)


def _max_actions(spec: ThompsonSpec) -> int:
    return _MAX_ACTIONS if spec.max_actions is None else spec.max_actions


_PER_ACTION: Final = ("prior_mean", "prior_weight", "reward_range", "max_actions")
_LINEAR: Final = (*_PER_ACTION, "shared", "max_features", "seed")
_MODELS: Final[Mapping[str, Model[ThompsonSpec]]] = {
    "beta": Model(settings=_PER_ACTION, make=_beta),
    "gaussian": Model(settings=(*_PER_ACTION, "prior_sd"), make=_gaussian),
    "linear": Model(settings=_LINEAR, make=_linear),
    "logistic": Model(settings=_LINEAR, make=_logistic),
}
