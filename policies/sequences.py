"""Bounds of a policy's value, and of a lift, that hold at every moment of a growing log at once.

`bounds.RunningMean` needs a variance alone and holds in the limit; these need to know how large a reward and a weight
can be, and hold for every n. Rows must come in the order of time: what is bet on a row rests on the rows before it.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np

from policies.errors import InvalidInput, StateInvalid
from policies.lower_bound import LowerBound
from policies.protocol import FloatArray

__all__ = ["LiftSequence", "ValueSequence"]

_PRIOR_REWARD: Final = 0.5  # of one imagined row: what is believed before the first


@dataclass(slots=True)
class ValueSequence:
    """Bounds of a target policy's mean reward, at every n at once.

    Doubly robust with the mean of the rows so far as its reward model: x = m + w (r − m). That lies at least W m below
    its centre m where no weight exceeds W, so small rewards make small risks. The upper bound is the lower bound for
    1 − r. Without W the rows' own products w r serve, which need no bound on weights and give far wider bounds.

    Parameters
    ----------
    max_weight
        W; None if nobody knows.
    low, high
        What a reward can be.
    """

    max_weight: float | None = None
    low: float = 0.0
    high: float = 1.0
    _sums: list[float] = field(default_factory=lambda: [0.0, 0.0])  # Σw and Σwr, rewards scaled to [0, 1]
    _sides: tuple[LowerBound, LowerBound] = field(default_factory=lambda: (LowerBound(), LowerBound()))

    def __post_init__(self) -> None:
        _check_range(self.low, self.high)
        if self.max_weight is not None:
            _check_weight("max_weight", self.max_weight)

    @property
    def n(self) -> int:
        """Rows so far."""
        return self._sides[0].n

    def add(self, weights: FloatArray, rewards: FloatArray) -> None:
        """Take in the next rows, in the order of time; both arrays have shape (n,).

        Raises
        ------
        InvalidInput
            A reward is outside the range, or a weight is negative or above `max_weight`; nothing changed.
        """
        rewards = _scaled(rewards, self.low, self.high)
        _check_weights("weights", weights, self.max_weight)
        before_weight, before = _before(self._sums, weights, weights * rewards)
        means = (_PRIOR_REWARD + before) / (1.0 + before_weight)
        for side, reward, mean in ((self._sides[0], rewards, means), (self._sides[1], 1.0 - rewards, 1.0 - means)):
            if self.max_weight is None:
                side.add(weights * reward, mean, mean)
            else:
                side.add(mean + weights * (reward - mean), mean, self.max_weight * mean)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return bounds that have held at all times so far with a probability of at least `level`.

        Raises
        ------
        InvalidInput
            `level` is not inside (0, 1).
        """
        alpha = _half(level)
        lower, upper = (side.value(alpha, least=0.0) for side in self._sides)
        width = self.high - self.low
        low, high = self.low + width * lower, self.high - width * upper
        return (low, high) if low <= high else ((low + high) / 2, (low + high) / 2)

    def dumps(self) -> tuple[Any, ...]:
        """Return what it has seen as plain numbers."""
        return tuple(self._sums), tuple(side.dumps() for side in self._sides)

    def loads(self, state: tuple[Any, ...]) -> Self:
        """Return one with the parameters of this and the state that `dumps` gave.

        Raises
        ------
        StateInvalid
            It is not such a state.
        """
        sums, sides = _state(state, 2)
        return type(self)(self.max_weight, self.low, self.high, sums, sides)


@dataclass(slots=True)
class LiftSequence:
    """Bounds of candidate − baseline on the same rows, at every n at once.

    x = (w − w₀)(r − m), whose mean is the lift whatever m is, since both weights have the mean 1.

    Parameters
    ----------
    max_weight, baseline_max_weight
        The largest weight that each can have; 1 for a baseline that made the log.
    low, high
        What a reward can be.
    """

    max_weight: float
    baseline_max_weight: float = 1.0
    low: float = 0.0
    high: float = 1.0
    _sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # Σw₀, Σw₀r and Σx
    _sides: tuple[LowerBound, LowerBound] = field(default_factory=lambda: (LowerBound(), LowerBound()))

    def __post_init__(self) -> None:
        _check_range(self.low, self.high)
        _check_weight("max_weight", self.max_weight)
        _check_weight("baseline_max_weight", self.baseline_max_weight)

    @property
    def n(self) -> int:
        """Rows so far."""
        return self._sides[0].n

    def add(self, weights: FloatArray, baseline_weights: FloatArray, rewards: FloatArray) -> None:
        """Take in the next rows, in the order of time; the arrays have shape (n,).

        Raises
        ------
        InvalidInput
            As `ValueSequence.add`; nothing changed.
        """
        rewards = _scaled(rewards, self.low, self.high)
        _check_weights("weights", weights, self.max_weight)
        _check_weights("baseline_weights", baseline_weights, self.baseline_max_weight)
        weight_before, before = _before(self._sums, baseline_weights, baseline_weights * rewards)
        means = (_PRIOR_REWARD + before) / (1.0 + weight_before)
        terms = (weights - baseline_weights) * (rewards - means)
        total = self._sums[2] + np.concatenate([[0.0], np.cumsum(terms)])
        self._sums[2] = float(total[-1])
        centres = np.clip(total[:-1] / (1.0 + self.n + np.arange(len(terms))), -1.0, 1.0)
        mine, other = self.max_weight, self.baseline_max_weight
        self._sides[0].add(terms, centres, mine * means + other * (1.0 - means) + np.maximum(centres, 0.0))
        self._sides[1].add(-terms, -centres, mine * (1.0 - means) + other * means + np.maximum(-centres, 0.0))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return bounds that have held at all times so far with a probability of at least `level`.

        Raises
        ------
        InvalidInput
            `level` is not inside (0, 1).
        """
        alpha, width = _half(level), self.high - self.low
        low, high = (side.value(alpha, least=-1.0) for side in self._sides)
        middle = (low - high) / 2
        return (width * low, -width * high) if low <= -high else (width * middle, width * middle)

    def dumps(self) -> tuple[Any, ...]:
        """Return what it has seen as plain numbers."""
        return tuple(self._sums), tuple(side.dumps() for side in self._sides)

    def loads(self, state: tuple[Any, ...]) -> Self:
        """Return one with the parameters of this and the state that `dumps` gave.

        Raises
        ------
        StateInvalid
            It is not such a state.
        """
        sums, sides = _state(state, 3)
        return type(self)(self.max_weight, self.baseline_max_weight, self.low, self.high, sums, sides)


def _before(sums: list[float], weights: FloatArray, products: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return Σw and Σwr of what came before each row, and carry the totals on."""
    found = []
    for index, column in enumerate((weights, products)):
        total = sums[index] + np.concatenate([[0.0], np.cumsum(column)])
        sums[index] = float(total[-1])
        found.append(total[:-1])
    return found[0], found[1]


def _scaled(rewards: FloatArray, low: float, high: float) -> FloatArray:
    if not ((rewards >= low) & (rewards <= high)).all():
        raise InvalidInput("number_out_of_range", "rewards", f"must lie from {low:g} to {high:g}")
    result: FloatArray = (rewards - low) / (high - low)
    return result


def _check_weights(name: str, weights: FloatArray, most: float | None) -> None:
    if not ((weights >= 0.0) & (weights <= (math.inf if most is None else most))).all():
        raise InvalidInput("number_out_of_range", name, f"must lie from 0 to {'any' if most is None else most}")


def _check_range(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidInput("number_out_of_range", "low", f"and high must be finite and in order, not {low}, {high}")


def _check_weight(name: str, weight: float) -> None:
    if not 1.0 <= weight < math.inf:
        raise InvalidInput("number_out_of_range", name, f"must be at least 1, as the mean is, not {weight!r}")


def _half(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise InvalidInput("number_out_of_range", "level", f"must lie between 0 and 1, not {level!r}")
    return (1.0 - level) / 2


def _state(state: tuple[Any, ...], n_sums: int) -> tuple[list[float], tuple[LowerBound, LowerBound]]:
    sums, (first, second) = state
    numbers = [float(each) for each in (*sums, *first, *second)]
    if len(sums) != n_sums or not all(map(math.isfinite, numbers)):
        raise StateInvalid("not the state of a confidence sequence")
    return list(sums), (LowerBound(*first), LowerBound(*second))
