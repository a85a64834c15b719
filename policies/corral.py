"""Weights over policies, learned from what each of them would have earned.

An outcome tells what every policy would have earned at that moment, off-policy: policy k, which would have chosen
what was chosen with pₖ, gets the loss ``pₖ ÷ propensity × (mean − reward) ÷ (2 × standard deviation)``. Its mean is
right whoever chose, and the mean reward that is taken off first adds the same to all in the long run but keeps the
noise down. Mean and standard deviation follow the last thousand outcomes or so, so that neither the unit of the
reward nor one that lies far from all others matters for long.

The weights then take one step of online mirror descent with the log-barrier::

    1 / new wₖ = 1 / wₖ + learning rate × (lossₖ − λ),    but no new wₖ below the least weight

with the λ for which they sum to 1. It moves small weights gently, whatever a single loss says, and since none is
ever below the least weight, none needs long to come back when the world has changed.

Corral raises its step sizes as weights fall, to make up for policies that see the less of the world the less they are
played. Here every policy learns from every outcome, so that all steps are alike.

References
----------
Agarwal, Luo, Neyshabur & Schapire (2017), "Corralling a Band of Bandit Algorithms", COLT, algorithms 1 and 2.
"""

import math
import struct
from collections.abc import Sequence

from policies.errors import StateInvalid

__all__ = ["Corral", "mirror_step"]

_MEMORY = 1_000.0  # outcomes that mean and standard deviation follow
_ADOPTED = 20.0  # of a parent's outcomes, so that mean and standard deviation soon become the child's own
_SUM_TOLERANCE = 1e-9
_MOMENTS = struct.Struct("<ddd")


class Corral:
    """Weights that move towards the policies that would have earned more.

    Parameters
    ----------
    weights
        To start with: shape (n_policies,), each at least `least`, sum 1.
    learning_rate
        Size of a step, > 0.
    least
        No weight falls below it; in (0, 1 ÷ n_policies].

    Attributes
    ----------
    weights
        As they are now.
    """

    __slots__ = ("_learning_rate", "_least", "_mean", "_n", "_variance", "weights")

    def __init__(self, weights: Sequence[float], *, learning_rate: float, least: float) -> None:
        self.weights = tuple(weights)
        self._learning_rate = learning_rate
        self._least = least
        self._n = 0.0
        self._mean = 0.0
        self._variance = 0.0

    def add(self, chances: Sequence[float], *, propensity: float, reward: float) -> None:
        """Take one outcome in.

        Parameters
        ----------
        chances
            Shape (n_policies,): the probability in [0, 1] with which each would have chosen what was chosen.
        propensity
            In (0, 1], as logged.
        reward
            Finite.
        """
        loss = self._loss(reward)
        if loss == 0.0:
            return
        # A decision that these weights made has a propensity of at least weight × chance: this cuts none but others.
        largest = 1.0 / self._least
        losses = [min(chance / propensity, largest) * loss for chance in chances]
        self.weights = mirror_step(self.weights, losses, learning_rate=self._learning_rate, least=self._least)

    def adopt(self, parent: "Corral") -> None:
        """Start from the parent's weights."""
        self.loads(parent.dumps())
        self._n = min(self._n, _ADOPTED)

    def dumps(self) -> bytes:
        """Return the whole state."""
        return _MOMENTS.pack(self._n, self._mean, self._variance) + struct.pack(f"<{len(self.weights)}d", *self.weights)

    def loads(self, state: bytes) -> None:
        """Replace the state.

        Raises
        ------
        StateInvalid
            It cannot be one of as many policies; the one in place stays.
        """
        n_policies = len(self.weights)
        if len(state) != _MOMENTS.size + 8 * n_policies:
            raise StateInvalid(f"not the state of {n_policies} weights")
        n, mean, variance = _MOMENTS.unpack_from(state)
        weights = struct.unpack_from(f"<{n_policies}d", state, _MOMENTS.size)
        if not (0.0 <= n < math.inf and math.isfinite(mean) and 0.0 <= variance < math.inf):
            raise StateInvalid("the moments of the reward are out of range")
        if not (min(weights) >= self._least - _SUM_TOLERANCE and abs(sum(weights) - 1.0) <= _SUM_TOLERANCE):
            raise StateInvalid("the weights are no weights")
        self.weights = weights
        self._n, self._mean, self._variance = n, mean, variance

    def _loss(self, reward: float) -> float:
        """Return the standardised loss, at most about 16 in size, and take the reward into mean and deviation."""
        self._n += 1.0
        share = max(1.0 / self._n, 1.0 / _MEMORY)
        deviation = reward - self._mean
        self._mean += share * deviation
        self._variance = (1.0 - share) * (self._variance + share * deviation * deviation)
        return -deviation / (2.0 * math.sqrt(self._variance)) if self._variance > 0.0 else 0.0


def mirror_step(
    weights: Sequence[float], losses: Sequence[float], *, learning_rate: float, least: float
) -> tuple[float, ...]:
    """Return the weights after one step of mirror descent with the log-barrier.

    Parameters
    ----------
    weights, losses
        Shape (n,): weights of at least `least` and sum 1; finite losses.
    learning_rate
        > 0.
    least
        In (0, 1 ÷ n].
    """
    low, high = min(losses), max(losses)  # with λ = low no weight grows, with λ = high none shrinks
    stepped = list(weights)
    while low < (middle := 0.5 * (low + high)) < high:
        trial = [
            _stepped(weight, learning_rate * (loss - middle), least)
            for weight, loss in zip(weights, losses, strict=True)
        ]
        if sum(trial) <= 1.0:
            low, stepped = middle, trial
        else:
            high = middle
    largest = max(stepped)
    stepped[stepped.index(largest)] += 1.0 - sum(stepped)  # what λ, a float, leaves over
    return tuple(stepped)


def _stepped(weight: float, change: float, least: float) -> float:
    inverse = 1.0 / weight + change
    return 1.0 if inverse <= 1.0 else max(1.0 / inverse, least)
