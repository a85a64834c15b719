"""The examples for replay run as they stand, and print what is so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.tree import ROOT

_NUMBER = r"[+-]?\d+\.\d+"
_EXAMPLES = sorted((ROOT / "examples").glob("replay_*.py"))


def printed(example: str, cwd: Path) -> str:
    """Run an example from a folder that is not its own, every warning an error, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / example)],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(text: str, start: str) -> list[float]:
    """Return the numbers of the one line that begins so."""
    [line] = [line for line in text.splitlines() if line.startswith(start)]
    return [float(number) for number in re.findall(_NUMBER, line[len(start) :])]


def test_every_example_is_run_here() -> None:
    """No example for replay goes without a test of what it prints."""
    tested = {"replay_arrays.py", "replay_clicks.py", "replay_table.py"}

    assert {example.name for example in _EXAMPLES} == tested


def test_the_intervals_on_arrays_hold_the_truth(tmp_path: Path) -> None:
    """On digits the truth is known: it lies in each interval, and in that of the paired difference."""
    output = printed("replay_arrays.py", tmp_path)
    earned, really = numbers(output, "1198 logged choices earned")
    difference, low, high = numbers(output, "more than the logging policy:")

    for estimator in ("ips", "snips", "dr"):
        value, lower, upper, *_ = numbers(output, estimator + " ")
        assert lower < value < upper
        assert lower <= really <= upper
    assert low < difference < high
    assert low < really - earned < high


def test_the_candidates_for_the_clicks_are_told_apart(tmp_path: Path) -> None:
    """A candidate that learns tastes beats the log with both ends of its lift above 0, and grows by the day."""
    output = printed("replay_clicks.py", tmp_path)
    table, lifts = output.split("more than now")
    [verdict] = [line.split()[-1] for line in table.splitlines() if line.startswith("vw, crossed")]
    lift, lower, upper = numbers(lifts, "vw, crossed")
    days = [float(line.split()[1]) for line in lifts.splitlines() if line.startswith("2026-")]

    assert verdict == "better"
    assert 0.0 < lower < lift < upper
    assert len(days) == 4
    assert days[-1] > days[0]


def test_the_table_meets_one_condition_and_not_the_other(tmp_path: Path) -> None:
    """The evening rule is better than the log for sure, and the example says what it lacks for the second condition."""
    output = printed("replay_table.py", tmp_path)
    first, second = (line.partition(": ")[2] for line in output.splitlines() if line.startswith("evening."))

    assert first == "yes"
    assert re.fullmatch(r"evening: ess is \d+(\.\d+)?, not >= 100000", second)


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_how_it_is_run(example: Path) -> None:
    """The second paragraph of each is the command that runs it."""
    assert f"    python examples/{example.name}\n" in example.read_text()
