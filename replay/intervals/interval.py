"""An interval, and what every way to make one is asked for."""

import math
from dataclasses import dataclass
from typing import Self

from replay.errors import InvalidLog

__all__ = ["Interval", "Limits", "check_level"]


@dataclass(frozen=True, slots=True)
class Interval:
    """Two ends and how they came about.

    Attributes
    ----------
    lower, upper
        Ends, lower ≤ upper.
    method
        How it was made and, where that was a choice, by which rule it was chosen.
    """

    lower: float
    upper: float
    method: str

    def within(self, low: float, high: float) -> Self:
        """Return the part that lies from `low` to `high`: what is impossible needs no covering."""
        lower = min(max(self.lower, low), high)
        return type(self)(lower, min(max(self.upper, lower), high), self.method)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is known before any row is seen, checked.

    Attributes
    ----------
    level
        Coverage to promise, in (0, 1).
    low, high
        What a reward can be, not what was seen.
    max_weight
        The largest weight that there can be; None if nobody knows.
    """

    level: float
    low: float
    high: float
    max_weight: float | None = None

    def __post_init__(self) -> None:
        check_level(self.level)
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InvalidLog(
                "range_invalid", "reward_range", f"must be two finite numbers in order, not {(self.low, self.high)}"
            )
        if self.max_weight is not None and not self.max_weight >= 1.0:
            raise InvalidLog(
                "weight_out_of_range", "max_weight", f"must be at least 1, as the mean is, not {self.max_weight!r}"
            )

    @property
    def alpha(self) -> float:
        """1 − level, without losing digits that were never there."""
        return 1.0 - self.level

    @property
    def width(self) -> float:
        """Of the range of rewards."""
        return self.high - self.low

    @property
    def everything(self) -> tuple[float, float]:
        """The range itself: the interval of a log that says nothing."""
        return self.low, self.high


def check_level(level: float) -> None:
    """Refuse a coverage that nobody can promise.

    Raises
    ------
    InvalidLog
        It does not lie between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise InvalidLog("level_out_of_range", "level", f"must lie between 0 and 1, not {level!r}")
