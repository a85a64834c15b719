"""Epsilon-greedy: the best mean so far, and now and then anything; the models that it comes in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from policies.greedy import Epsilon
from policies.linear_policy import greedy_rule, linear_policy
from policies.mean import EpsilonGreedy
from policies.models import Model, model_of
from policies.protocol import REWARD_RANGE, Policy
from policies.settings import check_range
from policies.spec import BaseSpec

__all__ = ["EpsilonGreedySpec"]

_MAX_ACTIONS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsilonGreedySpec(BaseSpec):
    """Settings of the kind ``epsilon_greedy``.

    Parameters
    ----------
    model
        ``"mean"``: the mean reward of each action. ``"linear"``: the reward predicted from features.
    epsilon
        Share of the decisions drawn evenly from all actions, before the first outcome; 1e-6 to 1.
    decay_after
        After n outcomes the share is ``epsilon ÷ √(1 + n ÷ decay_after)``; 1 to 1e12. None: `epsilon` for ever.
    least_epsilon
        The share never falls below this; 1e-6 to `epsilon`, with `decay_after` alone. None: 0.01, or `epsilon` if
        that is less.
    initial_reward
        Mean of an action without an outcome. None: the mean of all rewards so far (0 before the
        first). That is right in any unit and neutral: a newcomer is preferred to actions known to
        be worse than what is played on average, and waits behind the better ones for its share of
        `epsilon`. A high number tries each newcomer at once, a low one only by chance.
    discount
        What an outcome still counts after the next one of the same action (``"linear"``: of the lane), for rewards
        that drift; 0.5 to 1 (nothing fades).
    max_actions
        Ids that are kept. ``"mean"``: 1 to 1,000,000; None: 10,000. ``"linear"``, not shared: 1 to 10,000;
        None: 200.
    prior_weight
        ``"linear"``: number of imagined outcomes that the prior of each feature is worth; 0.01 to 1e6. None: 2.
    shared
        ``"linear"``: one model over the actions' features and their products with the context's. None: no, but one
        model of the context's features for each action.
    max_features
        ``"linear"``: features that a model learns about; 1 to 512. None: 128.

    Raises
    ------
    InvalidInput
        A setting is out of its range, or is not one of the model.
    """

    kind: ClassVar[str] = "epsilon_greedy"

    model: str = "mean"
    epsilon: float = 0.1
    decay_after: float | None = None
    least_epsilon: float | None = None
    initial_reward: float | None = None
    discount: float = 1.0
    max_actions: int | None = None
    prior_weight: float | None = None
    shared: bool | None = None
    max_features: int | None = None

    def __post_init__(self) -> None:
        """Check the settings, by making the policy that they describe."""
        BaseSpec.__post_init__(self)  # super() does not find the class that slots=True made
        self.make()

    def make(self) -> Policy:
        """Make the policy, as it is before any outcome."""
        return model_of(self, _MODELS).make(self)

    def exploration(self) -> Epsilon:
        """Return the share drawn evenly, as a function of the outcomes learned."""
        return Epsilon.of(self.epsilon, self.decay_after, self.least_epsilon)


def _mean(spec: EpsilonGreedySpec) -> Policy:
    return EpsilonGreedy(
        spec,
        exploration=spec.exploration(),
        initial_reward=spec.initial_reward,
        discount=spec.discount,
        max_actions=_MAX_ACTIONS if spec.max_actions is None else spec.max_actions,
    )


def _linear(spec: EpsilonGreedySpec) -> Policy:
    if spec.initial_reward is not None:  # checked here too, under the name that it has here
        check_range("initial_reward", spec.initial_reward, low=REWARD_RANGE[0], high=REWARD_RANGE[1])
    return linear_policy(
        spec,
        greedy_rule(spec.exploration()),
        prior_mean=spec.initial_reward,
        prior_weight=spec.prior_weight,
        discount=spec.discount,
        shared=spec.shared,
        max_actions=spec.max_actions,
        max_features=spec.max_features,
    )


_MODELS: Final[Mapping[str, Model[EpsilonGreedySpec]]] = {
    "mean": Model(settings=("initial_reward", "max_actions"), make=_mean),
    "linear": Model(settings=("initial_reward", "max_actions", "prior_weight", "shared", "max_features"), make=_linear),
}
