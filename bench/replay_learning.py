"""Candidates that learn along a log: VW's own options beside VW's own driver and coba, and policies of banditd."""

import importlib.util
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vowpalwabbit import Workspace

from bench.replay_logs import ACTIONS, interactions, jsonl_of, write_dsjson
from replay import evaluate
from replay.logs import open_log

__all__ = ["Spent", "bench_policies", "bench_vw", "in_turns", "ratio"]

_OPTIONS = "--cb_explore_adf --epsilon 0.1 --cb_type mtr"
_PAIRS = "--interactions UI"  # every feature of the user with every one of the item
_COBA_PAIRS = "--interactions xa"  # the same, as coba calls the two
_AGREE = 1e-5
_EVENTS, _EVENTS_QUICK = 50_000, 10_000
_COBA_EVENTS, _COBA_EVENTS_QUICK = 5_000, 1_000
_POLICY_EVENTS, _POLICY_EVENTS_QUICK = 5_000, 1_000
_POLICIES: Mapping[str, Mapping[str, Any]] = {
    "vw": {"kind": "vw"},
    "epsilon_greedy": {"kind": "epsilon_greedy"},
    "thompson": {"kind": "thompson"},
}


@dataclass(frozen=True, slots=True)
class Spent:
    """What one run took; CPU time counts all threads of the process."""

    wall_s: float
    cpu_s: float
    answer: float


def in_turns(calls: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, list[Spent]]:
    """Run each call once a round, each round beginning with another one."""
    spent: dict[str, list[Spent]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(rounds):
        start = number % len(names)
        for name in (*names[start:], *names[:start]):
            wall, cpu = time.perf_counter(), time.process_time()
            answer = calls[name]()
            spent[name].append(Spent(time.perf_counter() - wall, time.process_time() - cpu, answer))
    return spent


def ratio(one: Sequence[Spent], other: Sequence[Spent], what: str) -> float:
    """Return how many times as long `one` takes as `other`: the median of the rounds' ratios."""
    return float(statistics.median(getattr(a, what) / getattr(b, what) for a, b in zip(one, other, strict=True)))


def bench_vw(folder: Path, *, rounds: int, quick: bool) -> dict[str, Any]:
    """Print the table and return the figures of VW's own options on a dsjson log.

    Raises
    ------
    ArithmeticError
        VW's driver and the evaluation disagree on the average loss.
    """
    n = _EVENTS_QUICK if quick else _EVENTS
    n_coba = _COBA_EVENTS_QUICK if quick else _COBA_EVENTS
    log = folder / "decisions.json"
    write_dsjson(log, n, seed=1)
    calls: dict[str, Callable[[], float]] = {"vw driver": lambda: driver_loss(log), "replay": lambda: replay_loss(log)}
    if importlib.util.find_spec("coba") is not None:
        events = interactions(log, n_coba)
        calls["coba"] = lambda: _coba_loss(events)
    counts = {"vw driver": n, "replay": n, "coba": n_coba}
    for call in calls.values():  # what is loaded at the first use is nobody's cost
        call()
    spent = in_turns(calls, rounds=rounds)
    apart = max(abs(a.answer - b.answer) for a, b in zip(spent["vw driver"], spent["replay"], strict=True))
    if not apart <= _AGREE:
        raise ArithmeticError(f"average losses differ by {apart}")
    return _report_vw(spent, counts, apart)


def driver_loss(log: Path) -> float:
    """Return the average loss of VW's own driver over the file: what ``python -m vowpalwabbit`` runs."""
    workspace: Any = Workspace(f"--dsjson --data={log} {_OPTIONS} {_PAIRS} --quiet")
    loss: float = workspace.get_sum_loss() / workspace.get_weighted_examples()
    workspace.finish()
    return loss


def replay_loss(log: Path) -> float:
    """Return the same from an evaluation with all that it does by default: it is minus the IPS estimate."""
    evaluation = evaluate(open_log(log), {"vw": f"vw {_OPTIONS} {_PAIRS}"})
    return -evaluation.policies["vw"].estimates["ips"].value


def _coba_loss(events: Sequence[Mapping[str, Any]]) -> float:
    """Return minus coba's progressive IPS; it asks for a score before each event and learns the event after."""
    from coba.evaluators import SequentialCB  # type: ignore[import-not-found] # noqa: PLC0415 - where it is installed
    from coba.learners import VowpalLearner  # type: ignore[import-not-found] # noqa: PLC0415 - as above

    learner = VowpalLearner(f"{_OPTIONS} {_COBA_PAIRS} --quiet")
    results = list(SequentialCB(record=["reward"], learn="off", eval="ips").evaluate(_Events(events), learner))
    learner.finish()
    return -statistics.fmean(one["reward"] for one in results)


@dataclass(frozen=True, slots=True)
class _Events:
    """What coba calls an environment, ready in memory."""

    events: Sequence[Mapping[str, Any]]

    @property
    def params(self) -> Mapping[str, Any]:
        return {}

    def read(self) -> Sequence[Mapping[str, Any]]:
        return self.events


def _report_vw(spent: Mapping[str, Sequence[Spent]], counts: Mapping[str, int], apart: float) -> dict[str, Any]:
    sizes = f"{counts['replay']:,} decisions between {ACTIONS} actions, coba {counts['coba']:,} of them"
    print(f"\nvw {_OPTIONS} {_PAIRS} on dsjson: {sizes}")
    print(f"{'':<12}{'us a decision':>16}{'CPU us':>10}{'average loss':>16}")
    figures: dict[str, Any] = {"agree_to": apart}
    for name, runs in spent.items():
        wall, cpu = (statistics.median(getattr(run, what) for run in runs) * 1e6 / counts[name] for what in _WHAT)
        print(f"{name:<12}{wall:>16.1f}{cpu:>10.1f}{runs[-1].answer:>16.6f}")
        figures |= {f"{name.replace(' ', '_')}_us": round(wall, 2), f"{name.replace(' ', '_')}_cpu_us": round(cpu, 2)}
    ours = spent["replay"]
    figures["ratio_to_vw_driver"] = round(ratio(spent["vw driver"], ours, "cpu_s"), 3)
    figures["ratio_to_vw_driver_wall"] = round(ratio(spent["vw driver"], ours, "wall_s"), 3)
    each = [round(a.cpu_s / b.cpu_s, 3) for a, b in zip(spent["vw driver"], ours, strict=True)]
    figures["ratio_rounds"] = each
    if "coba" in spent:
        scale = counts["replay"] / counts["coba"]
        figures["times_coba"] = round(ratio(spent["coba"], ours, "cpu_s") * scale, 2)
        figures["times_coba_wall"] = round(ratio(spent["coba"], ours, "wall_s") * scale, 2)
    else:
        print("coba is not installed: no comparison with it")
    print(f"speed beside VW's driver {figures['ratio_to_vw_driver']} (CPU), ", end="")
    print(f"{figures['ratio_to_vw_driver_wall']} (wall); beside coba {figures.get('times_coba', math.nan)} (CPU)")
    return figures


_WHAT = ("wall_s", "cpu_s")


def bench_policies(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Print and return how many decisions a second policies of banditd are folded over; for information."""
    n = _POLICY_EVENTS_QUICK if quick else _POLICY_EVENTS
    source, log = folder / "few.json", folder / "few.jsonl"
    write_dsjson(source, n, seed=2)
    jsonl_of(source, log, n)
    print(f"\npolicies of banditd learning along {n:,} decisions of banditd's own JSON lines")
    figures: dict[str, Any] = {"events": n}
    for name, spec in _POLICIES.items():
        started = time.process_time()
        evaluate(open_log(log), {name: spec})
        figures[f"{name}_events_per_cpu_s"] = round(n / (time.process_time() - started))
        print(f"{name:<16}{figures[f'{name}_events_per_cpu_s']:>10,} decisions a CPU second")
    return figures
