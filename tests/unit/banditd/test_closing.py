"""Windows that close together: bounded work and bytes a commit, and no more sent than is taken in."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from banditd.clock import ManualClock
from banditd.journal.commands import EpochPage, OpenLanes, OutcomePage
from banditd.journal.protocol import NewDecision, OpenLane, OutcomeRow, RewardRule
from banditd.journal.server import JournalServer
from banditd.journal.store import Store
from banditd.journal.wire import FrameReader, Update, decode_update, frame, packed, split
from banditd.segments import feed
from tests.world import World, until

RULE = RewardRule(wait_s=10.0, default=0.0, aggregate="earliest")
MIB = 1 << 20


def filled(folder: Path, *, decisions: int, n_slots: int, size: int) -> Store:
    """Return a store whose decisions all have closed windows that nobody has turned into outcomes yet."""
    clock = ManualClock()
    store = Store(folder / "store.db", clock=clock, durability="process")
    (page,) = store.apply([OpenLanes([OpenLane("s/main", "s/main", {}, RULE, "build")])]).answers
    assert isinstance(page, EpochPage)
    for i in range(decisions):
        store.apply([NewDecision(f"e{i}", "s/main", 1, deferred=False, body=b"x" * size, n_slots=n_slots)])
    clock.advance(11.0)
    return store


def bytes_of(rows: Sequence[OutcomeRow]) -> int:
    """Return what the decisions of outcomes take, each once."""
    return sum(len(body) for body in {row.event_id: row.body for row in rows}.values())


@pytest.mark.parametrize(
    ("decisions", "n_slots", "size", "commits"),
    [
        pytest.param(100, 50, 100, 10, id="slots"),
        pytest.param(12, 2, MIB, 3, id="bytes"),
        pytest.param(3, 1, 5 * MIB, 3, id="decisions that are too large by themselves"),
        pytest.param(600, 1, 100, 2, id="plain decisions"),
    ],
)
def test_windows_close_in_bounded_steps(tmp_path: Path, decisions: int, n_slots: int, size: int, commits: int) -> None:
    """A commit makes at most 512 outcomes of at most 4 MiB, or those of one decision; none is left out."""
    store = filled(tmp_path, decisions=decisions, n_slots=n_slots, size=size)

    steps = []
    while store.is_due():
        steps.append(store.apply([]).outcomes)
    store.close()

    assert len(steps) == commits
    assert all(len(step) <= 512 and (bytes_of(step) <= 4 * MIB or len(step) == n_slots) for step in steps)
    assert [(row.event_id, row.slot) for step in steps for row in step] == [
        (f"e{i}", slot) for i in range(decisions) for slot in range(n_slots)
    ]


def test_nothing_closes_while_nobody_takes_it_in(tmp_path: Path) -> None:
    """Without closing, a commit makes no outcomes, and the windows are as due as before."""
    store = filled(tmp_path, decisions=2, n_slots=1, size=10)

    applied = store.apply([], closing=False)

    assert applied.outcomes == []
    assert store.is_due()
    assert len(store.apply([]).outcomes) == 2
    store.close()


def outcome(event_id: str, slot: int, body: bytes, *, erased: bool = False) -> OutcomeRow:
    """Return an outcome."""
    seq = slot + 1
    return OutcomeRow("s/main", seq, seq, event_id, slot, 0.0, rewarded=False, chain=b"c", body=body, erased=erased)


def test_a_body_is_sent_once_for_its_slots() -> None:
    """Fifty outcomes of one decision take its bytes once, pushed or read, and arrive with its body each."""
    rows = [outcome("e1", slot, b"x" * 10_000) for slot in range(50)]

    for update in (Update(rows, []), Update([], [OutcomePage(rows)])):
        sent = frame(packed(update))
        (body,) = FrameReader().feed(bytes(sent))

        assert len(sent) < 20_000
        assert decode_update(body) == update


def test_rows_without_a_body_keep_none() -> None:
    """What was erased stays empty, and what stands beside it comes with its own body."""
    rows = [
        outcome("e1", 0, b"one"),
        outcome("e1", 1, b"", erased=True),
        outcome("e1", 2, b"one"),
        outcome("e2", 3, b"two"),
        outcome("e3", 4, b"", erased=True),
        outcome("e1", 5, b"one"),
    ]
    update = Update(rows, [OutcomePage(rows)])

    (body,) = FrameReader().feed(bytes(frame(packed(update))))

    assert decode_update(body) == update


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        pytest.param([], [0], id="none"),
        pytest.param([10] * 600, [256, 256, 88], id="many"),
        pytest.param([3 * MIB] * 3, [1, 1, 1], id="large"),
        pytest.param([2 * MIB] * 5, [2, 2, 1], id="two at a time"),
        pytest.param([9 * MIB, 1, 1], [1, 2], id="too large by itself"),
    ],
)
def test_outcomes_are_split_by_number_and_bytes(sizes: list[int], parts: list[int]) -> None:
    """An update holds at most 256 outcomes and 4 MiB, or one decision."""
    rows = [outcome(f"e{i}", i, b"x" * size) for i, size in enumerate(sizes)]

    found = split(rows)

    assert [len(part) for part in found] == parts
    assert [row for part in found for row in part] == rows


async def test_a_worker_that_takes_nothing_in_is_not_flooded(tmp_path: Path) -> None:
    """Windows stay open while a worker is 16 MiB behind, and close once it reads on."""
    store = filled(tmp_path, decisions=30, n_slots=2, size=2 * MIB)
    server = JournalServer(store)
    listener = await asyncio.get_running_loop().create_unix_server(server.new_worker, tmp_path / "socket")
    reader, writer = await asyncio.open_unix_connection(tmp_path / "socket", limit=1 << 16)
    await until(lambda: bool(server.workers))

    server.tick()
    await until(lambda: any(worker.is_behind for worker in server.workers))
    await asyncio.sleep(0.05)  # ten ticks
    (worker,) = server.workers
    assert worker.transport is not None
    assert worker.transport.get_write_buffer_size() <= 24 * MIB
    assert store.is_due()

    frames = FrameReader()
    rows: list[OutcomeRow] = []
    async with asyncio.timeout(20):
        while len(rows) < 60:
            for body in frames.feed(await reader.read(1 << 20)):
                rows += decode_update(body).outcomes
    assert [(row.event_id, row.slot) for row in rows] == [(f"e{i}", slot) for i in range(30) for slot in (0, 1)]
    assert {len(row.body) for row in rows} == {2 * MIB}
    assert not store.is_due()
    writer.close()
    listener.close()
    await until(lambda: not server.workers)
    store.close()


async def test_outcomes_beyond_the_backlog_are_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane whose outcomes came faster than it learns passes over what is too much, and reads it from the journal."""
    monkeypatch.setattr(feed, "_BACKLOG_BYTES", 2_000)
    world = World(tmp_path)
    await world.start('[default]\npooling = "own"\npolicy = { kind = "thompson" }\n')
    for i in range(60):
        await world.rank(f"e{i}")
    world.clock.advance(601)
    most = 0

    def see(_rows: Sequence[OutcomeRow]) -> None:
        nonlocal most
        most = max(most, world.service.backlog)

    world.journal.subscribe(see)
    monkeypatch.setattr(feed, "_SLICE_S", -1.0)  # one outcome at a time
    await world.journal.tick()
    await until(lambda: world.lane().seq == 60 and not world.service.backlog)

    assert 0 < most < 30
    fresh = world.fresh_lane()
    for row in await world.journal.outcomes("default/main", after=0, limit=100):
        fresh.fold(row)
    assert fresh.dumps() == world.lane().dumps()
    await world.stop()
