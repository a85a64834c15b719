"""Snapshots and bases, and the end of the log, in one open transaction of the embedded store."""

import contextlib
import hashlib
from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from banditd.journal.commands import (
    Answer,
    Done,
    DropLapses,
    Failed,
    GetLastBefore,
    GetOutcomes,
    GetPoolOutcomes,
    GetSnapshots,
    MoveBases,
    OutcomePage,
    SaveSnapshot,
    SnapshotPage,
    Trim,
)
from banditd.journal.database import rows
from banditd.journal.ledger import Ledger, Moment, OpenLaneState, is_parent, unknown_lane
from banditd.journal.protocol import PAGE_BYTES, PREPARED, OutcomeRow, Snapshot

__all__ = ["States"]

_US: Final = 1_000_000
_SNAPSHOTS_KEPT: Final = 2
_OUTCOMES: Final = (
    "SELECT o.lane_id, o.seq, o.pool_seq, o.slot, o.reward, o.rewarded, o.chain, o.erased, o.pool_id,"
    " d.event_id, d.body FROM outcomes o LEFT JOIN decisions d ON d.id = o.decision_id"
)
_NEXT: Final = "SELECT seq, clock_us FROM outcomes WHERE lane_id = ? AND seq >= ? ORDER BY seq LIMIT 1"
_NEXT_OF_POOL: Final = (
    "SELECT pool_seq, clock_us FROM outcomes WHERE pool_id = ? AND pool_seq >= ? ORDER BY pool_seq LIMIT 1"
)
_NEEDED: Final = (
    "SELECT 1 FROM outcomes WHERE decision_id = ? UNION ALL"
    " SELECT 1 FROM decisions d JOIN windows w ON (w.due_us, w.decision_id) = (d.due_us, d.id) WHERE d.id = ?"
)
_UP_TO_EPOCH: Final = "SELECT epoch, seq FROM snapshots WHERE lane_id = ? AND base = 0 AND epoch <= ?"
_DROP_SNAPSHOT: Final = "DELETE FROM snapshots WHERE lane_id = ? AND base = 0 AND epoch = ? AND seq = ?"
_PREPARED: Final = "SELECT 1 FROM snapshots WHERE lane_id = ? AND base = 1 AND epoch = ? AND seq = ?"
_TRIM_AT_MOST: Final = 1_000  # outcomes dropped in one transaction


class States:
    """Reads pages of the log, keeps states of lanes at places in it, and drops what lies before a base."""

    def __init__(self, connection: apsw.Connection, ledger: Ledger) -> None:
        self._db = connection
        self._ledger = ledger

    def outcomes(self, lane: OpenLaneState, command: GetOutcomes, _now: Moment) -> Answer:
        """Return a page of a lane's log."""
        sql = f"{_OUTCOMES} WHERE o.lane_id = ? AND o.seq > ? ORDER BY o.seq LIMIT ?"
        return self._page(sql, lane.id, max(command.after, lane.base_seq), command.limit)

    def pool_outcomes(self, command: GetPoolOutcomes, _now: Moment) -> Answer:
        """Return a page of a shared pool's log, over all its lanes."""
        sql = (
            f"{_OUTCOMES} CROSS JOIN lanes l ON l.id = o.lane_id"
            " WHERE o.pool_id = ? AND o.pool_seq > ? AND o.seq > l.base_seq ORDER BY o.pool_seq LIMIT ?"
        )
        return self._page(sql, self._ledger.pool_named(command.pool), command.after, command.limit)

    def _page(self, sql: str, *bindings: int | None) -> Answer:
        page: list[OutcomeRow] = []
        n_bytes = 0
        with contextlib.closing(self._db.execute(sql, bindings)) as found:
            for row in found:
                page.append(self._outcome(row))
                n_bytes += len(page[-1].body)
                if n_bytes >= PAGE_BYTES:
                    break
        return OutcomePage(page)

    def _outcome(self, row: Sequence[Any]) -> OutcomeRow:
        lane_id, seq, pool_seq, slot, reward, rewarded, chain, erased, pool_id, event_id, body = row
        return OutcomeRow(
            lane=self._ledger.lanes_by_id[lane_id].name,
            seq=seq,
            pool_seq=pool_seq,
            event_id=event_id or "",
            slot=slot,
            reward=reward,
            rewarded=bool(rewarded),
            chain=chain,
            body=body or b"",
            erased=bool(erased),
            shared=pool_id is not None,
        )

    def save(self, lane: OpenLaneState, command: SaveSnapshot, now: Moment) -> Answer:
        """Keep a snapshot, and drop all but the newest good ones of its epoch; a base is kept beside them."""
        snapshot = command.snapshot
        if snapshot.is_base:
            return self._prepare(lane, snapshot, now)
        if self._chain_at(lane, snapshot.seq) != snapshot.chain:
            return Failed("chain_mismatch", f"the log has another outcome {snapshot.seq} than the snapshot")
        good = {kept.seq for kept in self._good(lane, snapshot.epoch) if not kept.is_base} | {snapshot.seq}
        # The one just made stays even if it is older: then it is of a fold anew, since the others were of no use.
        kept = {snapshot.seq, *sorted(good)[-_SNAPSHOTS_KEPT:]}
        for epoch, seq in rows(self._db, _UP_TO_EPOCH, lane.id, snapshot.epoch):
            if epoch < snapshot.epoch or seq not in kept:
                self._db.execute(_DROP_SNAPSHOT, (lane.id, epoch, seq))
        self._insert(lane, snapshot, now)
        return Done()

    def _prepare(self, lane: OpenLaneState, base: Snapshot, now: Moment) -> Answer:
        """Keep a base that is not in force yet, instead of another such one."""
        wrong = self._wrong_base(lane, base)
        if wrong is None and base.seq > lane.base_seq:
            self._db.execute(
                "DELETE FROM snapshots WHERE lane_id = ? AND base = 1 AND seq > ?", (lane.id, lane.base_seq)
            )
            self._insert(lane, base, now)
        return wrong or Done()

    def snapshots(self, lane: OpenLaneState, command: GetSnapshots, _now: Moment) -> Answer:
        """Return the snapshots of an epoch and the lane's base, newest first, without the damaged ones."""
        return SnapshotPage(self._good(lane, command.epoch))

    def _good(self, lane: OpenLaneState, epoch: int) -> list[Snapshot]:
        found = rows(
            self._db,
            "SELECT epoch, seq, chain, build, spec_digest, state, base, checksum FROM snapshots"
            " WHERE lane_id = ?1 AND (base = 0 AND epoch = ?2 OR base = 1 AND (seq <= ?3 OR ?2 = ?4))"
            " ORDER BY seq DESC, base",
            lane.id,
            epoch,
            lane.base_seq,
            PREPARED,
        )
        states = [
            (Snapshot(lane.name, epoch, seq, chain, build, spec_digest, state, bool(base)), checksum)
            for epoch, seq, chain, build, spec_digest, state, base, checksum in found
        ]
        return [snapshot for snapshot, checksum in states if _checksum(snapshot) == checksum]

    def trim(self, lane: OpenLaneState, command: Trim, now: Moment) -> Answer:
        """Write a base and drop at most a thousand outcomes before it; what lies before it is out of sight at once."""
        wrong = self._wrong_base(lane, command.base)
        if wrong is not None:
            return wrong
        if command.base.seq > lane.base_seq:
            self._insert(lane, msgspec.structs.replace(command.base, is_base=True), now)
            self._move_base(lane, command.base, now)
        return Done(self._drop_before_base(lane))

    def move_bases(self, command: MoveBases, now: Moment) -> Answer:
        """Put prepared bases in force, or none if one does not fit; what lies before them is out of sight at once."""
        for base in command.bases:
            lane = self._ledger.lanes.get(base.lane)
            wrong = unknown_lane(base.lane) if lane is None else self._wrong_base(lane, base)
            if wrong is None and lane is not None and not rows(self._db, _PREPARED, lane.id, base.epoch, base.seq):
                wrong = Failed("base_missing", f"{base.lane} has no state that was prepared at {base.seq}")
            if wrong is not None:
                return wrong
        for base in command.bases:
            self._move_base(self._ledger.lanes[base.lane], base, now)
        return Done(len(command.bases))

    def _wrong_base(self, lane: OpenLaneState, base: Snapshot) -> Failed | None:
        if base.epoch != self._ledger.epoch_of(lane):
            return Failed("epoch_mismatch", f"the base is of epoch {base.epoch}, which is not the lane's any more")
        if base.seq > lane.base_seq and self._chain_at(lane, base.seq) != base.chain:
            return Failed("chain_mismatch", f"the log has another outcome {base.seq} than the base")
        return None

    def _move_base(self, lane: OpenLaneState, base: Snapshot, now: Moment) -> None:
        """Put a base in force that is kept already."""
        if base.seq > lane.base_seq:
            self._db.execute(
                "DELETE FROM snapshots WHERE lane_id = ? AND base = 1 AND (epoch, seq) != (?, ?)",
                (lane.id, base.epoch, base.seq),
            )
            self._ledger.write_counts(now.clock_us)
            self._ledger.move_base(lane, base.seq, base.chain)

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
        info = self._ledger.info(lane)
        sql, key = _NEXT, lane.id
        if is_parent(lane.name):
            sql, key = _NEXT_OF_POOL, lane.pool_id
        low, high = info.base_seq, info.seq
        while low < high:
            middle = (low + high + 1) // 2
            found = rows(self._db, sql, key, middle)  # the first from there on: lanes of a pool drop theirs one by one
            if found and found[0][1] < before_us:
                low = found[0][0]
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
        if seq == lane.base_seq:  # the outcome itself is gone
            found = rows(self._db, "SELECT base_chain FROM lanes WHERE id = ?", lane.id)
        elif is_parent(lane.name):
            found = rows(self._db, "SELECT chain FROM outcomes WHERE pool_id = ? AND pool_seq = ?", lane.pool_id, seq)
        else:
            found = rows(self._db, "SELECT chain FROM outcomes WHERE lane_id = ? AND seq = ?", lane.id, seq)
        return bytes(found[0][0]) if found else None


def _checksum(snapshot: Snapshot) -> bytes:
    return hashlib.blake2b(msgspec.msgpack.encode(snapshot), digest_size=16).digest()
