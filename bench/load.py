"""A load generator cheap enough to share two cores with the server that it measures.

Each of N keep-alive connections is a closed loop: write a request, wait for the whole reply, write the next.
It runs in a process of its own, as ``python -m bench.load``, which reads jobs from standard input, one JSON
object a line, and answers each with one line.
"""

import asyncio
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, cast

import orjson
import uvloop

__all__ = ["BadReply", "LoadJob", "LoadResult", "percentile", "post_bytes", "reply_end", "run_load", "serve_jobs"]

_HEAD_LIMIT_BYTES = 16_384  # no server of ours writes more; without a bound a broken one would be read for ever
_DRAIN_S = 10.0  # time for the last replies once nothing new is sent
_OK = 200


class BadReply(Exception):
    """The peer sent something that is not the one reply that was asked for."""


@dataclass(frozen=True, slots=True)
class LoadJob:
    """What to send and for how long.

    Attributes
    ----------
    bodies
        File of rank bodies, one a line; sent in order, round and round, shared by all connections.
    warmup_s, seconds
        What is sent in the first `warmup_s` is not counted.
    reward_share
        Share in [0, 1] of decisions that the same connection rewards before its next rank.
    """

    port: int
    bodies: str
    connections: int
    warmup_s: float
    seconds: float
    reward_share: float = 0.0
    host: str = "127.0.0.1"


@dataclass(slots=True)
class LoadResult:
    """What came back.

    Attributes
    ----------
    latencies_us
        Of every rank that was sent after the warm-up, in the order of the replies.
    n_in_window
        Rank replies that arrived between the warm-up and the end: throughput × seconds.
    n_sent
        All requests, warm-up and rewards included: what the server's CPU time is divided by.
    statuses
        Replies by HTTP status, over the whole job.
    first_error
        Start of the first reply that was not a 200.
    cpu_us
        CPU time of this process, per request.
    """

    latencies_us: list[float] = field(default_factory=list)
    n_in_window: int = 0
    n_sent: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    first_error: str = ""
    cpu_us: float = 0.0


def reply_end(data: bytes) -> tuple[int, int] | None:
    """Return the status of the reply that `data` begins with and where it ends; None if more has to come.

    Raises
    ------
    BadReply
        Not HTTP/1.1, or a reply without a usable Content-Length (a chunked one included).
    """
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        if len(data) > _HEAD_LIMIT_BYTES or not data.startswith(b"HTTP/1.1 "[: len(data)]):
            raise BadReply(f"not the head of a reply: {data[:80]!r}")
        return None
    head = data[:head_end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0 or not head.startswith(b"http/1.1 "):
        raise BadReply(f"no HTTP/1.1 reply with a Content-Length: {data[:200]!r}")
    line_end = head.find(b"\r\n", at + 2)
    try:
        status = int(head[9:12])
        length = int(head[at + 17 : line_end if line_end > 0 else head_end])
    except ValueError:
        raise BadReply(f"a status or a length that is no number: {data[:200]!r}") from None
    if length < 0:
        raise BadReply(f"a negative length: {data[:200]!r}")
    end = head_end + 4 + length
    return (status, end) if len(data) >= end else None


def post_bytes(path: str, body: bytes) -> bytes:
    """Return a whole HTTP/1.1 request, ready to be written."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of `ordered` does not exceed (nearest rank; NaN if empty)."""
    if not ordered:
        return math.nan
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def run_load(job: LoadJob) -> LoadResult:
    """Carry out one job.

    Raises
    ------
    BadReply
        A reply was malformed, one too many, or a connection was closed.
    TimeoutError
        Replies were still missing 10 s after the last request.
    """
    return uvloop.run(_drive(job))


def serve_jobs(run: Callable[[dict[str, Any]], Any]) -> None:
    """Answer each JSON line of standard input with ``{"result": …}`` or ``{"error": …}``."""
    for line in sys.stdin.buffer:
        try:
            answer = {"result": run(orjson.loads(line))}
        except (BadReply, OSError) as error:  # OSError: TimeoutError and refused connections too
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()


async def _drive(job: LoadJob) -> LoadResult:
    loop = asyncio.get_running_loop()
    cpu_before_s = process_time()
    run = _Run(job, requests=itertools.cycle(_requests(job.bodies)), finished=loop.create_future())
    connections = [
        (await loop.create_connection(lambda: _Connection(run), job.host, job.port))[1] for _ in range(job.connections)
    ]
    try:
        run.begin(connections)
        async with asyncio.timeout(job.warmup_s + job.seconds + _DRAIN_S):
            await run.finished
    finally:
        for connection in connections:
            connection.transport.abort()
    run.result.cpu_us = (process_time() - cpu_before_s) / max(run.result.n_sent, 1) * 1e6
    return run.result


@cache
def _requests(bodies: str) -> list[bytes]:
    return [post_bytes("/v1/rank", body) for body in Path(bodies).read_bytes().splitlines()]


class _Run:
    """What the connections of one job share."""

    __slots__ = (
        "credit",
        "finished",
        "measure_from",
        "n_open",
        "requests",
        "result",
        "reward_share",
        "stop_at",
        "times",
    )

    def __init__(self, job: LoadJob, *, requests: Iterator[bytes], finished: asyncio.Future[None]) -> None:
        self.requests = requests
        self.finished = finished
        self.reward_share = job.reward_share
        self.credit = 0.0
        self.result = LoadResult()
        self.n_open = job.connections
        self.times = (job.warmup_s, job.seconds)
        self.measure_from = self.stop_at = math.inf

    def begin(self, connections: Sequence["_Connection"]) -> None:
        warmup_s, seconds = self.times
        self.measure_from = perf_counter() + warmup_s
        self.stop_at = self.measure_from + seconds
        for connection in connections:
            connection.send_rank()

    def fail(self, error: Exception) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)

    def count_status(self, status: int, reply: bytes) -> None:
        statuses = self.result.statuses
        statuses[str(status)] = statuses.get(str(status), 0) + 1
        if status != _OK and not self.result.first_error:
            self.result.first_error = reply[:600].decode(errors="replace")

    def close_one(self) -> None:
        self.n_open -= 1
        if self.n_open == 0 and not self.finished.done():
            self.finished.set_result(None)

    def owes_reward(self) -> bool:
        self.credit += self.reward_share
        if self.credit < 1.0:
            return False
        self.credit -= 1.0
        return True


class _Connection(asyncio.Protocol):
    """One closed loop."""

    __slots__ = ("is_rank", "rest", "run", "sent_at", "transport", "waiting")

    transport: asyncio.Transport

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.rest = b""
        self.sent_at = 0.0
        self.waiting = False
        self.is_rank = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiting:
            self.run.fail(BadReply(f"the connection was closed before its reply came ({exc})"))

    def send_rank(self) -> None:
        self.is_rank = True
        self._send(next(self.run.requests))

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        if self.rest:
            data = self.rest + data
        try:
            reply = reply_end(data)
        except BadReply as error:
            self.run.fail(error)
            return
        if reply is None:
            self.rest = data
            return
        status, end = reply
        if not self.waiting or end != len(data):
            self.run.fail(BadReply(f"bytes that nobody asked for: {data[end:][:80]!r}"))
            return
        self.rest = b""
        self.waiting = False
        self._take(status, data, now)

    def _take(self, status: int, reply: bytes, now: float) -> None:
        run = self.run
        run.count_status(status, reply)
        if self.is_rank:
            if self.sent_at >= run.measure_from:
                run.result.latencies_us.append((now - self.sent_at) * 1e6)
            if run.measure_from <= now < run.stop_at:
                run.result.n_in_window += 1
            if run.reward_share and status == _OK and run.owes_reward():
                self.is_rank = False
                self._send(_reward_for(reply))
                return
        if now < run.stop_at:
            self.send_rank()
        else:
            run.close_one()

    def _send(self, request: bytes) -> None:
        self.waiting = True
        self.run.result.n_sent += 1
        self.sent_at = perf_counter()
        self.transport.write(request)


def _reward_for(reply: bytes) -> bytes:
    event_id = orjson.loads(reply[reply.index(b"\r\n\r\n") :])["event_id"]
    return post_bytes("/v1/reward", orjson.dumps({"event_id": event_id, "reward": 1.0}))


if __name__ == "__main__":
    serve_jobs(lambda job: run_load(LoadJob(**job)))
