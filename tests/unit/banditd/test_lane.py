"""A lane in memory: what it folds, what it goes back to, and how it catches up."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from banditd.errors import JournalCorrupt, JournalUnavailable
from banditd.journal.local import LocalJournal
from banditd.journal.protocol import OutcomeRow, Snapshot
from banditd.segments.lane import Gap
from banditd.segments.recovery import recover
from tests.world import World, until


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Return a started world whose lane has learned from six outcomes."""
    made = World(tmp_path)
    await made.start()
    await made.learn(6)
    yield made
    await made.stop()


async def rows_of(world: World) -> list[OutcomeRow]:
    """Return the default lane's log."""
    return list(await world.journal.outcomes("default/main", after=0, limit=100))


async def test_an_outcome_that_was_folded_in_changes_nothing(world: World) -> None:
    """What is pushed and read as well counts once."""
    before = world.lane().policy.dumps()

    world.lane().fold((await rows_of(world))[2])

    assert (world.lane().seq, world.lane().policy.dumps()) == (6, before)


async def test_an_outcome_whose_predecessor_is_missing_is_a_gap(world: World) -> None:
    """A lane never learns out of order."""
    lane = world.fresh_lane()

    with pytest.raises(Gap):
        lane.fold((await rows_of(world))[1])

    assert lane.seq == 0


async def test_a_tombstone_is_passed_over(world: World) -> None:
    """An erased outcome moves the lane on and teaches it nothing."""
    lane = world.fresh_lane()
    first, second, *_ = await rows_of(world)

    lane.fold(first)
    learned = lane.policy.dumps()
    lane.fold(msgspec.structs.replace(second, erased=True, body=b""))

    assert (lane.seq, lane.policy.dumps(), lane.rewards.n) == (2, learned, 1)


@pytest.mark.parametrize(
    ("changes", "restored"),
    [
        pytest.param({}, True, id="its own"),
        pytest.param({"spec_digest": bytes(16)}, False, id="another spec"),
        pytest.param({"build": "another build"}, False, id="another build"),
        pytest.param({"build": "another build", "is_base": True}, True, id="a base of another build"),
        pytest.param({"state": b"not a state"}, False, id="no state"),
        pytest.param({"state": msgspec.msgpack.encode((6, [b"short", [6, 0.5, 1.0], 0]))}, False, id="damaged policy"),
    ],
)
async def test_a_lane_goes_to_states_of_its_own_only(
    world: World, *, changes: dict[str, object], restored: bool
) -> None:
    """A snapshot of another spec, build or shape is no state to go on from; a base is data and fits any build."""
    snapshot = msgspec.structs.replace(world.lane().snapshot(), **changes)
    lane = world.fresh_lane()

    assert lane.restore(snapshot) is restored
    assert lane.seq == (6 if restored else 0)


async def test_a_snapshot_beyond_the_wanted_place_is_not_used(world: World) -> None:
    """A fold up to an outcome ends there, whatever snapshots there are."""
    await world.journal.save_snapshot(world.lane().snapshot())
    lane = world.fresh_lane()

    await recover(lane, world.journal, until=4)

    assert lane.seq == 4


async def test_a_snapshot_beyond_the_log_is_not_used(world: World) -> None:
    """If the log was put back to an older state, a snapshot of its lost future is passed over."""
    snapshot = msgspec.structs.replace(world.lane().snapshot(), seq=60)
    lane = world.fresh_lane()

    await recover(lane, _Journal(world, snapshots=[snapshot]))

    assert lane.policy.dumps() == world.lane().policy.dumps()


async def test_a_hole_in_the_log_stops_the_start(world: World) -> None:
    """A log that lacks an outcome it counts is corrupt, and nothing is made up for it."""
    snapshot = world.lane().snapshot()

    with pytest.raises(JournalCorrupt):
        await recover(world.fresh_lane(), _Journal(world, snapshots=[snapshot], rows=[]))


async def test_a_lane_that_was_away_reads_what_it_missed(world: World) -> None:
    """After the journal was away, and again after it failed to answer, a lane catches up by itself."""
    feed = world.service.keeper.feed
    behind = world.fresh_lane()
    feed._journal = _Journal(world, failures=1)

    feed.add(behind)
    feed.resume()
    await until(lambda: behind.seq == 6)
    await until(lambda: not feed._catching_up)

    assert behind.policy.dumps() == world.lane().policy.dumps()


class _Journal(LocalJournal):
    """The world's journal, with other snapshots, other rows, or failures before the first answer."""

    def __init__(
        self,
        world: World,
        *,
        snapshots: list[Snapshot] | None = None,
        rows: list[OutcomeRow] | None = None,
        failures: int = 0,
    ) -> None:
        super().__init__(world.journal._store)
        self._snapshots = snapshots
        self._rows = rows
        self._failures = failures

    async def snapshots(self, lane: str, *, epoch: int) -> list[Snapshot]:
        return list(await super().snapshots(lane, epoch=epoch)) if self._snapshots is None else self._snapshots

    async def outcomes(self, lane: str, *, after: int, limit: int) -> list[OutcomeRow]:
        if self._failures:
            self._failures -= 1
            raise JournalUnavailable("journal_lost", "the journal is being restarted")
        return list(await super().outcomes(lane, after=after, limit=limit)) if self._rows is None else self._rows
