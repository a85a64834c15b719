"""Whatever happens to segments that share, what they have learned is a fold of the log."""

import asyncio
import random
from pathlib import Path

import pytest

from banditd.errors import NotFound
from banditd.segments.pooled import PooledLane
from tests.world import World, until

NAMES = ("a", "b", "c", "default")
STEPS = 40


class Story:
    """A world in which things happen at random."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.world = World(folder)
        self.rng = random.Random(seed)  # noqa: S311 - what happens; nothing secret
        self.pooling = dict.fromkeys(NAMES, "auto")
        self.kinds = dict.fromkeys(NAMES, "epsilon_greedy")
        self.n = 0

    def toml(self) -> str:
        """Return the configuration as it is by now."""
        tables = [
            f"{'[default]' if name == 'default' else f'[[segments]]{chr(10)}name = {name!r}'}\n"
            f'policy = {{ kind = "{self.kinds[name]}" }}\npooling = "{pooling}"\n'
            for name, pooling in self.pooling.items()
        ]
        return "[store]\nhot_lanes = 2\n" + "".join(tables)

    async def happen(self) -> None:
        """Let one thing happen."""
        await self.rng.choice(
            [
                self.learn,
                self.learn,
                self.learn,
                self.learn,
                self.save,
                self.reload,
                self.trim,
                self.crash,
                self.restart,
            ]
        )()

    async def learn(self) -> None:
        """Rank and reward in all segments, and leave some decisions open."""
        for _ in range(self.rng.randrange(40)):
            self.n += 1
            name = self.rng.choice(list(self.pooling))
            reply = await self.world.rank(f"e{self.n}", segment=name)
            if self.rng.random() < 0.8:
                await self.world.reward(f"e{self.n}", float(reply.chosen == "abca"[NAMES.index(name)]))
        self.world.clock.advance(self.rng.choice([0.0, 601.0]))
        await self.world.journal.tick()
        await until(lambda: self.world.service.backlog == 0)

    async def save(self) -> None:
        """Keep snapshots of some things, as the maintenance does."""
        await self.world.service.keeper.save(at_least=self.rng.choice([1, 20]))

    async def reload(self) -> None:
        """Change how a segment is pooled, or what its policy is, or take it away, or bring it back."""
        name = self.rng.choice(NAMES)
        if name != "default" and self.rng.random() < 0.3:
            pooling = self.pooling.pop(name, "auto")
            if self.rng.random() < 0.5:
                self.pooling = {name: pooling, **self.pooling}
        elif name in self.pooling:
            self.pooling[name] = self.rng.choice(["own", "shared", "auto", "auto"])
            self.kinds[name] = self.rng.choice(["epsilon_greedy", "epsilon_greedy", "thompson"])
        self.pooling = {name: self.pooling[name] for name in NAMES if name in self.pooling}
        await self.world.service.apply(self.world.config(self.toml()))

    async def trim(self) -> None:
        """Let some of the log grow old."""
        self.world.clock.advance(self.rng.choice([0.0, 60.0, 91.0]) * 86_400.0)
        await self.world.journal.tick()
        await until(lambda: self.world.service.backlog == 0)
        await self.world.service.trim()

    async def crash(self) -> None:
        """Be killed, and start again."""
        await self.world.crash()
        await self.world.start(self.toml())

    async def restart(self) -> None:
        """Stop and start again."""
        await self.world.stop()
        await self.world.start(self.toml())

    async def states(self) -> dict[str, tuple[int, int, bytes]]:
        """Return what every segment has learned."""
        found: dict[str, tuple[int, int, bytes]] = {}
        for name in self.pooling:
            lane = self.world.lane(name)
            await self.world.service.keeper.hot.ready([lane])
            found[name] = (lane.seq, lane.n if isinstance(lane, PooledLane) else lane.rewards.n, lane.dumps())
            await asyncio.sleep(0)
        return found


@pytest.mark.parametrize("seed", range(4))
async def test_what_segments_have_learned_is_a_fold_of_the_log(tmp_path: Path, seed: int) -> None:
    """After any story of learning, reloads, trims, stops and kills, a start without snapshots gives the same states."""
    story = Story(tmp_path, seed=seed)
    await story.world.start(story.toml())
    for _ in range(STEPS):
        await story.happen()

    lived = await story.states()
    story.world.journal._store._db.execute("DELETE FROM snapshots WHERE base = 0")
    await story.crash()
    folded = await story.states()

    assert folded == lived
    with pytest.raises(NotFound):
        await story.world.rank(segment="nowhere")
    await story.world.stop()
