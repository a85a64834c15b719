"""The service on a real store in this process: what it folds, reloads, trims and recovers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from banditd.decision import decode_decision
from banditd.errors import Conflict, JournalUnavailable, NotFound, Overloaded, TooLate, Unprocessable
from banditd.journal.local import LocalJournal
from banditd.journal.protocol import Epoch, LaneInfo, OpenLane, Snapshot
from banditd.keys import Keyring
from banditd.segments.lane import Lane, learned_from
from banditd.segments.reading import Reader
from banditd.segments.recovery import recover
from policies import InvalidInput, Limits
from policies.draw import draw, uniform
from tests.world import EPSILON_GREEDY, World, until


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Return a started world with one epsilon-greedy segment."""
    made = World(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def test_same_event_id_gets_the_first_answer(world: World) -> None:
    """A repeated rank is answered as the first one was, although the policy has learned since."""
    first = await world.rank("visit")
    await world.learn(5)

    again = await world.rank("visit")

    assert again == first


async def test_same_event_id_with_another_request_is_a_conflict(world: World) -> None:
    """An event id stands for one request."""
    await world.rank("visit")

    with pytest.raises(Conflict) as caught:
        await world.rank("visit", context={"device": "tv"})

    assert (caught.value.code, caught.value.field) == ("event_id_reused", "event_id")


async def test_learning_shows_in_the_next_rank(world: World) -> None:
    """A reward that was answered is part of the state that decides next."""
    await world.rank("visit")
    await world.reward("visit")

    reply = await world.rank()

    assert reply.version.seq == 1


async def test_excluded_actions_come_last_with_probability_zero(world: World) -> None:
    """Who is excluded is not chosen, and the others share all of the probability."""
    reply = await world.rank(exclude=["a"])

    assert (reply.ranking[-1].id, reply.ranking[-1].probability) == ("a", 0.0)
    assert reply.chosen == reply.ranking[0].id
    assert sum(ranked.probability for ranked in reply.ranking) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("exclude", "code", "field"),
    [
        pytest.param(["z"], "unknown_action", "exclude[0]", id="unknown"),
        pytest.param(["a", "b", "c"], "nothing_to_choose", "exclude", id="all"),
    ],
)
async def test_exclusion_that_makes_no_sense_is_refused(
    world: World, exclude: list[str], code: str, field: str
) -> None:
    """An unknown id, or nothing left to choose, names the field."""
    with pytest.raises(InvalidInput) as caught:
        await world.rank(exclude=exclude)

    assert (caught.value.code, caught.value.field) == (code, field)


async def test_unknown_segment_is_not_found(world: World) -> None:
    """An explicit segment must exist."""
    with pytest.raises(NotFound):
        await world.rank(segment="nowhere")


async def test_rules_choose_the_segment_and_an_explicit_one_wins(world: World) -> None:
    """The first rule that matches decides, unless the request names a segment."""
    toml = """
        [[segments]]
        name = "mobile"
        when = "context.device == 'mobile' && user && length(actions) == `3`"
        policy = { kind = "thompson" }
    """
    await world.service.apply(world.config(toml + EPSILON_GREEDY))

    by_rule = await world.rank(context={"device": "mobile"}, user="u")
    by_default = await world.rank(context={"device": "tv"}, user="u")
    by_name = await world.rank(context={"device": "mobile"}, user="u", segment="default")

    assert (by_rule.segment, by_default.segment, by_name.segment) == ("mobile", "default", "default")


async def test_stored_decision_explains_its_draw(world: World, tmp_path: Path) -> None:
    """The chosen action is the one that the logged key, event id and distribution give."""
    await world.rank("visit", user="ada@example.org")
    await world.reward("visit")

    (row,) = await world.journal.outcomes("default/main", after=0, limit=10)
    decision = decode_decision(row.body)
    slot = decision.slots[0]
    key = Keyring.load_or_create(tmp_path / "store.keys").draw_key(decision.key)

    assert slot.eligible[draw(slot.probabilities, uniform(key, decision.lane, "visit", 0))] == slot.chosen


async def test_raw_user_id_is_nowhere_in_the_store(world: World) -> None:
    """A user is kept as a keyed hash only."""
    await world.rank("visit", user="ada@example.org")
    await world.reward("visit")

    stored = world.bytes_on_disk()

    assert b"ada@example.org" not in stored
    assert b"visit" in stored


@pytest.mark.parametrize("kind", ["epsilon_greedy", "thompson", "vw"])
async def test_state_after_a_crash_is_that_of_a_whole_fold(tmp_path: Path, kind: str) -> None:
    """Snapshot and tail give the bytes that a fold of the whole log gives, killed or stopped."""
    toml = f'[default]\npolicy = {{ kind = "{kind}" }}\n'
    world = World(tmp_path)
    await world.start(toml)
    await world.learn(20, prefix="before")
    await world.stop()  # keeps a snapshot
    await world.start(toml)
    await world.learn(15, prefix="after")
    lost = world.lane().policy.dumps()
    await world.crash()

    await world.start(toml)
    recovered = world.lane()
    whole = world.fresh_lane()
    for row in await world.journal.outcomes("default/main", after=0, limit=1_000):
        whole.fold(row)

    assert recovered.policy.dumps() == lost == whole.policy.dumps()
    assert (recovered.seq, recovered.chain) == (whole.seq, whole.chain) == (35, whole.chain)
    assert recovered.rewards.dumps() == whole.rewards.dumps()
    await world.stop()


async def test_snapshot_of_another_history_is_not_used(world: World) -> None:
    """A snapshot whose chain the log does not hold is passed over, and the log is folded."""
    await world.learn(6)
    await world.service.close()
    snapshot = (await world.journal.snapshots("default/main", epoch=1))[0]
    lane = world.lane()
    fresh = world.fresh_lane()

    class Lying(LocalJournal):
        """A journal whose snapshots say that the log once was another."""

        async def snapshots(self, lane: str, *, epoch: int) -> list[Snapshot]:
            del lane, epoch
            return [msgspec.structs.replace(snapshot, chain=bytes(32), state=b"never decoded")]

    await recover(fresh, Lying(world.journal._store))

    assert fresh.policy.dumps() == lane.policy.dumps()


async def test_digests_are_right_while_lanes_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest is asked of a lane in memory, however long the journal takes to tell the lane's counters."""

    class Waiting(LocalJournal):
        """A journal that lets others run before it answers, as one in another process does."""

        async def lane_info(self, lane: str) -> LaneInfo:
            for _ in range(20):
                await asyncio.sleep(0)
            return await super().lane_info(lane)

    monkeypatch.setattr("tests.world.LocalJournal", Waiting)
    names = "abcd"
    segments = "".join(
        f'[[segments]]\nname = "{name}"\npolicy = {{ kind = "thompson" }}\npooling = "own"\n' for name in names
    )
    world = World(tmp_path)
    await world.start(f'[store]\nhot_lanes = 1\n[default]\npooling = "own"\n{segments}')
    for i, name in enumerate(names * 3):
        await world.rank(f"e{i}", segment=name)
        await world.reward(f"e{i}", names.index(name) / 4)  # another one for each, so that no two states are the same
    alone = {name: (await world.service.segment(name, with_digest=True)).state for name in names}

    together = await asyncio.gather(*(world.service.segment(name, with_digest=True) for name in names * 10))

    assert [info.state for info in together] == [alone[name] for name in names * 10]
    assert len({state.digest for state in alone.values() if state is not None}) == 4
    await world.stop()


async def test_changed_policy_folds_the_whole_log_under_the_next_epoch(world: World) -> None:
    """After a reload the new policy has learned from everything, and numbers go on."""
    await world.learn(9)

    await world.service.apply(world.config('[default]\npolicy = { kind = "thompson" }\n'))
    reply = await world.rank()

    assert (reply.version.epoch, reply.version.seq) == (2, 9)
    assert world.lane().rewards.n == 9


async def test_reload_without_a_change_keeps_the_lane(world: World) -> None:
    """What did not change goes on as it is."""
    lane = world.lane()

    await world.service.apply(world.config(EPSILON_GREEDY))

    assert world.lane() is lane


async def test_late_reward_and_unknown_event_say_so(world: World) -> None:
    """After its window a reward is gone; for an event nobody ranked there is nothing."""
    await world.rank("visit")
    world.clock.advance(601)
    await world.journal.tick()

    with pytest.raises(TooLate):
        await world.reward("visit")
    with pytest.raises(NotFound):
        await world.reward("nobody")
    with pytest.raises(NotFound):
        await world.service.activate("nobody")

    info = await world.service.segment("default")
    assert (info.outcomes, info.reward.mean) == (1, 0.0)


async def test_deferred_decision_lapses_without_its_activation(world: World) -> None:
    """What was never shown is never learned from, and its activation comes too late."""
    await world.rank("visit", activate=False)
    assert await world.reward("visit") == "pending"
    world.clock.advance(601)
    await world.journal.tick()

    with pytest.raises(TooLate):
        await world.service.activate("visit")

    assert world.lane().seq == 0


async def test_reward_that_the_policy_cannot_learn_from_is_refused(world: World) -> None:
    """A Beta policy takes rewards of its range, and the answer says which."""
    await world.service.apply(world.config('[default]\npolicy = { kind = "thompson" }\n'))
    await world.rank("visit")

    with pytest.raises(Unprocessable) as caught:
        await world.reward("visit", 5.0)

    assert (caught.value.code, caught.value.field) == ("reward_out_of_range", "reward")
    assert await world.reward("visit", 1.0) == "joined"


async def test_outcome_that_a_new_policy_cannot_learn_from_is_passed_over(world: World) -> None:
    """Old rewards beyond a new policy's range are counted, never learned, and stop nothing."""
    await world.rank("big")
    await world.reward("big", 50.0)
    await world.learn(3)

    await world.service.apply(world.config('[default]\npolicy = { kind = "thompson" }\n'))

    assert (world.lane().seq, world.lane().refused) == (4, 1)


async def test_trimmed_log_goes_on_from_its_base(world: World) -> None:
    """Dropping what is older than `store.keep` leaves the state, the numbers and the next start as they were."""
    await world.learn(30)
    world.clock.advance(91 * 86_400.0)
    await world.learn(5, prefix="young")
    state = world.lane().policy.dumps()

    await world.service.trim()
    rows = await world.journal.outcomes("default/main", after=0, limit=100)
    await world.crash()
    await world.start()

    assert [row.seq for row in rows] == [31, 32, 33, 34, 35]
    assert world.lane().policy.dumps() == state
    with pytest.raises(NotFound):
        await world.reward("e0")


async def test_new_policy_on_a_trimmed_log_folds_what_is_kept(world: World) -> None:
    """A base belongs to its spec: another policy begins empty where the kept log begins."""
    await world.learn(30)
    world.clock.advance(91 * 86_400.0)
    await world.learn(5, prefix="young")
    await world.service.trim()

    await world.service.apply(world.config('[default]\npolicy = { kind = "thompson" }\n'))

    assert (world.lane().seq, world.lane().rewards.n) == (35, 5)


async def test_lane_that_disagrees_with_its_log_is_folded_anew(world: World) -> None:
    """If the journal comes back with another history, the state it never had is dropped."""
    await world.learn(4)
    lane = world.lane()
    lane.chain = bytes(32)

    await world.service.journal_is_back()

    assert world.lane() is not lane
    assert world.lane().seq == 4


async def test_gap_in_what_is_pushed_is_read_from_the_log(world: World) -> None:
    """A lane that misses an outcome reads it, and ends up as if it had not."""
    await world.learn(4)
    behind = Lane(
        "default",
        epoch=world.lane().epoch,
        spec=world.lane().spec,
        policy=world.lane().spec.build(),
        reader=world.lane().reader,
    )
    rows = list(await world.journal.outcomes("default/main", after=0, limit=10))
    world.service.keeper.feed.add(behind)

    world.service.keeper.feed.receive(rows[2:])
    await until(lambda: behind.seq == 4)

    assert behind.policy.dumps() == world.lane().policy.dumps()


async def test_burst_of_outcomes_is_folded_in_slices_and_in_order(world: World) -> None:
    """A thousand windows that close at once are all learned from, with requests in between."""
    await asyncio.gather(*[world.rank(f"e{i}") for i in range(1_000)])
    world.clock.advance(601)

    await world.journal.tick()
    reply = await world.rank()
    await until(lambda: world.lane().seq == 1_000)

    assert reply.version.seq <= 1_000
    assert world.service.backlog == 0


async def test_snapshot_is_kept_every_so_many_outcomes(tmp_path: Path) -> None:
    """A long-running server keeps its next start short."""
    world = World(tmp_path)
    await world.start("[store]\nsnapshot_every = 5\n" + EPSILON_GREEDY)
    await world.learn(7)

    async with asyncio.timeout(5):
        while not await world.journal.snapshots("default/main", epoch=1):  # noqa: ASYNC110 - the journal is asked, it does not tell
            await asyncio.sleep(0.05)
    await world.crash()

    assert world.lane().seq == 7


def test_action_in_use_outlives_a_flood_of_others() -> None:
    """Memory for actions is bounded, and an action that comes again and again stays the same object."""
    reader = Reader(Limits(), actions=1_000)
    raw = msgspec.Raw(b'[{"id":"steady"}]')
    first = reader.actions(raw)[0]

    for start in range(0, 45_000, 500):
        items = ",".join(f'{{"id":"i{i}"}}' for i in range(start, start + 500))
        reader.actions(msgspec.Raw(f"[{items}]".encode()))
        assert reader.actions(raw)[0] is first

    assert len(reader._young) + len(reader._old) <= 40_000


async def test_learned_outcome_holds_only_eligible_actions(world: World) -> None:
    """Excluded actions are taken out before a policy learns."""
    await world.rank("visit", exclude=["a"])
    await world.reward("visit")
    (row,) = await world.journal.outcomes("default/main", after=0, limit=1)

    outcome = learned_from(row, Reader(Limits(), actions=10))

    assert [action.id for action in outcome.actions] == ["b", "c"]
    assert outcome.propensity == pytest.approx(0.5)


async def test_a_reload_that_fails_half_way_leaves_everything_learning(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If one lane cannot be opened, all lanes go on as they were, at the heads of their logs."""
    toml = '[[segments]]\nname = "new"\npolicy = { kind = "thompson" }\n[default]\npolicy = { kind = "thompson" }\n'

    async def fails(_lanes: Sequence[OpenLane]) -> Sequence[Epoch]:
        raise JournalUnavailable("journal_lost", "the journal is being restarted")

    monkeypatch.setattr(world.journal, "open_lanes", fails)
    with pytest.raises(JournalUnavailable):
        await world.service.apply(world.config(toml))
    await world.learn(3)

    assert list(world.service.lanes) == ["default"]
    assert (await world.rank()).version.seq == 3


async def test_a_lane_learns_on_while_a_reload_folds_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are served by the newest state of the old configuration until the new one is folded."""
    await world.learn(4)
    gate, reached = asyncio.Event(), asyncio.Event()
    opened = world.journal.open_lanes

    async def waits(lanes: Sequence[OpenLane]) -> Sequence[Epoch]:
        epochs = await opened(lanes)
        reached.set()
        await gate.wait()
        return epochs

    monkeypatch.setattr(world.journal, "open_lanes", waits)
    reload = asyncio.create_task(world.service.apply(world.config('[default]\npolicy = { kind = "thompson" }\n')))
    await reached.wait()
    await world.learn(3, prefix="meanwhile")
    during = (await world.rank()).version
    gate.set()
    await reload
    await until(lambda: world.lane().seq == 7)

    assert (during.epoch, during.seq) == (1, 7)
    assert world.lane().epoch.epoch == 2


async def test_a_retry_is_answered_after_its_segment_is_gone(world: World) -> None:
    """An event id has its answer, whatever the configuration says by now; another request with it is refused."""
    with_segment = '[[segments]]\nname = "brief"\npolicy = { kind = "thompson" }\n' + EPSILON_GREEDY
    await world.service.apply(world.config(with_segment))
    first = await world.rank("visit", segment="brief", user="u")
    await world.service.apply(world.config(EPSILON_GREEDY))

    again = await world.rank("visit", segment="brief", user="u")

    assert again == first
    with pytest.raises(Conflict):
        await world.rank("visit", segment="brief", user="another")
    with pytest.raises(NotFound):
        await world.rank("never seen", segment="brief")


async def test_limits_of_requests_do_not_change_a_fold(world: World) -> None:
    """What was in the log before a limit was lowered is learned from all the same."""
    await world.learn(5)
    before = world.lane().policy.dumps()
    await world.service.apply(world.config("[limits]\nactions = 2\nfeatures = 1\n" + EPSILON_GREEDY))
    await world.crash()

    await world.start("[limits]\nactions = 2\nfeatures = 1\n" + EPSILON_GREEDY)

    assert (world.lane().policy.dumps(), world.lane().refused) == (before, 0)


async def test_old_lapses_are_dropped_without_any_outcome(world: World) -> None:
    """Decisions that were never activated do not stay for ever, and still count."""
    for i in range(20):
        await world.rank(f"never{i}", activate=False)
    world.clock.advance(601)
    await world.journal.tick()
    world.clock.advance(91 * 86_400.0)

    await world.service.trim()

    assert world.journal._store._db.execute("SELECT count(*) FROM decisions").fetchall() == [(0,)]
    assert (await world.service.segment("default")).decisions == 20


async def test_decisions_are_counted_once_after_all_old_ones_are_gone(world: World) -> None:
    """Numbers of decisions never fall, though the rows they count are dropped and the server is killed."""
    await world.learn(10)
    world.clock.advance(91 * 86_400.0)
    await world.service.trim()
    await world.learn(4, prefix="young")
    await world.crash()
    await world.start()

    assert (await world.service.segment("default")).decisions == 14


async def test_a_sum_beyond_what_the_policy_learns_from_is_refused_at_once(world: World) -> None:
    """The reward that would take the sum out of range is 422, and the outcome is one that is learned from."""
    await world.service.apply(world.config('[reward]\naggregate = "sum"\n[default]\npolicy = { kind = "thompson" }\n'))
    await world.rank("visit")
    assert await world.reward("visit", 0.75, "first") == "pending"

    with pytest.raises(Unprocessable):
        await world.reward("visit", 0.5, "second")
    assert await world.reward("visit", 0.75, "first") == "duplicate"
    world.clock.advance(601)
    await world.journal.tick()

    assert (world.lane().refused, world.lane().rewards.mean) == (0, 0.75)


async def test_maintenance_outlives_a_full_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment of overload, or a fault, costs one round of snapshots and not all to come."""
    monkeypatch.setattr("banditd.service._MAINTENANCE_S", 0.02)
    world = World(tmp_path)
    await world.start("[store]\nsnapshot_every = 1\n" + EPSILON_GREEDY)
    kept = world.journal.save_snapshot
    trouble: list[Exception] = [Overloaded("journal_queue_full", "full"), ZeroDivisionError()]

    async def fails_at_first(snapshot: Snapshot) -> None:
        if trouble:
            raise trouble.pop()
        await kept(snapshot)

    monkeypatch.setattr(world.journal, "save_snapshot", fails_at_first)
    await world.learn(2)
    async with asyncio.timeout(5):
        while not await world.journal.snapshots("default/main", epoch=1):  # noqa: ASYNC110 - it does not tell
            await asyncio.sleep(0.02)
    await world.stop()

    assert not trouble
