"""The load: what clients do with their decisions, each answer written into the ledger."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import aiohttp
import orjson

from tests.fault.ledger import Entry, Promise
from tests.fault.server import SEGMENTS, WINDOW_S

__all__ = ["Client", "new_entry", "use"]

MIXED: Final = 0.15  # of the decisions: over several segments
SLOTTED: Final = 0.4  # of those with four actions or more


class Client:
    """Calls of the API that put every answer into the ledger."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.wrong: list[str] = []
        self.statuses: Counter[str] = Counter()

    async def rank(self, entry: Entry) -> bool:
        """Send an entry's rank; True if it is now certain."""
        status, body = await self._post("/v1/rank", entry.request)
        if status != 200:
            return False
        if entry.answer is not None and entry.answer != body:
            self.wrong.append(f"{entry.event_id}: answered {body}, at first {entry.answer}")
        entry.answer = body
        return True

    async def reward(self, entry: Entry, promise: Promise) -> None:
        """Send a reward."""
        request = {"event_id": entry.event_id, "reward": promise.value, "reward_id": promise.reward_id}
        if promise.slot is not None:
            request["slot"] = entry.request["slots"][promise.slot]["id"]
        status, body = await self._post("/v1/reward", request)
        before = promise.call
        if status == 200:
            if before == "refused":
                self.wrong.append(f"{entry.event_id}: reward {promise.reward_id} was late and then {body['status']}")
            if before == "done" and body["status"] != "duplicate":
                self.wrong.append(f"{entry.event_id}: the repeated {promise.reward_id} was {body['status']}")
            promise.call = "done"
        elif status == 410:
            if before == "done":
                self.wrong.append(f"{entry.event_id}: reward {promise.reward_id} was counted and then late")
            promise.call = "refused"
        elif status == 404:
            self.wrong.append(f"{entry.event_id}: unknown to the reward after its rank was acknowledged")
        else:
            promise.was_doubtful = True

    async def activate(self, entry: Entry) -> None:
        """Activate a deferred decision."""
        before, entry.activation = entry.activation, "in doubt" if entry.activation == "unsent" else entry.activation
        status, _ = await self._post(f"/v1/events/{entry.event_id}/activate", {})
        if status == 200:
            if before == "refused":
                self.wrong.append(f"{entry.event_id}: activated after it had been too late")
            entry.activation = "done"
        elif status == 410:
            if before == "done":
                self.wrong.append(f"{entry.event_id}: too late to activate after it was activated")
            entry.activation = "refused"
        elif status == 404:
            self.wrong.append(f"{entry.event_id}: unknown to the activation after its rank was acknowledged")

    async def state(self, segment: str) -> tuple[int, str] | None:
        """Return the seq of a segment's lane and the digest of its policy's state; None if there is no answer."""
        status, body = await self._send("GET", f"/v1/segments/{segment}?digest=true")
        if status != 200:
            return None
        state = body["state"]
        if state["epoch"] != 1:
            self.wrong.append(f"{segment}: is in epoch {state['epoch']}, though nothing was changed")
        return state["seq"], state["digest"]

    async def traffic(self) -> tuple[int, int]:
        """Return how often the server has loaded and unloaded policies since it started."""
        try:
            async with self._session.get(f"{self._url}/metrics") as response:
                lines = (await response.text()).splitlines()
        except (aiohttp.ClientError, TimeoutError):
            return 0, 0
        values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("banditd_lane_"))
        return int(float(values["banditd_lane_loads"])), int(float(values["banditd_lane_unloads"]))

    async def ready(self) -> bool:
        """Return whether the server says that it is ready."""
        try:
            async with self._session.get(f"{self._url}/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return await self._send("POST", path, orjson.dumps(body))

    async def _send(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        try:
            async with self._session.request(method, f"{self._url}{path}", data=body) as response:
                text = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.statuses[type(error).__name__] += 1
            return 0, {}
        self.statuses[str(response.status)] += 1
        if response.status not in {200, 404, 410, 503}:
            self.wrong.append(f"{path}: {response.status} {text[:300]!r}")
        return response.status, orjson.loads(text)


def new_entry(number: int, rng: random.Random) -> Entry:
    """Return a decision to ask for: any segment or several, a few actions, some excluded, slots, some deferred."""
    names = rng.sample(list(SEGMENTS), rng.choice([2, 3]) if rng.random() < MIXED else 1)
    actions = [{"id": f"a{i}", "features": {"i": i, "w": rng.random()}} for i in range(rng.randint(2, 5))]
    deferred = rng.random() < 0.25
    event_id = f"e{number}"
    request: dict[str, Any] = {
        "event_id": event_id,
        "context": {"hour": rng.randrange(24), "device": rng.choice(["mobile", "desk"]), "x": rng.random()},
        "actions": actions,
        "exclude": ["a0"] if rng.random() < 0.2 else [],
        "activate": not deferred,
    }
    if len(names) > 1:
        request["segments"] = {name: rng.randint(1, 9) for name in names}
    else:
        request["segment"] = names[0]
    if len(actions) > 3 and rng.random() < SLOTTED:
        request["slots"] = [_slot(place, rng) for place in range(rng.randint(1, len(actions) - 2))]
    return Entry(event_id, {f"{name}/main": SEGMENTS[name] for name in names}, request, deferred)


def _slot(place: int, rng: random.Random) -> dict[str, Any]:
    """Return a place to fill; with one action out here and one everywhere, there is still one left for each."""
    slot: dict[str, Any] = {"id": f"place {place}"}
    if rng.random() < 0.5:
        slot["features"] = {"width": rng.randint(1, 3)}
    if rng.random() < 0.2:
        slot["exclude"] = ["a1"]
    return slot


async def use(client: Client, entry: Entry, rng: random.Random) -> None:
    """Do with one decision what its owner may: reward it, again, once more, late or never, and activate it."""
    if not await client.rank(entry):
        return
    if rng.random() < 0.05:
        await asyncio.sleep(rng.random() * 1.5 * WINDOW_S)
    steps: list[Callable[[], Awaitable[None]]] = []
    if rng.random() < 0.7:
        for promise in _rewards(entry, rng):
            steps.append(partial(_reward_first, client, entry, promise))
            if rng.random() < 0.15:
                steps.append(partial(client.reward, entry, promise))
    if entry.deferred and rng.random() < 0.7:
        steps.insert(rng.randint(0, len(steps)), partial(client.activate, entry))
    for step in steps:
        await step()


def _rewards(entry: Entry, rng: random.Random) -> list[Promise]:
    """Return what a decision is worth: of some of its slots, of the whole, or both."""
    adds_up = entry.lane is not None and entry.lanes[entry.lane].aggregate == "sum"
    slots: list[int | None] = [None] * (rng.randint(1, 3) if adds_up else 1)
    if "slots" in entry.request and rng.random() < 0.7:
        slots = [*rng.sample(range(entry.n_slots), rng.randint(1, entry.n_slots)), *slots[rng.randrange(2) :]]
    return [Promise(f"r{i}", rng.randrange(5) / 4, "unsent", slot) for i, slot in enumerate(slots)]


async def _reward_first(client: Client, entry: Entry, promise: Promise) -> None:
    promise.call = "in doubt"
    entry.rewards.append(promise)
    await client.reward(entry, promise)
