"""The SQLite file: one owner, one format, synced commits, checkpoints off the commit path."""

import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Any, Literal

import apsw

from banditd.errors import JournalCorrupt, JournalUnavailable
from banditd.journal.schema import FORMAT, SCHEMA

__all__ = ["Checkpointer", "Database", "Durability", "rows"]

Durability = Literal["sync", "process"]

_SYNCHRONOUS = {"sync": "FULL", "process": "NORMAL"}
_LOCK_WAIT_S = 10.0  # an owner whose server was killed ends as soon as it sees the closed socket
_LOCK_POLL_S = 0.02
_CACHE_KIB = 65_536
_BUSY_MS = 5_000  # the two connections of this process may meet at a checkpoint
_CHECKPOINT_PAGES = 1_000  # 4 MB of log before it is copied into the file
_REST_PAGES = 256  # a rest so small is checkpointed between two commits, so that the log can begin anew


class Database:
    """A connection that owns the file at `path` until it is closed.

    Raises
    ------
    JournalUnavailable
        Another process owns the file.
    JournalCorrupt
        The file is not a banditd store of this format.
    """

    def __init__(self, path: Path, *, durability: Durability = "sync") -> None:
        self.path = path
        self._lock_fd = _own(path)
        try:
            self.connection = _connect(path, durability=durability)
            self.is_new = _prepare(self.connection, path)
        except BaseException:
            os.close(self._lock_fd)
            raise

    def close(self) -> None:
        """Move the log into the file and let go of it."""
        self.connection.close()
        os.close(self._lock_fd)


class Checkpointer:
    """Copies the write-ahead log into the file from a thread, so that no commit waits for it.

    A thread copies while commits go on; what they added meanwhile is a small rest, which
    `after_commit` copies between two commits: only then can the log begin anew and stay short.
    """

    def __init__(self, database: Database, *, durability: Durability = "sync") -> None:
        self._writer = database.connection
        self._own = _connect(database.path, durability=durability)
        self._wanted = threading.Event()
        self._copied = False
        self._stopping = threading.Event()
        self._pages = 0
        self._writer.set_wal_hook(self._count)
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._thread.start()

    def after_commit(self) -> None:
        """Start or finish a checkpoint if the log has grown."""
        if self._pages < _CHECKPOINT_PAGES or self._wanted.is_set():
            return
        if not self._copied:
            self._wanted.set()
            return
        self._copied = False
        logged, done = self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if logged == done:
            self._pages = 0

    def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._wanted.set()
        self._thread.join()
        self._own.close()

    def _count(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            rest = _CHECKPOINT_PAGES
            while rest > _REST_PAGES and not self._stopping.is_set():
                logged, done = self._own.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                rest = logged - done
            self._copied = True
            self._wanted.clear()
            if self._stopping.is_set():  # asked after the clear: `close` may have set both during the copy
                return


def rows(connection: apsw.Connection, sql: str, *bindings: Any) -> list[Any]:
    """Return all rows of a query; what is in them, its SQL says."""
    return connection.execute(sql, bindings).fetchall()


def _own(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_up_at = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                os.close(fd)
                raise JournalUnavailable("store_in_use", f"another process owns {path}") from None
            time.sleep(_LOCK_POLL_S)
        else:
            return fd


def _connect(path: Path, *, durability: Durability) -> apsw.Connection:
    try:
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(_BUSY_MS)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except apsw.NotADBError:
        raise JournalCorrupt("not_a_store", f"{path} is not a SQLite file") from None
    except apsw.CantOpenError as error:
        raise JournalUnavailable("store_unreachable", f"{path} cannot be opened: {error}") from None
    connection.wal_autocheckpoint(0)
    return connection


def _prepare(connection: apsw.Connection, path: Path) -> bool:
    """Make the tables if the file is new; refuse a file of another kind; return whether it was new."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables:
        with connection:
            connection.execute(SCHEMA)
            connection.execute("INSERT INTO meta VALUES ('format', ?), ('clock_us', 0)", (FORMAT,))
        path.chmod(0o600)
        return True
    if "meta" not in tables:
        raise JournalCorrupt("not_a_store", f"{path} is a SQLite file, but not a banditd store")
    ((found,),) = rows(connection, "SELECT value FROM meta WHERE key = 'format'")
    if found != FORMAT:
        raise JournalCorrupt("other_format", f"{path} has format {found}; this banditd reads format {FORMAT}")
    return False
