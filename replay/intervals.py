"""Intervals for the mean of bounded rewards, for a sample whose size was fixed beforehand.

An interval that may be looked at again and again while the sample grows is another thing:
`policies.bounds` has it.
"""

import math

from replay.errors import InvalidLog

__all__ = ["clopper_pearson", "empirical_bernstein"]

_FRACTION_STEPS = 100_000  # the fraction needs about √n of them; far beyond any log that fits in memory
_TINY = 1e-300  # keeps Lentz's method from dividing by 0


def clopper_pearson(successes: int, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval for the probability of a success.

    Parameters
    ----------
    successes, trials
        Counts, 0 ≤ successes ≤ trials.
    level
        Coverage to promise, in (0, 1). The true coverage is never less, and usually more.

    Returns
    -------
    Lower and upper end, in [0, 1]; (0, 1) if there were no trials.

    Raises
    ------
    InvalidLog
        A count or the level is out of range.

    References
    ----------
    Clopper & Pearson (1934), "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial".
    """
    if not 0 <= successes <= trials:
        raise InvalidLog("count_out_of_range", "successes", f"must be 0 to {trials}, not {successes}")
    tail = _tail(level) / 2
    lower = 0.0 if successes == 0 else _beta_quantile(tail, successes, trials - successes + 1)
    # The upper end is one minus the lower end for the failures, which keeps its digits when both are near 1.
    upper = 1.0 if successes == trials else 1.0 - _beta_quantile(tail, trials - successes, successes + 1)
    return lower, upper


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
    low, high = reward_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidLog("range_invalid", "reward_range", f"must be two finite numbers in order, not {reward_range}")
    log_term = math.log(4 / _tail(level))
    if n < 2:  # noqa: PLR2004 - a sample variance needs two rewards
        return low, high
    margin = math.sqrt(2 * variance * log_term / n) + (high - low) * 7 * log_term / (3 * (n - 1))
    return max(low, mean - margin), min(high, mean + margin)


def _tail(level: float) -> float:
    if not 0 < level < 1:
        raise InvalidLog("level_out_of_range", "level", f"must lie between 0 and 1, not {level}")
    return 1 - level


def _beta_quantile(target: float, a: int, b: int) -> float:
    """Return the x at which the incomplete beta function I_x(a, b) reaches `target`: bisection to the last bit."""
    low, high = 0.0, 1.0
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        if _incomplete_beta(middle, a, b) < target:
            low = middle
        else:
            high = middle


def _incomplete_beta(x: float, a: int, b: int) -> float:
    """Return I_x(a, b), which is the probability of at least `a` successes in a + b − 1 trials."""
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):  # the side on which the continued fraction converges fast
        return front * _beta_fraction(x, a, b) / a
    return 1 - front * _beta_fraction(1 - x, b, a) / b


def _beta_fraction(x: float, a: int, b: int) -> float:
    """Evaluate the continued fraction of I_x(a, b) (DLMF 8.17.22) by the modified Lentz method."""
    c = 1.0
    d = 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _FRACTION_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = value
        for term in (even, odd):
            d = 1 / (1 + term * d or _TINY)
            c = 1 + term / c or _TINY
            value *= c * d
        if abs(value - before) <= math.ulp(value):
            return value
    raise ArithmeticError(f"the beta fraction did not converge at x = {x!r}, a = {a}, b = {b}")
