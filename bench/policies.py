"""Time every policy, beside the fastest known way to do the same and beside other libraries.

``python -m bench.policies [--quick]`` prints tables and, last, one line of JSON. README.md says what is measured.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import orjson

from bench.one_thread import run_with_one_thread
from bench.policies_family import bench_family, bench_memory, bench_peers
from bench.policies_public import bench_public
from bench.policies_thompson import bench_beta, bench_linear
from bench.policies_vw import bench_vw

__all__ = ["main"]

_PARTS = ("vw", "vw_plain", "public", "beta", "linear", "family", "peers", "memory")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench and return 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.policies", description="What decisions and outcomes cost.")
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer rounds, fewer sizes")
    parser.add_argument("--rounds", type=int, help="of each comparison; default 25, quick: 7")
    parser.add_argument("--part", action="append", choices=_PARTS, help="repeatable; default: all")
    options = parser.parse_args(arguments)
    quick: bool = options.quick
    rounds: int = options.rounds or (7 if quick else 25)
    started = time.monotonic()
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, ", end="")
    print(f"Python {platform.python_version()}, numpy {version('numpy')}, vowpalwabbit {version('vowpalwabbit')}")
    print(f"{rounds} rounds, one thread, CPU time; spreads hold the middle 80 % of the rounds")
    parts: dict[str, tuple[str, Callable[[], Any]]] = {
        "vw": ("vw", lambda: bench_vw(rounds=rounds, numbers="standardised")),
        "vw_plain": ("vw_plain", lambda: bench_vw(rounds=rounds, numbers="plain")),
        "public": ("public_us_a_line", lambda: bench_public(rounds=rounds)),
        "beta": ("beta_thompson", lambda: bench_beta(rounds=rounds)),
        "linear": ("linear_thompson", lambda: bench_linear(rounds=rounds)),
        "family": ("policies", lambda: bench_family(rounds=rounds, quick=quick)),
        "peers": ("peers", lambda: bench_peers(rounds=rounds, quick=quick)),
        "memory": ("memory_per_lane_bytes", lambda: bench_memory(quick=quick)),
    }
    figures: dict[str, Any] = {"bench": "policies"}
    for part, (key, measure) in parts.items():
        if options.part is None or part in options.part:
            figures[key] = measure()
            sys.stdout.flush()
    figures |= {"rounds": rounds, "quick": quick, "elapsed_s": round(time.monotonic() - started, 1)}
    print(orjson.dumps(figures).decode())
    return 0


if __name__ == "__main__":
    run_with_one_thread("bench.policies")
    sys.exit(main())
