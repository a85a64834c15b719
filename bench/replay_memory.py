"""Say how much memory an evaluation takes at its peak, in a process that does nothing else.

``python -m bench.replay_memory '{"log": ["FOLDER"], "kind": "parquet"}'`` prints one line of JSON: rows and bytes. A
log of dsjson may name its file several times, which makes a longer log of it.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

from bench.replay_fixed import MAPPING, fixed_candidates
from bench.replay_logs import write_dsjson, write_parquet
from replay import evaluate
from replay.logs import open_log

__all__ = ["bench_memory", "measure"]

_KIB = 1_024
_PARQUET_ROWS = (100_000, 1_000_000, 10_000_000)
_PARQUET_ROWS_QUICK = (100_000, 1_000_000)
_DSJSON_EVENTS = 10_000  # written once, and named as often as it takes
_DSJSON_TIMES = (10, 100)
_DSJSON_TIMES_QUICK = (2, 10)
_CANDIDATES: dict[str, dict[str, Any]] = {
    "parquet": {**fixed_candidates()},
    "dsjson": {},  # the baselines
    "vw": {"vw": "vw --cb_explore_adf --epsilon 0.1"},
}


def measure(job: dict[str, Any]) -> dict[str, int]:
    """Evaluate a log and return its events and the peak of this process."""
    log = open_log(job["log"], mapping=MAPPING if job["kind"] == "parquet" else None)
    events = evaluate(log, _CANDIDATES[job["kind"]]).health.events
    return {"events": events, "peak_bytes": _peak_bytes()}


def bench_memory(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Print the table and return the figures: peak memory by rows, and how much the longest log takes more."""
    print("\npeak memory of a process that evaluates a log")
    jobs: dict[str, list[dict[str, Any]]] = {"parquet": [], "dsjson": [], "vw": []}
    for n in _PARQUET_ROWS_QUICK if quick else _PARQUET_ROWS:
        table = folder / f"rows-{n}"
        write_parquet(table, n, seed=4)
        jobs["parquet"].append({"kind": "parquet", "log": [str(table)]})
    lines = folder / "lines.json"
    write_dsjson(lines, _DSJSON_EVENTS, seed=5)
    times = _DSJSON_TIMES_QUICK if quick else _DSJSON_TIMES
    jobs["dsjson"] = [{"kind": "dsjson", "log": [str(lines)] * several} for several in times]
    jobs["vw"] = [{"kind": "vw", "log": [str(lines)] * several} for several in (1, times[0])]
    figures: dict[str, Any] = {}
    for kind, each in jobs.items():
        found = [_run(job) for job in each]
        figures[kind] = {f"{one['events']}": one["peak_bytes"] for one in found}
        figures[f"{kind}_growth"] = round(found[-1]["peak_bytes"] / found[0]["peak_bytes"], 3)
        sizes = ", ".join(f"{one['events']:,}: {one['peak_bytes'] / 1e6:.0f} MB" for one in found)
        print(f"{kind:<10}{sizes}; growth {figures[f'{kind}_growth']}")
    return figures


def _peak_bytes() -> int:
    """Return the most memory that this program had; the figure of `getrusage` begins with what its parent had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * _KIB
    raise AssertionError("the kernel does not say how much memory this process had")


def _run(job: dict[str, Any]) -> dict[str, int]:
    command = [sys.executable, "-m", "bench.replay_memory", orjson.dumps(job).decode()]
    done = subprocess.run(command, check=True, capture_output=True)
    found: dict[str, int] = orjson.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    print(orjson.dumps(measure(orjson.loads(sys.argv[1]))).decode())
