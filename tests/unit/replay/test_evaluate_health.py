"""Logs that were made wrong on purpose: each wrong is told by the evaluation, whatever the log is written in."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replay import evaluate
from replay.events import LoggedEvent
from replay.logs import open_log
from replay.results import Evaluation, Finding
from tests.replay_worlds import ACTIONS, ListLog, make_events, write_dsjson

_N = 1_200
_MAPPING = {
    "action": "action",
    "actions": list(ACTIONS),
    "probabilities": "probabilities",
    "event_id": "event_id",
}


def _vector(event: LoggedEvent) -> list[float]:
    probabilities = event.slots[0].probabilities
    assert probabilities is not None
    return [float(one) for one in probabilities]


def _dsjson(events: Sequence[LoggedEvent], folder: Path) -> Any:
    return open_log(str(write_dsjson(events, folder / "log.json")), format="dsjson")


def _jsonl(events: Sequence[LoggedEvent], folder: Path) -> Any:
    path = folder / "log.jsonl"
    with path.open("w") as file:
        for event in events:
            slot = event.slots[0]
            known = {"chosen": slot.chosen, "propensity": slot.propensity, "probabilities": _vector(event)}
            line = {
                "event_id": event.event_id,
                "context": dict(event.context),
                "actions": [{"id": action.id} for action in event.actions],
                "slots": [known | {"reward": event.reward}],
                "reward": event.reward,
            }
            file.write(json.dumps(line) + "\n")
    return open_log(str(path), format="jsonl")


def _parquet(events: Sequence[LoggedEvent], folder: Path) -> Any:
    import polars as pl  # noqa: PLC0415 - of this one helper

    path = folder / "log.parquet"
    columns = {
        "event_id": [event.event_id for event in events],
        "reward": [event.reward for event in events],
        "propensity": [event.slots[0].propensity for event in events],
        "action": [ACTIONS[event.slots[0].chosen] for event in events],
        "probabilities": [_vector(event) for event in events],
    }
    pl.DataFrame(columns).write_parquet(path)
    return open_log(str(path), mapping=_MAPPING)


def _memory(events: Sequence[LoggedEvent], _: Path) -> Any:
    return ListLog(events)


_KINDS = pytest.mark.parametrize("kind", [_dsjson, _jsonl, _parquet, _memory])
Kind = Callable[[Sequence[LoggedEvent], Path], Any]


def _finding(findings: Sequence[Finding], code: str) -> Finding:
    return next(one for one in findings if one.code == code)


def _second(event: LoggedEvent) -> list[float]:
    return [0.0, 1.0, *(0.0 for _ in event.actions[2:])]


def _drawn(event: LoggedEvent, **changes: Any) -> LoggedEvent:
    return replace(event, slots=[replace(event.slots[0], **changes)])


def _codes(found: Evaluation) -> set[str]:
    return {one.code for one in found.health.findings}


@_KINDS
def test_a_sound_log_has_no_findings(kind: Kind, tmp_path: Path) -> None:
    """What is in order is not spoken of."""
    found = evaluate(kind(make_events(_N, seed=1, skew=0.3), tmp_path), {})

    assert _codes(found) == set()
    assert {one.code for one in found.policies["uniform"].findings} <= {"low_ess"}


@_KINDS
def test_probabilities_that_do_not_sum_to_one_are_told(kind: Kind, tmp_path: Path) -> None:
    """Whether a reader sets them aside or not, their share is told; of lines that VW alone reads, from one in eight."""
    events = make_events(_N, seed=2, skew=0.3)
    wrong = [
        _drawn(one, probabilities=np.array(_vector(one)) * 1.2) if i % 10 == 0 else one for i, one in enumerate(events)
    ]

    finding = _finding(evaluate(kind(wrong, tmp_path), {}).health.findings, "propensity_sum")

    assert finding.serious
    share = float(finding.detail.partition("%")[0].rpartition(" ")[2])
    assert share == pytest.approx(10.0, abs=5.0 if kind is _dsjson else 1e-9)


@_KINDS
def test_choices_unlike_their_probabilities_are_told(kind: Kind, tmp_path: Path) -> None:
    """A log whose distributions belong to another policy has a sample ratio mismatch."""
    other = np.array([0.4, 0.3, 0.2, 0.1])
    wrong = [
        _drawn(one, probabilities=other, propensity=float(other[one.slots[0].chosen]))
        for one in make_events(_N, seed=3)
    ]

    found = evaluate(kind(wrong, tmp_path), {})

    assert _finding(found.health.findings, "action_shares").serious
    assert "juice" in _finding(found.health.findings, "action_shares").detail


@_KINDS
def test_events_that_are_there_twice_are_told(kind: Kind, tmp_path: Path) -> None:
    """The share of duplicates is told: of all events, or about it where not all ids are looked at."""
    events = make_events(_N, seed=4)

    finding = _finding(evaluate(kind([*events, *events[:400]], tmp_path), {}).health.findings, "duplicates")

    assert finding.serious
    assert "25.00% of the events" in finding.detail or "About" in finding.detail


@pytest.mark.parametrize("candidate", ["column:new", "epsilon_greedy"])
def test_rows_of_a_table_that_are_slots_of_one_decision_are_no_duplicates(candidate: str, tmp_path: Path) -> None:
    """One row for each slot, with the decision's id in each: read as columns or as events, nothing is there twice."""
    path = tmp_path / "log.csv"
    rows = [[i % 2, 0.5, "ab"[i % 2], f"e{i // 3}", i % 3, 0.5] for i in range(1_200)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["reward", "propensity", "action", "event_id", "position", "target.new"])
        writer.writerows(rows)
    words = {name: name for name in ("action", "event_id", "position", "target.new")}

    found = evaluate(open_log(str(path), mapping=words | {"actions": ["a", "b"]}), {"new": candidate})

    assert "duplicates" not in {one.code for one in found.health.findings}


@_KINDS
def test_wrong_propensities_are_told(kind: Kind, tmp_path: Path) -> None:
    """Propensities that are too small by half make a mean weight of 2, which no right ones would."""
    wrong = [_drawn(one, propensity=one.slots[0].propensity / 2) for one in make_events(_N, seed=5)]

    uniform = evaluate(kind(wrong, tmp_path), {}).policies["uniform"]

    assert uniform.diagnostics.mean_weight == pytest.approx(2.0)
    assert uniform.grade == "red"
    assert _finding(uniform.findings, "mean_weight").serious


@pytest.mark.parametrize("kind", [_dsjson, _jsonl, _memory])
def test_play_that_could_not_have_been_logged_is_told(kind: Kind, tmp_path: Path) -> None:
    """A candidate that plays what the logging policy never could has that share of its play counted."""
    never = np.array([0.5, 0.0, 0.25, 0.25])
    events = [one for one in make_events(_N, seed=6) if one.slots[0].chosen != 1]
    wrong = [_drawn(one, probabilities=never, propensity=float(never[one.slots[0].chosen])) for one in events]

    found = evaluate(kind(wrong, tmp_path), {"second": _second}).policies

    assert found["uniform"].diagnostics.unsupported == pytest.approx(0.25)
    assert _finding(found["uniform"].findings, "unsupported").serious
    assert found["second"].diagnostics.unsupported == 1.0
    assert _finding(found["second"].findings, "no_weight").serious
    assert found["second"].estimates["ips"].refused


@_KINDS
def test_weights_are_described(kind: Kind, tmp_path: Path) -> None:
    """Effective sample size, largest and 99 % weight are those of the rows, and one heavy row is told."""
    events = make_events(_N, seed=7)
    wrong = [_drawn(events[0], propensity=2e-5), *events[1:]]

    found = evaluate(kind(wrong, tmp_path), {})

    figures = found.policies["uniform"].diagnostics
    weights = np.array([0.25 / one.slots[0].propensity for one in wrong])
    assert figures.ess == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert figures.max_weight == pytest.approx(12_500.0)
    assert figures.q99_weight == pytest.approx(1.0, rel=0.02)
    assert figures.top_share == pytest.approx(12_500.0 / weights.sum())
    assert _finding(found.policies["uniform"].findings, "heavy_row").serious
    assert "small_propensity" in _codes(found)


def test_rewards_that_never_came_are_told_of_json_lines(tmp_path: Path) -> None:
    """Default, late and repeated rewards that an export speaks of are findings, and so are decisions without any."""
    path = tmp_path / "log.jsonl"
    lines = []
    for number in range(400):
        slot = {"chosen": 0, "propensity": 0.5, "default_reward": number % 4 == 0}
        reward = {} if number % 10 == 1 else {"reward": float(number % 3 == 0)}
        actions = [{"id": "a"}, {"id": "b"}]
        line = {"event_id": f"e{number}", "context": {}, "actions": actions, "slots": [slot | reward]} | reward
        lines.append(line | ({"late_rewards": 1, "duplicate_rewards": 2} if number % 20 == 0 else {}))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    found = evaluate(open_log(str(path), format="jsonl"), {})

    assert found.health.dropped == {"reward_missing": 40}
    assert not _finding(found.health.findings, "missing_rewards").serious
    assert "27.8% of the rewards" in _finding(found.health.findings, "default_rewards").detail
    assert "10.0% of the events" in _finding(found.health.findings, "missing_rewards").detail
    assert "5.0% of the events came too late" in _finding(found.health.findings, "late_rewards").detail
    assert "40 rewards" in _finding(found.health.findings, "duplicate_rewards").detail


def test_rewards_that_a_table_lacks_are_told(tmp_path: Path) -> None:
    """Rows without a reward are left out, and that they are is a finding: those left may be the lucky ones."""
    path = tmp_path / "log.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["reward", "propensity", "action"])
        writer.writerows([["" if i % 3 == 0 else i % 2, 0.5, "ab"[i % 2]] for i in range(300)])

    found = evaluate(open_log(str(path), mapping={"action": "action", "actions": ["a", "b"]}), {})

    finding = _finding(found.health.findings, "missing_rewards")
    assert finding.serious
    assert "33.3%" in finding.detail
