"""Where the posteriors of actions live, and what their densities need."""

import itertools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from policies.protocol import FloatArray

__all__ = ["Constants", "Densities", "Posterior", "Shape", "masses_of"]

Constants = tuple[float, ...]

_FINE_HALF_WIDTH: Final = 3.0  # scales to either side of the middle that get the finest panels


class Shape(NamedTuple):
    """Where a posterior lives: make one with `Shape.of`.

    Attributes
    ----------
    low, high
        Where its tails stop to matter.
    scale
        The least length over which its density changes.
    turn
        Above it the density changes over longer and longer lengths, or is next to nothing.
    edges
        The panel edges it asks for, from at most `low` to at least `high`; multiples of powers of two.
    """

    low: float
    high: float
    scale: float
    turn: float
    edges: frozenset[float]

    @classmethod
    def of(cls, middle: float, scale: float, *, low: float, high: float) -> "Shape":
        """Return the shape of a posterior.

        Parameters
        ----------
        middle
            A place near its mode.
        scale
            Length over which its density changes there, > 0.
        low, high
            Where its tails stop to matter; `low` < `middle` < `high`.
        """
        edges: set[float] = set()
        width = math.ldexp(0.5, math.frexp(scale)[1])  # the power of two in (scale / 2, scale]
        half = _FINE_HALF_WIDTH * scale
        inner_first, inner_last = 1, 0
        while True:
            left, right = middle - half, middle + half
            first, last = math.floor(max(left, low) / width), math.ceil(min(right, high) / width)
            outside = (
                (range(first, inner_first), range(inner_last + 1, last + 1)) if edges else (range(first, last + 1),)
            )
            edges.update([k * width for ks in outside for k in ks])
            if left <= low and right >= high:
                return cls(low, high, scale, middle + _FINE_HALF_WIDTH * scale, frozenset(edges))
            inner_first, inner_last = -(-first // 2), last // 2  # in units of the next width
            width *= 2.0
            half *= 2.0

    def joined(self, other: "Shape") -> "Shape":
        """Return the shape of a mixture of the two."""
        return Shape(
            min(self.low, other.low),
            max(self.high, other.high),
            min(self.scale, other.scale),
            max(self.turn, other.turn),
            self.edges | other.edges,
        )


class Posterior(NamedTuple):
    """What is believed of one action.

    Attributes
    ----------
    shape
        Where it lives.
    components
        The constants that the density of each component needs, 1 or 2 of them, their weights included.
    """

    shape: Shape
    components: tuple[Constants, ...]


class Densities(Protocol):
    """A family of distributions."""

    @staticmethod
    def basis(points: FloatArray, lengths: FloatArray) -> FloatArray:
        """Return what `masses` needs of the points, shape (p,), and of the lengths that they stand for, > 0."""

    def masses(self, constants: FloatArray, basis: FloatArray) -> FloatArray:
        """Return density × length for constants (n, number of them) at p points: shape (n, p)."""


def masses_of(posteriors: Sequence[Posterior], basis: FloatArray, family: Densities) -> FloatArray:
    """Return density × length of each posterior at each point, the components of a mixture added up: (n, p)."""
    constants = [posterior.components[0] for posterior in posteriors]
    mixtures = [i for i, posterior in enumerate(posteriors) if len(posterior.components) > 1]
    constants += [posteriors[i].components[1] for i in mixtures]
    width = len(constants[0])
    numbers = np.fromiter(itertools.chain.from_iterable(constants), np.float64, len(constants) * width)
    result = family.masses(numbers.reshape(-1, width), basis)
    if not mixtures:
        return result
    n = len(posteriors)
    result[mixtures] += result[n:]
    return result[:n]
