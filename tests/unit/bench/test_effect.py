"""Reward to effect is followed to the first rank of a newer version, no further and no less."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.effect import EffectJob, _follow
from bench.load import BadReply

BODIES = (b"{}",)


class _Server:
    """Learns each reward after a given number of further ranks."""

    def __init__(self, *, ranks_to_learn: int, status: str = "joined") -> None:
        self.ranks_to_learn = ranks_to_learn
        self.status = status
        self.seq = 7
        self.waiting: int | None = None
        self.n_rewards = 0

    async def rank(self, _request: web.Request) -> web.Response:
        if self.waiting is not None:
            self.waiting -= 1
            if self.waiting <= 0:
                self.seq += 1
                self.waiting = None
        return web.json_response({"event_id": "e", "version": {"epoch": 1, "seq": self.seq}})

    async def reward(self, _request: web.Request) -> web.Response:
        self.n_rewards += 1
        self.waiting = self.ranks_to_learn
        return web.json_response({"status": self.status})


@asynccontextmanager
async def _served(server: _Server) -> AsyncIterator[Callable[..., EffectJob]]:
    app = web.Application()
    app.router.add_post("/v1/rank", server.rank)
    app.router.add_post("/v1/reward", server.reward)
    async with TestServer(app, host="127.0.0.1") as listening:
        port = listening.port
        assert port is not None
        yield lambda **options: EffectJob(port, "", **options)


async def test_counts_ranks_until_seen() -> None:
    """Each reward is followed until a rank names a higher seq, and gives one latency."""
    server = _Server(ranks_to_learn=3)

    async with _served(server) as job:
        result = await _follow(job(n_rewards=5, background_connections=0), itertools.cycle(BODIES))

    assert server.n_rewards == 5
    assert result.n_polls == 15
    assert len(result.latencies_us) == 5
    assert min(result.latencies_us) > 0
    assert result.n_missed == 0


async def test_a_reward_that_is_never_learned_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reward that no rank shows in time is counted as missed, not left out."""
    monkeypatch.setattr("bench.effect._EFFECT_DEADLINE_S", 0.02)

    async with _served(_Server(ranks_to_learn=1_000_000)) as job:
        result = await _follow(job(n_rewards=2, background_connections=0), itertools.cycle(BODIES))

    assert (result.n_missed, result.latencies_us) == (2, [])


async def test_stops_when_its_time_is_over() -> None:
    """When the time is over, no further reward is sent."""
    server = _Server(ranks_to_learn=1)

    async with _served(server) as job:
        result = await _follow(
            job(n_rewards=1_000_000, seconds=0.05, background_connections=0), itertools.cycle(BODIES)
        )

    assert 0 < server.n_rewards == len(result.latencies_us) < 1_000_000


async def test_a_reward_that_is_not_joined_is_an_error() -> None:
    """A reward that the server does not join at once has no effect to wait for."""
    async with _served(_Server(ranks_to_learn=1, status="pending")) as job:
        with pytest.raises(BadReply, match="pending"):
            await _follow(job(n_rewards=1, background_connections=0), itertools.cycle(BODIES))


async def test_background_runs_beside_it_and_ends() -> None:
    """Background connections send ranks meanwhile and leave no task behind."""
    async with _served(_Server(ranks_to_learn=50)) as job:
        options = {"n_rewards": 5, "background_connections": 2, "background_pause_s": 0.0}

        result = await _follow(job(**options), itertools.cycle(BODIES))

        assert result.n_background > 0
        assert result.n_polls < 250  # some of the ranks until seen were theirs
        assert not [task for task in asyncio.all_tasks() if "_rank_now_and_then" in repr(task.get_coro())]
