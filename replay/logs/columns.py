"""Logs that are tables: rows as arrays, a batch at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.errors import InvalidLog
from replay.events import LoggedEvent

__all__ = ["BATCH_ROWS", "ColumnLog", "Columns", "IntArray"]

BATCH_ROWS = 65_536  # enough for numpy to run at full speed, and a few MB of memory

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Columns:
    """A batch of rows of a log; each array has n rows.

    Attributes
    ----------
    rewards
        Finite, larger is better.
    propensities
        In (0, 1].
    actions
        Indices into `action_ids`.
    action_ids
        Ids of the actions: the log's whole action set if it has a fixed one, else those seen so far, in the order in
        which they were first seen, so that an index means the same in all batches.
    positions
        0-based place on the page that the row is about; None if the log has none.
    at, reward_at
        UTC seconds; None if the log has none.
    segments, event_ids
        As strings; None if the log has none.
    multiplicity
        How many events of the whole log a row stands for; None for 1 each.
    probabilities
        Shape (n, len(action_ids)): what the logging policy drew from; None if the log has the propensity alone.
    targets
        By candidate: its probability of the logged action.
    q_logged, q_targets
        Predicted reward of the logged action; by candidate, its expected predicted reward.
    context
        Features by name, numbers as float64, all else as strings.
    """

    rewards: FloatArray
    propensities: FloatArray
    actions: IntArray
    action_ids: Sequence[str]
    positions: IntArray | None = None
    at: FloatArray | None = None
    reward_at: FloatArray | None = None
    segments: NDArray[Any] | None = None
    event_ids: NDArray[Any] | None = None
    multiplicity: FloatArray | None = None
    probabilities: FloatArray | None = None
    targets: Mapping[str, FloatArray] = field(default_factory=dict)
    q_logged: FloatArray | None = None
    q_targets: Mapping[str, FloatArray] = field(default_factory=dict)
    context: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def n_actions(self) -> int:
        """How many actions are known so far."""
        return len(self.action_ids)

    def __len__(self) -> int:
        return len(self.rewards)

    def batch(self, target: str) -> Batch:
        """Return the rows beside what one candidate would have done, for the estimators.

        Raises
        ------
        InvalidLog
            The log has no such candidate.
        """
        if target not in self.targets:
            raise InvalidLog("target_unknown", f"target.{target}", f"is not in the log, which has {list(self.targets)}")
        q_target = self.q_targets.get(target)
        return Batch(
            rewards=self.rewards,
            propensities=self.propensities,
            target=self.targets[target],
            q_logged=None if q_target is None else self.q_logged,
            q_target=None if self.q_logged is None else q_target,
            multiplicity=self.multiplicity,
        )


class ColumnLog(Protocol):
    """A log that can be read as columns, from its beginning, as often as it is asked for, in constant memory.

    Attributes
    ----------
    dropped
        Why rows of the last reading were left out, and how many; complete once it is read to its end.
    """

    dropped: Counter[str]

    def batches(self) -> Iterator[Columns]:
        """Yield the rows that can be used, in the log's order, and count the rest in `dropped`."""
        ...

    def events(self) -> Iterator[LoggedEvent]:
        """Yield the same rows as decisions, for policies that learn."""
        ...
