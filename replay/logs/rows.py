"""Rows of a table as decisions, for policies that learn."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.events import LoggedAction, LoggedEvent, LoggedSlot
from replay.logs.casting import distribution, lists
from replay.logs.columns import Columns
from replay.logs.mapping import ColumnMapping

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Rows"]


@dataclass(slots=True)
class Rows:
    """What stays the same from batch to batch while rows are turned into events.

    Parameters
    ----------
    mapping
        With `actions` or `action_set`.
    action_features
        By id.
    dropped, noted
        Of the log, which these counts are added to.
    """

    mapping: ColumnMapping
    action_features: Mapping[str, Mapping[str, Any]]
    dropped: Counter[str]
    noted: Counter[str]
    _actions: tuple[LoggedAction, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._actions = self._logged(self.mapping.actions)

    def events(self, columns: Columns, frame: "pl.DataFrame", kept: NDArray[np.bool_]) -> Iterator[LoggedEvent]:
        """Yield one event a row; `kept` says which rows of the frame are in the columns."""
        ids = [columns.action_ids[i] for i in columns.actions]
        sets = self._sets(frame, kept)
        distributions = self._distributions(columns, frame, kept)
        context = [(name.removeprefix("context."), values.tolist()) for name, values in columns.context.items()]
        for i, reward in enumerate(columns.rewards.tolist()):
            actions = self._actions if sets is None else sets[i]
            if actions is None:
                self.dropped["actions_missing"] += 1
                continue
            chosen = int(columns.actions[i]) if sets is None else _place(ids[i], actions)
            if chosen < 0:
                self.dropped["action_unknown"] += 1
                continue
            slot = LoggedSlot(
                eligible=range(len(actions)),
                chosen=chosen,
                propensity=float(columns.propensities[i]),
                reward=reward,
                probabilities=self._checked(distributions, i, len(actions)),
                id="" if columns.positions is None else str(columns.positions[i] + self.mapping.first_position),
            )
            yield LoggedEvent(
                event_id=_or_empty(columns.event_ids, i),
                context={name: values[i] for name, values in context if not _empty(values[i])},
                actions=actions,
                slots=(slot,),
                reward=reward,
                at=_or_nan(columns.at, i),
                reward_at=_or_nan(columns.reward_at, i),
                segment=_or_empty(columns.segments, i),
                drop_probability=0.0 if columns.multiplicity is None else 1 - 1 / float(columns.multiplicity[i]),
            )

    def _sets(self, frame: "pl.DataFrame", kept: NDArray[np.bool_]) -> list[tuple[LoggedAction, ...] | None] | None:
        if self.mapping.action_set is None:
            return None
        listed = lists(frame.filter(kept)[self.mapping.action_set])
        return [self._logged([str(one) for one in ids]) if ids else None for ids in listed]

    def _distributions(
        self, columns: Columns, frame: "pl.DataFrame", kept: NDArray[np.bool_]
    ) -> Sequence[FloatArray | None] | None:
        if self.mapping.probabilities is None:
            return None
        if columns.probabilities is not None:
            return [None if math.isnan(row[0]) else row for row in columns.probabilities]
        return [distribution(one) for one in lists(frame.filter(kept)[self.mapping.probabilities])]

    def _checked(self, distributions: Sequence[FloatArray | None] | None, i: int, width: int) -> FloatArray | None:
        if distributions is None:
            return None
        vector = distributions[i]
        if vector is not None and len(vector) == width:
            return vector
        if self.mapping.action_set is not None:  # of a fixed set, it is counted with the columns
            self.noted["probabilities_unusable"] += 1
        return None

    def _logged(self, ids: Sequence[str]) -> tuple[LoggedAction, ...]:
        return tuple(LoggedAction(id=one, features=self.action_features.get(one, {})) for one in ids)


def _place(name: str, actions: Sequence[LoggedAction]) -> int:
    return next((i for i, one in enumerate(actions) if one.id == name), -1)


def _empty(value: Any) -> bool:
    return value == "" or (isinstance(value, float) and math.isnan(value))


def _or_empty(values: NDArray[Any] | None, i: int) -> str:
    return "" if values is None else str(values[i])


def _or_nan(values: FloatArray | None, i: int) -> float:
    return math.nan if values is None else float(values[i])
