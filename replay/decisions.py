"""From the slots of a decision to the decision: what an interval may count as independent.

Slots of one decision see the same context and answer each other, so their rows vary together. A mean over rows is the
same mean over decisions, each with the mean over its rows; but how far it may be off must be told by decisions, or
slots that pay together are counted as if each had said something new.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.sums import Terms

__all__ = ["Decisions"]

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Decisions:
    """Which neighbouring rows are one decision.

    Attributes
    ----------
    starts
        The first row of each, shape (n_decisions,).
    shares
        Shape (n_rows,): the part that a row has in its decision; those of a decision add up to 1.
    multiplicity
        Shape (n_decisions,): how many decisions of the whole log each stands for.
    most_rows
        Of one decision.
    """

    starts: NDArray[np.intp]
    shares: FloatArray
    multiplicity: FloatArray
    most_rows: int

    @classmethod
    def of(cls, number: NDArray[np.intp], multiplicity: FloatArray | None) -> "Decisions":
        """Return those of rows with the number of the decision that each is part of, at least one row."""
        starts = np.flatnonzero(np.diff(number, prepend=number[0] - 1))
        counts = np.diff(starts, append=len(number))
        each = np.ones(len(number)) if multiplicity is None else multiplicity
        totals = np.add.reduceat(each, starts)
        totals = np.where(np.abs(totals - 1.0) < _ROUNDING, 1.0, totals)  # ten tenths are one
        return cls(starts, each / np.repeat(totals, counts), totals, int(counts.max()))

    def mean(self, column: FloatArray) -> FloatArray:
        """Return the mean of a column over the rows of each decision."""
        result: FloatArray = np.add.reduceat(self.shares * column, self.starts)
        return result

    def terms(self, rows: Terms) -> Terms:
        """Return what each decision gives to an estimate: the value is that of the rows.

        What weights multiply becomes its mean by those weights, which lies where those of the rows lie; so does the
        mean of the weights. Hence all that intervals know of rows is true of decisions.
        """
        used = self.mean(rows.weight if rows.used is None else rows.used)
        numerator = self.mean(rows.numerator)
        weighs = used > 0.0
        residual = np.where(weighs, numerator / np.where(weighs, used, 1.0), self.mean(rows.residual))
        return Terms(
            numerator=numerator,
            weight=self.mean(rows.weight),
            residual=residual,
            base=None if rows.base is None else self.mean(rows.base),
            used=None if rows.used is None else used,
            self_normalised=rows.self_normalised,
            reach=rows.reach,
        )

    def batch(self, rows: Batch) -> Batch:
        """Return decisions as rows: the mean weight of each, and the reward that weight times it is what rows give."""
        terms = self.terms(
            Terms(numerator=rows.weights * rows.rewards, weight=rows.weights, residual=rows.rewards, reach=rows.reach)
        )
        ones = np.ones(len(self.starts))
        multiplicity = self.multiplicity if (self.multiplicity != 1.0).any() else None
        return Batch(terms.residual, ones, terms.weight, multiplicity=multiplicity)
