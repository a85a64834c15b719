"""The journal: one ordered log of outcomes per lane, and the decisions they come from.

Every implementation promises (`tests/contract/test_journal.py` holds each to it):

- what a call has returned survives `kill -9` and, with ``durability = "sync"``, a power cut;
- an event id is claimed once over the whole store; `record` is insert-or-return;
- at most one outcome per decision and slot, numbered without gaps in its lane and its pool;
- a reward or an activation that comes too late changes no outcome;
- a decision whose window closes without a reward becomes an outcome with the default reward, once;
- a deferred decision is never learned from before it is activated;
- outcomes reach every subscriber in commit order, after the commit.

Windows run on the journal's own clock: it advances only while the journal runs and
never goes back, so that an outage closes no window.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import msgspec

__all__ = [
    "Activated",
    "Aggregate",
    "Epoch",
    "Journal",
    "LaneInfo",
    "Learn",
    "NewDecision",
    "NewReward",
    "OutcomeRow",
    "Recorded",
    "RewardRule",
    "Rewarded",
    "Snapshot",
]

Aggregate = Literal["earliest", "latest", "sum", "max"]
Learn = Literal["at_once", "at_close"]


class RewardRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the rewards of one decision become the reward of its outcome.

    Attributes
    ----------
    wait_s
        Length of the reward window, from the rank, in seconds of the journal's clock.
    default
        Reward of a decision whose window closes without one.
    aggregate
        Which of several rewards counts, or their sum.
    learn
        ``"at_once"``: an `earliest` outcome is made when the reward comes. ``"at_close"``: every
        outcome is made when the window closes.
    low, high
        Rewards that the lane's policy can learn from; others are refused.
    """

    wait_s: float
    default: float
    aggregate: Aggregate
    learn: Learn = "at_once"
    low: float = -1e9
    high: float = 1e9


class Epoch(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A stretch of a lane under one policy spec, reward rule and build.

    `seq` is never renumbered: an epoch's state at seq n is the fold of outcomes
    ``fold_from + 1`` to n under `spec`, on top of the base at `fold_from` if that is not 0.
    """

    lane: str
    epoch: int
    from_seq: int
    fold_from: int
    spec: dict[str, Any]
    rule: RewardRule
    build: str
    reason: str
    at: float


class NewDecision(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A decision to be recorded.

    Attributes
    ----------
    event_id, lane, epoch
        Its id, where it was made, and under which policy and reward rule.
    deferred
        Whether it waits for an activation.
    body
        The decision as JSON (`banditd.decision.Decision`), stored as it is.
    n_slots
        Places filled; each becomes an outcome of its own.
    """

    event_id: str
    lane: str
    epoch: int
    deferred: bool
    body: bytes
    n_slots: int = 1


class Recorded(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What `record` did: `created`, or the `body` of the decision that holds the event id."""

    created: bool
    body: bytes = b""


class NewReward(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A reward as it came; `slot` None means the whole decision."""

    event_id: str
    reward: float
    reward_id: str | None = None
    slot: int | None = None


class Rewarded(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What became of a reward; `late`, `unknown` and `out_of_range` changed nothing.

    `low` and `high` say what the lane takes, for a refusal that a person can act on.
    """

    status: Literal["joined", "pending", "duplicate", "late", "unknown", "out_of_range"]
    low: float = 0.0
    high: float = 0.0


class Activated(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What became of an activation; `late` and `unknown` changed nothing."""

    status: Literal["activated", "late", "unknown"]


class OutcomeRow(msgspec.Struct, frozen=True, array_like=True):
    """One numbered outcome; `body` is its decision's, empty for a tombstone."""

    lane: str
    seq: int
    pool_seq: int
    event_id: str
    slot: int
    reward: float
    rewarded: bool
    chain: bytes
    body: bytes
    erased: bool = False


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """A lane's state at `seq`: a cache of a fold, or, as a base, where the kept log begins."""

    lane: str
    epoch: int
    seq: int
    chain: bytes
    build: str
    spec_digest: bytes
    state: bytes
    is_base: bool = False


class LaneInfo(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Counters of one lane: the last outcome's numbers and how many decisions were recorded."""

    lane: str
    pool: str
    seq: int
    pool_seq: int
    chain: bytes
    base_seq: int
    decisions: int


class Journal(Protocol):
    """What the service asks of a journal; every method may raise `JournalUnavailable`."""

    async def open_lane(self, lane: str, *, pool: str, spec: dict[str, Any], rule: RewardRule, build: str) -> Epoch:
        """Return the lane's current epoch, opening the next one if spec, rule or build changed."""

    async def record(self, decision: NewDecision) -> Recorded:
        """Claim the event id and keep the decision, or return the one that holds the id."""

    async def reward(self, reward: NewReward) -> Rewarded:
        """Keep a reward and join it with its decision."""

    async def activate(self, event_id: str) -> Activated:
        """Let a deferred decision be learned from."""

    async def outcomes(self, lane: str, *, after: int, limit: int) -> Sequence[OutcomeRow]:
        """Return up to `limit` outcomes of the lane with seq > `after`, in order."""

    def subscribe(self, receive: Callable[[Sequence[OutcomeRow]], None]) -> None:
        """Call `receive` with every outcome from now on, in commit order, on the event loop."""

    async def lane_info(self, lane: str) -> LaneInfo:
        """Return the lane's counters."""

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; older ones of the lane but the newest few are dropped."""

    async def snapshots(self, lane: str, *, epoch: int) -> Sequence[Snapshot]:
        """Return the epoch's snapshots and the lane's base, newest first."""

    async def trim(self, lane: str, base: Snapshot) -> int:
        """Write a base, then drop outcomes up to it with their decisions; return how many."""

    async def last_before(self, lane: str, *, age_s: float) -> int:
        """Return the seq of the lane's last outcome older than `age_s` on the journal's clock; 0 if none."""

    async def decision(self, event_id: str) -> bytes | None:
        """Return the body of the decision that holds an event id; None if nobody claimed it."""

    async def drop_lapses(self, lane: str, *, age_s: float) -> int:
        """Drop some of the lapsed decisions whose window closed longer ago than `age_s`; return how many."""

    async def close(self) -> None:
        """Finish what is under way and let go of the store."""
