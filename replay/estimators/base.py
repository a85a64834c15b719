"""What all estimators share: rows in, sums kept, a value and an interval out."""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.errors import InvalidLog
from replay.intervals import Interval, interval
from replay.sums import Sums, Terms

__all__ = ["Estimator", "predictions"]


@dataclass(slots=True, kw_only=True, eq=False)
class Estimator(ABC):
    """An estimate of a target policy's mean reward that grows with the rows it is given.

    A subclass is its parameters, its `name` and its `terms`. Two of the same parameters that saw different rows add
    up, in any order and on any machine, to one that saw them all.
    """

    name: ClassVar[str]
    needs_model: ClassVar[bool] = False

    sums: Sums = field(default_factory=Sums)

    @abstractmethod
    def terms(self, batch: Batch) -> Terms:
        """Return what each row gives to the estimate.

        Raises
        ------
        InvalidLog
            The batch lacks what this estimator needs; names the array.
        """

    def add(self, batch: Batch) -> None:
        """Take in some rows.

        Raises
        ------
        InvalidLog
            As `terms`; nothing changed.
        """
        self.sums += Sums.of(self.terms(batch), batch.multiplicity)

    @property
    def value(self) -> float:
        """The estimate; NaN where the rows cannot answer."""
        return self.sums.value

    def interval(
        self,
        method: str = "auto",
        level: float = 0.95,
        *,
        reward_range: tuple[float, float] = (0.0, 1.0),
        max_weight: float | None = None,
    ) -> Interval:
        """Return an interval for the value; `replay.intervals` has the methods.

        Parameters
        ----------
        method
            "auto" chooses by the rules in docs/intervals.md.
        level
            Coverage to promise, in (0, 1).
        reward_range
            What a reward can be, not what was seen.
        max_weight
            The largest weight that there can be, not the largest seen; None if nobody knows.

        Raises
        ------
        InvalidLog
            A setting is out of its range, or the method does not fit this estimator.
        """
        return interval(self.sums, method, level=level, reward_range=reward_range, max_weight=max_weight)

    def __add__(self, other: Self) -> Self:
        """Return the estimator that saw the rows of both.

        Raises
        ------
        InvalidLog
            The two differ in kind or in a parameter.
        """
        if type(self) is not type(other) or self.parameters() != other.parameters():
            raise InvalidLog("estimator_differs", "estimator", f"must be the same to be added: {self.name}")
        return dataclasses.replace(self, sums=self.sums + other.sums)

    def parameters(self) -> dict[str, Any]:
        """Return everything that this estimator is besides what it saw."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "sums"}

    def dumps(self) -> tuple[Any, ...]:
        """Return what it saw as plain numbers and lists, to be sent to another process."""
        return self.sums.dumps()

    def loads(self, state: tuple[Any, ...]) -> Self:
        """Return one with the parameters of this and the state that `dumps` gave."""
        return dataclasses.replace(self, sums=Sums.loads(state))


def predictions(batch: Batch, name: str) -> tuple[FloatArray, FloatArray]:
    """Return the predicted reward of the logged action, and the expected one under the target.

    Raises
    ------
    InvalidLog
        One of them is missing; names the array and the estimator that wants it.
    """
    if batch.q_logged is None:
        raise InvalidLog("reward_model_missing", "q_logged", f"must be given: {name} needs a reward model")
    if batch.q_target is None:
        raise InvalidLog("reward_model_missing", "q_target", f"must be given: {name} needs a reward model")
    return batch.q_logged, batch.q_target
