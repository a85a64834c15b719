"""Epsilon-greedy without context: the best mean so far, and now and then anything.

Learning uses the plain mean of the rewards that an action got, not weighted by 1 ÷ propensity.
A weight is there to undo a choice that depended on the context; here it never does, so that
what an action earned says the same about it however likely it was to be chosen, and weights
would only add variance.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from policies.features import Action, Context
from policies.outcomes import check_actions, check_outcome
from policies.per_action import PerAction, read_numbers
from policies.protocol import REWARD_RANGE, FloatArray, Outcome, Policy
from policies.settings import check_max_actions, check_range
from policies.spec import BaseSpec
from policies.state import seal, unseal

__all__ = ["EpsilonGreedy", "EpsilonGreedySpec"]

_LEAST_EPSILON = 1e-6  # less would log propensities that no evaluation can use


@dataclass(frozen=True, slots=True)
class EpsilonGreedySpec(BaseSpec):
    """Settings of `EpsilonGreedy`.

    Parameters
    ----------
    epsilon
        Share of the decisions drawn evenly from all actions; 1e-6 to 1.
    initial_reward
        Mean of an action without an outcome. None: the mean of all rewards so far (0 before the
        first). That is right in any unit and neutral: a newcomer is preferred to actions known to
        be worse than what is played on average, and waits behind the better ones for its share of
        `epsilon`. A high number tries each newcomer at once, a low one only by chance.
    max_actions
        Ids whose means are kept; 1 to 1,000,000.

    Raises
    ------
    InvalidInput
        A setting is out of its range.
    """

    kind: ClassVar[str] = "epsilon_greedy"

    epsilon: float = 0.1
    initial_reward: float | None = None
    max_actions: int = 10_000

    def __post_init__(self) -> None:
        """Check the ranges."""
        BaseSpec.__post_init__(self)  # super() does not find the class that slots=True made
        check_range("epsilon", self.epsilon, low=_LEAST_EPSILON, high=1.0)
        if self.initial_reward is not None:
            check_range("initial_reward", self.initial_reward, low=REWARD_RANGE[0], high=REWARD_RANGE[1])
        check_max_actions(self.max_actions)

    def make(self) -> "EpsilonGreedy":
        """Make the policy, as it is before any outcome."""
        return EpsilonGreedy(self)


class EpsilonGreedy:
    """Plays `epsilon` ÷ n on every action and shares the rest among those of the best mean."""

    __slots__ = ("_all", "_means", "_spec")

    resumable = True
    reward_range = REWARD_RANGE

    def __init__(self, spec: EpsilonGreedySpec) -> None:
        self._spec = spec
        self._all = (0.0, 0.0)
        self._means = PerAction(width=2, max_actions=spec.max_actions)

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:  # noqa: ARG002 - context-free
        """Return what would be played now: shape (n_actions,)."""
        n_actions = check_actions(actions)
        unseen = self._unseen()
        known = self._means.values
        means = [known.get(action.id, unseen)[1] for action in actions]
        best = max(means)
        explored = self._spec.epsilon / n_actions
        greedy = explored + (1.0 - self._spec.epsilon) / means.count(best)
        return np.array([greedy if mean == best else explored for mean in means])

    def learn(self, outcome: Outcome) -> None:
        """Take the reward into the mean of the chosen action and into the mean of all."""
        check_outcome(outcome, self.reward_range)
        chosen = outcome.actions[outcome.chosen].id
        self._means.put(chosen, _with(self._means.values.get(chosen, (0.0, 0.0)), outcome.reward))
        self._all = _with(self._all, outcome.reward)

    def adopt(self, parent: Policy) -> None:
        """Start from what a policy of the same spec has learned."""
        if not isinstance(parent, EpsilonGreedy):
            raise TypeError("the parent is of another spec")
        self._means.loads(parent._means.dumps())  # noqa: SLF001 - of the same class
        self._all = parent._all  # noqa: SLF001 - of the same class

    def dumps(self) -> bytes:
        """Return the whole state."""
        return seal(self._spec, json.dumps(self._all).encode() + b"\n" + self._means.dumps())

    def loads(self, state: bytes) -> None:
        """Replace the state."""
        first, _, table = unseal(self._spec, state).partition(b"\n")
        n, mean = read_numbers(first, width=2)
        self._means.loads(table)
        self._all = (n, mean)

    def _unseen(self) -> tuple[float, float]:
        given = self._spec.initial_reward
        return self._all if given is None else (0.0, given)


def _with(count_and_mean: tuple[float, ...], reward: float) -> tuple[float, float]:
    n = count_and_mean[0] + 1.0
    return n, count_and_mean[1] + (reward - count_and_mean[1]) / n
