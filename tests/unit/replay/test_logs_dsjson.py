"""dsjson: every rule that decides what a line says."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from replay.events import LoggedEvent
from replay.logs import DsjsonLog, label_of
from replay.logs.dsjson import event_of
from replay.logs.rules import decode, read_label


def line_of(**changes: Any) -> bytes:
    """Return a contextual bandit line of three actions, of which the second was chosen; None takes a key out."""
    line: dict[str, Any] = {
        "_label_cost": -2.0,
        "_label_probability": 0.5,
        "_label_Action": 2,
        "_labelIndex": 1,
        "Timestamp": "2026-01-02T00:00:00.5000000Z",
        "Version": "1",
        "EventId": "e1",
        "a": [2, 3, 1],
        "c": {"user": {"age": 3}, "_multi": [{"x": {"f": 1}}, {"x": {"f": 2}}, {"x": {"f": 3}}]},
        "p": [0.5, 0.3, 0.2],
    }
    line.update(changes)
    return orjson.dumps({key: value for key, value in line.items() if value is not None})


def ccb_line(**changes: Any) -> bytes:
    """Return a line of two places that three actions may fill."""
    outcomes = [
        {"_label_cost": -1.0, "_id": "top", "_a": [2, 0, 1], "_p": [0.5, 0.3, 0.2]},
        {"_label_cost": -0.25, "_id": "side", "_a": [1, 0], "_p": [0.6, 0.4]},
    ]
    context = {"user": {"age": 3}, "_multi": [{"x": 1}, {"x": 2}, {"x": 3}], "_slots": [{"size": 1}, {"_id": "left"}]}
    return orjson.dumps({"EventId": "e2", "c": context, "_outcomes": outcomes, **changes})


def read(line: bytes, noted: Counter[str] | None = None, **options: Any) -> LoggedEvent:
    """Return the event of a line that can be used."""
    event = event_of(line, noted=Counter() if noted is None else noted, **options)
    assert isinstance(event, LoggedEvent), event
    return event


def test_the_sum_of_rewards_is_minus_the_sum_of_original_costs() -> None:
    """In apprentice mode the reward is the true one, and with ``cost="label"`` the one that VW learns from."""
    line = line_of(_label_cost=-1.0, _original_label_cost=-5.0)

    assert read(line).reward == 5.0
    assert read(line, cost="label").reward == 1.0
    assert label_of(line).cost == -1.0
    assert label_of(line).true_cost == -5.0


def test_a_line_is_brought_into_the_callers_order() -> None:
    """`a` and `p` stand chosen first; the event has both by the index of the action."""
    event = read(line_of())

    (slot,) = event.slots
    assert slot.chosen == 1
    assert list(slot.eligible) == [0, 1, 2]
    assert slot.probabilities is not None
    assert slot.probabilities.tolist() == [0.2, 0.5, 0.3]
    assert slot.propensity == 0.5
    assert (event.event_id, event.reward, event.at) == ("e1", 2.0, 1767312000.5)
    assert event.context == {"user": {"age": 3}}
    assert event.line == line_of()


def test_some_actions_alone_may_be_eligible() -> None:
    """An action that `a` does not list could not have been chosen."""
    slot = read(line_of(a=[2, 3], p=[0.5, 0.5])).slots[0]

    assert list(slot.eligible) == [1, 2]
    assert slot.probabilities is not None
    assert slot.probabilities.tolist() == [0.5, 0.5]


def test_a_list_that_counts_from_zero_is_understood() -> None:
    """Some writers fill `a` from 0, which its containing a 0 gives away."""
    slot = read(line_of(a=[1, 2, 0])).slots[0]

    assert slot.probabilities is not None
    assert slot.probabilities.tolist() == [0.2, 0.5, 0.3]


def test_of_two_vectors_the_last_is_taken() -> None:
    """`p` and `_p` mean the same, and VW lets the later one win."""
    line = line_of()[:-1] + b',"_p":[0.4,0.4,0.2]}'
    noted: Counter[str] = Counter()

    slot = read(line, noted).slots[0]

    assert slot.probabilities is not None
    assert slot.probabilities.tolist() == [0.2, 0.4, 0.4]
    assert noted == {"propensity_differs": 1}


@pytest.mark.parametrize("order", [[2, 2, 1], [2, 3, 9], [3, 1]], ids=["twice", "not there", "without the chosen"])
def test_a_list_of_actions_that_makes_no_sense_is_put_aside(order: list[int]) -> None:
    """The label says what was chosen, and all actions count as eligible, as VW takes it."""
    noted: Counter[str] = Counter()

    slot = read(line_of(a=order), noted).slots[0]

    assert (slot.chosen, list(slot.eligible), slot.probabilities) == (1, [0, 1, 2], None)
    assert noted == {"probabilities_unusable": 1}


@pytest.mark.parametrize("vector", [[0.5, 0.3, 0.1], [0.5, 0.5], [-0.5, 1.0, 0.5], ["NaN", 0.5, 0.5], []])
def test_a_vector_that_is_no_distribution_is_put_aside(vector: list[Any]) -> None:
    """The event is used with its propensity alone, and counted."""
    noted: Counter[str] = Counter()

    slot = read(line_of(p=vector), noted).slots[0]

    assert slot.probabilities is None
    assert slot.propensity == 0.5
    assert noted == ({"probabilities_unusable": 1} if vector else {})


def test_names_of_labels_may_be_in_any_letters() -> None:
    """Behind ``_label_`` case does not matter, and ``_label`` may hold an object."""
    shouted = line_of(_label_cost=None, _label_COST=-3, _labelIndex=None, _labelINDEX=2, a=[3, 2, 1])
    nested = line_of(_label_cost=None, _label={"Cost": -3})

    assert read(shouted).reward == 3.0
    assert read(shouted).slots[0].chosen == 2
    assert read(nested).reward == 3.0


def test_what_is_missing_of_a_label_is_taken_from_the_rest() -> None:
    """Without an index the action's number counts, without that the first of `a`; without a probability `p`."""
    by_number = line_of(_labelIndex=None)
    by_order = line_of(_labelIndex=None, _label_Action=None, _label_probability=None)

    assert read(by_number).slots[0].chosen == 1
    assert read(by_order).slots[0].chosen == 1
    assert read(by_order).slots[0].propensity == 0.5


def test_an_action_is_called_by_its_tag_or_by_personalizers_id() -> None:
    """`_tag` comes first, then `i.id`, then `__aid`; else it has no name. None of them is a feature."""
    actions = [{"_tag": "a", "i": {"id": "b"}}, {"i": {"id": "c"}}, {"__aid": 7}]

    event = read(line_of(c={"_multi": [*actions, {}]}, a=[2, 1, 3, 4], p=[0.5, 0.3, 0.1, 0.1]))

    assert [one.id for one in event.actions] == ["a", "c", "7", None]
    assert event.actions[0].features == {"i": {"id": "b"}}
    assert event.actions[2].features == {}


def test_keys_that_begin_with_an_underscore_are_no_features() -> None:
    """VW drops them at any depth, lists of strings among them, and keeps ``_text``."""
    context = {"_x": 1, "u": {"_y": ["s"], "z": [1, {"_w": 1, "v": None}]}, "_text": "a b", "_multi": [{}, {}, {}]}

    event = read(line_of(c=context))

    assert event.context == {"u": {"z": [1, {"v": None}]}, "_text": "a b"}


def test_a_thinned_out_log_says_how_many_events_each_stands_for() -> None:
    """A share of 0.75 left out makes an event stand for four."""
    event = read(line_of(pdrop=0.75))

    assert event.drop_probability == 0.75
    assert event.multiplicity == 4.0


def test_an_event_that_no_policy_learns_from_is_still_an_event() -> None:
    """``_skipLearn`` is handed on, and null is no."""
    assert read(line_of(_skipLearn=True)).learn is False
    assert read(line_of()[:-1] + b',"_skipLearn":null}').learn is True


def test_a_line_of_several_places_has_a_reward_for_each_and_for_all() -> None:
    """Of CCB, the reward of the decision is the sum over its slots."""
    event = read(ccb_line())

    top, side = event.slots
    assert (top.id, top.chosen, top.propensity, top.reward) == ("top", 2, 0.5, 1.0)
    assert (side.id, side.chosen, side.propensity, side.reward) == ("left", 1, 0.6, 0.25)
    assert top.features == {"size": 1}
    assert list(side.eligible) == [0, 1]
    assert side.probabilities is not None
    assert side.probabilities.tolist() == [0.4, 0.6]
    assert event.reward == 1.25


def test_original_costs_of_places_are_the_true_ones() -> None:
    """A slot without one counts with its cost."""
    outcomes = [{"_label_cost": -1.0, "_a": [0], "_p": [1.0], "_original_label_cost": -3.0}]
    outcomes.append({"_label_cost": -0.5, "_a": [1], "_p": [1.0]})

    event = read(ccb_line(_outcomes=outcomes))

    assert [slot.reward for slot in event.slots] == [3.0, 0.5]
    assert event.reward == 3.5
    assert read(ccb_line(_outcomes=outcomes), cost="label").reward == 1.5


def test_a_slates_line_has_one_reward_and_actions_of_its_own_for_each_place() -> None:
    """Its `_a` count within the place; the event's indices are over all actions."""
    actions = [{"_slot_id": 1, "f": 1}, {"_slot_id": 0, "f": 2}, {"_slot_id": 1, "f": 3}]
    outcomes = [{"_a": [0], "_p": [1.0]}, {"_a": [1, 0], "_p": [0.7, 0.3]}]
    line = ccb_line(c={"_multi": actions, "_slots": [{}, {}]}, _outcomes=outcomes, _label_cost=-2.0)

    event = read(line)

    first, second = event.slots
    assert (first.chosen, list(first.eligible)) == (1, [1])
    assert (second.chosen, list(second.eligible)) == (2, [0, 2])
    assert second.probabilities is not None
    assert second.probabilities.tolist() == [0.3, 0.7]
    assert math.isnan(first.reward)
    assert event.reward == 2.0
    assert event.actions[0].features == {"f": 1}


DEEP = orjson.loads(b'{"a":' * 70 + b"1" + b"}" * 70)
DROPPED = {
    "not JSON": (b'{"a":', "parse_error"),
    "another line": (b"[CHECKPOINT]", "not_an_object"),
    "blank before": (b" " + line_of(), "not_an_object"),
    "reward without a decision": (b'{"RewardValue":1.0,"EventId":"x"}', "dangling_reward"),
    "no action chosen": (line_of(a=[]), "no_action"),
    "no outcomes": (ccb_line(_outcomes=[]), "no_action"),
    "an outcome without action": (ccb_line(_outcomes=[{"_label_cost": 1}]), "no_action"),
    "no cost": (line_of(_label_cost=None), "no_label"),
    "no cost of a place": (ccb_line(_outcomes=[{"_a": [0], "_p": [1]}]), "no_label"),
    "no probability at all": (line_of(_label_probability=None, p=None), "no_label"),
    "skipped and of no use": (line_of(_skipLearn=True, _label_cost=None), "skip_learn"),
    "text for a cost": (line_of(_label_cost="x"), "field_invalid"),
    "an unknown label": (line_of(_label_foo=1), "field_invalid"),
    "no text for an id": (line_of(EventId=7), "field_invalid"),
    "no boolean for a flag": (line_of(_skipLearn=1), "field_invalid"),
    "no number for an index": (line_of(_labelIndex="1"), "field_invalid"),
    "half an index": (line_of(_labelIndex=0.5), "field_invalid"),
    "NaN for an original cost": (line_of(_original_label_cost="NaN"), "field_invalid"),
    "outcomes that are no list": (ccb_line(_outcomes=3), "field_invalid"),
    "a place of an action that is no number": (
        ccb_line(c={"_multi": [{"_slot_id": "x"}], "_slots": [{}]}),
        "field_invalid",
    ),
    "fewer places than outcomes": (ccb_line(c={"_multi": [{}, {}, {}], "_slots": [{}]}), "slots_missing"),
    "an action that is not there": (line_of(_labelIndex=3), "action_out_of_range"),
    "an action of a place that is not there": (
        ccb_line(_outcomes=[{"_label_cost": 1, "_a": [9], "_p": [1]}]),
        "action_out_of_range",
    ),
    "a slate's action that is not there": (
        ccb_line(c={"_multi": [{"_slot_id": 0}], "_slots": [{}]}, _label_cost=1, _outcomes=[{"_a": [1], "_p": [1]}]),
        "action_out_of_range",
    ),
    "no context": (line_of(c=None), "actions_missing"),
    "an action that is no object": (line_of(c={"_multi": [1, 2, 3]}), "actions_missing"),
    "a list of strings": (line_of(c={"s": ["x"], "_multi": [{}, {}, {}]}), "features_unreadable"),
    "too deep": (
        line_of(c={"s": orjson.loads(b'{"a":' * 70 + b"1" + b"}" * 70), "_multi": [{}, {}, {}]}),
        "features_unreadable",
    ),
    "probability 0": (line_of(_label_probability=0), "propensity_out_of_range"),
    "probability above 1": (line_of(_label_probability=1.5), "propensity_out_of_range"),
    "cost NaN": (line_of(_label_cost="NaN"), "reward_not_finite"),
    "all left out": (line_of(pdrop=1), "drop_probability_out_of_range"),
    "more than all left out": (line_of(pdrop=2), "drop_probability_out_of_range"),
    "continuous": (b'{"_label_ca":{"action":1.5,"cost":1,"pdf_value":0.1},"c":{"f":1}}', "continuous_action"),
    "feedback that is no reward": (line_of(o=[{"v": {"click": 1}, "_definitely_bad": False}]), "igl"),
}


@pytest.mark.parametrize(("line", "reason"), DROPPED.values(), ids=DROPPED)
def test_a_line_that_cannot_be_used_is_counted_with_its_reason(line: bytes, reason: str, tmp_path: Path) -> None:
    """It is left out, and the lines around it are not."""
    path = tmp_path / "log.json"
    path.write_bytes(b"\n".join([line_of(), line, line_of()]) + b"\n")
    log = DsjsonLog(path)

    events = list(log.events())

    assert len(events) == 2
    assert log.dropped == {reason: 1}


def test_bytes_that_are_no_utf8_do_not_break_a_line() -> None:
    """VW reads over them, and so do we."""
    event = read(line_of().replace(b'"age"', b'"\xff"'))

    assert event.context == {"user": {"\ufffd": 3}}


UNUSUAL = {
    "flag behind the context": line_of().replace(b',"p":', b',"_skipLearn":true,"z":{},"p":'),
    "share behind the context": line_of().replace(b',"p":', b',"pdrop":0.5,"z":{},"p":'),
    "label behind the context": line_of(_label_cost=None).replace(b',"p":', b',"_label_cost":-7,"p":'),
    "c in another place before": line_of(o=[{"x": 1, "c": {"d": 1}}]),
    "p within the context": line_of(c={"z": {"w": {"v": 1}, "p": [0.9]}, "_multi": [{"f": 1}] * 3}),
    "p in another place behind": line_of(z={"w": {"v": 1}, "p": [0.9]}),
    "list of actions behind the context": line_of(a=None)[:-1] + b',"a":[2,3,1]}',
    "list of actions between": line_of(a=None).replace(b',"p":', b',"a":[2,3,1],"p":'),
    "a quoted end of a context": line_of(c={"z": '},"p":[', "_multi": [{"f": 1}] * 3}),
    "blanks": line_of().replace(b",", b", "),
}


@pytest.mark.parametrize("line", UNUSUAL.values(), ids=UNUSUAL)
def test_the_short_way_to_a_label_sees_what_stands_elsewhere(line: bytes) -> None:
    """However a line is laid out, its label is that of the decoded line."""
    decoded = decode(line)
    assert not isinstance(decoded, str)

    label = label_of(line)

    assert repr(label) == repr(read_label(decoded))
    assert not label.reason
    assert (label.chosen, label.probability) == (1, 0.5)
