"""The load generator reads replies rightly and refuses what would spoil its figures."""

import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from bench.load import BadReply, LoadJob, percentile, post_bytes, reply_end, run_load
from bench.servers import JobFailed, JobProcess, Server, accepts, start_bare

REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("size", range(1, len(REPLY)))
def test_split_reply(size: int) -> None:
    """A reply that was cut anywhere is not one yet."""
    assert reply_end(REPLY[:size]) is None


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param(REPLY, (200, len(REPLY)), id="whole"),
        pytest.param(REPLY + REPLY[:20], (200, len(REPLY)), id="followed-by-another"),
        pytest.param(b"HTTP/1.1 204 No Content\r\ncontent-length:0\r\n\r\n", (204, 45), id="empty-lower-case"),
        pytest.param(b"HTTP/1.1 503 X\r\nCONTENT-LENGTH: 2\r\nA: b\r\n\r\nno", (503, 45), id="upper-case-not-last"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nX-Content-Length: 9\r\nContent-Length: 1\r\n\r\nx", (200, 60), id="lookalike"
        ),
    ],
)
def test_reply_end(reply: bytes, expected: tuple[int, int]) -> None:
    """Status and end come from the status line and Content-Length, whatever its case and its place."""
    assert reply_end(reply) == expected


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="no-length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", id="length-is-no-number"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="negative-length"),
        pytest.param(b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n", id="status-is-no-number"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", id="http-1.0"),
        pytest.param(b"SSH-2.0-x\r\n", id="another-protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000, id="endless-head"),
    ],
)
def test_bad_reply(reply: bytes) -> None:
    """What is not an HTTP/1.1 reply with a Content-Length is an error, not a wait."""
    with pytest.raises(BadReply):
        reply_end(reply)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        pytest.param(0.0, 1, id="least"),
        pytest.param(0.1, 1, id="exactly-one-of-ten"),
        pytest.param(0.11, 2, id="more-than-one-of-ten"),
        pytest.param(0.5, 5, id="half"),
        pytest.param(0.99, 10, id="p99-of-ten-is-the-largest"),
        pytest.param(1.0, 10, id="all"),
    ],
)
def test_percentile(share: float, expected: int) -> None:
    """The nearest-rank percentile of 1 to 10 is the smallest value that enough of them do not exceed."""
    assert percentile(range(1, 11), share) == expected


def test_percentile_of_a_thousand() -> None:
    """Of 1 to 1,000, p99 is 990 and p99.9 is 999."""
    assert percentile(range(1, 1_001), 0.99) == 990
    assert percentile(range(1, 1_001), 0.999) == 999


def test_percentile_of_nothing() -> None:
    """Without values there is no percentile."""
    assert math.isnan(percentile([], 0.5))


@pytest.fixture(name="bodies")
def _bodies(tmp_path: Path) -> str:
    path = tmp_path / "bodies.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":2}\n{"n":3}')
    return str(path)


@pytest.fixture(name="bare")
def _bare(tmp_path: Path) -> Iterator[Server]:
    reply = tmp_path / "reply.json"
    reply.write_bytes(b'{"event_id":"e","ranking":[]}')
    with start_bare(reply=reply, directory=tmp_path) as server:
        server.wait_until(accepts)
        yield server


def test_smoke(bare: Server, bodies: str) -> None:
    """In its own process it drives the bare handler over several connections and accounts for every request."""
    with JobProcess("bench.load") as load:
        result = load.run(LoadJob(bare.port, bodies, connections=8, warmup_s=0.05, seconds=0.25))

    assert result["statuses"] == {"200": result["n_sent"]}
    assert 0 < len(result["latencies_us"]) < result["n_sent"]
    assert 0 < result["n_in_window"] <= result["n_sent"]
    assert min(result["latencies_us"]) > 0
    assert bare.cpu_times().worker_s > 0


def test_other_statuses_are_counted(bare: Server, bodies: str) -> None:
    """Replies that are no 200 are counted by status and the first is kept, so that a run with one can be refused."""
    job = LoadJob(bare.port, bodies, connections=2, warmup_s=0.0, seconds=0.1, reward_share=0.5)

    result = run_load(job)  # the bare handler knows no rewards: 404 for each

    ranks, rewards = result.statuses["200"], result.statuses["404"]
    assert result.n_sent == ranks + rewards
    assert abs(rewards - ranks / 2) <= 1
    assert result.first_error.startswith("HTTP/1.1 404")


def test_a_job_that_fails_is_reported(bodies: str) -> None:
    """Where nobody listens, the job fails with the reason and the process takes the next job."""
    with socket.socket() as silent, JobProcess("bench.load") as load:
        silent.bind(("127.0.0.1", 0))
        job = LoadJob(silent.getsockname()[1], bodies, connections=1, warmup_s=0.0, seconds=0.1)

        for _ in range(2):
            with pytest.raises(JobFailed, match="ConnectionRefused"):
                load.run(job)


@contextmanager
def _answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve one connection with `answer` and yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def test_bytes_nobody_asked_for(bodies: str) -> None:
    """Two replies to one request spoil a closed loop, so they end the job."""
    with (
        _answering(lambda connection: connection.sendall(REPLY + REPLY)) as port,
        pytest.raises(BadReply, match="nobody asked for"),
    ):
        run_load(LoadJob(port, bodies, connections=1, warmup_s=0.0, seconds=5.0))


def test_closed_before_the_reply(bodies: str) -> None:
    """A connection that closes in the middle of a reply ends the job."""
    with (
        _answering(lambda connection: connection.sendall(REPLY[:-1])) as port,
        pytest.raises(BadReply, match="closed before its reply"),
    ):
        run_load(LoadJob(port, bodies, connections=1, warmup_s=0.0, seconds=5.0))


def test_reply_in_pieces(bodies: str) -> None:
    """A reply that arrives in several packets is read whole."""

    def trickle(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (REPLY[:9], REPLY[9:-3], REPLY[-3:]):
            connection.sendall(part)
            threading.Event().wait(0.01)  # long enough for each part to be read by itself

    with _answering(trickle) as port:
        result = run_load(LoadJob(port, bodies, connections=1, warmup_s=0.0, seconds=0.0))

    assert result.statuses == {"200": 1}


def test_post_bytes() -> None:
    """A request holds its path, the length of its body, and the body."""
    head, body = post_bytes("/v1/rank", orjson.dumps({"ä": 1})).split(b"\r\n\r\n")

    assert head.startswith(b"POST /v1/rank HTTP/1.1\r\n")
    assert b"Content-Length: 8" in head
    assert body == '{"ä":1}'.encode()
