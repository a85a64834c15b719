"""The running mean and variance by which the numbers of a feature are standardised.

They remember about 1,000 numbers; from the tenth on a number counts at most as far out as ten deviations, so that a
single 1e9 does not flatten the others.
"""

import math
from typing import Final

__all__ = ["NO_NUMBERS", "Scale", "Sums", "scale", "taken_in"]

Sums = tuple[float, float, float]  # how many numbers, their mean, their variance
Scale = tuple[float, float]  # what to take off a number, and what to multiply the rest by

NO_NUMBERS: Final[Sums] = (0.0, 0.0, 0.0)

_MEMORY: Final = 1_000.0  # numbers
_TRUSTED: Final = 10.0  # numbers after which the deviation says what an outlier is
_OUTLIER: Final = 10.0  # deviations
_LEAST_RELATIVE_DEVIATION: Final = 1e-9  # of the mean: what is closer together may be rounding


def taken_in(number: float, n: float, mean: float, variance: float) -> tuple[Sums, Scale]:
    """Return the sums after one more number, and the scale that they make."""
    deviation = number - mean
    if n >= _TRUSTED and variance > 0.0:
        furthest = _OUTLIER * math.sqrt(variance)
        if not -furthest < deviation < furthest:
            deviation = math.copysign(furthest, deviation)
    if n < _MEMORY:
        n += 1.0
    step = deviation / n
    mean += step
    variance += (deviation * (deviation - step) - variance) / n
    return (n, mean, variance), scale(mean, variance)


def scale(mean: float, variance: float) -> Scale:
    """Return the scale of numbers; where all were the same it makes 0 of any."""
    deviation = math.sqrt(variance)
    return mean, 1.0 / deviation if deviation > _LEAST_RELATIVE_DEVIATION * abs(mean) else 0.0
