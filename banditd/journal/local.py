"""The embedded journal inside the calling process: for tests and for tools that read a store."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from banditd.clock import Clock
from banditd.errors import JournalUnavailable
from banditd.journal.asking import AskingJournal
from banditd.journal.commands import Answer, Command
from banditd.journal.database import Durability
from banditd.journal.protocol import OutcomeRow
from banditd.journal.store import Store

__all__ = ["LocalJournal"]


class LocalJournal(AskingJournal):
    """A `Store` behind the `Journal` protocol, one commit a call."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._receivers: list[Callable[[Sequence[OutcomeRow]], None]] = []
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, clock: Clock | None = None, durability: Durability = "sync") -> Self:
        """Open the store at `path`, waiting a while for another owner to let go of it."""
        return cls(Store(path, clock=clock, durability=durability))

    async def tick(self) -> None:
        """Close every window that is due."""
        while self._store.is_due():
            self._publish(self._store.apply(()).outcomes)

    def subscribe(self, receive: Callable[[Sequence[OutcomeRow]], None]) -> None:
        """Call `receive` with every outcome from now on, before the call that made it returns."""
        self._receivers.append(receive)

    async def close(self) -> None:
        """Let go of the store."""
        self._closed = True
        self._store.close()

    async def _ask(self, command: Command) -> Answer:
        if self._closed:
            raise JournalUnavailable("journal_closed", "the journal was closed")
        applied = self._store.apply((command,))
        self._publish(applied.outcomes)
        return applied.answers[0]

    def _publish(self, outcomes: Sequence[OutcomeRow]) -> None:
        if outcomes:
            for receive in self._receivers:
                receive(outcomes)
