"""Segments that share a policy: what they learn from each other, who serves, and that it all is a fold of the log."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from banditd.decision import Decision, decode_decision
from banditd.errors import Overloaded
from banditd.journal.local import LocalJournal
from banditd.journal.protocol import PREPARED, Snapshot
from banditd.segments.families import POOL
from banditd.segments.feed import Feed
from banditd.segments.pool import Pool
from banditd.segments.pooled import Own, PooledLane
from banditd.segments.recovery import Lost, load_own, recover_pool
from banditd.segments.trimming import trim_pool
from policies.contest import START
from tests.world import EPSILON_GREEDY, World, until

NAMES = ("a", "b", "default")
ENOUGH = 3 * START  # outcomes after which each of three segments has a policy of its own


def toml(
    *, kind: str = "vw", pooling: str = "auto", names: Sequence[str] = ("a", "b"), store: str = "", reward: str = ""
) -> str:
    """Return a configuration whose segments all have the same policy."""
    settings = f'policy = {{ kind = "{kind}" }}\npooling = "{pooling}"\n'
    segments = "".join(f'[[segments]]\nname = "{name}"\n{settings}' for name in names)
    return f"[store]\n{store}\n[reward]\n{reward}\n{segments}[default]\n{settings}"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Return a world that is not started yet."""
    made = World(tmp_path)
    yield made
    await made.stop()


async def learn(world: World, n: int, *, names: Sequence[str] = NAMES, prefix: str = "e") -> list[Decision]:
    """Let the segments take turns, each with a favourite action of its own; return the decisions."""
    best = dict(zip(names, "abcabcabc", strict=False))
    decisions: list[Decision] = []
    for i in range(n):
        segment = names[i % len(names)]
        reply = await world.rank(f"{prefix}{i}", segment=segment, context={"hour": i % 4})
        await world.reward(f"{prefix}{i}", float(reply.chosen == best[segment]))
        decisions.append(await stored(world, f"{prefix}{i}"))
    await until(lambda: world.service.backlog == 0)
    return decisions


async def stored(world: World, event_id: str) -> Decision:
    """Return a decision as the journal holds it."""
    body = await world.journal.decision(event_id)
    assert body is not None
    return decode_decision(body)


def lane_of(world: World, segment: str) -> PooledLane:
    """Return the lane of a segment that shares."""
    lane = world.lane(segment)
    assert isinstance(lane, PooledLane)
    return lane


def pool_of(world: World) -> Pool:
    """Return the only pool."""
    (pool,) = world.service.keeper.roster.pools.values()
    return pool


async def states(world: World, names: Sequence[str] = NAMES) -> dict[str, tuple[int, int, str, bytes]]:
    """Return everything that a segment's next decision depends on."""
    await world.service.keeper.hot.ready([world.lane(name) for name in names])
    return {
        name: (lane.seq, lane.pool_seq, lane.served_by, lane.dumps()) for name in names for lane in [world.lane(name)]
    }


async def cooled(world: World, segment: str) -> dict[str, tuple[int, int, str, bytes]]:
    """Unload a segment's own policy; return the states of all before."""
    before = await states(world)
    for name in NAMES:
        if name != segment:
            world.service.keeper.hot.used(world.lane(name))
    await world.service.keeper.hot.make_room()
    assert not world.lane(segment).is_hot
    return before


def drop_snapshots(world: World, lane: str = "%") -> None:
    """Lose snapshots; bases are data and stay."""
    sql = "DELETE FROM snapshots WHERE base = 0 AND lane_id IN (SELECT id FROM lanes WHERE name LIKE ?)"
    world.journal._store._db.execute(sql, (lane,))


# ---------------------------------------------------------------------------------------------------- who shares what


@pytest.mark.parametrize(
    ("pooling", "kind", "effective"),
    [
        pytest.param('pooling = "own"', "vw", "own", id="own"),
        pytest.param('pooling = "shared"', "vw", "shared", id="shared"),
        pytest.param('pooling = "auto"', "vw", "auto", id="auto"),
        pytest.param("", "vw", "auto", id="unsaid"),
        pytest.param('pooling = "auto"', "thompson", "own", id="auto alone with its policy"),
        pytest.param('pooling = "shared"', "thompson", "shared", id="shared alone with its policy"),
    ],
)
async def test_a_segment_is_pooled_as_it_says(world: World, pooling: str, kind: str, effective: str) -> None:
    """Segments with the same policy share it unless they say otherwise, and a lone `auto` is `own`."""
    segment = f'[[segments]]\nname = "a"\n{pooling}\npolicy = {{ kind = "{kind}" }}\n'
    await world.start(f'{segment}[[segments]]\nname = "b"\n[default]\npolicy = {{ kind = "epsilon_greedy" }}\n')

    info = await world.service.segment("a")

    assert info.pooling == effective
    assert info.served_by == ("own" if effective == "own" else "shared")


async def test_what_one_segment_learns_serves_the_others(world: World) -> None:
    """A segment without any outcome is served by what the others have taught the shared policy."""
    await world.start(toml(pooling="shared", kind="epsilon_greedy"))
    for i in range(20):
        reply = await world.rank(f"e{i}", segment="a")
        await world.reward(f"e{i}", float(reply.chosen == "b"))

    reply = await world.rank(segment="b")

    assert reply.version.seq == 0
    assert max(reply.ranking, key=lambda ranked: ranked.probability).id == "b"


async def test_the_shared_policy_sees_the_segment(world: World) -> None:
    """The segment is a feature of the context, so that segments that differ are told apart by the policy they share."""
    await world.start(toml(pooling="shared"))
    await learn(world, 300)

    bests = {}
    for name in NAMES:
        reply = await world.rank(segment=name, context={"hour": 1})
        bests[name] = max(reply.ranking, key=lambda ranked: ranked.probability).id

    assert bests == {"a": "a", "b": "b", "default": "c"}


async def test_a_decision_says_what_decided(world: World) -> None:
    """Who served, the place in the pool, the parent's epoch, and where the own policy started stand in the decision."""
    await world.start(toml(kind="epsilon_greedy"))

    decisions = await learn(world, ENOUGH + 6)

    first, last = decisions[0], decisions[-1]
    assert (first.served_by, first.pool_seq, first.parent_epoch) == ("shared", 0, 1)
    assert (first.own_from, first.own_share) == (msgspec.UNSET, msgspec.UNSET)
    assert last.own_share == pytest.approx(0.5, abs=0.4801)
    assert (last.seq, last.pool_seq, last.parent_epoch) == (START + 1, ENOUGH + 5, 1)
    assert last.own_from == ENOUGH  # the default segment is the last of three that take turns


async def test_a_lane_alone_says_nothing_of_pools(world: World) -> None:
    """Decisions of a lane alone are stored as ever."""
    await world.start(EPSILON_GREEDY)
    await world.rank("visit")

    decision = await stored(world, "visit")

    assert decision.served_by == "own"
    assert (decision.parent_epoch, decision.own_from, decision.own_share) == (msgspec.UNSET,) * 3


async def test_an_own_policy_starts_from_the_shared_one(world: World) -> None:
    """With a segment's `START`-th outcome it gets a policy of its own, which adopts the shared one as it is then."""
    await world.start(toml())
    await learn(world, ENOUGH - 1)
    before = lane_of(world, "default").own

    await learn(world, 1, names=["default"], prefix="last")

    lane = lane_of(world, "default")
    assert before is None
    assert lane.own is not None
    assert lane.started == lane.pool.pool_seq == ENOUGH
    copy = lane.spec.build()
    copy.adopt(lane.pool.policy)
    assert lane.own.policy.dumps() == copy.dumps()
    assert lane.served_by == "shared"


async def test_what_is_played_is_the_mixture(world: World) -> None:
    """A segment with a policy of its own plays both, in the share that its decisions store."""
    await world.start(toml(kind="epsilon_greedy"))
    await learn(world, ENOUGH + 30)
    lane = lane_of(world, "a")
    assert lane.own is not None

    reply = await world.rank("visit", segment="a", context={"hour": 1})
    decision = await stored(world, "visit")

    share = decision.own_share
    assert isinstance(share, float)
    context = lane.reader.context(decision.context).within("a")
    actions = lane.reader.actions(decision.actions)
    own, shared = (policy.probabilities(context, actions) for policy in (lane.own.policy, lane.pool.policy))
    assert decision.slots[0].probabilities == (share * own + (1.0 - share) * shared).tolist()
    assert sum(ranked.probability for ranked in reply.ranking) == pytest.approx(1.0)


async def test_a_shared_segment_gets_no_policy_of_its_own(world: World) -> None:
    """`shared` is the shared policy for good."""
    await world.start(toml(pooling="shared", kind="epsilon_greedy"))

    await learn(world, ENOUGH + 30)

    assert all(lane_of(world, name).own is None for name in NAMES)


async def test_the_own_policy_takes_over_where_the_shared_one_is_wrong(world: World) -> None:
    """A context-free policy that segments of opposite tastes share serves neither; each comes to serve itself."""
    await world.start(toml(kind="epsilon_greedy"))
    await learn(world, 1_500)

    infos = {name: await world.service.segment(name) for name in NAMES}
    replies = {name: await world.rank(segment=name) for name in NAMES}

    assert {info.served_by for info in infos.values()} == {"own"}
    assert [max(reply.ranking, key=lambda r: r.probability).id for reply in replies.values()] == ["a", "b", "c"]
    assert all(info.own_advantage is not None or lane_of(world, name).own for name, info in infos.items())


# ------------------------------------------------------------------------------------------------- all of it is a fold


@pytest.mark.parametrize("kind", ["vw", "epsilon_greedy", "thompson"])
async def test_a_fold_from_the_log_alone_gives_the_same(world: World, kind: str) -> None:
    """Killed, and without a snapshot: the same states, the same who serves, and the same probabilities again."""
    await world.start(toml(kind=kind))
    await learn(world, ENOUGH + 60)
    before = await states(world)
    asked = [await world.rank(segment=name, context={"hour": 2}) for name in NAMES]
    await world.crash()

    await world.start(toml(kind=kind))
    after = await states(world)
    again = [await world.rank(segment=name, context={"hour": 2}) for name in NAMES]

    assert after == before
    for one, other in zip(asked, again, strict=True):
        assert {r.id: r.probability for r in one.ranking} == {r.id: r.probability for r in other.ranking}


@pytest.mark.parametrize("kind", ["vw", "epsilon_greedy"])
async def test_every_decision_can_be_had_again_from_the_log(world: World, kind: str) -> None:
    """Folded up to the place in the pool that a decision names, the pool gives its probabilities bit for bit."""
    await world.start(toml(kind=kind))
    decisions = await learn(world, ENOUGH + 30)
    reader = pool_of(world).reader
    past = pool_of(world).fresh(lambda _lane: None)

    for decision in decisions[:: 7 if kind == "vw" else 1]:
        await recover_pool(past, world.journal, until=decision.pool_seq)
        lane = past.lanes[decision.lane]
        played = lane.distribution(reader.context(decision.context), reader.actions(decision.actions))

        assert (lane.seq, lane.pool_seq, lane.served_by) == (decision.seq, decision.pool_seq, decision.served_by)
        assert (lane.own_from, lane.own_share) == (decision.own_from, decision.own_share)
        assert played == decision.slots[0].probabilities


async def test_snapshots_and_tail_are_the_whole_fold(world: World) -> None:
    """Stopped, gone on, killed: from snapshots and what came after, the same as from the first outcome."""
    await world.start(toml())
    await learn(world, ENOUGH + 20, prefix="before")
    await world.stop()
    await world.start(toml())
    await learn(world, 50, prefix="after")
    lost = await states(world)
    await world.crash()

    await world.start(toml())
    recovered = await states(world)
    drop_snapshots(world)
    await world.crash()
    await world.start(toml())
    whole = await states(world)

    assert recovered == lost == whole


async def test_a_pool_snapshot_without_its_lanes_is_not_used(world: World) -> None:
    """Killed between the parent's snapshot and those of the own policies, the pool goes on from an older place."""
    await world.start(toml())
    await learn(world, ENOUGH + 20, prefix="before")
    keeper = world.service.keeper
    await world.journal.save_snapshot(pool_of(world).snapshot())
    await learn(world, 20, prefix="after")
    before = await states(world)
    await world.crash()

    await world.start(toml())
    after = await states(world)

    assert after == before
    assert keeper is not world.service.keeper


async def test_own_policies_saved_later_than_their_pool_are_good(world: World) -> None:
    """The own policies may be ahead of the pool's snapshot: what they have learned is not learned twice."""
    await world.start(toml())
    await learn(world, ENOUGH + 20, prefix="before")
    await world.journal.save_snapshot(pool_of(world).snapshot())
    await learn(world, 21, prefix="after")
    await world.service.keeper.hot.save_all(at_least=1)
    before = await states(world)
    await world.crash()

    await world.start(toml())
    pool = pool_of(world)
    assert pool.saved_seq == ENOUGH + 20

    assert await states(world) == before


async def test_an_own_policy_that_is_lost_is_folded_again(world: World) -> None:
    """If the snapshot of an unloaded policy is gone, its pool is folded anew, and the segment serves again."""
    await world.start(toml(store="hot_lanes = 1"))
    await learn(world, ENOUGH + 30)
    before = await states(world, ["a"])
    world.service.keeper.hot.used(world.lane("b"))
    await world.service.keeper.hot.make_room()
    assert [world.lane(name).is_hot for name in NAMES] == [False, True, False]
    drop_snapshots(world, "a/main")

    with pytest.raises(Overloaded):
        await world.rank(segment="a")
    await until(lambda: not world.service.keeper._refolds)

    assert (await states(world, ["a"]))["a"] == before["a"]


async def test_a_damaged_own_policy_is_folded_again_once(world: World) -> None:
    """If all snapshots of a policy are damaged, one fold of its pool mends it, though not all fit into memory."""
    await world.start(toml(store="hot_lanes = 1"))
    for i in range(3):  # so that the damaged ones are of later outcomes than those that a fold anew unloads with
        await learn(world, ENOUGH, prefix=f"{i}-")
        await cooled(world, "a")
    before = await cooled(world, "a")
    sql = "UPDATE snapshots SET checksum = zeroblob(16) WHERE lane_id = (SELECT id FROM lanes WHERE name = 'a/main')"
    world.journal._store._db.execute(sql)

    with pytest.raises(Overloaded):
        await world.rank(segment="a")
    await until(lambda: not world.service.keeper._refolds)

    assert await states(world) == before


# ------------------------------------------------------------------------------------------------ lanes come and go


async def test_a_policy_changed_for_all_learns_from_everything(world: World) -> None:
    """When all segments of a pool change to another policy, its parent folds all that they have."""
    await world.start(toml(kind="epsilon_greedy"))
    await learn(world, 60)

    await world.service.apply(world.config(toml(kind="thompson")))

    assert sum(lane.n for lane in pool_of(world).lanes.values()) == 60
    assert pool_of(world).pool_seq == 60
    assert (await world.rank(segment="a")).version.epoch == 2


async def test_a_lane_that_leaves_takes_its_outcomes_along(world: World) -> None:
    """What a segment taught the shared policy is not in it any more once the segment is on its own."""
    await world.start(toml(kind="epsilon_greedy"))
    await learn(world, 60)
    alone = toml(kind="epsilon_greedy").replace("auto", "own", 1)

    await world.service.apply(world.config(alone))
    await learn(world, 9, prefix="after")

    pool = pool_of(world)
    assert pool.epoch.epoch == 2
    assert sorted(pool.lanes) == ["b/main", "default/main"]
    assert (sum(lane.n for lane in pool.lanes.values()), pool.pool_seq) == (46, 66)
    assert (world.lane("a").pooling, world.lane("a").seq, world.lane("a").rewards.n) == ("own", 23, 23)
    before = await states(world)
    await world.crash()
    await world.start(alone)
    assert await states(world) == before


async def test_a_lane_that_comes_late_brings_its_own_policy(world: World) -> None:
    """A segment that has learned alone keeps what it knows and goes on serving itself when others come to share."""
    alone = toml(kind="vw", names=[])
    await world.start(alone)
    await learn(world, 100, names=["default"], prefix="alone")
    assert (await world.service.segment("default")).pooling == "own"

    await world.service.apply(world.config(toml()))
    info = await world.service.segment("default")
    assert (info.pooling, info.served_by, info.version.seq) == ("auto", "own", 100)
    decisions = await learn(world, 60, prefix="together")

    assert pool_of(world).pool_seq == 60
    assert (decisions[-1].own_from, decisions[-1].seq) == (0, 119)
    before = await states(world)
    await world.crash()
    await world.start(toml())
    assert await states(world) == before


async def test_a_lane_may_come_back(world: World) -> None:
    """Out of the pool and in again: numbers go on in both, and the fold is the same from the log alone."""
    together = toml(kind="epsilon_greedy")
    await world.start(together)
    await learn(world, 30, prefix="one")
    await world.service.apply(world.config(together.replace("auto", "own", 1)))
    await learn(world, 30, prefix="two")
    await world.service.apply(world.config(together))
    await learn(world, 30, prefix="three")

    rows = await world.journal.outcomes("a/main", after=0, limit=100)
    info = await world.journal.pool_info(POOL)
    before = await states(world)
    await world.crash()
    await world.start(together)

    assert [row.seq for row in rows] == list(range(1, 31))
    assert [row.pool_seq for row in rows if not row.shared] == list(range(1, 11))
    assert info.seq == 80
    assert await states(world) == before


async def test_a_segment_that_is_gone_is_remembered(world: World) -> None:
    """The shared policy keeps what a removed segment taught it, and learns from its open decisions too."""
    await world.start(toml(kind="epsilon_greedy"))
    await learn(world, 60)
    await world.rank("open", segment="a")

    await world.service.apply(world.config(toml(kind="epsilon_greedy", names=["b"])))
    await world.reward("open", 1.0)

    pool = pool_of(world)
    assert (pool.pool_seq, pool.lanes["a/main"].n) == (61, 21)
    before = await states(world, ["b", "default"])
    await world.crash()
    await world.start(toml(kind="epsilon_greedy", names=["b"]))
    assert await states(world, ["b", "default"]) == before


async def test_a_new_segment_changes_nothing_for_the_others(world: World) -> None:
    """It joins the pool as it is: no fold, no epoch of the parent."""
    await world.start(toml(kind="epsilon_greedy"))
    await learn(world, 40)
    pool = pool_of(world)

    await world.service.apply(world.config(toml(kind="epsilon_greedy", names=["a", "b", "new"])))
    await learn(world, 8, names=["a", "b", "default", "new"], prefix="after")

    assert pool_of(world) is pool
    assert (pool.epoch.epoch, pool.pool_seq, pool.lanes["new/main"].n) == (1, 48, 2)


async def test_a_new_reward_rule_leaves_the_pool_as_it_is(world: World) -> None:
    """The lane opens its next epoch; what is learned stays, and so does the own policy through a crash."""
    await world.start(toml())
    await learn(world, ENOUGH + 10)
    before = await states(world)
    pool = pool_of(world)

    changed = toml(reward='wait = "20m"')
    await world.service.apply(world.config(changed))
    reply = await world.rank(segment="a")
    assert pool_of(world) is pool
    assert (reply.version.epoch, await states(world)) == (2, before)

    await world.stop()
    await world.start(changed)
    assert await states(world) == before


async def test_a_log_that_is_another_is_folded_again(world: World) -> None:
    """If the journal comes back with another history, the pool drops the state that it never had."""
    await world.start(toml())
    await learn(world, ENOUGH + 10)
    before = await states(world)
    pool = pool_of(world)
    pool.chain = bytes(32)

    await world.service.journal_is_back()

    assert pool_of(world) is not pool
    assert await states(world) == before


async def test_what_is_pushed_before_a_pool_is_kept_is_not_missed(world: World) -> None:
    """A pool that was folded, and is put in force after more outcomes came, reads those at once."""
    await world.start(toml(kind="epsilon_greedy"))
    await learn(world, 30)
    rows = await world.journal.pool_outcomes(POOL, after=0, limit=100)
    fresh = pool_of(world).fresh(lambda _lane: None)
    feed = Feed(world.journal)

    feed.receive(rows)
    feed.keep([fresh])

    await until(lambda: fresh.pool_seq == 30)
    await feed.close()


# ------------------------------------------------------------------------------------------------------ the log's end


async def test_a_trimmed_pool_goes_on_from_its_bases(world: World) -> None:
    """Dropping what is old leaves every state as it was, and the next start goes on from the bases."""
    await world.start(toml())
    await learn(world, ENOUGH + 40, prefix="old")
    world.clock.advance(91 * 86_400.0)
    await learn(world, 11, names=["a"], prefix="young")
    before = await states(world)

    await world.service.trim()
    await world.service.trim()
    kept = await world.journal.pool_outcomes(POOL, after=0, limit=1_000)
    trimmed = await states(world)
    drop_snapshots(world)
    await world.crash()
    await world.start(toml())

    assert [row.pool_seq for row in kept] == list(range(ENOUGH + 41, ENOUGH + 52))
    assert await states(world) == trimmed == before
    await learn(world, 6, prefix="after")
    assert pool_of(world).pool_seq == ENOUGH + 57


async def test_a_trim_has_one_own_policy_in_memory(world: World) -> None:
    """However many segments a pool has, its bases are made one after the other, beside what serves."""
    names = [*(f"s{i}" for i in range(8)), "default"]
    await world.start(toml(names=names[:-1], store="hot_lanes = 2"))
    await learn(world, len(names) * (START + 3), names=names, prefix="old")
    before = await states(world, names)
    await world.service.keeper.hot.make_room()
    world.clock.advance(91 * 86_400.0)
    gc.collect()
    counting = _Counting(world)

    await trim_pool(pool_of(world), counting, age_s=90 * 86_400.0)
    kept = await world.journal.pool_outcomes(POOL, after=0, limit=1_000)
    drop_snapshots(world)
    await world.crash()
    await world.start(toml(names=names[:-1], store="hot_lanes = 2"))

    assert kept == []
    assert counting.most == counting.before + 1
    assert await states(world, names) == before


async def test_what_an_aborted_trim_left_is_not_taken_for_another_build(world: World) -> None:
    """A base that was prepared and never came into force is a cache: of another build it is made anew."""
    await world.start(toml(kind="epsilon_greedy"))
    await learn(world, ENOUGH + 30)
    before = await states(world)
    lane = lane_of(world, "a")
    assert lane.own is not None
    left = msgspec.structs.replace(lane.snapshot(), epoch=1, is_base=True, build="another build")
    await world.journal.save_snapshot(left)
    loaded: list[bytes] = []
    for epoch, build in ((PREPARED, "another build"), (PREPARED, lane.pool.epoch.build)):
        await world.journal.save_snapshot(msgspec.structs.replace(left, build=build))
        lane.saved_seq = lane.seq
        lane.unload()
        try:
            await load_own(lane, world.journal, epoch=epoch)
        except Lost:
            loaded.append(b"")
        else:
            loaded.append(lane.dumps())

    assert loaded == [b"", before["a"][3]]


async def test_a_long_fold_gives_others_their_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading what was away for long, and folding a pool, let requests in between any two outcomes."""
    await world.start(toml(store="hot_lanes = 1"))
    await learn(world, ENOUGH)
    for i in range(90):  # decided while its own policy is in memory, and rewarded while it is not
        await world.rank(f"b{i}", segment="b")
    await cooled(world, "b")
    for i in range(90):
        await world.reward(f"b{i}", 1.0)
    pool = pool_of(world).fresh(lambda _lane: None)
    monkeypatch.setattr("banditd.segments.recovery._SLICE_S", -1.0)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    lane = lane_of(world, "b")
    n_scores = len(lane.scores)
    await world.service.keeper.hot.ready([lane])
    n_load = turns
    await recover_pool(pool, world.journal)
    task.cancel()

    assert n_load >= n_scores >= 80
    assert turns - n_load >= ENOUGH + 90


async def test_erased_outcomes_are_passed_over(world: World) -> None:
    """A tombstone moves the pool and its lane on and teaches nobody."""
    await world.start(toml(kind="epsilon_greedy"))
    await learn(world, ENOUGH + 10)
    pool = pool_of(world).fresh(lambda _lane: None)
    await recover_pool(pool, world.journal)
    (row,) = await world.journal.pool_outcomes(POOL, after=ENOUGH + 9, limit=1)
    lane = pool.lanes[row.lane]
    before = lane.dumps()

    pool.fold(msgspec.structs.replace(row, seq=row.seq + 1, pool_seq=row.pool_seq + 1, body=b"", erased=True))

    assert (pool.pool_seq, lane.seq, lane.dumps()) == (ENOUGH + 11, row.seq + 1, before)


class _Counting(LocalJournal):
    """The world's journal, which counts the own policies in memory whenever something is saved."""

    def __init__(self, world: World) -> None:
        super().__init__(world.journal._store)
        self.before = self.most = self._count()

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Count, and save."""
        self.most = max(self.most, self._count())
        await super().save_snapshot(snapshot)

    def _count(self) -> int:
        return sum(isinstance(thing, Own) for thing in gc.get_objects())
