"""The end of the log: bases where it is to begin, and what lies before them dropped."""

import asyncio

import msgspec

from banditd.journal.protocol import PREPARED, Journal, Snapshot
from banditd.logs import get_logger
from banditd.segments.lane import Lane
from banditd.segments.pool import Pool
from banditd.segments.pooled import PooledLane
from banditd.segments.recovery import load_own, recover, recover_pool

__all__ = ["drop_old_lapses", "trim_lane", "trim_pool"]

log = get_logger()


async def drop_old_lapses(lane: str, journal: Journal, *, age_s: float) -> None:
    """Drop a lane's lapsed decisions whose window closed longer ago than an age."""
    while await journal.drop_lapses(lane, age_s=age_s):
        pass


async def trim_lane(lane: Lane, journal: Journal, *, age_s: float) -> None:
    """Drop what is older than an age from the log of a lane alone, behind a base; the lane itself is not touched."""
    last = await journal.last_before(lane.name, age_s=age_s)
    if last <= (await journal.lane_info(lane.name)).base_seq:
        return
    past = Lane(lane.segment, epoch=lane.epoch, spec=lane.spec, policy=lane.spec.build(), reader=lane.reader)
    if past.policy.resumable:
        await recover(past, journal, until=last)
        await _drop(past.snapshot(), journal)


async def trim_pool(pool: Pool, journal: Journal, *, age_s: float) -> None:
    """Drop what is older than an age from the log of a pool, behind bases of its parent and of its lanes.

    The bases are put in force in one commit, since none of them is of use without the parent's. They are saved one
    by one before, so that one own policy is in memory at a time, and what they learned since is read from the log
    at the end. A lane that has had no outcome in the pool by then keeps all of its log.
    """
    last = await journal.last_before(pool.name, age_s=age_s)
    if not pool.policy.resumable or last <= (await journal.lane_info(pool.name)).base_seq:
        return
    started: list[PooledLane] = []
    past = pool.fresh(started.append)

    async def save_started() -> None:
        while started:
            await _prepare(started.pop(), journal)

    await recover_pool(past, journal, until=last, make_room=save_started)
    await save_started()
    bases = await _bases(past, journal)
    parent = msgspec.structs.replace(past.snapshot(), is_base=True)  # last: by now no own policy is needed beside it
    await journal.save_snapshot(parent)
    await journal.move_bases([_stateless(parent), *bases])
    for base in bases:
        await _drop(base, journal)


async def _bases(past: Pool, journal: Journal) -> list[Snapshot]:
    """Prepare the bases of all lanes that have outcomes beyond theirs; return them without their states."""
    bases: list[Snapshot] = []
    touched = [lane for lane in past.lanes.values() if lane.last_pool_seq]
    infos = await journal.lane_infos([lane.name for lane in touched])
    for lane, info in zip(touched, infos, strict=True):
        if lane.seq > info.base_seq:
            if not lane.is_hot:
                await load_own(lane, journal, epoch=PREPARED)
            bases.append(await _prepare(lane, journal))
    return bases


async def _prepare(lane: PooledLane, journal: Journal) -> Snapshot:
    """Save a lane's state as a base that is not in force yet, and let go of its own policy."""
    base = msgspec.structs.replace(lane.snapshot(), epoch=lane.kin.current, is_base=True)
    await journal.save_snapshot(base)
    lane.saved_seq = lane.seq
    lane.unload()
    return _stateless(base)


def _stateless(base: Snapshot) -> Snapshot:
    return msgspec.structs.replace(base, state=b"")


async def _drop(base: Snapshot, journal: Journal) -> None:
    dropped = 0
    while count := await journal.trim(base.lane, base):
        dropped += count
        await asyncio.sleep(0)
    log.info("log_trimmed", lane=base.lane, base_seq=base.seq, outcomes=dropped)
