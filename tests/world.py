"""A service on a real store in the calling process, with a clock that the test moves."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from banditd.clock import ManualClock
from banditd.config import Config, load_config
from banditd.journal.local import LocalJournal
from banditd.keys import Keyring
from banditd.messages import RankReply, RankRequest, RewardRequest
from banditd.segments.lane import Lane
from banditd.service import Service

__all__ = ["EPSILON_GREEDY", "World", "until"]

ACTIONS = b'[{"id":"a"},{"id":"b","features":{"price":3}},{"id":"c"}]'
EPSILON_GREEDY = '[default]\npolicy = { kind = "epsilon_greedy" }\n'


class World:
    """A service, and the store, clock and keys under it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.journal: LocalJournal
        self.service: Service

    async def start(self, toml: str = EPSILON_GREEDY) -> None:
        """Start as the server does."""
        self.journal = LocalJournal.open(self.directory / "store.db", clock=self.clock)
        keyring = Keyring.load_or_create(self.directory / "store.keys")
        self.service = Service(self.config(toml), self.journal, keyring, clock=self.clock)
        await self.service.start()

    async def stop(self) -> None:
        """End as the server does."""
        await self.service.close()
        await self.journal.close()

    async def crash(self) -> None:
        """Close the store as a killed process leaves it: without a snapshot, and with nothing that goes on."""
        if self.service._maintenance is not None:
            self.service._maintenance.cancel()
        await self.service.keeper.hot.close()
        await self.service.keeper.feed.close()
        await self.journal.close()

    def config(self, toml: str) -> Config:
        """Read a configuration."""
        path = self.directory / "banditd.toml"
        path.write_text(toml)
        return load_config(path, {})

    def bytes_on_disk(self) -> bytes:
        """Return everything that the store's files hold."""
        return b"".join(path.read_bytes() for path in sorted(self.directory.glob("store.db*")))

    async def rank(self, event_id: str | None = None, **fields: object) -> RankReply:
        """Rank the three actions."""
        body = {"actions": msgspec.Raw(ACTIONS), "event_id": event_id, **fields}
        return await self.service.rank(msgspec.json.decode(msgspec.json.encode(body), type=RankRequest))

    async def reward(self, event_id: str, reward: float = 1.0, reward_id: str | None = None) -> str:
        """Send a reward; return its status."""
        return (await self.service.reward(RewardRequest(event_id, reward, reward_id))).status

    async def learn(self, n: int, *, prefix: str = "e") -> None:
        """Rank and reward n times."""
        for i in range(n):
            await self.rank(f"{prefix}{i}")
            await self.reward(f"{prefix}{i}", float(i % 3 == 0))

    def lane(self, segment: str = "default") -> Lane:
        """Return a segment's lane."""
        return self.service.lanes[segment]

    def fresh_lane(self, segment: str = "default") -> Lane:
        """Return a segment's lane as it is before any outcome."""
        lane = self.lane(segment)
        return Lane(lane.segment, epoch=lane.epoch, spec=lane.spec, policy=lane.spec.build(), reader=lane.reader)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, at most five seconds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(0.005)
