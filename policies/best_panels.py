"""The integrals of `policies.best` over panels with three Gauss-Legendre points each, for posteriors however unlike.

- Every posterior asks for panels about as wide as its scale near its middle, and for wider
  ones further out, as far as it reaches;
- panel edges are multiples of powers of two, so that what posteriors of similar scale ask
  for coincides, and the grid stays small however many there are;
- F inside a panel comes from integrating the parabola through the panel's three points.

References
----------
Hairer, Nørsett & Wanner (1993), "Solving Ordinary Differential Equations I", II.7, table 7.4
(the matrix of partial integrals, there called Kuntzmann-Butcher of order 6).
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from policies.protocol import FloatArray
from policies.shapes import Densities, Posterior, masses_of

__all__ = ["chances_by_panels"]

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


def chances_by_panels(
    posteriors: Sequence[Posterior], counts: Sequence[int], floor: float, family: Densities
) -> list[float]:
    """Return numbers in proportion to the probabilities: shape (n,)."""
    edges = _edges(posteriors, floor)
    widths = edges[1:] - edges[:-1]
    points = (edges[:-1] + widths * _POINTS[:, None]).ravel()
    basis = family.basis(points, np.concatenate([widths, widths, widths]))
    mass = np.ascontiguousarray(masses_of(posteriors, basis, family).T)
    distribution = _distribution(mass)
    product = np.multiply.reduce(distribution, axis=1)
    for i, count in enumerate(counts):
        if count > 1:
            product *= distribution[:, i] ** (count - 1.0)
    product *= np.repeat(_WEIGHTS, len(widths))
    mass /= distribution
    chances: list[float] = np.einsum("pk,p->k", mass, product).tolist()
    return chances


def _edges(posteriors: Sequence[Posterior], floor: float) -> FloatArray:
    """Return all edges that are asked for, from the last one at or below the floor."""
    edges = np.array(list(frozenset().union(*[posterior.shape.edges for posterior in posteriors])))
    edges.sort()
    return edges[max(0, int(edges.searchsorted(floor, "right")) - 1) :]


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
