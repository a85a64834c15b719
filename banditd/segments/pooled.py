"""A lane that shares a parent with others, and may have a policy of its own beside it."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from banditd.journal.protocol import Epoch, OutcomeRow, Snapshot
from banditd.logs import get_logger
from banditd.segments.families import Kin
from banditd.segments.lane import Lane, LaneState, learned_from, spec_digest
from policies.bounds import RunningMean
from policies.contest import START, Contest, Server
from policies.draw import checked
from policies.errors import InvalidInput, StateInvalid
from policies.evidence import Evidence
from policies.features import Action, Context
from policies.protocol import Outcome, Policy, PolicySpec

if TYPE_CHECKING:
    from banditd.segments.pool import Pool

__all__ = ["Own", "PooledLane", "probability"]

_LONG_AGO: Final = 0  # a policy that had learned before its lane came to the pool started before the pool's first

log = get_logger()


class Own:
    """A lane's own policy and its contest with the parent, up to one of the lane's outcomes.

    Attributes
    ----------
    seq, chain
        Of the last outcome taken in.
    """

    def __init__(self, spec: PolicySpec, *, seq: int, chain: bytes, holder: Server) -> None:
        self.policy = spec.build()
        self.contest = Contest(holder)
        self.seq = seq
        self.chain = chain

    def take(self, row: OutcomeRow, outcome: Outcome | None, *, shared: float | None) -> None:
        """Take the next outcome in; one that was taken in before changes nothing.

        Parameters
        ----------
        outcome
            What is learned from it; None: it was erased.
        shared
            Probability with which the parent would have chosen what was chosen, before it learned this; None: from
            before the lane came to the pool, so that there was no contest.
        """
        if row.seq <= self.seq:
            return
        if row.seq != self.seq + 1 and self.chain != b"":
            raise AssertionError(f"own policy of {row.lane} is at {self.seq}, and {row.seq} came")
        if outcome is not None:
            own = None if shared is None else probability(self.policy, outcome)
            try:
                self.policy.learn(outcome)
            except InvalidInput:  # the parent refused it too, and counted it
                own = None
            if own is not None and shared is not None:
                self.contest.add(own=own, shared=shared, propensity=outcome.propensity, reward=outcome.reward)
        self.seq, self.chain = row.seq, row.chain


class PooledLane(Lane):
    """What is known of a lane that shares a parent.

    Its numbers and sums are kept by the pool, and always at the pool's head. Its own policy need not be in memory: then
    the parent's scores of what came meanwhile are kept, since it must be scored before it learns.

    Attributes
    ----------
    kin
        How it belongs to the parent.
    n
        Its outcomes that the parent has learned from.
    started
        The pool's number of the outcome after which its own policy started from the parent; 0 if it brought its own
        policy to the pool; None before.
    own
        Its own policy, if that is in memory.
    scores
        By seq, what the parent would have played with which probability, for outcomes since `saved_seq` while
        its own policy was not in memory.
    is_unsaved
        Whether its own policy was in memory and not saved when the snapshot was taken that the pool went to.
    counted
        What of its contest's evidence is part of the pool's: all that its own policy had when it was last in memory.
    last_server
        Who served when that was last known.
    """

    def __init__(self, pool: "Pool", kin: Kin, epoch: Epoch) -> None:
        super().__init__(kin.lane.rpartition("/")[0], epoch=epoch, spec=pool.spec, policy=None, reader=pool.reader)
        self.pool = pool
        self.kin = kin
        self.pooling = kin.pooling
        if kin.pooling == "auto":
            self.n_asked *= 2  # the parent's, and its own as soon as it has one
        self.reset()

    def reset(self) -> None:
        """Become as before any outcome in the pool."""
        self.seq, self.last_pool_seq, self.chain = self.kin.entered, 0, b""
        self.rewards = RunningMean()
        self.refused = 0
        self.saved_seq = 0
        self.n = 0
        brings_own = self.pooling == "auto" and self.kin.entered >= START
        self.started: int | None = _LONG_AGO if brings_own else None
        self.own: Own | None = None
        self.scores: dict[int, float] = {}
        self.is_unsaved = False
        self.counted = Evidence()
        self.last_server: Server = "own" if self.brings_own else "shared"
        self.is_hot = not self.brings_own

    @property
    def pool_seq(self) -> int:
        """The pool's number of the last outcome that the parent has learned from."""
        return self.pool.pool_seq

    @property
    def served_by(self) -> Server:
        """Whose policy serves the larger share now."""
        return self.last_server if self.own is None else self.own.contest.serving(self.pool.evidence)

    @property
    def own_share(self) -> float | msgspec.UnsetType:
        """Share of its own policy in what would be played now; unset if it has none."""
        return msgspec.UNSET if self.own is None else self.own.contest.own_share(self.pool.evidence)

    @property
    def parent_epoch(self) -> int:
        """The parent's epoch."""
        return self.pool.epoch.epoch

    @property
    def own_from(self) -> int | msgspec.UnsetType:
        """The pool's number at which its own policy started from the parent."""
        return msgspec.UNSET if self.started is None else self.started

    @property
    def can_unload(self) -> bool:
        """Whether it has a policy of its own in memory that it can do without for a while."""
        return self.own is not None and self.own.policy.resumable

    def distribution(self, context: Context, options: Sequence[Action]) -> list[float]:
        """Return what would be played now: shape (n_options,), checked."""
        seen = context.within(self.segment)
        played = self.pool.policy.probabilities(seen, options)
        if self.own is not None:
            share = self.own.contest.own_share(self.pool.evidence)
            played = share * self.own.policy.probabilities(seen, options) + (1.0 - share) * played
        vector: list[float] = played.tolist()
        checked(vector, len(options))
        return vector

    @property
    def snapshot_epoch(self) -> int:
        """What its own policy's snapshots are kept under: later for each stay, and for each epoch of the parent."""
        return (self.kin.epoch << 32) + self.pool.epoch.epoch

    def lesson(self, row: OutcomeRow) -> Outcome | None:
        """Return what the parent and the lane's own policy learn from an outcome; None if it was erased."""
        if row.erased:
            return None
        outcome = learned_from(row, self.reader)
        return dataclasses.replace(outcome, context=outcome.context.within(self.segment))

    def take(self, row: OutcomeRow, outcome: Outcome | None) -> None:
        """Take an outcome in, before the parent learns it."""
        if self.started is not None and row.seq > self.kin.entered:
            shared = None if outcome is None else probability(self.pool.policy, outcome)
            if self.own is not None:
                self.own.take(row, outcome, shared=shared)
                self._count()
            elif shared is not None:
                self.scores[row.seq] = shared
        if outcome is not None:
            self.n += 1
            self.rewards.add(outcome.reward)
        if row.seq > self.seq:  # an outcome of an earlier stay in the pool is older than when it came back
            self.seq, self.last_pool_seq, self.chain = row.seq, row.pool_seq, row.chain

    def start_if_due(self) -> bool:
        """Start the lane's own policy from the parent, which has just learned; tell whether that was now."""
        if self.started is not None or self.pooling != "auto" or self.n < START:
            return False
        self.started = self.last_pool_seq
        self.own = Own(self.spec, seq=self.seq, chain=self.chain, holder="shared")
        self.own.policy.adopt(self.pool.policy)
        return True

    @property
    def brings_own(self) -> bool:
        """Whether its own policy had learned before the lane came to the pool, and owes nothing to the parent."""
        return self.started == _LONG_AGO

    def begin(self) -> Own:
        """Return the own policy that it brings, as that was before any outcome."""
        return Own(self.spec, seq=0, chain=b"", holder="own")

    def attach(self, own: Own) -> None:
        """Go on with its own policy, which has taken in all that the lane has; not if its pool failed meanwhile."""
        if self.is_failed:
            return
        if own.seq != self.seq:
            raise AssertionError(f"own policy of {self.name} is at {own.seq}, the lane at {self.seq}")
        self.own = own
        self._count()
        self.scores.clear()
        self.is_hot = True

    def _count(self) -> None:
        """Let the pool have all of the evidence."""
        if self.own is not None:
            self.pool.evidence.count(self.own.contest.evidence, instead_of=self.counted)
            self.counted = self.own.contest.evidence.copy()

    def unload(self) -> None:
        """Let go of its own policy, whose state is kept as a snapshot."""
        self.last_server = self.served_by
        self.own = None
        self.is_hot = self.started is None and not self.is_failed

    def dumps(self) -> bytes:
        """Return the state of everything that has a part in what is played."""
        if self.own is None:
            return self.pool.policy.dumps()
        return msgspec.msgpack.encode((self.pool.policy.dumps(), self.own.policy.dumps(), self.own.contest.dumps()))

    def snapshot(self) -> Snapshot:
        """Return the state of its own policy as it is now; empty if it has none."""
        own = self.own
        state = LaneState(
            b"" if own is None else own.policy.dumps(),
            self.rewards.dumps(),
            self.refused,
            None if own is None else own.contest.dumps(),
            self.pool.epoch.epoch,
        )
        return Snapshot(
            lane=self.name,
            epoch=self.snapshot_epoch,
            seq=self.seq,
            chain=self.chain if own is None else own.chain,
            build=self.pool.epoch.build,
            spec_digest=spec_digest(self.spec),
            state=msgspec.msgpack.encode((self.last_pool_seq, state)),
        )

    def own_of(self, snapshot: Snapshot) -> Own | None:
        """Return the own policy that a snapshot holds; None if it cannot be gone on from."""
        if snapshot.spec_digest != spec_digest(self.spec):
            return None
        if snapshot.build != self.pool.epoch.build and not snapshot.is_base:
            return None
        try:
            _, state = msgspec.msgpack.decode(snapshot.state, type=tuple[int, LaneState])
            if not state.policy or (state.parent_epoch != self.pool.epoch.epoch and not snapshot.is_base):
                return None
            own = Own(self.spec, seq=snapshot.seq, chain=snapshot.chain, holder="own")
            own.policy.loads(state.policy)
            if state.contest is not None:
                own.contest = Contest.loads(state.contest)
        except (StateInvalid, msgspec.DecodeError) as error:
            log.warning("snapshot_invalid", lane=self.name, seq=snapshot.seq, detail=str(error))
            return None
        return own


def probability(policy: Policy, outcome: Outcome) -> float:
    """Return with which probability a policy would have chosen what was chosen."""
    return float(policy.probabilities(outcome.context, outcome.actions)[outcome.chosen])
