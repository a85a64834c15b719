"""A store that is read while its server goes on, or in a folder that cannot be written to."""

import contextlib
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from banditd.errors import JournalUnavailable
from banditd.evaluating import options, output, parquet
from banditd.evaluating.chains import check_chain
from banditd.evaluating.entries import Selection, read_entries
from banditd.evaluating.errors import ExtrasMissing, LogGap, OptionInvalid, OutputExists
from banditd.evaluating.findings import Findings
from banditd.evaluating.store import ReadStore
from banditd.evaluating.verification import verify_store
from banditd.segments.families import POOL
from tests.traffic import SEGMENTS_TOML, settled, traffic
from tests.world import World

ALL = Selection()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Return a world that is not started yet."""
    made = World(tmp_path)
    yield made
    await made.stop()


async def test_lanes_that_come_after_the_opening_are_found(world: World) -> None:
    """A reader that was opened before a segment came reads its decisions and outcomes."""
    await world.start(SEGMENTS_TOML)
    await traffic(world, 20)
    with ReadStore(world.directory / "store.db") as store:
        grown = f'{SEGMENTS_TOML}[[segments]]\nname = "late"\npolicy = {{ kind = "vw" }}\n'
        await world.service.apply(world.config(grown))
        await traffic(world, 20, prefix="late", segments=["late"], mixtures=0.0)
        await settled(world)

        names = {entry.decision.lane for entry in read_entries(store, ALL)}
        lanes = {row.lane for row in store.pool_outcomes(POOL, after=0, limit=1_000)}
        findings = verify_store(store, ALL, keyring=None, step=lambda _: None)

    assert "late/main" in names & lanes
    assert findings.is_right
    assert (findings.decisions, dict(findings.unchecked)) == (40, {})


async def test_a_trim_during_the_check_is_told_from_a_loss(world: World) -> None:
    """Outcomes that the server dropped on purpose while they were read stop the check; nothing is called missing."""
    await world.start()
    await world.learn(600, prefix="old")
    world.clock.advance(91 * 86_400.0)
    await world.learn(5)
    await settled(world)
    findings = Findings()
    with ReadStore(world.directory / "store.db") as store:
        n_checked = 0

        def trim_once() -> None:
            nonlocal n_checked
            n_checked += 1
            if n_checked == 1:  # as another process would, between two pages
                sql = "UPDATE lanes SET base_seq = 550 WHERE name = 'default/main'"
                database = world.journal._store._db
                database.execute("DELETE FROM outcomes WHERE seq <= 550").fetchall()
                database.execute(sql).fetchall()

        with pytest.raises(LogGap, match="run it again"):
            check_chain(store, "default/main", findings, when_checked=trim_once)

    assert findings.is_right
    world.journal._store._db.execute("UPDATE lanes SET base_seq = 0").fetchall()


async def test_a_trim_within_a_page_takes_no_reward_from_an_outcome(world: World) -> None:
    """Outcomes and the rewards that they were made of are read at one moment, so that no trim comes between them."""
    await world.start()
    await world.learn(40)
    await settled(world)
    findings = Findings()
    dropped: list[object] = []

    def drop_once() -> None:
        if not dropped:
            dropped.append(world.journal._store._db.execute("DELETE FROM rewards").fetchall())

    with ReadStore(world.directory / "store.db") as store:
        check_chain(store, "default/main", findings, when_checked=drop_once)

    assert dropped
    assert findings.is_right
    assert findings.outcomes == 40


async def test_a_trim_during_a_fold_is_told_from_a_loss(world: World) -> None:
    """The same between two pages of a fold."""
    await world.start()
    await world.learn(600)
    await settled(world)
    with ReadStore(world.directory / "store.db") as store:
        seen = 0

        def trim_once(what: str) -> None:
            nonlocal seen
            seen += what == "outcomes folded"
            if seen == 1 and what == "outcomes folded":
                database = world.journal._store._db
                database.execute("DELETE FROM outcomes WHERE seq <= 550").fetchall()
                database.execute("UPDATE lanes SET base_seq = 550 WHERE name = 'default/main'").fetchall()

        with pytest.raises(LogGap, match="run it again"):
            verify_store(store, ALL, keyring=None, step=trim_once)
    world.journal._store._db.execute("UPDATE lanes SET base_seq = 0").fetchall()


async def test_decisions_dropped_during_the_check_are_counted(world: World) -> None:
    """A decision that is gone when its turn comes was dropped by the server, and is no problem."""
    await world.start(SEGMENTS_TOML)
    await traffic(world, 30)
    await world.rank("waiting", segment="default")
    await settled(world)
    with ReadStore(world.directory / "store.db") as store:

        def drop(what: str) -> None:
            if what == "outcomes checked":
                world.journal._store._db.execute("DELETE FROM decisions WHERE event_id = 'waiting'").fetchall()

        findings = verify_store(store, ALL, keyring=None, step=drop)

    assert findings.is_right
    assert findings.unchecked == {"dropped_meanwhile": 1}


def test_an_immutable_file_is_read_where_no_log_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite may make no files, a store is read as it lies there, unless a part of it is in its log."""
    path = tmp_path / "store.db"
    world_file = apsw.Connection(str(path))
    world_file.execute("CREATE TABLE meta (key, value); INSERT INTO meta VALUES ('format', 1)").fetchall()
    world_file.close()
    from banditd.evaluating import store as module  # noqa: PLC0415 - what is patched below

    opened: list[str] = []
    connect = module._connect

    def refusing(path: Path, how: str) -> apsw.Connection:
        opened.append(how)
        if "immutable" not in how:
            raise apsw.CantOpenError("unable to open database file")
        return connect(path, how)

    monkeypatch.setattr(module, "_connect", refusing)

    module._open(path).close()
    (tmp_path / "store.db-wal").write_bytes(b"something")
    with pytest.raises(JournalUnavailable, match="copy the store and its -wal"):
        module._open(path)

    assert opened == ["mode=ro", "mode=ro&immutable=1", "mode=ro"]


# ------------------------------------------------------------------------------------------------- output and extras


def test_a_file_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    """Who makes the file while it is being written keeps it."""
    target = tmp_path / "log"

    with (
        pytest.raises(OutputExists, match="came meanwhile"),
        output.opened(str(target), compression="none", force=False),
    ):
        target.write_text("theirs")

    assert target.read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """What cannot be written to its end is named in a sentence, and no part of it is left."""
    with (
        pytest.raises(OptionInvalid, match="log cannot be written: No space left on device"),
        output.opened(str(tmp_path / "log"), compression="none", force=False),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """Neither a folder nor a pipe makes room for a file, even if that was asked for."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    for name in ("pipe", "folder"):
        with (
            pytest.raises(OptionInvalid, match="is no file"),
            output.opened(str(tmp_path / name), compression="none", force=True),
        ):
            pass

    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


@pytest.mark.parametrize("came", [[], ["theirs"]])
def test_a_file_system_without_links_has_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, came: list[str]
) -> None:
    """Where a file cannot have two names it is renamed, if nobody took the name meanwhile."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    target = tmp_path / "log"
    expected = pytest.raises(OutputExists, match="came meanwhile") if came else contextlib.nullcontext()

    with expected, output.opened(str(target), compression="none", force=False) as stream:
        stream.write(b"ours")
        if came:
            target.write_text("theirs")

    assert target.read_text() == ("theirs" if came else "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages that only some formats need, the command says which extra has them."""
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    monkeypatch.setitem(__import__("sys").modules, "polars", None)

    with (
        pytest.raises(ExtrasMissing, match=r"banditd\[replay\]"),
        output.opened(str(tmp_path / "log"), compression="zstd", force=False),
    ):
        pass
    with pytest.raises(ExtrasMissing, match=r"banditd\[replay\]"):
        parquet.write_parquet(lambda: iter(()), tmp_path / "table", kinds={}, compression="zstd")

    assert list(tmp_path.iterdir()) == []


def test_a_failure_inside_a_table_keeps_its_kind(tmp_path: Path) -> None:
    """What stops the reading of a store stops the writing of a table with the same error."""

    def entries() -> object:
        raise LogGap("log_dropped", "gone")

    with pytest.raises(LogGap, match="gone"):
        parquet.write_parquet(entries, tmp_path / "table", kinds={}, compression="zstd")  # type: ignore[arg-type]  # it never returns


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("1700000000", 1_700_000_000.0, id="seconds"),
        pytest.param("1700000000.25", 1_700_000_000.25, id="parts of seconds"),
        pytest.param("1970-01-02", 86_400.0, id="a date"),
        pytest.param("1970-01-01T01:00", 3_600.0, id="no zone: UTC"),
        pytest.param("1970-01-01T01:00+01:00", 0.0, id="a zone"),
        pytest.param("19700102", 19_700_102.0, id="digits are seconds"),
        pytest.param(None, 7.0, id="the default"),
    ],
)
def test_times_are_read(text: str | None, seconds: float) -> None:
    """A time is a date, a date with a time, or UTC seconds."""
    assert options.instant(text, option="--since", default=7.0) == seconds


def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The line of progress is written over itself and taken away at the end; elsewhere there is none."""
    quiet = options.Progress("decisions")
    quiet.at(5)
    quiet.done()
    nothing = capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    shown = options.Progress("decisions")
    shown.at(1_000, of=2_000, now="folding")
    shown.at(1_001)
    shown.done()

    assert nothing == ""
    assert capsys.readouterr().err.split("\r") == ["", "1,000 of 2,000 decisions, folding", " " * 33, ""]
