"""Traffic of every kind for a `World`: segments alone and shared, mixtures, slots, deferred and late events."""

import asyncio
import random
from collections.abc import Sequence

from tests.world import World

__all__ = ["DEVICES", "SEGMENTS_TOML", "WAIT_S", "close_windows", "settled", "traffic"]

WAIT_S = 600.0
DEVICES = ("mobile", "desk top", "tv|4k")
SEGMENTS_TOML = """
[reward]
wait = "10m"
[[segments]]
name = "news"
policy = { kind = "vw" }
[[segments]]
name = "sport"
policy = { kind = "vw" }
[[segments]]
name = "home"
policy = { kind = "vw", exploration = "softmax" }
pooling = "own"
reward = { slots = "all" }
[default]
policy = { kind = "epsilon_greedy" }
pooling = "own"
"""


async def traffic(
    world: World,
    n: int,
    *,
    seed: int = 1,
    prefix: str = "e",
    segments: Sequence[str] = ("news", "sport", "home", "default"),
    mixtures: float = 0.15,
) -> None:
    """Rank and reward n times; every 50th time all windows close, and at the end.

    A third of the events never gets a reward, a tenth gets two, and some are deferred and never activated.
    """
    rng = random.Random(seed)  # noqa: S311 - of a test
    for i in range(n):
        event_id = f"{prefix}{i}"
        asked: dict[str, object] = {"segment": rng.choice(segments)}
        if rng.random() < mixtures:
            asked = {"segments": {name: 1.0 + place for place, name in enumerate(segments)}}
        elif asked["segment"] == "home":
            asked["slots"] = [{"id": "hero", "features": {"size": 3}}, {"id": "side bar", "exclude": ["c"]}]
        elif rng.random() < 0.2:
            asked["exclude"] = ["b"]
        deferred = rng.random() < 0.1
        if deferred:
            asked["activate"] = False
        context = {
            "hour": i % 24,
            "device": rng.choice(DEVICES),
            "_hidden": True,
            "off": False,
            "nothing": None,
            "tags": ["a b", "c:d"],
            "scores": [0.5, 0, 2],
            "user": {"age": 30.5, "geo": {"city": "Zürich"}},
        }
        reply = await world.rank(event_id, context=context, user=f"u{i % 7}", **asked)
        luck = rng.random()
        if deferred and luck < 0.4:
            await world.service.activate(event_id)
        if luck < 0.65:
            await world.reward(event_id, float(reply.chosen == "b") if reply.chosen else rng.choice([0.1, 0.7]))
        if luck < 0.1:
            await world.reward(event_id, 1.0)
        if i % 50 == 49:
            await close_windows(world)
        await settled(world)
    await close_windows(world)


async def settled(world: World) -> None:
    """Wait until all outcomes are folded in."""
    while world.service.backlog:  # noqa: ASYNC110 - no event says it
        await asyncio.sleep(0)


async def close_windows(world: World) -> None:
    """Let all reward windows close."""
    world.clock.advance(WAIT_S + 1.0)
    await world.journal.tick()
