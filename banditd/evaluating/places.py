"""What stands about a decision beside it: its claim, its window, its activation, its outcomes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from banditd.decision import Decision
from banditd.evaluating.store import ReadStore

__all__ = ["Place", "claims_of_nothing", "read_places"]

_PAGE: Final = 200
_CLAIMS: Final = 2_000
# One statement, and so one moment: a window that closes, and the outcomes that this makes, are one commit.
_DECISIONS: Final = (
    "SELECT d.id, d.event_id, ifnull(l.name, ''), d.epoch, d.body, d.deferred, d.n_slots,"
    " (SELECT decision_id FROM claims WHERE event_id = d.event_id) IS d.id,"
    " EXISTS (SELECT 1 FROM windows w WHERE (w.due_us, w.decision_id) = (d.due_us, d.id)),"
    " EXISTS (SELECT 1 FROM lapses p WHERE (p.lane_id, p.decision_id) = (d.lane_id, d.id)),"
    " EXISTS (SELECT 1 FROM activations a WHERE a.decision_id = d.id),"
    " (SELECT count(*) FROM outcomes o WHERE o.decision_id = d.id), ifnull(l.base_seq, 0) > 0"
    " FROM decisions d LEFT JOIN lanes l ON l.id = d.lane_id WHERE d.id > ? AND d.id <= ? ORDER BY d.id LIMIT ?"
)
_ORPHANS: Final = (
    "SELECT c.event_id, c.decision_id, d.id IS NULL FROM claims c LEFT JOIN decisions d ON d.id = c.decision_id"
    " WHERE c.event_id > ? ORDER BY c.event_id LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A decision as it is stored, and what the store says about it elsewhere.

    Attributes
    ----------
    is_claimed
        Whether its event id is claimed for it.
    n_outcomes
        Those that are in the kept log.
    is_trimmed
        Whether the beginning of its lane's log was dropped, perhaps with some of its outcomes.
    """

    number: int
    event_id: str
    lane: str
    epoch: int
    body: bytes
    deferred: int
    n_slots: int
    is_claimed: int
    is_open: int
    has_lapsed: int
    was_activated: int
    n_outcomes: int
    is_trimmed: int

    def mistake(self, decision: Decision) -> str:
        """Say in what this is not the place of a decision; "" if it is."""
        if (decision.event_id, decision.lane, decision.epoch) != (self.event_id, self.lane, self.epoch):
            return "the stored decision is of another id, lane or epoch than its place in the store"
        if (decision.deferred, len(decision.slots)) != (bool(self.deferred), self.n_slots):
            return "the stored decision has other slots, or waits otherwise, than its place in the store"
        if not self.is_claimed:
            return "its event id is not claimed for it"
        return ""

    def loss(self) -> str:
        """Say what of its outcomes is not there, or should not be; "" if all is as it can be."""
        waits = self.deferred and not self.was_activated
        if self.is_open:
            return ""
        if waits or self.has_lapsed:
            is_so = waits and self.has_lapsed and not self.n_outcomes
            return "" if is_so else "its window is closed, and it was neither activated nor given up"
        is_whole = self.n_outcomes == self.n_slots or (self.is_trimmed and self.n_outcomes)
        n_missing = self.n_slots - self.n_outcomes
        return "" if is_whole else f"its window is closed, and {n_missing} of its {self.n_slots} outcomes are missing"


def read_places(store: ReadStore, *, last: int) -> Iterator[Place]:
    """Yield all decisions up to a number, in their order."""
    after = 0
    while page := store.rows(_DECISIONS, after, last, _PAGE):
        for row in page:
            yield Place(*row)
        after = page[-1][0]


def claims_of_nothing(store: ReadStore) -> Iterator[tuple[str, int]]:
    """Yield the event ids that are claimed for a decision which is not there, with its number."""
    after = ""
    while page := store.rows(_ORPHANS, after, _CLAIMS):
        yield from ((event_id, number) for event_id, number, is_lost in page if is_lost)
        after = page[-1][0]
