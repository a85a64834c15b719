"""The demonstration's client asks again when the server says so, and repeats what the server refuses."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from banditd.demo import client as client_module
from banditd.demo.client import Client, RankRequest, connected
from banditd.demo.errors import ServerFailed

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PROBLEM = {"status": 422, "code": "x", "detail": "actions: must not be empty"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once."""
    monkeypatch.setattr(client_module, "_RETRY_S", 0.0)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Client]:
    """Give a client of a server that answers every request with `handler`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server, connected(str(server.make_url("/"))) as client:
        yield client


async def test_items_that_were_refused_for_load_are_sent_again_under_the_same_ids() -> None:
    """Of a batch only the items answered 503 are sent again, and the answers come in the order asked."""
    asked: list[list[str]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        items = await request.json()
        asked.append([item["event_id"] for item in items])
        overloaded = {"status": 503, "error": {"status": 503, "detail": "later"}}
        return web.json_response(
            {
                "results": [
                    overloaded
                    if len(asked) == 1 and item["event_id"] in {"b", "c"}
                    else {"status": 200, "result": {"chosen": item["event_id"].upper()}}
                    for item in items
                ]
            }
        )

    async with serving(handler) as client:
        chosen = await client.rank([RankRequest(event_id, "vw", b"{}", b'[{"id":"1"}]') for event_id in "abcd"])

    assert chosen == ["A", "B", "C", "D"]
    assert asked == [["a", "b", "c", "d"], ["b", "c"]]


async def test_the_request_holds_what_the_interface_asks_for() -> None:
    """A rank carries event id, segment, context, actions and activate; a reward its event id and number."""
    bodies: dict[str, Any] = {}

    async def handler(request: web.Request) -> web.StreamResponse:
        bodies[request.path] = await request.json()
        return web.json_response(
            {"results": [{"status": 200, "result": {"chosen": "1"}} for _ in bodies[request.path]]}
        )

    async with serving(handler) as client:
        await client.rank([RankRequest("e1", "vw", b'{"x":1}', b'[{"id":"1"}]', activate=False)])
        await client.reward({"e1": 1.0})

    assert bodies == {
        "/v1/rank/batch": [
            {"event_id": "e1", "segment": "vw", "context": {"x": 1}, "actions": [{"id": "1"}], "activate": False}
        ],
        "/v1/reward/batch": [{"event_id": "e1", "reward": 1.0}],
    }


async def test_an_overloaded_server_is_given_up_in_the_end() -> None:
    """A server that answers 503 for ever ends the scene, whether to the whole call or to an item."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/reward/batch":
            return web.json_response({"results": [{"status": 503, "error": {}}]})
        return web.json_response({"detail": "later"}, status=503)

    async with serving(handler) as client:
        with pytest.raises(ServerFailed, match="overloaded"):
            await client.activate("e1")
        with pytest.raises(ServerFailed, match="overloaded"):
            await client.reward({"e1": 1.0})


async def test_what_the_server_refuses_is_repeated() -> None:
    """A refusal, of a call or of an item, becomes an error with the server's own sentence."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/reward/batch":
            return web.json_response({"results": [{"status": 422, "error": PROBLEM}]})
        return web.json_response(PROBLEM, status=422)

    async with serving(handler) as client:
        with pytest.raises(ServerFailed, match="must not be empty"):
            await client.activate("e1")
        with pytest.raises(ServerFailed, match="must not be empty"):
            await client.reward({"e1": 1.0})


async def test_a_server_that_is_gone_is_an_error() -> None:
    """A broken connection becomes an error with a sentence, not a traceback."""

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with serving(handler) as client:
        with pytest.raises(ServerFailed, match="does not answer"):
            await client.reward_intervals()


async def test_intervals_are_those_that_the_server_reports() -> None:
    """Each segment's interval comes by its name; None while the server has none."""

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.path == "/v1/segments"
        return web.json_response(
            {
                "segments": [
                    {"name": "vw", "reward": {"mean": 0.5, "lower": 0.4, "upper": 0.6}},
                    {"name": "random", "reward": {"mean": None, "lower": None, "upper": None}},
                ]
            }
        )

    async with serving(handler) as client:
        assert await client.reward_intervals() == {"vw": (0.4, 0.6), "random": None}
