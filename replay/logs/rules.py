"""The label of a dsjson line, by the rules of VW's own parser, down to which lines it gives up on: counts agree."""

import math
from collections.abc import Mapping
from typing import Any

import orjson

from replay.logs.fields import Refused, exact, finite, flag, index, number, numbers, propensity, properties, text
from replay.logs.labels import Label, SlotLabel

__all__ = ["decode", "in_slot", "label_of", "logged_vector", "read_label", "slot_actions"]

# A line whose context stands between its label and its probabilities, as Personalizer and rlclientlib write it, is cut
# in three. What could matter must not stand in the middle, unseen.
_HEAD_END = b',"c":{'
_TAIL_START = b'},"p":['
_NOT_BETWEEN = (b"_label", b'"_skipLearn"', b'"pdrop"', b'"_p"', b'"_outcomes"', b'"EventId"', b'"Timestamp"')
_ERRORS = frozenset({"field_invalid", "action_out_of_range"})  # VW gives up on such a line before it looks further


def label_of(line: bytes) -> Label:
    """Return the label of a dsjson line, without decoding its context where the line's layout allows it.

    Lines in Personalizer's layout take the short way; it does not notice a context that is broken, or an action that
    the context does not have.
    """
    root = _without_context(line)
    if root is not None:
        label = read_label(root)
        if not label.reason:
            return label
    decoded = decode(line)
    return Label(decoded) if isinstance(decoded, str) else read_label(decoded)


def decode(line: bytes) -> dict[str, Any] | str:
    """Return the object of a line, or the reason why it has none."""
    if not line.startswith(b"{"):
        return "not_an_object"
    try:
        root = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            # VW does not mind bytes that are no UTF-8; whoever logged cut a title in two.
            root = orjson.loads(line.decode(errors="replace"))
        except orjson.JSONDecodeError:
            return "parse_error"
    return root if isinstance(root, dict) else "parse_error"


def read_label(root: Mapping[str, Any]) -> Label:
    """Return the label of a decoded line; `c` may be missing from a contextual bandit line."""
    event_id, timestamp, original_sum = "", "", 0.0
    skip = False
    try:
        event_id, timestamp = text(root, "EventId"), text(root, "Timestamp")
        label = properties(root)
        drop = _drop_probability(root.get("pdrop"))
        original_sum = _original_sum(root)
        skip = flag(root.get("_skipLearn"))
        slots, cost, original = _decision(root, label)
    except Refused as refused:
        reason = "skip_learn" if skip and refused.reason not in _ERRORS else refused.reason
        return Label(reason, event_id, timestamp, original_cost_sum=original_sum, skip_learn=skip)
    return Label("", event_id, timestamp, slots, cost, original, original_sum, drop, skip)


def _without_context(line: bytes) -> dict[str, Any] | None:
    """Decode what stands before and behind the context, or return None if the line is laid out in another way.

    The head is a whole object once its comma is replaced by a brace, and so is the tail behind one: so both cuts are
    made in the outermost object.
    """
    start = line.find(_HEAD_END)
    end = line.rfind(_TAIL_START)
    if start < 0 or end < start:
        return None
    for word in _NOT_BETWEEN:
        if line.find(word, start + len(_HEAD_END), end) >= 0:
            return None
    try:
        root = orjson.loads(line[:start] + b"}")
        tail = orjson.loads(b"{" + line[end + 2 :])
    except orjson.JSONDecodeError:
        return None
    whole: dict[str, Any] = {**root, **tail}
    return whole if "a" in whole else None


def _decision(root: Mapping[str, Any], label: Mapping[str, Any]) -> tuple[tuple[SlotLabel, ...], float, float]:
    if "ca" in label:
        raise Refused("continuous_action")
    outcomes = root.get("_outcomes")
    if outcomes is not None:
        return _slots(root, label, outcomes)
    order = numbers(root.get("a"))
    if not order:
        raise Refused("dangling_reward" if "RewardValue" in root else "no_action")
    if _feedback_only(root.get("o")):
        raise Refused("igl")
    if "cost" not in label:
        raise Refused("no_label")
    chosen = _chosen(root, label, order)
    probability = label.get("probability")
    if probability is None:
        probability = _of_chosen(root, order, chosen)
    original = _original(root)
    slot = SlotLabel(chosen, propensity(probability), finite(label["cost"]), original)
    return (slot,), slot.cost, original


def _slots(
    root: Mapping[str, Any], label: Mapping[str, Any], outcomes: Any
) -> tuple[tuple[SlotLabel, ...], float, float]:
    if not isinstance(outcomes, list) or not all(isinstance(one, dict) for one in outcomes):
        raise Refused("field_invalid")
    groups = slot_actions(root)
    whole = "cost" in label
    slots = []
    for k, outcome in enumerate(outcomes):
        order, probabilities = numbers(outcome.get("_a")), numbers(outcome.get("_p"))
        if not order or not probabilities:
            raise Refused("no_action")
        own = properties(outcome)
        if "cost" not in own and not whole:
            raise Refused("no_label")
        cost = finite(own["cost"]) if "cost" in own else math.nan
        chosen = in_slot(index(order[0]), k, groups)
        slots.append(SlotLabel(chosen, propensity(probabilities[0]), cost, _original(outcome)))
    if not slots:
        raise Refused("no_action")
    if whole:
        return tuple(slots), finite(label["cost"]), _original(root)
    originals = [one.original_cost for one in slots if not math.isnan(one.original_cost)]
    # A slot without an original cost counts with its cost, so that a sum over slots is over all of them.
    original = math.fsum(one.true_cost for one in slots) if originals else math.nan
    return tuple(slots), math.fsum(one.cost for one in slots), original


def slot_actions(root: Mapping[str, Any]) -> list[list[int]] | None:
    """Return which actions each place of a slates line has, or None if all its places share all actions."""
    context = root.get("c")
    actions = context.get("_multi") if isinstance(context, dict) else None
    if not isinstance(actions, list) or not any(isinstance(one, dict) and "_slot_id" in one for one in actions):
        return None
    groups: list[list[int]] = []
    for i, action in enumerate(actions):
        slot = action.get("_slot_id") if isinstance(action, dict) else None
        if type(slot) is not int or not 0 <= slot < len(actions):
            raise Refused("field_invalid")
        groups.extend([] for _ in range(slot + 1 - len(groups)))
        groups[slot].append(i)
    return groups


def in_slot(index: int, slot: int, groups: list[list[int]] | None) -> int:
    """Return the line's index of a place's `index`-th action."""
    if groups is None:
        return index
    if slot >= len(groups) or not 0 <= index < len(groups[slot]):
        raise Refused("action_out_of_range")
    return groups[slot][index]


def _chosen(root: Mapping[str, Any], label: Mapping[str, Any], order: list[float]) -> int:
    given = root.get("_labelIndex")
    if given is None:
        given = next((value for key, value in root.items() if key.lower() == "_labelindex"), None)
    if given is not None:
        chosen = index(given)
    elif "action" in label:
        chosen = index(label["action"]) - 1
    else:
        chosen = index(order[0]) - (0 not in order)
    context = root.get("c")
    actions = context.get("_multi") if isinstance(context, dict) else order
    if chosen < 0 or not isinstance(actions, list) or chosen >= len(actions):
        raise Refused("action_out_of_range")
    return chosen


def _of_chosen(root: Mapping[str, Any], order: list[float], chosen: int) -> float:
    """Return the chosen action's entry of `p`, for a line whose label has no probability."""
    vector = logged_vector(root)
    listed = chosen + (0 not in order)
    if listed in order and len(vector) == len(order):
        return vector[order.index(listed)]
    raise Refused("no_label")


def logged_vector(root: Mapping[str, Any]) -> list[float]:
    """Return `p` or `_p`, whichever comes last."""
    last = [value for key, value in root.items() if key in ("p", "_p")]
    return numbers(last[-1]) if last else []


def _drop_probability(value: Any) -> float:
    drop = 0.0 if value is None else number(value)
    if not 0 <= drop < 1:
        raise Refused("drop_probability_out_of_range")
    return drop


def _original_sum(root: Mapping[str, Any]) -> float:
    outcomes = root.get("_outcomes")
    rows = [root, *(one for one in outcomes if isinstance(one, dict))] if isinstance(outcomes, list) else [root]
    return math.fsum(exact(value) for row in rows if (value := row.get("_original_label_cost")) is not None)


def _original(fields: Mapping[str, Any]) -> float:
    value = fields.get("_original_label_cost")
    return math.nan if value is None else exact(value)


def _feedback_only(observations: Any) -> bool:
    """Whether it is a line of interaction-grounded learning, whose observations are no rewards."""
    return isinstance(observations, list) and any(
        isinstance(one, dict) and "_definitely_bad" in one for one in observations
    )
