"""How often 95 % intervals hold, and how wide they are: ours beside everybody's, on logs whose truth is known.

    python -m bench.coverage [--logs 2000] [--worlds 3] [--seed 7]

Prints one table a case, and a last line of JSON. An anchor that covers less than 93.5 % (three standard errors of
2,000 logs below 95 %) is no measure of width; logs whose rewards are all equal count for coverage alone.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np

from bench.coverage_worlds import CASES, Case, Log, World, worlds
from replay.arrays import estimate
from replay.batch import Batch
from replay.estimators.ips import Ips, Snips
from replay.intervals import Interval, interval

__all__ = ["ANCHORS", "Score", "measure"]

_ENOUGH = 0.935
_ROOM = 1.05
_Z = 1.959963984540054  # the normal quantile of 97.5 %

Ends = tuple[float, float]
Method = Callable[[Batch, float], Ends]


def _ends(found: Interval) -> Ends:
    return found.lower, found.upper


def _gaussian_ips(batch: Batch, _: float) -> Ends:
    by = Ips()
    by.add(batch)
    return _ends(by.interval("gaussian"))


def _delta_snips(batch: Batch, _: float) -> Ends:
    by = Snips()
    by.add(batch)
    return _ends(by.interval("gaussian"))


def _frozen_bootstrap(batch: Batch, _: float) -> Ends:
    """Return what resampling r w ÷ mean(w) with a frozen mean comes to: the spread of IPS terms around SNIPS."""
    weights = batch.weights
    if not weights.any():
        return math.nan, math.nan
    terms = batch.rewards * weights / weights.mean()
    margin = _Z * float(terms.std()) / math.sqrt(len(batch))
    return float(terms.mean()) - margin, float(terms.mean()) + margin


def _by_sums(method: str, *, known: bool) -> Method:
    def make(batch: Batch, max_weight: float) -> Ends:
        by = Ips()
        by.add(batch)
        return _ends(interval(by.sums, method, max_weight=max(1.0, max_weight) if known else None))

    return make


ANCHORS: dict[str, Method] = {
    "gaussian, ips": _gaussian_ips,
    "delta method, snips": _delta_snips,
    "bootstrap of snips, frozen mean": _frozen_bootstrap,
    "clopper-pearson, largest weight seen": _by_sums("clopper_pearson", known=False),
    "cressie-read, largest weight given": _by_sums("cressie_read", known=True),
    "empirical bernstein": _by_sums("empirical_bernstein", known=True),
}


@dataclass(slots=True)
class Score:
    """How one kind of interval did on the logs of one world."""

    held: int = 0
    n: int = 0
    widths: list[float] = field(default_factory=list)

    def add(self, ends: Ends, truth: float, *, counts: bool) -> None:
        """Take in the interval of one log; its width only `counts` where rewards differ."""
        self.n += 1
        self.held += bool(ends[0] <= truth <= ends[1])  # NaN never holds
        if counts and math.isfinite(ends[1] - ends[0]):
            self.widths.append(ends[1] - ends[0])

    @property
    def coverage(self) -> float:
        """Share of logs whose interval held the truth."""
        return self.held / self.n

    @property
    def width(self) -> float:
        """Mean width; NaN if no log counted."""
        return fmean(self.widths) if self.widths else math.nan


def measure(world: World, n_logs: int, rng: np.random.Generator, *, anchors: bool = True) -> dict[str, Score]:
    """Return the scores of all anchors, and of ours with the largest weight given and not."""
    names = [*(ANCHORS if anchors else ()), "auto, largest weight given", "auto"]
    scores = {name: Score() for name in names}
    for _ in range(n_logs):
        log = world.log(rng)
        counts = bool(np.ptp(log.rewards) > 0.0)
        batch = Batch.of(log.rewards, log.propensities, log.target)
        if anchors:
            for name, method in ANCHORS.items():
                scores[name].add(method(batch, world.max_weight), world.value, counts=counts)
        scores["auto, largest weight given"].add(_auto(log, max(1.0, world.max_weight)), world.value, counts=counts)
        scores["auto"].add(_auto(log, None), world.value, counts=counts)
    return scores


def _auto(log: Log, max_weight: float | None) -> Ends:
    found = estimate(log.rewards, log.propensities, log.target, estimators=("snips",), max_weight=max_weight)["snips"]
    return found.lower, found.upper


def narrowest(scores: dict[str, Score]) -> str:
    """Return the anchor with the least mean width of those that cover; "" if none does."""
    covering = [name for name in ANCHORS if name in scores and scores[name].coverage >= _ENOUGH]
    return min(covering, key=lambda name: scores[name].width, default="")


def _print(world: World, scores: dict[str, Score], best: str) -> None:
    print(f"\n{world.case.name}, n = {world.case.n:,}: {world.name}; truth {world.value:.4f}")
    for name, score in scores.items():
        if name == best:
            remark = "  <- the narrowest anchor that covers"
        elif name in ANCHORS:
            remark = "" if score.coverage >= _ENOUGH else "  does not cover"
        else:
            remark = f"  {score.width / scores[best].width:.3f} of it" if best else ""
        print(f"  {name:38} {score.coverage:7.3f} {score.width:9.4f}{remark}")


def _summary(case: Case, ran: Sequence[tuple[World, dict[str, Score], str]]) -> dict[str, Any]:
    result: dict[str, Any] = {"case": case.name, "n": case.n, "worlds": len(ran)}
    for name in ("auto, largest weight given", "auto"):
        ratios = [scores[name].width / scores[best].width for _, scores, best in ran if best]
        result[name] = {
            "least_coverage": min(scores[name].coverage for _, scores, _ in ran),
            "mean_coverage": fmean(scores[name].coverage for _, scores, _ in ran),
            "width_to_narrowest": {"median": float(np.median(ratios)), "most": max(ratios)} if ratios else None,
            "too_wide": sum(ratio > _ROOM for ratio in ratios),
        }
    return result


def main(arguments: Sequence[str]) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="bench.coverage")
    parser.add_argument("--logs", type=int, default=2_000, help="logs drawn from each world")
    parser.add_argument("--worlds", type=int, default=3, help="worlds of each case")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    summaries = []
    for case in CASES:
        ran = []
        for index, world in enumerate(worlds(case, options.worlds, options.seed)):
            scores = measure(world, options.logs, np.random.default_rng([options.seed, case.n, index]))
            best = narrowest(scores)
            _print(world, scores, best)
            ran.append((world, scores, best))
        summaries.append(_summary(case, ran))
    print(json.dumps({"bench": "coverage", "logs": options.logs, "seed": options.seed, "cases": summaries}))


if __name__ == "__main__":
    main(sys.argv[1:])
