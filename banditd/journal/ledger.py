"""Lanes, pools, epochs and the numbering of outcomes, in one open transaction of the embedded store."""

import os
from dataclasses import dataclass

import apsw
import msgspec
import orjson

from banditd.journal.commands import Failed, OpenLane
from banditd.journal.database import rows
from banditd.journal.protocol import Epoch, LaneInfo, OutcomeRow, RewardRule
from banditd.journal.schema import CHAIN_START, chain_digest, outcome_digest

__all__ = ["Ledger", "Moment", "OpenLaneState", "unknown_lane"]

_SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Moment:
    """When a batch is carried out: µs of the journal's clock, and UTC seconds for people."""

    clock_us: int
    wall_at: float


@dataclass(slots=True)
class OpenLaneState:
    """What the store keeps in memory of one lane; `dirty` until it is written."""

    id: int
    name: str
    pool_id: int
    seq: int
    chain: bytes
    base_seq: int
    decisions: int
    dirty: bool = False


@dataclass(slots=True)
class _Pool:
    id: int
    name: str
    seq: int


class Ledger:
    """The counters of every lane and the one place where an outcome gets its numbers."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self.lanes: dict[str, OpenLaneState] = {}
        self.lanes_by_id: dict[int, OpenLaneState] = {}
        self._pools: dict[int, _Pool] = {}
        self._rules: dict[tuple[int, int], RewardRule] = {}
        self.made: list[OutcomeRow] = []
        self.reload()

    def reload(self) -> None:
        """Read everything again, as after a transaction that was rolled back."""
        self.made = []
        self._rules.clear()
        self._pools = {row[0]: _Pool(*row) for row in rows(self._db, "SELECT id, name, seq FROM pools")}
        found = rows(self._db, "SELECT id, name, pool_id, seq, chain, base_seq, decisions FROM lanes")
        self.lanes = {row[1]: OpenLaneState(*row) for row in found}
        self.lanes_by_id = {lane.id: lane for lane in self.lanes.values()}

    def write_counters(self) -> bool:
        """Write the counters that moved; return whether any did."""
        dirty = [lane for lane in self.lanes.values() if lane.dirty]
        for lane in dirty:
            pool = self._pools[lane.pool_id]
            self._db.execute(
                "UPDATE lanes SET seq = ?, chain = ?, base_seq = ?, decisions = ? WHERE id = ?",
                (lane.seq, lane.chain, lane.base_seq, lane.decisions, lane.id),
            )
            self._db.execute("UPDATE pools SET seq = ? WHERE id = ?", (pool.seq, pool.id))
            lane.dirty = False
        return bool(dirty)

    def info(self, lane: OpenLaneState) -> LaneInfo:
        """Return a lane's counters as the protocol has them."""
        pool = self._pools[lane.pool_id]
        return LaneInfo(lane.name, pool.name, lane.seq, pool.seq, lane.chain, lane.base_seq, lane.decisions)

    def rule(self, lane_id: int, epoch: int) -> RewardRule:
        """Return the reward rule of an epoch."""
        rule = self._rules.get((lane_id, epoch))
        if rule is None:
            found = rows(self._db, "SELECT rule FROM epochs WHERE lane_id = ? AND epoch = ?", lane_id, epoch)
            rule = msgspec.json.decode(found[0][0], type=RewardRule)
            self._rules[lane_id, epoch] = rule
        return rule

    def open_lane(self, command: OpenLane, now: Moment) -> Epoch:
        """Return the lane's epoch, making lane, pool and epoch where they are missing or have changed."""
        lane = self.lanes.get(command.lane) or self._new_lane(command.lane, command.pool)
        current = self._last_epoch(lane)
        reason = _changes(current, command)
        if current is not None and not reason:
            return current
        epoch = Epoch(
            lane=lane.name,
            epoch=1 if current is None else current.epoch + 1,
            from_seq=lane.seq,
            fold_from=lane.base_seq,
            spec=command.spec,
            rule=command.rule,
            build=command.build,
            reason=reason,
            at=now.wall_at,
        )
        self._db.execute(
            "INSERT INTO epochs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                lane.id,
                epoch.epoch,
                epoch.from_seq,
                epoch.fold_from,
                orjson.dumps(epoch.spec, option=orjson.OPT_SORT_KEYS).decode(),
                msgspec.json.encode(epoch.rule).decode(),
                epoch.build,
                reason,
                epoch.at,
            ),
        )
        return epoch

    def add_outcome(
        self,
        lane_id: int,
        *,
        decision_id: int,
        event_id: str,
        slot: int,
        reward: float,
        rewarded: bool,
        body: bytes,
        clock_us: int,
    ) -> None:
        """Give an outcome its numbers in its lane and its pool, chain it and keep it."""
        lane = self.lanes_by_id[lane_id]
        pool = self._pools[lane.pool_id]
        salt = os.urandom(_SALT_BYTES)
        digest = outcome_digest(salt, event_id=event_id, slot=slot, reward=reward, rewarded=rewarded, body=body)
        lane.seq += 1
        pool.seq += 1
        lane.chain = chain_digest(lane.chain, digest)
        lane.dirty = True
        self._db.execute(
            "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            (lane_id, lane.seq, pool.seq, decision_id, slot, reward, rewarded, clock_us, salt, digest, lane.chain),
        )
        self.made.append(OutcomeRow(lane.name, lane.seq, pool.seq, event_id, slot, reward, rewarded, lane.chain, body))

    def _new_lane(self, name: str, pool: str) -> OpenLaneState:
        self._db.execute("INSERT OR IGNORE INTO pools (name, seq) VALUES (?, 0)", (pool,))
        pool_row = rows(self._db, "SELECT id, name, seq FROM pools WHERE name = ?", pool)[0]
        self._pools.setdefault(pool_row[0], _Pool(*pool_row))
        self._db.execute(
            "INSERT INTO lanes (name, pool_id, seq, chain, base_seq, decisions) VALUES (?, ?, 0, ?, 0, 0)",
            (name, pool_row[0], CHAIN_START),
        )
        lane = OpenLaneState(self._db.last_insert_rowid(), name, pool_row[0], 0, CHAIN_START, 0, 0)
        self.lanes[name] = self.lanes_by_id[lane.id] = lane
        return lane

    def _last_epoch(self, lane: OpenLaneState) -> Epoch | None:
        found = rows(
            self._db,
            "SELECT epoch, from_seq, fold_from, spec, rule, build, reason, at FROM epochs"
            " WHERE lane_id = ? ORDER BY epoch DESC LIMIT 1",
            lane.id,
        )
        if not found:
            return None
        epoch, from_seq, fold_from, spec, rule, build, reason, at = found[0]
        return Epoch(
            lane=lane.name,
            epoch=epoch,
            from_seq=from_seq,
            fold_from=fold_from,
            spec=orjson.loads(spec),
            rule=msgspec.json.decode(rule, type=RewardRule),
            build=build,
            reason=reason,
            at=at,
        )


def unknown_lane(name: str) -> Failed:
    """Return the answer about a lane that nobody opened."""
    return Failed("unknown_lane", f"lane {name!r} was never opened")


def _changes(current: Epoch | None, wanted: OpenLane) -> str:
    """Return why the next epoch opens; empty if it does not."""
    if current is None:
        return "new lane"
    changed = [
        name
        for name, differs in (
            ("policy", current.spec != orjson.loads(orjson.dumps(wanted.spec))),
            ("reward rule", current.rule != wanted.rule),
            ("build", current.build != wanted.build),
        )
        if differs
    ]
    return f"changed: {', '.join(changed)}" if changed else ""
