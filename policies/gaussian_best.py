"""The probability that each of several independent normals is the largest.

One that beats the one of the largest mean with a probability below 5e-6 gets 0. Of the others, two are compared in
closed form; for more it is

``P(i is largest) = ∫ f_i(t) Π_{j≠i} F_j(t) dt`` for densities f and distribution functions F.

Let the *floor* be the highest of all lower ends, mean − 4.8 deviations. What any of them has above the floor lies
within 9.6 of its own deviations above it; so that at a distance D above the floor only those with a deviation of
D ÷ 9.6 or more still change. Points whose distances grow with D, ``t = floor + unit × (exp(U u) − 1)`` for
Gauss-Legendre points u of [0, 1], resolve all of them, narrow and wide: as functions of u all densities are smooth, and
the number of points depends on U alone. F comes from the densities at the same points, by the matrix that integrates
their interpolating polynomial from each point to the upper end.

The error of a probability is below 1e-4: the rule's, and what is left out. A deviation below 1e-7 of the widest counts
as that.
"""

import bisect
import functools
import math
from typing import Final, NamedTuple

import numpy as np

from policies.protocol import FloatArray

__all__ = ["largest_of_normals", "normal_distribution"]

_REACH: Final = 4.8  # deviations; the tail beyond is 8e-7
_POINTS_PER_UNIT: Final = 20  # of U, and
_POINTS_MORE: Final = 18  # once
_SIZES: Final = (24, 28, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384)  # of the rules there are; 3 MB if all are used
_LARGEST_U: Final = [(size - _POINTS_MORE) / _POINTS_PER_UNIT for size in _SIZES]
_LEAST: Final = 1e-300  # stands for F where it is smaller, so that dividing by it is harmless
_NEVER: Final = 4.42**2  # square of the deviations by which two normals lie apart so that one is larger in 5e-6
_LEAST_VARIANCE: Final = 1e-14  # of the widest: what the largest rule resolves
_TWO: Final = 2
_ROOT_HALF: Final = math.sqrt(0.5)
_ROOT_1_PI: Final = math.sqrt(1.0 / math.pi)


class _Rule(NamedTuple):
    """Quadrature over x = (t − floor) ÷ unit, from 0 to exp(U) − 1.

    Attributes
    ----------
    powers
        Shape (3, m): 1, x and x² at the points.
    weights
        Shape (m,).
    above
        Shape (m, m): values at the points @ above = minus the integrals from each point to the upper end.
    """

    powers: FloatArray
    weights: FloatArray
    above: FloatArray


def largest_of_normals(means: FloatArray, variances: FloatArray) -> FloatArray:
    """Return the probability that each is the largest.

    Parameters
    ----------
    means, variances
        Shape (n,), finite; variances > 0.

    Returns
    -------
    Shape (n,), sum 1.
    """
    mean_of, variance_of = means.tolist(), variances.tolist()  # so few numbers are looked through faster like this
    best = max(mean_of)
    winner = mean_of.index(best)
    variance = variance_of[winner]
    contenders = [
        i for i, mean in enumerate(mean_of) if (mean - best) * (mean - best) < _NEVER * (variance_of[i] + variance)
    ]
    result = np.zeros(len(mean_of))
    if len(contenders) > _TWO:
        result[contenders] = _largest([mean_of[i] for i in contenders], [variance_of[i] for i in contenders])
    elif len(contenders) == _TWO:
        first, last = contenders
        gap = (mean_of[first] - mean_of[last]) / math.sqrt(variance_of[first] + variance_of[last])
        result[first] = normal_distribution(gap)
        result[last] = normal_distribution(-gap)
    else:
        result[winner] = 1.0
    return result


def normal_distribution(z: float) -> float:
    """Return the probability that a standard normal is at most z."""
    return 0.5 * math.erfc(-z * _ROOT_HALF)


def _largest(means: list[float], variances: list[float]) -> FloatArray:
    """Return the same for three or more, by quadrature."""
    least = _LEAST_VARIANCE * max(variances)
    deviations = [math.sqrt(max(variance, least)) for variance in variances]
    floor = max([mean - _REACH * deviation for mean, deviation in zip(means, deviations, strict=True)])
    top = max([mean + _REACH * deviation for mean, deviation in zip(means, deviations, strict=True)])
    unit = 2.0 * _REACH * min(deviations)
    rule = _rule(bisect.bisect_left(_LARGEST_U, math.log1p((top - floor) / unit), hi=len(_SIZES) - 1))
    exponents = []  # of the densities of x: polynomials
    for mean, deviation in zip(means, deviations, strict=True):
        factor = _ROOT_HALF / deviation
        start, slope = (floor - mean) * factor, unit * factor
        exponents.append((math.log(slope * _ROOT_1_PI) - start * start, -2.0 * start * slope, -slope * slope))
    densities = np.exp(np.array(exponents).dot(rule.powers))
    distributions = densities.dot(rule.above)
    distributions += 1.0
    np.maximum(distributions, _LEAST, out=distributions)
    densities /= distributions
    chances: FloatArray = densities.dot(np.multiply.reduce(distributions) * rule.weights)
    chances /= chances.sum()
    return chances


@functools.cache
def _rule(size: int) -> _Rule:
    n_points, largest = _SIZES[size], _LARGEST_U[size]
    nodes, weights = np.polynomial.legendre.leggauss(n_points)
    # Legendre's P_k integrates to (P_{k+1} − P_{k−1}) ÷ (2 k + 1), and to 0 at the upper end for k > 0.
    values = np.polynomial.legendre.legvander(nodes, n_points)
    integrals = np.empty((n_points, n_points))
    integrals[:, 0] = nodes - 1.0
    for k in range(1, n_points):
        integrals[:, k] = (values[:, k + 1] - values[:, k - 1]) / (2 * k + 1)
    coefficients = values[:, :n_points] * weights[:, None] * (np.arange(n_points) + 0.5)
    growth = np.exp(largest * (nodes + 1.0) / 2.0)
    steps = growth * (largest / 2.0)  # dt ÷ d node
    return _Rule(
        np.vander(growth - 1.0, 3, increasing=True).T.copy(),
        weights * steps,
        steps[:, None] * (coefficients @ integrals.T),
    )
