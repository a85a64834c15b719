"""Outcomes from the journal into the lanes, in order, in slices between requests."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from banditd.errors import JournalUnavailable
from banditd.journal.protocol import Journal, OutcomeRow
from banditd.logs import get_logger
from banditd.segments.lane import Gap, Lane
from banditd.segments.pool import Pool
from banditd.segments.recovery import catch_up

__all__ = ["Feed"]

_SLICE_S: Final = 0.001  # learning for longer than this would be seen in the latency of ranks
_RETRY_S: Final = 0.1
_BACKLOG_BYTES: Final = 1 << 26  # of decisions whose outcomes wait here; what comes then is read from the journal later

log = get_logger()


class Feed:
    """Keeps lanes and pools at the head of their logs.

    What is pushed is folded at once as long as that takes less than a millisecond, and in
    slices of that length after. A lane that misses outcomes reads them from the journal; one that is
    not in memory is passed over, and reads them when it is loaded. One that cannot take an outcome in, by a
    fault of ours, stops there, and the others go on.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, Lane | Pool] = {}
        self._pools: list[Pool] = []
        self._rows: deque[OutcomeRow] = deque()
        self._rows_bytes = 0  # of what waits; rows of one decision, one after another, share their body
        self._draining = False
        self._interrupted: set[str] | None = None  # pools that are to catch up after a hold; None: nothing is held
        self._heads: dict[str, int] = {}
        self._shared_head = 0  # of the log that all pools follow, whichever of them are kept already
        self._catching_up: dict[str, asyncio.Task[None]] = {}
        journal.subscribe(self.receive)

    @property
    def backlog(self) -> int:
        """Outcomes that were pushed and are not folded in yet."""
        return len(self._rows)

    @property
    def is_holding(self) -> bool:
        """Whether the pools stand still."""
        return self._interrupted is not None

    def head(self, name: str) -> int:
        """Return the number of the last outcome that was pushed for a lane; 0 if none was."""
        return self._heads.get(name, 0)

    def _is_behind(self, lane: Lane | Pool) -> bool:
        return lane.seq < (self._shared_head if isinstance(lane, Pool) else self.head(lane.name))

    def add(self, lane: Lane | Pool) -> None:
        """Keep a lane or a pool, instead of another of the same name, at the head of its log from now on."""
        self._lanes[lane.name] = lane
        self._pools = [lane for lane in self._lanes.values() if isinstance(lane, Pool)]
        if lane.is_hot and self._is_behind(lane):
            self._catch_up(lane)

    def keep(self, lanes: Iterable[Lane | Pool]) -> None:
        """Keep these lanes and pools at the head of their logs from now on, and no others."""
        kept = list(lanes)
        self._lanes = {lane.name: lane for lane in kept}
        self._pools = [lane for lane in kept if isinstance(lane, Pool)]
        for lane in kept:
            if lane.is_hot and self._is_behind(lane):
                self._catch_up(lane)

    def receive(self, rows: Sequence[OutcomeRow]) -> None:
        """Take new outcomes in."""
        for row in rows:
            if self._rows_bytes > _BACKLOG_BYTES:
                for lane in self._followers(row):
                    self._catch_up(lane)
            else:
                self._rows.append(row)
                self._rows_bytes += len(row.body) if len(self._rows) == 1 or self._rows[-2].body is not row.body else 0
        if not self._draining:
            self._drain()

    def resume(self) -> None:
        """Read what was missed while the journal was away."""
        for lane in self._lanes.values():
            if lane.is_hot:
                self._catch_up(lane)

    async def hold(self) -> None:
        """Let all pools stand still until `release`: which lanes they have is about to change in the journal."""
        names = [name for name in self._catching_up if isinstance(self._lanes.get(name), Pool)]
        self._interrupted = (self._interrupted or set()) | set(names)
        await self._give_up(names)

    def release(self) -> None:
        """Let the pools go on, and read what came meanwhile."""
        interrupted, self._interrupted = self._interrupted or set(), None
        for pool in self._pools:
            if pool.is_hot and (pool.name in interrupted or self._is_behind(pool)):
                self._catch_up(pool)

    async def close(self) -> None:
        """Give up what is under way."""
        await self._give_up(list(self._catching_up))

    async def _give_up(self, names: Iterable[str]) -> None:
        tasks = {name: self._catching_up[name] for name in names}
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        for name, task in tasks.items():
            if self._catching_up.get(name) is task:  # it was cancelled before its first step, and cleaned nothing up
                del self._catching_up[name]

    def _drain(self) -> None:
        self._draining = False
        stop_at = self._loop.time() + _SLICE_S
        rows = self._rows
        while rows:
            row = rows.popleft()
            self._rows_bytes -= len(row.body) if not rows or rows[0].body is not row.body else 0
            for lane in self._followers(row):
                self._fold(lane, row)
            if rows and self._loop.time() > stop_at:
                self._draining = True
                self._loop.call_soon(self._drain)
                return

    def _followers(self, row: OutcomeRow) -> Sequence[Lane | Pool]:
        """Note how long a log is, and return what follows it in memory."""
        self._heads[row.lane] = max(row.seq, self.head(row.lane))
        if row.shared:
            self._shared_head = max(row.pool_seq, self._shared_head)
            return self._pools  # each follows all of the log, and passes over what is not its own
        lane = self._lanes.get(row.lane)
        return [lane] if lane is not None and lane.is_hot else []

    def _fold(self, lane: Lane | Pool, row: OutcomeRow) -> None:
        is_held = self.is_holding and isinstance(lane, Pool)
        if lane.is_hot and not is_held and lane.name not in self._catching_up:
            try:
                lane.fold(row)
            except Gap:
                self._catch_up(lane)
            except Exception as error:  # noqa: BLE001 - raised on, it would end the connection to the journal for all
                lane.fail(error)

    def _catch_up(self, lane: Lane | Pool) -> None:
        if self._interrupted is not None and isinstance(lane, Pool):
            self._interrupted.add(lane.name)
        elif lane.is_hot and lane.name not in self._catching_up:
            task = self._loop.create_task(self._run_catch_up(lane), name=f"catch-up {lane.name}")
            self._catching_up[lane.name] = task

    async def _run_catch_up(self, lane: Lane | Pool) -> None:
        lane.waiting += 1  # it must not be unloaded meanwhile
        try:
            while True:
                before = lane.seq
                try:
                    await catch_up(lane, self._journal)
                except JournalUnavailable as error:
                    log.warning("catch_up_waits", lane=lane.name, code=error.code)
                except Exception as error:  # noqa: BLE001 - as in a fold
                    lane.fail(error)
                    return
                if self._lanes.get(lane.name) is not lane or not self._is_behind(lane):
                    return
                if lane.seq == before:
                    await asyncio.sleep(_RETRY_S)
        finally:
            lane.waiting -= 1
            del self._catching_up[lane.name]
            successor = self._lanes.get(lane.name)
            if successor is not None and successor is not lane:
                self.add(successor)
