"""Epsilon-greedy without context: the best mean so far, and now and then anything.

Learning uses the plain mean of the rewards that an action got, not weighted by 1 ÷ propensity.
A weight is there to undo a choice that depended on the context; here it never does, so that
what an action earned says the same about it however likely it was to be chosen, and weights
would only add variance.

With a discount each outcome of an action takes that share off what its earlier ones count, so that
its mean is one of about 1 ÷ (1 − discount) outcomes of its own.
"""

import json
from collections.abc import Sequence

from policies.features import Action, Context
from policies.greedy import Epsilon, greedy
from policies.outcomes import check_actions, check_outcome
from policies.per_action import PerAction, read_numbers
from policies.protocol import REWARD_RANGE, FloatArray, Outcome, Policy, PolicySpec
from policies.settings import check_discount, check_max_actions, check_range
from policies.state import seal, unseal

__all__ = ["EpsilonGreedy"]

_ADOPTED = 5.0  # outcomes that a parent's mean counts for at most: 20 cost a lane that is unlike it more than none


class EpsilonGreedy:
    """Plays a share evenly, and the rest on the actions of the best mean.

    Parameters
    ----------
    spec
        Whose state this is.
    exploration
        The share.
    initial_reward
        Mean of an action without an outcome; None: the mean of all rewards so far.
    discount
        What an outcome still counts after the next one of its action.
    max_actions
        Ids kept.
    """

    __slots__ = ("_all", "_discount", "_exploration", "_initial", "_means", "_n", "_spec")

    resumable = True
    reward_range = REWARD_RANGE

    def __init__(
        self, spec: PolicySpec, *, exploration: Epsilon, initial_reward: float | None, discount: float, max_actions: int
    ) -> None:
        if initial_reward is not None:
            check_range("initial_reward", initial_reward, low=REWARD_RANGE[0], high=REWARD_RANGE[1])
        check_discount(discount)
        check_max_actions(max_actions)
        self._spec = spec
        self._exploration = exploration
        self._initial = initial_reward
        self._discount = discount
        self._n = 0.0  # outcomes learned
        self._all = (0.0, 0.0)
        self._means = PerAction(width=2, max_actions=max_actions)

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:  # noqa: ARG002 - context-free
        """Return what would be played now: shape (n_actions,)."""
        check_actions(actions)
        unseen = self._all if self._initial is None else (0.0, self._initial)
        known = self._means.values
        return greedy([known.get(action.id, unseen)[1] for action in actions], self._exploration.at(self._n))

    def learn(self, outcome: Outcome) -> None:
        """Take the reward into the mean of the chosen action and into the mean of all."""
        check_outcome(outcome, self.reward_range)
        chosen = outcome.actions[outcome.chosen].id
        self._means.put(chosen, self._with(self._means.values.get(chosen, (0.0, 0.0)), outcome.reward))
        self._all = self._with(self._all, outcome.reward)
        self._n += 1.0

    def adopt(self, parent: Policy) -> None:
        """Start from the parent's means, each counted as 5 outcomes at most."""
        if not isinstance(parent, EpsilonGreedy):
            raise TypeError("the parent is of another spec")
        for action_id, (n, mean) in parent._means.values.items():  # noqa: SLF001 - of the same class
            self._means.put(action_id, (min(n, _ADOPTED), mean))
        n, mean = parent._all  # noqa: SLF001 - of the same class
        self._all = (min(n, _ADOPTED), mean)

    def dumps(self) -> bytes:
        """Return the whole state."""
        return seal(self._spec, json.dumps([self._n, *self._all]).encode() + b"\n" + self._means.dumps())

    def loads(self, state: bytes) -> None:
        """Replace the state."""
        first, _, table = unseal(self._spec, state).partition(b"\n")
        n, n_all, mean = read_numbers(first, width=3)
        self._means.loads(table)
        self._n, self._all = n, (n_all, mean)

    def _with(self, count_and_mean: tuple[float, ...], reward: float) -> tuple[float, float]:
        n = count_and_mean[0] * self._discount + 1.0
        return n, count_and_mean[1] + (reward - count_and_mean[1]) / n
