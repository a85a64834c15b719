"""The HTTP API at the level of bytes and connections: old clients, slow ones, rude ones, and many at once."""

import json
import socket
import threading
import time
import uuid

import pytest

from tests.api_client import Client, ServerProcess, replies_in

RANK = b'{"actions":[{"id":"a"},{"id":"b"}]}'
N_CONNECTIONS = 100
N_EACH = 5


def post(path: str, body: bytes, *headers: str, version: str = "1.1") -> bytes:
    """Return a request as bytes."""
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def still_good(api: Client) -> bool:
    """Tell whether the server ranks."""
    return api.post("/v1/rank", RANK).status == 200


def read_reply(connection: socket.socket) -> tuple[int, bytes]:
    """Read one reply off a connection that stays open."""
    stream = b""
    while b"\r\n\r\n" not in stream:
        part = connection.recv(65_536)
        assert part, f"the server hung up after {stream!r}"
        stream += part
    head, _, body = stream.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65_536)
    return int(head.split(b" ")[1]), body


def test_http_1_0_is_answered_and_closed(api: Client) -> None:
    """A client of HTTP/1.0 gets its answer and the end of the connection."""
    stream = api.exchange(post("/v1/rank", RANK, version="1.0"))

    assert [status for status, _ in replies_in(stream)] == [200]
    assert b"connection: close" in stream.lower()


def test_http_1_0_may_keep_its_connection(api: Client) -> None:
    """A client of HTTP/1.0 that asks to go on is told that it may."""
    with api.connect() as connection:
        for _ in range(2):
            connection.sendall(post("/v1/rank", RANK, "Connection: keep-alive", version="1.0"))
            assert read_reply(connection)[0] == 200


def test_connection_close_is_heeded(api: Client) -> None:
    """After `Connection: close` the server answers, says so, and hangs up."""
    stream = api.exchange(post("/v1/rank", RANK, "Connection: close"))

    assert [status for status, _ in replies_in(stream)] == [200]
    assert b"connection: close" in stream.lower()


def test_connection_is_kept_for_many_requests(api: Client) -> None:
    """One connection serves request after request, errors in between included."""
    with api.connect() as connection:
        statuses = []
        for body in (RANK, b"{", RANK, b"[]", RANK):
            connection.sendall(post("/v1/rank", body))
            statuses.append(read_reply(connection)[0])

    assert statuses == [200, 400, 200, 422, 200]


def test_pipelined_requests_are_answered_in_order(api: Client) -> None:
    """Requests sent without waiting are answered one after the other, each with its own answer."""
    ids = [f"pipe-{uuid.uuid4().hex}" for _ in range(20)]
    requests = [post("/v1/rank", json.dumps({"event_id": i, "actions": [{"id": "a"}]}).encode()) for i in ids]

    stream = api.exchange(b"".join(requests) + b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

    replies = replies_in(stream)
    assert [json.loads(body).get("event_id") for _, body in replies] == [*ids, None]
    assert {status for status, _ in replies} == {200}


def test_chunked_body_is_read(api: Client) -> None:
    """A body that comes in chunks is put together."""
    head = b"POST /v1/rank HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (RANK[:7], RANK[7:20], RANK[20:])) + b"0\r\n\r\n"

    assert [status for status, _ in replies_in(api.exchange(head + chunks))] == [200]


def test_chunked_body_beyond_the_limit_is_refused(api: Client) -> None:
    """A body without a length is counted as it comes."""
    head = b"POST /v1/rank HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with api.connect() as connection:
        connection.sendall(head + (b"10000\r\n" + b" " * 65_536 + b"\r\n") * 5)
        status, body = read_reply(connection)

    assert (status, json.loads(body)["code"]) == (413, "body_too_large")
    assert still_good(api)


def test_body_is_invited_when_the_client_waits(api: Client) -> None:
    """A client that sends `Expect: 100-continue` is told to go on, unless its body would be refused."""
    with api.connect() as connection:
        connection.sendall(post("/v1/rank", RANK, "Expect: 100-continue")[: -len(RANK)])
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(RANK)
        assert read_reply(connection)[0] == 200
    with api.connect() as connection:
        connection.sendall(
            b"POST /v1/rank HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
        )
        assert read_reply(connection)[0] == 413


def test_slow_body_is_given_up(api: Client) -> None:
    """A body that does not arrive in time is refused, and the server goes on meanwhile."""
    with api.connect() as connection:
        connection.sendall(post("/v1/rank", RANK)[:-5])
        started = time.monotonic()
        assert still_good(api)
        status, body = read_reply(connection)

    assert (status, json.loads(body)["code"]) == (400, "body_too_slow")
    assert 0.25 < time.monotonic() - started < 5


def test_body_that_drips_is_given_up(api: Client) -> None:
    """The limit is for the whole body: a byte now and then does not keep a request alive."""
    with api.connect() as connection:
        request = post("/v1/rank", RANK)
        connection.sendall(request[: -len(RANK)])
        connection.settimeout(0.05)
        stream = b""
        for byte in RANK:
            connection.sendall(bytes([byte]))
            try:
                stream += connection.recv(4_096)
            except TimeoutError:
                continue
            break

    assert b"body_too_slow" in stream


@pytest.mark.parametrize("abruptly", [False, True], ids=["politely", "abruptly"])
def test_client_that_leaves_within_its_body_is_let_go(server: ServerProcess, api: Client, *, abruptly: bool) -> None:
    """A client that goes away in the middle of its body costs nothing but its own request."""
    for _ in range(20):
        connection = api.connect()
        connection.sendall(post("/v1/rank", RANK)[:-5])
        if abruptly:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()

    assert still_good(api)
    assert "exc_type" not in server.log


def test_client_that_leaves_before_its_answer_changes_nothing(server: ServerProcess, api: Client) -> None:
    """A decision whose client went away is kept: the same request again gets its answer."""
    event_id = f"left-{uuid.uuid4().hex}"
    request = json.dumps({"event_id": event_id, "actions": [{"id": "a"}, {"id": "b"}]}).encode()
    for _ in range(10):
        connection = api.connect()
        connection.sendall(post("/v1/rank", request))
        connection.close()

    assert api.post("/v1/rank", request).json == api.post("/v1/rank", request).json
    assert "exc_type" not in server.log


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v1/rank HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /v1/rank HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/rank HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/rank HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
    ],
    ids=["words", "TLS", "header", "path", "bytes", "two lengths", "minus one", "lengths", "chunk", "name", "9.9"],
)
def test_what_is_not_http_gets_a_problem(server: ServerProcess, api: Client, request_bytes: bytes) -> None:
    """Bytes that are no request are answered in the one shape, and cost neither a traceback nor the server."""
    stream = api.exchange(request_bytes)

    assert stream.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"application/problem+json" in stream
    assert json.loads(replies_in(stream)[-1][1])["code"] == "malformed_request"
    assert still_good(api)
    assert "exc_type" not in server.log


def test_a_hundred_connections_at_once(api: Client) -> None:
    """A hundred clients that rank and reward at the same time are all answered, each with its own."""
    wrong: list[str] = []
    gate = threading.Barrier(N_CONNECTIONS)

    def work(number: int) -> None:
        with api.connect() as connection:
            gate.wait(timeout=30)
            for turn in range(N_EACH):
                event_id = f"many-{number}-{turn}-{uuid.uuid4().hex}"
                request = {"event_id": event_id, "segment": "mobile", "actions": [{"id": f"a{number}"}, {"id": "b"}]}
                connection.sendall(post("/v1/rank", json.dumps(request).encode()))
                status, body = read_reply(connection)
                if status != 200 or json.loads(body)["event_id"] != event_id or f'"a{number}"'.encode() not in body:
                    wrong.append(f"rank {event_id}: {status} {body!r}")
                connection.sendall(post("/v1/reward", json.dumps({"event_id": event_id, "reward": 1}).encode()))
                status, body = read_reply(connection)
                if (status, json.loads(body)) != (200, {"status": "joined"}):
                    wrong.append(f"reward {event_id}: {status} {body!r}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(N_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_same_event_id_from_many_clients_at_once_is_one_decision(api: Client) -> None:
    """Whoever of many equal requests is first decides; all get that one answer."""
    request = {"event_id": f"race-{uuid.uuid4().hex}", "actions": [{"id": f"a{i}"} for i in range(10)]}
    before = api.get("/v1/segments/default").json["decisions"]
    answers: list[bytes] = []
    gate = threading.Barrier(20)

    def work() -> None:
        gate.wait(timeout=30)
        answers.append(api.post("/v1/rank", request).body)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert len(answers) == 20
    assert len(set(answers)) == 1
    assert api.get("/v1/segments/default").json["decisions"] == before + 1
