"""Candidates that do not learn: rows a second from Parquet and from arrays, and what a bootstrap takes."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.replay_learning import Spent, in_turns, ratio
from bench.replay_logs import ACTIONS, as_columns, write_parquet
from replay import evaluate
from replay.arrays import estimate
from replay.candidates import Column, Recipe, Table, Uniform
from replay.logs import open_log

__all__ = ["MAPPING", "bench_fixed", "fixed_candidates"]

_ROWS, _ROWS_QUICK = 1_000_000, 200_000
_REPLICATES = 1_000
_NAIVE_REPLICATES, _NAIVE_REPLICATES_QUICK = 20, 5
_ESTIMATORS = ("ips", "snips")
MAPPING = {
    "reward": "reward",
    "propensity": "propensity",
    "action": "action",
    "actions": [f"a{i}" for i in range(ACTIONS)],
    "target": {"new": "target.new"},
}


def fixed_candidates() -> dict[str, Recipe]:
    """Return one of each kind: a column of the log, a table of probabilities; `uniform` is always there."""
    shares = np.arange(1.0, ACTIONS + 1.0)
    return {"column": Column("new"), "table": Table.of(shares / shares.sum())}


def bench_fixed(folder: Path, *, rounds: int, quick: bool) -> dict[str, Any]:
    """Print the tables and return the figures."""
    n = _ROWS_QUICK if quick else _ROWS
    log = folder / "rows"
    write_parquet(log, n, seed=3)
    table = as_columns(n, seed=3)
    arrays = (table["reward"], table["propensity"], table["target.new"])
    n_naive = _NAIVE_REPLICATES_QUICK if quick else _NAIVE_REPLICATES
    calls: dict[str, Callable[[], float]] = {
        "one": lambda: _evaluated(log, {"column": Column("new")}),
        "all": lambda: _evaluated(log, fixed_candidates()),
        "arrays": lambda: estimate(*arrays, estimators=_ESTIMATORS)["snips"].value,
        "numpy": lambda: _numpy_snips(*arrays),
    }
    for call in calls.values():
        call()
    spent = in_turns(calls, rounds=rounds)
    boots: dict[str, Callable[[], float]] = {
        "bootstrap": lambda: estimate(*arrays, estimators=_ESTIMATORS, interval="percentile_bootstrap")["snips"].lower,
        "naive": lambda: _naive_bootstrap(*arrays, n_replicates=n_naive),
    }
    spent |= in_turns(boots, rounds=1 if quick else 3)
    return _report(spent, n, n_naive)


def _evaluated(log: Path, candidates: dict[str, Recipe]) -> float:
    found = evaluate(open_log(log, mapping=MAPPING), candidates).policies
    assert found["uniform"].spec == Uniform.text  # noqa: S101 - what is timed is what is said to be
    return found["column"].estimates["snips"].value


def _numpy_snips(rewards: Any, propensities: Any, target: Any) -> float:
    """Return the least that any estimator must do: two vectors and three sums."""
    weights = target / propensities
    return float((weights * rewards).mean() / weights.mean())


def _naive_bootstrap(rewards: Any, propensities: Any, target: Any, *, n_replicates: int) -> float:
    """Return a bound as Open Bandit Pipeline makes it: rows drawn anew with replacement, as often as there are rows.

    It resamples what each row adds to the estimate, with the mean weight of the whole log, and takes one estimator.
    """
    weights = target / propensities
    each = weights * rewards / weights.mean()
    rng = np.random.default_rng(12_345)
    means = [float(rng.choice(each, size=len(each)).mean()) for _ in range(n_replicates)]
    return float(np.percentile(means, 2.5))


def _report(spent: dict[str, list[Spent]], n: int, n_naive: int) -> dict[str, Any]:
    print(f"\ncandidates that do not learn, {n:,} rows")
    n_all = 3 + len(fixed_candidates())
    labels = {
        "one": "evaluate, Parquet: a column, and the three baselines",
        "all": f"evaluate, Parquet: {n_all} candidates, baselines among them",
        "arrays": "estimate, arrays: ips and snips with intervals",
        "numpy": "the value of snips alone, in numpy",
    }
    rates: dict[str, int] = {}
    for name, label in labels.items():
        wall, cpu = (n / statistics.median(getattr(one, what) for one in spent[name]) for what in ("wall_s", "cpu_s"))
        rates[name] = round(cpu)
        print(f"{label:<56}{cpu / 1e6:>8.2f} M rows a CPU second{wall / 1e6:>8.2f} M a second")
    ours = statistics.median(one.cpu_s for one in spent["bootstrap"])
    naive = statistics.median(one.cpu_s for one in spent["naive"]) * _REPLICATES / n_naive
    print(f"bootstrap of both, {_REPLICATES:,} replicates: {ours:.2f} s of CPU time; ", end="")
    print(f"drawing rows anew, for one estimator: {naive:.1f} s ({n_naive} replicates measured)")
    return {
        "rows": n,
        "events_per_s": rates["one"],
        "events_per_s_five_candidates": rates["all"],
        "candidate_rows_per_s": rates["all"] * n_all,
        "arrays_rows_per_s": rates["arrays"],
        "numpy_snips_rows_per_s": rates["numpy"],
        "bootstrap_1m_s": round(ours * 1e6 / n, 2),
        "naive_bootstrap_1m_s": round(naive * 1e6 / n, 1),
        "times_naive_bootstrap": round(ratio(spent["naive"], spent["bootstrap"], "cpu_s") * _REPLICATES / n_naive, 2),
    }
