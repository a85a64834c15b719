"""Lanes that learn together: one fold over their pool's log, of a parent policy and of what each lane keeps.

For each outcome, in the pool's order: the parent and the lane's own policy are scored on it, the own policy learns it,
the parent learns it. The own policy starts from the parent with the lane's `START`-th outcome. So what every
policy has learned is a function of the pool's log alone. How much of each is played is not quite: the evidence of a
lane whose own policy is not in memory becomes part of the pool's when it is loaded. So each decision stores the share.

A snapshot of the parent is one of the pool: of all lanes but for their own policies, which keep their own. The own
policies that were in memory are saved after the parent, at any later time; what the parent had scored for the others
by then stands in its snapshot. `needs` says for each which snapshot must be there for this one to be gone on from.
"""

from collections.abc import Callable

import msgspec

from banditd.journal.protocol import Epoch, OutcomeRow, Snapshot
from banditd.logs import get_logger
from banditd.segments.lane import Gap, spec_digest
from banditd.segments.pooled import PooledLane
from banditd.segments.reading import Reader
from policies.bounds import RunningMean
from policies.contest import Server
from policies.errors import InvalidInput, StateInvalid
from policies.evidence import Evidence, EvidenceState
from policies.protocol import PolicySpec

__all__ = ["Pool"]

log = get_logger()


class _LaneRecord(msgspec.Struct, array_like=True):
    """What a pool's snapshot holds of one lane."""

    lane: str
    n: int
    seq: int
    pool_seq: int
    chain: bytes
    rewards: tuple[int, float, float]
    refused: int
    started: int | None
    last_server: Server
    counted: EvidenceState
    needs: int
    is_unsaved: bool
    scores: dict[int, float]


class _State(msgspec.Struct, array_like=True):
    policy: bytes
    moves: dict[str, int]
    lanes: list[_LaneRecord]


class Pool:
    """A parent policy and the lanes that share it.

    Parameters
    ----------
    epoch
        The parent's.
    when_started
        Told of a lane whose own policy has just started.

    Attributes
    ----------
    lanes
        By name; those of segments that are gone included.
    pool_seq, chain
        Number in the pool and chain of the last outcome folded in.
    is_failed
        Whether it stopped at an outcome that it could not take in, by a fault of ours; until the next reload or start.
    evidence
        How much more the lanes' own policies would have earned than the parent: of all lanes together, as far as
        their own policies have come.
    """

    def __init__(
        self, *, epoch: Epoch, spec: PolicySpec, reader: Reader, when_started: Callable[[PooledLane], None]
    ) -> None:
        self.name = epoch.lane
        self.epoch = epoch
        self.spec = spec
        self.reader = reader
        self.policy = spec.build()
        self.lanes: dict[str, PooledLane] = {}
        self.evidence = Evidence()
        self.pool_seq = 0
        self.chain = b""
        self.saved_seq = 0
        self.waiting = 0
        self.is_hot = True  # parents are never unloaded: there are as many as there are different policies
        self.is_failed = False
        self._when_started = when_started

    @property
    def _moves(self) -> dict[str, int]:
        moves: dict[str, int] = self.epoch.spec.get("moves", {})
        return moves

    @property
    def seq(self) -> int:
        """The parent's place in its log, which is the pool's."""
        return self.pool_seq

    def fold(self, row: OutcomeRow) -> None:
        """Take the pool's next outcome in; one that was taken in before changes nothing.

        Raises
        ------
        Gap
            Outcomes between the last one and this are missing.
        """
        if row.pool_seq > self.pool_seq + 1:
            raise Gap(f"{self.name} is at {self.pool_seq}, and {row.pool_seq} came")
        self.take(row)

    def take(self, row: OutcomeRow) -> bool:
        """Take the next outcome that the pool's log has, and tell whether an own policy has started with it.

        Numbers may be missing where lanes dropped theirs.
        """
        if row.pool_seq <= self.pool_seq:
            return False
        lane = self.lanes.get(row.lane)
        has_started = lane is not None and self._learn(lane, row)
        self.pool_seq, self.chain = row.pool_seq, row.chain
        return has_started

    def _learn(self, lane: PooledLane, row: OutcomeRow) -> bool:
        outcome = lane.lesson(row)
        lane.take(row, outcome)
        if outcome is None:
            return False
        try:
            self.policy.learn(outcome)
        except InvalidInput as error:
            if lane.refused == 0:
                log.warning("outcome_refused", lane=lane.name, seq=row.seq, code=error.code, field=error.field)
            lane.refused += 1
        has_started = lane.start_if_due()
        if has_started:
            self._when_started(lane)
        return has_started

    def fail(self, error: Exception) -> None:
        """Stop for good, with all lanes: the parent may have half of an outcome in it."""
        if not self.is_failed:
            log.error("pool_failed", pool=self.name, pool_seq=self.pool_seq, exc_info=error)
        self.is_failed, self.is_hot = True, False
        for lane in self.lanes.values():
            lane.is_failed = True  # said of the pool already
            lane.unload()

    def snapshot(self) -> Snapshot:
        """Return the state of the parent and of all lanes, but for their own policies."""
        state = _State(
            self.policy.dumps(), self._moves, [_record(lane) for lane in self.lanes.values() if lane.n or lane.refused]
        )
        return Snapshot(
            lane=self.name,
            epoch=self.epoch.epoch,
            seq=self.pool_seq,
            chain=self.chain,
            build=self.epoch.build,
            spec_digest=spec_digest(self.spec),
            state=msgspec.msgpack.encode(state),
        )

    def restore(self, snapshot: Snapshot) -> bool:
        """Go to a snapshot's state if it is one of this spec and, unless it is a base, of this build."""
        if snapshot.spec_digest != spec_digest(self.spec):
            return False
        if snapshot.build != self.epoch.build and not snapshot.is_base:
            return False
        try:
            state = msgspec.msgpack.decode(snapshot.state, type=_State)
            self.policy.loads(state.policy)
        except (StateInvalid, msgspec.DecodeError) as error:
            log.warning("snapshot_invalid", lane=self.name, seq=snapshot.seq, detail=str(error))
            return False
        for record in state.lanes:
            if record.lane in self.lanes:
                _restore(self.lanes[record.lane], record, with_own=state.moves == self._moves)
                self.evidence.count(self.lanes[record.lane].counted, instead_of=Evidence())
        self.pool_seq, self.chain, self.saved_seq = snapshot.seq, snapshot.chain, snapshot.seq
        return True

    def unsaved(self) -> list[PooledLane]:
        """Return the lanes whose own policies were in memory and not saved when the pool's snapshot was taken."""
        return [lane for lane in self.lanes.values() if lane.is_unsaved]

    def fresh(self, when_started: Callable[[PooledLane], None]) -> "Pool":
        """Return another one of this pool as it is before any outcome."""
        pool = Pool(epoch=self.epoch, spec=self.spec, reader=self.reader, when_started=when_started)
        pool.lanes = {name: PooledLane(pool, lane.kin, lane.epoch) for name, lane in self.lanes.items()}
        return pool

    def reset(self) -> None:
        """Become as before any outcome."""
        self.policy = self.spec.build()
        self.evidence = Evidence()
        self.pool_seq, self.chain, self.saved_seq = 0, b"", 0
        for lane in self.lanes.values():
            lane.reset()


def _record(lane: PooledLane) -> _LaneRecord:
    return _LaneRecord(
        lane=lane.name,
        n=lane.n,
        seq=lane.seq,
        pool_seq=lane.last_pool_seq,
        chain=lane.chain,
        rewards=lane.rewards.dumps(),
        refused=lane.refused,
        started=lane.started,
        last_server=lane.served_by,
        counted=lane.counted.dumps(),
        needs=lane.saved_seq if lane.own is None else lane.own.seq,
        is_unsaved=lane.own is not None and lane.own.seq > lane.saved_seq,
        scores=lane.scores,
    )


def _restore(lane: PooledLane, record: _LaneRecord, *, with_own: bool) -> None:
    """Bring a lane back; without its own policy where that is of a time before lanes came or left.

    Only a base can be older than that. The own policies then start again, from the parent as the base has it.
    """
    lane.n = record.n
    lane.rewards = RunningMean.loads(record.rewards)
    lane.refused = record.refused
    if record.seq >= lane.kin.entered:  # else it has left since, and came back
        lane.seq, lane.last_pool_seq, lane.chain = record.seq, record.pool_seq, record.chain
    if not with_own:
        return
    lane.started = record.started
    lane.last_server = record.last_server
    lane.counted = Evidence.loads(record.counted)
    lane.saved_seq = record.needs
    lane.is_unsaved = record.is_unsaved
    lane.scores = dict(record.scores)
    lane.own = None
    lane.is_hot = record.started is None
