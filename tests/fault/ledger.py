"""What a server has acknowledged, kept outside of it, and what that obliges it to.

A request is *in doubt* from when it is sent until it is answered; a kill leaves it there, and the
server may have done it or not. What was answered is certain, and every check here is about that.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from banditd.journal.protocol import Aggregate, OutcomeRow

__all__ = ["Call", "Entry", "Ledger", "Promise"]

Call = Literal["unsent", "in doubt", "done", "refused"]


@dataclass(slots=True)
class Promise:
    """A reward: its id, its value and how far it got."""

    reward_id: str
    value: float
    call: Call = "in doubt"


@dataclass(slots=True)
class Entry:
    """One decision as its client knows it.

    Attributes
    ----------
    request
        The body of its rank, to be sent again.
    answer
        The reply to its rank, None while in doubt.
    outcomes
        How many outcomes of it were seen in the log.
    """

    event_id: str
    lane: str
    aggregate: Aggregate
    default: float
    request: dict[str, Any]
    deferred: bool
    answer: dict[str, Any] | None = None
    activation: Call = "unsent"
    rewards: list[Promise] = field(default_factory=list)
    outcomes: int = 0

    @property
    def is_owed_an_outcome(self) -> bool:
        """Whether the log must hold its outcome once the window has closed."""
        return self.answer is not None and (not self.deferred or self.activation == "done")

    @property
    def may_have_an_outcome(self) -> bool:
        """Whether the log may hold its outcome."""
        return not self.deferred or self.activation in {"in doubt", "done"}

    def may_be(self, reward: float, *, rewarded: bool) -> bool:
        """Return whether the outcome's reward agrees with every answer that was given."""
        counted = [promise.value for promise in self.rewards if promise.call == "done"]
        doubtful = [promise.value for promise in self.rewards if promise.call == "in doubt"]
        possible = {
            self._aggregated([*counted, *some])
            for size in range(len(doubtful) + 1)
            for some in combinations(doubtful, size)
        }
        return (reward, rewarded) in possible

    def _aggregated(self, values: list[float]) -> tuple[float, bool]:
        if not values:
            return self.default, False
        return (sum(values) if self.aggregate == "sum" else values[0]), True


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
            entry.outcomes += 1
            if entry.outcomes > 1:
                yield f"{row.event_id}: outcome number {entry.outcomes} of one decision"
            if entry.lane != lane:
                yield f"{row.event_id}: is in the log of {lane}, not of {entry.lane}"
            if not entry.may_have_an_outcome:
                yield f"{row.event_id}: learned from although it was never activated"
            if not entry.may_be(row.reward, rewarded=row.rewarded):
                yield f"{row.event_id}: {row.reward} (rewarded: {row.rewarded}) after {entry.rewards}"

    def settle(self) -> Iterator[str]:
        """Hold the log to every answer since the last time, all windows being closed; yield what is missing."""
        for entry in self.unsettled.values():
            if entry.is_owed_an_outcome and not entry.outcomes:
                yield f"{entry.event_id}: was acknowledged and has no outcome ({entry.rewards})"
        self.unsettled.clear()

    def count(self) -> dict[str, int]:
        """Return how much was acknowledged, and how much a kill left in doubt."""
        entries = self.entries.values()
        rewards = [promise.call for entry in entries for promise in entry.rewards]
        return {
            "decisions": sum(entry.answer is not None for entry in entries),
            "rewards": rewards.count("done"),
            "late_rewards": rewards.count("refused"),
            "activations": sum(entry.activation == "done" for entry in entries),
            "outcomes": sum(len(chains) for chains in self.chains.values()),
            "in_doubt": sum(entry.answer is None for entry in entries) + rewards.count("in doubt"),
        }
