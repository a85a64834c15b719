"""Logs folded again from their beginnings, each policy with what it is asked on the way.

Three kinds. A lane alone is one fold of its log. Lanes that share are one fold of the parent over their pool's log,
and for each lane with a policy of its own one more over the lane's log, from the parent's state in which that started.
How much of each was played, the decisions say. So one policy, or a pool's own policies as they started, is in memory.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from banditd.decision import Decision
from banditd.evaluating.beginnings import Beginnings, FoldKey, kin_at
from banditd.evaluating.errors import LogGap
from banditd.evaluating.plan import Question
from banditd.evaluating.played import Seen, states_of
from banditd.evaluating.store import ReadStore
from banditd.evaluating.walking import Answer, StateMissing, Walk
from banditd.journal.protocol import Epoch, OutcomeRow, PoolInfo, RewardRule
from banditd.segments.families import POOL, Kin
from banditd.segments.lane import Gap, Lane, learned_from
from banditd.segments.pool import Pool
from banditd.segments.pooled import PooledLane
from banditd.segments.reading import Reader
from policies.errors import InvalidInput
from policies.protocol import FloatArray, Outcome, Policy

__all__ = ["OwnStart", "fold_alone", "fold_own", "fold_shared"]

_PAGE: Final = 256
_NO_RULE: Final = RewardRule(wait_s=0.0, default=0.0, aggregate="earliest")


@dataclass(frozen=True, slots=True)
class OwnStart:
    """A lane's own policy as it started.

    Attributes
    ----------
    after
        The lane's last outcome that is part of it.
    state
        What it had learned by then, as `Policy.dumps`; or the policy itself, which cannot be written down; or None:
        nothing.
    is_lost
        Whether its state lay before the beginning of the kept log, and was not kept.
    is_kept
        Whether its state is kept elsewhere.
    """

    lane: str
    segment: str
    after: int
    state: bytes | Policy | None
    is_lost: bool = False
    is_kept: bool = False

    def without_state(self) -> "OwnStart":
        """Return the same without its state, which is kept elsewhere."""
        return replace(self, state=None, is_kept=True)

    def with_state(self, state: bytes) -> "OwnStart":
        """Return the same with its state again."""
        return replace(self, state=state, is_kept=False)


def fold_alone(
    key: FoldKey,
    beginnings: Beginnings,
    questions: Iterator[Question],
    *,
    reader: Reader,
    when_folded: Callable[[], None],
) -> Iterator[Answer]:
    """Fold the log of a lane alone."""
    store, epoch = beginnings.store, beginnings.first_epoch(key)
    begins = store.lanes[key.log].base_seq
    spec = key.spec
    epoch = msgspec.structs.replace(epoch, fold_from=begins)
    lane = Lane(key.log.rpartition("/")[0], epoch=epoch, spec=spec, policy=spec.build(), reader=reader)
    base = beginnings.base(key)
    if base is not None and not lane.restore(base):
        raise LogGap("base_invalid", f"the state at which the kept log of {key.log} begins cannot be read")

    def play(decision: Decision, question: Question) -> Sequence[FloatArray]:
        state = states_of(decision)[question.member]
        if state.seq != lane.seq:
            raise StateMissing(f"the log of {key.log} ends at {lane.seq}")
        if state.pool_seq != lane.pool_seq:
            raise StateMissing(f"outcome {lane.seq} has the number {lane.pool_seq} in its pool, not {state.pool_seq}")
        return Seen(decision, reader, segment="").played_by(lane.policy)

    walk = Walk(store, questions, when_folded)
    rows = _lane_rows(store, key.log, after=lane.seq)
    yield from walk.along(rows, lambda row: row.seq, start=lane.seq, take=lane.fold, play=play)


def fold_shared(
    key: FoldKey,
    beginnings: Beginnings,
    questions: Iterator[Question],
    *,
    reader: Reader,
    when_folded: Callable[[], None],
    when_started: Callable[[OwnStart], None],
) -> Iterator[Answer]:
    """Fold the log of a pool into a parent; `when_started` is told of each policy of a lane's own."""
    store = beginnings.store
    info = store.pool_info(POOL)
    pool = _pool(key, beginnings, info, reader=reader, when_started=when_started)
    walk = Walk(store, questions, when_folded)

    def play(decision: Decision, question: Question) -> Sequence[FloatArray]:
        state = states_of(decision)[question.member]
        lane = pool.lanes.get(state.lane)
        if lane is None:
            raise StateMissing(f"{state.lane} does not belong to {key.log} by then")
        if state.pool_seq > info.seq:
            raise StateMissing(f"the pool's log ends at {info.seq}, and not at {state.pool_seq}")
        if (state.seq, state.own_from) != (lane.seq, lane.own_from):
            found = f"{lane.seq}, with a policy of its own from {lane.own_from}"
            raise StateMissing(f"at {state.pool_seq} of the pool {lane.name} was at {found}")
        return Seen(decision, reader, segment=lane.segment).played_by(pool.policy)

    rows = _pool_rows(store, after=pool.pool_seq)
    yield from walk.along(rows, lambda row: row.pool_seq, start=pool.pool_seq, take=pool.take, play=play)


def fold_own(
    start: OwnStart,
    key: FoldKey,
    store: ReadStore,
    questions: Iterator[Question],
    *,
    reader: Reader,
    when_folded: Callable[[], None],
) -> Iterator[Answer]:
    """Fold the log of a lane into the policy of its own."""
    if start.is_lost:
        for question in questions:
            yield Answer(question, None, reason="before_base")
        return
    policy = _policy_of(start, key)
    place = start.after
    begins = store.lanes[start.lane].base_seq

    def take(row: OutcomeRow) -> None:
        nonlocal place
        if row.seq != place + 1 and place not in (0, begins):
            raise Gap(f"{start.lane} is at {place}, and {row.seq} came")
        if not row.erased:
            outcome = learned_from(row, reader)
            with contextlib.suppress(InvalidInput):  # what a policy refuses changes nothing, as when it was live
                policy.learn(replace(outcome, context=outcome.context.within(start.segment)))
        place = row.seq

    def play(decision: Decision, question: Question) -> Sequence[FloatArray]:
        if place != question.place:
            raise StateMissing(f"the log of {start.lane} ends at {place}")
        return Seen(decision, reader, segment=start.segment).played_by(policy)

    walk = Walk(store, questions, when_folded)
    rows = _lane_rows(store, start.lane, after=start.after)
    yield from walk.along(rows, lambda row: row.seq, start=start.after, take=take, play=play)


class _Followed(PooledLane):
    """A lane whose own policy is folded later: here it is only known when that started."""

    def take(self, row: OutcomeRow, outcome: Outcome | None) -> None:
        """Count an outcome."""
        if outcome is not None:
            self.n += 1
        if row.seq > self.seq:
            self.seq, self.last_pool_seq, self.chain = row.seq, row.pool_seq, row.chain


def _pool(
    key: FoldKey,
    beginnings: Beginnings,
    info: PoolInfo,
    *,
    reader: Reader,
    when_started: Callable[[OwnStart], None],
) -> Pool:
    """Return the pool at the beginning of its kept log."""
    spec = key.spec

    def started(lane: PooledLane) -> None:
        if lane.own is None:
            raise AssertionError(f"{lane.name} has no policy of its own")
        policy = lane.own.policy
        state = policy.dumps() if policy.resumable else policy
        when_started(OwnStart(lane.name, lane.segment, lane.seq, state))
        lane.own = None

    pool = Pool(epoch=beginnings.first_epoch(key), spec=spec, reader=reader, when_started=started)
    for kin in kin_at(info, spec, key.moves):
        pool.lanes[kin.lane] = _Followed(pool, kin, _epoch(kin, pool.epoch))
    base = beginnings.base(key)
    if base is not None and not pool.restore(base):
        raise LogGap("base_invalid", f"the state at which the kept log of {key.log} begins cannot be read")
    for lane in pool.lanes.values():
        if lane.started is not None:
            when_started(_kept_own(lane, beginnings))
    return pool


def _kept_own(lane: PooledLane, beginnings: Beginnings) -> OwnStart:
    """Return the own policy of a lane that had one before its kept log begins, or before it came to the pool."""
    base = beginnings.base_of_own(lane.name, lane.spec)
    own = None if base is None else lane.own_of(base)
    if own is None:
        return OwnStart(lane.name, lane.segment, 0, None, is_lost=not lane.brings_own)
    return OwnStart(lane.name, lane.segment, own.seq, own.policy.dumps())


def _policy_of(start: OwnStart, key: FoldKey) -> Policy:
    if start.state is not None and not isinstance(start.state, bytes):
        return start.state
    policy = key.spec.build()
    if start.state is not None:
        policy.loads(start.state)
    return policy


def _epoch(kin: Kin, parent: Epoch) -> Epoch:
    """Return as much of a lane's epoch as its pool needs."""
    return Epoch(kin.lane, kin.current, kin.entered, 0, {}, _NO_RULE, parent.build, "", 0.0)


def _lane_rows(store: ReadStore, lane: str, *, after: int) -> Iterator[OutcomeRow]:
    begins = store.lanes[lane].base_seq
    while page := store.outcomes(lane, after=after, limit=_PAGE):
        for row in page:
            if row.seq != after + 1 and store.begins(lane) != begins:
                raise LogGap("log_dropped", f"the server dropped the beginning of the log of {lane}: run it again")
            yield row  # where one is missing, whoever takes it notices
            after = row.seq


def _pool_rows(store: ReadStore, *, after: int) -> Iterator[OutcomeRow]:
    while page := store.pool_outcomes(POOL, after=after, limit=_PAGE):
        yield from page
        after = page[-1].pool_seq
