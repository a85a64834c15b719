"""What clipping the weights would do to an estimate, at many clips at once, from sums that are kept by weight."""

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.results import Estimate

__all__ = ["ClipScan"]

_LOW: Final = -12  # the first bin above 0 begins at 2⁻¹²
_HIGH: Final = 32  # the last one ends nowhere
_N_BINS: Final = _HIGH - _LOW + 2  # with one for 0 and one for what lies between 0 and the first


@dataclass(slots=True)
class ClipScan:
    """Rows by powers of 2 of their weights, with sums over each bin; clips are edges of bins.

    Attributes
    ----------
    sums
        Shape (11, n_bins): rows; Σm, Σm², Σmw, Σmwr, Σmr, Σm²w², Σm²w²r², Σm²r², Σm²wr, Σm²r.
    heaviest
        The largest weight.
    n_slots
        The most rows that one decision has.
    """

    sums: FloatArray = field(default_factory=lambda: np.zeros((11, _N_BINS)))
    heaviest: float = 0.0
    n_slots: int = 1

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.sums[0].sum())

    def add(self, batch: Batch, *, n_slots: int = 1) -> None:
        """Take in some rows, of which at most `n_slots` are one decision."""
        self.n_slots = max(self.n_slots, n_slots)
        weight, reward, m = batch.weights, batch.rewards, batch.multiplicity
        bins = _bins(weight)
        weighted = weight * reward
        mw, mr, mwr = (weight, reward, weighted) if m is None else (m * weight, m * reward, m * weighted)
        rows = np.bincount(bins, minlength=_N_BINS).astype(np.float64)
        added = [_summed(bins, column) for column in (mw, mwr, mr, mw * mw, mwr * mwr, mr * mr)]
        if m is None:  # Σm and Σm² are rows, and m²wr is mwr
            added = [rows, rows, rows, *added, added[1], added[2]]
        else:
            squared = [_summed(bins, m * column) for column in (mwr, mr)]
            added = [rows, _summed(bins, m), _summed(bins, m * m), *added, *squared]
        self.sums += added
        self.heaviest = max(self.heaviest, float(weight.max()))

    def clips(self) -> list[float]:
        """Return the powers of 2 at which clipping changes something: from 1 to where it no longer does."""
        filled = np.flatnonzero(self.sums[0])
        last = int(filled[-1]) if len(filled) else 0
        return [2.0 ** (index - 2 + _LOW) for index in range(2 - _LOW, last + 1)]

    def clipped(self, clip: float, *, level: float) -> Estimate:
        """Return what `ips_clipped` says, clipped at one of `clips`; exact, but for what rounding does to squares.

        How the slots of a decision vary together is not kept. The interval is as wide as if they were copies of each
        other: the variance of a sum is at most that of its parts times their number.
        """
        above = np.arange(_N_BINS) >= round(math.log2(clip)) - _LOW + 2
        below = ~above
        _, m, m2, mw, mwr, mr, w2, w2r2, r2, m2wr, m2r = self.sums
        total = float(m.sum())
        value = float(mwr[below].sum() + clip * mr[above].sum()) / total
        squares = w2r2[below].sum() + clip * clip * r2[above].sum()
        products = m2wr[below].sum() + clip * m2r[above].sum()
        centred = max(0.0, float(squares - 2.0 * value * products + value * value * m2.sum()))
        half = NormalDist().inv_cdf(0.5 + level / 2.0) * math.sqrt(centred * self.n_slots) / total
        weight = float(mw[below].sum() + clip * m[above].sum())
        weight2 = float(w2[below].sum() + clip * clip * m2[above].sum())
        return Estimate(
            value=value,
            lower=value - half,
            upper=value + half,
            method="gaussian, of the clipped terms: says nothing of the bias",
            n=self.n,
            ess=weight * weight / weight2 if weight2 else 0.0,
            max_weight=min(clip, self.heaviest),
        )


def _bins(weight: FloatArray) -> NDArray[np.intp]:
    """Return the bin of each weight: one for 0, one for what is below the first power of 2, one a power."""
    _, exponent = np.frexp(weight)
    bins = np.clip(exponent.astype(np.intp) - _LOW + 1, 1, _N_BINS - 1)
    bins[weight <= 0.0] = 0
    return bins


def _summed(bins: NDArray[np.intp], column: FloatArray) -> FloatArray:
    result: FloatArray = np.bincount(bins, weights=column, minlength=_N_BINS).astype(np.float64, copy=False)
    return result
