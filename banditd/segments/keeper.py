"""Everything that keeps lanes: opened, at the heads of their logs, in memory or not, saved, trimmed, folded anew."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from banditd.config.tables import StoreTable
from banditd.config.values import Config
from banditd.errors import BanditdError, Overloaded
from banditd.journal.protocol import Journal
from banditd.logs import get_logger
from banditd.segments.feed import Feed
from banditd.segments.hot import HotLanes
from banditd.segments.lane import Lane
from banditd.segments.opening import Opener, Roster
from banditd.segments.pool import Pool
from banditd.segments.pooled import PooledLane
from banditd.segments.reading import Reader
from banditd.segments.recovery import Lost, agrees, catch_up, load_own, recover, recover_pool
from banditd.segments.trimming import drop_old_lapses, trim_lane, trim_pool
from policies.protocol import PolicySpec

__all__ = ["Keeper"]

log = get_logger()


class Keeper:
    """The lanes and pools of the configuration in force.

    Parameters
    ----------
    reader
        Of stored decisions.

    Attributes
    ----------
    roster
        What is kept.
    feed
        Brings outcomes to it.
    hot
        Which lanes are in memory.
    unfinished
        A configuration that the journal may have taken over and that is not in force yet, because a change to it
        broke off. The pools may stand still until a change is finished, since the journal alone knows who is in them.
    """

    def __init__(self, journal: Journal, reader: Reader, store: StoreTable) -> None:
        self._journal = journal
        self._at_most = store.hot_lanes
        self.roster = Roster({}, {})
        self.feed = Feed(journal)
        self.hot = HotLanes(journal, at_most=store.hot_lanes, deadline_s=store.deadline_s, load=self._load)
        self._opener = Opener(journal, reader, when_started=self.hot.add)
        self._changing = asyncio.Lock()  # lanes are exchanged, and logs trimmed, one at a time
        self._staying: dict[PolicySpec, bool] = {}
        self._refolds: dict[str, asyncio.Task[None]] = {}
        self.unfinished: Config | None = None

    @property
    def is_changing(self) -> bool:
        """Whether lanes are being exchanged now."""
        return self._changing.locked()

    @contextlib.asynccontextmanager
    async def changing(self, config: Config) -> AsyncIterator[Callable[[], None]]:
        """Open and fold what a configuration asks for; within, the call of what is yielded puts it in force."""
        async with self._changing:
            self.unfinished = config
            await self.feed.hold()
            roster = await self._opener.open(config, self.roster)
            roster.regroup()
            self.feed.release()
            for pool in roster.pools.values():
                if self.roster.pools.get(pool.name) is not pool:
                    await self._fold(pool)
            all_fit = len(roster.lanes) <= self._at_most
            for lane in roster.lanes.values():
                if not lane.is_hot and not lane.is_failed and (all_fit or self._stays(lane.spec)):
                    await self._fold_lane(lane)
            yield lambda: self._settle(roster)
            self.unfinished = None

    def _settle(self, roster: Roster) -> None:
        roster.settle()
        self.roster = roster
        self.hot.keep(
            {*roster.lanes.values(), *(lane for pool in roster.pools.values() for lane in pool.lanes.values())}
        )
        self.feed.keep([*roster.alone(), *roster.pools.values()])

    async def journal_is_back(self) -> None:
        """Go on after the journal was away: what no longer agrees with it is folded anew.

        Nothing is, while the pools stand still for a change: then who is in them is not known here.
        """
        async with self._changing:
            if self.feed.is_holding:
                return
            for pool in list(self.roster.pools.values()):
                if not await agrees(pool, self._journal):
                    log.error("pool_disagrees", pool=pool.name, seq=pool.seq)
                    await self._exchange(pool, anew=False)
            lanes = dict(self.roster.lanes)
            for lane in self.roster.alone():
                if lane.is_hot and not await agrees(lane, self._journal):
                    log.error("lane_disagrees", lane=lane.name, seq=lane.seq)
                    fresh = Lane(lane.segment, epoch=lane.epoch, spec=lane.spec, policy=None, reader=lane.reader)
                    lanes[lane.segment] = fresh
                    await self._fold_lane(fresh)
            self._settle(Roster(lanes, self.roster.pools))
            self.feed.resume()

    async def save(self, *, at_least: int) -> None:
        """Keep snapshots of what has learned from so many outcomes since the last one."""
        for pool in list(self.roster.pools.values()):
            if pool.is_hot and pool.policy.resumable and pool.seq - pool.saved_seq >= at_least:
                snapshot = pool.snapshot()
                await self._journal.save_snapshot(snapshot)
                pool.saved_seq = snapshot.seq
                for lane in list(pool.lanes.values()):  # after their pool, which can be gone on from only with them
                    await self.hot.save(lane, at_least=1)
        await self.hot.save_all(at_least=at_least)
        await self.hot.make_room()

    async def trim(self, *, age_s: float) -> None:
        """Write bases, and drop what is older than an age; nothing, while a change is unfinished."""
        async with self._changing:
            if self.unfinished is not None:
                return
            for lane in self.roster.lanes.values():
                await drop_old_lapses(lane.name, self._journal, age_s=age_s)
            for lane in self.roster.alone():
                if not lane.is_failed:
                    await trim_lane(lane, self._journal, age_s=age_s)
            for pool in self.roster.pools.values():
                if not pool.is_failed:
                    await trim_pool(pool, self._journal, age_s=age_s)

    async def close(self) -> None:
        """Give up what is under way, and keep snapshots of what is in memory."""
        for task in self._refolds.values():
            task.cancel()
        await asyncio.gather(*self._refolds.values(), return_exceptions=True)
        await self.hot.close()
        await self.feed.close()
        await self.save(at_least=1)

    async def _load(self, lane: Lane) -> None:
        if isinstance(lane, PooledLane):
            try:
                await load_own(lane, self._journal)
            except Lost:
                self._refold_soon(lane.pool)
                raise Overloaded("lane_loading", "the segment's policies are being folded anew") from None
            return
        lane.open()
        await recover(lane, self._journal)
        while lane.seq < self.feed.head(lane.name):
            await catch_up(lane, self._journal)
        lane.is_hot = True

    async def _fold(self, pool: Pool, *, anew: bool = False) -> None:
        started = time.monotonic()
        try:
            await recover_pool(pool, self._journal, anew=anew, make_room=self.hot.make_room)
        except BanditdError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours in one pool must not stop the others
            pool.fail(error)
            return
        log.info(
            "pool_folded",
            pool=pool.name,
            epoch=pool.epoch.epoch,
            pool_seq=pool.seq,
            lanes=len(pool.lanes),
            resumable=pool.policy.resumable,
            seconds=round(time.monotonic() - started, 3),
        )

    async def _fold_lane(self, lane: Lane) -> None:
        started = time.monotonic()
        await self.hot.fold(lane)
        log.info(
            "lane_folded",
            lane=lane.name,
            epoch=lane.epoch.epoch,
            seq=lane.seq,
            resumable=lane.can_unload,
            seconds=round(time.monotonic() - started, 3),
        )

    def _stays(self, spec: PolicySpec) -> bool:
        """Tell whether policies of this spec keep no snapshots, and so have to stay in memory."""
        stays = self._staying.get(spec)
        if stays is None:
            stays = self._staying[spec] = not spec.build().resumable
        return stays

    def _refold_soon(self, pool: Pool) -> None:
        if pool.name not in self._refolds:
            log.error("own_policy_lost", pool=pool.name, detail="a snapshot is gone or damaged; the log is folded anew")
            task = asyncio.create_task(self._refold(pool), name=f"refold {pool.name}")
            self._refolds[pool.name] = task
            task.add_done_callback(lambda _: self._refolds.pop(pool.name, None))

    async def _refold(self, pool: Pool) -> None:
        try:
            async with self._changing:
                if self.roster.pools.get(pool.name) is pool and not self.feed.is_holding:
                    await self._exchange(pool, anew=True)
        except Exception:  # whoever asks for the lane next tries again
            log.exception("refold_failed", pool=pool.name)

    async def _exchange(self, pool: Pool, *, anew: bool) -> None:
        """Put another one of a pool, folded from its log, in its place."""
        fresh = pool.fresh(self.hot.add)
        await self._fold(fresh, anew=anew)
        lanes = {
            name: fresh.lanes.get(lane.name, lane) if isinstance(lane, PooledLane) and lane.pool is pool else lane
            for name, lane in self.roster.lanes.items()
        }
        self._settle(replace(self.roster, lanes=lanes, pools={**self.roster.pools, pool.name: fresh}, kin={}))
