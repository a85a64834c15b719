"""The probability that each of several independent posteriors holds the largest mean.

``P(i is best) = ∫ f_i(y) Π_{j≠i} F_j(y) dy`` for densities f and distribution functions F.
All integrals, those from f to F included, run over one shared set of panels with three
Gauss-Legendre points each:

- every posterior asks for panels about as wide as its scale near its middle, and for wider
  ones further out, as far as it reaches;
- panel edges are multiples of powers of two, so that what posteriors of similar scale ask
  for coincides, and the grid stays small however many there are;
- F inside a panel comes from integrating the parabola through the panel's three points.

F is scaled by its own total, so densities need no constant factor. A posterior whose whole
reach lies below another's gets 0.

References
----------
Hairer, Nørsett & Wanner (1993), "Solving Ordinary Differential Equations I", II.7, table 7.4
(the matrix of partial integrals, there called Kuntzmann-Butcher of order 6).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from policies.protocol import FloatArray

__all__ = ["Shape", "best_probabilities"]

_FINE_HALF_WIDTH = 3.0  # scales to either side of the middle that get the finest panels
_LEAST = 1e-300  # stands for F where it is smaller, so that dividing by it is harmless
_ROOT_15 = math.sqrt(15.0)
_POINTS = np.array([0.5 - _ROOT_15 / 10, 0.5, 0.5 + _ROOT_15 / 10])  # of a panel [0, 1]
_WEIGHTS = np.array([5 / 18, 4 / 9, 5 / 18])
_PARTIAL = np.array(  # row i: weights of the integral from 0 to point i
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
    edges: tuple[float, ...]

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
                return cls(low, high, tuple(edges))
            inner_first, inner_last = -(-first // 2), last // 2  # in units of the next width
            width *= 2.0
            half *= 2.0


def best_probabilities(
    shapes: Sequence[Shape], counts: Sequence[int], density: Callable[[list[int], FloatArray], FloatArray]
) -> FloatArray:
    """Return, for each posterior, the probability that one draw of it beats all others.

    Parameters
    ----------
    shapes
        One per distinct posterior; shape (n,).
    counts
        How many independent copies of it compete; shape (n,), ≥ 1.
    density
        Given indices into `shapes`, (m,), and points, (p,): the densities at them, (m, p), each
        posterior in a unit of its own.

    Returns
    -------
    Shape (n,): the probability of *one* copy, so that ``counts @ result`` is 1.
    """
    result = np.zeros(len(shapes))
    floor = max(shape.low for shape in shapes)
    contenders = [i for i, shape in enumerate(shapes) if shape.high > floor]
    copies = np.array([counts[i] for i in contenders], dtype=np.float64)
    if len(contenders) == 1:
        result[contenders] = 1.0 / copies
        return result

    edges = np.array(sorted(set().union(*[shapes[i].edges for i in contenders])))
    widths = np.diff(edges)
    points = edges[:-1] + widths * _POINTS[:, None]
    f = density(contenders, points.ravel()).reshape(-1, 3, len(widths))
    mass = f * widths
    mass /= np.add.reduce(np.einsum("kjp,j->kp", mass, _WEIGHTS), axis=1)[:, None, None]
    distribution = _distribution(mass)
    product = np.multiply.reduce(distribution if copies.max() == 1.0 else distribution ** copies[:, None, None], axis=0)
    product *= _WEIGHTS[:, None]
    mass /= distribution
    chances = np.einsum("kjp,jp->k", mass, product)
    result[contenders] = chances / np.add.reduce(chances * copies)
    return result


def _distribution(mass: FloatArray) -> FloatArray:
    """Return F at the points, given density × panel width there, which sums to 1: both (n, 3, panels)."""
    panels = np.einsum("kjp,j->kp", mass, _WEIGHTS)
    before = np.cumsum(panels, axis=1)
    before -= panels
    distribution: FloatArray = np.einsum("kjp,ij->kip", mass, _PARTIAL)
    distribution += before[:, None, :]
    np.maximum(distribution, _LEAST, out=distribution)
    return distribution
