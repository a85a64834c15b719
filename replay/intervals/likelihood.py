"""Empirical likelihood in its closed form, Cressie-Read with power −2.

Over all ways to reweight the rows that are not too far from equal weights, and that make every control have the mean
that it must have (an importance weight has mean 1), how small can the mean of x become? Rows that were possible but
did not come are let in as one *phantom* row of mass ≤ 1 in the place that is worst: this is what makes the interval
hold for small logs. Everything follows from means and second moments.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policies.protocol import FloatArray
from replay.intervals.interval import Interval, Limits
from replay.intervals.quantiles import student_quantile
from replay.moments import Moments
from replay.sums import Sums

__all__ = ["Cloud", "cressie_read", "least_mean"]

_FLAT = 1e-12  # share of a second moment below which a variance is only rounding


@dataclass(frozen=True, slots=True)
class Cloud:
    """Rows of x and of controls c whose mean is known to be 1.

    Attributes
    ----------
    n
        Events.
    mean
        Shape (1 + k,): of x and of the controls.
    second
        Shape (1 + k, 1 + k): their second moments about 0.
    """

    n: float
    mean: FloatArray
    second: FloatArray

    @classmethod
    def of(cls, moments: Moments, columns: FloatArray) -> "Cloud":
        """Return the cloud of linear combinations of the columns that `moments` are of; shape (1 + k, columns)."""
        mean2 = columns @ moments.mean2
        second = columns @ moments.comoment @ columns.T + moments.total2 * np.outer(mean2, mean2)
        return cls(moments.total, columns @ moments.mean, second / moments.total)

    def with_row(self, row: FloatArray, mass: float) -> "Cloud":
        """Return the cloud with one more row, which counts as `mass` events."""
        n = self.n + mass
        mean = (self.n * self.mean + mass * row) / n
        return Cloud(n, mean, (self.n * self.second + mass * np.outer(row, row)) / n)

    def misfit(self) -> float:
        """Return how far equal weights are from giving the controls their means; inf if no weights can."""
        distance, _, _ = self._regression()
        return self.n * distance

    def least(self, budget: float) -> float | None:
        """Return the smallest mean of x over all reweightings within `budget`; None if there are none."""
        distance, mean, residual = self._regression()
        room = budget / self.n - distance
        return mean - math.sqrt(residual * room) if room >= 0.0 else None

    def _regression(self) -> tuple[float, float, float]:
        """Return what the controls cost, the mean of x given their means, and its variance around them."""
        covariance = self.second - np.outer(self.mean, self.mean)
        within, across = covariance[1:, 1:], covariance[1:, 0]
        missing = 1.0 - self.mean[1:]
        if not missing.size:
            return 0.0, float(self.mean[0]), max(0.0, float(covariance[0, 0]))
        if (np.diag(within) <= _FLAT * np.diag(self.second)[1:]).any():
            return math.inf, float(self.mean[0]), 0.0
        solved = np.linalg.lstsq(within, np.stack([missing, across], axis=1), rcond=_FLAT)[0]
        mean = self.mean[0] + missing @ solved[:, 1]
        return float(missing @ solved[:, 0]), float(mean), max(0.0, float(covariance[0, 0] - across @ solved[:, 1]))


def least_mean(
    cloud: Cloud, phantoms: Sequence[FloatArray], likeliest: FloatArray, *, mass: float, alpha: float, worst: float
) -> float:
    """Return the lower end of an interval for the mean of x.

    Parameters
    ----------
    phantoms
        Rows, shape (1 + k,), that were possible; the worst of them counts.
    likeliest
        The one of them that brings the controls to their means: what the budget is measured from.
    mass
        In (0, 1]: how many events the phantom counts as.
    alpha
        Of the whole, two-sided interval.
    worst
        What x could be in the mean at worst: the answer where no reweighting is left.
    """
    budget = cloud.with_row(likeliest, mass).misfit() + student_quantile(alpha, cloud.n) ** 2
    ends = [cloud.with_row(row, mass).least(budget) for row in phantoms]
    return min((end for end in ends if end is not None), default=worst)


def cressie_read(sums: Sums, limits: Limits) -> Interval:
    """Return the interval as VW's estimators make it: one whole phantom row, of weight 0 or of the largest.

    Without `max_weight` in the limits weights have no bound, and the upper end is far off. Where all rewards are
    equal it is too short; the rules of "auto" mend that.

    References
    ----------
    Karampatziakis, Langford & Mineiro (2019), "Empirical Likelihood for Contextual Bandits".
    """
    if not sums.n:
        return Interval(*limits.everything, "cressie-read: no rows")
    least_weight = min(0.0, sums.weight_min)
    largest = math.inf if limits.max_weight is None else max(limits.max_weight, sums.weight_max)
    ends = []
    for sign, reward in ((1.0, limits.low), (-1.0, limits.high)):
        cloud = Cloud.of(sums.moments, np.array([[sign, 0.0, sign], [0.0, 1.0, 0.0]]))
        base = sign * float(sums.moments.mean[2])
        weights = [least_weight] if math.isinf(largest) else [least_weight, largest]
        phantoms = [np.array([base + sign * reward * weight, weight]) for weight in weights]
        if math.isfinite(largest):
            likeliest = phantoms[1 if cloud.mean[1] < 1.0 else 0]
            found = least_mean(cloud, phantoms, likeliest, mass=1.0, alpha=limits.alpha, worst=sign * reward)
        else:
            found = _unbounded(cloud, phantoms[0], sign * reward, limits.alpha)
        ends.append(sign * found)
    known = "no bound on weights" if math.isinf(largest) else f"weights up to {largest:.4g}"
    return Interval(ends[0], max(ends), f"cressie-read, {known}").within(*limits.everything)


def _unbounded(cloud: Cloud, nothing: FloatArray, reward: float, alpha: float) -> float:
    """Return the lower end where weights have no bound: next to no mass far out can make any mean weight right."""
    n = cloud.n
    quantile = student_quantile(alpha, n) ** 2
    ends = []
    misfit = 1.0 + 1.0 / n if cloud.mean[1] < 1.0 else cloud.with_row(nothing, 1.0).misfit()
    row = cloud.with_row(nothing, 1.0).least(misfit + quantile)
    if row is not None:
        ends.append(row)
    # x − reward × w, in which a row far out counts nothing.
    apart = np.array([1.0, -reward])
    mean, second = float(apart @ cloud.mean), float(apart @ cloud.second @ apart)
    room = (misfit + quantile) / (1.0 + n) - 1.0 / n
    if room >= 0.0:
        ends.append(reward + mean - math.sqrt(max(0.0, (second - mean * mean) * n / (1.0 + n)) * room))
    return min(ends, default=reward)
