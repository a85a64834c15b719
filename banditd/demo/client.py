"""The few calls of the HTTP interface that the demonstration makes, in batches."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from banditd.demo.errors import ServerFailed

__all__ = ["BATCH", "Client", "RankRequest", "connected"]

BATCH = 100  # the server takes no more items in one request
_TRIES = 5  # each with the same event ids, so that nothing happens twice
_RETRY_S = 1.0
_CALL_S = 30.0
_OK = 200
_RETRIED = 503  # the server asks for it: overloaded, or its journal did not answer


@dataclass(frozen=True, slots=True)
class RankRequest:
    """One decision to be made.

    Attributes
    ----------
    context, actions
        JSON, encoded once and sent many times.
    activate
        False if the decision is to be learned from only when `Client.activate` says so.
    """

    event_id: str
    segment: str
    context: bytes
    actions: bytes
    activate: bool = True


@dataclass(frozen=True, slots=True)
class Client:
    """Calls to one server; every failure is a `ServerFailed` that says what the server said."""

    session: aiohttp.ClientSession

    async def rank(self, requests: Sequence[RankRequest]) -> list[str]:
        """Return the chosen action of each request, in order."""
        items = [
            {
                "event_id": request.event_id,
                "segment": request.segment,
                "context": orjson.Fragment(request.context),
                "actions": orjson.Fragment(request.actions),
                "activate": request.activate,
            }
            for request in requests
        ]
        return [result["chosen"] for result in await self._batch("/v1/rank/batch", items)]

    async def reward(self, rewards: Mapping[str, float]) -> None:
        """Report the reward of each event id."""
        await self._batch(
            "/v1/reward/batch", [{"event_id": event_id, "reward": reward} for event_id, reward in rewards.items()]
        )

    async def activate(self, event_id: str) -> None:
        """Let a deferred decision be learned from."""
        await self._call("POST", f"/v1/events/{event_id}/activate")

    async def reward_intervals(self) -> dict[str, tuple[float, float] | None]:
        """Return the interval that the server reports for each segment's mean reward; None where it has none yet."""
        found = await self._call("GET", "/v1/segments")
        rewards = {segment["name"]: segment["reward"] for segment in found["segments"]}
        return {
            name: None if reward["lower"] is None else (reward["lower"], reward["upper"])
            for name, reward in rewards.items()
        }

    async def _batch(self, path: str, items: Sequence[Mapping[str, Any]]) -> list[Any]:
        results: list[Any] = [None] * len(items)
        waiting = list(range(len(items)))
        for _ in range(_TRIES):
            answered = await self._call("POST", path, [items[i] for i in waiting])
            again = []
            for i, answer in zip(waiting, answered["results"], strict=True):
                if answer["status"] == _OK:
                    results[i] = answer["result"]
                elif answer["status"] == _RETRIED:
                    again.append(i)
                else:
                    raise _refused(path, answer["error"])
            waiting = again
            if not waiting:
                return results
            await asyncio.sleep(_RETRY_S)
        raise ServerFailed("server_failed", f"{path}: the server is overloaded")

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else orjson.dumps(body)
        for _ in range(_TRIES):
            try:
                async with self.session.request(method, path, data=data) as response:
                    answer = orjson.loads(await response.read())
                    if response.status == _OK:
                        return answer
                    if response.status != _RETRIED:
                        raise _refused(path, answer)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ServerFailed("server_failed", f"{path}: the server does not answer ({error!r})") from error
            await asyncio.sleep(_RETRY_S)
        raise ServerFailed("server_failed", f"{path}: the server is overloaded")


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Client]:
    """Give a client of the server at `address`."""
    async with aiohttp.ClientSession(
        address,
        headers={"Content-Type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=_CALL_S),
    ) as session:
        yield Client(session)


def _refused(path: str, problem: Mapping[str, Any]) -> ServerFailed:
    return ServerFailed("server_failed", f"{path}: the server refused: {problem.get('detail', problem)}")
