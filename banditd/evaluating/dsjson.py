"""Decisions as lines of VW's decision-service JSON (dsjson)."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import orjson

from banditd.decision import Decision, Slot
from banditd.evaluating.entries import Entry
from banditd.evaluating.reading import log_reader
from banditd.evaluating.vw_json import features_of
from banditd.segments.reading import AskedSlot
from policies.features import Action

__all__ = ["DsjsonEncoder", "timestamp"]

_ID: Final = "%id="  # begins the feature that an action's id is; no client's feature begins so
_TICKS: Final = 10_000_000  # a timestamp of this format has seven digits behind its seconds


class DsjsonEncoder:
    """Writes what VW reads: a contextual bandit line, or a line of several slots (CCB) where slots were asked for.

    A line has the actions that could be chosen, and no excluded one. It comes out in the order that VW demands: labels
    before the context, `a` in every line.
    """

    suffix = "dsjson"

    def __init__(self) -> None:
        self._reader = log_reader()

    def encode(self, entry: Entry) -> bytes | None:
        """Return a decision's line without its end; None if its outcomes are not all known."""
        if entry.state != "complete":
            return None
        decision = entry.decision
        actions = self._reader.actions(decision.actions)
        head = {"Timestamp": timestamp(decision.at), "Version": "1", "EventId": decision.event_id}
        state = {"m": f"{decision.lane}:{decision.epoch}:{decision.seq}"}
        tail = {"VWState": state, "Segment": entry.segment, "o": _observations(entry)}
        if decision.asked_slots is msgspec.UNSET:
            return orjson.dumps({**self._bandit(entry, actions, head), **tail})
        slots = self._reader.slots(decision.asked_slots)
        return orjson.dumps({**head, **self._slots(entry, actions, slots), **tail})

    def _bandit(self, entry: Entry, actions: Sequence[Action], head: dict[str, Any]) -> dict[str, Any]:
        slot = entry.decision.slots[0]
        order, probabilities = _ranked(slot, slot.eligible)
        return {
            "_label_cost": _cost(entry, 0),
            "_label_probability": probabilities[0],
            "_label_Action": order[0] + 1,
            "_labelIndex": order[0],
            **head,
            "a": [place + 1 for place in order],
            "c": self._context(entry.decision, [actions[i] for i in slot.eligible]),
            "p": probabilities,
        }

    def _slots(self, entry: Entry, actions: Sequence[Action], asked: Sequence[AskedSlot]) -> dict[str, Any]:
        decision = entry.decision
        excluded = set() if decision.excluded is msgspec.UNSET else set(decision.excluded)
        kept = [index for index in range(len(actions)) if index not in excluded]
        outcomes: list[dict[str, Any]] = []
        places: list[dict[str, Any]] = []
        taken: set[int] = set()
        for number, (slot, place) in enumerate(zip(decision.slots, asked, strict=True)):
            order, probabilities = _ranked(slot, kept)
            outcomes.append({"_label_cost": _cost(entry, number), "_id": place.id, "_a": order, "_p": probabilities})
            limits = {} if len(slot.eligible) == len(kept) - len(taken) else {"_inc": sorted(order)}
            places.append({"_id": place.id, **limits, **features_of(place.slot.line)})
            taken.add(slot.chosen)
        context = {**self._context(decision, [actions[i] for i in kept]), "_slots": places}
        return {"c": context, "_outcomes": outcomes}  # VW refuses them the other way round

    def _context(self, decision: Decision, actions: Sequence[Action]) -> dict[str, Any]:
        return {**features_of(self._reader.context(decision.context).line), "_multi": [_action(one) for one in actions]}


def _action(action: Action) -> dict[str, Any]:
    features = features_of(action.line)
    has_id = any(name.startswith(_ID) for name in features.get("a", {}))
    return {"_tag": action.id, **features} if has_id else features  # else it is called by its place


def timestamp(at: float) -> str:
    """Return UTC seconds as the format writes them; the seven digits are more than a float has by now."""
    seconds = math.floor(at)
    carried, ticks = divmod(round((at - seconds) * _TICKS), _TICKS)
    moment = datetime.fromtimestamp(seconds + carried, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ticks:07d}Z"


def _ranked(slot: Slot, listed: Sequence[int]) -> tuple[list[int], list[float]]:
    """Return places in a list of actions, the chosen one first and the others by probability, and probabilities."""
    places = {index: place for place, index in enumerate(listed)}
    pairs = list(zip(slot.eligible, slot.probabilities, strict=True))
    pairs.sort(key=lambda pair: (pair[0] != slot.chosen, -pair[1]))  # keeps the caller's order among equals
    return [places[index] for index, _ in pairs], [min(probability, 1.0) for _, probability in pairs]


def _cost(entry: Entry, slot: int) -> float:
    return 0.0 - entry.outcomes[slot].reward  # 0.0 and not -0.0 for no reward


def _observations(entry: Entry) -> list[dict[str, Any]]:
    event_id = entry.decision.event_id
    return [
        {"v": reward.reward, "EventId": event_id, "EnqueuedTimeUtc": timestamp(reward.at)}
        for reward in entry.rewards
        if reward.status == "counted"
    ]
