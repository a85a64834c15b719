"""Decisions, their rewards and their windows, in one open transaction of the embedded store.

The window of a decision is [rank, rank + wait) on the journal's clock. A reward
1. for an unknown event, or that the lane cannot learn from (alone, or in a sum), is refused;
2. whose id was counted before is a duplicate, and under ``earliest`` so is every further one;
3. after the window is late: kept, but it changes no outcome;
4. is counted otherwise, and makes the outcome at once if the rule says so and the decision is active.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import apsw

from banditd.journal.commands import Activate, Answer, GetDecision
from banditd.journal.ledger import Ledger, Moment, unknown_lane
from banditd.journal.protocol import Activated, Aggregate, NewDecision, NewReward, Recorded, Rewarded, RewardRule

__all__ = ["Joiner"]

_CLOSE_AT_MOST: Final = 512  # windows closed in one transaction, so that no reply waits for thousands
_US: Final = 1_000_000

_FIND = (
    "SELECT d.id, d.lane_id, d.epoch, d.deferred, d.n_slots, d.due_us FROM claims c JOIN decisions d"
    " ON d.id = c.decision_id WHERE c.event_id = ?"
)
_BODY = "SELECT d.body FROM claims c JOIN decisions d ON d.id = c.decision_id WHERE c.event_id = ?"
_COUNTED = (
    "SELECT reward, reward_id FROM rewards WHERE decision_id = ? AND ifnull(slot, 0) = ? AND status = 'counted'"
    " ORDER BY id"
)


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
        """Keep a reward and, where its rule says so, make the outcome."""
        found = self._rows(_FIND, new.event_id)
        slot = new.slot or 0
        if not found or not 0 <= slot < found[0][4]:
            return Rewarded("unknown")
        decision_id, lane_id, epoch, deferred, n_slots, due_us = found[0]
        rule = self._ledger.rule(lane_id, epoch)
        if not rule.low <= new.reward <= rule.high:
            return Rewarded("out_of_range", rule.low, rule.high)
        counted = self._rows(_COUNTED, decision_id, slot)
        is_repeat = _is_repeat(new, counted, rule)
        if is_repeat or now.clock_us >= due_us:
            status: Literal["duplicate", "late"] = "duplicate" if is_repeat else "late"
            self._keep(new, decision_id, status=status, now=now)
            return Rewarded(status)
        total = new.reward + sum(reward for reward, _ in counted)
        if rule.aggregate == "sum" and not rule.low <= total <= rule.high:
            # Told now: when the window closes, the outcome would be one that nobody learns from.
            return Rewarded("out_of_range", rule.low, rule.high)
        self._keep(new, decision_id, status="counted", now=now)
        if not _made_at_once(rule) or (deferred and not self._is_activated(decision_id)):
            return Rewarded("pending")
        self._join(decision_id, lane_id, slot=slot, reward=new.reward, now=now, event_id=new.event_id)
        self._forget_window_if_done(decision_id, n_slots=n_slots, due_us=due_us)
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
        if _made_at_once(self._ledger.rule(lane_id, epoch)):
            for slot in range(n_slots):
                for reward, _ in self._rows(_COUNTED, decision_id, slot)[:1]:
                    self._join(decision_id, lane_id, slot=slot, reward=reward, now=now, event_id=command.event_id)
            self._forget_window_if_done(decision_id, n_slots=n_slots, due_us=due_us)
        return Activated("activated")

    def close_windows(self, now: Moment) -> bool:
        """Turn decisions whose window has closed into outcomes, or let them lapse, at most 512; tell if any did.

        If any did, the clock has to be written in the same commit: a crash must not take it back before them.
        """
        if self.next_due_us is None or now.clock_us < self.next_due_us:
            return False
        due = self._rows(
            "SELECT w.due_us, d.id, d.event_id, d.lane_id, d.epoch, d.deferred, d.n_slots, d.body FROM windows w"
            " CROSS JOIN decisions d ON d.id = w.decision_id WHERE w.due_us <= ?"
            " ORDER BY w.due_us, w.decision_id LIMIT ?",
            now.clock_us,
            _CLOSE_AT_MOST,
        )
        for due_us, decision_id, event_id, lane_id, epoch, deferred, n_slots, body in due:
            if deferred and not self._is_activated(decision_id):
                self._cursor.execute("INSERT INTO lapses VALUES (?, ?)", (lane_id, decision_id))
            else:
                rule = self._ledger.rule(lane_id, epoch)
                for slot in self._open_slots(decision_id, n_slots=n_slots):
                    rewards = [reward for reward, _ in self._rows(_COUNTED, decision_id, slot)]
                    self._ledger.add_outcome(
                        lane_id,
                        decision_id=decision_id,
                        event_id=event_id,
                        slot=slot,
                        reward=_aggregate(rewards, rule.aggregate) if rewards else rule.default,
                        rewarded=bool(rewards),
                        body=body,
                        clock_us=now.clock_us,
                    )
            self._cursor.execute("DELETE FROM windows WHERE due_us = ? AND decision_id = ?", (due_us, decision_id))
        self.reload()
        return bool(due)

    def _open_slots(self, decision_id: int, *, n_slots: int) -> list[int]:
        joined = {slot for (slot,) in self._rows("SELECT slot FROM outcomes WHERE decision_id = ?", decision_id)}
        return [slot for slot in range(n_slots) if slot not in joined]

    def _join(self, decision_id: int, lane_id: int, *, slot: int, reward: float, now: Moment, event_id: str) -> None:
        (body,) = self._rows("SELECT body FROM decisions WHERE id = ?", decision_id)[0]
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

    def _forget_window_if_done(self, decision_id: int, *, n_slots: int, due_us: int) -> None:
        if not self._open_slots(decision_id, n_slots=n_slots):
            self._cursor.execute("DELETE FROM windows WHERE due_us = ? AND decision_id = ?", (due_us, decision_id))

    def _keep(self, new: NewReward, decision_id: int, *, status: str, now: Moment) -> None:
        self._cursor.execute(
            "INSERT INTO rewards (decision_id, slot, reward, reward_id, status, clock_us, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (decision_id, new.slot, new.reward, new.reward_id, status, now.clock_us, now.wall_at),
        )

    def _is_activated(self, decision_id: int) -> bool:
        return bool(self._rows("SELECT 1 FROM activations WHERE decision_id = ?", decision_id))

    def _rows(self, sql: str, *bindings: object) -> list[Any]:
        return self._cursor.execute(sql, bindings).fetchall()


def _made_at_once(rule: RewardRule) -> bool:
    return rule.aggregate == "earliest" and rule.learn == "at_once"


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
