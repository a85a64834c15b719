"""The replay method over columns: the mean reward of the rows where a deterministic target agrees with the log."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from replay.batch import Batch
from replay.errors import InvalidLog
from replay.estimators.base import Estimator
from replay.sums import Sums, Terms

__all__ = ["Replay"]

_ROUNDING = 1e-6  # relative: what a log's decimal digits may do to 1 ÷ k


@dataclass(slots=True, kw_only=True, eq=False)
class Replay(Estimator):
    """Mean reward of the rows whose logged action is the target's.

    Only for a target that always plays one action, on a log that drew all actions alike: anything else it would
    answer with a number that means nothing, so it refuses. (`Matching` is the same for a policy that is asked row
    by row.)

    Attributes
    ----------
    propensity
        The one that all rows have; NaN before the first.

    References
    ----------
    Li, Chu, Langford & Wang (2011), "Unbiased Offline Evaluation of Contextual-bandit-based News Article
    Recommendation Algorithms".
    """

    name: ClassVar[str] = "replay"

    propensity: float = math.nan

    def terms(self, batch: Batch) -> Terms:
        """Return r where the target agrees, and w, which divides.

        Raises
        ------
        InvalidLog
            The propensities differ, or the target is not 0 or 1 throughout.
        """
        self._check(batch)
        weight = batch.weights
        return Terms(
            numerator=weight * batch.rewards,
            weight=weight,
            residual=batch.rewards,
            self_normalised=True,
            reach=batch.reach,
        )

    def add(self, batch: Batch) -> None:
        """Take in some rows; raises as `terms`."""
        terms = self.terms(batch)
        if len(batch):
            self.propensity = float(batch.propensities[0])
        self.sums += Sums.of(terms, batch.multiplicity)

    def __add__(self, other: Self) -> Self:
        """Return the estimator that saw the rows of both; raises InvalidLog if their propensities differ."""
        if not _alike(self.propensity, other.propensity):
            raise _not_uniform(self.propensity, other.propensity)
        first = other.propensity if math.isnan(self.propensity) else self.propensity
        return type(self)(sums=self.sums + other.sums, propensity=first)

    def dumps(self) -> tuple[Any, ...]:
        """Return what it saw as plain numbers and lists, to be sent to another process."""
        return self.propensity, self.sums.dumps()

    def loads(self, state: tuple[Any, ...]) -> Self:
        """Return one with the state that `dumps` gave."""
        propensity, sums = state
        return type(self)(sums=Sums.loads(sums), propensity=propensity)

    def _check(self, batch: Batch) -> None:
        if not len(batch):
            return
        low, high = float(batch.propensities.min()), float(batch.propensities.max())
        if not (_alike(low, high) and _alike(self.propensity, high)):
            raise _not_uniform(low if math.isnan(self.propensity) else min(low, self.propensity), high)
        if not np.isin(batch.target, (0.0, 1.0)).all():
            raise InvalidLog(
                "target_not_deterministic", "target", "must be 0 or 1 for the replay method; snips takes any target"
            )


def _alike(one: float, other: float) -> bool:
    return math.isnan(one) or math.isnan(other) or abs(one - other) <= _ROUNDING * max(one, other)


def _not_uniform(low: float, high: float) -> InvalidLog:
    return InvalidLog(
        "log_not_uniform",
        "propensities",
        f"must be the same in every row for the replay method, not {low:g} and {high:g}; snips takes any log",
    )
