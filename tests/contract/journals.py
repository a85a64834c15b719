"""The journals that the contract suite runs against: to add one, write its `Store` and name it in `STORES`."""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import Protocol

import msgspec

from banditd.clock import ManualClock
from banditd.decision import Decision, Slot, encode_decision
from banditd.journal.client import RemoteJournal
from banditd.journal.local import LocalJournal
from banditd.journal.process import start_journal
from banditd.journal.protocol import Aggregate, Epoch, Journal, Learn, NewDecision, RewardRule, Slots

__all__ = ["LONG_S", "STORES", "EmbeddedStore", "ProcessStore", "Store", "new_decision", "open_lane", "rule"]

LONG_S = 3_600.0  # a window that no test lives to see closed
_FILE = "journal.db"
_TIMER_S = 0.25  # far more than a window may be late in closing


class Store(Protocol):
    """A journal with its data, and what the world may do to it."""

    wait_s: float  # a reward window short enough to wait for its end, long enough to do a few things in it

    @property
    def journal(self) -> Journal:
        """The journal that is open now."""

    async def start(self, path: Path) -> None:
        """Open a journal that keeps its data under `path`."""

    async def elapse(self, seconds: float) -> None:
        """Let the journal run for `seconds` and close the windows that end in them."""

    async def reopen(self, *, outage_s: float = 0.0) -> None:
        """Close the journal, stay away for `outage_s`, and open it again."""

    async def crash(self) -> None:
        """Take the journal away without a word, as `kill -9` does, and open what it left behind."""

    async def stop(self) -> None:
        """Close the journal."""


class EmbeddedStore:
    """SQLite in this process, on a clock that the test moves."""

    wait_s = 8.0

    journal: LocalJournal

    def __init__(self) -> None:
        self.clock = ManualClock(monotonic=1_000.0)

    async def start(self, path: Path) -> None:
        """Open a journal that keeps its data under `path`."""
        self._folder = path
        self.journal = LocalJournal.open(path / _FILE, clock=self.clock, durability="sync")

    async def elapse(self, seconds: float) -> None:
        """Move the clock and let the windows close."""
        self.clock.advance(seconds)
        await self.journal.tick()

    async def reopen(self, *, outage_s: float = 0.0) -> None:
        """Close and open; to the journal the clocks may as well be those of another machine."""
        await self.journal.close()
        self.clock = ManualClock(monotonic=self.clock.monotonic() * 10, wall=self.clock.wall() + outage_s)
        await self.start(self._folder)

    async def crash(self) -> None:
        """Open a copy of the files as they are now: what a kill would leave."""
        copy = Path(shutil.copytree(self._folder, self._folder.with_name(f"{self._folder.name}-crashed")))
        (copy / f"{_FILE}-shm").unlink(missing_ok=True)
        await self.journal.close()
        await self.start(copy)

    async def stop(self) -> None:
        """Close the journal."""
        await self.journal.close()


class ProcessStore:
    """SQLite in a process of its own, behind a socket, on the machine's clock."""

    journal: RemoteJournal
    wait_s = 1.0

    async def start(self, path: Path) -> None:
        """Start a journal process that keeps its data under `path`."""
        self._folder = path
        self._process = await start_journal(path / _FILE, durability="sync")
        self.journal = self._process.journal

    async def elapse(self, seconds: float) -> None:
        """Wait, and a little longer, so that the journal's timer has run."""
        await asyncio.sleep(seconds + _TIMER_S)

    async def reopen(self, *, outage_s: float = 0.0) -> None:
        """Let the process end, wait, and start another."""
        await self._process.stop()
        await asyncio.sleep(outage_s)
        await self.start(self._folder)

    async def crash(self) -> None:
        """Kill the process and start another."""
        os.kill(self._process.pid, signal.SIGKILL)
        await self._process.journal.lost.wait()
        await self._process.stop()
        await self.start(self._folder)

    async def stop(self) -> None:
        """Let the process end."""
        await self._process.stop()


STORES: dict[str, type[Store]] = {"embedded": EmbeddedStore, "process": ProcessStore}


def rule(
    wait_s: float,
    *,
    aggregate: Aggregate = "earliest",
    learn: Learn = "at_once",
    default: float = 0.0,
    slots: Slots = "first",
) -> RewardRule:
    """Return a reward rule."""
    return RewardRule(wait_s=wait_s, default=default, aggregate=aggregate, learn=learn, slots=slots)


async def open_lane(
    journal: Journal, reward_rule: RewardRule, *, lane: str = "default", pool: str = "", build: str = "build 1"
) -> Epoch:
    """Return the current epoch of a lane that is, unless told otherwise, a pool of its own."""
    return await journal.open_lane(
        lane, pool=pool or lane, spec={"kind": "epsilon_greedy", "epsilon": 0.1}, rule=reward_rule, build=build
    )


def new_decision(event_id: str, epoch: Epoch, *, deferred: bool = False, n_slots: int = 1) -> NewDecision:
    """Return a decision of the epoch's lane, well formed and otherwise of no interest."""
    body = Decision(
        event_id=event_id,
        lane=epoch.lane,
        epoch=epoch.epoch,
        seq=0,
        pool_seq=0,
        at=1.7e9,
        expires_at=1.7e9 + epoch.rule.wait_s,
        subject=None,
        context=msgspec.Raw(b'{"device":"mobile"}'),
        actions=msgspec.Raw(b'[{"id":"a"},{"id":"b"}]'),
        slots=[Slot(eligible=[0, 1], probabilities=[0.75, 0.25], chosen=0)] * n_slots,
        key="k1",
        deferred=deferred,
    )
    return NewDecision(
        event_id=event_id,
        lane=epoch.lane,
        epoch=epoch.epoch,
        deferred=deferred,
        body=encode_decision(body),
        n_slots=n_slots,
    )
