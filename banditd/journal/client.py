"""A worker's side of the journal's socket."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, cast

from banditd.errors import JournalUnavailable, Overloaded
from banditd.journal.asking import AskingJournal
from banditd.journal.commands import Answer, Command
from banditd.journal.protocol import OutcomeRow
from banditd.journal.wire import FrameReader, decode_update, frame

__all__ = ["RemoteJournal"]

_LATE_CHECK_S: Final = 0.25


class RemoteJournal(AskingJournal):
    """The journal behind a Unix socket.

    All commands of one turn of the event loop go out in one frame. A command that was
    sent is never taken back: if its caller is cancelled, it is carried out all the same.

    Parameters
    ----------
    queue
        Commands that may wait for an answer; one more is refused as overload.
    deadline_s
        How long a caller waits; after that the journal counts as unavailable for it.
    """

    def __init__(self, *, queue: int, deadline_s: float) -> None:
        self._queue = queue
        self._deadline_s = deadline_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._outbox: list[Command] = []
        self._asked: deque[tuple[asyncio.Future[Answer], float]] = deque()
        self._receivers: list[Callable[[Sequence[OutcomeRow]], None]] = []
        self._late_check: asyncio.TimerHandle | None = None
        self.lost = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Commands without an answer."""
        return len(self._asked)

    async def connect(self, path: str) -> None:
        """Connect to the socket at `path`.

        Raises
        ------
        OSError
            Nobody listens there.
        """
        transport, _ = await self._loop.create_unix_connection(lambda: _Connection(self), path)
        self._transport = transport
        self.lost.clear()
        if self._late_check is None:
            self._check_late()

    def subscribe(self, receive: Callable[[Sequence[OutcomeRow]], None]) -> None:
        """Call `receive` with every outcome from now on, in commit order, on the event loop."""
        self._receivers.append(receive)

    async def close(self) -> None:
        """Hang up."""
        if self._late_check is not None:
            self._late_check.cancel()
        if self._transport is not None:
            self._transport.close()
            await self.lost.wait()

    async def _ask(self, command: Command) -> Answer:
        return await self.ask_soon(command)

    def ask_soon(self, command: Command) -> "asyncio.Future[Answer]":
        """Send the command with the others of this turn; return the future of its answer."""
        if self._transport is None:
            raise JournalUnavailable("journal_lost", "the journal is being restarted")
        if len(self._asked) >= self._queue:
            raise Overloaded("journal_queue_full", f"{self._queue} commands wait for the journal already")
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(command)
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._asked.append((future, self._loop.time()))
        return future

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        if outbox and self._transport is not None:
            self._transport.write(frame(outbox))

    def receive(self, body: memoryview) -> None:
        """Take one update in: first its outcomes, so that a caller who has an answer also sees its effect."""
        update = decode_update(body)
        if update.outcomes:
            for receive in self._receivers:
                receive(update.outcomes)
        asked = self._asked
        for answer in update.answers:
            future, _ = asked.popleft()
            if not future.done():
                future.set_result(answer)

    def connection_lost(self) -> None:
        """Tell every caller that the outcome of its command is unknown."""
        self._transport = None
        self._outbox.clear()
        asked, self._asked = self._asked, deque()
        for future, _ in asked:
            if not future.done():
                future.set_exception(JournalUnavailable("journal_lost", "the journal ended before it answered"))
        self.lost.set()

    def _check_late(self) -> None:
        give_up_before = self._loop.time() - self._deadline_s
        for future, asked_at in self._asked:
            if asked_at > give_up_before:
                break
            if not future.done():
                late = f"the journal did not answer within {self._deadline_s:g} s"
                future.set_exception(JournalUnavailable("journal_late", late))
        self._late_check = self._loop.call_later(_LATE_CHECK_S, self._check_late)


class _Connection(asyncio.Protocol):
    def __init__(self, journal: RemoteJournal) -> None:
        self._journal = journal
        self._reader = FrameReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=1 << 26)

    def data_received(self, data: bytes) -> None:
        for body in self._reader.feed(data):
            self._journal.receive(body)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._journal.connection_lost()
