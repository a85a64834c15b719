"""The bench of evaluations: its logs, its arithmetic, and the program."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.replay_fixed import MAPPING
from bench.replay_learning import Spent, driver_loss, in_turns, ratio, replay_loss
from bench.replay_logs import ACTIONS, as_columns, interactions, jsonl_of, write_dsjson, write_parquet
from bench.replay_memory import measure
from replay.logs import open_log

ROOT = Path(__file__).parents[3]


@pytest.fixture(name="log", scope="module")
def _log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "log.json"
    write_dsjson(path, 300, seed=1)
    return path


def test_ratios_are_taken_within_rounds() -> None:
    """The ratio is the median of 2/1, 9/3 and 8/1, not the ratio of the medians."""
    one = [Spent(wall_s=0.0, cpu_s=cpu, answer=0.0) for cpu in (2.0, 9.0, 8.0)]
    other = [Spent(wall_s=0.0, cpu_s=cpu, answer=0.0) for cpu in (1.0, 3.0, 1.0)]

    assert ratio(one, other, "cpu_s") == 3.0


def test_calls_take_turns() -> None:
    """Each round runs each call once and begins with another one; what they answer is kept."""
    order: list[str] = []

    def noted(name: str) -> float:
        order.append(name)
        return float(len(order))

    spent = in_turns({"a": lambda: noted("a"), "b": lambda: noted("b")}, rounds=3)

    assert "".join(order) == "abbaab"
    assert [one.answer for one in spent["b"]] == [2.0, 3.0, 6.0]


def test_vw_and_the_evaluation_agree_on_the_log(log: Path) -> None:
    """What is timed side by side finds the same average loss, to 1e-5, and every line of the log counts."""
    events = list(open_log(log).events())

    assert len(events) == 300
    assert {len(event.actions) for event in events} == {ACTIONS}
    assert replay_loss(log) == pytest.approx(driver_loss(log), abs=1e-5)


def test_the_forms_of_a_log_say_the_same(log: Path, tmp_path: Path) -> None:
    """The decisions that coba is given, and those in JSON lines, are those of the dsjson log."""
    jsonl_of(log, tmp_path / "log.jsonl", 300)
    events = list(open_log(log).events())
    lines = list(open_log(tmp_path / "log.jsonl").events())

    for event, line, taken in zip(events, lines, interactions(log, 300), strict=True):
        [slot], [other] = event.slots, line.slots
        assert (event.event_id, event.at, event.reward) == (line.event_id, line.at, line.reward)
        assert (slot.chosen, slot.propensity, event.reward) == (
            taken["actions"].index(taken["action"]),
            taken["probability"],
            taken["reward"],
        )
        assert slot.probabilities is not None
        assert other.probabilities is not None
        np.testing.assert_array_equal(slot.probabilities, other.probabilities)
        assert event.context == {"User": taken["context"]}
        assert line.context == taken["context"]


def test_the_table_is_one_that_its_policy_could_have_logged(tmp_path: Path) -> None:
    """Rows from Parquet are those from arrays, and weights have a mean of about 1."""
    write_parquet(tmp_path / "rows", 20_000, seed=3)
    [columns] = open_log(tmp_path / "rows", mapping=MAPPING).batches()  # type: ignore[union-attr]  # a table
    table = as_columns(20_000, seed=3)

    np.testing.assert_array_equal(columns.rewards, table["reward"])
    np.testing.assert_array_equal(columns.targets["new"], table["target.new"])
    assert [columns.action_ids[i] for i in columns.actions] == [f"a{i}" for i in table["action"]]
    assert columns.batch("new").weights.mean() == pytest.approx(1.0, abs=0.05)


def test_memory_is_that_of_the_program_alone(tmp_path: Path) -> None:
    """A process started by a large one states its own peak, not that of the process that started it."""
    write_dsjson(tmp_path / "log.json", 100, seed=1)
    ballast = np.ones(60_000_000)
    job = json.dumps({"kind": "dsjson", "log": [str(tmp_path / "log.json")] * 3})
    done = subprocess.run(
        [sys.executable, "-m", "bench.replay_memory", job], check=True, capture_output=True, cwd=ROOT, timeout=60
    )
    found = json.loads(done.stdout)

    assert found["events"] == 300
    assert 20e6 < found["peak_bytes"] < ballast.nbytes
    assert measure(json.loads(job))["peak_bytes"] > ballast.nbytes


def test_last_line_is_json() -> None:
    """The last line of a run is one JSON object, whose ratio is that of the rounds that it states."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.replay", "--quick", "--rounds", "3", "--part", "vw_learning"],
        check=True,
        capture_output=True,
        cwd=ROOT,
        timeout=110,
    )
    figures = json.loads(done.stdout.splitlines()[-1])

    assert figures["bench"] == "replay"
    assert figures["vw_learning"]["ratio_to_vw_driver"] == sorted(figures["vw_learning"]["ratio_rounds"])[1]
    assert figures["vw_learning"]["agree_to"] < 1e-5
