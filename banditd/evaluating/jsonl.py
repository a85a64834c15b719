"""Decisions as banditd's own JSON lines: all that the journal knows of each."""

from typing import Any

import msgspec
import orjson

from banditd.decision import Decision
from banditd.evaluating.entries import Entry
from banditd.evaluating.journal_log import asked_slots

__all__ = ["JsonlEncoder"]


class JsonlEncoder:
    """Writes one JSON object a decision, those without all of their outcomes too; docs/export.md names the keys."""

    suffix = "jsonl"

    def encode(self, entry: Entry) -> bytes:
        """Return a decision's line without its end."""
        decision = entry.decision
        slots = [_slot(entry, number) for number in range(len(decision.slots))]
        is_whole = entry.state == "complete"
        counts = {status: sum(reward.status == status for reward in entry.rewards) for status in ("late", "duplicate")}
        line: dict[str, Any] = {
            "event_id": decision.event_id,
            "at": decision.at,
            "segment": entry.segment,
            "lane": decision.lane,
            **_state_of(decision),
            "subject": decision.subject,
            "context": orjson.loads(bytes(decision.context)),
            "actions": orjson.loads(bytes(decision.actions)),
            "slots": slots,
            "reward": sum(slot["reward"] for slot in slots) if is_whole else None,
            "reward_at": max(slot["reward_at"] for slot in slots) if is_whole else None,
            "state": entry.state,
            "activated": entry.activated,
            "deferred": decision.deferred,
            "late_rewards": counts["late"],
            "duplicate_rewards": counts["duplicate"],
            "rewards": [_reward(reward) for reward in entry.rewards],
        }
        if decision.members is not msgspec.UNSET:
            line["members"] = [_without_unset(member) for member in decision.members]
        return orjson.dumps(line)


def _state_of(decision: Decision) -> dict[str, Any]:
    names = ("epoch", "seq", "pool_seq", "served_by", "parent_epoch", "own_from", "own_share")
    return {name: value for name in names if (value := getattr(decision, name)) is not msgspec.UNSET}


def _without_unset(member: Any) -> dict[str, Any]:
    fields = msgspec.structs.asdict(member)
    return {name: value for name, value in fields.items() if value is not msgspec.UNSET}


def _slot(entry: Entry, number: int) -> dict[str, Any]:
    slot, asked = entry.decision.slots[number], asked_slots(entry.decision)[number]
    outcome = entry.outcomes.get(number)
    return {
        "id": asked.get("id", ""),
        "features": asked.get("features") or {},
        "eligible": slot.eligible,
        "probabilities": slot.probabilities,
        "chosen": slot.chosen,
        "propensity": min(slot.propensity, 1.0),
        "reward": None if outcome is None else outcome.reward,
        "reward_at": None if outcome is None else entry.reward_at(number),
        "default_reward": None if outcome is None else not outcome.rewarded,
        "version": None if outcome is None else {"seq": outcome.seq, "pool_seq": outcome.pool_seq},
    }


def _reward(reward: Any) -> dict[str, Any]:
    return {
        "slot": reward.slot,
        "reward": reward.reward,
        "reward_id": reward.reward_id,
        "status": reward.status,
        "at": reward.at,
    }
