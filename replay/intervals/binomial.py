"""Clopper & Pearson's interval, and what becomes of it when successes carry weights."""

from replay.errors import InvalidLog
from replay.intervals.interval import Interval, Limits, check_level
from replay.intervals.quantiles import beta_quantile
from replay.sums import Sums

__all__ = ["clopper_pearson", "least_successes", "most_successes", "scaled_clopper_pearson"]


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
    check_level(level)
    tail = (1 - level) / 2
    return least_successes(successes, trials, tail=tail), most_successes(successes, trials, tail=tail)


def least_successes(successes: float, trials: float, *, tail: float) -> float:
    """Return the smallest probability that gives so many successes or more with probability `tail`.

    Counts need not be whole: weighted ones are not.
    """
    return 0.0 if successes <= 0 else beta_quantile(tail, successes, trials - successes + 1)


def most_successes(successes: float, trials: float, *, tail: float) -> float:
    """Return the largest probability that gives so many successes or fewer with probability `tail`."""
    # One minus the lower end for the failures keeps its digits when both are near 1.
    return 1.0 - least_successes(trials - successes, trials, tail=tail)


def scaled_clopper_pearson(sums: Sums, limits: Limits) -> Interval:
    """Return Clopper & Pearson's interval for weights scaled by the largest, as VW's estimators make it.

    n ÷ max weight trials with Σ w (r − low) ÷ max weight ÷ (high − low) successes, of which there are no more than
    trials. Without `max_weight` in the limits the largest that was seen stands for it, which covers too seldom; and
    even with it, it takes the number of rows that speak of the target for known, which for high rewards it is not:
    the rules of "auto" use another.
    """
    largest = limits.max_weight if limits.max_weight is not None else sums.weight_max
    if not (sums.n and largest):
        return Interval(*limits.everything, "clopper-pearson: no row speaks of the target")
    trials = sums.total / largest
    successes = (sums.sum_numerator - limits.low * sums.sum_weight) / limits.width / largest
    successes = min(max(successes, 0.0), trials)
    tail = limits.alpha / 2
    ends = (least_successes(successes, trials, tail=tail), most_successes(successes, trials, tail=tail))
    lower, upper = (limits.low + limits.width * end for end in ends)
    return Interval(lower, upper, f"clopper-pearson, weights scaled by {largest:.4g}")
