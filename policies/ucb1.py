"""UCB1 without context: the action whose mean could still be the largest.

The bound of an action with n outcomes of the lane's N is

    mean + alpha × scale × √(2 log N ÷ n)

where `scale` is the width of `reward_range`, which is UCB1 as published, or else the standard deviation of all
rewards so far. An action without an outcome has no bound: such actions are played first, evenly. Until the outcome
of a decision has come, the next decision is the same: rewards that come late make this policy try one action many
times over.

With a discount, N, the means and the counts all fade with every outcome of the lane, so that an action that was not
played for long is tried again; faded below a thousandth of an outcome it is as one never seen.

References
----------
Auer, Cesa-Bianchi & Fischer (2002), "Finite-time analysis of the multiarmed bandit problem".
Garivier & Moulines (2011), "On upper-confidence bound policies for switching bandit problems" (the discount).
"""

import json
import math
from collections.abc import Sequence

from policies.features import Action, Context
from policies.greedy import greedy
from policies.outcomes import check_actions, check_outcome
from policies.per_action import PerAction, read_numbers
from policies.protocol import REWARD_RANGE, FloatArray, Outcome, Policy, PolicySpec
from policies.settings import check_discount, check_max_actions, reward_range_of
from policies.state import seal, unseal

__all__ = ["Ucb1"]

_ADOPTED = 5.0  # outcomes that a parent's mean counts for at most: 20 cost a lane that is unlike it more than none
_FADED = 1e-3  # outcomes: an action of which less is left is as good as unseen


class Ucb1:
    """Plays the action with the largest upper bound; several with the same share alike.

    Parameters
    ----------
    spec
        Whose state this is.
    alpha
        Factor of the bounds' width.
    reward_range
        Least and largest reward, whose distance scales the bounds; None: any, and their standard deviation does.
    discount
        What an outcome still counts after the next one of the lane.
    max_actions
        Ids kept.
    """

    __slots__ = ("_all", "_discount", "_n", "_per_action", "_spec", "_width", "reward_range")

    resumable = True

    def __init__(
        self,
        spec: PolicySpec,
        *,
        alpha: float,
        reward_range: tuple[float, ...] | None,
        discount: float,
        max_actions: int,
    ) -> None:
        check_discount(discount)
        check_max_actions(max_actions)
        self._spec = spec
        self.reward_range = reward_range_of(reward_range, REWARD_RANGE)
        span = None if reward_range is None else self.reward_range[1] - self.reward_range[0]
        self._width = (alpha, span)
        self._discount = discount
        self._n = 0.0  # outcomes learned
        self._all = (0.0, 0.0, 0.0)  # weight, mean and squared deviations of all rewards
        self._per_action = PerAction(width=3, max_actions=max_actions)  # weight, mean, outcomes when it was learned

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:  # noqa: ARG002 - context-free
        """Return what would be played now: shape (n_actions,)."""
        check_actions(actions)
        factor = self._factor()
        return greedy([self._bound(action.id, factor) for action in actions])

    def learn(self, outcome: Outcome) -> None:
        """Take the reward into the mean of the chosen action and into the spread of all."""
        check_outcome(outcome, self.reward_range)
        chosen = outcome.actions[outcome.chosen].id
        reward = outcome.reward
        weight, mean, at = self._per_action.values.get(chosen, (0.0, 0.0, 0.0))
        self._n += 1.0
        weight = weight * self._discount ** (self._n - at) + 1.0
        self._per_action.put(chosen, (weight, mean + (reward - mean) / weight, self._n))
        total, mean, squares = self._all
        total = total * self._discount + 1.0
        deviation = reward - mean
        mean += deviation / total
        self._all = (total, mean, squares * self._discount + deviation * (reward - mean))

    def adopt(self, parent: Policy) -> None:
        """Start from the parent's means and spread, each action counted as 5 outcomes at most."""
        if not isinstance(parent, Ucb1):
            raise TypeError("the parent is of another spec")
        sum_of_weights = 0.0
        for action_id, (weight, mean, at) in parent._per_action.values.items():  # noqa: SLF001 - of the same class
            left = min(_ADOPTED, weight * self._discount ** (parent._n - at))  # noqa: SLF001 - as above
            self._per_action.put(action_id, (left, mean, 0.0))
            sum_of_weights += left
        total, mean, squares = parent._all  # noqa: SLF001 - as above
        share = min(1.0, sum_of_weights / total) if total > 0.0 else 0.0
        self._all = (total * share, mean, squares * share)

    def dumps(self) -> bytes:
        """Return the whole state."""
        return seal(self._spec, json.dumps([self._n, *self._all]).encode() + b"\n" + self._per_action.dumps())

    def loads(self, state: bytes) -> None:
        """Replace the state."""
        first, _, table = unseal(self._spec, state).partition(b"\n")
        n, total, mean, squares = read_numbers(first, width=4)
        self._per_action.loads(table)
        self._n, self._all = n, (total, mean, squares)

    def _factor(self) -> float:
        """Return what the bound of an action with one outcome adds to its mean."""
        total, _, squares = self._all
        alpha, span = self._width
        if total <= 1.0:
            return 0.0
        scale = math.sqrt(squares / total) if span is None else span
        return alpha * scale * math.sqrt(2.0 * math.log(total))

    def _bound(self, action_id: str, factor: float) -> float:
        weight, mean, at = self._per_action.values.get(action_id, (0.0, 0.0, 0.0))
        weight *= self._discount ** (self._n - at)
        return math.inf if weight < _FADED else mean + factor / math.sqrt(weight)
