"""Moments of columns, and how evenly weight lies on rows: what running sums are made of, and add up like them."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from policies.protocol import FloatArray

__all__ = ["Moments", "Spread"]


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no one truth value
class Moments:
    """Means of some columns, and how they vary together, centred so that no digits cancel.

    A row that stands for m events weighs m in means, and m² in what the variance of a mean is made of.

    Attributes
    ----------
    n
        Rows.
    total, total2
        Σm and Σm².
    mean, mean2
        Shape (k,): Σmc ÷ Σm and Σm²c ÷ Σm²; the same without multiplicity.
    comoment
        Shape (k, k): Σm² (c − mean2)(c − mean2)ᵀ.
    """

    n: int
    total: float
    total2: float
    mean: FloatArray
    mean2: FloatArray
    comoment: FloatArray

    @classmethod
    def empty(cls, k: int) -> Self:
        """Return the moments of no rows of k columns."""
        return cls(0, 0.0, 0.0, np.zeros(k), np.zeros(k), np.zeros((k, k)))

    @classmethod
    def of(cls, columns: list[FloatArray | None], multiplicity: FloatArray | None) -> Self:
        """Return the moments of columns of shape (n,); None stands for a column of zeros."""
        present = [index for index, column in enumerate(columns) if column is not None]
        rows = np.stack([column for column in columns if column is not None])
        k, n = len(columns), rows.shape[1]
        if n == 0:
            return cls.empty(k)
        mean, mean2, comoment = np.zeros(k), np.zeros(k), np.zeros((k, k))
        if multiplicity is None:
            total = total2 = float(n)
            mean[present] = mean2[present] = rows.mean(axis=1)  # numpy adds up in pairs along a row
        else:
            squared = multiplicity * multiplicity
            total, total2 = float(multiplicity.sum()), float(squared.sum())
            mean[present] = (rows * multiplicity).sum(axis=1) / total
            mean2[present] = (rows * squared).sum(axis=1) / total2
        rows -= mean2[present][:, None]
        if multiplicity is not None:
            rows *= multiplicity
        comoment[np.ix_(present, present)] = rows @ rows.T
        return cls(n, total, total2, mean, mean2, comoment)

    def __add__(self, other: Self) -> Self:
        """Return the moments of both sets of rows (Chan, Golub & LeVeque)."""
        if not self.n or not other.n:
            return self if self.n else other
        total, total2 = self.total + other.total, self.total2 + other.total2
        apart = other.mean2 - self.mean2
        return type(self)(
            self.n + other.n,
            total,
            total2,
            self.mean + (other.mean - self.mean) * (other.total / total),
            self.mean2 + apart * (other.total2 / total2),
            self.comoment + other.comoment + np.outer(apart, apart) * (self.total2 * (other.total2 / total2)),
        )

    def squares(self, gradient: FloatArray) -> float:
        """Return Σm² (gradient · (c − mean))², which is (Σm)² times the variance of gradient · mean."""
        apart = gradient @ (self.mean2 - self.mean)
        return max(0.0, float(gradient @ self.comoment @ gradient)) + self.total2 * float(apart * apart)

    def dumps(self) -> tuple[Any, ...]:
        """Return plain numbers and lists of them."""
        return self.n, self.total, self.total2, self.mean.tolist(), self.mean2.tolist(), self.comoment.tolist()

    @classmethod
    def loads(cls, state: tuple[Any, ...]) -> Self:
        """Return what `dumps` described."""
        n, total, total2, mean, mean2, comoment = state
        return cls(n, total, total2, np.asarray(mean), np.asarray(mean2), np.asarray(comoment))


@dataclass(frozen=True, slots=True)
class Spread:
    """How evenly weight lies on rows; a row that stands for m events has m times its weight.

    Attributes
    ----------
    total, total2
        Σmw and Σm²w².
    largest, heaviest
        The largest w and the largest mw.
    """

    total: float = 0.0
    total2: float = 0.0
    largest: float = 0.0
    heaviest: float = 0.0

    @classmethod
    def of(cls, weight: FloatArray, multiplicity: FloatArray | None) -> Self:
        """Return the spread of weights of shape (n,)."""
        if not weight.size:
            return cls()
        full = weight if multiplicity is None else weight * multiplicity
        return cls(float(full.sum()), float(full @ full), float(weight.max()), float(full.max()))

    def __add__(self, other: Self) -> Self:
        """Return the spread over both sets of rows."""
        return type(self)(
            self.total + other.total,
            self.total2 + other.total2,
            max(self.largest, other.largest),
            max(self.heaviest, other.heaviest),
        )

    @property
    def ess(self) -> float:
        """Effective sample size, (Σmw)² ÷ Σm²w²; 0 without weight."""
        return self.total * self.total / self.total2 if self.total2 else 0.0

    @property
    def top_share(self) -> float:
        """Share of all weight that the heaviest row has; 0 without weight."""
        return self.heaviest / self.total if self.total else 0.0
