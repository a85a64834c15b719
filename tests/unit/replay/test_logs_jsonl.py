"""banditd's own JSON lines: what is read from them, and what is left out."""

import math
from pathlib import Path
from typing import Any

import orjson
import pytest

from replay.logs import JsonlLog

SLOT = {
    "id": "",
    "features": {},
    "eligible": [0, 2],
    "probabilities": [0.25, 0.75],
    "chosen": 2,
    "propensity": 0.75,
    "reward": 1.5,
    "reward_at": 20.0,
    "default_reward": False,
}
ACTIONS = [{"id": "a", "features": {"f": 1}}, {"id": "b"}, {"id": None, "features": None}]


def line_of(**changes: Any) -> bytes:
    """Return a decision that can be used, but for the changes."""
    decision: dict[str, Any] = {
        "event_id": "e1",
        "at": 10.0,
        "segment": "home",
        "context": {"user": {"age": 3}},
        "actions": ACTIONS,
        "slots": [SLOT],
        "reward": 1.5,
        "reward_at": 20.0,
        "state": "complete",
        "activated": True,
        "late_rewards": 2,
        "duplicate_rewards": 0,
        "not_known": [1],
    }
    return orjson.dumps(decision | changes)


def read(path: Path, *lines: bytes) -> tuple[JsonlLog, list[Any]]:
    """Return a log of these lines and its events."""
    (path / "log.jsonl").write_bytes(b"\n".join(lines))
    log = JsonlLog(path / "log.jsonl")
    return log, list(log.events())


def test_a_decision_is_read_with_all_that_it_says(tmp_path: Path) -> None:
    """Unknown keys are left alone; rewards that changed nothing are noted."""
    log, (event,) = read(tmp_path, line_of())

    assert (event.event_id, event.segment, event.at, event.reward_at) == ("e1", "home", 10.0, 20.0)
    assert event.context == {"user": {"age": 3}}
    assert [(one.id, one.features) for one in event.actions] == [("a", {"f": 1}), ("b", {}), (None, {})]
    (slot,) = event.slots
    assert (list(slot.eligible), slot.chosen, slot.propensity, slot.reward) == ([0, 2], 2, 0.75, 1.5)
    assert slot.probabilities.tolist() == [0.25, 0.75]
    assert event.reward == 1.5
    assert log.noted == {"late_reward": 2}
    assert not log.dropped


def test_several_slots_keep_their_names_features_and_rewards(tmp_path: Path) -> None:
    """The time is the last of theirs where the whole does not say one."""
    side = SLOT | {"id": "side", "features": {"w": 1}, "reward": 0, "reward_at": 30, "default_reward": True}

    log, (event,) = read(tmp_path, line_of(slots=[SLOT | {"id": "top"}, side], reward_at=None, late_rewards=0))

    assert [(one.id, one.reward) for one in event.slots] == [("top", 1.5), ("side", 0.0)]
    assert event.slots[1].features == {"w": 1}
    assert event.reward_at == 30.0
    assert log.noted == {"default_reward": 1}


def test_what_a_decision_need_not_say_has_a_default(tmp_path: Path) -> None:
    """All actions are eligible, times are not known, ids are empty."""
    slot = {"chosen": 1, "propensity": 1.0000001, "reward": 1}

    _, (event,) = read(tmp_path, orjson.dumps({"actions": ACTIONS, "slots": [slot], "reward": 1}))

    assert (list(event.slots[0].eligible), event.slots[0].propensity) == ([0, 1, 2], 1.0)
    assert event.slots[0].probabilities is None
    assert (event.event_id, event.segment) == ("", "")
    assert math.isnan(event.at)
    assert math.isnan(event.reward_at)


@pytest.mark.parametrize("vector", [[0.5, 0.25], [1.0], ["x", 1], "x"])
def test_a_vector_that_is_no_distribution_is_put_aside(vector: Any, tmp_path: Path) -> None:
    """The event is used with its propensity alone, and counted."""
    log, (event,) = read(tmp_path, line_of(slots=[SLOT | {"probabilities": vector}], late_rewards=0))

    assert event.slots[0].probabilities is None
    assert log.noted == {"probabilities_unusable": 1}


DROPPED = {
    "not JSON": (b"{", "parse_error"),
    "no object": (b"[1]", "not_an_object"),
    "open window": (line_of(state="window_open", reward=None), "window_open"),
    "not activated by its state": (line_of(state="not_activated"), "not_activated"),
    "not activated": (line_of(activated=False), "not_activated"),
    "erased": (line_of(state="trimmed"), "trimmed"),
    "no slots": (line_of(slots=[]), "no_action"),
    "no actions": (line_of(actions=[]), "actions_missing"),
    "an action that is no object": (line_of(actions=[1, 2, 3]), "field_invalid"),
    "an action with a number for an id": (line_of(actions=[{"id": 1}]), "field_invalid"),
    "a context that is no object": (line_of(context=[]), "field_invalid"),
    "a slot that is no object": (line_of(slots=[1]), "field_invalid"),
    "a slot with a wrong list": (line_of(slots=[SLOT | {"eligible": "all"}]), "field_invalid"),
    "an eligible action that is not there": (line_of(slots=[SLOT | {"eligible": [0, 3]}]), "action_out_of_range"),
    "a chosen action that was not eligible": (line_of(slots=[SLOT | {"chosen": 1}]), "action_out_of_range"),
    "no chosen action": (line_of(slots=[SLOT | {"chosen": None}]), "action_out_of_range"),
    "no propensity": (line_of(slots=[SLOT | {"propensity": None}]), "propensity_out_of_range"),
    "propensity 0": (line_of(slots=[SLOT | {"propensity": 0}]), "propensity_out_of_range"),
    "no reward of a slot": (line_of(slots=[SLOT | {"reward": None}]), "reward_missing"),
    "no reward": (line_of(reward=None), "reward_missing"),
    "text as reward": (line_of(reward="1"), "field_invalid"),
    "text as time": (line_of(at="now"), "field_invalid"),
    "number as id": (line_of(event_id=1), "field_invalid"),
}


@pytest.mark.parametrize(("line", "reason"), DROPPED.values(), ids=DROPPED)
def test_a_line_that_cannot_be_used_is_counted_with_its_reason(line: bytes, reason: str, tmp_path: Path) -> None:
    """It is left out, and the lines around it are not."""
    log, events = read(tmp_path, line_of(), line, line_of())

    assert len(events) == 2
    assert log.dropped == {reason: 1}
