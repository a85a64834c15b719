"""Playing the best, and now and then anything: what every greedy policy shares."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policies.errors import InvalidInput
from policies.protocol import FloatArray
from policies.settings import check_range

__all__ = ["Epsilon", "greedy"]

_LEAST_EPSILON = 1e-6  # less would log propensities that no evaluation can use
_LEAST_BY_DEFAULT = 0.01
_LONGEST_DECAY = 1e12


@dataclass(frozen=True, slots=True)
class Epsilon:
    """The share of the decisions that is drawn evenly: constant, or falling with the outcomes learned.

    Attributes
    ----------
    first
        Before any outcome; 1e-6 to 1.
    decay_after
        After n outcomes it is ``first ÷ √(1 + n ÷ decay_after)``; None: constant.
    least
        It never falls below this; 1e-6 to `first`.
    """

    first: float
    decay_after: float | None
    least: float

    @classmethod
    def of(cls, first: float, decay_after: float | None, least: float | None) -> "Epsilon":
        """Check the settings `epsilon`, `decay_after` and `least_epsilon`.

        Raises
        ------
        InvalidInput
            One is out of its range, or a least share is given for one that never falls.
        """
        check_range("epsilon", first, low=_LEAST_EPSILON, high=1.0)
        if decay_after is not None:
            check_range("decay_after", decay_after, low=1.0, high=_LONGEST_DECAY)
        if least is None:
            return cls(first, decay_after, min(first, _LEAST_BY_DEFAULT))
        if decay_after is None:
            raise InvalidInput("setting_does_not_apply", "least_epsilon", "applies together with decay_after alone")
        check_range("least_epsilon", least, low=_LEAST_EPSILON, high=first)
        return cls(first, decay_after, least)

    def at(self, n_outcomes: float) -> float:
        """Return the share after so many outcomes."""
        if self.decay_after is None:
            return self.first
        return max(self.least, self.first / math.sqrt(1.0 + n_outcomes / self.decay_after))


def greedy(scores: Sequence[float], epsilon: float = 0.0) -> FloatArray:
    """Return `epsilon` ÷ n for each action, and the rest in even shares for those of the largest score."""
    best = max(scores)
    explored = epsilon / len(scores)
    exploited = explored + (1.0 - epsilon) / sum([score == best for score in scores])
    return np.array([exploited if score == best else explored for score in scores])
