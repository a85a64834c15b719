"""Whatever bytes a log holds, reading it never raises, and what it yields can be used."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from replay.events import LoggedEvent
from replay.logs import Columns, DsjsonLog, JsonlLog, TableLog, label_of
from replay.logs.dsjson import event_of
from replay.logs.sources import read_lines

_scalars = (
    st.none() | st.booleans() | st.integers(-3, 5) | st.floats(allow_nan=False) | st.sampled_from(["NaN", "x", ""])
)
_json = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
)
_probabilities = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), max_size=4)
_indices = st.lists(st.integers(-1, 4), max_size=4)


def _or_odd(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what belongs there, now and then anything."""
    return strategy | strategy | strategy | _json


_actions = st.lists(
    _or_odd(st.fixed_dictionaries({}, optional={"_tag": _json, "_slot_id": _json, "f": _json})), max_size=4
)
_context = st.fixed_dictionaries({}, optional={"_multi": _or_odd(_actions), "_slots": _or_odd(_actions), "user": _json})
_outcome = st.fixed_dictionaries(
    {},
    optional={
        "_label_cost": _or_odd(st.floats(-2, 2)),
        "_a": _or_odd(_indices),
        "_p": _or_odd(_probabilities),
        "_id": _json,
        "_original_label_cost": _or_odd(st.floats(-2, 2)),
    },
)
_dsjson = st.fixed_dictionaries(
    {"c": _or_odd(_context)},
    optional={
        "_label_cost": _or_odd(st.floats(-2, 2)),
        "_label_probability": _or_odd(st.sampled_from([0.25, 0.5, 1.0])),
        "_label_Action": _or_odd(st.integers(1, 3)),
        "_labelIndex": _or_odd(st.integers(0, 2)),
        "a": _or_odd(_indices),
        "p": _or_odd(_probabilities),
        "_outcomes": _or_odd(st.lists(_or_odd(_outcome), max_size=3)),
        "pdrop": _or_odd(st.sampled_from([0.0, 0.5])),
        "_skipLearn": _or_odd(st.booleans()),
        "EventId": _or_odd(st.text(max_size=4)),
        "Timestamp": _or_odd(st.sampled_from(["2026-01-01T00:00:00Z", "x"])),
        "_original_label_cost": _or_odd(st.floats(-2, 2)),
        "o": _json,
    },
)
_slot = st.fixed_dictionaries(
    {},
    optional={
        "eligible": _or_odd(_indices),
        "chosen": _or_odd(st.integers(0, 2)),
        "propensity": _or_odd(st.sampled_from([0.5, 1.0])),
        "probabilities": _or_odd(_probabilities),
        "reward": _or_odd(st.floats(-2, 2)),
        "features": _json,
    },
)
_jsonl = st.fixed_dictionaries(
    {"slots": _or_odd(st.lists(_or_odd(_slot), max_size=3))},
    optional={
        "actions": _or_odd(st.lists(_or_odd(st.just({"id": "a"})), max_size=4)),
        "context": _json,
        "reward": _or_odd(st.floats(-2, 2)),
        "at": _json,
        "state": _json,
        "late_rewards": _json,
    },
)
_lines = st.binary(max_size=40) | _json.map(orjson.dumps)


def _check(event: LoggedEvent) -> None:
    assert event.slots
    assert math.isfinite(event.reward)
    assert event.multiplicity >= 1
    for slot in event.slots:
        assert 0 < slot.propensity <= 1
        assert math.isfinite(slot.reward) or math.isnan(slot.reward)
        assert slot.chosen in slot.eligible
        assert len(set(slot.eligible)) == len(slot.eligible)
        assert all(0 <= one < len(event.actions) for one in slot.eligible)
        if slot.probabilities is not None:
            assert len(slot.probabilities) == len(slot.eligible)
            assert (slot.probabilities >= 0).all()
            assert abs(slot.probabilities.sum() - 1) <= 2e-5


def _check_log(log: DsjsonLog | JsonlLog, lines: Sequence[bytes], path: Path) -> None:
    path.write_bytes(b"\n".join([b"{}", *lines]))  # the first bytes say whether a file is packed
    events = list(log.events())
    for event in events:
        _check(event)
    assert len(events) + log.dropped.total() == sum(1 for _ in read_lines(path))


@given(lines=st.lists(_lines | _dsjson.map(orjson.dumps), max_size=6))
def test_a_dsjson_log_of_anything_is_read_to_its_end(lines: list[bytes], tmp_path_factory: Any) -> None:
    """Every line is an event that can be used, or is counted."""
    path = tmp_path_factory.mktemp("log") / "log"

    _check_log(DsjsonLog(path), lines, path)


@given(lines=st.lists(_lines | _jsonl.map(orjson.dumps), max_size=6))
def test_a_log_of_banditds_own_of_anything_is_read_to_its_end(lines: list[bytes], tmp_path_factory: Any) -> None:
    """Every line is an event that can be used, or is counted."""
    path = tmp_path_factory.mktemp("log") / "log"

    _check_log(JsonlLog(path), lines, path)


@given(line=_dsjson)
def test_the_short_way_to_a_label_never_contradicts_the_event(line: dict[str, Any]) -> None:
    """`label_of` raises for nothing, and says of an event what the event says."""
    raw = orjson.dumps(line)
    event = event_of(raw, noted=Counter())

    label = label_of(raw)

    if isinstance(event, LoggedEvent):
        assert not label.reason
        assert [slot.chosen for slot in event.slots] == [slot.chosen for slot in label.slots]
        assert [slot.propensity for slot in event.slots] == [slot.probability for slot in label.slots]
        assert event.reward == -label.true_cost
        assert event.event_id == label.event_id
        assert event.learn is not label.skip_learn


_cells = st.sampled_from(["1", "0", "0.5", "", "NaN", "inf", "-1", "a", "b", '"', "x,y", "\n", "2026-01-01"])


@given(rows=st.lists(st.lists(_cells, min_size=1, max_size=5), max_size=8), quote=st.sampled_from(["", '"']))
def test_a_csv_of_anything_yields_only_rows_that_can_be_used(
    rows: list[list[str]], quote: str, tmp_path_factory: Any
) -> None:
    """Each row is in range, or is left out."""
    path = tmp_path_factory.mktemp("log") / "log.csv"
    written = [[f"{quote}{cell.replace(quote, quote * 2) if quote else cell}{quote}" for cell in row] for row in rows]
    numbers = "1,0.5,a\n"  # so that no column is wrong as a whole
    path.write_text("reward,propensity,action\n" + numbers + "".join(",".join(row) + "\n" for row in written))
    log = TableLog(path)

    batches: list[Columns] = list(log.batches())

    for columns in batches:
        assert all(math.isfinite(one) for one in columns.rewards)
        assert ((columns.propensities > 0) & (columns.propensities <= 1)).all()
        assert (columns.actions >= 0).all()
        assert (columns.actions < columns.n_actions).all()
