"""Optimism: the action whose reward could be the largest; the models that it comes in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from policies.linear_policy import linear_policy, optimist_rule
from policies.models import Model, model_of
from policies.protocol import Policy
from policies.settings import check_range
from policies.spec import BaseSpec
from policies.ucb1 import Ucb1

__all__ = ["UcbSpec"]

_MAX_ACTIONS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UcbSpec(BaseSpec):
    """Settings of the kind ``ucb``.

    Its probabilities are a point mass on the largest upper bound, shared evenly where several are equal, plus the
    floor `min_probability`. A log can be evaluated for other policies only as far as that floor reaches, so that it
    is not 0 by default.

    Parameters
    ----------
    model
        ``"ucb1"``: the mean reward of each action and how often it was learned. ``"linear"``: the reward predicted from
        features (LinUCB).
    alpha
        How wide the bounds are; 0 to 1,000.
    reward_range
        ``"ucb1"``: least and largest reward that is accepted; the bounds are in units of its width. None: ±1e9, and
        the bounds are in standard deviations of the rewards so far. ``"linear"``: the same ends; its bounds are
        always in standard deviations.
    discount
        What an outcome still counts after the next one of the lane, for rewards that drift; 0.5 to 1 (nothing
        fades).
    max_actions
        Ids that are kept. ``"ucb1"``: 1 to 1,000,000; None: 10,000. ``"linear"``, not shared: 1 to 10,000; None: 200.
    prior_weight
        ``"linear"``: number of imagined outcomes that the prior of each feature is worth; 0.01 to 1e6. None: 2.
    shared
        ``"linear"``: one model over the actions' features and their products with the context's. None: no, but one
        model of the context's features for each action.
    max_features
        ``"linear"``: features that a model learns about; 1 to 512. None: 128.
    min_probability
        As for every policy, but 0.001 by default; 0: the point mass alone.

    Raises
    ------
    InvalidInput
        A setting is out of its range, or is not one of the model.
    """

    kind: ClassVar[str] = "ucb"

    model: str = "ucb1"
    alpha: float = 1.0
    reward_range: tuple[float, ...] | None = None
    discount: float = 1.0
    max_actions: int | None = None
    prior_weight: float | None = None
    shared: bool | None = None
    max_features: int | None = None
    min_probability: float = 0.001

    def __post_init__(self) -> None:
        """Check the settings, by making the policy that they describe."""
        BaseSpec.__post_init__(self)  # super() does not find the class that slots=True made
        check_range("alpha", self.alpha, low=0.0, high=1_000.0)
        self.make()

    def make(self) -> Policy:
        """Make the policy, as it is before any outcome."""
        return model_of(self, _MODELS).make(self)


def _ucb1(spec: UcbSpec) -> Policy:
    return Ucb1(
        spec,
        alpha=spec.alpha,
        reward_range=spec.reward_range,
        discount=spec.discount,
        max_actions=_MAX_ACTIONS if spec.max_actions is None else spec.max_actions,
    )


def _linear(spec: UcbSpec) -> Policy:
    return linear_policy(
        spec,
        optimist_rule(spec.alpha),
        prior_weight=spec.prior_weight,
        reward_range=spec.reward_range,
        discount=spec.discount,
        shared=spec.shared,
        max_actions=spec.max_actions,
        max_features=spec.max_features,
    )


_MODELS: Final[Mapping[str, Model[UcbSpec]]] = {
    "ucb1": Model(settings=("reward_range", "max_actions"), make=_ucb1),
    "linear": Model(settings=("reward_range", "max_actions", "prior_weight", "shared", "max_features"), make=_linear),
}
