"""Full disks, failed writes, frozen and refused journals: nothing acknowledged is lost, and nobody waits for ever."""

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import msgspec
import pytest

from banditd.clock import ManualClock
from banditd.errors import JournalUnavailable, Overloaded
from banditd.journal import database as database_module
from banditd.journal import process as process_module
from banditd.journal.asking import expect
from banditd.journal.commands import (
    Activate,
    Done,
    EpochPage,
    Failed,
    GetLane,
    GetOutcomes,
    OpenLanes,
    OutcomePage,
    SaveSnapshot,
    Trim,
)
from banditd.journal.database import rows
from banditd.journal.local import LocalJournal
from banditd.journal.process import JournalProcess, start_journal
from banditd.journal.protocol import Epoch, LaneInfo, NewReward, OpenLane, Recorded, Snapshot
from banditd.journal.server import EXIT_SYNC_FAILED
from banditd.journal.store import Store
from tests.contract.journals import LONG_S, new_decision, open_lane, rule

MIB = 1 << 20
DEADLINE_S = 20.0


def opened(path: Path) -> tuple[Store, Epoch]:
    """Return a store with one open lane."""
    store = Store(path, clock=ManualClock())
    (page,) = store.apply([OpenLanes([OpenLane("default", "default", {}, rule(LONG_S), "b")])]).answers
    assert isinstance(page, EpochPage)
    (epoch,) = page.rows
    return store, epoch


async def until_it_fails(started: JournalProcess, epoch: Epoch, acknowledged: list[str]) -> None:
    """Record decisions until the journal is gone; note which were acknowledged."""
    with contextlib.suppress(JournalUnavailable):
        for i in range(20_000):
            await started.journal.record(new_decision(f"e{i}", epoch))
            acknowledged.append(f"e{i}")
        pytest.fail("the journal went on writing")


def overwrite(path: Path) -> None:
    """Put something else in the place of a store."""
    path.unlink()
    path.write_bytes(b"somebody wrote over it " * 1_000)
    for leftover in path.parent.glob(f"{path.name}-*"):
        leftover.unlink()


def decisions_in(store: Store) -> int:
    """Return how many decisions the store counts."""
    return expect(LaneInfo, store.apply([GetLane("default")]).answers[0]).decisions


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[JournalProcess]:
    """Return a journal process that takes two commands at a time and answers within half a second."""
    started = await start_journal(tmp_path / "journal.db", queue=2, deadline_s=0.5)
    yield started
    await started.stop()


def test_a_full_disk_refuses_a_batch_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    """What does not fit is answered as refused, all of it; when there is space again it goes on."""
    store, epoch = opened(tmp_path / "journal.db")
    store.apply([new_decision("before", epoch)])
    ((pages,),) = rows(store._db, "PRAGMA page_count")
    store._db.execute(f"PRAGMA max_page_count = {pages + 2}")

    refused = store.apply([new_decision(f"e{i}", epoch) for i in range(100)])
    counted = decisions_in(store)
    store._db.execute("PRAGMA max_page_count = 1000000")
    again = store.apply([new_decision(f"e{i}", epoch) for i in range(100)])

    assert {type(answer) for answer in refused.answers} == {Failed}
    assert counted == 1
    assert all(isinstance(answer, Recorded) and answer.created for answer in again.answers)
    assert decisions_in(store) == 101
    store.close()


def test_a_mistake_of_ours_in_a_batch_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """An error that no client can cause is raised, and nothing of its batch stays."""
    store, epoch = opened(tmp_path / "journal.db")

    with pytest.raises(KeyError):
        store.apply([new_decision("e1", epoch), "not a command"])  # type: ignore[list-item]  # the mistake

    assert decisions_in(store) == 0
    store.close()


async def test_a_failed_write_ends_the_journal_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """A journal whose disk fails ends instead of going on, and the next one has all that was acknowledged."""
    started = await start_journal(tmp_path / "journal.db")
    epoch = await open_lane(started.journal, rule(LONG_S))
    resource.prlimit(started.pid, resource.RLIMIT_FSIZE, (MIB, MIB))
    acknowledged: list[str] = []

    await until_it_fails(started, epoch, acknowledged)
    async with asyncio.timeout(DEADLINE_S):
        assert started._child is not None
        code = await started._child.wait()
    await started.stop()

    journal = LocalJournal.open(tmp_path / "journal.db")
    found = [await journal.record(new_decision(event_id, epoch)) for event_id in acknowledged]
    await journal.close()
    assert code == EXIT_SYNC_FAILED
    assert len(acknowledged) > 50
    assert not any(recorded.created for recorded in found)


async def test_a_failed_checkpoint_ends_the_journal(tmp_path: Path) -> None:
    """A write that fails in the checkpoint's thread is not forgotten there: the next commit ends the process."""
    path = tmp_path / "journal.db"
    store, epoch = opened(path)
    for start in range(0, 3_000, 500):
        store.apply([new_decision(f"old{i}", epoch) for i in range(start, start + 500)])
    store.close()  # leaves the file large and the log empty
    size = path.stat().st_size
    started = await start_journal(path)
    resource.prlimit(started.pid, resource.RLIMIT_FSIZE, (size, size))

    await until_it_fails(started, epoch, [])
    async with asyncio.timeout(DEADLINE_S):
        assert started._child is not None
        code = await started._child.wait()
    await started.stop()

    assert code == EXIT_SYNC_FAILED


async def test_a_frozen_journal_is_late_and_then_full(process: JournalProcess) -> None:
    """A caller waits as long as was said and no longer, no queue grows, and what was sent is done in the end."""
    epoch = await open_lane(process.journal, rule(LONG_S))
    os.kill(process.pid, signal.SIGSTOP)

    waiting = [asyncio.create_task(process.journal.record(new_decision(f"e{i}", epoch))) for i in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await process.journal.record(new_decision("one too many", epoch))
    late = await asyncio.gather(*waiting, return_exceptions=True)
    os.kill(process.pid, signal.SIGCONT)
    async with asyncio.timeout(DEADLINE_S):
        while process.journal.waiting:  # noqa: ASYNC110 - answers that nobody waits for tell nobody
            await asyncio.sleep(0.01)

    assert [getattr(error, "code", None) for error in late] == ["journal_late", "journal_late"]
    assert not (await process.journal.record(new_decision("e1", epoch))).created
    assert (await process.journal.lane_info("default")).decisions == 2


async def test_a_caller_that_gives_up_takes_nothing_back(process: JournalProcess) -> None:
    """A command that was sent is carried out although its caller was cancelled."""
    epoch = await open_lane(process.journal, rule(LONG_S))
    task = asyncio.create_task(process.journal.record(new_decision("e1", epoch)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    again = await process.journal.record(new_decision("e1", epoch))

    assert not again.created


async def test_a_frozen_journal_does_not_keep_the_server_from_ending(
    process: JournalProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that does not end when asked to is ended."""
    monkeypatch.setattr(process_module, "_STOP_S", 0.3)
    os.kill(process.pid, signal.SIGSTOP)

    async with asyncio.timeout(DEADLINE_S):
        await process.stop()

    assert process._child is not None
    assert process._child.returncode == -signal.SIGKILL


async def test_a_byte_from_the_parent_is_not_its_end(process: JournalProcess) -> None:
    """Only the end of its standard input ends a journal."""
    assert process._child is not None
    assert process._child.stdin is not None
    process._child.stdin.write(b"x")
    await process._child.stdin.drain()

    assert isinstance(await open_lane(process.journal, rule(LONG_S)), Epoch)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: path.write_bytes(b"notes " * 1_000), id="no database"),
        pytest.param(lambda path: _sqlite(path, "CREATE TABLE mine (x)"), id="another database"),
        pytest.param(
            lambda path: _sqlite(path, "CREATE TABLE meta (key, value); INSERT INTO meta VALUES ('format', 99)"),
            id="another format",
        ),
        pytest.param(lambda path: path.mkdir(), id="a folder"),
    ],
)
async def test_what_is_no_store_is_refused_and_left_alone(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """A file of another kind ends the start with a reason."""
    path = tmp_path / "journal.db"
    make(path)

    with pytest.raises(JournalUnavailable) as caught:
        await start_journal(path)

    assert caught.value.code == "store_refused"


async def test_a_journal_that_cannot_come_back_fails_the_server(tmp_path: Path) -> None:
    """If the store is gone for good after a crash, the watcher says so instead of trying for ever."""
    path = tmp_path / "journal.db"
    started = await start_journal(path)
    started.watch(_nothing)
    os.kill(started.pid, signal.SIGSTOP)
    overwrite(path)
    os.kill(started.pid, signal.SIGKILL)

    async with asyncio.timeout(DEADLINE_S):
        reason = await started.failed
    await started.stop()

    assert "ended with" in reason


async def test_a_journal_that_dies_while_the_server_catches_up_is_started_again(tmp_path: Path) -> None:
    """An end in the middle of catching up is one more restart, not the end of the server."""
    started = await start_journal(tmp_path / "journal.db")
    back: list[int] = []

    async def catch_up() -> None:
        back.append(started.pid)
        if len(back) == 1:
            os.kill(started.pid, signal.SIGKILL)
        await started.journal.lane_info("default")

    epoch = await open_lane(started.journal, rule(LONG_S))
    started.watch(catch_up)
    os.kill(started.pid, signal.SIGKILL)

    async with asyncio.timeout(DEADLINE_S):
        while len(back) < 2:  # noqa: ASYNC110 - the watcher tells only the server
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert not started.failed.done()
    assert (await started.journal.record(new_decision("e1", epoch))).created
    await started.stop()


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda journal: journal.lane_info("nowhere"), id="lane_info"),
        pytest.param(lambda journal: journal.outcomes("nowhere", after=0, limit=1), id="outcomes"),
        pytest.param(lambda journal: journal.snapshots("nowhere", epoch=1), id="snapshots"),
        pytest.param(lambda journal: journal.last_before("nowhere", age_s=1.0), id="last_before"),
        pytest.param(lambda journal: journal.save_snapshot(_snapshot("nowhere")), id="save_snapshot"),
        pytest.param(lambda journal: journal.trim("nowhere", _snapshot("nowhere")), id="trim"),
        pytest.param(
            lambda journal: journal.record(new_decision("e1", _epoch("nowhere"))),
            id="record",
        ),
    ],
)
async def test_a_lane_that_nobody_opened_is_named(
    process: JournalProcess, call: Callable[[object], "asyncio.Future[object]"]
) -> None:
    """Every call about a lane that does not exist says which."""
    with pytest.raises(JournalUnavailable, match="'nowhere' was never opened") as caught:
        await call(process.journal)

    assert caught.value.code == "unknown_lane"


def test_an_answer_of_another_kind_is_a_mistake_of_ours() -> None:
    """A journal that answers something else than what was asked is not ours."""
    with pytest.raises(AssertionError, match="answered a Done where a Epoch was due"):
        expect(Epoch, Done())


def test_a_checkpoint_that_meets_another_is_tried_later(tmp_path: Path) -> None:
    """A busy file stops no commit."""
    store, epoch = opened(tmp_path / "journal.db")
    store._checkpointer._own.close()
    store._checkpointer._own = _Busy()  # type: ignore[assignment]  # a checkpoint that SQLite refuses

    for start in range(0, 3_000, 500):
        store.apply([new_decision(f"e{i}", epoch) for i in range(start, start + 500)])

    assert decisions_in(store) == 3_000
    store.close()


def test_activations_and_rewards_of_unknown_events_change_nothing(tmp_path: Path) -> None:
    """In one batch with others, what is unknown is answered so."""
    store, epoch = opened(tmp_path / "journal.db")

    answers = store.apply([Activate("nobody"), NewReward("nobody", 1.0), new_decision("e1", epoch)]).answers

    assert [getattr(answer, "status", None) for answer in answers] == ["unknown", "unknown", None]
    store.close()


class _Busy:
    def wal_checkpoint(self, *, mode: int) -> tuple[int, int]:
        raise apsw.BusyError(str(mode))

    def close(self) -> None: ...


def _sqlite(path: Path, sql: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    connection.close()


def _snapshot(lane: str) -> Snapshot:
    return Snapshot(lane, 1, 1, bytes(32), "b", bytes(16), b"state")


def _epoch(lane: str) -> Epoch:
    return Epoch(lane, 1, 0, 0, {}, rule(LONG_S), "b", "new lane", 0.0)


async def _nothing() -> None: ...


def test_a_full_disk_still_answers_what_only_reads(tmp_path: Path) -> None:
    """Looking does not need space, not even in the batch that found none."""
    store, epoch = opened(tmp_path / "journal.db")
    store.apply([new_decision("before", epoch)])
    ((pages,),) = rows(store._db, "PRAGMA page_count")
    store._db.execute(f"PRAGMA max_page_count = {pages + 2}")

    applied = store.apply([*(new_decision(f"e{i}", epoch) for i in range(100)), GetLane("default")])

    assert applied.is_full
    assert expect(LaneInfo, applied.answers[-1]).decisions == 1
    assert not store.is_due()  # it waits for a while instead of turning in circles
    store._db.execute("PRAGMA max_page_count = 1000000")
    store.close()


def test_the_log_stays_bounded_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is written without a pause, the write-ahead log begins anew and does not grow with it."""
    for name, pages in (("_COPY_PAGES", 40), ("_LOG_PAGES", 160), ("_REST_PAGES", 32)):
        monkeypatch.setattr(database_module, name, pages)
    path = tmp_path / "journal.db"
    store, epoch = opened(path)

    for start in range(0, 12_000, 8):
        store.apply([new_decision(f"e{i}", epoch) for i in range(start, start + 8)])
    log_bytes = (tmp_path / "journal.db-wal").stat().st_size

    assert decisions_in(store) == 12_000
    assert log_bytes < 1_500 * 4_120  # pages with their headers; some 10,000 were written
    store.close()


def test_a_checkpoint_whose_disk_fails_is_not_forgotten(tmp_path: Path) -> None:
    """What goes wrong in the checkpoint's thread is raised by the next commit."""
    store, epoch = opened(tmp_path / "journal.db")
    store._checkpointer._copy(_Broken())  # type: ignore[arg-type]  # a file that cannot be written

    with pytest.raises(apsw.IOError):
        store.apply([new_decision("e1", epoch)])


def test_a_state_of_another_history_is_not_kept(tmp_path: Path) -> None:
    """A snapshot or a base that does not fit the log, or an older epoch, is refused and changes nothing."""
    store, epoch = opened(tmp_path / "journal.db")
    store.apply([new_decision("e1", epoch), NewReward("e1", 1.0)])
    chain = expect(LaneInfo, store.apply([GetLane("default")]).answers[0]).chain
    right = Snapshot("default", epoch.epoch, 1, chain, "b", bytes(16), b"state")
    wrong = msgspec.structs.replace(right, chain=bytes(32))
    old = msgspec.structs.replace(right, epoch=epoch.epoch + 1)

    answers = store.apply(
        [SaveSnapshot(wrong), Trim("default", wrong), Trim("default", old), SaveSnapshot(right)]
    ).answers

    assert [getattr(answer, "code", "done") for answer in answers] == [
        "chain_mismatch",
        "chain_mismatch",
        "epoch_mismatch",
        "done",
    ]
    assert expect(LaneInfo, store.apply([GetLane("default")]).answers[0]).base_seq == 0
    store.close()


def test_a_decision_stays_while_one_of_its_slots_is_in_the_kept_log(tmp_path: Path) -> None:
    """A trim between two outcomes of one decision keeps what the second one needs."""
    store, epoch = opened(tmp_path / "journal.db")
    store.apply([new_decision("e1", epoch, n_slots=2), NewReward("e1", 1.0, slot=0)])
    chain = expect(LaneInfo, store.apply([GetLane("default")]).answers[0]).chain
    base = Snapshot("default", epoch.epoch, 1, chain, "b", bytes(16), b"state")

    dropped = store.apply([Trim("default", base)])
    joined = store.apply([NewReward("e1", 0.5, slot=1), GetOutcomes("default", 0, 10)])
    page = expect(OutcomePage, joined.answers[1])

    assert expect(Done, dropped.answers[0]).count == 1
    assert [(row.seq, row.slot, row.reward, bool(row.body)) for row in page.rows] == [(2, 1, 0.5, True)]
    store.close()


class _Broken:
    def wal_checkpoint(self, *, mode: int) -> tuple[int, int]:
        raise apsw.IOError(str(mode))
