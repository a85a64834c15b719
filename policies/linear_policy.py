"""Policies over a linear model of the reward: what they share, and the rules by which they differ.

========  ==============================================================================================================
rule      plays
========  ==============================================================================================================
Thompson  each action with the probability that its score is the largest
greedy    the actions of the largest mean score, and now and then anything
optimist  the actions whose mean score plus `alpha` deviations is the largest (LinUCB: Li et al. 2010, "A
          Contextual-Bandit Approach to Personalized News Article Recommendation")
========  ==============================================================================================================

The propensity plays no part in learning: given the context, what an action earned says the same about it however likely
it was to be chosen.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from policies.correlated_best import largest_of_scores
from policies.errors import InvalidInput, StateInvalid
from policies.features import Action, Context
from policies.gaussian_best import largest_of_normals
from policies.greedy import Epsilon, greedy
from policies.linear_blocks import Blocks
from policies.linear_models import LinearModel, PerActionLinear, Scores
from policies.linear_response import GaussianResponse, LogisticResponse
from policies.linear_shared import SharedLinear
from policies.outcomes import check_actions, check_outcome
from policies.protocol import FloatArray, Outcome, Policy, PolicySpec
from policies.settings import check_discount, check_range
from policies.state import seal, unseal

__all__ = ["LinearPolicy", "Rule", "greedy_rule", "linear_policy", "optimist_rule", "thompson_rule"]

_EXPLORED_ANYWAY: Final = 1e-6  # share spread evenly, so that no logged propensity is 0 however sure the posteriors are
_ADOPTED: Final = 20.0  # outcomes that a parent's word about one posterior counts for at most
_MAX_ACTIONS: Final = 200
_MOST_ACTIONS: Final = 10_000  # d² × 8 bytes each
_MAX_FEATURES: Final = 128
_MOST_FEATURES: Final = 512
_LEAST_PRIOR_WEIGHT: Final = 0.01
_LARGEST_PRIOR_WEIGHT: Final = 1e6
_LARGEST_SEED: Final = 2**32 - 1

Rule = Callable[[Scores, float], FloatArray]


class LinearPolicy:
    """Learns a linear model and plays by a rule.

    Parameters
    ----------
    spec
        Whose state this is.
    model
        What is learned.
    rule
        Given the scores and the number of outcomes learned: what is played.
    reward_range
        Least and largest reward that `learn` takes.
    """

    __slots__ = ("_model", "_n", "_rule", "_spec", "reward_range")

    resumable = True

    def __init__(self, spec: PolicySpec, *, model: LinearModel, rule: Rule, reward_range: tuple[float, float]) -> None:
        self._spec = spec
        self._model = model
        self._rule = rule
        self._n = 0.0  # outcomes learned
        self.reward_range = reward_range

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:
        """Return what would be played now: shape (n_actions,)."""
        check_actions(actions)
        return self._rule(self._model.scores(context, actions), self._n)

    def learn(self, outcome: Outcome) -> None:
        """Take one outcome in."""
        check_outcome(outcome, self.reward_range)
        self._model.learn(outcome)
        self._n += 1.0

    def adopt(self, parent: Policy) -> None:
        """Start from the parent's means; each of its posteriors counts as 20 outcomes at most."""
        if not isinstance(parent, LinearPolicy):
            raise TypeError("the parent is of another spec")
        self._model.loads(*parent._model.dumps())  # noqa: SLF001 - of the same class
        self._model.limit(_ADOPTED)

    def dumps(self) -> bytes:
        """Return the whole state: a line of JSON, then the posteriors' numbers."""
        state, numbers = self._model.dumps()
        head = json.dumps([self._n, state], sort_keys=True, separators=(",", ":"))
        return seal(self._spec, head.encode() + b"\n" + numbers)

    def loads(self, state: bytes) -> None:
        """Replace the state."""
        head, _, numbers = unseal(self._spec, state).partition(b"\n")
        try:
            n, values = json.loads(head)
            if not 0.0 <= n < math.inf:
                raise StateInvalid("the state does not count its outcomes")
            self._model.loads(values, numbers)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
            raise StateInvalid("not the state of a linear policy") from None
        self._n = n


def linear_policy(  # noqa: PLR0913 - settings, all by name
    spec: PolicySpec,
    rule: Rule,
    *,
    response: type[GaussianResponse | LogisticResponse] = GaussianResponse,
    prior_mean: float | None = None,
    reward_range: tuple[float, ...] | None = None,
    prior_weight: float | None = None,
    discount: float = 1.0,
    shared: bool | None = None,
    max_actions: int | None = None,
    max_features: int | None = None,
) -> Policy:
    """Make the policy that settings describe; None is the default of each.

    Raises
    ------
    InvalidInput
        A setting is out of its range, or applies to a model for each action alone.
    """
    max_features = _MAX_FEATURES if max_features is None else max_features
    check_discount(discount)
    check_range("max_features", max_features, low=1, high=_MOST_FEATURES)
    rewards = response(prior_mean=prior_mean, reward_range=reward_range, discount=discount)
    prior_weight = rewards.prior_weight if prior_weight is None else prior_weight
    check_range("prior_weight", prior_weight, low=_LEAST_PRIOR_WEIGHT, high=_LARGEST_PRIOR_WEIGHT)
    blocks = Blocks(precision=prior_weight * rewards.precision, discount=discount)
    model: LinearModel
    if shared:
        if max_actions is not None:
            raise InvalidInput("setting_does_not_apply", "max_actions", "is no setting of a shared model")
        model = SharedLinear(rewards, blocks, max_features=max_features)
    else:
        max_actions = _MAX_ACTIONS if max_actions is None else max_actions
        check_range("max_actions", max_actions, low=1, high=_MOST_ACTIONS)
        model = PerActionLinear(rewards, blocks, max_features=max_features, max_actions=max_actions)
    return LinearPolicy(spec, model=model, rule=rule, reward_range=rewards.reward_range)


def thompson_rule(seed: int | None) -> Rule:
    """Return the rule that plays each action with the probability that it is the best.

    Raises
    ------
    InvalidInput
        `seed` is out of its range.
    """
    seed = 0 if seed is None else seed
    check_range("seed", seed, low=0, high=_LARGEST_SEED)

    def rule(scores: Scores, _: float) -> FloatArray:
        if scores.spread is None:
            return largest_of_normals(scores.means, scores.variances, evenly=_EXPLORED_ANYWAY)
        chances = largest_of_scores(scores.means, scores.spread, seed=seed)
        chances *= 1.0 - _EXPLORED_ANYWAY
        chances += _EXPLORED_ANYWAY / len(chances)
        return chances

    return rule


def greedy_rule(exploration: Epsilon) -> Rule:
    """Return the rule that plays the largest mean, and a share evenly."""
    return lambda scores, n_outcomes: greedy(scores.means.tolist(), exploration.at(n_outcomes))


def optimist_rule(alpha: float) -> Rule:
    """Return the rule that plays the largest mean plus `alpha` deviations, and nothing else."""
    return lambda scores, _: greedy((scores.means + alpha * np.sqrt(scores.variances)).tolist())
