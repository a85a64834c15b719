"""Lanes in memory and not: loaded when asked for, unloaded when cold, and else as if they had never been away."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from banditd.api.app import Api
from banditd.errors import ConfigError, JournalUnavailable, Overloaded
from banditd.journal.protocol import Snapshot
from policies.evidence import EvidenceState
from tests.world import World, until

N_SEGMENTS = 8
NAMES = [f"s{i}" for i in range(N_SEGMENTS)]
STAYING = '{ kind = "vw", options = "--nn 2" }'  # VW keeps state of it that is not in its model file


def toml(*, hot_lanes: int, pooling: str = "own", kind: str = "vw", n: int = N_SEGMENTS, store: str = "") -> str:
    """Return a configuration of so many segments alike."""
    segment = f'policy = {{ kind = "{kind}" }}\npooling = "{pooling}"\n'
    segments = "".join(f'[[segments]]\nname = "s{i}"\n{segment}' for i in range(n))
    return f"[store]\nhot_lanes = {hot_lanes}\n{store}\n{segments}[default]\n{segment}"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Return a world that is not started yet."""
    made = World(tmp_path)
    yield made
    await made.stop()


async def learn(world: World, n: int, *, prefix: str = "e") -> None:
    """Let segments take turns, and leave every fifth decision without a reward."""
    for i in range(n):
        segment = NAMES[(i * 5 + i // 20) % N_SEGMENTS]
        reply = await world.rank(f"{prefix}{i}", segment=segment, context={"hour": i % 3})
        if i % 5:
            await world.reward(f"{prefix}{i}", float(reply.chosen == "abc"[i % 3]))
        await asyncio.sleep(0)  # this journal never waits, and unloading is a task of its own
    world.clock.advance(601)
    await world.journal.tick()
    await until(lambda: world.service.backlog == 0)


def pool_evidence(world: World) -> list[EvidenceState]:
    """Return the evidence of each pool; complete once all lanes have been loaded."""
    return [pool.evidence.dumps() for pool in world.service.keeper.roster.pools.values()]


async def states(world: World) -> dict[str, tuple[int, int, bytes]]:
    """Return what each segment has learned, loading one after the other."""
    found: dict[str, tuple[int, int, bytes]] = {}
    for name in NAMES:
        await world.service.keeper.hot.ready([world.lane(name)])
        lane = world.lane(name)
        found[name] = (lane.seq, lane.rewards.n, lane.dumps())
    return found


@pytest.mark.parametrize("pooling", ["own", "shared"])
async def test_unloading_changes_nothing(tmp_path: Path, pooling: str) -> None:
    """With two lanes in memory at most, every state is byte for byte what it is with all of them in memory."""
    worlds: dict[int, World] = {}
    for hot_lanes in (100, 2):
        folder = tmp_path / str(hot_lanes)
        folder.mkdir()
        if worlds:
            shutil.copy(tmp_path / "100" / "store.keys", folder)  # the same draws
        worlds[hot_lanes] = world = World(folder)
        await world.start(toml(hot_lanes=hot_lanes, pooling=pooling))
        await learn(world, 120)

    assert await states(worlds[2]) == await states(worlds[100])
    assert worlds[100].service.keeper.hot.unloads == 0
    assert (worlds[2].service.keeper.hot.unloads > 20) == (pooling == "own")
    assert worlds[2].service.keeper.hot.n_hot <= 2
    for world in worlds.values():
        await world.stop()


@pytest.mark.parametrize("pooling", ["own", "auto"])
async def test_any_number_in_memory_folds_to_the_same(world: World, pooling: str) -> None:
    """What was learned with two lanes in memory is what the log folds to with all of them there, and the other way."""
    await world.start(toml(hot_lanes=2, pooling=pooling))
    await learn(world, 120)
    assert world.service.keeper.hot.unloads > 20
    before, evidence = await states(world), pool_evidence(world)

    for hot_lanes in (100, 2, 2):
        await world.crash()
        await world.start(toml(hot_lanes=hot_lanes, pooling=pooling))
        assert (await states(world), pool_evidence(world)) == (before, evidence)
        world.journal._store._db.execute("DELETE FROM snapshots")


@pytest.mark.parametrize("pooling", ["own", "auto"])
async def test_unloaded_lanes_survive_a_stop_and_a_crash(world: World, pooling: str) -> None:
    """What was cold when the process was killed is there again, as it would have been."""
    await world.start(toml(hot_lanes=2, pooling=pooling))
    await learn(world, 100, prefix="before")
    await world.stop()
    await world.start(toml(hot_lanes=2, pooling=pooling))
    await learn(world, 60, prefix="after")
    before = await states(world)
    await world.crash()

    await world.start(toml(hot_lanes=2, pooling=pooling))

    assert await states(world) == before


async def test_a_start_with_many_segments_loads_none(world: World) -> None:
    """Two thousand segments are open, listed and ready without a policy in memory; a rank loads the one it needs."""
    await world.start(toml(hot_lanes=50, n=2_000))
    hot = world.service.keeper.hot

    listed = await world.service.segments()
    assert (len(listed.segments), hot.n_hot, hot.loads) == (2_001, 0, 0)
    reply = await world.rank(segment="s1234")

    assert reply.segment == "s1234"
    assert (hot.n_hot, hot.loads) == (1, 1)


async def test_concurrent_ranks_share_one_load(world: World) -> None:
    """Fifty ranks of a cold segment wait for one load."""
    await world.start(toml(hot_lanes=2))

    replies = await asyncio.gather(*(world.rank(f"e{i}", segment="s1") for i in range(50)))

    assert {reply.segment for reply in replies} == {"s1"}
    assert world.service.keeper.hot.loads == 1


async def test_a_mixture_has_all_its_lanes(world: World) -> None:
    """The segments of one mixture are in memory together, though one more than there is room for."""
    await world.start(toml(hot_lanes=1))

    reply = await world.rank("both", segments={"s1": 1.0, "s2": 2.0})

    assert reply.segment in ("s1", "s2")


async def test_a_cold_lane_learns_what_came_meanwhile(world: World) -> None:
    """Windows that close while a lane is not in memory are part of it when it is loaded."""
    await world.start(toml(hot_lanes=1))
    await world.rank("open", segment="s1")
    await world.rank(segment="s2")
    assert not world.lane("s1").is_hot
    world.clock.advance(601)
    await world.journal.tick()

    reply = await world.rank(segment="s1")

    assert reply.version.seq == 1


async def test_a_journal_that_is_away_fails_the_load_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank that needs a load gets 503 while the journal is away; the next one loads."""
    await world.start(toml(hot_lanes=1))

    async def lost(*_: Any, **__: Any) -> Any:
        raise JournalUnavailable("journal_lost", "the journal is being restarted")

    with monkeypatch.context() as patch:
        patch.setattr(world.journal, "snapshots", lost)
        with pytest.raises(JournalUnavailable):
            await world.rank(segment="s1")

    assert (await world.rank(segment="s1")).segment == "s1"


async def test_a_load_that_takes_too_long_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits longer than `store.deadline` gets 503; the load is done once, and serves who asks later."""
    await world.start(toml(hot_lanes=1, store='deadline = "20ms"'))
    gate = asyncio.Event()
    real = world.journal.snapshots

    async def slow(lane: str, *, epoch: int) -> Any:
        await gate.wait()
        return await real(lane, epoch=epoch)

    monkeypatch.setattr(world.journal, "snapshots", slow)
    with pytest.raises(Overloaded) as caught:
        await world.rank(segment="s1")
    gate.set()
    await until(lambda: world.lane("s1").is_hot)

    assert caught.value.code == "lane_loading"
    assert (await world.rank(segment="s1")).segment == "s1"
    assert world.service.keeper.hot.loads == 1


async def test_a_lane_that_learns_while_it_is_saved_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane is only let go of in the state that was saved."""
    await world.start(toml(hot_lanes=1, kind="epsilon_greedy"))
    await world.rank("first", segment="s1")
    await world.reward("first")
    real = world.journal.save_snapshot
    saved = 0

    async def meanwhile(snapshot: Snapshot) -> None:
        nonlocal saved
        saved += 1
        await real(snapshot)
        await world.rank(f"m{saved}", segment="s1")
        await world.reward(f"m{saved}")

    with monkeypatch.context() as patch:
        patch.setattr(world.journal, "save_snapshot", meanwhile)
        await world.rank(segment="s2")

    assert world.lane("s1").is_hot
    assert (world.lane("s1").seq, saved) == (1 + saved, saved)
    assert world.lane("s2").is_hot


async def test_metrics_tell_of_loads(world: World) -> None:
    """Hot lanes, loads and unloads are in the metrics."""
    await world.start(toml(hot_lanes=2))
    for name in NAMES[:5]:
        await world.rank(segment=name)

    text = Api(world.service).metrics.render().decode()

    assert "banditd_hot_lanes 2.0" in text
    assert "banditd_lane_loads 5.0" in text
    assert "banditd_lane_unloads 3.0" in text


async def test_own_policies_that_start_push_others_out(world: World) -> None:
    """Lanes of a pool become hot by learning; the limit holds for them soon after."""
    await world.start(toml(hot_lanes=2, pooling="auto", kind="epsilon_greedy"))
    await learn(world, 120)

    hot = world.service.keeper.hot
    await until(lambda: hot.n_hot <= 2)

    assert hot.unloads > 0


async def test_a_policy_without_snapshots_stays(world: World) -> None:
    """It is folded at the start, never unloaded, and takes no other's place."""
    segments = f'[[segments]]\nname = "stays"\npolicy = {STAYING}\n' + toml(hot_lanes=1).partition("\n\n")[2]
    config = f"[store]\nhot_lanes = 1\n{segments}"
    await world.start(config)
    for i in range(3):
        await world.rank(f"e{i}", segment="stays")
        await world.reward(f"e{i}")
    for name in NAMES[:3]:
        await world.rank(segment=name)
    before = world.lane("stays").dumps()
    assert (world.lane("stays").is_hot, world.service.keeper.hot.n_hot) == (True, 1)
    await world.stop()

    await world.start(config)

    assert world.lane("stays").is_hot
    assert world.lane("stays").dumps() == before


async def test_policies_without_snapshots_share_and_are_folded_anew(world: World) -> None:
    """A pool of them folds all of its log at each start, and trims none of it."""
    config = f'[[segments]]\nname = "s1"\npolicy = {STAYING}\n[default]\npolicy = {STAYING}\n'
    await world.start(config)
    for i in range(16):
        await world.rank(f"e{i}", segment=("s1", "default")[i % 2])
        await world.reward(f"e{i}")
    before = [world.lane(name).dumps() for name in ("s1", "default")]
    world.clock.advance(91 * 86_400.0)
    await world.service.trim()
    await world.stop()

    await world.start(config)

    assert [world.lane(name).dumps() for name in ("s1", "default")] == before
    assert world.lane("s1").pool_seq == 16


def test_more_policies_without_snapshots_than_room_are_refused(tmp_path: Path) -> None:
    """They could not be unloaded, so the start stops with the key that would have to be larger."""
    world = World(tmp_path)
    segments = f'[[segments]]\nname = "one"\npolicy = {STAYING}\n[default]\npolicy = {STAYING}\n'

    with pytest.raises(ConfigError) as caught:
        world.config(f"[store]\nhot_lanes = 1\n{segments}")

    assert caught.value.field == "store.hot_lanes"
    assert world.config(f"[store]\nhot_lanes = 2\n{segments}").store.hot_lanes == 2
