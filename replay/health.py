"""The log itself, looked at while an evaluation reads it."""

import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from replay.block import Block
from replay.diagnostics import Duplicates, LogCounts, log_health
from replay.results import LogHealth

__all__ = ["Health"]

_ONE_IN: Final = 16  # event ids that are looked at where looking at all would take longer than all else


@dataclass(slots=True)
class Health:
    """Counts over the blocks of a log.

    Attributes
    ----------
    counts
        Of rows, as `replay.diagnostics` keeps them.
    n_slots
        The most slots of a decision with a reward for each.
    """

    counts: LogCounts = field(default_factory=LogCounts)
    n_slots: int = 1
    _is_thinned: bool = False

    def add(self, block: Block) -> None:
        """Take in a block that has rows."""
        self.counts.add(block.rewards, block.propensities, at=block.at, multiplicity=block.multiplicity)
        if block.event_of is not None and block.starts is None:
            self.n_slots = max(self.n_slots, int(block.slot.max()) + 1)
        self._count_ids(block)
        if len(block.distributions):
            self._count_shares(block)

    def __add__(self, other: "Health") -> "Health":
        """Return the counts over both parts of a log."""
        n_slots = max(self.n_slots, other.n_slots)
        return Health(self.counts + other.counts, n_slots, self._is_thinned or other._is_thinned)

    def _count_ids(self, block: Block) -> None:
        if block.events:
            self.counts.duplicates.add(event.event_id for event in block.events)
            return
        self._is_thinned = self._is_thinned or len(block.event_ids) > 0
        for event_id in block.event_ids:
            name = event_id if isinstance(event_id, bytes) else str(event_id or "").encode()
            if zlib.crc32(name) % _ONE_IN == 0:  # all copies of an id, or none
                self.counts.duplicates.add((name.decode(errors="replace"),))

    def _count_shares(self, block: Block) -> None:
        if isinstance(block.distributions, np.ndarray):
            known = ~np.isnan(block.distributions).any(axis=1)  # a row of NaN: the log has none that is one
            self.counts.add_sums(block.distributions[known].sum(axis=1))
            self.counts.shares.add_table(block.action_names, block.distributions[known], block.chosen[known])
            return
        sums: list[float] = []
        events = range(block.n_events) if block.event_of is None else block.event_of.tolist()
        for vector, event, slot in zip(block.distributions, events, block.slot.tolist(), strict=True):
            if vector is None:
                continue
            sums.append(float(vector.sum()))
            place = block.events[event].slots[slot]
            actions = block.events[event].actions
            names = [actions[index].id or f"#{index}" for index in place.eligible]
            self.counts.shares.add(names, vector, place.eligible.index(place.chosen))
        self.counts.add_sums(np.array(sums))

    def found(self, *, events: int, dropped: Counter[str], noted: Counter[str]) -> LogHealth:
        """Return what the log looks like, once it was read to its end."""
        counts = self.counts
        if self._is_thinned:  # what was seen of the ids is no exact count any more, and says so with one more bit
            counts.duplicates = counts.duplicates + Duplicates(zero_bits=1)
        if "default_reward" in noted or "late_reward" in noted:
            counts.add_rewards(events, missing=noted["default_reward"], late=noted["late_reward"])
        return log_health(counts, events=events, dropped=dropped)
