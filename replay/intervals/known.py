"""What is known of the rows that did not come: how heavy they could have been, and what they could have earned."""

import math
from dataclasses import dataclass

from replay.intervals.interval import Limits
from replay.sums import Sums

__all__ = ["Known"]

_ROOM = 3.0  # times the largest weight that was seen: where nothing else bounds what was not


@dataclass(frozen=True, slots=True)
class Known:
    """The reach of one row's contribution to an estimate.

    Attributes
    ----------
    weight
        The largest that a row can have.
    source
        From where this is known.
    used
        The largest that really multiplies: smaller where weights are clipped or shrunk.
    low, high
        Of what weights multiply: the reward, or what a reward model leaves of it.
    """

    weight: float
    source: str
    used: float
    low: float
    high: float

    @classmethod
    def of(cls, sums: Sums, limits: Limits) -> "Known":
        """Return what the sums and the limits tell."""
        weight, source = _heaviest(sums, limits)
        # A row of a log that was thinned out counts as several.
        several = sums.used.heaviest / sums.used.largest if sums.used.largest > 0.0 else 1.0
        shrunk = sums.used.largest < sums.weight_max
        return cls(weight * several, source, (sums.used.largest if shrunk else weight) * several, *_reach(sums, limits))


def _reach(sums: Sums, limits: Limits) -> tuple[float, float]:
    # A row that did not come is taken to have the mean prediction: its reward is what it adds to the estimate besides.
    # So a model that predicts the same everywhere, which changes nothing, leaves the interval as it is without. The
    # extremes of all predictions instead make intervals up to 1.4 times as wide, which then hold nearly always.
    if not sums.has_model:
        return limits.low, limits.high
    predicted = float(sums.moments.mean[2])
    return min(limits.low - predicted, 0.0), max(limits.high - predicted, 0.0)


def _heaviest(sums: Sums, limits: Limits) -> tuple[float, str]:
    seen = sums.weight_max
    if limits.max_weight is not None:
        return (limits.max_weight, "given") if limits.max_weight >= seen else (seen, "seen, above the one given")
    bound = sums.weight_bound
    if _ROOM * seen < bound:
        return max(_ROOM * seen, 1.0), "three times the largest seen"
    return max(bound, seen), "from the least propensity" if math.isfinite(bound) else "seen"
