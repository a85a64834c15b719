"""Running sums of what an estimator averages: small, mergeable, and enough for every interval of `replay.intervals`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np

from policies.protocol import FloatArray
from replay.errors import InvalidLog

__all__ = ["JointSums", "Moments", "PairedSums", "Spread", "Sums", "Terms"]

_COLUMNS = 3  # numerator, weight, base


@dataclass(frozen=True, slots=True)
class Terms:
    """What each row gives to an estimate; arrays have shape (n,).

    The estimate is mean(base) + mean(numerator), or mean(base) + mean(numerator) ÷ mean(weight) if it is
    self-normalised; means are weighted by the rows' multiplicity.

    Attributes
    ----------
    numerator
        used × residual: what weights make of rewards.
    weight
        ≥ 0; its mean is 1 if the propensities are right and nothing is clipped: what a self-normalised estimate is
        divided by, and what an empirical likelihood knows besides.
    residual
        What weights multiply: the reward, less its prediction where there is a reward model.
    base
        What a reward model predicts for the target; None for 0.
    used
        What was really multiplied by: `weight` clipped or shrunk; None for `weight` itself.
    self_normalised
        Whether the estimate is a ratio.
    reach
        The largest target probability and the least propensity of these rows; None if nobody knows.
    """

    numerator: FloatArray
    weight: FloatArray
    residual: FloatArray
    base: FloatArray | None = None
    used: FloatArray | None = None
    self_normalised: bool = False
    reach: tuple[float, float] | None = None


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

    def second(self, i: int, j: int) -> float:
        """Return Σm² cᵢcⱼ, about 0."""
        return float(self.comoment[i, j] + self.total2 * self.mean2[i] * self.mean2[j])

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


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no one truth value
class Sums:
    """What is left of rows once an estimator has seen them.

    Attributes
    ----------
    self_normalised
        As in `Terms`.
    moments
        Of the columns numerator, weight, base.
    used
        Of the weights that really multiplied.
    weight_min, weight_max
        Of `Terms.weight`; inf and 0 without rows.
    residual_min, residual_max, n_at_min, n_at_max
        Of `Terms.residual` on rows whose weight is not 0 (the others say nothing): inf and −inf without any; how
        many rows lie at each end.
    n_weighted
        Rows whose weight is not 0.
    base_min, base_max
        Of `Terms.base`; 0 without a reward model.
    residual_squares
        Σm × used × residual².
    target_max, propensity_min
        Of `Terms.reach`; inf and 0 as soon as any rows came without, so that nothing is bounded by them.
    has_model
        Whether there is a reward model, so that `Terms.residual` is no reward.
    """

    self_normalised: bool = False
    moments: Moments = field(default_factory=lambda: Moments.empty(_COLUMNS))
    used: Spread = field(default_factory=Spread)
    weight_min: float = math.inf
    weight_max: float = 0.0
    residual_min: float = math.inf
    residual_max: float = -math.inf
    n_at_min: int = 0
    n_at_max: int = 0
    n_weighted: int = 0
    base_min: float = 0.0
    base_max: float = 0.0
    residual_squares: float = 0.0
    target_max: float = 0.0
    propensity_min: float = math.inf
    has_model: bool = False

    @classmethod
    def of(cls, terms: Terms, multiplicity: FloatArray | None = None) -> Self:
        """Return the sums over some rows."""
        if not terms.weight.size:
            return cls(terms.self_normalised)
        residual = terms.residual[terms.weight != 0.0]
        low, high = (float(residual.min()), float(residual.max())) if residual.size else (math.inf, -math.inf)
        return cls(
            self_normalised=terms.self_normalised,
            moments=Moments.of([terms.numerator, terms.weight, terms.base], multiplicity),
            used=Spread.of(terms.weight if terms.used is None else terms.used, multiplicity),
            weight_min=float(terms.weight.min()),
            weight_max=float(terms.weight.max()),
            residual_min=low,
            residual_max=high,
            n_at_min=int((residual == low).sum()),
            n_at_max=int((residual == high).sum()),
            n_weighted=len(residual),
            base_min=0.0 if terms.base is None else float(terms.base.min()),
            base_max=0.0 if terms.base is None else float(terms.base.max()),
            has_model=terms.base is not None,
            residual_squares=_residual_squares(terms, multiplicity),
            target_max=math.inf if terms.reach is None else terms.reach[0],
            propensity_min=0.0 if terms.reach is None else terms.reach[1],
        )

    def __add__(self, other: Self) -> Self:
        """Return the sums over both sets of rows."""
        if not self.n or not other.n:
            return self if self.n else other
        if (self.self_normalised, self.has_model) != (other.self_normalised, other.has_model):
            raise InvalidLog("estimator_differs", "sums", "must be of the same estimator to be added")
        low, high = min(self.residual_min, other.residual_min), max(self.residual_max, other.residual_max)
        both = (self, other)
        return type(self)(
            self_normalised=self.self_normalised,
            moments=self.moments + other.moments,
            used=self.used + other.used,
            weight_min=min(self.weight_min, other.weight_min),
            weight_max=max(self.weight_max, other.weight_max),
            residual_min=low,
            residual_max=high,
            n_at_min=sum(each.n_at_min for each in both if each.residual_min == low),
            n_at_max=sum(each.n_at_max for each in both if each.residual_max == high),
            n_weighted=self.n_weighted + other.n_weighted,
            base_min=min(self.base_min, other.base_min),
            base_max=max(self.base_max, other.base_max),
            has_model=self.has_model,
            residual_squares=self.residual_squares + other.residual_squares,
            target_max=max(self.target_max, other.target_max),
            propensity_min=min(self.propensity_min, other.propensity_min),
        )

    @property
    def n(self) -> int:
        """Rows."""
        return self.moments.n

    @property
    def total(self) -> float:
        """Events of the whole log that the rows stand for, Σm."""
        return self.moments.total

    @property
    def value(self) -> float:
        """The estimate; NaN without rows, or where a ratio has no weight to divide by."""
        numerator, weight, base = self.moments.mean.tolist()
        if not self.n or (self.self_normalised and weight == 0.0):
            return math.nan
        return float(base + (numerator / weight if self.self_normalised else numerator))

    @property
    def gradient(self) -> FloatArray:
        """Derivatives of the value by the three means: (numerator, weight, base), shape (3,)."""
        numerator, weight, _ = self.moments.mean.tolist()
        if not self.self_normalised or weight == 0.0:
            return np.array([1.0, 0.0, 1.0])
        return np.array([1.0 / weight, -numerator / weight**2, 1.0])

    @property
    def squares(self) -> float:
        """Σm²φ² of each row's influence φ on the value: √squares ÷ total is the standard error (delta method)."""
        return self.moments.squares(self.gradient)

    @property
    def weight_bound(self) -> float:
        """What no weight can exceed: largest target probability ÷ least propensity; inf if nobody knows."""
        return self.target_max / self.propensity_min if self.propensity_min > 0.0 else math.inf

    # What an empirical likelihood is made of: events, weights, and what weights made of residuals.

    @property
    def sum_weight(self) -> float:
        """Σmw."""
        return float(self.moments.mean[1] * self.total)

    @property
    def sum_weight2(self) -> float:
        """Σm²w²."""
        return self.moments.second(1, 1)

    @property
    def sum_numerator(self) -> float:
        """Σmx."""
        return float(self.moments.mean[0] * self.total)

    @property
    def sum_cross(self) -> float:
        """Σm²wx, which is Σm²w²r for plain weights."""
        return self.moments.second(0, 1)

    @property
    def sum_numerator2(self) -> float:
        """Σm²x², which is Σm²w²r² for plain weights."""
        return self.moments.second(0, 0)

    def dumps(self) -> tuple[Any, ...]:
        """Return plain numbers and lists of them."""
        used = (self.used.total, self.used.total2, self.used.largest, self.used.heaviest)
        rest = [getattr(self, each.name) for each in fields(self)[3:]]
        return (self.self_normalised, self.moments.dumps(), used, *rest)

    @classmethod
    def loads(cls, state: tuple[Any, ...]) -> Self:
        """Return what `dumps` described."""
        self_normalised, moments, used, *rest = state
        return cls(self_normalised, Moments.loads(moments), Spread(*used), *rest)


def _residual_squares(terms: Terms, multiplicity: FloatArray | None) -> float:
    """Return Σm × used × residual², which is Σm × numerator × residual."""
    rows = terms.numerator if multiplicity is None else terms.numerator * multiplicity
    return float(rows @ terms.residual)


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no one truth value
class JointSums:
    """Several estimates over the same rows, added or subtracted: the slots of slates, a difference of two policies.

    The value is Σ sign · part; its variance knows how the parts vary together.

    Attributes
    ----------
    parts
        Each alone.
    signs
        1.0 or −1.0 for each.
    moments
        Of the parts' columns one after the other, three each.
    """

    parts: tuple[Sums, ...]
    signs: tuple[float, ...]
    moments: Moments

    @classmethod
    def over(cls, terms: Sequence[Terms], signs: Sequence[float], multiplicity: FloatArray | None = None) -> Self:
        """Return the sums over some rows; one `Terms` a part."""
        columns = [column for each in terms for column in (each.numerator, each.weight, each.base)]
        parts = tuple(Sums.of(each, multiplicity) for each in terms)
        return cls(parts, tuple(signs), Moments.of(columns, multiplicity))

    def __add__(self, other: Self) -> Self:
        """Return the sums over both sets of rows."""
        if self.signs != other.signs:  # as many parts, too
            raise InvalidLog("estimator_differs", "sums", "must be of the same estimators to be added")
        parts = tuple(mine + theirs for mine, theirs in zip(self.parts, other.parts, strict=True))
        return type(self)(parts, self.signs, self.moments + other.moments)

    @property
    def n(self) -> int:
        """Rows."""
        return self.moments.n

    @property
    def total(self) -> float:
        """Events of the whole log that the rows stand for, Σm."""
        return self.moments.total

    @property
    def self_normalised(self) -> bool:
        """Whether any part is a ratio."""
        return any(part.self_normalised for part in self.parts)

    @property
    def value(self) -> float:
        """Σ sign · part; NaN if one part is."""
        return math.fsum(sign * part.value for sign, part in zip(self.signs, self.parts, strict=True))

    @property
    def squares(self) -> float:
        """As in `Sums`, of the whole."""
        gradients = [sign * part.gradient for sign, part in zip(self.signs, self.parts, strict=True)]
        return self.moments.squares(np.concatenate(gradients))

    def dumps(self) -> tuple[Any, ...]:
        """Return plain numbers and lists of them."""
        return tuple(part.dumps() for part in self.parts), self.signs, self.moments.dumps()

    @classmethod
    def loads(cls, state: tuple[Any, ...]) -> Self:
        """Return what `dumps` described."""
        parts, signs, moments = state
        return cls(tuple(Sums.loads(part) for part in parts), tuple(signs), Moments.loads(moments))


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no one truth value
class PairedSums(JointSums):
    """Candidate − baseline over the same rows: what the interval of a paired difference is made of."""

    parts: tuple[Sums, ...] = (Sums(), Sums())
    signs: tuple[float, ...] = (1.0, -1.0)
    moments: Moments = field(default_factory=lambda: Moments.empty(2 * _COLUMNS))

    @classmethod
    def of(cls, candidate: Terms, baseline: Terms, multiplicity: FloatArray | None = None) -> Self:
        """Return the sums over some rows."""
        return cls.over((candidate, baseline), (1.0, -1.0), multiplicity)

    @property
    def candidate(self) -> Sums:
        """The candidate alone."""
        return self.parts[0]

    @property
    def baseline(self) -> Sums:
        """The baseline alone."""
        return self.parts[1]
