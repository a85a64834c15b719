"""Say what one lane's policy takes in memory, in a process that does nothing else.

``python -m bench.policies_memory '{"spec": {"kind": "vw"}, "quick": false}'`` prints one line of JSON: bytes of a
policy as it is built, and after 200 outcomes over a catalogue of 1,000 items, each the growth of the process
divided by the copies made.
"""

import ctypes
import gc
import sys
from pathlib import Path
from typing import Any

import orjson

from bench.policies_data import Shop
from policies import parse_spec

__all__ = ["measure", "resident_bytes"]

_KIB = 1_024
_OUTCOMES = 200
_ACTIONS = 10
_COPIES = 100
_COPIES_QUICK = 20
_ENOUGH_BYTES = 600_000_000  # no further copies: what is measured is clear by then


def measure(spec: dict[str, Any], *, copies: int) -> dict[str, int]:
    """Return the bytes of a copy, built and trained, and how many copies were made."""
    shop = Shop(seed=1)
    log = shop.outcomes(shop.known(_OUTCOMES, n_actions=_ACTIONS))
    parsed = parse_spec(spec)
    first = parsed.build()  # what the first one loads and fills belongs to none of them
    for outcome in log:
        first.learn(outcome)
        first.probabilities(outcome.context, outcome.actions)
    before = resident_bytes()
    policies = [parsed.build() for _ in range(copies)]
    built = (resident_bytes() - before) // copies
    n_trained = 0
    for policy in policies:
        for outcome in log:
            policy.learn(outcome)
        policy.probabilities(log[0].context, log[0].actions)
        n_trained += 1
        if resident_bytes() - before > _ENOUGH_BYTES:
            break
    grown = resident_bytes() - before - built * copies
    return {"built": built, "trained": built + grown // n_trained, "copies": n_trained}


def resident_bytes() -> int:
    """Return the memory of this process, after what is free was given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * _KIB
    raise AssertionError("the kernel does not say how much memory this process has")


if __name__ == "__main__":
    job = orjson.loads(sys.argv[1])
    print(orjson.dumps(measure(job["spec"], copies=_COPIES_QUICK if job["quick"] else _COPIES)).decode())
