"""What a server has acknowledged, kept outside of it, and what that obliges it to.

A request is *in doubt* from when it is sent until it is answered; a kill leaves it there, and the
server may have done it or not. What was answered is certain, and every check here is about that.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from banditd.journal.protocol import OutcomeRow
from tests.fault.server import Segment

__all__ = ["Call", "Entry", "Ledger", "Promise"]

Call = Literal["unsent", "in doubt", "done", "refused"]


@dataclass(slots=True)
class Promise:
    """A reward: its id, its value, the slot that it names if any, and how far it got.

    Attributes
    ----------
    was_doubtful
        Whether it was ever sent without an answer: it may have come at any time since.
    """

    reward_id: str
    value: float
    call: Call = "in doubt"
    slot: int | None = None
    was_doubtful: bool = False


@dataclass(slots=True)
class Entry:
    """One decision as its client knows it.

    Attributes
    ----------
    lanes
        The lanes that it may belong to, and their segments: the one that it names, or those of a mixture.
    request
        The body of its rank, to be sent again.
    answer
        The reply to its rank, None while in doubt.
    rewards
        In the order in which they were first sent, each after the one before was answered or given up.
    outcomes
        How many outcomes of it were seen in the log, by slot.
    """

    event_id: str
    lanes: Mapping[str, Segment]
    request: dict[str, Any]
    deferred: bool
    answer: dict[str, Any] | None = None
    activation: Call = "unsent"
    rewards: list[Promise] = field(default_factory=list)
    outcomes: Counter[int] = field(default_factory=Counter)

    @property
    def lane(self) -> str | None:
        """The lane that it belongs to; None while that is in doubt."""
        if self.answer is not None:
            return f"{self.answer['segment']}/main"
        return next(iter(self.lanes)) if len(self.lanes) == 1 else None

    @property
    def n_slots(self) -> int:
        """How many places it fills, each of which has an outcome of its own."""
        return len(self.request["slots"]) if "slots" in self.request else 1

    @property
    def is_owed_outcomes(self) -> bool:
        """Whether the log must hold its outcomes once the window has closed."""
        return self.answer is not None and (not self.deferred or self.activation == "done")

    @property
    def may_have_outcomes(self) -> bool:
        """Whether the log may hold its outcomes."""
        return not self.deferred or self.activation in {"in doubt", "done"}

    def may_be(self, row: OutcomeRow) -> bool:
        """Return whether the reward of an outcome agrees with every answer that was given."""
        segment = self.lanes[row.lane]
        about = [
            promise
            for promise in self.rewards
            if promise.slot == row.slot or (promise.slot is None and (row.slot == 0 or segment.slots == "all"))
        ]
        possible = _sums(about) if segment.aggregate == "sum" else _earliest(about)
        return (row.reward if row.rewarded else None) in possible and (row.rewarded or row.reward == segment.default)


def _sums(about: Iterable[Promise]) -> set[float | None]:
    """Return what the rewards of a slot may add up to; None: there may be none."""
    about = list(about)
    counted = [promise.value for promise in about if promise.call == "done"]
    doubtful = [promise.value for promise in about if promise.call == "in doubt"]
    possible = {
        sum([*counted, *some]) for size in range(len(doubtful) + 1) for some in combinations(doubtful, size) if size
    }
    return possible | ({sum(counted)} if counted else {None})


def _earliest(about: Iterable[Promise]) -> set[float | None]:
    """Return what the earliest reward of a slot may be; None: there may be none.

    It is the first that was answered at once, or one sent before that and in doubt for a time: that one may have
    come then, or when it was sent again.
    """
    possible: set[float | None] = set()
    is_certain = False
    for promise in about:
        if promise.call not in {"in doubt", "done"}:
            continue
        possible.add(promise.value)
        is_certain |= promise.call == "done"
        if promise.call == "done" and not promise.was_doubtful:
            return possible
    return possible if is_certain else possible | {None}


@dataclass(slots=True)
class Ledger:
    """All that was asked of a server, and what it answered."""

    entries: dict[str, Entry] = field(default_factory=dict)
    unsettled: dict[str, Entry] = field(default_factory=dict)  # since the last `settle`
    chains: dict[str, list[bytes]] = field(default_factory=dict)  # of every outcome seen, by lane

    def add(self, entry: Entry) -> None:
        """Take in a decision before its rank is sent."""
        self.entries[entry.event_id] = self.unsettled[entry.event_id] = entry

    def take(self, lane: str, rows: Iterable[OutcomeRow]) -> Iterator[str]:
        """Take in the outcomes that follow those already seen; yield what is wrong with them."""
        chains = self.chains.setdefault(lane, [])
        for row in rows:
            chains.append(row.chain)
            if row.seq != len(chains):
                yield f"{lane}: outcome {row.seq} stands in place {len(chains)}"
            entry = self.entries.get(row.event_id)
            if entry is None:
                yield f"{row.event_id}: an outcome of a decision that nobody asked for"
                continue
            entry.outcomes[row.slot] += 1
            yield from _mistakes(entry, row, lane)

    def settle(self) -> Iterator[str]:
        """Hold the log to every answer since the last time, all windows being closed; yield what is missing."""
        for entry in self.unsettled.values():
            missing = [slot for slot in range(entry.n_slots) if not entry.outcomes[slot]]
            if missing and entry.is_owed_outcomes:
                yield f"{entry.event_id}: was acknowledged and has no outcome of slots {missing} ({entry.rewards})"
            if missing and len(missing) < entry.n_slots:
                yield f"{entry.event_id}: has outcomes of some slots and none of {missing}"
        self.unsettled.clear()

    def count(self) -> dict[str, int]:
        """Return how much was acknowledged, and how much a kill left in doubt."""
        entries = self.entries.values()
        known = [entry for entry in entries if entry.answer is not None]
        rewards = [(promise.call, promise.slot) for entry in entries for promise in entry.rewards]
        calls = Counter(call for call, _ in rewards)
        return {
            "decisions": len(known),
            "with_slots": sum("slots" in entry.request for entry in known),
            "mixtures": sum(len(entry.lanes) > 1 for entry in known),
            "rewards": calls["done"],
            "rewards_of_a_slot": sum(call == "done" and slot is not None for call, slot in rewards),
            "late_rewards": calls["refused"],
            "activations": sum(entry.activation == "done" for entry in entries),
            "outcomes": sum(len(chains) for chains in self.chains.values()),
            "in_doubt": len(entries) - len(known) + calls["in doubt"],
        }


def _mistakes(entry: Entry, row: OutcomeRow, lane: str) -> Iterator[str]:
    """Yield what is wrong with an outcome of a decision that was asked for."""
    name = f"{row.event_id}[{row.slot}]"
    if entry.outcomes[row.slot] > 1:
        yield f"{name}: outcome number {entry.outcomes[row.slot]} of one slot"
    if row.slot >= entry.n_slots:
        yield f"{name}: was asked for {entry.n_slots} slots"
    if row.lane != lane or lane not in entry.lanes or entry.lane not in {None, lane}:
        yield f"{name}: is in the log of {lane}, not of {entry.lane or list(entry.lanes)}"
        return
    if not entry.may_have_outcomes:
        yield f"{name}: learned from although it was never activated"
    if not entry.may_be(row):
        yield f"{name}: {row.reward} (rewarded: {row.rewarded}) after {entry.rewards}"
