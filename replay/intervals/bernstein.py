"""Empirical Bernstein: an interval for any n, for the price of being wide."""

import math

from replay.intervals.interval import Interval, Limits
from replay.sums import Sums

__all__ = ["bernstein", "empirical_bernstein"]


def empirical_bernstein(
    mean: float, variance: float, n: int, *, reward_range: tuple[float, float], level: float = 0.95
) -> tuple[float, float]:
    """Return an interval for the mean of independent rewards that lie in a known range.

    Each end is Maurer & Pontil's Theorem 4 at δ = (1 − level) / 2, for rewards scaled to [0, 1]:
    mean ± (√(2 V ln(2/δ) / n) + 7 ln(2/δ) / (3 (n − 1))), cut off at the range.

    Parameters
    ----------
    mean, variance
        Of the sample; the variance with n − 1 below the line.
    n
        Size of the sample.
    reward_range
        What a reward can be, not what was seen: smallest and largest.
    level
        Coverage to promise, in (0, 1).

    Returns
    -------
    Lower and upper end; the whole range if n < 2.

    Raises
    ------
    InvalidLog
        The range is empty or not finite, or the level is out of range.

    References
    ----------
    Maurer & Pontil (2009), "Empirical Bernstein Bounds and Sample-Variance Penalization".
    """
    limits = Limits(level, *reward_range)
    low, high = limits.everything
    if n < 2:  # noqa: PLR2004 - a sample variance needs two rewards
        return low, high
    log_term = math.log(4 / limits.alpha)
    margin = math.sqrt(2 * variance * log_term / n) + limits.width * 7 * log_term / (3 * (n - 1))
    return max(low, mean - margin), min(high, mean + margin)


def bernstein(sums: Sums, limits: Limits) -> Interval:
    """Return the empirical Bernstein interval of what an estimate averages: w r lies from 0 to max weight × r.

    A ratio gets the interval of its numerator, which is one for the policy's value too.
    """
    largest = limits.max_weight if limits.max_weight is not None else sums.weight_max
    # With a model the weights multiply r − q, and predictions lie in the range of rewards.
    low, high = (-limits.width, limits.width) if sums.has_model else limits.everything
    reach = (min(low * largest, low, 0.0), max(high * largest, high, 0.0))
    numerator, _, base = sums.moments.mean.tolist()
    span = (reach[0] + sums.base_min, reach[1] + sums.base_max)
    variance = _variance(sums)
    ends = empirical_bernstein(numerator + base, variance, sums.n, reward_range=span, level=limits.level)
    found = Interval(*ends, f"empirical bernstein, weights up to {largest:.4g}")
    return found if sums.has_model else found.within(*limits.everything)


def _variance(sums: Sums) -> float:
    if sums.n < 2:  # noqa: PLR2004 - a sample variance needs two rows
        return 0.0
    gradient = sums.moments.mean * 0.0
    gradient[[0, 2]] = 1.0
    return sums.moments.squares(gradient) / sums.total / (1.0 - 1.0 / sums.n)
