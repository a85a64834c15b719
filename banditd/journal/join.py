"""Decisions, their rewards and their windows, in one open transaction of the embedded store.

The window of a decision is [rank, rank + wait) on the journal's clock. A reward
1. for an unknown event, or that the lane cannot learn from (alone, or in a sum), is refused;
2. whose id was counted before is a duplicate, and under ``earliest`` so is every further one;
3. after the window is late: kept, but it changes no outcome;
4. is counted otherwise, and makes the outcome at once if the rule says so and the decision is active.

All of this is asked for each slot that a reward is about: the one it names; otherwise, as the rule says, the first or
all of them. It is counted if it counts for one of them. What it counts for the others follows from the rewards before
it, so that one row stands for one reward, as it came.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import apsw

from banditd.journal.commands import Activate, Answer, GetDecision
from banditd.journal.ledger import Ledger, Moment, unknown_lane
from banditd.journal.protocol import Activated, Aggregate, NewDecision, NewReward, Recorded, Rewarded, RewardRule

__all__ = ["Joiner", "reward_of"]

_CLOSE_AT_MOST: Final = 512  # outcomes of windows closed in one transaction, so that no reply waits for thousands
_CLOSE_BYTES: Final = 1 << 22  # of their decisions, which are pushed to every worker
_US: Final = 1_000_000

_FIND = (
    "SELECT d.id, d.lane_id, d.epoch, d.deferred, d.n_slots, d.due_us FROM claims c JOIN decisions d"
    " ON d.id = c.decision_id WHERE c.event_id = ?"
)
_BODY = "SELECT d.body FROM claims c JOIN decisions d ON d.id = c.decision_id WHERE c.event_id = ?"
_COUNTED = "SELECT slot, reward, reward_id FROM rewards WHERE decision_id = ? AND status = 'counted' ORDER BY id"

_Kept = Sequence[tuple[int | None, float, str | None]]  # the counted rewards of a decision: slot, reward, reward id


class Joiner:
    """Records decisions and turns what comes after into outcomes."""

    def __init__(self, connection: apsw.Connection, ledger: Ledger) -> None:
        self._cursor = connection.cursor()
        self._ledger = ledger
        self.next_due_us: int | None = None
        self.reload()

    def reload(self) -> None:
        """Read again when the next window closes."""
        self.next_due_us = self._rows("SELECT min(due_us) FROM windows")[0][0]

    def record(self, new: NewDecision, now: Moment) -> Answer:
        """Claim the event id for the decision, or return the decision that has it."""
        lane = self._ledger.lanes.get(new.lane)
        if lane is None:
            return unknown_lane(new.lane)
        due_us = now.clock_us + round(self._ledger.rule(lane.id, new.epoch).wait_s * _US)
        found = self._rows(_BODY, new.event_id)
        if found:
            return Recorded(created=False, body=found[0][0])
        decision_id = self._ledger.new_decision_id()
        self._cursor.execute(
            "INSERT INTO decisions (id, event_id, lane_id, epoch, deferred, n_slots, due_us, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (decision_id, new.event_id, lane.id, new.epoch, new.deferred, new.n_slots, due_us, new.body),
        )
        self._cursor.execute("INSERT INTO claims VALUES (?, ?)", (new.event_id, decision_id))
        self._cursor.execute("INSERT INTO windows VALUES (?, ?)", (due_us, decision_id))
        lane.decisions += 1
        if self.next_due_us is None or due_us < self.next_due_us:
            self.next_due_us = due_us
        return Recorded(created=True)

    def find(self, command: GetDecision, _now: Moment) -> Answer:
        """Return the decision that holds an event id; an empty body if nobody claimed it."""
        found = self._rows(_BODY, command.event_id)
        return Recorded(created=False, body=found[0][0] if found else b"")

    def reward(self, new: NewReward, now: Moment) -> Rewarded:
        """Keep a reward and, where its rule says so, make the outcomes."""
        found = self._rows(_FIND, new.event_id)
        if not found or not 0 <= (new.slot or 0) < found[0][4]:
            return Rewarded("unknown")
        decision_id, lane_id, epoch, deferred, n_slots, due_us = found[0]
        rule = self._ledger.rule(lane_id, epoch)
        if not rule.low <= new.reward <= rule.high:
            return Rewarded("out_of_range", rule.low, rule.high)
        kept: _Kept = self._rows(_COUNTED, decision_id)
        before = {slot: _counting(kept, slot, rule) for slot in _slots_of(new, n_slots=n_slots, rule=rule)}
        fresh = [slot for slot, counted in before.items() if not _is_repeat(new, counted, rule)]
        if not fresh or now.clock_us >= due_us:
            status: Literal["duplicate", "late"] = "late" if fresh else "duplicate"
            self._keep(new, decision_id, status=status, now=now)
            return Rewarded(status)
        if rule.aggregate == "sum":
            totals = [new.reward + sum(reward for reward, _ in before[slot]) for slot in fresh]
            if not rule.low <= min(totals) <= max(totals) <= rule.high:
                # Told now: when the window closes, the outcome would be one that nobody learns from.
                return Rewarded("out_of_range", rule.low, rule.high)
        self._keep(new, decision_id, status="counted", now=now)
        if not _made_at_once(rule) or (deferred and not self._is_activated(decision_id)):
            return Rewarded("pending")
        rewards = dict.fromkeys(fresh, new.reward)
        self._join(decision_id, lane_id, rewards=rewards, now=now, event_id=new.event_id)
        self._forget_window_if_done(decision_id, n_slots=n_slots, due_us=due_us, rule=rule)
        return Rewarded("joined")

    def activate(self, command: Activate, now: Moment) -> Activated:
        """Let a deferred decision be learned from, and join what was kept for it."""
        found = self._rows(_FIND, command.event_id)
        if not found:
            return Activated("unknown")
        decision_id, lane_id, epoch, deferred, n_slots, due_us = found[0]
        if not deferred or self._is_activated(decision_id):
            return Activated("activated")
        if now.clock_us >= due_us:
            return Activated("late")
        self._cursor.execute("INSERT INTO activations VALUES (?, ?)", (decision_id, now.clock_us))
        rule = self._ledger.rule(lane_id, epoch)
        if _made_at_once(rule):
            kept: _Kept = self._rows(_COUNTED, decision_id)
            counted = {slot: _counting(kept, slot, rule) for slot in range(n_slots)}
            rewards = {slot: rewards[0][0] for slot, rewards in counted.items() if rewards}
            self._join(decision_id, lane_id, rewards=rewards, now=now, event_id=command.event_id)
            self._forget_window_if_done(decision_id, n_slots=n_slots, due_us=due_us, rule=rule)
        return Activated("activated")

    def close_windows(self, now: Moment) -> bool:
        """Turn decisions whose window has closed into outcomes, or let them lapse; tell if any did.

        No more at once than make 512 outcomes or hold 4 MiB, but one at least: what is left is closed by the next call.
        If any did, the clock has to be written in the same commit: a crash must not take it back before them.
        """
        if self.next_due_us is None or now.clock_us < self.next_due_us:
            return False
        due = self._rows(
            "SELECT w.due_us, d.id, d.event_id, d.lane_id, d.epoch, d.deferred, d.n_slots, length(d.body)"
            " FROM windows w CROSS JOIN decisions d ON d.id = w.decision_id WHERE w.due_us <= ?"
            " ORDER BY w.due_us, w.decision_id LIMIT ?",
            now.clock_us,
            _CLOSE_AT_MOST,
        )
        n_outcomes = n_bytes = 0
        for due_us, decision_id, event_id, lane_id, epoch, deferred, n_slots, size in due:
            n_outcomes += n_slots
            n_bytes += size
            if n_outcomes > max(_CLOSE_AT_MOST, n_slots) or n_bytes > max(_CLOSE_BYTES, size):
                break
            if deferred and not self._is_activated(decision_id):
                self._cursor.execute("INSERT INTO lapses VALUES (?, ?)", (lane_id, decision_id))
            else:
                rule = self._ledger.rule(lane_id, epoch)
                kept: _Kept = self._rows(_COUNTED, decision_id)
                body = self._body(decision_id)
                for slot in range(n_slots):
                    reward, rewarded = reward_of(kept, slot, rule)
                    if rewarded and _made_at_once(rule):
                        continue  # it made the outcome when it came, or when the decision was activated
                    self._ledger.add_outcome(
                        lane_id,
                        decision_id=decision_id,
                        event_id=event_id,
                        slot=slot,
                        reward=reward,
                        rewarded=rewarded,
                        body=body,
                        clock_us=now.clock_us,
                    )
            self._cursor.execute("DELETE FROM windows WHERE due_us = ? AND decision_id = ?", (due_us, decision_id))
        self.reload()
        return bool(due)

    def _join(
        self, decision_id: int, lane_id: int, *, rewards: Mapping[int, float], now: Moment, event_id: str
    ) -> None:
        """Make the outcomes of some slots, in their order."""
        body = self._body(decision_id)
        for slot, reward in rewards.items():
            self._ledger.add_outcome(
                lane_id,
                decision_id=decision_id,
                event_id=event_id,
                slot=slot,
                reward=reward,
                rewarded=True,
                body=body,
                clock_us=now.clock_us,
            )

    def _forget_window_if_done(self, decision_id: int, *, n_slots: int, due_us: int, rule: RewardRule) -> None:
        """Take the window away once every slot has its outcome; by the rewards, since the log may have been trimmed."""
        kept: _Kept = self._rows(_COUNTED, decision_id)
        if all(_counting(kept, slot, rule) for slot in range(n_slots)):
            self._cursor.execute("DELETE FROM windows WHERE due_us = ? AND decision_id = ?", (due_us, decision_id))

    def _keep(self, new: NewReward, decision_id: int, *, status: str, now: Moment) -> None:
        self._cursor.execute(
            "INSERT INTO rewards (decision_id, slot, reward, reward_id, status, clock_us, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (decision_id, new.slot, new.reward, new.reward_id, status, now.clock_us, now.wall_at),
        )

    def _body(self, decision_id: int) -> bytes:
        ((body,),) = self._rows("SELECT body FROM decisions WHERE id = ?", decision_id)
        return bytes(body)

    def _is_activated(self, decision_id: int) -> bool:
        return bool(self._rows("SELECT 1 FROM activations WHERE decision_id = ?", decision_id))

    def _rows(self, sql: str, *bindings: object) -> list[Any]:
        return self._cursor.execute(sql, bindings).fetchall()


def reward_of(kept: _Kept, slot: int, rule: RewardRule) -> tuple[float, bool]:
    """Return the reward of a slot's outcome, and whether any came for it.

    Parameters
    ----------
    kept
        The counted rewards of the decision in the order they came: slot, reward, reward id.
    """
    rewards = [reward for reward, _ in _counting(kept, slot, rule)]
    return (_aggregate(rewards, rule.aggregate), True) if rewards else (rule.default, False)


def _made_at_once(rule: RewardRule) -> bool:
    return rule.aggregate == "earliest" and rule.learn == "at_once"


def _slots_of(new: NewReward, *, n_slots: int, rule: RewardRule) -> Sequence[int]:
    """Return the slots that a reward is about."""
    if new.slot is not None:
        return (new.slot,)
    return range(n_slots) if rule.slots == "all" else (0,)


def _counting(kept: _Kept, slot: int, rule: RewardRule) -> list[tuple[float, str | None]]:
    """Return the rewards that count for a slot, and their ids, in the order they came."""
    counting: list[tuple[float, str | None]] = []
    ids: set[str] = set()
    for about, reward, reward_id in kept:
        if about != slot and (about is not None or not (slot == 0 or rule.slots == "all")):
            continue
        if reward_id is not None:
            if reward_id in ids:  # it counted for this slot before, and now for another one
                continue
            ids.add(reward_id)
        counting.append((reward, reward_id))
    return counting


def _is_repeat(new: NewReward, counted: Sequence[tuple[float, str | None]], rule: RewardRule) -> bool:
    if rule.aggregate == "earliest" and counted:
        return True
    return new.reward_id is not None and any(reward_id == new.reward_id for _, reward_id in counted)


def _aggregate(rewards: Sequence[float], how: Aggregate) -> float:
    match how:
        case "earliest":
            return rewards[0]
        case "latest":
            return rewards[-1]
        case "sum":
            return sum(rewards)
        case "max":
            return max(rewards)
