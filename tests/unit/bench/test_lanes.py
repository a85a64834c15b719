"""The bench of many lanes as a program."""

import subprocess
import sys
from pathlib import Path

import orjson

ROOT = Path(__file__).parents[3]


def test_few_lanes_in_less_memory(tmp_path: Path) -> None:
    """Twelve lanes of which three may be hot are all served, with at most three more policies in memory than that."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.lanes", "--lanes", "12", "--hot", "3", "--visits", "2", "--store", tmp_path],
        check=False,
        capture_output=True,
        cwd=ROOT,
        timeout=100,
    )
    figures = orjson.loads(done.stdout.splitlines()[-1])

    assert (done.returncode, done.stderr) == (0, b"")
    assert (figures["bench"], figures["lanes"], figures["hot_lanes"]) == ("lanes", 12, 3)
    assert figures["within_limits"]
    assert 1 <= figures["most_policies_in_memory"] <= 6
    assert 0.0 < figures["hot_rank_p50_ms"] <= figures["hot_rank_p99_ms"]
    assert figures["hot_rank_p50_ms"] < figures["cold_rank_p50_ms"]
    assert list(tmp_path.iterdir()) == []  # it takes its store away with it
