"""Reloads with traffic, reloads that break off, and outcomes that cannot be taken in: what is learned stays a fold."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from banditd import service
from banditd.api.app import Api
from banditd.errors import JournalUnavailable, Overloaded
from banditd.segments.families import POOL
from banditd.segments.feed import Feed
from banditd.segments.pooled import PooledLane
from policies.contest import START
from tests.world import World, until

EPSILON_GREEDY = '{ kind = "epsilon_greedy" }'
THOMPSON = '{ kind = "thompson" }'
GAUSSIAN = '{ kind = "thompson", model = "gaussian" }'


def toml(**segments: tuple[str, str]) -> str:
    """Return a configuration of segments, each with its policy and how it is pooled."""
    tables = [
        f'[[segments]]\nname = "{name}"\npolicy = {policy}\npooling = "{pooling}"\n'
        for name, (policy, pooling) in segments.items()
    ]
    return "".join(tables) + '[default]\npolicy = { kind = "uniform" }\npooling = "own"\n'


BASE = {"a": (EPSILON_GREEDY, "auto"), "b": (EPSILON_GREEDY, "auto"), "v": (THOMPSON, "auto"), "w": (THOMPSON, "auto")}
NEXT = {**BASE, "v": (GAUSSIAN, "auto"), "w": (GAUSSIAN, "auto")}  # with a pool that is new, and has to be folded


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Return a world that is not started yet."""
    made = World(tmp_path)
    yield made
    await made.stop()


class Gate:
    """Holds one method of the journal up, each time after it is done, until it is opened."""

    def __init__(self, world: World, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        wrapped = getattr(world.journal, method)

        async def waits(*args: Any, **settings: Any) -> Any:
            answer = await wrapped(*args, **settings)
            self.reached.set()
            await self.open.wait()
            return answer

        monkeypatch.setattr(world.journal, method, waits)


async def learn(world: World, n: int, *names: str, prefix: str) -> None:
    """Rank and reward n times in each of the segments."""
    for i in range(n):
        for name in names:
            event_id = f"{prefix}-{name}-{i}"
            reply = await world.rank(event_id, segment=name)
            await world.reward(event_id, float(reply.chosen == "abc"[len(name) % 3]))


async def at_head(world: World) -> None:
    """Wait until every lane and pool has learned all that the journal has."""
    roster = world.service.keeper.roster
    for segment in roster.lanes.values():
        info = await world.journal.lane_info(segment.name)
        await until(lambda lane=segment, seq=info.seq: lane.seq == seq)  # type: ignore[misc]  # defaults bind the loop
    head = (await world.journal.pool_info(POOL)).seq
    await until(lambda: all(pool.pool_seq == head for pool in roster.pools.values()))


async def states(world: World) -> dict[str, tuple[int, int, int, bytes]]:
    """Return what each segment's next decision depends on."""
    await at_head(world)
    lanes = list(world.service.lanes.values())
    await world.service.keeper.hot.ready(lanes)
    return {
        lane.segment: (
            lane.seq,
            lane.pool_seq,
            lane.n if isinstance(lane, PooledLane) else lane.rewards.n,
            lane.dumps(),
        )
        for lane in lanes
    }


async def fold_again(world: World, configuration: str, *, snapshots: bool) -> dict[str, tuple[int, int, int, bytes]]:
    """Return the states after a kill, with what snapshots there are or without any."""
    if not snapshots:
        world.journal._store._db.execute("DELETE FROM snapshots WHERE base = 0")
    await world.crash()
    await world.start(configuration)
    return await states(world)


# ------------------------------------------------------------------------------------------------ while outcomes come


@pytest.mark.parametrize("gate", ["open_lanes", "snapshots"])
@pytest.mark.parametrize("before", [0, 2, 4 * START], ids=["cold", "young", "with a policy of its own"])
async def test_a_lane_may_join_a_pool_under_load(
    world: World, monkeypatch: pytest.MonkeyPatch, gate: str, before: int
) -> None:
    """Outcomes of a lane that is moved into a pool while they come are learned there, each in its place."""
    await world.start(toml(**BASE, l=(EPSILON_GREEDY, "own")))
    await learn(world, 12, "a", "b", "v", "w", prefix="before")
    await learn(world, before, "l", prefix="before")
    changed = toml(**NEXT, l=(EPSILON_GREEDY, "auto"))

    slow = Gate(world, gate, monkeypatch)
    reload = asyncio.create_task(world.service.apply(world.config(changed)))
    await slow.reached.wait()
    await learn(world, START + 2, "l", "a", prefix="meanwhile")
    slow.open.set()
    await world.service.keeper.save(at_least=1)
    await reload
    await learn(world, START + 2, "l", "a", prefix="after")
    lived = await states(world)

    assert lived["l"][:2] == (before + 2 * (START + 2), 48 + 4 * (START + 2))
    assert await fold_again(world, changed, snapshots=True) == lived
    assert await fold_again(world, changed, snapshots=False) == lived


@pytest.mark.parametrize("gate", ["open_lanes", "snapshots"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param((EPSILON_GREEDY, "auto"), (GAUSSIAN, "auto"), id="to a pool that is new"),
        pytest.param((EPSILON_GREEDY, "auto"), (EPSILON_GREEDY, "own"), id="out"),
        pytest.param((EPSILON_GREEDY, "auto"), (EPSILON_GREEDY, "shared"), id="auto to shared"),
        pytest.param((EPSILON_GREEDY, "shared"), (EPSILON_GREEDY, "auto"), id="shared to auto"),
        pytest.param((GAUSSIAN, "own"), (GAUSSIAN, "auto"), id="in"),
    ],
)
@pytest.mark.parametrize("n", [0, 2 * START], ids=["cold", "warm"])
async def test_a_lane_may_change_under_load(
    world: World, monkeypatch: pytest.MonkeyPatch, gate: str, before: tuple[str, str], after: tuple[str, str], n: int
) -> None:
    """Whatever a lane changes to while its outcomes come, what all have learned is what the log folds to."""
    await world.start(toml(**BASE, l=before))
    await learn(world, 12, "a", "b", "v", "w", prefix="before")
    await learn(world, n, "l", prefix="before")
    changed = toml(**NEXT, l=after)

    slow = Gate(world, gate, monkeypatch)
    reload = asyncio.create_task(world.service.apply(world.config(changed)))
    await slow.reached.wait()
    await learn(world, START + 2, "l", "a", prefix="meanwhile")
    slow.open.set()
    await world.service.keeper.save(at_least=1)
    await reload
    await learn(world, START + 2, "l", "a", prefix="after")
    lived = await states(world)

    assert await fold_again(world, changed, snapshots=True) == lived
    assert await fold_again(world, changed, snapshots=False) == lived


async def test_a_pool_that_is_put_in_force_late_misses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came after a new pool was folded is read when it is put in force, if only of other pools' lanes."""
    await world.start(toml(**BASE))
    await learn(world, 12, "a", "b", "v", "w", prefix="before")
    folded, open_now = asyncio.Event(), asyncio.Event()
    apply = world.service.keeper.changing

    @contextlib.asynccontextmanager
    async def waits(config: Any) -> AsyncIterator[Any]:
        async with apply(config) as settle:
            folded.set()
            await open_now.wait()
            yield settle

    monkeypatch.setattr(world.service.keeper, "changing", waits)
    reload = asyncio.create_task(world.service.apply(world.config(toml(**NEXT))))
    await folded.wait()
    await learn(world, 3, "a", prefix="meanwhile")
    open_now.set()
    await reload

    (fresh,) = [pool for pool in world.service.keeper.roster.pools.values() if "v/main" in pool.lanes]
    await until(lambda: fresh.pool_seq == 51)


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_a_pool_that_catches_up_when_it_is_held_goes_on_after(world: World, turns: int) -> None:
    """Whatever a hold interrupts, or keeps from beginning, is done after it."""
    await world.start(toml(**BASE))
    await learn(world, 150, "a", prefix="before")
    rows = await world.journal.pool_outcomes(POOL, after=0, limit=1_000)
    fresh = world.service.keeper.roster.pools[next(iter(world.service.keeper.roster.pools))].fresh(lambda _lane: None)
    feed = Feed(world.journal)
    feed.receive(rows[:100])
    feed.keep([fresh])
    for _ in range(turns):
        await asyncio.sleep(0)

    await feed.hold()
    held_at = fresh.pool_seq
    feed.receive(rows[100:])
    feed.resume()
    await asyncio.sleep(0.01)
    assert fresh.pool_seq == held_at
    feed.release()

    await until(lambda: fresh.pool_seq == 150)
    await feed.close()


# ------------------------------------------------------------------------------------------------- reloads that break


class Late:
    """Lets the journal carry out what it is asked, and the answer come too late, until it is over."""

    def __init__(self, world: World, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.over = False
        self.asked = 0
        wrapped = getattr(world.journal, method)

        async def late(*args: Any, **settings: Any) -> Any:
            answer = await wrapped(*args, **settings)
            self.asked += 1
            if not self.over:
                raise JournalUnavailable("journal_late", "the journal did not answer within 5 s")
            return answer

        monkeypatch.setattr(world.journal, method, late)


BROKEN_OFF = toml(**NEXT, l=(EPSILON_GREEDY, "auto"), m=(EPSILON_GREEDY, "own"), n=(EPSILON_GREEDY, "shared"))


async def break_off(world: World, method: str, monkeypatch: pytest.MonkeyPatch) -> Late:
    """Start, learn, and begin a reload that the journal answers too late; learn on."""
    monkeypatch.setattr(service, "_MAINTENANCE_S", 0.01)
    await world.start(toml(**BASE, l=(EPSILON_GREEDY, "own"), m=(EPSILON_GREEDY, "auto"), n=(EPSILON_GREEDY, "auto")))
    await learn(world, 12, "a", "b", "v", "l", "m", prefix="before")
    late = Late(world, method, monkeypatch)
    with pytest.raises(JournalUnavailable):
        await world.service.apply(world.config(BROKEN_OFF))
    await learn(world, 7, "a", "l", "m", "n", "v", prefix="broken")
    return late


@pytest.mark.parametrize("method", ["open_lanes", "pool_info", "open_lane", "snapshots"])
async def test_a_reload_that_broke_off_is_finished(world: World, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """What the journal took over of a reload comes into force once it answers, and nothing is lost meanwhile."""
    late = await break_off(world, method, monkeypatch)
    api = Api(world.service)
    assert b"banditd_reload_unfinished 1.0" in api.metrics.render()
    asked = late.asked
    await until(lambda: late.asked > asked + 1)
    await world.service.keeper.trim(age_s=0.0)
    await world.service.keeper.save(at_least=1)

    late.over = True
    await until(lambda: world.service.keeper.unfinished is None)

    assert b"banditd_reload_unfinished 0.0" in api.metrics.render()
    assert {name: world.lane(name).pooling for name in "lmn"} == {"l": "auto", "m": "own", "n": "shared"}
    await learn(world, 7, "a", "l", "m", "n", "v", prefix="after")
    lived = await states(world)
    assert lived["l"][0] == 26
    assert await fold_again(world, BROKEN_OFF, snapshots=True) == lived
    assert await fold_again(world, BROKEN_OFF, snapshots=False) == lived


@pytest.mark.parametrize("method", ["open_lanes", "snapshots"])
async def test_a_reload_that_broke_off_can_be_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """A later reload takes the place of the one that broke off, even if it is the one to what was in force before."""
    late = await break_off(world, method, monkeypatch)
    before = toml(**BASE, l=(EPSILON_GREEDY, "own"), m=(EPSILON_GREEDY, "auto"), n=(EPSILON_GREEDY, "auto"))

    late.over = True
    await world.service.apply(world.config(before))

    assert world.service.keeper.unfinished is None
    await learn(world, 7, "a", "l", "m", "n", "v", prefix="after")
    lived = await states(world)
    assert await fold_again(world, before, snapshots=True) == lived
    assert await fold_again(world, before, snapshots=False) == lived


async def test_a_journal_that_comes_back_finishes_the_reload(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What broke off because the journal went away is finished as soon as it is back."""
    late = await break_off(world, "open_lanes", monkeypatch)
    await world.service.keeper.journal_is_back()  # before that nothing is compared: who is in the pools is not known
    assert world.service.keeper.feed.is_holding

    late.over = True
    await world.service.journal_is_back()

    assert world.service.keeper.unfinished is None
    lived = await states(world)
    assert await fold_again(world, BROKEN_OFF, snapshots=False) == lived


# ------------------------------------------------------------------------------------------------ what cannot be taken


async def spoil(world: World, segment: str, *, event_id: str) -> bytes:
    """Make an outcome whose stored decision cannot be read; return what it was."""
    await world.rank(event_id, segment=segment)
    body = await world.journal.decision(event_id)
    assert body is not None
    write(world, event_id, b"{}")
    await world.reward(event_id)
    return body


def write(world: World, event_id: str, body: bytes) -> None:
    """Overwrite a stored decision."""
    world.journal._store._db.execute("UPDATE decisions SET body = ? WHERE event_id = ?", (body, event_id))


@pytest.mark.parametrize(
    ("pooling", "failed"), [pytest.param("own", {"a"}, id="alone"), pytest.param("auto", {"a", "b"}, id="pooled")]
)
async def test_an_outcome_that_cannot_be_taken_in_stops_its_lane_alone(
    world: World, pooling: str, failed: set[str]
) -> None:
    """The lane or pool that meets it says so once and answers 503; all others go on, also after a restart."""
    both = toml(**{**BASE, "a": (EPSILON_GREEDY, pooling), "b": (EPSILON_GREEDY, pooling)})
    await world.start(both)
    await learn(world, 12, *BASE, prefix="before")
    body = await spoil(world, "a", event_id="spoilt")

    for _ in range(2):
        await world.rank("open", segment="v")
        await world.reward("open")
        assert world.service.backlog == 0
        for name in BASE:
            if name not in failed:
                await world.rank(segment=name)
                continue
            with pytest.raises(Overloaded) as caught:
                await world.rank(segment=name)
            assert caught.value.code == "lane_failed"
        shown = {info.name for info in (await world.service.segments()).segments}
        assert shown == {*BASE, "default"}
        assert b'banditd_lane_failed{segment="a"} 1.0' in Api(world.service).metrics.render()
        await world.service.keeper.save(at_least=1)
        await world.service.trim()
        await world.crash()
        await world.start(both)
    assert world.lane("a").is_failed

    write(world, "spoilt", body)
    await world.service.apply(world.config(both))
    lived = await states(world)
    assert lived["a"][0] == 13
    assert await fold_again(world, both, snapshots=False) == lived


async def test_an_outcome_that_cannot_be_taken_in_stops_a_pool_that_reads_it_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same for what is read from the journal as for what is pushed."""
    await world.start(toml(**BASE))
    await learn(world, 12, *BASE, prefix="before")
    slow = Gate(world, "pool_info", monkeypatch)
    reload = asyncio.create_task(world.service.apply(world.config(toml(**BASE))))
    await slow.reached.wait()
    await spoil(world, "a", event_id="spoilt")
    slow.open.set()
    await reload

    await until(lambda: world.lane("a").is_failed)
    assert world.lane("b").is_failed
    await learn(world, 2, "v", prefix="after")


async def test_an_own_policy_that_cannot_be_loaded_stops_its_lane_alone(world: World) -> None:
    """The other lanes of the pool go on; the shared policy is as good as it was."""
    await world.start("[store]\nhot_lanes = 1\n" + toml(**BASE))
    await learn(world, 12, "a", prefix="before")
    await world.rank("later", segment="a")
    await learn(world, 12, "b", prefix="before")
    await until(lambda: not world.lane("a").is_hot)
    await world.reward("later")
    write(world, "later", b"{}")

    with pytest.raises(Overloaded) as caught:
        await world.rank(segment="a")

    assert caught.value.code == "lane_failed"
    assert not world.lane("b").is_failed
    await learn(world, 2, "b", prefix="after")


async def test_a_pool_that_fails_takes_no_loaded_policy_back(world: World) -> None:
    """A load that was under way when the pool failed changes nothing."""
    await world.start(toml(**BASE))
    await learn(world, 12, "a", "b", prefix="before")
    lane = world.lane("a")
    assert isinstance(lane, PooledLane)
    own = lane.own
    assert own is not None

    lane.pool.fail(ValueError("spoilt"))
    lane.pool.fail(ValueError("spoilt"))
    lane.attach(own)

    assert (lane.own, lane.is_hot) == (None, False)
