"""The log itself, looked at while an evaluation reads it."""

import random
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from replay.block import Block, block_of
from replay.diagnostics import Duplicates, LogCounts, log_health
from replay.events import LoggedEvent
from replay.logs.dsjson import event_of
from replay.results import Finding, LogHealth

__all__ = ["Health"]

_ONE_IN: Final = 16  # event ids that are looked at where looking at all would take longer than all else
_ONE_LINE_IN: Final = 8  # lines that are decoded for their probabilities, where VW alone reads all: of the first ones
_ONE_LATER_LINE_IN: Final = 512  # and of the others: decoding takes several times as long as VW does
_FIRST_LINES: Final = 1_024


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
    _n_lines: int = 0

    def add(self, block: Block) -> None:
        """Take in a block that has rows."""
        self.counts.add(block.rewards, block.propensities, at=block.at, multiplicity=block.multiplicity)
        if block.row_event is not None:
            self.n_slots = max(self.n_slots, int(np.bincount(block.row_event).max()))
        self._count_ids(block)
        if block.lines and not block.events:
            self._look_into(block.lines)
        elif len(block.distributions):
            self._count_shares(block)

    def __add__(self, other: "Health") -> "Health":
        """Return the counts over both parts of a log."""
        n_slots = max(self.n_slots, other.n_slots)
        return Health(self.counts + other.counts, n_slots, self._is_thinned or other._is_thinned)

    def _count_ids(self, block: Block) -> None:
        if block.events:
            self.counts.duplicates.add(_name(event) for event in block.events)
            return
        if not len(block.event_ids):
            return
        self._is_thinned = True
        for event_id, slot in zip(block.event_ids, block.slot.tolist(), strict=True):
            name = event_id if isinstance(event_id, bytes) else str(event_id or "").encode()
            name += b" %d" % slot if slot and name else b""  # a table has a row for each slot of a decision
            if zlib.crc32(name) % _ONE_IN == 0:  # all copies of an id, or none
                self.counts.duplicates.add((name.decode(errors="replace"),))

    def _look_into(self, lines: Sequence[bytes]) -> None:
        """Count the probabilities of some of the lines that VW alone reads."""
        one_in = _ONE_LINE_IN if self._n_lines < _FIRST_LINES else _ONE_LATER_LINE_IN
        chance = random.Random(self._n_lines)  # noqa: S311 - which ones, and nothing that repeats in the log
        few = (lines[place] for place in chance.sample(range(len(lines)), -(-len(lines) // one_in)))
        self._n_lines += len(lines)
        noted = Counter[str]()
        events = [event for line in few if isinstance(event := event_of(line, noted=noted), LoggedEvent)]
        if events:
            self._count_shares(block_of(events))
        self.counts.set_aside(noted["probabilities_unusable"])

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
        counts.set_aside(noted["probabilities_unusable"])
        n_without = dropped["reward_missing"]
        n = max(events, counts.n)  # slots get rewards, where each has its own: then there are more than decisions
        if n_without or noted["late_reward"]:
            counts.add_rewards(n + n_without, missing=n_without, late=noted["late_reward"])
        health = log_health(counts, events=events, dropped=dropped)
        more = (*_defaults(noted["default_reward"], n), *_repeated(noted["duplicate_reward"], events))
        return replace(health, findings=(*health.findings, *more))


def _name(event: LoggedEvent) -> str:
    """Return what an event is known by: in a table each slot of a decision is a row, and an event, of its own."""
    slot = event.slots[0].id if len(event.slots) == 1 else ""
    return f"{event.event_id} {slot}" if slot and event.event_id else event.event_id


def _defaults(number: int, n: int) -> Iterator[Finding]:
    if number:  # no fault: where rewards are clicks, most decisions get none
        detail = f"{number / max(1, n):.1%} of the rewards are the default: none came while the window was open."
        yield Finding("default_rewards", serious=False, detail=detail)


def _repeated(number: int, events: int) -> Iterator[Finding]:
    if number:
        detail = f"{number} rewards ({number / max(1, events):.2%} of the events) came again and changed nothing."
        yield Finding("duplicate_rewards", serious=False, detail=detail)
