"""Time evaluations: VW's own options beside VW's driver and coba, candidates that do not learn, memory.

``python -m bench.replay [--quick]`` prints tables and, last, one line of JSON. README.md says what is measured.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from bench.one_thread import run_with_one_thread
from bench.replay_fixed import bench_fixed
from bench.replay_learning import bench_policies, bench_vw
from bench.replay_memory import bench_memory

__all__ = ["main"]

_PARTS = ("vw_learning", "fixed", "memory", "policies")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench and return 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description="What evaluating a log costs.")
    parser.add_argument("--quick", action="store_true", help="under a minute or so: fewer rounds, shorter logs")
    parser.add_argument("--rounds", type=int, help="of each comparison; default 9, quick: 3")
    parser.add_argument("--part", action="append", choices=_PARTS, help="repeatable; default: all")
    options = parser.parse_args(arguments)
    quick: bool = options.quick
    rounds: int = options.rounds or (3 if quick else 9)
    started = time.monotonic()
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, ", end="")
    print(f"Python {platform.python_version()}, numpy {version('numpy')}, vowpalwabbit {version('vowpalwabbit')}")
    print(f"{rounds} rounds in turns; ratios are taken within a round, printed is their median")
    figures: dict[str, Any] = {"bench": "replay"}
    with tempfile.TemporaryDirectory(prefix="bench-replay-") as name:
        folder = Path(name)
        parts: dict[str, Callable[[], Any]] = {
            "vw_learning": lambda: bench_vw(folder, rounds=rounds, quick=quick),
            "fixed": lambda: bench_fixed(folder, rounds=rounds, quick=quick),
            "memory": lambda: bench_memory(folder, quick=quick),
            "policies": lambda: bench_policies(folder, quick=quick),
        }
        for part, measure in parts.items():
            if options.part is None or part in options.part:
                figures[part] = measure()
                sys.stdout.flush()
    figures |= {"rounds": rounds, "quick": quick, "elapsed_s": round(time.monotonic() - started, 1)}
    print(orjson.dumps(figures).decode())
    return 0


if __name__ == "__main__":
    run_with_one_thread("bench.replay")
    sys.exit(main())
