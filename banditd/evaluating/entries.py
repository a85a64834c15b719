"""Decisions as the journal has them, each with what became of it: outcomes, rewards, activation."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from banditd.decision import Decision, decode_decision
from banditd.errors import JournalCorrupt
from banditd.evaluating.store import ReadStore
from banditd.journal.protocol import PAGE_BYTES, RewardRule

__all__ = ["Entry", "Selection", "State", "StoredOutcome", "StoredReward", "read_entries"]

State = Literal["complete", "window_open", "not_activated", "trimmed"]

_PAGE: Final = 500  # decisions read at one moment
_US: Final = 1e6
_DECISIONS: Final = (
    "SELECT d.id, d.lane_id, d.epoch, d.deferred, d.n_slots, d.due_us, d.body, w.decision_id IS NOT NULL,"
    " a.decision_id IS NOT NULL FROM decisions d"
    " LEFT JOIN windows w ON (w.due_us, w.decision_id) = (d.due_us, d.id)"
    " LEFT JOIN activations a ON a.decision_id = d.id"
    " WHERE d.id > ? AND d.id <= ? ORDER BY d.id LIMIT ?"
)
_OUTCOMES: Final = (
    "SELECT decision_id, slot, seq, pool_seq, reward, rewarded, clock_us FROM outcomes"
    " WHERE decision_id BETWEEN ? AND ? ORDER BY decision_id, slot"
)
_REWARDS: Final = (
    "SELECT decision_id, slot, reward, reward_id, status, clock_us, at FROM rewards"
    " WHERE decision_id BETWEEN ? AND ? ORDER BY decision_id, id"
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which decisions are wanted.

    Attributes
    ----------
    segment, lane
        By name; "" for all.
    since, until
        UTC seconds of the decision, as its server had them: since ≤ at < until.
    """

    segment: str = ""
    lane: str = ""
    since: float = float("-inf")
    until: float = float("inf")

    def has_lane(self, name: str) -> bool:
        """Tell whether decisions of a lane are wanted."""
        return self.segment in ("", name.rpartition("/")[0]) and self.lane in ("", name)

    def has_time(self, at: float) -> bool:
        """Tell whether a decision of this time is wanted."""
        return self.since <= at < self.until


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """The outcome of one slot: where it stands in its lane and in its pool, and the reward that was learned."""

    seq: int
    pool_seq: int
    reward: float
    rewarded: bool
    clock_us: int


@dataclass(frozen=True, slots=True)
class StoredReward:
    """A reward as it came; `slot` None: it named none."""

    slot: int | None
    reward: float
    reward_id: str | None
    status: Literal["counted", "duplicate", "late"]
    clock_us: int
    at: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision and what became of it.

    Attributes
    ----------
    number
        Of the decision in its store; they grow.
    rule
        How its rewards become outcomes.
    due_us
        When its window closes, on the journal's clock.
    outcomes
        By slot.
    activated
        Whether it was activated, or needed no activation.
    state
        Whether all of its outcomes are there, and if not, why: its window is open, it was never activated, or some
        were dropped from the beginning of the log.
    """

    number: int
    decision: Decision
    rule: RewardRule
    due_us: int
    outcomes: Mapping[int, StoredOutcome]
    rewards: Sequence[StoredReward]
    activated: bool
    state: State

    @property
    def segment(self) -> str:
        """The segment that the decision belongs to."""
        return self.decision.lane.rpartition("/")[0]

    def reward_at(self, slot: int) -> float:
        """Return the UTC seconds at which a slot's outcome was made.

        The journal's clock says it, and the nearest thing before on both clocks what time of the day that was: a
        reward of the decision, or else the decision itself.
        """
        outcome = self.outcomes[slot]
        at, clock_us = self.decision.expires_at, self.due_us
        for reward in self.rewards:
            if reward.status == "counted" and reward.clock_us <= outcome.clock_us:
                at, clock_us = reward.at, reward.clock_us
        return at + (outcome.clock_us - clock_us) / _US


def read_entries(store: ReadStore, selection: Selection, *, after: int = 0) -> Iterator[Entry]:
    """Yield the decisions that were there when the reading began, in their order, each as it is when it is read."""
    last = store.last_decision()
    while True:
        page, after = _page(store, selection, after=after, last=last)
        yield from page
        if after >= last:
            return


def _page(store: ReadStore, selection: Selection, *, after: int, last: int) -> tuple[list[Entry], int]:
    """Return some of the decisions behind a number, and the number up to which they were looked at."""
    with store.connection:  # one moment for all of its queries
        found = _decisions(store, after=after, last=last)
        if not found:
            return [], last
        span = (found[0][0], found[-1][0])
        outcomes: defaultdict[int, dict[int, StoredOutcome]] = defaultdict(dict)
        for number, slot, seq, pool_seq, reward, rewarded, clock_us in store.rows(_OUTCOMES, *span):
            outcomes[number][slot] = StoredOutcome(seq, pool_seq, reward, bool(rewarded), clock_us)
        rewards: defaultdict[int, list[StoredReward]] = defaultdict(list)
        for number, *reward in store.rows(_REWARDS, *span):
            rewards[number].append(StoredReward(*reward))
    page: list[Entry] = []
    for row in found:
        number, lane_id, *_, body, _, _ = row
        if selection.has_lane(store.lane_name(lane_id)):
            try:
                decision = decode_decision(body)
                if selection.has_time(decision.at):
                    page.append(_entry(store, row, decision, outcomes[number], rewards[number]))
            except (msgspec.DecodeError, UnicodeDecodeError, LookupError) as error:
                detail = f"decision {number} of {store.path} cannot be read: {error}; banditd verify says more"
                raise JournalCorrupt("unreadable_decision", detail) from None
    return page, span[1]


def _decisions(store: ReadStore, *, after: int, last: int) -> list[Any]:
    found: list[Any] = []
    size = 0
    for row in store.connection.execute(_DECISIONS, (after, last, _PAGE)):
        found.append(row)
        size += len(row[6])
        if size >= PAGE_BYTES:
            break
    return found


def _entry(
    store: ReadStore,
    row: Sequence[Any],
    decision: Decision,
    outcomes: Mapping[int, StoredOutcome],
    rewards: Sequence[StoredReward],
) -> Entry:
    number, lane_id, epoch, deferred, n_slots, due_us, _, is_open, was_activated = row
    activated = bool(was_activated or not deferred)
    state: State = "complete"
    if is_open:
        state = "window_open"
    elif not activated:
        state = "not_activated"
    elif len(outcomes) != n_slots:
        state = "trimmed"
    return Entry(number, decision, store.rule(lane_id, epoch), due_us, outcomes, rewards, activated, state)
