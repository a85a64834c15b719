"""The interval of the central limit theorem: right for many rows of like weight, and only for those."""

import math

from replay.intervals.interval import Interval, Limits
from replay.intervals.quantiles import normal_quantile
from replay.sums import JointSums, Sums

__all__ = ["gaussian"]


def gaussian(sums: Sums | JointSums, limits: Limits) -> Interval:
    """Return value ± z standard errors, by the delta method where the estimate is a ratio.

    The variance of a mean has n − 1 below the line, that of a ratio n.
    """
    value, n = sums.value, sums.n
    if n < 2 or math.isnan(value):  # noqa: PLR2004 - one row says nothing of how others vary
        return Interval(-math.inf, math.inf, "gaussian: too few rows")
    error = math.sqrt(sums.squares) / sums.total
    ratio = isinstance(sums, JointSums) or sums.self_normalised
    if not ratio:
        error *= math.sqrt(n / (n - 1))
    margin = normal_quantile(limits.alpha) * error
    return Interval(value - margin, value + margin, "gaussian, delta method" if ratio else "gaussian")
