"""Ten thousand lanes in one process: what they take in memory, and what a rank costs that finds its lane cold.

``python -m bench.lanes [--quick]`` prints what it does and, last, one line of JSON. README.md says what is measured.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from banditd.config import load_config
from banditd.journal.local import LocalJournal
from banditd.keys import Keyring
from banditd.logs import configure
from banditd.messages import RankRequest, RewardRequest
from banditd.service import Service
from bench.load import percentile
from bench.policies_data import Shop
from bench.policies_memory import resident_bytes
from policies.vw import Vw

__all__ = ["main"]

_ACTIONS = 10
_SPARE = 3  # policies in memory that are no hot lane's
_BODIES = 500
_LIMIT_BYTES = 8 << 30  # what ten thousand lanes have to fit in
_KIB = 1_024


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    lanes: int
    hot: int
    visits: int
    revisits: int
    pooling: str
    durability: str
    store: Path


class _World:
    """A service over a store of its own, in this process."""

    def __init__(self, service: Service, journal: LocalJournal) -> None:
        self.service = service
        self.journal = journal
        shop = Shop(seed=1)
        self._bodies = [
            {
                "context": request.context,
                "actions": [{"id": action_id, "features": features} for action_id, features in request.actions],
            }
            for request in shop.known(_BODIES, n_actions=_ACTIONS)
        ]
        self._rng = np.random.default_rng(1)

    async def rank(self, lane: int) -> tuple[str, float]:
        """Return the event id of a rank in a lane, and the ms until its answer."""
        body = self._bodies[int(self._rng.integers(_BODIES))] | {"segment": _segment(lane)}
        request = msgspec.json.decode(msgspec.json.encode(body), type=RankRequest)
        started = time.perf_counter()
        reply = await self.service.rank(request)
        spent_ms = (time.perf_counter() - started) * 1e3
        await asyncio.sleep(0)  # as between two requests of a server: what runs beside them gets its turn
        return reply.event_id, spent_ms

    async def reward(self, event_id: str) -> float:
        """Reward a decision, one in five with 1, and return the ms until the answer."""
        request = RewardRequest(event_id, float(self._rng.random() < 0.2), None)
        started = time.perf_counter()
        await self.service.reward(request)
        spent_ms = (time.perf_counter() - started) * 1e3
        await asyncio.sleep(0)  # as above
        return spent_ms

    async def close(self) -> None:
        await self.service.close()
        await self.journal.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; return 0, or 1 if more lanes were in memory than allowed, or more memory was taken."""
    options = _parse(arguments)
    configure(level="warning")
    directory = Path(tempfile.mkdtemp(prefix="bench-lanes-", dir=options.store))
    try:
        figures = asyncio.run(_run(options, directory))
    finally:
        shutil.rmtree(directory)
    print(json.dumps(figures))
    return 0 if figures["within_limits"] else 1


async def _run(options: Options, directory: Path) -> dict[str, Any]:
    figures: dict[str, Any] = {"bench": "lanes", "lanes": options.lanes, "hot_lanes": options.hot}
    figures |= {"pooling": options.pooling, "rss_before_mb": _mb(resident_bytes())}
    started = time.perf_counter()
    world = await _start(options, directory)
    figures["seconds_to_ready"] = round(time.perf_counter() - started, 2)
    figures["rss_ready_mb"] = _mb(resident_bytes())
    print(f"{options.lanes:,} lanes of kind vw, ready after {figures['seconds_to_ready']} s, ", end="")
    print(f"{figures['rss_before_mb']} -> {figures['rss_ready_mb']} MB")
    order = np.random.default_rng(2).permutation(options.lanes).tolist()
    started = time.perf_counter()
    most = await _visit(world, order, visits=options.visits)
    figures["seconds_first_visits"] = round(time.perf_counter() - started, 1)
    print(f"every lane visited, {options.visits} ranks and rewards each: {figures['seconds_first_visits']} s")
    sys.stdout.flush()
    figures |= await _revisit(world, order[: options.revisits])
    most = max(most, _policies_alive())
    figures |= {"most_policies_in_memory": most, "rss_mb": _mb(resident_bytes())}
    figures["store_mb"] = _mb(_bytes_in(directory))
    await world.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
    figures["peak_rss_mb"] = _mb(peak)
    # Besides the hot ones: a parent, the one that the configuration was checked with, and one on its way in or out.
    figures["within_limits"] = peak < _LIMIT_BYTES and most <= options.hot + _SPARE
    print(f"most policies in memory at once: {most}; peak {figures['peak_rss_mb']:,} MB of {_mb(_LIMIT_BYTES):,} MB")
    return figures


async def _start(options: Options, directory: Path) -> _World:
    path = directory / "banditd.toml"
    path.write_text(_toml(options))
    journal = LocalJournal.open(
        directory / "store.db", durability="sync" if options.durability == "sync" else "process"
    )
    service = Service(load_config(path, {}), journal, Keyring.load_or_create(directory / "store.keys"))
    await service.start()
    return _World(service, journal)


async def _visit(world: _World, order: Sequence[int], *, visits: int) -> int:
    """Rank and reward in each lane, one lane after the other; return the most policies that were in memory."""
    most = 0
    for number, lane in enumerate(order):
        for _ in range(visits):
            event_id, _ = await world.rank(lane)
            await world.reward(event_id)
        if number % 500 == 0:
            most = max(most, _policies_alive())
    return max(most, _policies_alive())


async def _revisit(world: _World, order: Sequence[int]) -> dict[str, float]:
    """Visit lanes again, in the order in which they went cold."""
    cold, cold_cpu, hot, rewards, events = [], [], [], [], []
    for lane in order:
        started = time.process_time()
        event_id, spent_ms = await world.rank(lane)
        cold.append(spent_ms)
        cold_cpu.append((time.process_time() - started) * 1e3)
        later, spent_ms = await world.rank(lane)
        hot.append(spent_ms)
        rewards.append(await world.reward(event_id))
        events.append(later)
    late = [await world.reward(event_id) for event_id in events]  # by now most of their lanes are cold again
    figures = {}
    for name, times in (
        ("cold_rank", cold),
        ("cold_rank_cpu", cold_cpu),
        ("hot_rank", hot),
        ("hot_reward", rewards),
        ("cold_reward", late),
    ):
        ordered = sorted(times)
        for share, label in ((0.5, "p50"), (0.99, "p99")):
            figures[f"{name}_{label}_ms"] = round(percentile(ordered, share), 3)
        print(
            f"{name.replace('_', ' '):<15} p50 {figures[f'{name}_p50_ms']:>8} ms, p99 {figures[f'{name}_p99_ms']:>8} ms"
        )
    return figures


def _policies_alive() -> int:
    """Count the VW policies that exist, whoever holds them."""
    return sum(type(each) is Vw for each in gc.get_objects())


def _bytes_in(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def _toml(options: Options) -> str:
    head = f'[store]\nhot_lanes = {options.hot}\n\n[default]\npolicy = {{ kind = "uniform" }}\n'
    return head + "".join(
        f'\n[[segments]]\nname = "{_segment(lane)}"\npolicy = {{ kind = "vw" }}\npooling = "{options.pooling}"\n'
        for lane in range(options.lanes)
    )


def _segment(lane: int) -> str:
    return f"s{lane:05}"


def _mb(size: int) -> int:
    return round(size / 1e6)


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench.lanes", description="Many lanes in one process.")
    parser.add_argument("--quick", action="store_true", help="1,000 lanes, 50 of them hot")
    parser.add_argument("--lanes", type=int)
    parser.add_argument("--hot", type=int, help="lanes in memory at a time")
    parser.add_argument("--visits", type=int, default=3, help="ranks and rewards in each lane")
    parser.add_argument("--revisits", type=int, help="lanes that are timed afterwards")
    parser.add_argument("--pooling", choices=("own", "auto", "shared"), default="own")
    parser.add_argument("--durability", choices=("sync", "process"), default="process")
    parser.add_argument("--store", type=Path, help="where the store is kept meanwhile")
    options = parser.parse_args(arguments)
    lanes = options.lanes or (1_000 if options.quick else 10_000)
    hot = options.hot or (50 if options.quick else 200)
    return Options(
        lanes=lanes,
        hot=hot,
        visits=options.visits,
        revisits=min(options.revisits or (300 if options.quick else 1_000), lanes),
        pooling=options.pooling,
        durability=options.durability,
        store=options.store or Path(tempfile.gettempdir()),
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
