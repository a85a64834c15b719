"""The embedded store: batches of commands in, answers and new outcomes out, one commit a batch.

Synchronous and owned by one thread; `LocalJournal` calls it directly, the journal process puts a
socket in front of it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw
import msgspec

from banditd.clock import Clock, SystemClock
from banditd.journal.commands import (
    Activate,
    Answer,
    Command,
    Done,
    Failed,
    GetLane,
    GetLastBefore,
    GetOutcomes,
    GetSnapshots,
    OpenLane,
    OutcomePage,
    SaveSnapshot,
    SnapshotPage,
    Trim,
)
from banditd.journal.database import Checkpointer, Database, Durability
from banditd.journal.join import Joiner
from banditd.journal.ledger import Ledger, OpenLaneState
from banditd.journal.protocol import NewDecision, NewReward, OutcomeRow, Snapshot

__all__ = ["Applied", "Store"]

_US: Final = 1_000_000
_HEARTBEAT_US: Final = 1_000_000  # at most so much of the journal's clock is lost in a crash
_SNAPSHOTS_KEPT: Final = 2
_TRIM_AT_MOST: Final = 1_000  # outcomes dropped in one transaction


@dataclass(frozen=True, slots=True)
class Applied:
    """What one committed batch did: an answer a command, and the outcomes it made, in commit order."""

    answers: list[Answer]
    outcomes: list[OutcomeRow]


class Store:
    """One SQLite file and the journal's clock.

    Parameters
    ----------
    path
        The file; made with its directory if it is not there.
    clock
        Its monotonic side drives the journal's clock; its wall side only stamps rows.
    durability
        ``"sync"``: a commit survives a power cut. ``"process"``: only the end of the process.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None, durability: Durability = "sync") -> None:
        self._clock = clock or SystemClock()
        self._database = Database(path, durability=durability)
        self._db = self._database.connection
        self._checkpointer = Checkpointer(self._database, durability=durability)
        self._ledger = Ledger(self._db)
        self._joiner = Joiner(self._db, self._ledger)
        self._clock_base_us = int(self._db.execute("SELECT value FROM meta WHERE key = 'clock_us'").fetchall()[0][0])
        self._clock_written_us = self._clock_base_us
        self._opened_at = self._clock.monotonic()

    @property
    def next_due_us(self) -> int | None:
        """When the next window closes, on the journal's clock; None if none is open."""
        return self._joiner.next_due_us

    def now_us(self) -> int:
        """Return the journal's clock."""
        return self._clock_base_us + int((self._clock.monotonic() - self._opened_at) * _US)

    def is_due(self) -> bool:
        """Return whether a call of `apply` without commands would have work to do."""
        now_us = self.now_us()
        due = self.next_due_us
        return due is not None and (now_us >= due or now_us - self._clock_written_us >= _HEARTBEAT_US)

    def apply(self, commands: Sequence[Command]) -> Applied:
        """Close what is due, carry the commands out in order, and commit all of it once.

        Raises
        ------
        apsw.IOError
            A write or a sync failed. What is on the disk is unknown: the caller must end the process.
        """
        now_us, at = self.now_us(), self._clock.wall()
        self._ledger.made = []
        try:
            self._db.execute("BEGIN")
            self._joiner.close_windows(now_us=now_us)
            answers = [self._carry_out(command, now_us=now_us, at=at) for command in commands]
            if self._ledger.write_counters() or now_us - self._clock_written_us >= _HEARTBEAT_US:
                self._db.execute("UPDATE meta SET value = ? WHERE key = 'clock_us'", (now_us,))
                self._clock_written_us = now_us
            self._db.execute("COMMIT")
        except apsw.FullError:
            self._roll_back()
            return Applied([Failed("store_full", "the disk is full; nothing was written") for _ in commands], [])
        except apsw.IOError:
            raise
        except BaseException:
            self._roll_back()
            raise
        self._checkpointer.after_commit()
        return Applied(answers, self._ledger.made)

    def close(self) -> None:
        """Write the clock, and let go of the file."""
        self._db.execute("UPDATE meta SET value = ? WHERE key = 'clock_us'", (self.now_us(),))
        self._checkpointer.close()
        self._database.close()

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._ledger.reload()
        self._joiner.reload()
        self._clock_written_us = int(self._db.execute("SELECT value FROM meta WHERE key = 'clock_us'").fetchall()[0][0])

    def _carry_out(self, command: Command, *, now_us: int, at: float) -> Answer:
        match command:
            case NewDecision():
                return self._joiner.record(command, now_us=now_us)
            case NewReward():
                return self._joiner.reward(command, now_us=now_us, at=at)
            case Activate():
                return self._joiner.activate(command, now_us=now_us)
            case OpenLane(lane, pool, spec, rule, build):
                return self._ledger.open_lane(lane, pool=pool, spec=spec, rule=rule, build=build, at=at)
            case GetLane(lane):
                return self._with_lane(lane, self._ledger.info)
            case GetOutcomes(lane, after, limit):
                return self._with_lane(lane, lambda found: self._outcomes(found, after=after, limit=limit))
            case SaveSnapshot(snapshot):
                return self._with_lane(snapshot.lane, lambda found: self._save_snapshot(found, snapshot, at=at))
            case GetSnapshots(lane, epoch):
                return self._with_lane(lane, lambda found: self._snapshots(found, epoch=epoch))
            case Trim(lane, base):
                return self._with_lane(lane, lambda found: self._trim(found, base, at=at))
            case GetLastBefore(lane, age_s):
                before_us = now_us - round(age_s * _US)
                return self._with_lane(lane, lambda found: Done(self._last_before(found, before_us)))

    def _with_lane(self, name: str, work: Callable[[OpenLaneState], Answer]) -> Answer:
        lane = self._ledger.lanes.get(name)
        return Failed("unknown_lane", f"lane {name!r} was never opened") if lane is None else work(lane)

    def _outcomes(self, lane: OpenLaneState, *, after: int, limit: int) -> OutcomePage:
        rows = self._db.execute(
            "SELECT o.seq, o.pool_seq, o.slot, o.reward, o.rewarded, o.chain, o.erased, d.event_id, d.body FROM outcomes o"
            " LEFT JOIN decisions d ON d.id = o.decision_id WHERE o.lane_id = ? AND o.seq > ? ORDER BY o.seq LIMIT ?",
            (lane.id, max(after, lane.base_seq), limit),
        )
        return OutcomePage(
            [
                OutcomeRow(
                    lane=lane.name,
                    seq=seq,
                    pool_seq=pool_seq,
                    event_id="" if erased else event_id,
                    slot=slot,
                    reward=reward,
                    rewarded=bool(rewarded),
                    chain=chain,
                    body=b"" if erased else body,
                    erased=bool(erased),
                )
                for seq, pool_seq, slot, reward, rewarded, chain, erased, event_id, body in rows
            ]
        )

    def _save_snapshot(self, lane: OpenLaneState, snapshot: Snapshot, *, at: float) -> Answer:
        if self._chain_at(lane, snapshot.seq) != snapshot.chain:
            return Failed("chain_mismatch", f"the log has another outcome {snapshot.seq} than the snapshot")
        self._insert_snapshot(lane, snapshot, at=at)
        self._db.execute(
            "DELETE FROM snapshots WHERE lane_id = ? AND base = 0 AND (epoch, seq) NOT IN"
            " (SELECT epoch, seq FROM snapshots WHERE lane_id = ? AND base = 0 ORDER BY epoch DESC, seq DESC LIMIT ?)",
            (lane.id, lane.id, _SNAPSHOTS_KEPT),
        )
        return Done()

    def _insert_snapshot(self, lane: OpenLaneState, snapshot: Snapshot, *, at: float) -> None:
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
                at,
            ),
        )
        lane.dirty = True

    def _snapshots(self, lane: OpenLaneState, *, epoch: int) -> SnapshotPage:
        rows = self._db.execute(
            "SELECT epoch, seq, chain, build, spec_digest, state, base, checksum FROM snapshots"
            " WHERE lane_id = ? AND (base = 1 OR epoch = ?) ORDER BY seq DESC, base",
            (lane.id, epoch),
        )
        found = [(Snapshot(lane.name, *row[:6], is_base=bool(row[6])), row[7]) for row in rows]
        return SnapshotPage([snapshot for snapshot, checksum in found if _checksum(snapshot) == checksum])

    def _trim(self, lane: OpenLaneState, base: Snapshot, *, at: float) -> Answer:
        if base.seq > lane.base_seq:
            if self._chain_at(lane, base.seq) != base.chain:
                return Failed("chain_mismatch", f"the log has another outcome {base.seq} than the base")
            self._db.execute("DELETE FROM snapshots WHERE lane_id = ? AND base = 1", (lane.id,))
            self._insert_snapshot(lane, msgspec.structs.replace(base, is_base=True), at=at)
            lane.base_seq = base.seq
        return Done(self._drop_before_base(lane))

    def _drop_before_base(self, lane: OpenLaneState) -> int:
        gone = self._db.execute(
            "SELECT seq, decision_id, clock_us FROM outcomes WHERE lane_id = ? AND seq <= ? ORDER BY seq LIMIT ?",
            (lane.id, lane.base_seq, _TRIM_AT_MOST),
        ).fetchall()
        if not gone:
            return 0
        lane.dirty = True
        last_seq, last_decision, _ = gone[-1]
        self._db.execute("DELETE FROM outcomes WHERE lane_id = ? AND seq <= ?", (lane.id, last_seq))
        lapsed = self._db.execute(
            "DELETE FROM lapses WHERE lane_id = ? AND decision_id <= ? RETURNING decision_id", (lane.id, last_decision)
        ).fetchall()
        for decision_id in {row[1] for row in gone} | {row[0] for row in lapsed}:
            self._drop_decision(decision_id)
        return len(gone)

    def _drop_decision(self, decision_id: int) -> None:
        if self._db.execute("SELECT 1 FROM outcomes WHERE decision_id = ?", (decision_id,)).fetchall():
            return  # another slot of it is still in the kept log
        rows = self._db.execute("DELETE FROM decisions WHERE id = ? RETURNING event_id", (decision_id,)).fetchall()
        for row in rows:
            self._db.execute("DELETE FROM claims WHERE event_id = ?", row)
        self._db.execute("DELETE FROM rewards WHERE decision_id = ?", (decision_id,))
        self._db.execute("DELETE FROM activations WHERE decision_id = ?", (decision_id,))

    def _chain_at(self, lane: OpenLaneState, seq: int) -> bytes | None:
        rows = self._db.execute("SELECT chain FROM outcomes WHERE lane_id = ? AND seq = ?", (lane.id, seq)).fetchall()
        return bytes(rows[0][0]) if rows else None

    def _last_before(self, lane: OpenLaneState, before_us: int) -> int:
        """Bisect the log, whose clock values never fall, for the last outcome before `before_us`."""
        low, high = lane.base_seq, lane.seq
        while low < high:
            middle = (low + high + 1) // 2
            ((clock_us,),) = self._db.execute(
                "SELECT clock_us FROM outcomes WHERE lane_id = ? AND seq = ?", (lane.id, middle)
            ).fetchall()
            if clock_us < before_us:
                low = middle
            else:
                high = middle - 1
        return low


def _checksum(snapshot: Snapshot) -> bytes:
    return hashlib.blake2b(msgspec.msgpack.encode(snapshot), digest_size=16).digest()
