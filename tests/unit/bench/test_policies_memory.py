"""What a lane takes in memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson

from bench.policies_memory import resident_bytes

ROOT = Path(__file__).parents[3]


def test_resident_bytes_follow_what_is_held() -> None:
    """Memory that was written to counts as long as it is held, and not after."""
    before = resident_bytes()
    held = np.ones(8_000_000)
    with_it = resident_bytes()
    del held
    after = resident_bytes()

    assert 60e6 < with_it - before < 70e6
    assert with_it - after > 50e6


def test_a_vw_lane_takes_megabytes() -> None:
    """Without an outcome it takes next to nothing; once it has learned, a workspace and at most 4 MB of weights."""
    job = orjson.dumps({"spec": {"kind": "vw"}, "quick": True}).decode()
    done = subprocess.run(
        [sys.executable, "-m", "bench.policies_memory", job], check=True, capture_output=True, cwd=ROOT, timeout=60
    )
    answer = orjson.loads(done.stdout)

    assert answer["built"] < 0.1e6
    assert 0.3e6 < answer["trained"] < 8e6
    assert answer["copies"] == 20
