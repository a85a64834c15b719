"""The interval that is made when nobody asks for a certain one, by rules that docs/intervals.md states and measures.

1. No row has weight: the whole range of rewards.
2. The rows that have weight all have the same reward: empirical likelihood with a whole phantom row, united with
   Clopper & Pearson's interval for weighted successes, since equal rewards hide how they could vary.
3. Otherwise: empirical likelihood with a phantom row whose mass is 4 ÷ (effective number of rewards that pull to that
   side), from 0.1 to 1. Few such rewards: what did not come matters, and the interval is that of Cressie-Read with
   the largest weight. Many: it is as narrow as the delta method.
4. An end that rests on fewer than 8 weighted successes (or, for the upper one, failures) is moved in to Clopper &
   Pearson's, if that is nearer.
5. What lies outside the range of rewards is cut off.

An estimate with a reward model goes by rules 1, 3 and 5, a phantom having the mean prediction; one with smaller weights
by rule 3 without the knowledge that weights have the mean 1, and its interval is one for what it averages.
"""

import math
from dataclasses import replace

import numpy as np

from replay.intervals.binomial import least_successes, most_successes
from replay.intervals.interval import Interval, Limits
from replay.intervals.known import Known
from replay.intervals.likelihood import Cloud, least_mean
from replay.sums import Sums

__all__ = ["auto", "masses"]

_ENOUGH = 4.0  # effective rewards at which the phantom begins to shrink; found on worlds that no test or table uses
_LEAST_MASS = 0.1
_NONE = 1e-9  # of a row: what rounding leaves of no success
_FEW = 8.0  # weighted successes below which likelihood alone is needlessly wide


def auto(sums: Sums, limits: Limits) -> Interval:
    """Return an interval for the policy's value: the same for every estimator without a reward model."""
    if not sums.n_weighted:
        return Interval(*limits.everything, "everything: no row speaks of the target")
    known = Known.of(sums, limits)
    shrunk = sums.used.largest < sums.weight_max
    if not sums.has_model and not shrunk and sums.residual_min == sums.residual_max:
        return _equal(sums, limits, known)
    found = _likelihood(sums, limits, known, mass=masses(sums, limits, known))
    if _is_predicted(sums):
        return replace(found, method=f"{found.method}: how predictions vary, not how far they are off")
    if shrunk:
        if not sums.has_model:  # what is averaged lies between weights of 0 and of the largest
            found = found.within(min(0.0, limits.low * known.used), max(0.0, limits.high * known.used))
        return replace(found, method=f"{found.method}: of what smaller weights average, not of the policy's value")
    if not sums.has_model:
        found = _few(found, sums, limits, known)
    return found.within(*limits.everything)


def masses(sums: Sums, limits: Limits, known: Known) -> tuple[float, float]:
    """Return the phantom's mass for the lower and for the upper end."""
    weighted, weight, squares = sums.sum_numerator, sums.used.total, sums.residual_squares
    if weight <= 0.0:
        return 1.0, 1.0
    # How many rows of the largest weight would weigh as much as all: by Σu, and by Σu².
    rows = math.sqrt(weight / known.used * (sums.used.total2 / known.used**2))
    if sums.has_model:
        # What a model leaves of rewards says little of how many of them were earned; where the estimate lies does.
        place = min(1.0, max(0.0, (sums.value - limits.low) / limits.width))
        return _mass(rows * (1.0 - place)), _mass(rows * place)
    pulls = []
    for end in (known.high, known.low):
        # What successes are for the upper end, failures are for the lower: Σ u (r − end), and Σ u (r − end)².
        first, second = weighted - end * weight, squares - 2.0 * end * weighted + end * end * weight
        pulls.append(_mass(rows * first * first / (weight * second) if second > 0.0 else 0.0))
    return pulls[0], pulls[1]


def _mass(effective: float) -> float:
    return min(1.0, max(_LEAST_MASS, _ENOUGH / effective)) if effective > 0.0 else 1.0


def _is_predicted(sums: Sums) -> bool:
    """Whether the estimate is a reward model's word alone: no weight multiplies anything."""
    return sums.has_model and float(sums.moments.mean[0]) == float(sums.moments.comoment[0, 0]) == 0.0


def _likelihood(sums: Sums, limits: Limits, known: Known, *, mass: tuple[float, float]) -> Interval:
    predicted = _is_predicted(sums)
    # That weights have the mean 1 says nothing where they are all the same, or where others are used in their place.
    varied = sums.weight_min < sums.weight_max and not predicted
    controlled = varied and sums.used.largest == sums.weight_max
    base = float(sums.moments.mean[2])
    ends = []
    for sign, each, reach in ((1.0, mass[0], known.low), (-1.0, mass[1], known.high)):
        columns = np.array([[sign, 0.0, sign], [0.0, 1.0, 0.0]])
        weights = (0.0, known.weight) if varied else (sums.weight_max,)
        rows = [(base + _used(weight, known) * reach, weight) for weight in weights]
        if predicted:
            rows = [(sums.base_min if sign > 0.0 else sums.base_max, weight) for weight in weights]
        phantoms = [np.array([sign * x, weight]) for x, weight in rows]
        if not controlled:
            columns, phantoms = columns[:1], [row[:1] for row in phantoms]
        cloud = Cloud.of(sums.moments, columns)
        likeliest = phantoms[-1] if cloud.mean[-1] < 1.0 else phantoms[0]
        worst = sign * base + min(sign * reach, sign * reach * known.used)
        ends.append(sign * least_mean(cloud, phantoms, likeliest, mass=each, alpha=limits.alpha, worst=worst))
    words = (
        f"empirical likelihood, phantom mass {mass[0]:.2g} and {mass[1]:.2g} "
        f"at weight {known.weight:.4g} ({known.source})"
    )
    return Interval(ends[0], max(ends), words)


def _used(weight: float, known: Known) -> float:
    return min(weight, known.used)


def _few(found: Interval, sums: Sums, limits: Limits, known: Known) -> Interval:
    """Move an end in that few rewards hold up (rule 4)."""
    successes, failures = _counts(sums, limits, known)
    tail, words = limits.alpha / 2, ""
    lower, upper = found.lower, found.upper
    if 0.0 < successes < _FEW:
        end = limits.low + limits.width * known.weight * least_successes(successes, sums.total, tail=tail)
        lower, words = (end, ", lower end by clopper-pearson") if end > lower else (lower, words)
    if 0.0 < failures < _FEW:
        end = limits.high - limits.width * known.weight * least_successes(failures, sums.total, tail=tail)
        upper, words = (end, words + ", upper end by clopper-pearson") if end < upper else (upper, words)
    return Interval(min(lower, upper), max(lower, upper), found.method + words)


def _equal(sums: Sums, limits: Limits, known: Known) -> Interval:
    """Unite both (rule 2); rewards that lie inside the range leave both ends open to what did not come."""
    found = _likelihood(sums, limits, known, mass=(1.0, 1.0)).within(*limits.everything)
    successes, failures = _counts(sums, limits, known)
    # Without successes the lower end cannot miss, so the upper one has the whole error to itself.
    tail = limits.alpha / 2 if min(successes, failures) > _NONE else limits.alpha
    reach = limits.width * known.weight
    lower = max(
        limits.low + reach * least_successes(successes, sums.total, tail=tail),
        limits.high - reach * most_successes(failures, sums.total, tail=tail),
    )
    upper = min(
        limits.low + reach * most_successes(successes, sums.total, tail=tail),
        limits.high - reach * least_successes(failures, sums.total, tail=tail),
    )
    words = f"{found.method}, united with clopper-pearson: all rewards with weight are equal"
    return Interval(min(found.lower, lower), max(found.upper, upper), words).within(*limits.everything)


def _counts(sums: Sums, limits: Limits, known: Known) -> tuple[float, float]:
    """Return how many rows of the largest weight would make up all successes, and all failures."""
    reach = limits.width * known.weight
    successes = (sums.sum_numerator - limits.low * sums.sum_weight) / reach
    failures = (limits.high * sums.sum_weight - sums.sum_numerator) / reach
    return min(max(successes, 0.0), sums.total), min(max(failures, 0.0), math.inf if not reach else sums.total)
