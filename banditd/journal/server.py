"""The journal process: owns the store, commits what is waiting, and tells every worker.

Started by `banditd.journal.process` as ``python -m banditd.journal.server STORE SOCKET
DURABILITY``; it ends when its standard input closes, which is when its parent is gone.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn, cast

import apsw
import uvloop

from banditd.errors import BanditdError
from banditd.journal.commands import Answer, Command
from banditd.journal.database import Durability
from banditd.journal.protocol import OutcomeRow
from banditd.journal.store import Store
from banditd.journal.wire import FrameReader, Update, decode_commands, frame, packed, split
from banditd.logs import configure, get_logger

__all__ = ["EXIT_FAULT", "EXIT_REFUSED", "EXIT_SYNC_FAILED", "JournalServer", "main"]

EXIT_REFUSED: Final = 65  # EX_DATAERR: the file is not a store that this process may own
EXIT_FAULT: Final = 70  # EX_SOFTWARE: a mistake of ours
EXIT_SYNC_FAILED: Final = 74  # EX_IOERR: what the disk holds is unknown, so the process must not go on
_BATCH_AT_MOST: Final = 1_024  # commands in one commit
_TICK_S: Final = 0.005  # how late a window may close
_BEHIND_BYTES: Final = 1 << 24  # sent to a worker and not taken in by it: then no window closes for the while

log = get_logger()


class _Worker(asyncio.Protocol):
    """One worker's connection."""

    def __init__(self, server: "JournalServer") -> None:
        self._server = server
        self._reader = FrameReader()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=1 << 26)
        self._server.workers.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.workers.discard(self)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        for body in self._reader.feed(data):
            for command in decode_commands(body):
                self._server.submit(self, command)

    @property
    def is_behind(self) -> bool:
        return self.transport is not None and self.transport.get_write_buffer_size() > _BEHIND_BYTES

    def send(self, update: Update) -> None:
        if self.transport is not None:
            self.transport.write(frame(packed(update)))


class JournalServer:
    """Group commit without a timer: one transaction for all that waits, then the next."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[_Worker, Command]] = []
        self._scheduled = False
        self._is_full = False
        self.workers: set[_Worker] = set()

    def submit(self, worker: _Worker, command: Command) -> None:
        """Put a command into the next commit."""
        self._waiting.append((worker, command))
        self._schedule()

    def tick(self) -> None:
        """Close what is due, again and again."""
        if self._can_close() and self._store.is_due():
            self._schedule()
        self._loop.call_later(_TICK_S, self.tick)

    def new_worker(self) -> _Worker:
        """Return the protocol of a new connection."""
        return _Worker(self)

    def _can_close(self) -> bool:
        return not any(worker.is_behind for worker in self.workers)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._commit)

    def _commit(self) -> None:
        self._scheduled = False
        batch, self._waiting = self._waiting[:_BATCH_AT_MOST], self._waiting[_BATCH_AT_MOST:]
        try:
            applied = self._store.apply([command for _, command in batch], closing=self._can_close())
        except apsw.IOError as error:
            log.critical("sync_failed", error=str(error))
            _end_at_once(EXIT_SYNC_FAILED)
        except Exception:  # answers go by their order: after a batch without any, each would reach the wrong caller
            log.critical("batch_failed", exc_info=True)
            _end_at_once(EXIT_FAULT)
        self._note_space(is_full=applied.is_full)
        self._tell([worker for worker, _ in batch], applied.answers, applied.outcomes)
        if self._waiting or (self._can_close() and self._store.is_due()):
            self._schedule()

    def _note_space(self, *, is_full: bool) -> None:
        if is_full and not self._is_full:
            log.error("store_full", detail="nothing is written until there is space again")
        elif self._is_full and not is_full:
            log.warning("store_has_space")
        self._is_full = is_full

    def _tell(self, askers: Sequence[_Worker], answers: Sequence[Answer], outcomes: list[OutcomeRow]) -> None:
        *parts, outcomes = split(outcomes)
        for part in parts:
            for worker in self.workers:
                worker.send(Update(part, []))
        mine: dict[_Worker, list[Answer]] = {}
        for worker, answer in zip(askers, answers, strict=True):
            mine.setdefault(worker, []).append(answer)
        for worker in self.workers:
            if outcomes or worker in mine:
                worker.send(Update(outcomes, mine.get(worker, [])))


def _end_at_once(code: int) -> NoReturn:
    sys.stdout.flush()
    os._exit(code)


async def _serve(store: Store, socket_path: str) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)  # the parent decides: it closes our standard input
    server = JournalServer(store)
    listener = await loop.create_unix_server(server.new_worker, socket_path)
    loop.add_reader(sys.stdin.fileno(), lambda: _end_with_parent(done))
    server.tick()
    await done.wait()
    listener.close()


def _end_with_parent(done: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1):
        done.set()


def main(arguments: Sequence[str]) -> int:
    """Own the store until the parent is gone; return the exit code."""
    store_path, socket_path, durability = arguments
    configure()
    try:
        store = Store(Path(store_path), durability=cast("Durability", durability))
    except BanditdError as error:
        log.error("store_refused", code=error.code, detail=error.detail)  # noqa: TRY400 - the error says it all
        return EXIT_REFUSED
    try:
        uvloop.run(_serve(store, socket_path))
    finally:
        store.close()
        with contextlib.suppress(OSError):  # the parent removes both, unless it was killed
            Path(socket_path).unlink(missing_ok=True)
            Path(socket_path).parent.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
