"""Candidates that never learn: the baselines, columns and tables of probabilities, functions."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from policies.protocol import FloatArray
from replay.block import Block
from replay.candidates.protocol import Candidate, Need, Played
from replay.errors import InvalidLog
from replay.events import LoggedEvent
from replay.rejection import Rejection
from replay.results import Finding

__all__ = ["Call", "Column", "First", "Logged", "Table", "Uniform"]

_SUM_SLACK = 1e-5  # by which a distribution may miss 1, as everywhere in this project


class _Unchanging(ABC):
    """What every candidate that never learns has; it is its own recipe."""

    needs: ClassVar[Need] = "columns"
    learns: ClassVar[bool] = False

    def build(self) -> Candidate:
        """Return itself: there is nothing that could change."""
        return self

    def play(
        self, block: Block, *, whole: Literal["whole", "chosen"] = "chosen", rejection: Rejection | None = None
    ) -> Played:
        """Say what would have been played."""
        played = self._played(block, whole)
        if rejection is None:
            return played
        return replace(played, accepted=rejection.all(played.target, block.place_propensities))

    @abstractmethod
    def _played(self, block: Block, whole: Literal["whole", "chosen"]) -> Played: ...

    def freeze(self) -> None:  # noqa: B027 - not abstract: nothing ever has to be stopped
        """Nothing to stop."""

    def findings(self) -> Sequence[Finding]:
        """Return nothing: nothing can go wrong on the way."""
        return ()


@dataclass(frozen=True)
class Logged(_Unchanging):
    """What the log itself did: its value is the mean reward."""

    text: ClassVar[str] = "logged"

    def _played(self, block: Block, whole: Literal["whole", "chosen"]) -> Played:
        """Return the propensities."""
        vectors = [vector for vector in block.distributions if vector is not None] if whole == "whole" else []
        complete = bool(vectors) and len(vectors) == block.n_places
        return Played(block.place_propensities, np.concatenate(vectors) if complete else None)


@dataclass(frozen=True)
class First(_Unchanging):
    """The caller's first eligible action, always."""

    text: ClassVar[str] = "baseline1"

    def _played(self, block: Block, whole: Literal["whole", "chosen"]) -> Played:
        """Return 1 where the log chose the first eligible action."""
        target = (block.chosen == 0).astype(np.float64)
        if whole == "chosen":
            return Played(target)
        vector = np.zeros(int(block.n_eligible.sum()))
        vector[np.cumsum(block.n_eligible) - block.n_eligible] = 1.0
        return Played(target, vector)


@dataclass(frozen=True)
class Uniform(_Unchanging):
    """Every eligible action alike."""

    text: ClassVar[str] = "uniform"

    def _played(self, block: Block, whole: Literal["whole", "chosen"]) -> Played:
        """Return 1 ÷ n."""
        if len(block) and not block.n_eligible.all():
            raise InvalidLog(
                "actions_unknown", "actions", "must be known to the log for `uniform`: which could be chosen"
            )
        target = 1.0 / block.n_eligible
        return Played(target, np.repeat(target, block.n_eligible) if whole == "whole" else None)


@dataclass(frozen=True)
class Column(_Unchanging):
    """A column of the log that holds a candidate's probability of what the log chose."""

    name: str

    @property
    def text(self) -> str:
        """As it is asked for."""
        return f"column:{self.name}"

    def _played(self, block: Block, whole: Literal["whole", "chosen"]) -> Played:  # noqa: ARG002 - it has the chosen's alone
        """Return the column."""
        if self.name not in block.targets:
            there = ", ".join(sorted(block.targets)) or "none"
            detail = f"is no target column of the log, which has {there}: a mapping says target.{self.name}=COLUMN"
            raise InvalidLog("unknown_column", f"target.{self.name}", detail)
        return Played(block.targets[self.name])


@dataclass(frozen=True, eq=False)
class Table(_Unchanging):
    """A table of probabilities: one row an action of the log's constant set, one column a slot (or a single one)."""

    values: FloatArray
    text: str

    @classmethod
    def of(cls, values: ArrayLike, *, text: str = "table") -> "Table":
        """Check a table.

        Raises
        ------
        InvalidLog
            It is no table of numbers from 0 to 1, or one of its columns does not sum to 1.
        """
        try:
            table = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise InvalidLog("not_numbers", text, "must hold numbers alone") from None
        if table.ndim == 1:
            table = table[:, None]
        if table.ndim != 2 or not table.size:  # noqa: PLR2004 - actions × slots
            raise InvalidLog("shape_invalid", text, f"must have a row an action and a column a slot, not {table.shape}")
        sums = table.sum(axis=0)
        if not (table >= 0.0).all() or not (np.abs(sums - 1.0) <= _SUM_SLACK).all():
            raise InvalidLog("not_a_distribution", text, f"must hold probabilities whose columns sum to 1, not {sums}")
        return cls(table, text)

    def _played(self, block: Block, whole: Literal["whole", "chosen"]) -> Played:
        """Return the probability of what was chosen in its slot."""
        n_actions, n_slots = self.values.shape
        if len(block) and int(block.chosen_id.max()) >= n_actions:
            detail = f"has {n_actions} actions, and the log chose its action {int(block.chosen_id.max())}"
            raise InvalidLog("table_too_small", self.text, detail)
        if n_slots > 1 and len(block) and int(block.slot.max()) >= n_slots:
            detail = f"has {n_slots} slots, and the log has one numbered {int(block.slot.max())}"
            raise InvalidLog("table_too_small", self.text, detail)
        slot = block.slot if n_slots > 1 else np.zeros_like(block.slot)
        target = self.values[block.chosen_id, slot]
        is_full = bool((block.n_eligible == n_actions).all())
        return Played(target, self.values.T[slot].ravel() if whole == "whole" and is_full else None)


@dataclass(frozen=True, eq=False)
class Call(_Unchanging):
    """A function that returns the probabilities of the eligible actions of an event's slots, one slot after another.

    It must be importable by name where several workers run it.
    """

    function: Callable[[LoggedEvent], Any]
    needs: ClassVar[Need] = "events"

    @property
    def text(self) -> str:
        """The function's name."""
        return getattr(self.function, "__qualname__", type(self.function).__name__)

    def _played(self, block: Block, whole: Literal["whole", "chosen"]) -> Played:
        """Ask it of every event."""
        vectors = [self._asked(event) for event in block.events]
        flat = np.concatenate(vectors) if vectors else np.zeros(0)
        target = flat[np.cumsum(block.n_eligible) - block.n_eligible + block.chosen]
        return Played(target, flat if whole == "whole" else None)

    def _asked(self, event: LoggedEvent) -> FloatArray:
        vector = np.asarray(self.function(event), dtype=np.float64).ravel()
        sizes = [len(slot.eligible) for slot in event.slots]
        if len(vector) != sum(sizes):
            detail = f"must be {sum(sizes)} for event {event.event_id!r}, not {len(vector)}"
            raise InvalidLog("length_differs", self.text, detail)
        sums = np.add.reduceat(vector, np.cumsum([0, *sizes[:-1]]))
        if not (vector >= 0.0).all() or not all(math.isclose(total, 1.0, abs_tol=_SUM_SLACK) for total in sums):
            raise InvalidLog("not_a_distribution", self.text, f"is no distribution for event {event.event_id!r}")
        return vector
