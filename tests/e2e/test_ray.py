"""An evaluation on a local Ray cluster of two workers is the one of a single process."""

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e.tree import ROOT
from tests.replay_worlds import assert_alike

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="banditd[ray] is not installed"),
    pytest.mark.timeout(300),  # a cluster takes ten seconds to start, several times that on a busy machine
]

_LOG = ROOT / "examples" / "clicks.dsjson.gz"
_CANDIDATES = """{
    "vw": "vw --cb_explore_adf --epsilon 0.1",
    "greedy": {"kind": "epsilon_greedy"},
    "thompson": {"kind": "thompson"},
}"""

# Programs of their own, as a user writes them: a cluster lives as long as its process, and must be gone after it.
_SAME = f"""
import os, sys
from pathlib import Path
from replay import evaluate
from replay.logs import open_log
from replay.ray_engine import RayEngine

log, candidates = sys.argv[1], {_CANDIDATES}
one = evaluate(open_log(log), candidates, by=["day"])
on_ray = evaluate(open_log(log), candidates, by=["day"], workers=2, engine=RayEngine("local", workers=2))
import ray
assert not ray.is_initialized()
assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
print(one.to_json() == on_ray.to_json(), one.health.events)
"""
_SEVERAL = """
import sys
from replay import InvalidLog, evaluate, open_log
from replay.ray_engine import RayEngine

files = sys.argv[1:]
whole = evaluate(open_log(files), {}, by=["day"])
with RayEngine("local", workers=2)._connected() as ray:
    print(ray.get_runtime_context().gcs_address.partition(":")[0])
    cut = evaluate(open_log(files), {}, by=["day"], engine=RayEngine("auto", workers=2, cut="finely"))
    print(len(cut.policies["logged"].over_time))
    for name, result in whole.policies.items():
        for estimator, one in result.estimates.items():
            other = cut.policies[name].estimates[estimator]
            print(one.n == other.n, abs(one.value - other.value) < 1e-12, abs(one.lower - other.lower) < 1e-9)
    try:
        evaluate(open_log(files), {"none": "column:none"}, engine=RayEngine("auto", workers=2))
    except InvalidLog as error:
        print(error.code, error.field)
    print(ray.is_initialized())
print(ray.is_initialized())
"""


def printed(program: str, *arguments: str | Path) -> list[str]:
    """Run a program with every warning an error, and return the lines that it printed."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # a short name: Ray makes sockets in it
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAY_TMPDIR": folder},
            timeout=200,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_two_workers_find_what_one_process_finds() -> None:
    """The whole JSON of an evaluation is equal to the last byte, and nothing of the cluster is left."""
    assert printed(_SAME, _LOG) == ["True 6000"]


def test_a_cluster_that_is_there_is_used_and_stays() -> None:
    """Connected already, engines use that cluster and leave it: tasks cut by files, errors as they are elsewhere.

    The cluster that an engine starts itself is one of the loopback device.
    """
    address, moments, *same, error, stays, goes = printed(_SEVERAL, _LOG, _LOG, _LOG)

    assert address == "127.0.0.1"
    assert moments == "0"
    assert same == ["True True True"] * 6
    assert error == "unknown_column target.none"
    assert (stays, goes) == ("True", "False")


def test_the_command_line_runs_on_ray(tmp_path: Path) -> None:
    """`banditd replay --engine ray --ray-address local` writes what it writes without, but for last digits."""
    engines = {"local": ["local"], "ray": ["ray"], "finely": ["ray", "--ray-cut", "finely"]}
    files = {engine: tmp_path / f"{engine}.json" for engine in engines}
    command: list[str | Path] = [sys.executable, "-m", "banditd", "replay", _LOG, "--policy", "new=epsilon_greedy"]
    command += ["--workers", "2", "--ray-address", "local"]
    for engine, file in files.items():
        done = subprocess.run(
            [*command, "--engine", *engines[engine], "--json", file],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr

    assert json.loads(files["local"].read_text())["events"] == 6_000
    assert_alike(json.loads(files["ray"].read_text()), json.loads(files["local"].read_text()))
    whole, cut = (json.loads(files[name].read_text())["policies"]["new"] for name in ("local", "finely"))
    assert cut["estimates"]["snips"]["value"] == pytest.approx(whole["estimates"]["snips"]["value"], rel=1e-12)


@pytest.mark.parametrize("address", ["auto", "ray://127.0.0.1:1"])
def test_a_cluster_that_is_not_there_is_named(address: str) -> None:
    """Without a cluster at the address, the error names the address and what is wrong."""
    program = f"""
from replay.errors import InvalidLog
from replay import evaluate
from replay.logs import open_log
from replay.ray_engine import RayEngine
import sys
try:
    evaluate(open_log(sys.argv[1]), {{}}, engine=RayEngine({address!r}))
except InvalidLog as error:
    print(error.code, error)
"""
    [line] = printed(program, _LOG)

    assert line.startswith(f"ray_unreachable ray_address: {address!r} does not answer")
