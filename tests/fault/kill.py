"""Kill the server under load, again and again, and hold it to what it had acknowledged.

``python -m tests.fault.kill --kills 200`` starts the real server, drives it over HTTP, keeps a ledger
of every answer (`tests/fault/ledger.py`), and ends with ``kill -9``, at a random moment, the whole
process group, the worker alone or the journal alone. When the server is back it must hold that

- every acknowledged decision is answered as it was the first time;
- every acknowledged reward is in the outcome log, once for each slot that it is about, with its value, and no
  outcome twice;
- the log's chain is whole, nothing in it changed since the last kill, and the log of those that share is theirs;
- each lane's state, as it was recovered and after all windows have closed, is byte for byte that of a fold
  of the log from its first outcome, made here from the files, with no snapshot (`tests/fault/folds.py`): the shared
  policy, the lane's own and the contest between them, though more lanes are asked than may be in memory;
- the probabilities of every stored decision are, bit for bit, those of the states it names, in the shares it names;
- no process of before the kill is left.

`tests/fault/audit.py` compares; this module kills.

The last line is JSON with what was done; the exit code is 1 if anything was not as it should be.
"""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp

from tests.fault.audit import Audit
from tests.fault.ledger import Entry, Ledger
from tests.fault.load import Client, new_entry, use
from tests.fault.server import DEADLINE_S, SEGMENTS, WINDOW_S, Server, Victim, copy_store, living_members
from tests.fault.stored import lost_decisions, open_windows_and_ends

__all__ = ["Report", "main", "run"]

VICTIMS: Final[tuple[Victim, ...]] = ("all", "worker", "journal")
CONNECTIONS: Final = 16
LOAD_S: Final = (0.05, 0.5)  # before a kill
WINDOWS_CLOSED_S: Final = WINDOW_S + 0.05  # the windows of what was asked again have closed
FULL_CHECK_EVERY: Final = 50  # kills; between them only what is new in the log is read and folded
SAY_EVERY: Final = 20  # kills
ORPHANS_END_S: Final = 5.0  # after the next server is ready; it has the store, so they can do no harm
SAMPLE: Final = 40  # decisions of earlier rounds asked for again after each kill
RETRIED: Final = 0.7  # of what a kill left in doubt; nobody comes back for the rest
SHOWN_AT_MOST: Final = 50  # violations printed


@dataclass(slots=True)
class Report:
    """What a run did and what it found."""

    kills: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    stops: int = 0
    asked_again: int = 0
    loads: int = 0
    unloads: int = 0
    recovery_s: list[float] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> str:
        """Return the report as one line."""
        return json.dumps(
            {
                "fault": "kill",
                "kills": self.kills.total(),
                "killed": dict(self.kills),
                "violations": len(self.violations),
                **self.counts,
                "asked_again": self.asked_again,
                "loads": self.loads,
                "unloads": self.unloads,
                "stopped_itself": self.stops,
                "recovery_s_max": round(max(self.recovery_s, default=0.0), 3),
                "replies": self.statuses,
            }
        )


class Run:
    """One server, one ledger, many kills."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.moments = random.Random(seed)  # noqa: S311 - whom to kill and when; nothing secret
        self.rng = random.Random(seed)  # noqa: S311 - what clients ask for; its order depends on the replies
        self.folder = folder
        self.server = Server(folder)
        self.ledger = Ledger()
        self.report = Report()
        self.audit = Audit(self.ledger)
        self._traffic = (0, (0, 0))
        self._number = 0
        self._killed_at = 0.0
        self._starting = asyncio.Lock()

    async def go(self, kills: int) -> Report:
        """Kill the server `kills` times; return what was found."""
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        timeout = aiohttp.ClientTimeout(total=5.0)
        started_at = time.monotonic()
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            self.client = Client(session, self.server.url)
            await self.server.start()
            try:
                await self._until_ready()
                for round_ in range(1, kills + 1):
                    await self._round(round_)
                    if round_ % SAY_EVERY == 0 or round_ == kills:
                        elapsed_s = time.monotonic() - started_at
                        say(f"{round_:4} kills, {elapsed_s:5.0f} s: {self._summary()}")
                await self._finish()
            finally:
                self.server.kill("all")
                await self.server.wait()
        self.report.counts = {**self.ledger.count(), **self.audit.count()}
        self.report.statuses = dict(self.client.statuses)
        return self.report

    async def _round(self, round_: int) -> None:
        victim = self.moments.choice(VICTIMS)
        await self._load_and_kill(victim)
        self.report.kills[victim] += 1
        await self._until_ready()
        self.report.recovery_s.append(time.monotonic() - self._killed_at)
        await self._note_states()
        await self._ask_again()
        copy = await self._copy_when_quiet()
        await self._check(copy, full=round_ % FULL_CHECK_EVERY == 0)
        await self._count_traffic()

    async def _count_traffic(self) -> None:
        """Add up how often policies were loaded and unloaded, in each of the servers' lives."""
        pid, now = self.server.pid, await self.client.traffic()
        before = self._traffic[1] if self._traffic[0] == pid else (0, 0)
        self.report.loads += max(0, now[0] - before[0])
        self.report.unloads += max(0, now[1] - before[1])
        self._traffic = (pid, now)

    async def _load_and_kill(self, victim: Victim) -> None:
        stop = asyncio.Event()
        load = [asyncio.create_task(self._drive(stop)) for _ in range(CONNECTIONS)]
        await asyncio.sleep(self.moments.uniform(*LOAD_S))
        group = self.server.pid
        self.server.kill(victim)
        self._killed_at = time.monotonic()
        if victim == "journal":
            await asyncio.sleep(self.moments.uniform(0.0, 0.3))  # the worker lives on and answers 503
        stop.set()
        await asyncio.gather(*load)
        if victim != "journal":
            await self.server.wait()
        if self.server.ended is not None:
            await self._restart(group)

    async def _restart(self, group: int) -> None:
        await self.server.start()
        await self._until_ready()
        give_up_at = time.monotonic() + ORPHANS_END_S
        while left := living_members(group):
            if time.monotonic() > give_up_at:
                self._wrong([f"processes {left} outlived their server"])
                return
            await asyncio.sleep(0.02)

    async def _drive(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._number += 1
            entry = new_entry(self._number, self.rng)
            self.ledger.add(entry)
            await use(self.client, entry, self.rng)
            if entry.answer is None:
                await asyncio.sleep(0.01)  # nobody there

    async def _until_ready(self) -> None:
        give_up_at = time.monotonic() + DEADLINE_S
        while not await self.client.ready():
            async with self._starting:
                if self.server.ended is not None:
                    self.report.stops += 1  # it may stop when its journal dies too often; it may lose nothing
                    await self.server.start()
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the server was not ready after {DEADLINE_S} s; see {self.folder}/server.log")
            await asyncio.sleep(0.01)

    async def _note_states(self) -> dict[str, int]:
        """Write down each segment's state as the server tells it; return the numbers of their last outcomes."""
        heads = {}
        for segment in SEGMENTS:
            heads[segment], digest = await self._state(segment)
            self.audit.note(segment, heads[segment], digest)
        return heads

    async def _state(self, segment: str) -> tuple[int, str]:
        give_up_at = time.monotonic() + DEADLINE_S
        while (state := await self.client.state(segment)) is None:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"no state of {segment} for {DEADLINE_S} s; see {self.folder}/server.log")
            await asyncio.sleep(0.02)
            await self._until_ready()
        return state

    async def _ask_again(self) -> None:
        """Repeat what was acknowledged, and most of what a kill left in doubt: retries are what clients do."""
        fresh = list(self.ledger.unsettled.values())
        known = [entry for entry in fresh if entry.answer is not None]
        doubtful = [entry for entry in fresh if entry.answer is None and self.rng.random() < RETRIED]
        older = self.rng.sample(list(self.ledger.entries.values()), min(SAMPLE, len(self.ledger.entries)))
        again = [*known, *(entry for entry in older if entry.answer is not None)]
        calls: list[Callable[[], Awaitable[None]]] = [partial(self._insist, entry) for entry in [*again, *doubtful]]
        for entry in known:
            calls += [
                partial(self.client.reward, entry, promise)
                for promise in entry.rewards
                if self.rng.random() < (RETRIED if promise.call == "in doubt" else 0.1)
            ]
            if entry.activation == "in doubt" and self.rng.random() < RETRIED:
                calls.append(partial(self.client.activate, entry))
        self.report.asked_again += len(again)
        waiting = iter(calls)

        async def work() -> None:
            for call in waiting:
                await call()

        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))

    async def _insist(self, entry: Entry) -> None:
        """Repeat a rank until it is answered: a server that is ready again may say 503, but not for ever."""
        give_up_at = time.monotonic() + DEADLINE_S
        while not await self.client.rank(entry):
            if time.monotonic() > give_up_at:
                self._wrong([f"{entry.event_id}: no answer for {DEADLINE_S} s"])
                return
            await asyncio.sleep(0.02)
            await self._until_ready()

    async def _copy_when_quiet(self) -> Path:
        """Return a copy of the store with all windows closed and the server's states at the end of its logs."""
        give_up_at = time.monotonic() + DEADLINE_S
        await asyncio.sleep(WINDOWS_CLOSED_S)
        while True:
            heads = await self._note_states()
            copy = self.server.copy(self.folder / "copy")
            n_open, ends = open_windows_and_ends(copy)
            if n_open == 0 and ends == heads and await self._note_states() == heads:
                return copy  # and the states noted last are those at the end: nothing came between the two looks
            if time.monotonic() > give_up_at:
                self._wrong([f"after {DEADLINE_S} s {n_open} windows are open; logs end at {ends}, states at {heads}"])
                return copy
            await asyncio.sleep(0.1)

    async def _check(self, copy: Path, *, full: bool) -> None:
        await self.audit.check(copy, full=full)
        self._wrong([*self.audit.wrong, *self.client.wrong])
        self.audit.wrong.clear()
        self.client.wrong.clear()

    async def _finish(self) -> None:
        """End as an operator does, and check all of it once more on the files that are left."""
        await self._note_states()
        code = await self.server.stop()
        if code != 0:
            self._wrong([f"the server ended with {code} when it was asked to end"])
        copy = copy_store(self.server.store, self.folder / "copy")
        await self._check(copy, full=True)
        self._wrong(lost_decisions(copy, self.ledger.entries.values()))

    def _wrong(self, found: Iterable[str]) -> None:
        for violation in found:
            self.report.violations.append(violation)
            if len(self.report.violations) <= SHOWN_AT_MOST:
                say(f"VIOLATION after kill {self.report.kills.total()}: {violation}")

    def _summary(self) -> str:
        counts = self.ledger.count()
        return (
            f"{counts['decisions']} decisions, {counts['rewards']} rewards, {counts['outcomes']} outcomes, "
            f"{counts['in_doubt']} in doubt, {len(self.report.violations)} violations"
        )


def say(line: str) -> None:
    """Print a line, at once."""
    print(line, flush=True)  # noqa: T201 - what a command has found is its product


async def run(folder: Path, *, kills: int, seed: int) -> Report:
    """Kill a server that keeps its store in `folder`; return what was found."""
    return await Run(folder, seed=seed).go(kills)


def main() -> int:
    """Run as a command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault.kill", description="kill the server under load")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the store and the server's log")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="banditd-kill-"))
    report = asyncio.run(run(folder, kills=arguments.kills, seed=arguments.seed))
    if report.violations or arguments.keep:
        say(f"the store and the server's log are in {folder}")
    else:
        shutil.rmtree(folder)
    say(report.as_json())
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
