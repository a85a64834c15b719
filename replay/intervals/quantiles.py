"""Quantiles of the normal, Student's and the beta distribution, so that no estimate needs more than numpy."""

import functools
import math
from statistics import NormalDist

__all__ = ["beta_quantile", "normal_quantile", "student_quantile"]

_FRACTION_STEPS = 100_000  # the fraction needs about √(a + b) of them; far beyond any log that fits in memory
_TINY = 1e-300  # keeps Lentz's method from dividing by 0
_EXPANDED_FROM = 500.0  # degrees of freedom from which Student's quantile by its expansion is right to 12 digits


def normal_quantile(alpha: float) -> float:
    """Return the z that |Z| exceeds with probability `alpha`."""
    return -NormalDist().inv_cdf(alpha / 2)


@functools.lru_cache(maxsize=4096)
def student_quantile(alpha: float, freedom: float) -> float:
    """Return the t that |T| exceeds with probability `alpha`, for `freedom` > 0 degrees of freedom.

    Its square is the quantile of F with 1 and `freedom` degrees.
    """
    if freedom >= _EXPANDED_FROM:
        return _expanded(normal_quantile(alpha), freedom)
    # freedom ÷ (freedom + T²) has the beta distribution with freedom ÷ 2 and ½.
    share = beta_quantile(alpha, freedom / 2, 0.5)
    return math.sqrt(freedom * (1.0 - share) / share)


def beta_quantile(target: float, a: float, b: float) -> float:
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


def _expanded(z: float, freedom: float) -> float:
    """Return Student's quantile from the normal one (Abramowitz & Stegun 26.7.5)."""
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return I_x(a, b)."""
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):  # the side on which the continued fraction converges fast
        return front * _beta_fraction(x, a, b) / a
    return 1 - front * _beta_fraction(1 - x, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
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
