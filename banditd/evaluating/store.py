"""A store's file, opened to be read: beside a server that runs, or of a copy.

Nothing is written: no lock is taken, no window closed, no checkpoint made. Every query is a short one, since a reader
that stays at one place would keep the server's write-ahead log from beginning anew. What a query found earlier may
therefore be gone later, if a trim came between; whoever needs a whole log says so when it has a gap.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, cast
from urllib.parse import quote

import apsw
import msgspec
import orjson

from banditd.errors import JournalCorrupt, JournalUnavailable
from banditd.journal.commands import GetOutcomes, GetPool, GetPoolOutcomes, GetSnapshots, OutcomePage, SnapshotPage
from banditd.journal.ledger import Ledger, Moment, OpenLaneState
from banditd.journal.protocol import Epoch, OutcomeRow, PoolInfo, RewardRule, Snapshot
from banditd.journal.schema import FORMAT
from banditd.journal.states import States

__all__ = ["ReadStore", "StoredEpoch"]

_BUSY_MS: Final = 10_000
_NOW: Final = Moment(0, 0.0)  # no query here depends on the time
_EPOCHS: Final = (
    "SELECT l.name, e.epoch, e.from_seq, e.fold_from, e.spec, e.rule, e.build, e.reason, e.at, p.name"
    " FROM epochs e JOIN lanes l ON l.id = e.lane_id JOIN pools p ON p.id = e.pool_id ORDER BY l.name, e.epoch"
)


@dataclass(frozen=True, slots=True)
class StoredEpoch:
    """An epoch as the journal has it, and the name of the pool that its lane was in."""

    epoch: Epoch
    pool: str


class ReadStore:
    """The rows of one store.

    Parameters
    ----------
    path
        The SQLite file. Its write-ahead log, if there is one, has to lie beside it.

    Raises
    ------
    JournalUnavailable
        There is no such file, or it cannot be opened.
    JournalCorrupt
        It is not a banditd store of this format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = _open(path)
        try:
            with self._whole():
                _check_format(self.connection, path)
                self._ledger = Ledger(self.connection)
        except BaseException:
            self.connection.close()
            raise
        self._states = States(self.connection, self._ledger)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.close()
        if isinstance(error, apsw.Error | UnicodeDecodeError):  # of a file that is damaged, mostly
            raise JournalCorrupt("unreadable_store", f"{self.path} cannot be read: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    @property
    def lanes(self) -> dict[str, OpenLaneState]:
        """The lanes as they were when somebody looked last, by name."""
        return self._ledger.lanes

    def refresh(self) -> None:
        """Look again which lanes and pools there are, and where they end."""
        with self._whole():
            self._ledger.reload()

    def lane_name(self, lane_id: int) -> str:
        """Return the name of a lane, which may have come since the store was opened."""
        if lane_id not in self._ledger.lanes_by_id:
            self.refresh()
        return self._ledger.lanes_by_id[lane_id].name

    def rule(self, lane_id: int, epoch: int) -> RewardRule:
        """Return the reward rule of an epoch."""
        return self._ledger.rule(lane_id, epoch)

    def begins(self, lane: str) -> int:
        """Return the last outcome before the kept log of a lane, as of now."""
        return int(self.rows("SELECT base_seq FROM lanes WHERE name = ?", lane)[0][0])

    def last_decision(self) -> int:
        """Return the number of the last decision that is kept; 0 if there is none."""
        ((last,),) = self.rows("SELECT ifnull(max(id), 0) FROM decisions")
        return int(last)

    def rows(self, sql: str, *bindings: Any) -> list[Any]:
        """Return all rows of a query, read at one moment."""
        return self.connection.execute(sql, bindings).fetchall()

    def epochs(self) -> list[StoredEpoch]:
        """Return the epochs of all lanes and parents, each one's in their order."""
        with self._whole():
            return self._epochs()

    def _epochs(self) -> list[StoredEpoch]:
        return [
            StoredEpoch(
                Epoch(
                    lane=lane,
                    epoch=epoch,
                    from_seq=from_seq,
                    fold_from=fold_from,
                    spec=orjson.loads(spec),
                    rule=msgspec.json.decode(rule, type=RewardRule),
                    build=build,
                    reason=reason,
                    at=at,
                ),
                pool,
            )
            for lane, epoch, from_seq, fold_from, spec, rule, build, reason, at, pool in self.rows(_EPOCHS)
        ]

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Let several queries see one moment; what then does not fit together is damaged."""
        try:
            with self.connection:
                yield
        except (apsw.Error, LookupError, ValueError, msgspec.DecodeError) as error:
            detail = f"the lanes, pools and epochs of {self.path} cannot be read: {type(error).__name__} {error}"
            raise JournalCorrupt("unreadable_store", detail) from None

    def pool_info(self, pool: str) -> PoolInfo:
        """Return which lanes were in a pool when, and its last number, as of now."""
        self.refresh()
        return cast("PoolInfo", self._ledger.pool_info(GetPool(pool), _NOW))

    def outcomes(self, lane: str, *, after: int, limit: int) -> Sequence[OutcomeRow]:
        """Return a page of a lane's log, as `Journal.outcomes` does."""
        page = self._states.outcomes(self.lanes[lane], GetOutcomes(lane, after, limit), _NOW)
        return cast("OutcomePage", page).rows

    def pool_outcomes(self, pool: str, *, after: int, limit: int) -> Sequence[OutcomeRow]:
        """Return a page of a shared pool's log, as `Journal.pool_outcomes` does."""
        command = GetPoolOutcomes(pool, after, limit)
        try:
            page = self._states.pool_outcomes(command, _NOW)
        except KeyError:  # of a lane that came since the store was opened
            self.refresh()
            page = self._states.pool_outcomes(command, _NOW)
        return cast("OutcomePage", page).rows

    def base(self, lane: str) -> Snapshot | None:
        """Return the state at which the kept log of a lane or a parent begins; None if there is none, or a bad one."""
        state = self.lanes[lane]
        page = cast("SnapshotPage", self._states.snapshots(state, GetSnapshots(lane, -1), _NOW))
        return next((base for base in page.rows if base.is_base and base.seq == state.base_seq), None)

    def bodies(self, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the decisions with these numbers, with their numbers; without those that are gone."""
        for number in ids:
            for (body,) in self.rows("SELECT body FROM decisions WHERE id = ?", number):
                yield number, body


def _open(path: Path) -> apsw.Connection:
    if not path.is_file():
        raise JournalUnavailable("store_missing", f"there is no store at {path}")
    try:
        return _connect(path, "mode=ro")
    except apsw.CantOpenError as error:
        rest = path.with_name(f"{path.name}-wal")
        if rest.exists() and rest.stat().st_size:
            detail = (
                f"{path} cannot be opened: {error}; if its folder cannot be written to, copy the store and its -wal"
            )
            raise JournalUnavailable("store_unreachable", detail) from None
    except apsw.NotADBError:
        raise _not_a_store(path) from None
    except apsw.Error as error:
        raise JournalUnavailable("store_unreachable", f"{path} cannot be opened: {error}") from None
    return _connect(path, "mode=ro&immutable=1")  # in a folder that cannot be written to, and with nothing beside it


def _connect(path: Path, how: str) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"file:{quote(str(path.absolute()))}?{how}", flags=flags)
    try:
        connection.set_busy_timeout(_BUSY_MS)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # opens the file, and not just its name
    except BaseException:
        connection.close()
        raise
    return connection


def _check_format(connection: apsw.Connection, path: Path) -> None:
    found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchall()
    if not found:
        raise _not_a_store(path)
    stored = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchall()
    if stored != [(FORMAT,)]:
        detail = f"{path} has format {stored[0][0] if stored else 'none'}; this banditd reads format {FORMAT}"
        raise JournalCorrupt("other_format", detail)


def _not_a_store(path: Path) -> JournalCorrupt:
    return JournalCorrupt("not_a_store", f"{path} is not a banditd store")
