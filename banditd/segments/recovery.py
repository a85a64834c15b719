"""Bring a lane to the head of its log: newest good snapshot, then a fold of the rest."""

import asyncio
from typing import Final

from banditd.errors import JournalCorrupt
from banditd.journal.protocol import Journal, LaneInfo, Snapshot
from banditd.segments.lane import Lane

__all__ = ["agrees", "catch_up", "recover"]

_PAGE: Final = 256


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


async def catch_up(lane: Lane, journal: Journal, *, until: int | None = None) -> None:
    """Fold what the log holds beyond the lane's last outcome, up to `until` or to its head."""
    while True:
        limit = _PAGE if until is None else min(_PAGE, until - lane.seq)
        if limit <= 0:
            return
        rows = await journal.outcomes(lane.name, after=lane.seq, limit=limit)
        if rows and rows[0].seq != lane.seq + 1 and lane.chain == b"":
            lane.seq = rows[0].seq - 1  # the kept log begins later, and no base fits this spec
        for row in rows:
            lane.fold(row)
        if len(rows) < limit:
            return
        await asyncio.sleep(0)


async def agrees(lane: Lane, journal: Journal) -> bool:
    """Tell whether the log still holds the outcome that the lane learned from last."""
    seq, chain = lane.seq, lane.chain  # as of now: outcomes that are pushed meanwhile move the lane on
    if seq <= (await journal.lane_info(lane.name)).base_seq:
        return True
    rows = await journal.outcomes(lane.name, after=seq - 1, limit=1)
    return bool(rows) and rows[0].chain == chain


async def _agrees(snapshot: Snapshot, info: LaneInfo, journal: Journal) -> bool:
    if snapshot.is_base and snapshot.seq == info.base_seq:
        return True
    if not info.base_seq < snapshot.seq <= info.seq:
        return False
    rows = await journal.outcomes(snapshot.lane, after=snapshot.seq - 1, limit=1)
    if not rows:
        raise JournalCorrupt("outcome_missing", f"{snapshot.lane} has no outcome {snapshot.seq}")
    return rows[0].chain == snapshot.chain
