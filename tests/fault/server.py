"""The server that is killed: its configuration, its processes and its files."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from banditd.journal.protocol import Aggregate, Slots

__all__ = ["DEADLINE_S", "SEGMENTS", "WINDOW_S", "Segment", "Server", "Victim", "copy_store", "living_members"]

Victim = Literal["all", "worker", "journal"]

WINDOW_S: Final = 0.3  # short enough that windows close while the load runs
DEADLINE_S: Final = 30.0  # for a server to be ready, or to end
SNAPSHOT_EVERY: Final = (
    50  # outcomes; a recovery is nearly always a snapshot and a tail, and some kills fall into a save
)
HOT_LANES: Final = 3  # of five, so that under any load some are unloaded and others loaded


@dataclass(frozen=True, slots=True)
class Segment:
    """One of the server's segments, which stands for a policy, how that is shared, and a reward rule."""

    policy: dict[str, Any]
    pooling: Literal["own", "auto"] = "auto"
    aggregate: Aggregate = "earliest"
    learn: str = "at_once"
    default: float = 0.0
    slots: Slots = "first"


SEGMENTS: Final = {  # two that share one policy, two that share another, one alone
    "news": Segment({"kind": "vw"}),
    "sport": Segment({"kind": "vw"}, learn="at_close", default=0.25, slots="all"),
    "home": Segment({"kind": "thompson"}, default=0.25, slots="all"),
    "shop": Segment({"kind": "thompson"}, learn="at_close"),
    "greedy": Segment({"kind": "epsilon_greedy"}, pooling="own", aggregate="sum", default=-0.5),
}


class Server:
    """The server's processes: started, found, killed, frozen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store" / "banditd.db"
        self.store.parent.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._config = folder / "banditd.toml"
        self._config.write_text(self._toml())
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start a server in a process group of its own."""
        with (self.folder / "server.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "banditd",
                "serve",
                "--config",
                str(self._config),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of the worker, and id of the group."""
        if self._process is None:
            raise AssertionError("the server was not started")
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """The worker's exit code, None while it runs."""
        return None if self._process is None else self._process.returncode

    def journal_pid(self) -> int | None:
        """Return the process id of the worker's one child."""
        found: list[str] = []
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += task.read_text().split()
        return int(found[0]) if found else None

    def kill(self, victim: Victim) -> None:
        """End, without a word, the group, the worker or the journal."""
        with contextlib.suppress(ProcessLookupError):
            if victim == "all":
                os.killpg(self.pid, signal.SIGKILL)
            elif victim == "worker":
                os.kill(self.pid, signal.SIGKILL)
            elif (journal := self.journal_pid()) is not None:
                os.kill(journal, signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for the worker to end."""
        if self._process is None:
            raise AssertionError("the server was not started")
        return await self._process.wait()

    async def stop(self) -> int:
        """Ask the server to end, as an operator does; return its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            return await self.wait()

    def copy(self, target: Path) -> Path:
        """Copy the store's files while its processes are stopped: what a power cut would leave."""
        os.killpg(self.pid, signal.SIGSTOP)
        try:
            _until_stopped(self.pid, self.journal_pid())
            return copy_store(self.store, target)
        finally:
            os.killpg(self.pid, signal.SIGCONT)

    def _toml(self) -> str:
        segments = "\n".join(
            f'[[segments]]\nname = "{name}"\npolicy = {{ kind = "{segment.policy["kind"]}" }}\n'
            f'pooling = "{segment.pooling}"\n'
            f'reward = {{ wait = {WINDOW_S}, aggregate = "{segment.aggregate}", learn = "{segment.learn}", '
            f'default = {segment.default}, slots = "{segment.slots}" }}\n'
            for name, segment in SEGMENTS.items()
        )
        return (
            f'[server]\nhost = "127.0.0.1"\nport = {self.port}\n'
            f'[store]\nurl = "sqlite:{self.store}"\nsnapshot_every = {SNAPSHOT_EVERY}\nhot_lanes = {HOT_LANES}\n'
            f"{segments}"
        )


def copy_store(store: Path, target: Path) -> Path:
    """Copy a store's database and its log, not the index that processes share; return the copy's path."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{store}{suffix}", target / f"{store.name}{suffix}")
    return target / store.name


def living_members(group: int) -> list[int]:
    """Return the processes of a group that have not ended; whoever must collect them may be slow to do so."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if (stat := _stat(pid)) is not None and int(stat[2]) == group and stat[0] not in "ZX"]


def _until_stopped(*pids: int | None) -> None:
    for pid in pids:
        while pid is not None and (stat := _stat(pid)) is not None and stat[0] not in "TZX":
            time.sleep(0.001)


def _stat(pid: int) -> list[str] | None:
    """Return a process's state, parent, group and so on; None if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
