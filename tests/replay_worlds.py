"""Logs made in a world whose truth is known, for the tests of replay."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.protocol import FloatArray
from replay.events import LoggedAction, LoggedEvent, LoggedSlot

KINDS = ("morning", "noon", "night")
ACTIONS = ("tea", "coffee", "water", "juice")
# The chance that an action pays, by kind of moment: the best one differs, and none is good everywhere.
PAYS: FloatArray = np.array([[0.2, 0.8, 0.3, 0.4], [0.3, 0.2, 0.7, 0.3], [0.6, 0.1, 0.3, 0.2]])


@dataclass
class ListLog:
    """An event log in memory."""

    made: Sequence[LoggedEvent]
    dropped: Counter[str] = field(default_factory=Counter)

    def events(self) -> Iterator[LoggedEvent]:
        """Yield all of them."""
        return iter(self.made)


def logged_vector(kind: int, *, skew: float) -> FloatArray:
    """Return what the logger draws from: uniform for skew 0, else it prefers one action more and more."""
    vector = np.exp(skew * np.roll(np.arange(len(ACTIONS)), kind))
    result: FloatArray = vector / vector.sum()
    return result


def make_events(
    n: int, *, seed: int, skew: float = 0.0, delay_s: float | None = None, segments: Sequence[str] = ("",)
) -> list[LoggedEvent]:
    """Return n decisions, one a second; rewards known `delay_s` later, or at no stated time."""
    random = np.random.default_rng(seed)
    events = []
    for i in range(n):
        kind = int(random.integers(len(KINDS)))
        vector = logged_vector(kind, skew=skew)
        chosen = int(random.choice(len(ACTIONS), p=vector))
        reward = float(random.random() < PAYS[kind, chosen])
        at = 1_700_000_000.0 + i
        events.append(
            LoggedEvent(
                event_id=f"e{i}",
                context={"kind": KINDS[kind]},
                actions=[LoggedAction(name) for name in ACTIONS],
                slots=[
                    LoggedSlot(
                        eligible=range(len(ACTIONS)),
                        chosen=chosen,
                        propensity=float(vector[chosen]),
                        reward=reward,
                        probabilities=vector,
                    )
                ],
                reward=reward,
                at=at,
                reward_at=at + delay_s if delay_s is not None else float("nan"),
                segment=segments[i % len(segments)],
            )
        )
    return events


def true_value(distribution: FloatArray) -> float:
    """Return what a policy earns that plays a distribution, shape (n_kinds, n_actions) or (n_actions,)."""
    return float((np.broadcast_to(distribution, PAYS.shape) * PAYS).sum(axis=1).mean())


def write_dsjson(events: Sequence[LoggedEvent], path: Path) -> Path:
    """Write decisions of one slot as VW's tools do."""
    with path.open("w", encoding="utf-8") as file:
        for event in events:
            slot = event.slots[0]
            order = [slot.chosen, *(index for index in slot.eligible if index != slot.chosen)]
            vector = slot.probabilities if slot.probabilities is not None else np.full(len(order), 1.0 / len(order))
            line = {
                "_label_cost": -event.reward,
                "_label_probability": slot.propensity,
                "_label_Action": slot.chosen + 1,
                "_labelIndex": slot.chosen,
                "o": [{"v": event.reward, "EventId": event.event_id, "ActionTaken": False}],
                "Timestamp": "2023-11-14T22:13:20.0000000Z",
                "Version": "1",
                "EventId": event.event_id,
                "a": [index + 1 for index in order],
                "c": {
                    "FromUrl": [dict(event.context)],
                    "_multi": [{"_tag": action.id, "i": {"id": action.id}} for action in event.actions],
                },
                "p": [float(vector[index]) for index in order],
                "VWState": {"m": "none"},
                "_original_label_cost": -event.reward,
            }
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    return path


def assert_alike(one: Any, other: Any) -> None:
    """Demand that two plain values are the same but for the last digits, which differ between processes."""
    if isinstance(one, Mapping):
        assert one.keys() == other.keys()
        for key, inner in one.items():
            assert_alike(inner, other[key])
    elif isinstance(one, Sequence) and not isinstance(one, str):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_alike(mine, theirs)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12)
    else:
        assert one == other
