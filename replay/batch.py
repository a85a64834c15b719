"""Rows of a log beside what a target policy would have done: what every estimator takes."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from policies.protocol import FloatArray
from replay.errors import InvalidLog

__all__ = ["Batch"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows, column by column; each array has shape (n,).

    Attributes
    ----------
    rewards
        Finite, larger is better.
    propensities
        In (0, 1]: the probability with which the logging policy chose what it chose.
    target
        In [0, 1]: the target policy's probability of the same action.
    q_logged
        Predicted reward of the logged action; None without a reward model.
    q_target
        Expected predicted reward under the target policy; None without a reward model.
    multiplicity
        How many events of the whole log a row stands for (≥ 1 in a log that was thinned out); None for 1 each.
    """

    rewards: FloatArray
    propensities: FloatArray
    target: FloatArray
    q_logged: FloatArray | None = None
    q_target: FloatArray | None = None
    multiplicity: FloatArray | None = None

    @property
    def weights(self) -> FloatArray:
        """Importance weights, target ÷ logged probability, shape (n,)."""
        result: FloatArray = self.target / self.propensities
        return result

    @property
    def reach(self) -> tuple[float, float] | None:
        """The largest target probability and the least propensity, whose ratio bounds weights; None without rows."""
        return (float(self.target.max()), float(self.propensities.min())) if len(self) else None

    def __len__(self) -> int:
        return len(self.rewards)

    @classmethod
    def of(
        cls,
        rewards: ArrayLike,
        propensities: ArrayLike,
        target: ArrayLike,
        *,
        q_logged: ArrayLike | None = None,
        q_target: ArrayLike | None = None,
        multiplicity: ArrayLike | None = None,
    ) -> "Batch":
        """Check and convert what a caller has.

        Raises
        ------
        InvalidLog
            An array is not one-dimensional, not as long as the others, or holds a value that is not finite or out
            of its range; names the array.
        """
        columns = {
            "rewards": _column("rewards", rewards, -math.inf, math.inf),
            "propensities": _column("propensities", propensities, 0.0, 1.0),
            "target": _column("target", target, 0.0, 1.0),
        }
        for name, given, least in (("q_logged", q_logged, -math.inf), ("q_target", q_target, -math.inf)):
            if given is not None:
                columns[name] = _column(name, given, least, math.inf)
        if multiplicity is not None:
            columns["multiplicity"] = _column("multiplicity", multiplicity, 1.0, math.inf)
        n = len(columns["rewards"])
        for name, column in columns.items():
            if len(column) != n:
                raise InvalidLog("length_differs", name, f"must have {n} values as rewards has, not {len(column)}")
        if n and not columns["propensities"].min() > 0.0:
            raise InvalidLog("propensity_zero", "propensities", "must be above 0: what was chosen cannot have had 0")
        return cls(**columns)


def _column(name: str, given: ArrayLike, least: float, most: float) -> FloatArray:
    try:
        column = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidLog("not_numbers", name, "must hold numbers alone") from None
    if column.ndim != 1:
        raise InvalidLog("shape_invalid", name, f"must have one dimension, not {column.ndim}")
    if column.size:
        low, high = column.min(), column.max()  # NaN if any is NaN
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InvalidLog("not_finite", name, "must hold finite numbers alone")
        slack = 1e-5 * (most - least) if math.isfinite(most - least) else 0.0  # logs round what they print
        if low < least - slack or high > most + slack:
            raise InvalidLog("out_of_range", name, f"must lie from {least:g} to {most:g}, not {low:g} to {high:g}")
    return column
