"""Running sums of what an estimator averages: small, mergeable, and enough for every interval of `replay.intervals`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np

from policies.protocol import FloatArray
from replay.errors import InvalidLog
from replay.moments import Moments, Spread

__all__ = ["JointSums", "PairedSums", "Sums", "Terms"]

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
    residual_min, residual_max
        Of `Terms.residual` on rows whose weight is not 0 (the others say nothing): inf and −inf without any.
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
        return type(self)(
            self_normalised=self.self_normalised,
            moments=self.moments + other.moments,
            used=self.used + other.used,
            weight_min=min(self.weight_min, other.weight_min),
            weight_max=max(self.weight_max, other.weight_max),
            residual_min=low,
            residual_max=high,
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

    @property
    def sum_weight(self) -> float:
        """Σmw."""
        return float(self.moments.mean[1] * self.total)

    @property
    def sum_numerator(self) -> float:
        """Σmx."""
        return float(self.moments.mean[0] * self.total)

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
