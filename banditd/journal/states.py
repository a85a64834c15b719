"""Snapshots and bases, and the end of the log, in one open transaction of the embedded store."""

import hashlib
from typing import Final

import apsw
import msgspec

from banditd.journal.commands import (
    Answer,
    Done,
    DropLapses,
    Failed,
    GetLastBefore,
    GetOutcomes,
    GetSnapshots,
    OutcomePage,
    SaveSnapshot,
    SnapshotPage,
    Trim,
)
from banditd.journal.database import rows
from banditd.journal.ledger import Ledger, Moment, OpenLaneState
from banditd.journal.protocol import OutcomeRow, Snapshot

__all__ = ["States"]

_US: Final = 1_000_000
_SNAPSHOTS_KEPT: Final = 2
_NEEDED: Final = (
    "SELECT 1 FROM outcomes WHERE decision_id = ? UNION ALL"
    " SELECT 1 FROM decisions d JOIN windows w ON (w.due_us, w.decision_id) = (d.due_us, d.id) WHERE d.id = ?"
)
_TRIM_AT_MOST: Final = 1_000  # outcomes dropped in one transaction


class States:
    """Reads pages of the log, keeps states of lanes at places in it, and drops what lies before a base."""

    def __init__(self, connection: apsw.Connection, ledger: Ledger) -> None:
        self._db = connection
        self._ledger = ledger

    def outcomes(self, lane: OpenLaneState, command: GetOutcomes, _now: Moment) -> Answer:
        """Return a page of a lane's log."""
        found = rows(
            self._db,
            "SELECT o.seq, o.pool_seq, o.slot, o.reward, o.rewarded, o.chain, o.erased, d.event_id, d.body"
            " FROM outcomes o LEFT JOIN decisions d ON d.id = o.decision_id"
            " WHERE o.lane_id = ? AND o.seq > ? ORDER BY o.seq LIMIT ?",
            lane.id,
            max(command.after, lane.base_seq),
            command.limit,
        )
        return OutcomePage(
            [
                OutcomeRow(
                    lane=lane.name,
                    seq=seq,
                    pool_seq=pool_seq,
                    event_id=event_id or "",
                    slot=slot,
                    reward=reward,
                    rewarded=bool(rewarded),
                    chain=chain,
                    body=body or b"",
                    erased=bool(erased),
                )
                for seq, pool_seq, slot, reward, rewarded, chain, erased, event_id, body in found
            ]
        )

    def save(self, lane: OpenLaneState, command: SaveSnapshot, now: Moment) -> Answer:
        """Keep a snapshot and drop all but the newest of its lane."""
        snapshot = command.snapshot
        if self._chain_at(lane, snapshot.seq) != snapshot.chain:
            return Failed("chain_mismatch", f"the log has another outcome {snapshot.seq} than the snapshot")
        self._insert(lane, snapshot, now)
        self._db.execute(
            "DELETE FROM snapshots WHERE lane_id = ? AND base = 0 AND (epoch, seq) NOT IN"
            " (SELECT epoch, seq FROM snapshots WHERE lane_id = ? AND base = 0 ORDER BY epoch DESC, seq DESC LIMIT ?)",
            (lane.id, lane.id, _SNAPSHOTS_KEPT),
        )
        return Done()

    def snapshots(self, lane: OpenLaneState, command: GetSnapshots, _now: Moment) -> Answer:
        """Return the snapshots of an epoch and the lane's base, newest first, without the damaged ones."""
        found = rows(
            self._db,
            "SELECT epoch, seq, chain, build, spec_digest, state, base, checksum FROM snapshots"
            " WHERE lane_id = ? AND (base = 1 OR epoch = ?) ORDER BY seq DESC, base",
            lane.id,
            command.epoch,
        )
        states = [
            (Snapshot(lane.name, epoch, seq, chain, build, spec_digest, state, bool(base)), checksum)
            for epoch, seq, chain, build, spec_digest, state, base, checksum in found
        ]
        return SnapshotPage([snapshot for snapshot, checksum in states if _checksum(snapshot) == checksum])

    def trim(self, lane: OpenLaneState, command: Trim, now: Moment) -> Answer:
        """Write a base and drop at most a thousand outcomes before it; what lies before it is out of sight at once."""
        base = command.base
        if base.epoch != self._ledger.epoch_of(lane):
            return Failed("epoch_mismatch", f"the base is of epoch {base.epoch}, which is not the lane's any more")
        if base.seq > lane.base_seq:
            if self._chain_at(lane, base.seq) != base.chain:
                return Failed("chain_mismatch", f"the log has another outcome {base.seq} than the base")
            self._db.execute("DELETE FROM snapshots WHERE lane_id = ? AND base = 1", (lane.id,))
            self._insert(lane, msgspec.structs.replace(base, is_base=True), now)
            self._ledger.write_counts(now.clock_us)
            self._ledger.move_base(lane, base.seq)
        return Done(self._drop_before_base(lane))

    def drop_lapses(self, lane: OpenLaneState, command: DropLapses, now: Moment) -> Answer:
        """Drop at most a thousand lapsed decisions whose window closed longer ago than an age."""
        self._ledger.write_counts(now.clock_us)
        old = rows(
            self._db,
            "SELECT l.decision_id FROM lapses l JOIN decisions d ON d.id = l.decision_id"
            " WHERE l.lane_id = ? AND d.due_us < ? ORDER BY l.decision_id LIMIT ?",
            lane.id,
            now.clock_us - round(command.age_s * _US),
            _TRIM_AT_MOST,
        )
        for (decision_id,) in old:
            self._db.execute("DELETE FROM lapses WHERE lane_id = ? AND decision_id = ?", (lane.id, decision_id))
            self._drop_decision(decision_id)
        return Done(len(old))

    def last_before(self, lane: OpenLaneState, command: GetLastBefore, now: Moment) -> Answer:
        """Bisect the log, whose clock values never fall, for the last outcome older than an age."""
        before_us = now.clock_us - round(command.age_s * _US)
        low, high = lane.base_seq, lane.seq
        while low < high:
            middle = (low + high + 1) // 2
            sql = "SELECT clock_us FROM outcomes WHERE lane_id = ? AND seq = ?"
            if rows(self._db, sql, lane.id, middle)[0][0] < before_us:
                low = middle
            else:
                high = middle - 1
        return Done(low)

    def _insert(self, lane: OpenLaneState, snapshot: Snapshot, now: Moment) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                lane.id,
                snapshot.epoch,
                snapshot.seq,
                snapshot.is_base,
                snapshot.chain,
                snapshot.build,
                snapshot.spec_digest,
                snapshot.state,
                _checksum(snapshot),
                now.wall_at,
            ),
        )

    def _drop_before_base(self, lane: OpenLaneState) -> int:
        gone = rows(
            self._db,
            "SELECT seq, decision_id FROM outcomes WHERE lane_id = ? AND seq <= ? ORDER BY seq LIMIT ?",
            lane.id,
            lane.base_seq,
            _TRIM_AT_MOST,
        )
        if not gone:
            return 0
        last_seq, last_decision = gone[-1]
        self._db.execute("DELETE FROM outcomes WHERE lane_id = ? AND seq <= ?", (lane.id, last_seq))
        lapsed = rows(
            self._db,
            "DELETE FROM lapses WHERE lane_id = ? AND decision_id <= ? RETURNING decision_id",
            lane.id,
            last_decision,
        )
        for decision_id in {row[1] for row in gone} | {row[0] for row in lapsed}:
            self._drop_decision(decision_id)
        return len(gone)

    def _drop_decision(self, decision_id: int) -> None:
        if rows(self._db, _NEEDED, decision_id, decision_id):
            return  # another slot of it is in the kept log, or will be
        for row in rows(self._db, "DELETE FROM decisions WHERE id = ? RETURNING event_id", decision_id):
            self._db.execute("DELETE FROM claims WHERE event_id = ?", row)
        self._db.execute("DELETE FROM rewards WHERE decision_id = ?", (decision_id,))
        self._db.execute("DELETE FROM activations WHERE decision_id = ?", (decision_id,))

    def _chain_at(self, lane: OpenLaneState, seq: int) -> bytes | None:
        found = rows(self._db, "SELECT chain FROM outcomes WHERE lane_id = ? AND seq = ?", lane.id, seq)
        return bytes(found[0][0]) if found else None


def _checksum(snapshot: Snapshot) -> bytes:
    return hashlib.blake2b(msgspec.msgpack.encode(snapshot), digest_size=16).digest()
