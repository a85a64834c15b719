"""Outcomes from the journal into the lanes, in order, in slices between requests."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from banditd.errors import JournalUnavailable
from banditd.journal.protocol import Journal, OutcomeRow
from banditd.logs import get_logger
from banditd.segments.lane import Gap, Lane
from banditd.segments.recovery import catch_up

__all__ = ["Feed"]

_SLICE_S: Final = 0.001  # learning for longer than this would be seen in the latency of ranks
_RETRY_S: Final = 0.1

log = get_logger()


class Feed:
    """Keeps lanes at the head of their logs.

    What is pushed is folded at once as long as that takes less than a millisecond, and in
    slices of that length after. A lane that misses outcomes reads them from the journal.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, Lane] = {}
        self._rows: deque[OutcomeRow] = deque()
        self._draining = False
        self._heads: dict[str, int] = {}
        self._catching_up: dict[str, asyncio.Task[None]] = {}
        journal.subscribe(self.receive)

    @property
    def backlog(self) -> int:
        """Outcomes that were pushed and are not folded in yet."""
        return len(self._rows)

    def add(self, lane: Lane) -> None:
        """Keep a lane, instead of another of the same name, at the head of its log from now on."""
        self._lanes[lane.name] = lane
        if lane.seq < self._heads.get(lane.name, 0):
            self._catch_up(lane)

    def keep(self, lanes: Iterable[Lane]) -> None:
        """Keep these lanes at the head of their logs from now on, and no others."""
        self._lanes = {}
        for lane in lanes:
            self.add(lane)

    def receive(self, rows: Sequence[OutcomeRow]) -> None:
        """Take new outcomes in."""
        self._rows.extend(rows)
        if not self._draining:
            self._drain()

    def resume(self) -> None:
        """Read what was missed while the journal was away."""
        for lane in self._lanes.values():
            self._catch_up(lane)

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._catching_up.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _drain(self) -> None:
        stop_at = self._loop.time() + _SLICE_S
        rows = self._rows
        while rows:
            row = rows.popleft()
            self._heads[row.lane] = row.seq
            lane = self._lanes.get(row.lane)
            if lane is not None and row.lane not in self._catching_up:
                try:
                    lane.fold(row)
                except Gap:
                    self._catch_up(lane)
            if rows and self._loop.time() > stop_at:
                self._draining = True
                self._loop.call_soon(self._drain)
                return
        self._draining = False

    def _catch_up(self, lane: Lane) -> None:
        if lane.name not in self._catching_up:
            task = self._loop.create_task(self._run_catch_up(lane), name=f"catch-up {lane.name}")
            self._catching_up[lane.name] = task

    async def _run_catch_up(self, lane: Lane) -> None:
        try:
            while True:
                before = lane.seq
                try:
                    await catch_up(lane, self._journal)
                except JournalUnavailable as error:
                    log.warning("catch_up_waits", lane=lane.name, code=error.code)
                if self._lanes.get(lane.name) is not lane or lane.seq >= self._heads.get(lane.name, 0):
                    return
                if lane.seq == before:
                    await asyncio.sleep(_RETRY_S)
        finally:
            del self._catching_up[lane.name]
            successor = self._lanes.get(lane.name)
            if successor is not None and successor is not lane:
                self.add(successor)
