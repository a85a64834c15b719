"""Rank over HTTP, next to a bare aiohttp handler; then, how long a reward takes to count.

``python -m bench.rank [--quick]`` prints a table and, last, one line of JSON. README.md says what is measured.
"""

import argparse
import math
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from bench.bodies import rank_bodies
from bench.effect import EffectJob
from bench.load import LoadJob, percentile
from bench.servers import (
    LOAD_CORE,
    SERVER_CORE,
    JobFailed,
    JobProcess,
    Server,
    ServerFailed,
    accepts,
    busy_s,
    cpu_s,
    file_system_of,
    is_ready,
    pin,
    rank_once,
    start_banditd,
    start_bare,
)

__all__ = ["Cell", "main", "summarise"]

POLICIES = ("vw", "epsilon_greedy", "thompson")
_BARE = "bare"
_N_BODIES = 2_048
_RATIO_AT = 64  # connections at which the throughput's goal is set
_P99_AT = 16  # connections at which the latency's goal is set
_NOT_A_DISK = ("tmpfs", "ramfs")
_N_REWARDS = 1_000  # the fewest that a p99 is taken of
_FIRST_TOUCH_S = 0.5  # load before anything is measured, so that no server pays for its first requests


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    policies: tuple[str, ...]
    connections: tuple[int, ...]
    seconds: float
    warmup_s: float
    rounds: int
    n_items: int
    n_rewards: int
    effect_s: float
    reward_share: float
    store: Path
    pinned: bool
    profile: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One server at one number of connections in one round."""

    server: str
    connections: int
    rps: float
    latencies_us: Sequence[float]
    worker_us: float
    children_us: float
    load_us: float


def summarise(cells: Sequence[Cell], *, server: str, connections: int) -> dict[str, Any]:
    """Return the figures of one server at one number of connections.

    Rates and CPU times are medians over the rounds; percentiles are those of all rounds' replies together; ratios
    are taken within each round, against the bare handler, and their median is returned.
    """
    mine = [cell for cell in cells if cell.server == server and cell.connections == connections]
    bare = [cell for cell in cells if cell.server == _BARE and cell.connections == connections]
    ordered = sorted(latency for cell in mine for latency in cell.latencies_us)
    pairs = list(zip(mine, bare, strict=True))
    return {
        "rps": round(statistics.median(cell.rps for cell in mine)),
        "ratio": round(statistics.median(_ratio(one.rps, other.rps) for one, other in pairs), 3),
        "ratio_rounds": [round(_ratio(one.rps, other.rps), 3) for one, other in pairs],
        "cpu_ratio": round(statistics.median(_ratio(other.worker_us, one.worker_us) for one, other in pairs), 3),
        "p50_ms": round(percentile(ordered, 0.5) / 1e3, 3),
        "p99_ms": round(percentile(ordered, 0.99) / 1e3, 3),
        "p999_ms": round(percentile(ordered, 0.999) / 1e3, 3),
        "p99_ratio": round(statistics.median(_ratio(_p99_us(one), _p99_us(other)) for one, other in pairs), 2),
        "cpu_us": round(statistics.median(cell.worker_us for cell in mine), 1),
        "journal_cpu_us": round(statistics.median(cell.children_us for cell in mine), 1),
        "load_cpu_us": round(statistics.median(cell.load_us for cell in mine), 1),
        "n": len(ordered),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; return 0, or 1 if a server or the load failed and there are no figures."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit unwinds, and so ends the servers
    started = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="bench-rank-", dir=options.store))
    try:
        figures = _run(options, directory)
    except (JobFailed, ServerFailed) as error:
        print(f"bench.rank failed: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(directory)
    figures["elapsed_s"] = round(time.monotonic() - started, 1)
    print(orjson.dumps(figures).decode())  # writes NaN as null, so that the line stays JSON
    return 0


def _run(options: Options, directory: Path) -> dict[str, Any]:
    bodies = rank_bodies(_N_BODIES, n_items=options.n_items)
    requests = directory / "bodies.jsonl"
    requests.write_bytes(b"\n".join(bodies))
    with ExitStack() as stack:
        servers = _start(options, directory, bodies=bodies, stack=stack)
        load = stack.enter_context(JobProcess("bench.load"))
        follower = stack.enter_context(JobProcess("bench.effect"))
        if options.pinned:
            for process in (load, follower):
                pin(process.pid, core=LOAD_CORE)
        _print_set_up(options, bodies=bodies)
        effects = {  # first, so that what ranks are timed of has learned: before that, policies have nothing to compute
            name: _measure_effect(
                follower, EffectJob(servers[name].port, str(requests), options.n_rewards, options.effect_s)
            )
            for name in options.policies
        }
        noise = _Noise((load, *servers.values()))
        cells = _measure_ranks(options, servers=servers, load=load, requests=requests)
        others = noise.share()
    _print_table(cells, options=options)
    print(f"other processes and the host took {others:.0%} of the cores meanwhile")
    _print_effects(effects)
    if options.profile:
        _print_profiles(options, directory)
    return {**_figures(cells, effects=effects, options=options), "others_cpu_share": round(others, 3)}


def _start(options: Options, directory: Path, *, bodies: Sequence[bytes], stack: ExitStack) -> dict[str, Server]:
    servers: dict[str, Server] = {}
    reply = directory / "reply.json"
    for policy in options.policies:
        launcher = ("-m", "bench.profile_rank", str(_profile_of(policy, directory))) if options.profile else None
        servers[policy] = stack.enter_context(start_banditd(policy, directory=directory, launcher=launcher))
    for server in servers.values():
        server.wait_until(is_ready)
        answer = rank_once(server.port, bodies[0])
        if not reply.exists():
            reply.write_bytes(answer)  # what the bare handler answers: the same members, the same size
    bare = stack.enter_context(start_bare(reply=reply, directory=directory))
    bare.wait_until(accepts)
    servers = {_BARE: bare, **servers}
    if options.pinned:
        for server in servers.values():
            server.pin()
    return servers


def _measure_ranks(options: Options, *, servers: Mapping[str, Server], load: JobProcess, requests: Path) -> list[Cell]:
    for server in servers.values():
        _measure_cell(server, load=load, job=LoadJob(server.port, str(requests), _P99_AT, _FIRST_TOUCH_S, 0.0))
    cells = []
    for _ in range(options.rounds):
        for connections in options.connections:
            for name, server in servers.items():
                share = 0.0 if name == _BARE else options.reward_share
                job = LoadJob(server.port, str(requests), connections, options.warmup_s, options.seconds, share)
                cells.append(_measure_cell(server, load=load, job=job))
    return cells


class _Noise:
    """How much of the cores went to what is not this bench."""

    def __init__(self, processes: Sequence[Server | JobProcess]) -> None:
        self._processes = processes
        self._started = time.monotonic()
        self._others_s = self._others()

    def share(self) -> float:
        """Return the others' share of the cores' time since the start, in [0, 1]."""
        elapsed_s = (time.monotonic() - self._started) * (os.cpu_count() or 1)
        return max(self._others() - self._others_s, 0.0) / elapsed_s

    def _others(self) -> float:
        return busy_s() - sum(cpu_s(pid) for process in self._processes for pid in process.pids)


def _measure_cell(server: Server, *, load: JobProcess, job: LoadJob) -> Cell:
    before = server.cpu_times()
    result = load.run(job)
    after = server.cpu_times()
    refused = {status: count for status, count in result["statuses"].items() if status != "200"}
    if refused:
        raise JobFailed(f"{server.name} answered {refused}, first:\n{result['first_error']}")
    return Cell(
        server=server.name,
        connections=job.connections,
        rps=result["n_in_window"] / job.seconds if job.seconds else 0.0,
        latencies_us=result["latencies_us"],
        worker_us=(after.worker_s - before.worker_s) / result["n_sent"] * 1e6,
        children_us=(after.children_s - before.children_s) / result["n_sent"] * 1e6,
        load_us=result["cpu_us"],
    )


def _measure_effect(follower: JobProcess, job: EffectJob) -> dict[str, Any]:
    result = follower.run(job)
    if result["n_missed"]:
        raise JobFailed(f"{result['n_missed']} of {job.n_rewards} rewards were not learned within a second")
    ordered = sorted(result["latencies_us"])
    return {
        "p50_ms": round(percentile(ordered, 0.5) / 1e3, 3),
        "p99_ms": round(percentile(ordered, 0.99) / 1e3, 3),
        "max_ms": round(ordered[-1] / 1e3, 3),
        "n": len(ordered),
        "ranks_until_seen": round(result["n_polls"] / len(ordered), 2),
        "background_rps": round(result["n_background"] / result["seconds"]),
    }


def _figures(cells: Sequence[Cell], *, effects: Mapping[str, Mapping[str, Any]], options: Options) -> dict[str, Any]:
    figures: dict[str, Any] = {"bench": "rank"}
    for server in (_BARE, *options.policies):
        by_connections = {
            str(connections): summarise(cells, server=server, connections=connections)
            for connections in options.connections
        }
        busiest = by_connections.get(str(_RATIO_AT), {})
        latency = by_connections.get(str(_P99_AT), {})
        figures[server] = {
            "ratio": busiest.get("ratio"),
            "rps": busiest.get("rps"),
            "p99_ms": latency.get("p99_ms"),
            "p99_ratio_16": latency.get("p99_ratio"),
            "cpu_us": busiest.get("cpu_us"),
            "cpu_ratio": busiest.get("cpu_ratio"),
            "journal_cpu_us": busiest.get("journal_cpu_us"),
            "by_connections": by_connections,
        }
    figures["reward_to_effect"] = dict(effects)
    figures["reward_to_effect_p99_ms"] = max((effect["p99_ms"] for effect in effects.values()), default=None)
    figures["reward_share"] = options.reward_share
    figures["rounds"] = options.rounds
    figures["seconds"] = options.seconds
    figures["pinned"] = options.pinned
    figures["profiled"] = options.profile
    return figures


def _print_set_up(options: Options, *, bodies: Sequence[bytes]) -> None:
    python = f"Python {platform.python_version()}"
    packages = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "vowpalwabbit"))
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, {python}, {packages}")
    print(f"store: durability = sync, {file_system_of(options.store)}")
    sizes = [len(body) for body in bodies]
    print(f"bodies: {len(bodies)} of {min(sizes)}-{max(sizes)} bytes, 10 actions each out of {options.n_items}")
    if options.pinned:
        print(f"pinned: each server to core {SERVER_CORE}; load generator and journal processes to core {LOAD_CORE}")
    else:
        print("not pinned: the scheduler places servers, journals and load generator")
    print(
        f"{options.rounds} rounds of {options.seconds:g} s a cell; rewards for {options.reward_share:.0%} of decisions"
    )
    if options.profile:
        print("PROFILED: these figures are for finding hot spots, not for comparing")
    sys.stdout.flush()


def _print_table(cells: Sequence[Cell], *, options: Options) -> None:
    print(
        f"\n{'conns':>5} {'server':<15}{'rps':>8}{'ratio':>8}{'p50 ms':>9}{'p99 ms':>9}{'p99.9 ms':>10}"
        f"{'p99 ratio':>11}{'cpu us':>8}{'cpu ratio':>11}{'journal us':>12}{'load us':>9}"
    )
    for connections in options.connections:
        for server in (_BARE, *options.policies):
            row = summarise(cells, server=server, connections=connections)
            print(
                f"{connections:>5} {server:<15}{row['rps']:>8}{row['ratio']:>8.3f}{row['p50_ms']:>9.3f}"
                f"{row['p99_ms']:>9.3f}{row['p999_ms']:>10.3f}{row['p99_ratio']:>11.2f}{row['cpu_us']:>8.1f}{row['cpu_ratio']:>11.3f}"
                f"{row['journal_cpu_us']:>12.1f}{row['load_cpu_us']:>9.1f}"
            )


def _print_effects(effects: Mapping[str, Mapping[str, Any]]) -> None:
    print("\nreward to effect: from a reward's reply to the reply of the first rank by a newer version")
    for name, effect in effects.items():
        print(
            f"  {name:<15} p50 {effect['p50_ms']:.3f} ms, p99 {effect['p99_ms']:.3f} ms, max {effect['max_ms']:.3f} ms"
            f" over {effect['n']} rewards; {effect['ranks_until_seen']} ranks until seen,"
            f" {effect['background_rps']} ranks/s beside it"
        )
    print()


def _print_profiles(options: Options, directory: Path) -> None:
    for policy in options.policies:
        print(f"--- {policy}\n{_profile_of(policy, directory).read_text()}")


def _profile_of(policy: str, directory: Path) -> Path:
    return directory / f"{policy}.profile"


def _ratio(one: float, other: float) -> float:
    return one / other if other else math.nan  # on a stalled machine a cell may hold no reply and no tick


def _p99_us(cell: Cell) -> float:
    return percentile(sorted(cell.latencies_us), 0.99)


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench.rank", description="Rank over HTTP, against a bare handler.")
    parser.add_argument("--quick", action="store_true", help="under a minute: shorter rounds, fewer rewards")
    parser.add_argument("--policy", action="append", choices=POLICIES, help="repeatable; default: all three")
    parser.add_argument("--connections", type=_connections, default=(1, 16, 64), metavar="N,N,…")
    parser.add_argument("--seconds", type=float, help="measured time of one server at one number of connections")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--items", type=int, default=200, help="items that the actions are drawn from")
    parser.add_argument("--rewards", type=int, help="rewards followed to their effect, per policy")
    parser.add_argument("--with-rewards", type=float, default=0.0, metavar="SHARE", help="of decisions, sent meanwhile")
    parser.add_argument("--store", type=Path, help="where the stores are kept meanwhile; must be a disk")
    parser.add_argument("--no-pin", action="store_true", help="leave the placement on cores to the scheduler")
    parser.add_argument("--profile", action="store_true", help="sample the servers and print where their time goes")
    given = parser.parse_args(arguments)
    store = given.store or _disk_of_the_repository()
    if file_system_of(store).split()[0] in _NOT_A_DISK:
        parser.error(f"{store} is {file_system_of(store)}: a sync costs nothing there; name a disk with --store")
    policies = tuple(given.policy or POLICIES)
    return Options(
        policies=policies,
        connections=given.connections,
        seconds=given.seconds or (0.3 if given.quick else 2.0),
        warmup_s=0.1 if given.quick else 0.4,
        rounds=given.rounds or (5 if given.quick else 7),
        n_items=given.items,
        n_rewards=given.rewards or (_N_REWARDS if given.quick else 3 * _N_REWARDS),
        effect_s=5.0 if given.quick else 120.0,
        reward_share=given.with_rewards,
        store=store,
        pinned=not given.no_pin and len(os.sched_getaffinity(0)) > LOAD_CORE,
        profile=given.profile,
    )


def _connections(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _disk_of_the_repository() -> Path:
    """Return the directory for temporary files if it is on the same device as this file, else the repository."""
    root, temporary = Path(__file__).parent.parent, Path(tempfile.gettempdir())
    return temporary if temporary.stat().st_dev == root.stat().st_dev else root


if __name__ == "__main__":
    sys.exit(main())
