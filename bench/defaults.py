"""Compare policies on real data sets, to choose the defaults by it: ``python -m bench.defaults [--quick]``.

Prints the tables of docs/defaults.md and, last, one line of JSON. ``--write`` puts the tables into that page.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from banditd.demo import obd_data
from bench.defaults_data import PROBLEMS, load
from bench.defaults_policies import ENTRANTS, OPPONENT
from bench.defaults_run import Log, play, play_log
from bench.defaults_table import Clicks, Results, clicks_table
from policies import Action, Context, FloatArray, parse_spec
from policies.state import spec_bytes

__all__ = ["main"]

_PAGE = Path(__file__).parent.parent / "docs" / "defaults.md"
_BY_NAME = {entrant.name: entrant for entrant in ENTRANTS}
_QUICK_SEEDS = 3
_QUICK_SHARE = 10  # a quick run plays so many times fewer rounds
_COLUMNS = 8  # problems beside each other in one table
_CHUNK = 5  # seeds of one job


@dataclass(frozen=True, slots=True)
class Job:
    """One player with some seeds on one problem, or, where `problem` is None, on the Open Bandit log."""

    player: str
    problem: str | None
    seeds: Sequence[int]
    share: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and return 0."""
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    players = [name for name in _BY_NAME if options.player is None or name in {*options.player, OPPONENT}]
    problems = [name for name in PROBLEMS if options.problem is None or name in options.problem]
    seeds = range(options.seeds or (_QUICK_SEEDS if options.quick else 20))
    plan = Plan(players, problems, seeds, _QUICK_SHARE if options.quick else 1, with_log=not options.without_log)
    if plan.with_log:
        asyncio.run(obd_data.cached_wheel())  # once, before several processes ask for it
    kept = Kept(options.keep)
    _run_all(plan.jobs(), options.processes, kept)

    results = Results(players, problems, plan.shares(kept), OPPONENT)
    clicks = {job.player: Clicks(*kept.values(job)) for job in plan.jobs() if job.problem is None}
    tables = _tables(results, clicks)
    for name, lines in tables.items():
        print(f"\n{name}\n", *lines, sep="\n")
    if options.write:
        _write(_PAGE, tables)
    figures = _figures(results, clicks)
    figures |= {"seeds": len(seeds), "quick": options.quick, "elapsed_s": round(time.monotonic() - started, 1)}
    print("\n" + orjson.dumps(figures).decode())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.defaults", description="Which defaults win.")
    parser.add_argument("--quick", action="store_true", help="under a minute: 3 seeds and a tenth of the rounds")
    parser.add_argument("--seeds", type=int, help="orders of the rows; default 20, quick: 3")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--player", action="append", choices=list(_BY_NAME), help="repeatable; default: all")
    parser.add_argument("--problem", action="append", choices=list(PROBLEMS), help="repeatable; default: all")
    parser.add_argument("--without-log", action="store_true", help="leave the Open Bandit log out")
    parser.add_argument("--keep", type=Path, help="file of finished runs: what it holds is not run again")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/defaults.md")
    return parser


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is to be run."""

    players: Sequence[str]
    problems: Sequence[str]
    seeds: Sequence[int]
    share: int
    with_log: bool

    def jobs(self) -> list[Job]:
        """Return the jobs, all of the first seeds before any of the next."""
        jobs = []
        for i, chunk in enumerate(self._chunks()):
            jobs += [Job(player, problem, chunk, self.share) for problem in self.problems for player in self.players]
            if i == 0 and self.with_log:  # no more of it: the log's few clicks are the same in every order
                jobs += [Job(player, None, chunk, self.share) for player in self.players]
        return jobs

    def shares(self, kept: "Kept") -> FloatArray:
        """Return what the jobs gave: shape (n_players, n_problems, n_seeds)."""

        def of(player: str, problem: str) -> list[float]:
            jobs = [Job(player, problem, chunk, self.share) for chunk in self._chunks()]
            return [value for job in jobs for value in kept.values(job)]

        return np.array([[of(player, problem) for problem in self.problems] for player in self.players])

    def _chunks(self) -> list[Sequence[int]]:
        return [self.seeds[start : start + _CHUNK] for start in range(0, len(self.seeds), _CHUNK)]


class Kept:
    """What finished jobs gave: in memory, and in a file, a line of JSON for each, where one was named."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._values: dict[str, list[float]] = {}
        if path is not None and path.exists():
            for line in path.read_bytes().splitlines():
                key, values = orjson.loads(line)
                self._values[key] = values

    def __contains__(self, job: Job) -> bool:
        return _key(job) in self._values

    def add(self, job: Job, values: list[float]) -> None:
        """Keep what a job gave."""
        self._values[_key(job)] = values
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(orjson.dumps([_key(job), values]) + b"\n")

    def values(self, job: Job) -> list[float]:
        """Return what a job gave."""
        return self._values[_key(job)]


def _key(job: Job) -> str:
    """Return what tells a job from any other: not by names, which may come to mean something else."""
    recipe = None if job.problem is None else (job.problem, PROBLEMS[job.problem].n_rounds)
    return repr((_meaning(job.player), recipe, tuple(job.seeds), job.share))


@cache
def _meaning(player: str) -> str:
    entrant = _BY_NAME[player]
    if entrant.settings is None:
        return repr((entrant.options, entrant.floor, entrant.by_hand))
    return spec_bytes(parse_spec(entrant.settings)).decode()


def _run_all(jobs: Sequence[Job], n_processes: int, kept: Kept) -> None:
    started = time.monotonic()
    left = [job for job in jobs if job not in kept]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # for the processes to come: each keeps to one core
    with get_context("spawn").Pool(n_processes) as pool:
        for done, (job, values) in enumerate(pool.imap_unordered(_run, left), start=1):
            kept.add(job, values)
            print(f"\r{done} of {len(left)}, {time.monotonic() - started:.0f} s ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _run(job: Job) -> tuple[Job, list[float]]:
    entrant = _BY_NAME[job.player]
    if job.problem is None:
        log = _log()
        n_rows = len(log.contexts) // job.share
        orders = [play_log(entrant.player(), log, seed=seed, n_rows=n_rows) for seed in job.seeds]
        return job, list(astuple(Clicks.of(orders)))
    recipe, problem = PROBLEMS[job.problem], load(job.problem, by_hand=entrant.by_hand)
    n_rounds = recipe.n_rounds // job.share
    means = [play(entrant.player(), problem, n_rounds=n_rounds, seed=seed, batch=recipe.batch) for seed in job.seeds]
    return job, [(mean - problem.random) / (problem.best - problem.random) for mean in means]


@cache
def _log() -> Log:
    """Return the women's campaign of the Open Bandit data."""
    data = obd_data.read_log(asyncio.run(obd_data.cached_wheel()))
    actions = [Action.of(action["id"], action["features"]) for action in orjson.loads(data.actions)]
    places = {action.id: i for i, action in enumerate(actions)}
    return Log(
        actions,
        [Context.of(orjson.loads(row.context)) for row in data.rows],
        [places[row.item_id] for row in data.rows],
        [row.click for row in data.rows],
    )


def _tables(results: Results, clicks: Mapping[str, Clicks]) -> dict[str, list[str]]:
    played = [(name, PROBLEMS[name]) for name in results.problems]
    lines = [f"| {name} | `{one.source}` | {one.n_rounds:,} | {one.about} |" for name, one in played]
    tables = {"played": ["| problem | data set | rounds | what it is |", "|---|---|---|---|", *lines]}
    tables["summary"] = [
        *results.summary(),
        "",
        f"Each problem was played in {results.shares.shape[2]} orders of its rows.",
    ]
    for start in range(0, len(results.problems), _COLUMNS):
        columns = results.problems[start : start + _COLUMNS]
        tables[f"problems {start + 1} to {start + len(columns)}"] = results.detail(columns)
    if clicks:
        tables["open bandit log"] = clicks_table(clicks)
    return tables


def _write(page: Path, tables: Mapping[str, Sequence[str]]) -> None:
    """Replace what stands between ``<!-- NAME -->`` and ``<!-- end -->`` in a page by the table of that name."""
    text = page.read_text(encoding="utf-8")
    for name, lines in tables.items():
        opening, closing = f"<!-- {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(opening)
        _, closed, after = rest.partition(closing)
        if not found or not closed:
            raise ValueError(f"{page} has no place for the table {name!r}")
        text = before + opening + "\n" + "\n".join(lines) + "\n\n" + closing + after
    page.write_text(text, encoding="utf-8")


def _figures(results: Results, clicks: Mapping[str, Clicks]) -> dict[str, Any]:
    players = {}
    for name in results.by_mean():
        mean, lead = results.mean(name), results.lead(name)
        players[name] = {
            "mean": round(mean.mean, 4),
            "mean_half": round(mean.half, 4),
            "lead": round(lead.mean, 4),
            "lead_half": round(lead.half, 4),
            "worse_on": [problem for problem, one in results.leads(name).items() if one.clear < 0],
            "rank": round(results.rank(name), 2),
            "settings": _BY_NAME[name].settings or _BY_NAME[name].options,
        }
    return {
        "bench": "defaults",
        "opponent": results.opponent,
        "problems": list(results.problems),
        "players": players,
        "clicks_per_1000": {name: round(one.per_1000, 2) for name, one in clicks.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
