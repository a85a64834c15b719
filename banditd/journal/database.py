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
from banditd.logs import get_logger

__all__ = ["Checkpointer", "Database", "Durability", "rows"]

Durability = Literal["sync", "process"]

_SYNCHRONOUS = {"sync": "FULL", "process": "NORMAL"}
_LOCK_WAIT_S = 10.0  # an owner whose server was killed ends as soon as it sees the closed socket
_LOCK_POLL_S = 0.02
_MODE = 0o600  # contexts are somebody's data
_CACHE_KIB = 65_536
_BUSY_MS = 5_000  # the two connections of this process may meet at a checkpoint
_COPY_PAGES = 1_000  # 4 MB of log before it is copied into the file
_LOG_PAGES = 16_384  # 64 MB of log before it has to begin anew
_REST_PAGES = 128  # a rest so small is copied between two commits without being noticed
_NICE = 19  # a checkpoint has time; on a busy machine a commit must not wait behind its copying


log = get_logger()


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

    The thread copies while commits go on, so a rest is always left, and SQLite lets a log begin
    anew only once all of it is copied. So now and then, when the log has grown long, the rest is
    copied between two commits.
    """

    def __init__(self, database: Database, *, durability: Durability = "sync") -> None:
        self._writer = database.connection
        self._own = _connect(database.path, durability=durability)
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._pages = 0
        self._copied = 0
        self._failure: apsw.Error | None = None
        self._writer.set_wal_hook(self._count)
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._thread.start()

    def after_commit(self) -> None:
        """Start a checkpoint if the log has grown, or finish one if it has grown long.

        Raises
        ------
        apsw.IOError
            A write or a sync of the thread failed.
        """
        if self._failure is not None:
            raise self._failure
        if self._wanted.is_set():
            return
        rest = self._pages - self._copied
        if rest >= (_COPY_PAGES if self._pages < _LOG_PAGES else _REST_PAGES):
            self._wanted.set()
        elif self._pages >= _LOG_PAGES:
            self._copy(self._writer)

    def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._wanted.set()
        self._thread.join()
        self._own.close()

    def _count(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._pages:  # the log began anew
            self._copied = 0
        self._pages = pages
        return apsw.SQLITE_OK

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while True:
            self._wanted.wait()
            if not self._stopping.is_set():
                self._copy(self._own)
            self._wanted.clear()
            if self._stopping.is_set():  # asked after the clear: `close` may have set both during the copy
                return

    def _copy(self, connection: apsw.Connection) -> None:
        try:
            self._copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)[1]
        except (apsw.FullError, apsw.BusyError):
            self._copied = self._pages  # tried again when as much has been added
        except apsw.Error as error:
            self._failure = error


def rows(connection: apsw.Connection, sql: str, *bindings: Any) -> list[Any]:
    """Return all rows of a query; what is in them, its SQL says."""
    return connection.execute(sql, bindings).fetchall()


def _own(path: Path) -> int:
    try:
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        # Made here, since SQLite makes its files with the mode of the first one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE))
    except OSError as error:
        raise JournalUnavailable("store_unreachable", f"{path} cannot be opened: {error.strerror}") from None
    give_up_at = time.monotonic() + _LOCK_WAIT_S
    waits = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                os.close(fd)
                detail = f"another process owns {path}: stop it, or set store.url (BANDITD_STORE_URL=sqlite:other.db)"
                raise JournalUnavailable("store_in_use", detail) from None
            if not waits:
                log.warning("store_in_use", path=str(path), waiting_s=_LOCK_WAIT_S)
                waits = True
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
            connection.execute("INSERT INTO meta VALUES ('format', ?), ('clock_us', 0), ('counted_to', 0)", (FORMAT,))
        return True
    if "meta" not in tables:
        raise JournalCorrupt("not_a_store", f"{path} is a SQLite file, but not a banditd store")
    ((found,),) = rows(connection, "SELECT value FROM meta WHERE key = 'format'")
    if found != FORMAT:
        raise JournalCorrupt("other_format", f"{path} has format {found}; this banditd reads format {FORMAT}")
    return False
