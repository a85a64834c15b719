"""CSV and Parquet: columns by a mapping, rows left out with their reasons, whole columns refused."""

import gzip
import math
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import zstandard

from replay.errors import InvalidLog
from replay.logs import ColumnMapping, Columns, TableLog, parse_mapping
from replay.logs.frames import read_frames
from replay.logs.sources import Source

TABLE: dict[str, list[Any]] = {
    "click": [1.0, 0.0, 0.5, 1.0],
    "pscore": [0.5, 0.25, 1.0, 0.125],
    "item": ["b", "a", "b", "c"],
    "age": [3.0, 4.0, None, 6.0],
    "user_city": ["x", "y", "z", None],
    "new": [0.25, 0.0, 1.0, 0.5],
}
MAPPING = ColumnMapping(reward="click", propensity="pscore", action="item")


def parquet(path: Path, table: Mapping[str, Any] = TABLE) -> str:
    """Write a table as Parquet and return where."""
    pl.DataFrame(table).write_parquet(path / "log.parquet")
    return str(path / "log.parquet")


def csv(path: Path, table: Mapping[str, Any] = TABLE) -> str:
    """Write a table as CSV and return where."""
    pl.DataFrame(table).write_csv(path / "log.csv")
    return str(path / "log.csv")


def whole(log: TableLog) -> Columns:
    """Return the one batch of a small log."""
    (columns,) = log.batches()
    return columns


@pytest.mark.parametrize("write", [parquet, csv])
def test_columns_come_out_as_they_were_written(write: Any, tmp_path: Path) -> None:
    """Of CSV and of Parquet alike, actions numbered in the order in which they are first seen."""
    mapping = parse_mapping("reward=click,propensity=pscore,action=item,context=age+user_*,target.new=new")
    log = TableLog(write(tmp_path), mapping)

    columns = whole(log)

    assert columns.rewards.tolist() == TABLE["click"]
    assert columns.propensities.tolist() == TABLE["pscore"]
    assert [columns.action_ids[i] for i in columns.actions] == TABLE["item"]
    assert columns.action_ids == ("b", "a", "c")
    assert columns.n_actions == 3
    assert columns.targets["new"].tolist() == TABLE["new"]
    assert list(columns.context) == ["age", "user_city"]
    assert columns.context["user_city"].tolist() == ["x", "y", "z", ""]
    assert columns.context["age"][[0, 1, 3]].tolist() == [3.0, 4.0, 6.0]
    assert not log.dropped
    assert columns.batch("new").weights.tolist() == [0.5, 0.0, 1.0, 4.0]
    assert len(columns) == 4


def test_all_that_a_mapping_can_name_is_read(tmp_path: Path) -> None:
    """Times, ids, segments, places, shares left out, predictions and whole distributions."""
    table = TABLE | {
        "t": ["2026-01-01T00:00:00Z", "2026-01-01 00:00:01.5", "", "2026-01-01T01:00:00+01:00"],
        "known": [10.0, 11.0, None, 12.0],
        "id": ["1", "2", "3", "4"],
        "country": ["pl", "pl", "de", None],
        "place": [1, 2, 3, 1],
        "thin": [0.0, 0.5, 0.75, 0.0],
        "q": [0.1, 0.2, 0.3, 0.4],
        "q_new": [0.5, 0.6, 0.7, 0.8],
        "all": [[0.25, 0.5, 0.25], [0.25, 0.5, 0.25], [0.5, 0.25], None],
    }
    mapping = parse_mapping(
        {
            "reward": "click",
            "propensity": "pscore",
            "action": "item",
            "at": "t",
            "reward_at": "known",
            "event_id": "id",
            "segment": "country",
            "position": "place",
            "first_position": 1,
            "drop_probability": "thin",
            "q_logged": "q",
            "target": {"new": "new"},
            "q_target.new": "q_new",
            "actions": ["a", "b", "c"],
            "probabilities": "all",
        }
    )
    log = TableLog(parquet(tmp_path, table), mapping)

    columns = whole(log)

    assert columns.at is not None
    assert columns.at[[0, 1, 3]].tolist() == [1767225600.0, 1767225601.5, 1767225600.0]
    assert math.isnan(columns.at[2])
    assert columns.reward_at is not None
    assert columns.reward_at[3] == 12.0
    assert columns.event_ids is not None
    assert columns.event_ids.tolist() == ["1", "2", "3", "4"]
    assert columns.segments is not None
    assert columns.segments.tolist() == ["pl", "pl", "de", ""]
    assert columns.positions is not None
    assert columns.positions.tolist() == [0, 1, 2, 0]
    assert columns.multiplicity is not None
    assert columns.multiplicity.tolist() == [1.0, 2.0, 4.0, 1.0]
    assert columns.actions.tolist() == [1, 0, 1, 2]
    assert columns.probabilities is not None
    assert columns.probabilities[0].tolist() == [0.25, 0.5, 0.25]
    assert np.isnan(columns.probabilities[2:]).all()
    assert log.noted == {"time_unreadable": 2, "probabilities_unusable": 2}
    batch = columns.batch("new")
    assert batch.q_logged is not None
    assert batch.q_target is not None
    assert batch.q_target.tolist() == [0.5, 0.6, 0.7, 0.8]


BAD_ROWS = {
    "no reward": ("click", None, "reward_missing"),
    "reward NaN": ("click", math.nan, "reward_missing"),
    "reward without end": ("click", math.inf, "reward_not_finite"),
    "no propensity": ("pscore", None, "propensity_missing"),
    "propensity 0": ("pscore", 0.0, "propensity_out_of_range"),
    "propensity above 1": ("pscore", 1.5, "propensity_out_of_range"),
    "no action": ("item", None, "action_missing"),
    "an action of no set": ("item", "zz", "action_unknown"),
    "no target": ("new", None, "target_missing"),
    "a target above 1": ("new", 1.1, "target_out_of_range"),
    "no place": ("place", -1.0, "position_out_of_range"),
    "half a place": ("place", 0.5, "position_out_of_range"),
    "all left out": ("thin", 1.0, "drop_probability_out_of_range"),
    "no prediction": ("q", None, "q_missing"),
    "a prediction without end": ("q", -math.inf, "q_not_finite"),
}


@pytest.mark.parametrize(("column", "value", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
@pytest.mark.parametrize("write", [parquet, csv])
def test_a_row_that_cannot_be_used_is_counted_once(
    column: str, value: Any, reason: str, write: Any, tmp_path: Path
) -> None:
    """For its first reason; the rows around it stay."""
    table = TABLE | {"place": [0.0, 1.0, 2.0, 0.0], "thin": [0.0] * 4, "q": [0.5] * 4}
    table |= {column: [table[column][0], value, *table[column][2:]]}
    words = "reward=click,propensity=pscore,action=item,actions=a+b+c,target.new=new,position=place"
    log = TableLog(write(tmp_path, table), parse_mapping(f"{words},drop_probability=thin,q_logged=q"))

    columns = whole(log)

    assert columns.rewards.tolist() == [1.0, 0.5, 1.0]
    assert log.dropped == {reason: 1}


def test_a_row_with_several_faults_is_counted_for_one(tmp_path: Path) -> None:
    """Counts of dropped rows and used rows sum to the rows of the log."""
    table = {"reward": [None, 1.0], "propensity": [7.0, 0.5], "action": [None, "a"]}
    log = TableLog(parquet(tmp_path, table))

    assert len(whole(log)) == 1
    assert log.dropped == {"reward_missing": 1}


def test_a_float32_probability_of_one_is_one(tmp_path: Path) -> None:
    """1.0000001 is how some print it."""
    log = TableLog(csv(tmp_path, {"reward": [1.0], "propensity": [1.0000001], "action": ["a"]}))

    assert whole(log).propensities.tolist() == [1.0]


@pytest.mark.parametrize(
    ("word", "values", "code"),
    [
        ("reward", ["yes", "no"], "column_type"),
        ("reward", [[1.0], [2.0]], "column_type"),
        ("at", ["soon", "later"], "column_type"),
        ("segment", [["a"], ["b"]], "column_type"),
        ("probabilities", [1.0, 2.0], "column_type"),
        ("probabilities", ["0.5", "{}"], "column_type"),
    ],
)
def test_a_column_of_a_wrong_type_is_an_error(word: str, values: list[Any], code: str, tmp_path: Path) -> None:
    """It is no row's fault, so that it stops the reading, and names the column."""
    table: dict[str, Any] = {"reward": [1.0, 0.0], "propensity": [0.5, 0.5], "action": ["a", "b"], f"my_{word}": values}
    log = TableLog(parquet(tmp_path, table), parse_mapping({word: f"my_{word}", "actions": ["a", "b"]}))

    with pytest.raises(InvalidLog) as caught:
        list(log.batches())

    assert (caught.value.code, caught.value.field) == (code, f"my_{word}")


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    """So that a typo is found at a glance."""
    log = TableLog(parquet(tmp_path), parse_mapping("reward=clicks,propensity=pscore,action=item"))

    with pytest.raises(InvalidLog, match=r"'clicks'.*click, pscore, item") as caught:
        list(log.batches())

    assert (caught.value.code, caught.value.field) == ("column_missing", "reward")
    with pytest.raises(InvalidLog, match="nothing_"):
        list(TableLog(parquet(tmp_path), replace(MAPPING, context=("nothing_*",))).batches())
    with pytest.raises(InvalidLog, match=r"target\.other"):
        whole(TableLog(parquet(tmp_path), MAPPING)).batch("other")


@pytest.mark.parametrize("write", [parquet, csv])
def test_rows_become_events_over_all_actions_of_the_log(write: Any, tmp_path: Path) -> None:
    """Without an action set in the mapping, the log is read once more for it."""
    mapping = parse_mapping("reward=click,propensity=pscore,action=item,context=age+user_city")
    log = TableLog(write(tmp_path), mapping, action_features={"a": {"price": 2}})

    events = list(log.events())

    assert [[one.id for one in event.actions] for event in events] == [["b", "a", "c"]] * 4
    assert events[0].actions[1].features == {"price": 2}
    assert [event.slots[0].chosen for event in events] == [0, 1, 0, 2]
    assert [event.context for event in events] == [
        {"age": 3.0, "user_city": "x"},
        {"age": 4.0, "user_city": "y"},
        {"user_city": "z"},
        {"age": 6.0},
    ]
    assert [event.reward for event in events] == TABLE["click"]
    assert events[0].slots[0].probabilities is None
    assert events[0].event_id == ""


@pytest.mark.parametrize("write", [parquet, csv])
def test_each_row_may_have_an_action_set_of_its_own(write: Any, tmp_path: Path) -> None:
    """As a list column, or in CSV as JSON; the distribution is in its order."""
    sets = [["a", "b"], ["b"], [], ["a"]]
    vectors = [[0.75, 0.25], [0.5], [1.0], [1.0]]
    table = {
        "reward": [1.0] * 4,
        "propensity": [0.25, 1.0, 1.0, 1.0],
        "action": ["b"] * 4,
        "s": [str(one).replace("'", '"') for one in sets] if write is csv else sets,
        "p": [str(one) for one in vectors] if write is csv else vectors,
    }
    log = TableLog(write(tmp_path, table), parse_mapping("action_set=s,probabilities=p"))

    first, second = log.events()

    assert [one.id for one in first.actions] == ["a", "b"]
    assert first.slots[0].chosen == 1
    assert first.slots[0].probabilities is not None
    assert first.slots[0].probabilities.tolist() == [0.75, 0.25]
    assert second.slots[0].probabilities is None
    assert log.noted == {"probabilities_unusable": 1}
    assert log.dropped == {"actions_missing": 1, "action_unknown": 1}


def test_a_fixed_set_brings_whole_distributions_into_events(tmp_path: Path) -> None:
    """What is no distribution is None there and a row of NaN among the columns."""
    table = {"reward": [1.0, 1.0], "propensity": [0.5, 0.5], "action": ["a", "b"], "p": [[0.5, 0.5], [0.5, 0.6]]}
    log = TableLog(parquet(tmp_path, table), parse_mapping("actions=a+b,probabilities=p"))

    first, second = log.events()

    assert first.slots[0].probabilities is not None
    assert second.slots[0].probabilities is None
    assert log.noted == {"probabilities_unusable": 1}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_csv_is_read_in_blocks_whatever_it_is_packed_with(
    pack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are not cut where a block ends, a newline in quotes included."""
    monkeypatch.setattr("replay.logs.frames._BLOCK_BYTES", 50)
    rows = [f'{i % 2},0.5,"a{i}\n""{i}"""\r\n' for i in range(200)]
    (tmp_path / "log.csv").write_bytes(pack(("reward,propensity,action\r\n" + "".join(rows)).encode()))

    columns = list(TableLog(tmp_path / "log.csv").batches())

    assert sum(len(one) for one in columns) == 200
    assert np.concatenate([one.rewards for one in columns]).tolist() == [0.0, 1.0] * 100
    assert columns[-1].action_ids[199] == 'a199\n"199"'


@pytest.mark.parametrize(
    ("rows", "dropped"),
    [
        ("1,0.5,a\n1,0.5\n0,0.5,b\n", 1),
        ("1,0.5,a\n1,0.5,b,c\n0,0.5,b\n", 1),
        ("1,0.5\n1,0.5,a\n0,0.5,b\n", 1),
        ("1,0.5,a\n\n0,0.5,b\n", 0),
    ],
    ids=["too few", "too many", "too few at first", "a blank line"],
)
def test_a_csv_row_of_another_width_is_counted(rows: str, dropped: int, tmp_path: Path) -> None:
    """Too few fields or too many mean that values may stand in a wrong column; a blank line means nothing."""
    (tmp_path / "log.csv").write_text("reward,propensity,action\n" + rows)
    log = TableLog(tmp_path / "log.csv")

    assert whole(log).rewards.tolist() == [1.0, 0.0]
    assert log.dropped["fields_differ"] == dropped


def test_batches_keep_their_numbers_for_actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index means the same in all batches, and each batch knows the actions up to its own."""
    monkeypatch.setattr("replay.logs.frames.BATCH_ROWS", 2)

    first, second = TableLog(csv(tmp_path), MAPPING).batches()

    assert first.action_ids == ("b", "a")
    assert second.action_ids == ("b", "a", "c")
    assert second.actions.tolist() == [0, 2]


def test_a_table_that_is_damaged_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet without its end, and a quote that is never closed."""
    path = tmp_path / "log.parquet"
    path.write_bytes(Path(parquet(tmp_path)).read_bytes()[:-20])
    with pytest.raises(InvalidLog, match=r"log\.parquet"):
        list(TableLog(path, MAPPING).batches())

    monkeypatch.setattr("replay.logs.frames._RECORD_LIMIT_BYTES", 100)
    monkeypatch.setattr("replay.logs.frames._BLOCK_BYTES", 50)
    (tmp_path / "log.csv").write_text('reward,propensity,action\n1,1,"' + "a" * 500)
    with pytest.raises(InvalidLog, match="not closed"):
        list(TableLog(tmp_path / "log.csv").batches())


def test_parquet_that_breaks_on_the_way_is_named(tmp_path: Path) -> None:
    """A page that cannot be unpacked, behind a footer that is whole."""
    path = tmp_path / "log.parquet"
    pl.DataFrame({"reward": np.arange(1000) / 3}).write_parquet(path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[40:200] = b"\0" * 160
    path.write_bytes(data)

    with pytest.raises(InvalidLog, match=r"log\.parquet.*cannot be read"):
        list(read_frames(Source(str(path)), ["reward"], dropped=Counter()))


def test_times_may_be_typed(tmp_path: Path) -> None:
    """A datetime without a zone is taken for UTC, a day for its beginning; what is no time is NaN, and noted."""
    moment = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    table = {"reward": [1.0, 1.0], "propensity": [1.0, 1.0], "action": ["a", None]}
    table |= {"at": [moment, None], "reward_at": [date(2026, 1, 2), date(2026, 1, 3)]}
    naive = {**table, "at": [datetime(2026, 1, 1), None]}  # noqa: DTZ001 - a zone that is missing is what is tested

    for typed in (table, naive):
        log = TableLog(parquet(tmp_path, typed), parse_mapping("at=at,reward_at=reward_at"))
        columns = whole(log)

        assert columns.at is not None
        assert columns.at.tolist() == [1767225600.0]
        assert columns.reward_at is not None
        assert columns.reward_at.tolist() == [1767312000.0]
        assert log.noted == {"time_unreadable": 1}


def test_a_log_whose_actions_are_all_missing_has_no_rows(tmp_path: Path) -> None:
    """They are counted, and no id is made up."""
    table = {"reward": [1.0, 0.0], "propensity": [1.0, 1.0], "action": pl.Series([None, None], dtype=pl.String)}
    log = TableLog(parquet(tmp_path, table))

    assert len(whole(log)) == 0
    assert log.dropped == {"action_missing": 2}


def test_a_name_of_a_column_may_hold_a_newline(tmp_path: Path) -> None:
    """It is in quotes then; a separator other than the comma is seen from the same line."""
    (tmp_path / "log.csv").write_text('reward;propensity;"the\naction"\n1;0.5;a\n')
    log = TableLog(tmp_path / "log.csv", replace(ColumnMapping(), action="the\naction"))

    assert whole(log).action_ids == ("a",)


def test_a_text_that_is_no_list_is_one_rows_fault(tmp_path: Path) -> None:
    """In CSV, where lists are JSON."""
    table = {"reward": [1.0, 1.0], "propensity": [0.5, 0.5], "action": ["a", "b"], "s": ['["a","b"]', "[a"]}
    log = TableLog(csv(tmp_path, table), parse_mapping("action_set=s"))

    assert len(list(log.events())) == 1
    assert log.dropped == {"actions_missing": 1}


def test_a_table_needs_polars_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named, for CSV and for Parquet."""
    paths = [parquet(tmp_path), csv(tmp_path)]
    monkeypatch.setitem(sys.modules, "polars", None)

    for path in paths:
        with pytest.raises(InvalidLog, match=r"banditd\[replay\]"):
            list(TableLog(path, MAPPING).batches())
