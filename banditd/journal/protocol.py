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
from typing import Any, Final, Literal, Protocol

import msgspec

__all__ = [
    "PAGE_BYTES",
    "PREPARED",
    "Activated",
    "Aggregate",
    "Epoch",
    "Journal",
    "LaneInfo",
    "Learn",
    "NewDecision",
    "NewReward",
    "OpenLane",
    "OutcomeRow",
    "PoolInfo",
    "PoolStretch",
    "Pooling",
    "Recorded",
    "RewardRule",
    "Rewarded",
    "Slots",
    "Snapshot",
]

PAGE_BYTES: Final = 1 << 20  # a page of a log ends with the outcome that fills it: some 1 ms of work for both sides
PREPARED: Final = 0  # in place of an epoch, which is 1 or more: bases that are saved and not in force yet

Aggregate = Literal["earliest", "latest", "sum", "max"]
Learn = Literal["at_once", "at_close"]
Slots = Literal["first", "all"]
Pooling = Literal["own", "shared", "auto"]


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
    slots
        What a reward that names no slot is about: the first slot of its decision, or each of them.
    """

    wait_s: float
    default: float
    aggregate: Aggregate
    learn: Learn = "at_once"
    low: float = -1e9
    high: float = 1e9
    slots: Slots = "first"


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


class OpenLane(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What a lane is to run from now on: asks for its current epoch, or opens the next one."""

    lane: str
    pool: str
    spec: dict[str, Any]
    rule: RewardRule
    build: str


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
    """A reward as it came; `slot` None means the whole decision, and the reward rule says what that is."""

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
    """One numbered outcome; `body` is its decision's, empty for a tombstone; `shared`: made in a shared pool."""

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
    shared: bool = False


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


class PoolStretch(msgspec.Struct, frozen=True, array_like=True):
    """Epochs of a lane one after another that have the same spec and are in the same pool.

    Attributes
    ----------
    lane, epoch, from_seq
        The lane, the first of these epochs, and the lane's last outcome before it.
    current
        The lane's epoch now.
    pooled
        Whether it is in the pool that was asked about, or in another.
    spec
        As JSON with sorted keys.
    """

    lane: str
    epoch: int
    from_seq: int
    current: int
    pooled: bool
    spec: str


class PoolInfo(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The pool's last number, and the stretches of every lane that ever was in it, each lane's in their order."""

    seq: int
    stretches: list[PoolStretch]


class Journal(Protocol):
    """What the service asks of a journal; every method may raise `JournalUnavailable`."""

    async def open_lane(self, lane: str, *, pool: str, spec: dict[str, Any], rule: RewardRule, build: str) -> Epoch:
        """Return the lane's current epoch, opening the next one if spec, rule or build changed."""

    async def open_lanes(self, lanes: Sequence[OpenLane]) -> Sequence[Epoch]:
        """Do for all of them, in one commit, what `open_lane` does for one.

        A lane that changes its pool opens its next epoch; its outcomes so far keep their numbers in the pool they
        were made in. A lane whose name begins with ``*/`` is a parent: it has no outcomes, its snapshots are of
        places in its pool, and their `seq` and `chain` are the pool's number and the chain of the outcome there.
        """

    async def record(self, decision: NewDecision) -> Recorded:
        """Claim the event id and keep the decision, or return the one that holds the id."""

    async def reward(self, reward: NewReward) -> Rewarded:
        """Keep a reward and join it with its decision."""

    async def activate(self, event_id: str) -> Activated:
        """Let a deferred decision be learned from."""

    async def outcomes(self, lane: str, *, after: int, limit: int) -> Sequence[OutcomeRow]:
        """Return up to `limit` outcomes of the lane with seq > `after`, in order.

        With fewer, the log ends there, or the decisions in them have `PAGE_BYTES` together; one is always returned
        if there is one.
        """

    async def pool_outcomes(self, pool: str, *, after: int, limit: int) -> Sequence[OutcomeRow]:
        """Return up to `limit` outcomes made in a shared pool with pool_seq > `after`, in that order.

        A pool is shared if it has another name than the lane. What its lane's base stands for is left out. Pages end
        as those of `outcomes` do.
        """

    async def pool_info(self, pool: str) -> PoolInfo:
        """Return where the pool is, and which lanes were in it when; nothing of a pool that nobody opened."""

    def subscribe(self, receive: Callable[[Sequence[OutcomeRow]], None]) -> None:
        """Call `receive` with every outcome from now on, in commit order, on the event loop."""

    async def lane_info(self, lane: str) -> LaneInfo:
        """Return the lane's counters."""

    async def lane_infos(self, lanes: Sequence[str]) -> Sequence[LaneInfo]:
        """Return the counters of many lanes, in the order asked."""

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; older and damaged ones of the lane but the newest few are dropped.

        A base is kept beside them, and the lane's log is as before until `move_bases`. Another that was saved before
        and is not in force gives way to it.
        """

    async def snapshots(self, lane: str, *, epoch: int) -> Sequence[Snapshot]:
        """Return the epoch's snapshots and the lane's base, newest first.

        For `PREPARED`: the base, and the one that was saved after it and is not in force.
        """

    async def trim(self, lane: str, base: Snapshot) -> int:
        """Write a base, then drop outcomes up to it with their decisions; return how many."""

    async def move_bases(self, bases: Sequence[Snapshot]) -> None:
        """Put bases of a parent and of lanes of its pool in force in one commit; `trim` of each then drops the rest.

        Each was saved before by `save_snapshot`, one by one since they may be many and large; here they need no state.
        """

    async def last_before(self, lane: str, *, age_s: float) -> int:
        """Return the seq of the lane's last outcome older than `age_s` on the journal's clock; 0 if none.

        Of a parent: the pool's number of the last such outcome.
        """

    async def decision(self, event_id: str) -> bytes | None:
        """Return the body of the decision that holds an event id; None if nobody claimed it."""

    async def drop_lapses(self, lane: str, *, age_s: float) -> int:
        """Drop some of the lapsed decisions whose window closed longer ago than `age_s`; return how many."""

    async def close(self) -> None:
        """Finish what is under way and let go of the store."""
