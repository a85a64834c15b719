"""A store whose server was killed again and again is as it was, by `banditd verify` itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault.kill import run
from tests.fault.server import SEGMENTS

KILLS = 6


@pytest.mark.timeout(300)
async def test_a_store_of_killed_servers_is_right(tmp_path: Path) -> None:
    """After kills of every kind, under every kind of load, all vectors, draws and outcomes come out again."""
    report = await run(tmp_path, kills=KILLS, seed=20)
    command = [sys.executable, "-m", "banditd", "verify", "--store", str(tmp_path / "store" / "banditd.db"), "--json"]

    done = subprocess.run(command, capture_output=True, timeout=200, check=False)  # noqa: ASYNC221 - nothing else runs

    found = json.loads(done.stdout)
    assert report.violations == []
    assert (done.returncode, found["ok"], found["unchecked"]) == (0, True, {})
    assert found["decisions"] >= report.counts["decisions"]  # and those whose answers a kill took away
    assert found["distributions"]["exact"] > found["decisions"]
    assert found["draws"]["repeated"] > found["distributions"]["exact"]
    assert found["draws"]["without_key"] == 0
    assert found["outcomes"] > 100 * len(SEGMENTS)
    assert report.counts["own_policies"] > 0
