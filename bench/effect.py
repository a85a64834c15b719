"""How long a reward takes to count: from its reply to the first rank answer that a newer version gave.

Runs as ``python -m bench.effect``, job by job, like `bench.load`.
"""

import asyncio
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import orjson
import uvloop

from bench.load import BadReply, post_bytes, reply_end, serve_jobs

__all__ = ["EffectJob", "EffectResult", "run_effect"]

_REPLY_DEADLINE_S = 5.0
_EFFECT_DEADLINE_S = 1.0  # a hundred times the goal: a reward that is not seen by then is counted as missed
_OK = 200


@dataclass(frozen=True, slots=True)
class EffectJob:
    """How many rewards to follow, and what else the server does meanwhile.

    Attributes
    ----------
    n_rewards, seconds
        Stop after so many rewards, or after the first one that this time has passed at.
    background_connections, background_pause_s
        Connections that each send a rank, wait for its reply, and pause.
    """

    port: int
    bodies: str
    n_rewards: int
    seconds: float = math.inf
    background_connections: int = 4
    background_pause_s: float = 0.01
    host: str = "127.0.0.1"


@dataclass(slots=True)
class EffectResult:
    """What was seen.

    Attributes
    ----------
    latencies_us
        Per reward: from its reply to the reply of the first rank with a higher seq; one rank at least.
    n_polls
        Ranks that this took, over all rewards.
    n_missed
        Rewards that no rank had seen after a second.
    n_background
        Ranks that the background load sent meanwhile.
    """

    latencies_us: list[float] = field(default_factory=list)
    n_polls: int = 0
    n_missed: int = 0
    n_background: int = 0
    seconds: float = 0.0


def run_effect(job: EffectJob) -> EffectResult:
    """Carry out one job.

    Raises
    ------
    BadReply
        An answer was not the one that was asked for, or not a 200.
    """
    return uvloop.run(_follow(job, itertools.cycle(Path(job.bodies).read_bytes().splitlines())))


async def _follow(job: EffectJob, bodies: Iterator[bytes]) -> EffectResult:
    result = EffectResult()
    client, poller = await _Client.connect(job), await _Client.connect(job)
    background = [
        asyncio.create_task(_rank_now_and_then(job, bodies, result)) for _ in range(job.background_connections)
    ]
    started = perf_counter()
    try:
        await _measure(job, client=client, poller=poller, bodies=bodies, result=result)
        for task in background:
            if task.done():
                task.result()  # raises what stopped it
    finally:
        result.seconds = perf_counter() - started
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        client.close()
        poller.close()
    return result


async def _measure(
    job: EffectJob, *, client: "_Client", poller: "_Client", bodies: Iterator[bytes], result: EffectResult
) -> None:
    stop_at = perf_counter() + job.seconds
    seq = 0  # highest seen in any answer: nothing but our own rewards raises it
    for _ in range(job.n_rewards):
        if perf_counter() > stop_at:
            break
        decision = await client.post("/v1/rank", next(bodies))
        seq = max(seq, decision["version"]["seq"])
        reward = await client.post("/v1/reward", orjson.dumps({"event_id": decision["event_id"], "reward": 1.0}))
        if reward["status"] != "joined":
            raise BadReply(f"a first reward was answered {reward}")
        replied = perf_counter()
        while True:
            answer = await poller.post("/v1/rank", next(bodies))
            now = perf_counter()
            result.n_polls += 1
            if answer["version"]["seq"] > seq:
                result.latencies_us.append((now - replied) * 1e6)
                break
            if now - replied > _EFFECT_DEADLINE_S:
                result.n_missed += 1
                break


async def _rank_now_and_then(job: EffectJob, bodies: Iterator[bytes], result: EffectResult) -> None:
    client = await _Client.connect(job)
    try:
        while True:
            await client.post("/v1/rank", next(bodies))
            result.n_background += 1
            await asyncio.sleep(job.background_pause_s)
    finally:
        client.close()


class _Client(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.rest = b""
        self.reply: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def connect(cls, job: EffectJob) -> "_Client":
        return (await asyncio.get_running_loop().create_connection(cls, job.host, job.port))[1]

    async def post(self, path: str, body: bytes) -> Any:
        """Return the decoded body of a 200."""
        self.reply = asyncio.get_running_loop().create_future()
        self.transport.write(post_bytes(path, body))
        async with asyncio.timeout(_REPLY_DEADLINE_S):
            status, reply = await self.reply
        if status != _OK:
            raise BadReply(f"{path} was answered {status}: {reply[:300]!r}")
        return orjson.loads(reply)

    def close(self) -> None:
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(BadReply(f"the connection was closed before its reply came ({exc})"))

    def data_received(self, data: bytes) -> None:
        self.rest += data
        if self.reply is None or self.reply.done():
            return
        try:
            found = reply_end(self.rest)
        except BadReply as error:
            self.reply.set_exception(error)
            return
        if found is not None:
            status, end = found
            reply, self.rest = self.rest[:end], self.rest[end:]
            self.reply.set_result((status, reply[reply.index(b"\r\n\r\n") + 4 :]))


if __name__ == "__main__":
    serve_jobs(lambda job: run_effect(EffectJob(**job)))
