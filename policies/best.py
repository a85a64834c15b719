"""The probability that each of several independent posteriors holds the largest mean.

``P(i is best) = ∫ f_i(y) Π_{j≠i} F_j(y) dy`` for densities f and distribution functions F.
All integrals, those from f to F included, run over one shared set of panels with three
Gauss-Legendre points each:

- nothing below the highest of all lower ends matters, since one factor F is 0 there: the panels
  start at it, and F is 1 − ∫ f from there upwards, for which densities must be to scale;
- every posterior asks for panels about as wide as its scale near its middle, and for wider
  ones further out, as far as it reaches;
- panel edges are multiples of powers of two, so that what posteriors of similar scale ask
  for coincides, and the grid stays small however many there are;
- F inside a panel comes from integrating the parabola through the panel's three points.

A posterior whose whole reach lies below another's gets 0. A posterior may be a mixture: its density is the sum of
its components', each times its weight.

References
----------
Hairer, Nørsett & Wanner (1993), "Solving Ordinary Differential Equations I", II.7, table 7.4
(the matrix of partial integrals, there called Kuntzmann-Butcher of order 6).
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from policies.protocol import FloatArray

__all__ = ["Constants", "Posterior", "Shape", "best_probabilities"]

Constants = tuple[float, ...]

_FINE_HALF_WIDTH: Final = 3.0  # scales to either side of the middle that get the finest panels
_LEAST: Final = 1e-300  # stands for F where it is smaller, so that dividing by it is harmless
_ROOT_15: Final = math.sqrt(15.0)
_POINTS: Final = np.array([0.5 - _ROOT_15 / 10, 0.5, 0.5 + _ROOT_15 / 10])  # of a panel [0, 1]
_WEIGHTS: Final = np.array([5 / 18, 4 / 9, 5 / 18])
_PARTIAL: Final = np.array(  # row i: weights of the integral from 0 to point i
    [
        [5 / 36, 2 / 9 - _ROOT_15 / 15, 5 / 36 - _ROOT_15 / 30],
        [5 / 36 + _ROOT_15 / 24, 2 / 9, 5 / 36 - _ROOT_15 / 24],
        [5 / 36 + _ROOT_15 / 30, 2 / 9 + _ROOT_15 / 15, 5 / 36],
    ]
)


class Shape(NamedTuple):
    """Where a posterior lives: make one with `Shape.of`.

    Attributes
    ----------
    low, high
        Where its tails stop to matter.
    edges
        The panel edges it asks for, from at most `low` to at least `high`.
    """

    low: float
    high: float
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
                return cls(low, high, frozenset(edges))
            inner_first, inner_last = -(-first // 2), last // 2  # in units of the next width
            width *= 2.0
            half *= 2.0

    def joined(self, other: "Shape") -> "Shape":
        """Return the shape of a mixture of the two."""
        return Shape(min(self.low, other.low), max(self.high, other.high), self.edges | other.edges)


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


def best_probabilities(
    posteriors: Sequence[Posterior], counts: Sequence[int], density: Callable[[FloatArray, FloatArray], FloatArray]
) -> FloatArray:
    """Return, for each posterior, the probability that one draw of it beats all others.

    Parameters
    ----------
    posteriors
        The distinct ones; shape (n,).
    counts
        How many independent copies of each compete; shape (n,), ≥ 1.
    density
        Given constants, (c, m), and points, (p, 1): the densities at them times the weights, (p, m).

    Returns
    -------
    Shape (n,): the probability of *one* copy, so that ``counts @ result`` is 1.
    """
    result = np.zeros(len(posteriors))
    floor = max([posterior.shape.low for posterior in posteriors])
    contenders = [i for i, posterior in enumerate(posteriors) if posterior.shape.high > floor]
    copies = np.array([counts[i] for i in contenders], dtype=np.float64)
    if len(contenders) == 1:
        result[contenders] = 1.0 / copies
        return result

    alive = [posteriors[i] for i in contenders]
    edges = _edges(alive, floor)
    widths = edges[1:] - edges[:-1]
    points = (edges[:-1] + widths * _POINTS[:, None]).ravel()
    mass = _densities(alive, points, density)
    mass *= np.concatenate([widths, widths, widths])[:, None]
    distribution = _distribution(mass)
    product = np.multiply.reduce(distribution, axis=1)
    for i in np.flatnonzero(copies > 1.0):
        product *= distribution[:, i] ** (copies[i] - 1.0)
    product *= np.repeat(_WEIGHTS, len(widths))
    mass /= distribution
    chances = np.einsum("pk,p->k", mass, product)
    result[contenders] = chances / np.add.reduce(chances * copies)
    return result


def _edges(posteriors: Sequence[Posterior], floor: float) -> FloatArray:
    """Return all edges that are asked for, from the last one at or below the floor."""
    edges = np.array(list(frozenset().union(*[posterior.shape.edges for posterior in posteriors])))
    edges.sort()
    return edges[max(0, int(edges.searchsorted(floor, "right")) - 1) :]


def _densities(
    posteriors: Sequence[Posterior], points: FloatArray, density: Callable[[FloatArray, FloatArray], FloatArray]
) -> FloatArray:
    """Return the density of each posterior at each point, the components of a mixture added up: (p, n)."""
    n = len(posteriors)
    constants = [posterior.components[0] for posterior in posteriors]
    mixtures = [i for i, posterior in enumerate(posteriors) if len(posterior.components) > 1]
    constants += [posteriors[i].components[1] for i in mixtures]
    width = len(constants[0])
    numbers = np.fromiter(itertools.chain.from_iterable(constants), np.float64, len(constants) * width)
    result = density(numbers.reshape(-1, width).T.copy(), points[:, None])
    if not mixtures:
        return result
    result[:, mixtures] += result[:, n:]
    return result[:, :n].copy()


def _distribution(mass: FloatArray) -> FloatArray:
    """Return F at the points, given density × panel width there: both (3 × panels, n), first points first."""
    thirds = mass.reshape(3, -1)
    n = mass.shape[1]
    panels = np.einsum("j,jq->q", _WEIGHTS, thirds).reshape(-1, n)
    before = np.cumsum(panels, axis=0)
    below = 1.0 - before[-1]  # the first edge
    before -= panels
    before += below
    result: FloatArray = np.einsum("ij,jq->iq", _PARTIAL, thirds)
    result += before.ravel()
    np.maximum(result, _LEAST, out=result)
    return result.reshape(mass.shape)
