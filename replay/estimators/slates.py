"""Rows of a log in which a decision filled several slots: what the slate estimators take."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.errors import InvalidLog

__all__ = ["SlateBatch", "table"]

_DIMENSIONS = 2


@dataclass(frozen=True, slots=True)
class SlateBatch:
    """Rows of as many slots each; arrays have shape (n, n_slots) where nothing else is said.

    What `propensities` and `target` are depends on the estimator: for the independent one each slot's marginal
    probability of its action; for cascades, and for the whole slate, the probability given the actions of the slots
    before it. For a logger that fills slots independently of each other (a product logger) the two are the same.

    Attributes
    ----------
    rewards
        Finite, one a slot; a reward of the whole slate belongs to any one slot, with 0 in the others.
    propensities
        In (0, 1]: of the logged action in its slot.
    target
        In [0, 1]: the target's probability of the same action in the same slot.
    q_logged
        Predicted reward of this slot and all after it, given the logged actions up to this one; None without a model.
    q_target
        The same, expected over the target's choice in this slot, given the logged actions before it; None without.
    multiplicity
        Shape (n,): how many slates of the whole log a row stands for; None for 1 each.
    """

    rewards: FloatArray
    propensities: FloatArray
    target: FloatArray
    q_logged: FloatArray | None = None
    q_target: FloatArray | None = None
    multiplicity: FloatArray | None = None

    @property
    def weights(self) -> FloatArray:
        """Importance weights slot by slot, shape (n, n_slots)."""
        result: FloatArray = self.target / self.propensities
        return result

    @property
    def n_slots(self) -> int:
        """Slots of each row."""
        return int(self.rewards.shape[1])

    def __len__(self) -> int:
        return len(self.rewards)

    def only(self, rows: NDArray[np.bool_]) -> "SlateBatch":
        """Return some of the rows."""
        columns = (self.rewards, self.propensities, self.target, self.q_logged, self.q_target, self.multiplicity)
        return SlateBatch(*(None if column is None else column[rows] for column in columns))  # type: ignore[arg-type]  # only those are None that may be

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
    ) -> "SlateBatch":
        """Check and convert what a caller has.

        Raises
        ------
        InvalidLog
            An array is not two-dimensional (`multiplicity`: one), not of the same shape as the rewards, or holds a
            value that is not finite or out of its range; names the array.
        """
        given = {"rewards": rewards, "propensities": propensities, "target": target}
        given |= {name: q for name, q in (("q_logged", q_logged), ("q_target", q_target)) if q is not None}
        tables = {name: table(name, each) for name, each in given.items()}
        shape = tables["rewards"].shape
        for name, each in tables.items():
            if each.shape != shape:
                raise InvalidLog(
                    "length_differs", name, f"must have the shape {shape} as rewards has, not {each.shape}"
                )
        flat = Batch.of(**{name: each.ravel() for name, each in tables.items()})  # the ranges are those of rows
        columns = {name: getattr(flat, name).reshape(shape) for name in tables}
        rows = None
        if multiplicity is not None:
            ones = np.ones(len(tables["rewards"]))
            rows = Batch.of(ones, ones, ones, multiplicity=multiplicity).multiplicity
        return cls(**columns, multiplicity=rows)


def table(name: str, given: ArrayLike) -> FloatArray:
    """Return numbers in rows and columns.

    Raises
    ------
    InvalidLog
        They are not numbers, or not two-dimensional; names the array.
    """
    try:
        found = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidLog("not_numbers", name, "must hold numbers alone, as many in every row") from None
    if found.ndim != _DIMENSIONS or not found.shape[1]:
        raise InvalidLog("shape_invalid", name, f"must have rows and columns, not the shape {found.shape}")
    return found
