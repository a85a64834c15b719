"""Bring a lane or a pool to the head of its log: newest good snapshot, then a fold of the rest."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from banditd.errors import JournalCorrupt
from banditd.journal.protocol import PAGE_BYTES, Journal, LaneInfo, OutcomeRow, Snapshot
from banditd.segments.families import POOL
from banditd.segments.lane import Lane
from banditd.segments.pool import Pool
from banditd.segments.pooled import Own, PooledLane

__all__ = ["Lost", "agrees", "catch_up", "load_own", "recover", "recover_pool"]

_PAGE: Final = 256
_SLICE_S: Final = 0.001  # folding for longer than this at a time would be seen in the latency of ranks


class _Turns:
    """Lets requests have their turn whenever a fold has gone on for a slice."""

    def __init__(self) -> None:
        self._stop_at = time.monotonic() + _SLICE_S

    async def next(self) -> None:
        """Go on, or wait for the others first."""
        if time.monotonic() > self._stop_at:
            await asyncio.sleep(0)
            self._stop_at = time.monotonic() + _SLICE_S


class Lost(Exception):
    """A lane's own policy cannot be had without a fold of its whole pool."""


async def recover(lane: Lane, journal: Journal, *, until: int | None = None) -> None:
    """Fold the lane's log, up to `until` or to its head, from the newest snapshot that agrees with it.

    A policy that is not resumable, and a lane without a good snapshot, fold the whole kept log.
    """
    info = await journal.lane_info(lane.name)
    for snapshot in await journal.snapshots(lane.name, epoch=lane.epoch.epoch):
        if until is not None and snapshot.seq > until:
            continue
        usable = lane.policy.resumable and await _agrees(snapshot, info, journal)
        if usable and lane.restore(snapshot):
            break
    await catch_up(lane, journal, until=until)


async def catch_up(
    lane: Lane | Pool,
    journal: Journal,
    *,
    until: int | None = None,
    make_room: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Fold what the log holds beyond the last outcome of the lane or pool, up to `until` or to its head."""
    if isinstance(lane, Pool):
        await _catch_up_pool(lane, journal, until=until, make_room=make_room)
        return
    turns = _Turns()
    while True:
        limit = _PAGE if until is None else min(_PAGE, until - lane.seq)
        if limit <= 0:
            return
        rows = await journal.outcomes(lane.name, after=lane.seq, limit=limit)
        if rows and rows[0].seq != lane.seq + 1 and lane.chain == b"":
            lane.seq = lane.saved_seq = rows[0].seq - 1  # the kept log begins later, and no base fits this spec
        for row in rows:
            lane.fold(row)
            await turns.next()
        if _is_last(rows, limit):
            return


async def _catch_up_pool(
    pool: Pool, journal: Journal, *, until: int | None, make_room: Callable[[], Awaitable[None]] | None
) -> None:
    turns = _Turns()
    while True:
        rows = await journal.pool_outcomes(POOL, after=pool.pool_seq, limit=_PAGE)
        for row in rows:
            if until is not None and row.pool_seq > until:
                return
            if pool.take(row) and make_room is not None:
                await make_room()
            await turns.next()
        if _is_last(rows, _PAGE):
            return


async def recover_pool(
    pool: Pool,
    journal: Journal,
    *,
    until: int | None = None,
    anew: bool = False,
    make_room: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Fold the pool's log, up to `until` or to its head, from the newest snapshot that can be gone on from.

    Parameters
    ----------
    anew
        From the base alone: something that a snapshot needs is gone.
    make_room
        Awaited when an own policy has started: those that start in a long fold may be too many for the memory.
    """
    info = await journal.lane_info(pool.name)
    for snapshot in await journal.snapshots(pool.name, epoch=pool.epoch.epoch):
        if until is not None and snapshot.seq > until:
            continue
        if (until is not None or anew) and not snapshot.is_base:  # own policies keep only their newest snapshots
            continue
        usable = pool.policy.resumable and await _pool_agrees(snapshot, info, journal)
        if usable and pool.restore(snapshot) and await _needs_are_kept(pool, journal):
            break
        pool.reset()
    await catch_up(pool, journal, until=until, make_room=make_room)


async def load_own(lane: PooledLane, journal: Journal, *, epoch: int | None = None) -> None:
    """Bring the lane's own policy back: its newest good snapshot, then what came since, as the parent scored it.

    Parameters
    ----------
    epoch
        Of the snapshots; by default that under which the lane saves them.

    Raises
    ------
    Lost
        There is no snapshot to go on from, and the parent's state at which it started is gone.
    """
    own = await _newest_own(lane, journal, epoch=lane.snapshot_epoch if epoch is None else epoch)
    if own is None and not lane.brings_own:
        raise Lost(lane.name)
    own = own or lane.begin()
    turns = _Turns()
    while own.seq < lane.seq:
        rows = await journal.outcomes(lane.name, after=own.seq, limit=_PAGE)
        if not rows:
            raise JournalCorrupt("outcome_missing", f"{lane.name} has no outcome {own.seq + 1}")
        for row in rows:
            if row.seq > lane.seq:
                break  # it is pushed in a moment, and the parent has to score it first
            shared = lane.scores.get(row.seq)
            if shared is None and row.seq > lane.kin.entered and not row.erased:
                raise Lost(lane.name)
            own.take(row, lane.lesson(row), shared=shared)
            await turns.next()
    lane.attach(own)


async def _newest_own(lane: PooledLane, journal: Journal, *, epoch: int) -> Own | None:
    info = await journal.lane_info(lane.name)
    for snapshot in await journal.snapshots(lane.name, epoch=epoch):
        if lane.saved_seq <= snapshot.seq <= lane.seq and await _agrees(snapshot, info, journal):
            is_data = snapshot.is_base and snapshot.seq == info.base_seq  # one that is prepared may be of another build
            own = lane.own_of(msgspec.structs.replace(snapshot, is_base=is_data))
            if own is not None:
                lane.saved_seq = snapshot.seq
                return own
    return None


def _is_last(page: Sequence[OutcomeRow], limit: int) -> bool:
    """Tell whether the log ended with a page; else that was as long, or as large, as one can be."""
    return len(page) < limit and sum(len(row.body) for row in page) < PAGE_BYTES


async def _needs_are_kept(pool: Pool, journal: Journal) -> bool:
    """Tell whether the own policies that were in memory when the pool's snapshot was taken were saved after it."""
    for lane in pool.unsaved():
        info = await journal.lane_info(lane.name)
        for snapshot in await journal.snapshots(lane.name, epoch=lane.snapshot_epoch):
            good = snapshot.seq >= lane.saved_seq and await _agrees(snapshot, info, journal)
            if good and lane.own_of(snapshot) is not None:
                break
        else:
            return False
    return True


async def agrees(lane: Lane | Pool, journal: Journal) -> bool:
    """Tell whether the log still holds the outcome that the lane or the pool learned from last."""
    seq, chain = lane.seq, lane.chain  # as of now: outcomes that are pushed meanwhile move the lane on
    if seq <= (await journal.lane_info(lane.name)).base_seq:
        return True
    rows = await _rows(lane, journal, after=seq - 1, limit=1)
    return bool(rows) and rows[0].chain == chain


async def _pool_agrees(snapshot: Snapshot, info: LaneInfo, journal: Journal) -> bool:
    if snapshot.is_base:
        return snapshot.seq == info.base_seq
    if not info.base_seq < snapshot.seq <= info.pool_seq:
        return False
    rows = await journal.pool_outcomes(POOL, after=snapshot.seq - 1, limit=1)
    # Another lane may have dropped that outcome since, and then nothing tells; the base is the one to go on from.
    return bool(rows) and (rows[0].pool_seq, rows[0].chain) == (snapshot.seq, snapshot.chain)


async def _rows(lane: Lane | Pool, journal: Journal, *, after: int, limit: int) -> Sequence[OutcomeRow]:
    if isinstance(lane, Pool):
        return await journal.pool_outcomes(POOL, after=after, limit=limit)
    return await journal.outcomes(lane.name, after=after, limit=limit)


async def _agrees(snapshot: Snapshot, info: LaneInfo, journal: Journal) -> bool:
    if snapshot.is_base and snapshot.seq == info.base_seq:
        return True
    if not info.base_seq < snapshot.seq <= info.seq:
        return False
    rows = await journal.outcomes(snapshot.lane, after=snapshot.seq - 1, limit=1)
    if not rows:
        raise JournalCorrupt("outcome_missing", f"{snapshot.lane} has no outcome {snapshot.seq}")
    return rows[0].chain == snapshot.chain
