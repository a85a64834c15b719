"""Logs in VW's decision-service JSON (dsjson): contextual bandit, CCB and slates lines."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from policies.protocol import FloatArray
from replay.events import LoggedAction, LoggedEvent, LoggedSlot
from replay.logs.casting import is_distribution, seconds
from replay.logs.fields import Refused, numbers, text
from replay.logs.labels import Label, SlotLabel
from replay.logs.rules import decode, in_slot, logged_vector, read_label, slot_actions
from replay.logs.sources import Paths, find_sources, read_lines

__all__ = ["DsjsonLog", "event_of"]

_PROPENSITY_SLACK = 1e-4  # beside the vector: between float32 and what is printed of it lies less
_DEPTH_LIMIT = 64

Cost = Literal["original", "label"]


@dataclass(slots=True)
class DsjsonLog:
    """A dsjson log, file after file, line after line.

    Parameters
    ----------
    paths
        Files, folders, patterns, or ``"-"``; packed with gzip, zstd, or not at all.
    cost
        Whose negative is the reward: ``"original"`` is `_original_label_cost` where a line has it, which is the true
        cost in apprentice mode too; ``"label"`` is always `_label_cost`, what VW learns from.

    Attributes
    ----------
    dropped
        Lines of the last reading that were left out, by the reasons in docs/logs.md.
    noted
        What is odd about events that were used all the same: ``"probabilities_unusable"`` (the vector was put aside),
        ``"propensity_differs"`` (the label's probability is not the vector's).
    """

    paths: Paths
    cost: Cost = "original"
    dropped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.paths = find_sources(self.paths)  # once: standard input remembers that it was read

    def lines(self) -> Iterator[bytes]:
        """Yield every line that is not blank, for those who hand lines to VW themselves; start counting anew."""
        self.dropped.clear()
        self.noted.clear()
        yield from read_lines(self.paths, dropped=self.dropped)

    def events(self) -> Iterator[LoggedEvent]:
        """Yield the decisions that can be used; start counting `dropped` and `noted` anew."""
        self.dropped.clear()
        self.noted.clear()
        for line in read_lines(self.paths, dropped=self.dropped):
            event = event_of(line, noted=self.noted, cost=self.cost)
            if isinstance(event, str):
                self.dropped[event] += 1
            else:
                yield event


def event_of(line: bytes, *, noted: Counter[str], cost: Cost = "original") -> LoggedEvent | str:
    """Return the decision in a dsjson line, or the reason why it is left out."""
    root = decode(line)
    if isinstance(root, str):
        return root
    label = read_label(root)
    if label.reason:
        return label.reason
    try:
        return _event(line, root, label, noted=noted, cost=cost)
    except Refused as refused:
        return refused.reason


def _event(line: bytes, root: Mapping[str, Any], label: Label, *, noted: Counter[str], cost: Cost) -> LoggedEvent:
    context = root.get("c")
    actions = context.get("_multi") if isinstance(context, dict) else None
    if not isinstance(context, dict) or not isinstance(actions, list) or not actions:
        raise Refused("actions_missing")
    outcomes = root.get("_outcomes")
    if outcomes is None:
        slots = [_only_slot(root, label.slots[0], len(actions), noted=noted, cost=cost)]
    else:
        slots = _slots(root, label, outcomes, len(actions), noted=noted, cost=cost)
    return LoggedEvent(
        event_id=label.event_id,
        context=_features(context),
        actions=[_action(one) for one in actions],
        slots=slots,
        reward=-(label.true_cost if cost == "original" else label.cost) + 0.0,  # no reward is -0.0
        at=seconds(label.timestamp),
        segment=segment if isinstance(segment := root.get("Segment"), str) else "",  # banditd's own export has it
        drop_probability=label.drop_probability,
        learn=not label.skip_learn,
        line=line,
    )


def _only_slot(
    root: Mapping[str, Any], label: SlotLabel, n_actions: int, *, noted: Counter[str], cost: Cost
) -> LoggedSlot:
    listed = numbers(root.get("a"))
    base = 0 if 0 in listed else 1  # some write `a` from 0
    order = [number - base for number in listed]
    return _slot(label, order, logged_vector(root), n_actions, noted=noted, cost=cost)


def _slots(
    root: Mapping[str, Any],
    label: Label,
    outcomes: Sequence[Mapping[str, Any]],
    n_actions: int,
    *,
    noted: Counter[str],
    cost: Cost,
) -> list[LoggedSlot]:
    places = root["c"].get("_slots")
    if not isinstance(places, list) or len(places) < len(outcomes) or not all(isinstance(one, dict) for one in places):
        raise Refused("slots_missing")
    groups = slot_actions(root)
    slots = []
    for k, (place, outcome, slot) in enumerate(zip(places, outcomes, label.slots, strict=False)):
        order = numbers(outcome["_a"])
        if groups is not None:
            order = [in_slot(int(one), k, groups) for one in order if one >= 0]
        name = str(place.get("_id", outcome.get("_id", "")))
        vector = numbers(outcome["_p"])
        slots.append(
            _slot(slot, order, vector, n_actions, noted=noted, cost=cost, name=name, features=_features(place))
        )
    return slots


def _slot(
    label: SlotLabel,
    order: Sequence[float],
    vector: Sequence[float],
    n_actions: int,
    *,
    noted: Counter[str],
    cost: Cost,
    name: str = "",
    features: Mapping[str, Any] | None = None,
) -> LoggedSlot:
    """Bring what stands chosen first into the caller's order."""
    if label.chosen >= n_actions:
        raise Refused("action_out_of_range")
    eligible: Sequence[int] = sorted(int(one) for one in order if 0 <= one < n_actions and one % 1 == 0)
    probabilities: FloatArray | None = None
    if len(eligible) != len(order) or len(set(eligible)) != len(order) or label.chosen not in eligible:
        eligible = range(n_actions)
    elif len(vector) == len(order) and is_distribution(vector):
        pairs = sorted(zip(order, vector, strict=True))
        probabilities = np.array([probability for _, probability in pairs])
    if probabilities is None:
        if vector:
            noted["probabilities_unusable"] += 1
    elif abs(probabilities[eligible.index(label.chosen)] - label.probability) > _PROPENSITY_SLACK:
        noted["propensity_differs"] += 1
    chosen_cost = label.true_cost if cost == "original" else label.cost
    return LoggedSlot(
        eligible=eligible,
        chosen=label.chosen,
        propensity=label.probability,
        reward=-chosen_cost + 0.0,
        probabilities=probabilities,
        id=name,
        features={} if features is None else features,
    )


def _action(fields: Any) -> LoggedAction:
    if not isinstance(fields, dict):
        raise Refused("actions_missing")
    name = text(fields, "_tag") or None
    if name is None and isinstance(inside := fields.get("i"), dict):
        name = inside.get("id")
    if name is None:
        name = fields.get("__aid")
    return LoggedAction(id=str(name) if isinstance(name, str | int) else None, features=_features(fields))


def _features(fields: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Return what VW makes features of: no key that starts with ``_``, but for `_text`, at any depth."""
    if depth > _DEPTH_LIMIT:
        raise Refused("features_unreadable")
    found: dict[str, Any] = {}
    for key, value in fields.items():
        if key[:1] == "_" and key != "_text":
            continue
        if key == "_text":
            found[key] = text(fields, key)
        elif isinstance(value, dict):
            found[key] = _features(value, depth + 1)
        elif isinstance(value, list):
            found[key] = [_element(one, depth + 1) for one in value]
        else:
            found[key] = value
    return found


def _element(value: Any, depth: int) -> Any:
    """Return an element of a list; VW refuses the line for strings, booleans and lists in lists."""
    if isinstance(value, dict):
        return _features(value, depth)
    if isinstance(value, str | bool | list):
        raise Refused("features_unreadable")
    return value
