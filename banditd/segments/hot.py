"""Which lanes have their policies in memory: those used last, the others when they are asked for."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from banditd.errors import BanditdError, JournalUnavailable, Overloaded
from banditd.journal.protocol import Journal
from banditd.logs import get_logger
from banditd.segments.lane import Lane

__all__ = ["HotLanes"]

_AT_ONCE: Final = 4  # loads under way: each reads a state and folds, and requests are served in between
_TRIES: Final = 3  # to unload a lane that learns while its snapshot is saved

log = get_logger()


class HotLanes:
    """Loads lanes when they are asked for, and unloads those that were used longest ago.

    Parameters
    ----------
    at_most
        Lanes in memory; those whose policies keep no snapshots stay, and do not count.
    deadline_s
        How long somebody waits for a lane; the load goes on, and who asks again may find it done.
    load
        Brings one lane to its head.
    """

    def __init__(
        self, journal: Journal, *, at_most: int, deadline_s: float, load: Callable[[Lane], Awaitable[None]]
    ) -> None:
        self._journal = journal
        self._at_most = at_most
        self._deadline_s = deadline_s
        self._load = load
        self._hot: set[Lane] = set()
        self._loading: dict[Lane, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._shrinking: asyncio.Task[None] | None = None
        self._asks = 0
        self.loads = 0
        self.unloads = 0

    @property
    def n_hot(self) -> int:
        """How many lanes have a policy in memory that could be unloaded."""
        return sum(lane.can_unload for lane in self._hot)

    def used(self, lane: Lane) -> None:
        """Note that a lane was asked for."""
        self._asks += 1
        lane.used = self._asks

    async def ready(self, lanes: Sequence[Lane]) -> None:
        """Wait until all of these are hot at once.

        Raises
        ------
        Overloaded
            It took too long, or one of them has failed.
        JournalUnavailable
            The journal did not answer.
        """
        for lane in lanes:
            self.used(lane)
            lane.waiting += 1  # loading one must not unload another
        try:
            async with asyncio.timeout(self._deadline_s):
                while cold := [lane for lane in lanes if not lane.is_hot]:
                    if any(lane.is_failed for lane in cold):
                        raise Overloaded(
                            "lane_failed", "the segment's policy has stopped at an outcome; the log says why"
                        )
                    await asyncio.shield(self._loaded(cold[0]))
        except TimeoutError:
            detail = f"the segment's policy was not loaded within {self._deadline_s:g} s"
            raise Overloaded("lane_loading", detail) from None
        finally:
            for lane in lanes:
                lane.waiting -= 1

    async def fold(self, lane: Lane) -> None:
        """Load a lane, however long it takes."""
        await asyncio.shield(self._loaded(lane))

    def add(self, lane: Lane) -> None:
        """Count a lane that has become hot by itself, and unload others soon if they are too many."""
        self.used(lane)
        self._hot.add(lane)
        if self._shrinking is None and self.n_hot > self._at_most:
            self._shrinking = asyncio.create_task(self._shrink(), name="shrink")

    def keep(self, lanes: Iterable[Lane]) -> None:
        """Forget all lanes but these."""
        self._hot.intersection_update(lanes)

    async def _shrink(self) -> None:
        try:
            await self.make_room()
        except JournalUnavailable as error:
            log.warning("unload_waits", code=error.code)
        finally:
            self._shrinking = None

    async def make_room(self, *, places: int = 0) -> None:
        """Unload what was used longest ago, until there are so many places."""
        for _ in range(len(self._hot)):
            candidates = [lane for lane in self._hot if lane.can_unload and not lane.waiting]
            if not candidates or self.n_hot + places <= self._at_most:
                return
            await self._unload(min(candidates, key=lambda lane: lane.used))

    async def save(self, lane: Lane, *, at_least: int) -> None:
        """Keep a snapshot of a lane that has learned from so many outcomes since the last one."""
        if lane.can_unload and lane.seq - lane.saved_seq >= at_least:
            snapshot = lane.snapshot()
            await self._journal.save_snapshot(snapshot)
            lane.saved_seq = max(lane.saved_seq, snapshot.seq)

    async def save_all(self, *, at_least: int) -> None:
        """Keep snapshots of all lanes in memory that have learned from so many outcomes since."""
        for lane in list(self._hot):
            await self.save(lane, at_least=at_least)

    async def close(self) -> None:
        """Give up what is being loaded."""
        tasks = [*self._loading.values(), *([] if self._shrinking is None else [self._shrinking])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _loaded(self, lane: Lane) -> "asyncio.Task[None]":
        task = self._loading.get(lane)
        if task is None:
            task = asyncio.create_task(self._run(lane), name=f"load {lane.name}")
            self._loading[lane] = task
            task.add_done_callback(lambda done: self._done(lane, done))
        return task

    async def _run(self, lane: Lane) -> None:
        async with self._turn:
            await self.make_room(places=1)
            try:
                await self._load(lane)
            except BanditdError:
                raise
            except Exception as error:  # noqa: BLE001 - a fault of ours in one lane must not stop the others
                lane.fail(error)
                return
            self.loads += 1
            self._hot.add(lane)

    def _done(self, lane: Lane, task: "asyncio.Task[None]") -> None:
        del self._loading[lane]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(
            error, JournalUnavailable
        ):  # whoever waits gets it too, if anybody does
            log.error("lane_load_failed", lane=lane.name, error=type(error).__name__, detail=str(error))

    async def _unload(self, lane: Lane) -> None:
        for _ in range(_TRIES):
            await self.save(lane, at_least=1)
            if not lane.can_unload or lane.waiting:
                return
            if lane.seq == lane.saved_seq:
                lane.unload()
                self._hot.discard(lane)
                self.unloads += 1
                return
        self.used(lane)  # it learns faster than it is saved: as hot as can be
