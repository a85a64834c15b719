"""The probability that each of several independent posteriors holds the largest mean.

``P(i is best) = ∫ f_i(y) Π_{j≠i} F_j(y) dy`` for densities f and distribution functions F.
All integrals, those from f to F included, run over one set of points. Nothing below the *floor*, the highest of
all lower ends, matters, since one factor F is 0 there: the points start at it, and F is 1 − ∫ f from there
upwards, for which densities must be to scale.

Which points those are depends on how unlike the posteriors are: one rule of quadrature over all of the range
(`policies.best_rule`) as long as it needs no more than some hundred points, else panels (`policies.best_panels`).

A posterior whose whole reach lies below another's gets 0. A posterior may be a mixture: its density is the sum of
its components', each times its weight.
"""

import operator
from collections.abc import Sequence

from policies.best_panels import chances_by_panels
from policies.best_rule import chances_by_rule, grid_for
from policies.shapes import Densities, Posterior

__all__ = ["best_probabilities"]


def best_probabilities(posteriors: Sequence[Posterior], counts: Sequence[int], family: Densities) -> list[float]:
    """Return, for each posterior, the probability that one draw of it beats all others.

    Parameters
    ----------
    posteriors
        The distinct ones; shape (n,).
    counts
        How many independent copies of each compete; shape (n,), ≥ 1.
    family
        What all of them are distributions of.

    Returns
    -------
    Shape (n,): the probability of *one* copy, so that ``counts @ result`` is 1.
    """
    shapes = [posterior.shape for posterior in posteriors]
    floor = max([shape.low for shape in shapes])
    contenders = [i for i, shape in enumerate(shapes) if shape.high > floor]
    if len(contenders) < len(posteriors):
        alive = [posteriors[i] for i in contenders]
        of_alive = best_probabilities(alive, [counts[i] for i in contenders], family)
        result = [0.0] * len(posteriors)
        for i, probability in zip(contenders, of_alive, strict=True):
            result[i] = probability
        return result
    if len(posteriors) == 1:
        return [1.0 / counts[0]]
    grid = grid_for(shapes, floor, family)
    if grid is None:
        chances = chances_by_panels(posteriors, counts, floor, family)
    else:
        chances = chances_by_rule(grid, posteriors, counts, family)
    total = sum(map(operator.mul, chances, counts))
    return [chance / total for chance in chances]
