"""Lanes, pools, epochs and the numbering of outcomes, in one open transaction of the embedded store."""

import os
from dataclasses import dataclass

import apsw
import msgspec
import orjson

from banditd.journal.commands import Answer, EpochPage, Failed, GetLanes, GetPool, LanePage, OpenLanes
from banditd.journal.database import rows
from banditd.journal.protocol import Epoch, LaneInfo, OpenLane, OutcomeRow, PoolInfo, PoolStretch, RewardRule
from banditd.journal.schema import CHAIN_START, chain_digest, outcome_digest

__all__ = ["Ledger", "Moment", "OpenLaneState", "is_parent", "unknown_lane"]

_SALT_BYTES = 16
_US = 1_000_000
_PARENT_PREFIX = "*/"  # no segment's name begins with a star
_STRETCHES = (
    "SELECT name, epoch, from_seq, current, pool_id = ?1, spec FROM (SELECT l.name, e.*,"
    " max(e.epoch) OVER (PARTITION BY e.lane_id) AS current,"
    " lag(e.spec) OVER lane AS spec_before, lag(e.pool_id) OVER lane AS pool_before"
    " FROM epochs e JOIN lanes l ON l.id = e.lane_id"
    " WHERE l.id IN (SELECT lane_id FROM epochs WHERE pool_id = ?1)"
    " WINDOW lane AS (PARTITION BY e.lane_id ORDER BY e.epoch))"
    " WHERE spec_before IS NULL OR spec IS NOT spec_before OR (pool_id = ?1) IS NOT (pool_before = ?1)"
    " ORDER BY lane_id, epoch"
)
_LATEST = {
    "outcomes": "SELECT (SELECT clock_us FROM outcomes WHERE lane_id = lanes.id ORDER BY seq DESC LIMIT 1)"
    " FROM lanes WHERE EXISTS (SELECT 1 FROM outcomes WHERE lane_id = lanes.id)",
    "activations": "SELECT clock_us FROM activations ORDER BY decision_id DESC LIMIT 1",
    "rewards": "SELECT clock_us FROM rewards ORDER BY id DESC LIMIT 1",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """When a batch is carried out: µs of the journal's clock, and UTC seconds for people."""

    clock_us: int
    wall_at: float


@dataclass(slots=True)
class OpenLaneState:
    """What the store keeps in memory of one lane: its row, and the last outcome's numbers and chain."""

    id: int
    name: str
    pool_id: int
    base_seq: int
    seq: int
    chain: bytes
    decisions: int
    counted: int


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
        self._counted_to = 0
        self._last_decision_id = 0
        self._epochs: dict[int, int] = {}
        self.made: list[OutcomeRow] = []
        self.reload()

    def reload(self) -> None:
        """Read everything again, as after a transaction that was rolled back."""
        self.made = []
        self._rules.clear()
        self.lanes = {}
        self.lanes_by_id = {}
        self._pools = {row[0]: _Pool(*row) for row in rows(self._db, "SELECT id, name, seq FROM pools")}
        self._counted_to = int(self._meta("counted_to"))
        ((last,),) = rows(self._db, "SELECT ifnull(max(id), 0) FROM decisions")
        self._last_decision_id = max(last, self._counted_to)  # ids are not used again after the last one was dropped
        self._epochs = dict(rows(self._db, "SELECT lane_id, max(epoch) FROM epochs GROUP BY lane_id"))
        uncounted = dict(
            rows(self._db, "SELECT lane_id, count(*) FROM decisions WHERE id > ? GROUP BY lane_id", self._counted_to)
        )
        for lane_id, name, pool_id, base_seq, base_chain, counted in rows(
            self._db, "SELECT id, name, pool_id, base_seq, base_chain, decisions FROM lanes"
        ):
            last = "SELECT seq, pool_seq, chain, pool_id FROM outcomes WHERE lane_id = ? ORDER BY seq DESC LIMIT 1"
            seq, pool_seq, chain, made_in = (rows(self._db, last, lane_id) or [(base_seq, 0, base_chain, None)])[0]
            decisions = counted + uncounted.get(lane_id, 0)
            lane = OpenLaneState(lane_id, name, pool_id, base_seq, seq, chain, decisions, counted)
            self.lanes[name] = self.lanes_by_id[lane_id] = lane
            pool = self._pools[pool_id]
            if made_in is None and pool.name == name:
                pool.seq = max(pool.seq, pool_seq)
        for pool in self._pools.values():
            if pool.name not in self.lanes:
                ((last,),) = rows(self._db, "SELECT max(pool_seq) FROM outcomes WHERE pool_id = ?", pool.id)
                pool.seq = max(pool.seq, last or 0)

    def clock_us(self) -> int:
        """Return the latest time on the journal's clock that any row tells of."""
        times = [int(self._meta("clock_us"))]
        for table in ("outcomes", "activations", "rewards"):
            # The largest key was written last, but a lane's outcomes say so for that lane only.
            times += [row[0] for row in rows(self._db, _LATEST[table])]
        for lane_id, epoch, due_us in rows(
            self._db, "SELECT lane_id, epoch, due_us FROM decisions ORDER BY id DESC LIMIT 1"
        ):
            times.append(due_us - round(self.rule(lane_id, epoch).wait_s * _US))
        return max(times)

    def write_counts(self, clock_us: int) -> None:
        """Write the clock, and the numbers of decisions up to now."""
        last = self._last_decision_id
        if last > self._counted_to:
            for lane in self.lanes.values():
                if lane.decisions != lane.counted:
                    self._db.execute("UPDATE lanes SET decisions = ? WHERE id = ?", (lane.decisions, lane.id))
                    lane.counted = lane.decisions
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'counted_to'", (last,))
            self._counted_to = last
        self._db.execute("UPDATE meta SET value = ? WHERE key = 'clock_us'", (clock_us,))

    def new_decision_id(self) -> int:
        """Return the next decision's id; ids grow, and none is used twice."""
        self._last_decision_id += 1
        return self._last_decision_id

    def epoch_of(self, lane: OpenLaneState) -> int:
        """Return the number of the lane's current epoch."""
        return int(self._epochs[lane.id])

    def move_base(self, lane: OpenLaneState, seq: int, chain: bytes) -> None:
        """Let the lane's kept log begin after `seq`, whose outcome has this chain value."""
        self._db.execute("UPDATE lanes SET base_seq = ?, base_chain = ? WHERE id = ?", (seq, chain, lane.id))
        lane.base_seq = seq
        sql = "SELECT pool_seq, pool_id FROM outcomes WHERE lane_id = ? AND seq = ?"
        for pool_seq, pool_id in rows(self._db, sql, lane.id, seq):  # a parent has none
            self._db.execute(
                "UPDATE pools SET seq = max(seq, ?) WHERE id = ? OR (? IS NULL AND name = ?)",
                (pool_seq, pool_id, pool_id, lane.name),
            )

    def info(self, lane: OpenLaneState) -> LaneInfo:
        """Return a lane's counters as the protocol has them."""
        pool = self._pools[lane.pool_id]
        seq = pool.seq if is_parent(lane.name) else lane.seq
        return LaneInfo(lane.name, pool.name, seq, pool.seq, lane.chain, lane.base_seq, lane.decisions)

    def infos(self, command: GetLanes, _now: Moment) -> Answer:
        """Return the counters of many lanes."""
        missing = [name for name in command.lanes if name not in self.lanes]
        return unknown_lane(missing[0]) if missing else LanePage([self.info(self.lanes[n]) for n in command.lanes])

    def pool_named(self, name: str) -> int | None:
        """Return a pool's id; None if nobody opened it."""
        return next((pool.id for pool in self._pools.values() if pool.name == name), None)

    def pool_info(self, command: GetPool, _now: Moment) -> Answer:
        """Return where the pool is, and which lanes were in it when."""
        pool_id = self.pool_named(command.pool)
        if pool_id is None:
            return PoolInfo(0, [])
        stretches = [
            PoolStretch(lane, epoch, from_seq, current, bool(pooled), spec)
            for lane, epoch, from_seq, current, pooled, spec in rows(self._db, _STRETCHES, pool_id)
            if not is_parent(lane)
        ]
        return PoolInfo(self._pools[pool_id].seq, stretches)

    def rule(self, lane_id: int, epoch: int) -> RewardRule:
        """Return the reward rule of an epoch."""
        rule = self._rules.get((lane_id, epoch))
        if rule is None:
            found = rows(self._db, "SELECT rule FROM epochs WHERE lane_id = ? AND epoch = ?", lane_id, epoch)
            rule = msgspec.json.decode(found[0][0], type=RewardRule)
            self._rules[lane_id, epoch] = rule
        return rule

    def open_lanes(self, command: OpenLanes, now: Moment) -> Answer:
        """Return the epochs of lanes, making lanes, pools and epochs where they are missing or have changed."""
        return EpochPage([self._open_lane(lane, now) for lane in command.lanes])

    def _open_lane(self, command: OpenLane, now: Moment) -> Epoch:
        lane = self.lanes.get(command.lane) or self._new_lane(command.lane, command.pool)
        current = self._last_epoch(lane)
        moves = self._pools[lane.pool_id].name != command.pool
        reason = _changes(current, command, moves=moves)
        if current is not None and not reason:
            return current
        if moves:
            self._move(lane, command.pool)
        epoch = Epoch(
            lane=lane.name,
            epoch=1 if current is None else current.epoch + 1,
            from_seq=self._pools[lane.pool_id].seq if is_parent(lane.name) else lane.seq,
            fold_from=lane.base_seq,
            spec=command.spec,
            rule=command.rule,
            build=command.build,
            reason=reason,
            at=now.wall_at,
        )
        self._db.execute(
            "INSERT INTO epochs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                lane.pool_id,
            ),
        )
        self._epochs[lane.id] = epoch.epoch
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
        is_shared = pool.name != lane.name
        salt = os.urandom(_SALT_BYTES)
        digest = outcome_digest(salt, event_id=event_id, slot=slot, reward=reward, rewarded=rewarded, body=body)
        lane.seq += 1
        pool.seq += 1
        lane.chain = chain_digest(lane.chain, digest)
        self._db.execute(
            "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
            (
                lane_id,
                lane.seq,
                pool.seq,
                decision_id,
                slot,
                reward,
                rewarded,
                clock_us,
                salt,
                digest,
                lane.chain,
                pool.id if is_shared else None,
            ),
        )
        self.made.append(
            OutcomeRow(
                lane=lane.name,
                seq=lane.seq,
                pool_seq=pool.seq,
                event_id=event_id,
                slot=slot,
                reward=reward,
                rewarded=rewarded,
                chain=lane.chain,
                body=body,
                shared=is_shared,
            )
        )

    def _new_lane(self, name: str, pool: str) -> OpenLaneState:
        pool_id = self._pool_id(pool)
        self._db.execute(
            "INSERT INTO lanes (name, pool_id, base_seq, base_chain, decisions) VALUES (?, ?, 0, ?, 0)",
            (name, pool_id, CHAIN_START),
        )
        lane = OpenLaneState(self._db.last_insert_rowid(), name, pool_id, 0, 0, CHAIN_START, 0, 0)
        self.lanes[name] = self.lanes_by_id[lane.id] = lane
        return lane

    def _pool_id(self, name: str) -> int:
        """Return a pool's id, making the pool if it is not there."""
        self._db.execute("INSERT OR IGNORE INTO pools (name) VALUES (?)", (name,))
        ((pool_id, seq),) = rows(self._db, "SELECT id, seq FROM pools WHERE name = ?", name)
        self._pools.setdefault(pool_id, _Pool(pool_id, name, seq))
        return int(pool_id)

    def _move(self, lane: OpenLaneState, pool: str) -> None:
        """Let a lane's outcomes be numbered in another pool from now on."""
        left = self._pools[lane.pool_id]
        self._db.execute("UPDATE pools SET seq = ? WHERE id = ?", (left.seq, left.id))  # its last outcome may go
        lane.pool_id = self._pool_id(pool)
        self._db.execute("UPDATE lanes SET pool_id = ? WHERE id = ?", (lane.pool_id, lane.id))

    def _meta(self, key: str) -> int | str:
        ((value,),) = rows(self._db, "SELECT value FROM meta WHERE key = ?", key)
        found: int | str = value
        return found

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


def is_parent(name: str) -> bool:
    """Tell whether a lane's name is that of a parent, which has no outcomes of its own."""
    return name.startswith(_PARENT_PREFIX)


def _changes(current: Epoch | None, wanted: OpenLane, *, moves: bool) -> str:
    """Return why the next epoch opens; empty if it does not."""
    if current is None:
        return "new lane"
    changed = [
        name
        for name, differs in (
            ("policy", current.spec != orjson.loads(orjson.dumps(wanted.spec))),
            ("reward rule", current.rule != wanted.rule),
            ("build", current.build != wanted.build),
            ("pool", moves),
        )
        if differs
    ]
    return f"changed: {', '.join(changed)}" if changed else ""
