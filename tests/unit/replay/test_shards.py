"""Tasks that are cut by files and by segments find what the whole ones find."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from replay import evaluate
from replay.candidates import Given, Logged, Table, parse_candidate
from replay.estimators import Ips
from replay.logs import JsonlLog, open_log
from replay.results import CandidateResult, Evaluation
from replay.shards import OfSegments, cut
from replay.tasks import Engine, Partial, Plan, Task, run

_ROWS = 9_000
_TARGETS = {
    "action": "action",
    "target": {"new": "p_new"},
    "actions": ["a", "b", "c"],
    "at": "at",
    "segment": "segment",
}


class Finely:
    """An engine that cuts tasks, runs them here, and remembers how many they were."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.sizes: list[int] = []

    def __call__(self, tasks: Sequence[Task]) -> Iterable[Partial]:
        """Run tasks as an engine does."""
        shards = cut(tasks, self.n)
        self.sizes = [len(one.tasks) for one in shards]
        return [one.joined([run(task) for task in one.tasks]) for one in shards]


def tables(folder: Path, n_files: int) -> Path:
    """Write a log of three actions, some of its rows of no use, as Parquet files of different lengths."""
    rng = np.random.default_rng(1)
    action = rng.choice(3, size=_ROWS, p=[0.5, 0.3, 0.2])
    propensity = np.array([0.5, 0.3, 0.2])[action]
    propensity[::500] = 0.0
    table = pl.DataFrame(
        {
            "reward": (rng.random(_ROWS) < 0.1 + 0.1 * action).astype(float),
            "propensity": propensity,
            "action": np.array(["a", "b", "c"])[action],
            "p_new": np.array([0.1, 0.2, 0.7])[action],
            "at": 1_700_000_000.0 + 60.0 * np.arange(_ROWS),
            "segment": np.array(["home", "shop", "news"])[rng.integers(3, size=_ROWS)],
        }
    )
    folder.mkdir()
    borders = [round(_ROWS * (i / n_files) ** 1.5) for i in range(n_files + 1)]
    for number, (start, stop) in enumerate(itertools.pairwise(borders)):
        table[start:stop].write_parquet(folder / f"{number}.parquet")
    return folder


def decisions(path: Path, n: int = 600) -> Path:
    """Write banditd's own JSON lines of three segments whose best action differs, rewards known after ten minutes."""
    rng = np.random.default_rng(2)
    with path.open("w") as file:
        for number in range(n):
            segment, chosen = int(rng.integers(3)), int(rng.integers(3))
            at, reward = 1_700_000_000.0 + 60.0 * number, float(rng.random() < (0.6 if segment == chosen else 0.1))
            slot = {"chosen": chosen, "propensity": 1 / 3, "probabilities": [1 / 3] * 3}
            line = {
                "event_id": f"e{number}",
                "at": at,
                "reward_at": at + 600.0,
                "segment": ["home", "shop", "news"][segment],
                "context": {"hour": number % 24},
                "actions": [{"id": name} for name in "abc"],
                "slots": [slot | {"reward": reward, "reward_at": at + 600.0}],
                "reward": reward,
            }
            file.write(json.dumps(line) + "\n")
    return path


def assert_same(one: Evaluation, other: Evaluation) -> None:
    """Hold two evaluations against each other, all numbers to nine digits, but for the curve over time."""
    assert list(one.policies) == list(other.policies)
    mine, theirs = (leaves([each.health, *map(_plain, each.policies.values())]) for each in (one, other))
    assert mine.keys() == theirs.keys()
    for place, value in mine.items():
        there = theirs[place]
        is_number = isinstance(value, float)
        assert value == (pytest.approx(there, rel=1e-9, abs=1e-12, nan_ok=True) if is_number else there), place


def _plain(result: CandidateResult) -> Mapping[str, Any]:
    """Return all of a result but the curve over time."""
    return {name: getattr(result, name) for name in result.__dataclass_fields__ if name != "over_time"}


def leaves(value: Any, place: str = "") -> dict[str, Any]:
    """Return all numbers and texts of a value by where they stand."""
    if hasattr(value, "__dataclass_fields__"):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {key: leaf for name, one in value.items() for key, leaf in leaves(one, f"{place}.{name}").items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {key: leaf for i, one in enumerate(value) for key, leaf in leaves(one, f"{place}.{i}").items()}
    return {place: value}


@pytest.mark.parametrize(("n_files", "n"), [(2, 2), (5, 3), (7, 16)])
def test_shards_of_files_add_up_to_the_whole(tmp_path: Path, n_files: int, n: int) -> None:
    """Estimates, lifts, slices, diagnostics and health are those of one pass, however the files are dealt out."""
    folder = tables(tmp_path / "log", n_files)
    policies: dict[str, Given] = {"new": "column:new", "table": Table.of([0.2, 0.3, 0.5])}
    engine = Finely(n)

    whole = evaluate(open_log(folder, mapping=_TARGETS), policies, by=["day", "segment"])
    shards = evaluate(open_log(folder, mapping=_TARGETS), policies, by=["day", "segment"], engine=engine)

    assert engine.sizes == [min(n, n_files)]
    assert whole.health.dropped == {"propensity_out_of_range": _ROWS // 500}
    assert_same(shards, whole)
    assert {len(result.over_time) for result in shards.policies.values()} == {0}


def test_shards_of_segments_add_up_to_the_whole(tmp_path: Path) -> None:
    """A policy for each segment plays the same whether it goes along with the other segments or not."""
    log = decisions(tmp_path / "log.jsonl")
    policies = {"greedy": {"kind": "epsilon_greedy", "epsilon": 0.1}}
    engine = Finely(3)

    whole = evaluate(open_log(log), policies, by=["segment"], per_segment=True)
    shards = evaluate(open_log(log), policies, by=["segment"], per_segment=True, engine=engine)

    assert engine.sizes == [1, 3]  # one file: the baselines stay in one task
    assert whole.policies["greedy"].estimates["snips"].value > whole.policies["logged"].estimates["snips"].value
    assert_same(shards, whole)
    assert not shards.policies["greedy"].over_time
    assert shards.policies["logged"].over_time == whole.policies["logged"].over_time


def test_segments_are_dealt_out_once(tmp_path: Path) -> None:
    """Each decision belongs to one part, and a segment is never split."""
    log = open_log(decisions(tmp_path / "log.jsonl"))
    parts = [{(event.event_id, event.segment) for event in OfSegments(log, part, 3).events()} for part in range(3)]

    assert sum(map(len, parts)) == 600
    assert len(set().union(*parts)) == 600
    assert sum(len({segment for _, segment in part}) for part in parts) == 3


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"question": "frozen"}, id="frozen"),
        pytest.param({"question": "deployed"}, id="deployed"),
        pytest.param({"estimators": ["dr"]}, id="a-reward-model"),
        pytest.param({"interval": "percentile_bootstrap"}, id="a-bootstrap"),
        pytest.param({"baseline": "greedy"}, id="a-baseline-that-learns"),
    ],
)
def test_what_rests_on_what_came_before_is_not_cut(tmp_path: Path, asked: Mapping[str, Any]) -> None:
    """Where a row's part in the result rests on earlier rows, tasks stay as they were, and so do the numbers."""
    log = decisions(tmp_path / "log.jsonl", n=200)
    policies = {"greedy": {"kind": "epsilon_greedy"}}
    engine = Finely(4)

    whole = evaluate(open_log([log, log]), policies, per_segment=True, **asked)
    shards = evaluate(open_log([log, log]), policies, per_segment=True, engine=engine, **asked)

    assert engine.sizes == [1]
    assert shards.to_json() == whole.to_json()


def test_a_table_wants_actions_that_have_one_number(tmp_path: Path) -> None:
    """Where actions are numbered as they are first seen, a table of probabilities would mean others in each file."""
    folder = tables(tmp_path / "log", 3)
    mapping = {name: value for name, value in _TARGETS.items() if name != "actions"}
    sizes = []
    for policies in ({"new": "column:new"}, {"table": Table.of([0.2, 0.3, 0.5])}):
        engine = Finely(3)
        evaluate(open_log(folder, mapping=mapping), policies, engine=engine)
        sizes.append(engine.sizes)

    assert sizes == [[3], [1]]


def test_candidates_that_learn_from_all_stay_whole(tmp_path: Path) -> None:
    """One policy for all segments is played in one task; the fixed candidates beside it are cut by files."""
    log = decisions(tmp_path / "log.jsonl", n=200)
    engine: Engine = Finely(2)

    whole = evaluate(open_log([log, log]), {"greedy": {"kind": "epsilon_greedy"}})
    shards = evaluate(open_log([log, log]), {"greedy": {"kind": "epsilon_greedy"}}, engine=engine)

    assert isinstance(engine, Finely)
    assert engine.sizes == [1, 2]
    assert_same(shards, whole)
    assert shards.policies["greedy"].over_time == whole.policies["greedy"].over_time


def test_only_logs_of_several_files_are_cut() -> None:
    """A log of another kind, or from standard input, is read by one task; so is one without fixed candidates."""
    plan = Plan("progressive", {"ips": Ips()}, "ips", (), "columns", 0)
    logged = Task(None, {"logged": Logged()}, ("logged", Logged()), plan, wants_health=True)
    learning = {"greedy": parse_candidate("epsilon_greedy", per_segment=True)}
    tasks = [
        replace(logged, log=OfSegments(None, 0, 1)),
        replace(logged, log=JsonlLog(["-", "b.jsonl"])),
        replace(logged, log=JsonlLog("a.jsonl"), candidates=learning),
    ]
    sizes = [[len(one.tasks) for one in cut([task], 2)] for task in tasks]

    assert sizes == [[1], [1], [2]]
