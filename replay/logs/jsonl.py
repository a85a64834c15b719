"""Logs in banditd's own JSON lines, as ``banditd export --format jsonl`` writes them."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from replay.events import LoggedAction, LoggedEvent, LoggedSlot
from replay.logs.casting import distribution
from replay.logs.fields import Refused, propensity
from replay.logs.sources import Paths, find_sources, read_lines

__all__ = ["JsonlLog"]

# What a decision that is not complete says of itself, and so says why it is left out.
_STATES = frozenset({"window_open", "not_activated", "trimmed"})


@dataclass(slots=True)
class JsonlLog:
    """A log with one JSON object a decision.

    Parameters
    ----------
    paths
        Files, folders, patterns, or ``"-"``; packed with gzip, zstd, or not at all.

    Attributes
    ----------
    dropped
        Lines of the last reading that were left out, by the reasons in docs/logs.md.
    noted
        What is odd about events that were used all the same: ``"late_reward"`` and ``"duplicate_reward"`` (rewards
        that changed nothing), ``"default_reward"`` (slots that no reward came for), ``"probabilities_unusable"``.
    """

    paths: Paths
    dropped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.paths = find_sources(self.paths)  # once: standard input remembers that it was read

    def events(self) -> Iterator[LoggedEvent]:
        """Yield the decisions that can be used; start counting `dropped` and `noted` anew."""
        self.dropped.clear()
        self.noted.clear()
        for line in read_lines(self.paths, dropped=self.dropped):
            try:
                event = _event(_decode(line), self.noted)
            except Refused as refused:
                self.dropped[refused.reason] += 1
            else:
                yield event


def _decode(line: bytes) -> Mapping[str, Any]:
    try:
        decision = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Refused("parse_error") from error
    if not isinstance(decision, dict):
        raise Refused("not_an_object")
    return decision


def _event(decision: Mapping[str, Any], noted: Counter[str]) -> LoggedEvent:
    state = decision.get("state")
    if isinstance(state, str) and state in _STATES:
        raise Refused(state)
    if decision.get("activated") is False:
        raise Refused("not_activated")
    context, slots, actions = decision.get("context", {}), decision.get("slots"), decision.get("actions")
    if not isinstance(context, dict):
        raise Refused("field_invalid")
    if not isinstance(slots, list) or not slots:
        raise Refused("no_action")
    logged_actions = _actions(actions)
    event = LoggedEvent(
        event_id=_text(decision, "event_id"),
        context=context,
        actions=logged_actions,
        slots=[_slot(one, len(logged_actions), noted) for one in slots],
        reward=_reward(decision),
        at=_time(decision, "at"),
        reward_at=_time(decision, "reward_at", *slots),
        segment=_text(decision, "segment"),
    )
    counts = {"late_reward": decision.get("late_rewards"), "duplicate_reward": decision.get("duplicate_rewards")}
    counts["default_reward"] = sum(one.get("default_reward") is True for one in slots)
    noted.update({name: count for name, count in counts.items() if type(count) is int and count > 0})
    return event


def _actions(given: Any) -> list[LoggedAction]:
    if not isinstance(given, list) or not given:
        raise Refused("actions_missing")
    found = []
    for one in given:
        name, features = (one.get("id"), one.get("features") or {}) if isinstance(one, dict) else (None, None)
        if not isinstance(features, dict) or not (name is None or isinstance(name, str)):
            raise Refused("field_invalid")
        found.append(LoggedAction(id=name, features=features))
    return found


def _slot(given: Any, n_actions: int, noted: Counter[str]) -> LoggedSlot:
    if not isinstance(given, dict):
        raise Refused("field_invalid")
    eligible, features = given.get("eligible"), given.get("features") or {}
    chosen: Any = given.get("chosen")
    if eligible is None:
        eligible = list(range(n_actions))
    if not isinstance(eligible, list) or not isinstance(features, dict):
        raise Refused("field_invalid")
    if not all(type(one) is int and 0 <= one < n_actions for one in (*eligible, chosen)) or chosen not in eligible:
        raise Refused("action_out_of_range")
    if type(given.get("propensity")) not in (int, float):
        raise Refused("propensity_out_of_range")
    vector = distribution(given.get("probabilities"))
    if vector is None or len(vector) != len(eligible):
        if given.get("probabilities"):
            noted["probabilities_unusable"] += 1
        vector = None
    return LoggedSlot(
        eligible=eligible,
        chosen=chosen,
        propensity=propensity(given["propensity"]),
        reward=_reward(given),
        probabilities=vector,
        id=_text(given, "id"),
        features=features,
    )


def _reward(given: Mapping[str, Any]) -> float:
    reward = given.get("reward")
    if reward is None:
        raise Refused("reward_missing")
    if type(reward) not in (int, float):
        raise Refused("field_invalid")
    return float(reward)  # JSON has no number that is not finite


def _time(given: Mapping[str, Any], name: str, *parts: Mapping[str, Any]) -> float:
    """Return a time; of the whole where it is said, else the last of its parts'."""
    times = [one[name] for one in ((given,) if given.get(name) is not None else parts) if one.get(name) is not None]
    if not all(type(one) in (int, float) for one in times):
        raise Refused("field_invalid")
    return float(max(times, default=math.nan))


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused("field_invalid")
    return value
