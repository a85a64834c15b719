"""How much of a log speaks of a target policy: its importance weights, counted as rows stream by."""

import math
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.moments import Moments, Spread
from replay.results import Bin, Diagnostics

__all__ = ["WeightCounts", "two_sided"]

# Weights are counted in bins that are equally wide on a logarithmic scale: a quantile is the middle of its bin, so it
# is within 1 % of what sorting would give, from 2⁻⁴⁰ to 2⁶⁰; what lies beyond counts in the last bin on its side.
_BINS_PER_DOUBLING = 35
_LEAST, _MOST = -40, 60
_N_BINS = (_MOST - _LEAST) * _BINS_PER_DOUBLING
_EXACTLY_ONE = 1e-9  # a mean weight this near to 1 is 1: the rest is rounding


@dataclass(slots=True)
class WeightCounts:
    """Running counts of weights; those of shards add up.

    Attributes
    ----------
    moments
        Of the weight.
    spread
        Of the weight.
    zero
        Events whose logged action the target would never play, Σm.
    bins
        Events by weight, Σm in each; weights of 0 are not in it.
    unsupported, n_unsupported
        Probability that targets gave to what the logging policy could not choose, Σm·share, and the events for which
        that is known, Σm.
    """

    moments: Moments = field(default_factory=lambda: Moments.empty(1))
    spread: Spread = field(default_factory=Spread)
    zero: float = 0.0
    bins: FloatArray = field(default_factory=lambda: np.zeros(_N_BINS))
    unsupported: float = 0.0
    n_unsupported: float = 0.0

    def add(self, batch: Batch, unsupported: FloatArray | None = None) -> None:
        """Take in some rows.

        Parameters
        ----------
        batch
            The rows.
        unsupported
            Shape (n,): the target's probability of actions that the logging policy could not choose; NaN in rows, or
            None, where the log has no whole distributions.
        """
        weight, multiplicity = batch.weights, batch.multiplicity
        if not len(weight):
            return
        self.moments += Moments.of([weight], multiplicity)
        self.spread += Spread.of(weight, multiplicity)
        events = np.ones_like(weight) if multiplicity is None else multiplicity
        above = weight > 0.0
        self.zero += float(events[~above].sum())
        place = np.floor((np.log2(weight[above]) - _LEAST) * _BINS_PER_DOUBLING)
        index = np.clip(place, 0, _N_BINS - 1).astype(np.intp)
        self.bins = self.bins + np.bincount(index, weights=events[above], minlength=_N_BINS)
        if unsupported is not None:
            known = ~np.isnan(unsupported)
            self.unsupported += float((unsupported * events)[known].sum())
            self.n_unsupported += float(events[known].sum())

    def __add__(self, other: Self) -> Self:
        """Return the counts over both sets of rows."""
        return type(self)(
            self.moments + other.moments,
            self.spread + other.spread,
            self.zero + other.zero,
            self.bins + other.bins,
            self.unsupported + other.unsupported,
            self.n_unsupported + other.n_unsupported,
        )

    def quantile(self, share: float) -> float:
        """Return the weight below which that share of events lies, within 1 %; NaN without rows."""
        if not self.moments.n:
            return math.nan
        wanted = share * self.moments.total - self.zero
        if wanted <= 0.0:
            return 0.0
        index = int(np.searchsorted(self.bins.cumsum(), wanted * (1.0 - 1e-12)))
        middle = _edge(min(index, _N_BINS - 1) + 0.5)
        return min(middle, self.spread.largest)

    def z(self) -> float:
        """Return how many standard errors the mean weight is away from 1; NaN without rows."""
        n = self.moments.n
        if not n:
            return math.nan
        apart = float(self.moments.mean[0]) - 1.0
        if abs(apart) <= _EXACTLY_ONE:
            return 0.0
        squares = self.moments.squares(np.ones(1)) * n / max(n - 1, 1)
        error = math.sqrt(squares) / self.moments.total
        return apart / error if error > _EXACTLY_ONE else math.copysign(math.inf, apart)

    def diagnostics(self) -> Diagnostics:
        """Return the figures."""
        n, total = self.moments.n, self.moments.total
        return Diagnostics(
            n=n,
            ess=self.spread.ess,
            max_weight=self.spread.largest,
            q99_weight=self.quantile(0.99),
            mean_weight=float(self.moments.mean[0]) if n else math.nan,
            mean_weight_z=self.z(),
            share_zero=self.zero / total if n else math.nan,
            unsupported=self.unsupported / self.n_unsupported if self.n_unsupported else math.nan,
            top_share=self.spread.top_share,
        )

    def histogram(self, most_bars: int = 40) -> tuple[Bin, ...]:
        """Return the weights above 0 in bars of equal width on a logarithmic scale, no more than `most_bars`.

        In a log that was thinned out a bar counts the events that its rows stand for, rounded.
        """
        filled = np.flatnonzero(self.bins)
        if not filled.size:
            return ()
        first, last = int(filled[0]), int(filled[-1]) + 1
        step = -(-(last - first) // most_bars)
        bars = []
        for low in range(first, last, step):
            high = low + step
            bars.append(Bin(_edge(low), _edge(high), round(float(self.bins[low:high].sum()))))
        return tuple(bars)

    def dumps(self) -> tuple[Any, ...]:
        """Return plain numbers and lists, the bins that are not empty alone."""
        filled = np.flatnonzero(self.bins)
        spread = (self.spread.total, self.spread.total2, self.spread.largest, self.spread.heaviest)
        bins = (filled.tolist(), self.bins[filled].tolist())
        return self.moments.dumps(), spread, self.zero, bins, self.unsupported, self.n_unsupported

    @classmethod
    def loads(cls, state: tuple[Any, ...]) -> Self:
        """Return what `dumps` described."""
        moments, spread, zero, (filled, counts), unsupported, n_unsupported = state
        bins = np.zeros(_N_BINS)
        bins[np.asarray(filled, dtype=np.intp)] = counts
        return cls(Moments.loads(moments), Spread(*spread), zero, bins, unsupported, n_unsupported)


def two_sided(z: float) -> float:
    """Return how likely a standard normal value is at least as far from 0 as z."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def _edge(place: float) -> float:
    return math.exp2(place / _BINS_PER_DOUBLING + _LEAST)
