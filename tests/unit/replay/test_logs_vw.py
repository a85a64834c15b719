"""dsjson beside VW: what VW counts in a log is what the reader counts."""

import json
import math
from pathlib import Path
from typing import Any

import orjson
import pytest
from vowpalwabbit import Workspace

from replay.logs import DsjsonLog, Label, label_of
from replay.logs.rules import decode, read_label

SHARED = Path(__file__).parents[4] / "shared" / "data" / "vw_tests"
# What VW counts as an error in a line; the reader says which one.
VW_ERRORS = (
    "parse_error",
    "field_invalid",
    "features_unreadable",
    "action_out_of_range",
    "drop_probability_out_of_range",
    "actions_missing",
)


def manifest() -> list[Any]:
    """Return the reference of every dsjson file, or one row that is skipped where the folder is not there."""
    if not SHARED.exists():
        return [pytest.param("", {}, marks=pytest.mark.skip(reason="the reference logs are not here"), id="no files")]
    files = json.loads((SHARED / "manifest.json").read_text())["files"]
    return [pytest.param(name, row, id=name) for name, row in files.items() if "--dsjson" in row.get("vw_args", "")]


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


@pytest.mark.parametrize(("name", "reference"), manifest())
def test_counts_and_sums_of_a_reference_log_are_vws(name: str, reference: dict[str, Any]) -> None:
    """Lines, events to learn from, skipped, broken and empty ones, ids and the sum of costs equal what VW counts."""
    log = DsjsonLog(SHARED / name)

    labels = [label_of(line) for line in log.lines()]
    events = list(log.events())

    parsed = [label for label in labels if label.reason not in VW_ERRORS]
    ids = [label.event_id for label in parsed if label.event_id]
    dropped = log.dropped
    assert len(labels) == reference["lines"]
    assert len(labels) == len(events) + dropped.total()
    assert sum(event.learn for event in events) + dropped["igl"] == reference["learn_calls"]
    weight = sum(event.multiplicity for event in events if event.learn) + dropped["igl"]
    assert weight == pytest.approx(reference["weighted_examples"], rel=1e-6)
    assert sum(not event.learn for event in events) + dropped["skip_learn"] == reference["number_skipped_events"]
    assert sum(dropped[reason] for reason in VW_ERRORS) == reference["line_parse_error"]
    assert dropped["no_action"] + dropped["dangling_reward"] == reference["number_events_zero_actions"]
    assert (ids[0] if ids else "") == reference["first_event_id"]
    assert (ids[-1] if len(ids) > 1 else "") == reference["last_event_id"]
    total = math.fsum(label.original_cost_sum for label in parsed)
    assert total == pytest.approx(reference["dsjson_sum_cost_original"], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("name", "reference"), manifest())
def test_the_short_way_to_a_label_agrees_with_decoding(name: str, reference: dict[str, Any]) -> None:
    """On every line of the reference logs `label_of` says what the whole line says."""
    for line in DsjsonLog(SHARED / name).lines():
        decoded = decode(line)

        whole = Label(decoded) if isinstance(decoded, str) else read_label(decoded)

        assert repr(label_of(line)) == repr(whole), reference["bytes"]  # by repr, since NaN is not NaN


VW_LINES = {
    "plain": line_of(),
    "thinned out": line_of(pdrop=0.5),
    "nothing but thinned out": line_of(pdrop=1),
    "skipped": line_of(_skipLearn=True),
    "flag that is a number": line_of(_skipLearn=1),
    "index out of range": line_of(_labelIndex=7),
    "text as cost": line_of(_label_cost="x"),
    "boolean as cost": line_of(_label_cost=True),
    "other letters": line_of(_label_cost=None, _label_COST=-1.0),
    "unknown label": line_of(_label_foo=1),
    "list of strings": line_of(c={"s": ["a"], "_multi": [{}, {}, {}]}),
    "list of booleans": line_of(c={"s": [True], "_multi": [{}, {}, {}]}),
    "list of lists": line_of(c={"s": [[1]], "_multi": [{}, {}, {}]}),
    "string among numbers": line_of(c={"s": [1, "b", 2], "_multi": [{}, {}, {}]}),
    "objects and numbers": line_of(c={"s": [{"a": 1}, 2], "_multi": [{"f": 1}, {"f": 2}, {}]}),
    "list of strings that is dropped": line_of(c={"_s": ["a"], "_multi": [{"f": 1}, {"f": 2}, {}]}),
    "no list of actions": line_of(a=None),
    "empty list of actions": line_of(a=[]),
    "text in the list of actions": line_of(a=["x"]),
    "NaN among probabilities": line_of(p=["NaN", 0.5, 0.5]),
    "text among probabilities": line_of(p=["x", 0.5, 0.5]),
    "number as id": line_of(EventId=5),
    "number as tag": line_of(c={"_multi": [{"_tag": 1}, {}, {}]}),
    "number as text": line_of(c={"_text": 1, "_multi": [{}, {}, {}]}),
    "NaN as original cost": line_of(_original_label_cost="NaN"),
    "garbage behind": line_of() + b"xx",
    "blank before": b" " + line_of(),
    "cut off": line_of()[:-20],
    "no JSON number": line_of().replace(b"-2.0", b"NaN"),
    "half a surrogate": line_of().replace(b"e1", b"\\ud800"),
    "no UTF-8": line_of().replace(b"age", b"\xff"),
    "a reward alone": b'{"RewardValue":1.0,"EventId":"x"}',
}


@pytest.mark.parametrize("line", VW_LINES.values(), ids=VW_LINES)
def test_an_odd_line_is_taken_as_vw_takes_it(line: bytes, tmp_path: Path) -> None:
    """Learned, skipped, without an action, or an error: VW's own command line and the reader say the same."""
    path, metrics = tmp_path / "log.json", tmp_path / "metrics.json"
    path.write_bytes(line + b"\n")
    Workspace(f"--dsjson --cb_explore_adf -d {path} --extra_metrics {metrics} --quiet").finish()
    vw = json.loads(metrics.read_text())
    log = DsjsonLog(path)

    events = list(log.events())

    assert sum(event.learn for event in events) == vw["extra_metrics"]["total_learn_calls"]
    assert sum(not event.learn for event in events) == vw["number_skipped_events"]
    assert sum(log.dropped[reason] for reason in VW_ERRORS) == vw["line_parse_error"]
    assert log.dropped["no_action"] + log.dropped["dangling_reward"] == vw["number_events_zero_actions"]
