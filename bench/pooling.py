"""What pooling is worth: 50 small segments, alike and unlike, with their own policies, a shared one, or both.

``python -m bench.pooling`` prints the table in `docs/pooling.md`; ``--quick`` a smaller one. All that runs is the
policies' own code: the parent learns every outcome with the segment in its context, a lane's own policy starts from it,
and `policies.contest` decides how much of the lane each serves.

The worlds, all with ten actions that are ids alone and rewards of 0 or 1:

``rates``
    Base rates of the actions around 8 %; segments differ from them by a normal deviate in log-odds of standard
    deviation 0 (alike), 0.5 (some) and 1.5 (unlike).
``devices``
    The same with a context of three devices, which change the log-odds by 0.8 standard deviations; in ``unlike`` they
    do so differently in every segment.
``digits``
    The images of scikit-learn's digits as contexts, one reward for the right one of ten classes; in ``unlike`` every
    segment has names of its own for the classes.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from policies import Action, Context, Outcome, Policy, PolicySpec, parse_spec
from policies.contest import START, Contest
from policies.evidence import Evidence
from policies.protocol import FloatArray

__all__ = ["main"]

Mode = Literal["own", "shared", "auto"]
MODES: Final[tuple[Mode, ...]] = ("own", "shared", "auto")
LIKENESS: Final = {"alike": 0.0, "some": 0.5, "unlike": 1.5}
N_SEGMENTS: Final = 50
N_ACTIONS: Final = 10
ROUNDS: Final = 10_000
SEEDS: Final = 10
_T_95: Final = {2: 4.303, 9: 2.262}  # Student's t, two-sided, by degrees of freedom

CASES: Final[tuple[tuple[str, dict[str, Any], str], ...]] = (
    ("rates", {"kind": "thompson"}, "thompson"),
    ("rates", {"kind": "vw"}, "vw"),
    ("devices", {"kind": "vw"}, "vw"),
    ("devices", {"kind": "thompson", "model": "linear"}, "thompson linear"),
    ("digits", {"kind": "vw"}, "vw"),
)


@dataclass(frozen=True, slots=True)
class Moment:
    """One request: its segment, its context, and what each action would pay on average."""

    segment: int
    context: Context
    rates: FloatArray


@dataclass(frozen=True, slots=True)
class Job:
    """One run."""

    world: str
    likeness: str
    settings: dict[str, Any]
    mode: Mode
    seed: int
    rounds: int


def rates_world(source: np.random.Generator, spread: float, *, devices: int) -> Callable[[int], Moment]:
    """Return a maker of moments with made-up reward rates."""
    base = math.log(0.08 / 0.92) + 0.7 * source.standard_normal(N_ACTIONS)
    segments = base + spread * source.standard_normal((N_SEGMENTS, N_ACTIONS))
    effects = np.zeros((1, 1, N_ACTIONS))
    if devices > 1:
        shape = (N_SEGMENTS if spread > 1.0 else 1, devices, N_ACTIONS)
        effects = 0.8 * source.standard_normal(shape)
    rates = 1.0 / (1.0 + np.exp(-(segments[:, None, :] + effects)))
    contexts = [
        [Context.of({"device": f"d{d}"} if devices > 1 else {}).within(f"s{s}") for d in range(devices)]
        for s in range(N_SEGMENTS)
    ]

    def moment(segment: int) -> Moment:
        device = int(source.integers(devices))
        return Moment(segment, contexts[segment][device], rates[segment, min(device, rates.shape[1] - 1)])

    return moment


def digits_world(source: np.random.Generator, spread: float) -> Callable[[int], Moment]:
    """Return a maker of moments out of images; a likeness that is not 0 gives each segment names of its own."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - an extra, and slow to import

    data = load_digits()
    images = [Context.of({f"p{i}": float(v) / 16.0 for i, v in enumerate(row) if v}) for row in data.data]
    names = np.array(
        [source.permutation(N_ACTIONS) if spread > 0.0 else np.arange(N_ACTIONS) for _ in range(N_SEGMENTS)]
    )
    one = np.eye(N_ACTIONS)

    def moment(segment: int) -> Moment:
        i = int(source.integers(len(images)))
        return Moment(segment, images[i].within(f"s{segment}"), one[names[segment, data.target[i]]])

    return moment


def moments(job: Job) -> Iterator[Moment]:
    """Yield the requests of a run: large and small segments, in random order."""
    source = np.random.default_rng(job.seed)
    spread = LIKENESS[job.likeness]
    if job.world == "digits":
        moment = digits_world(source, spread)
    else:
        moment = rates_world(source, spread, devices=3 if job.world == "devices" else 1)
    weights = 1.0 / np.sqrt(np.arange(1, N_SEGMENTS + 1))
    for segment in source.choice(N_SEGMENTS, size=job.rounds, p=weights / weights.sum()):
        yield moment(int(segment))


class Segments:
    """The policies of all segments, as the server would hold them."""

    def __init__(self, spec: PolicySpec, mode: Mode) -> None:
        self._spec = spec
        self._mode = mode
        self._parent: Policy | None = None if mode == "own" else spec.build()
        self._own: dict[int, Policy] = {s: spec.build() for s in range(N_SEGMENTS)} if mode == "own" else {}
        self._contests: dict[int, Contest] = {}
        self._pool = Evidence()
        self._n = [0] * N_SEGMENTS

    def probabilities(self, moment: Moment, actions: list[Action]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return what is played, what the segment's own policy would play, and what the shared one would."""
        own = self._own.get(moment.segment)
        if self._parent is None:
            alone = self._own[moment.segment].probabilities(moment.context, actions)
            return alone, alone, alone
        shared = self._parent.probabilities(moment.context, actions)
        if own is None:
            return shared, shared, shared
        vector = own.probabilities(moment.context, actions)
        share = self._contests[moment.segment].own_share(self._pool)
        return share * vector + (1.0 - share) * shared, vector, shared

    def learn(self, segment: int, outcome: Outcome, *, own: float, shared: float) -> None:
        """Take one outcome in."""
        contest = self._contests.get(segment)
        if contest is not None:
            before = contest.evidence.copy()
            contest.add(own=own, shared=shared, propensity=outcome.propensity, reward=outcome.reward)
            self._pool.count(contest.evidence, instead_of=before)
        if segment in self._own:
            self._own[segment].learn(outcome)
        if self._parent is not None:
            self._parent.learn(outcome)
        self._n[segment] += 1
        if self._mode == "auto" and self._parent is not None and self._n[segment] == START:
            self._own[segment] = self._spec.build()
            self._own[segment].adopt(self._parent)
            self._contests[segment] = Contest()

    def n_own(self) -> int:
        """Return how many segments their own policy serves."""
        return sum(contest.serving(self._pool) == "own" for contest in self._contests.values())


def captured(job: Job) -> tuple[float, int]:
    """Return which share of the way from random to best play a run captured, and how many segments serve themselves."""
    segments = Segments(parse_spec(job.settings), job.mode)
    actions = [Action.of(f"a{i}") for i in range(N_ACTIONS)]
    source = np.random.default_rng([job.seed, 1])
    earned = at_random = at_best = 0.0
    for moment in moments(job):
        played, own, shared = segments.probabilities(moment, actions)
        earned += float(played @ moment.rates)
        at_random += float(moment.rates.mean())
        at_best += float(moment.rates.max())
        cumulative = np.cumsum(played)
        chosen = min(int(np.searchsorted(cumulative, source.random() * cumulative[-1], side="right")), N_ACTIONS - 1)
        reward = float(source.random() < moment.rates[chosen])
        outcome = Outcome(moment.context, actions, chosen, min(1.0, float(played[chosen])), reward)
        segments.learn(moment.segment, outcome, own=float(own[chosen]), shared=float(shared[chosen]))
    return (earned - at_random) / (at_best - at_random), segments.n_own()


def interval(values: FloatArray) -> tuple[float, float]:
    """Return the mean over seeds and half the width of its 95 % interval."""
    half = _T_95[len(values) - 1] * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()), half


def main() -> None:
    """Print the table, then its figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 seeds of 1,500 rounds")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    seeds, rounds = (3, 1_500) if given.quick else (SEEDS, ROUNDS)
    started = time.perf_counter()
    jobs = [
        Job(world, likeness, settings, mode, seed, rounds)
        for world, settings, _ in CASES
        for likeness in LIKENESS
        if not (world == "digits" and likeness == "some")
        for mode in MODES
        for seed in range(seeds)
    ]
    with ProcessPoolExecutor(given.processes) as pool:
        results = list(pool.map(captured, jobs))
    found: dict[tuple[str, str, str], dict[str, FloatArray]] = {}
    serving: dict[tuple[str, str, str], list[int]] = {}
    names = {(world, json.dumps(settings)): name for world, settings, name in CASES}
    for job, (share, n_own) in zip(jobs, results, strict=True):
        key = (job.world, names[job.world, json.dumps(job.settings)], job.likeness)
        values = found.setdefault(key, {mode: np.zeros(seeds) for mode in MODES})
        values[job.mode][job.seed] = share
        if job.mode == "auto":
            serving.setdefault(key, []).append(n_own)
    print(f"{N_SEGMENTS} segments, {rounds} rounds, {seeds} seeds; share of the way from random to best play\n")
    print("| world | policy | segments | own | shared | auto | auto − better of the two | served by their own |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for (world, name, likeness), values in found.items():
        better = max(("own", "shared"), key=lambda mode: float(values[mode].mean()))
        cells = [f"{mean:.3f} ± {half:.3f}" for mean, half in (interval(values[mode]) for mode in MODES)]
        apart, half_apart = interval(values["auto"] - values[better])
        cells += [f"{apart:+.3f} ± {half_apart:.3f}", f"{np.mean(serving[world, name, likeness]):.0f} of {N_SEGMENTS}"]
        print(f"| {world} | {name} | {likeness} | {' | '.join(cells)} |")
        rows.append(
            {
                "world": world,
                "policy": name,
                "segments": likeness,
                **{str(mode): round(float(values[mode].mean()), 4) for mode in MODES},
                "auto_minus_better": round(apart, 4),
                "half_width": round(half_apart, 4),
            }
        )
    print(f"\n{time.perf_counter() - started:.0f} s")
    print(json.dumps({"bench": "pooling", "segments": N_SEGMENTS, "rounds": rounds, "seeds": seeds, "rows": rows}))


if __name__ == "__main__":
    main()
