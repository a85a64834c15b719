"""The probability that each of several independent normals is the largest.

Let the *reach* of n normals be √(16 + 2 ln n) deviations: what all of them together have above it is 3.2e-5 at most.
One that lies below that of the largest mean by the reach, in deviations of their difference, gets 0. Of the others, two
are compared in closed form; for more it is

``P(i is largest) = ∫ f_i(t) Π_{j≠i} F_j(t) dt`` for densities f and distribution functions F.

Let the *floor* be the highest of all lower ends, mean − reach. What any of them has above the floor lies within twice
its reach above it; so that at a distance D above the floor only those that reach half as far still change. Points whose
distances grow with D, ``t = floor + unit × (exp(U u) − 1)`` for Gauss-Legendre points u of [0, 1], resolve all of them,
narrow and wide: as functions of u all densities are smooth, and the number of points depends on U and n alone. F comes
from the densities at the same points, by the matrix that integrates their interpolating polynomial from each point to
the upper end.

The error of a probability is below 1e-4: the rule's, and what is left out. A deviation below 1e-7 of the widest counts
as that.

With ten normals nearly all of the time goes into calling numpy, and little into its loops: hence the plain numbers
where no array is needed, and the column of ones, which saves an addition.
"""

import functools
import math
from typing import Final, NamedTuple

import numpy as np

from policies.protocol import FloatArray

__all__ = ["largest_of_normals", "normal_distribution"]

_TAIL: Final = 16.0  # n normals have φ(reach) ÷ reach of their mass above the reach, each: exp(−8) ÷ (n √(2 π) reach)
_POINTS_PER_UNIT: Final = 18.0  # of U, and
_POINTS_MORE: Final = 14.0  # once; times the next two
_POINTS_FEWEST: Final = 0.05  # and as much again for
_POINTS_PER_DOUBLING: Final = 0.30  # of the number of normals: the largest of many varies little
_LEAST_U: Final = math.log(2.0)  # of normals that are all alike
_STEP_U: Final = math.log(1.1)  # there is a rule for each tenth that U is larger
_MOST_POINTS: Final = 400  # for 200 normals of deviations from 1 to 1e7
_RULES: Final = 64  # kept: 8 to 50 kB each, up to 1.3 MB where hundreds of normals are of very different widths
_LEAST_VARIANCE: Final = 1e-14  # of the widest
# Variances of normals that are alike, ÷ the least of them: to find out which of them contend, and whose lower end is
# the highest, takes longer than it saves.
_ALIKE: Final = 6.0
_TWO: Final = 2
_ROOT_HALF: Final = math.sqrt(0.5)
_ROOT_1_2PI: Final = math.sqrt(0.5 / math.pi)
_LEAST: Final = np.array(1e-300)  # stands for F where it is smaller, so that dividing by it is harmless


class _Rule(NamedTuple):
    """Quadrature over x = (t − floor) ÷ unit, from 0 to exp(U) − 1, for m points.

    It takes densities of x without their factor 1 ÷ √(2 π). In the last column, where the powers are 0, they are 1.

    Attributes
    ----------
    powers
        Shape (4, m + 1): 1/2, −1/2, x and −x² ÷ 2 at the points, then 0.
    weights
        Shape (m + 1,): of the points, then 0.
    distributions
        Shape (m + 1, m + 1): densities @ distributions = F, 1 minus the integral from each point to the upper end.
    """

    powers: FloatArray
    weights: FloatArray
    distributions: FloatArray


def largest_of_normals(means: FloatArray, variances: FloatArray, *, evenly: float = 0.0) -> FloatArray:
    """Return the probability that each is the largest.

    Parameters
    ----------
    means, variances
        Shape (n,), finite; variances > 0.
    evenly
        Share of the probability that is spread evenly instead; 0 to 1.

    Returns
    -------
    Shape (n,), sum 1.
    """
    n = len(means)
    reach = math.sqrt(_TAIL + 2.0 * math.log(n))
    variance, widest = variances.item(variances.argmin()), variances.item(variances.argmax())
    if n > _TWO and widest < _ALIKE * variance:
        best, _, third = sorted(means.tolist())[: -_TWO - 2 : -1]
        if best - third < reach * math.sqrt(variance):  # three contend: that others may not saves little
            return _mixed(_largest(means, variances, reach), evenly)
    winner = means.argmax()
    gaps = means - means[winner]
    gaps *= gaps
    contenders = (gaps < reach * reach * (variances + variances[winner])).nonzero()[0]
    chances = np.zeros(n)
    if len(contenders) > _TWO:
        chances[contenders] = _largest(means.take(contenders), variances.take(contenders), reach)
    elif len(contenders) == _TWO:
        first, last = contenders.tolist()
        z = (means.item(first) - means.item(last)) / math.sqrt(variances.item(first) + variances.item(last))
        chances[first] = normal_distribution(z)
        chances[last] = normal_distribution(-z)
    else:
        chances[winner] = 1.0
    return _mixed(chances, evenly)


def normal_distribution(z: float) -> float:
    """Return the probability that a standard normal is at most z."""
    return 0.5 * math.erfc(-z * _ROOT_HALF)


def _mixed(chances: FloatArray, evenly: float) -> FloatArray:
    """Let chances sum to 1, a share of it in even shares."""
    chances *= (1.0 - evenly) / sum(chances.tolist())  # faster than numpy's for the ten or fifty there are
    if evenly > 0.0:
        chances += evenly / len(chances)
    return chances


def _largest(means: FloatArray, variances: FloatArray, reach: float) -> FloatArray:
    """Return the same for three or more, by quadrature, times any factor."""
    narrowest, widest = variances.item(variances.argmin()), variances.item(variances.argmax())
    if narrowest < _LEAST_VARIANCE * widest:
        narrowest = _LEAST_VARIANCE * widest
        variances = np.maximum(variances, narrowest)
    winner = means.argmax()
    best = means.item(winner)
    if widest < _ALIKE * narrowest:
        narrow_end = means.item(variances.argmin()) - reach * math.sqrt(narrowest)
        floor = max(narrow_end, best - reach * math.sqrt(variances.item(winner)))
    else:
        ends = means - reach * np.sqrt(variances)
        floor = ends.item(ends.argmax())
    unit = 2.0 * reach * math.sqrt(narrowest)
    largest_u = math.log1p((best + reach * math.sqrt(widest) - floor) / unit)
    rule = _rule(math.ceil(math.log(largest_u / _LEAST_U) / _STEP_U), len(means).bit_length())

    middles = means - floor
    middles /= unit
    precisions = (unit * unit) / variances
    slopes = precisions * middles
    constants = slopes * middles
    exponents = np.array((np.log(precisions), constants, slopes, precisions)).T.dot(rule.powers)
    densities = np.exp(exponents, exponents)
    distributions = densities.dot(rule.distributions)
    np.maximum(distributions, _LEAST, out=distributions)
    densities /= distributions
    product = np.multiply.reduce(distributions)
    product *= rule.weights
    chances: FloatArray = densities.dot(product)
    return chances


@functools.lru_cache(_RULES)
def _rule(tenths: int, doublings: int) -> _Rule:
    """Return the rule for a U so many times a tenth above the least, for fewer than 2 ** `doublings` normals."""
    largest = _LEAST_U * math.exp(tenths * _STEP_U)
    more = _POINTS_FEWEST + _POINTS_PER_DOUBLING * doublings
    n_points = min(math.ceil((_POINTS_MORE + _POINTS_PER_UNIT * largest) * more), _MOST_POINTS)
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
    powers, sums = np.zeros((4, n_points + 1)), np.zeros((n_points + 1, n_points + 1))
    powers[:, :n_points] = np.vander(growth - 1.0, 3, increasing=True).T[[0, 0, 1, 2]] * [[0.5], [-0.5], [1.0], [-0.5]]
    sums[:n_points, :n_points] = steps[:, None] * (coefficients @ integrals.T) * _ROOT_1_2PI
    sums[n_points] = 1.0
    return _Rule(powers, np.append(weights * steps, 0.0), sums)
