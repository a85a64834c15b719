"""One door to every interval that running sums are enough for."""

import math
from typing import Final

from replay.errors import InvalidLog
from replay.intervals.auto import auto
from replay.intervals.bernstein import bernstein
from replay.intervals.binomial import scaled_clopper_pearson
from replay.intervals.gaussian import gaussian
from replay.intervals.interval import Interval, Limits
from replay.intervals.likelihood import cressie_read
from replay.intervals.paired import paired
from replay.sums import JointSums, PairedSums, Sums

__all__ = ["METHODS", "interval"]

METHODS: Final = ("auto", "gaussian", "clopper_pearson", "cressie_read", "empirical_bernstein")
_OF_JOINT: Final = ("auto", "gaussian")
_OF_WEIGHTS_ALONE: Final = ("clopper_pearson", "cressie_read")


def interval(
    sums: Sums | JointSums,
    method: str = "auto",
    *,
    level: float = 0.95,
    reward_range: tuple[float, float] = (0.0, 1.0),
    max_weight: float | None = None,
) -> Interval:
    """Return an interval for an estimate, or for the difference of two over the same rows.

    Parameters
    ----------
    method
        One of `METHODS`; "auto" goes by the rules of docs/intervals.md. Bootstraps need the rows:
        `replay.intervals.Bootstrap` takes them.
    level
        Coverage to promise, in (0, 1).
    reward_range
        What a reward can be, not what was seen.
    max_weight
        The largest weight that there can be, not the largest seen; None, or infinity, if nobody knows.

    Raises
    ------
    InvalidLog
        A setting is out of its range, or the method does not fit the estimate.
    """
    limits = Limits(level, *reward_range, None if max_weight == math.inf else max_weight)
    if method not in METHODS:
        raise InvalidLog("method_unknown", "interval", f"must be one of {', '.join(METHODS)}, not {method!r}")
    if isinstance(sums, JointSums):
        if method not in _OF_JOINT:
            raise InvalidLog("method_unfit", "interval", f"{method} is for one policy's value; 'auto' is for all")
        return paired(sums, limits) if method == "auto" and isinstance(sums, PairedSums) else gaussian(sums, limits)
    if method in _OF_WEIGHTS_ALONE and (sums.has_model or sums.used.largest < sums.weight_max):
        raise InvalidLog("method_unfit", "interval", f"{method} is for ips and snips; 'auto' is for all")
    makers = {
        "auto": auto,
        "gaussian": gaussian,
        "clopper_pearson": scaled_clopper_pearson,
        "cressie_read": cressie_read,
        "empirical_bernstein": bernstein,
    }
    return makers[method](sums, limits)
