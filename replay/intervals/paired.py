"""The interval of a difference: both policies on the same rows, so that what moves both moves neither."""

import itertools

import numpy as np

from policies.protocol import FloatArray
from replay.intervals.auto import masses
from replay.intervals.interval import Interval, Limits
from replay.intervals.known import Known
from replay.intervals.likelihood import Cloud, least_mean
from replay.sums import PairedSums, Sums

__all__ = ["paired"]


def paired(sums: PairedSums, limits: Limits) -> Interval:
    """Return an interval for candidate − baseline by empirical likelihood.

    Both weights are controls with mean 1; a phantom row has the least or the largest weight of each, and the reward
    that is worst.
    """
    both = (sums.candidate, sums.baseline)
    span = (-limits.width, limits.width)
    if not sums.n or not all(each.n_weighted for each in both):
        return Interval(*span, "everything: no row speaks of both policies")
    if sums.squares == 0.0 and all(each.weight_min == each.weight_max for each in both):
        return Interval(sums.value, sums.value, "none: both policies are the same on every row")
    known = [Known.of(each, limits) for each in both]
    pulls = [masses(each, limits, reach) for each, reach in zip(both, known, strict=True)]
    mass = [max(pair) for pair in zip(*pulls, strict=True)]
    varied = [each.weight_min < each.weight_max for each in both]
    ends = []
    for sign, each in ((1.0, mass[0]), (-1.0, mass[1])):
        cloud = Cloud.of(sums.moments, _columns(sign, varied))
        rows = _phantoms(sign, both, known)
        phantoms = [row[[True, *varied]] for row in rows]
        likeliest = min(phantoms, key=lambda row: cloud.with_row(row, each).misfit())
        ends.append(sign * least_mean(cloud, phantoms, likeliest, mass=each, alpha=limits.alpha, worst=-limits.width))
    words = f"paired empirical likelihood, phantom mass {mass[0]:.2g} and {mass[1]:.2g} at weights " + " and ".join(
        f"{each.weight:.4g} ({each.source})" for each in known
    )
    return Interval(ends[0], max(ends), words).within(*span)


def _columns(sign: float, varied: list[bool]) -> FloatArray:
    """Return x and the controls as combinations of (numerator, weight, base) of the candidate and of the baseline."""
    rows = np.array([[sign, 0, sign, -sign, 0, -sign], [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]], dtype=np.float64)
    result: FloatArray = rows[[True, *varied]]
    return result


def _phantoms(sign: float, both: tuple[Sums, Sums], known: list[Known]) -> list[FloatArray]:
    base = float(both[0].moments.mean[2] - both[1].moments.mean[2])
    weights = [
        (0.0, each.weight) if sums.weight_min < sums.weight_max else (sums.weight_max,)
        for sums, each in zip(both, known, strict=True)
    ]
    ends = [(each.low, each.high) for each in known]
    return [
        np.array([sign * (base + min(w, known[0].used) * ends[0][i] - min(v, known[1].used) * ends[1][i]), w, v])
        for w, v in itertools.product(*weights)
        for i in (0, 1)
    ]
