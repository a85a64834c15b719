"""The journal process as its parent sees it: started, watched, started again."""

import asyncio
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from banditd.errors import JournalUnavailable
from banditd.journal.client import RemoteJournal
from banditd.journal.database import Durability
from banditd.journal.server import EXIT_REFUSED
from banditd.logs import get_logger

__all__ = ["JournalProcess", "start_journal"]

_START_S: Final = 60.0  # an old owner may take 10 s to end, a long log some seconds to recover
_POLL_S: Final = 0.02
_STOP_S: Final = 30.0
_RESTARTS_AT_MOST: Final = 5
_FINAL: Final = frozenset({"store_refused", "journal_ended", "journal_late"})
_RESTARTS_WITHIN_S: Final = 60.0

log = get_logger()


class JournalProcess:
    """One child process and the connection to it.

    Attributes
    ----------
    journal
        The connection; the same object across restarts of the child.
    failed
        Done with the reason once the child could not be kept alive; the server must then stop.
    """

    def __init__(self, path: Path, *, durability: Durability, queue: int, deadline_s: float) -> None:
        self._path = path
        self._durability = durability
        self._directory = ""
        self._socket = ""
        self._child: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._restarts: deque[float] = deque(maxlen=_RESTARTS_AT_MOST)
        self.journal = RemoteJournal(queue=queue, deadline_s=deadline_s)
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        if self._child is None:
            raise AssertionError("the journal process was not started")
        return self._child.pid

    async def start(self) -> None:
        """Start the child and connect to it.

        Raises
        ------
        JournalUnavailable
            The child ended, or did not answer in time.
        """
        self._remove_directory()
        self._directory = tempfile.mkdtemp(prefix="banditd-")  # 0700: nobody else reaches the socket
        self._socket = str(Path(self._directory, "journal.sock"))  # another for each child: each removes its own
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "banditd.journal.server",
            str(self._path),
            self._socket,
            self._durability,
            stdin=asyncio.subprocess.PIPE,
        )
        give_up_at = asyncio.get_running_loop().time() + _START_S
        while True:
            try:
                await self.journal.connect(self._socket)
            except (FileNotFoundError, ConnectionRefusedError):
                if self._child.returncode is not None:
                    code = "store_refused" if self._child.returncode == EXIT_REFUSED else "journal_ended"
                    detail = f"the journal of {self._path} ended with {self._child.returncode}; it logged why"
                    raise JournalUnavailable(code, detail) from None
                if asyncio.get_running_loop().time() > give_up_at:
                    late = f"the journal of {self._path} did not come up within {_START_S:g} s"
                    raise JournalUnavailable("journal_late", late) from None
                await asyncio.sleep(_POLL_S)
            else:
                return

    def watch(self, when_back: Callable[[], Awaitable[None]]) -> None:
        """Restart the child whenever it ends, and await `when_back` after each restart."""
        self._watcher = asyncio.create_task(self._watch(when_back), name="journal-watcher")

    async def stop(self) -> None:
        """Let the child finish, and remove the socket."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self.journal.close()
        await self._end_child()
        self._remove_directory()

    def _remove_directory(self) -> None:
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    async def _end_child(self) -> None:
        child = self._child
        if child is None or child.returncode is not None:
            return
        if child.stdin is not None:
            child.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()

    async def _watch(self, when_back: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self.journal.lost.wait()
            await self._end_child()
            code = self._child.returncode if self._child is not None else None
            log.error("journal_ended", exit_code=code)
            now = loop.time()
            if len(self._restarts) == _RESTARTS_AT_MOST and now - self._restarts[0] < _RESTARTS_WITHIN_S:
                self.failed.set_result(f"it ended {_RESTARTS_AT_MOST} times within {_RESTARTS_WITHIN_S:g} s")
                return
            self._restarts.append(now)
            try:
                await self.start()
                await when_back()
            except JournalUnavailable as error:
                if self.journal.lost.is_set() and error.code not in _FINAL:
                    continue  # it ended again while we caught up
                self.failed.set_result(error.detail)
                return
            except Exception as error:  # whatever it is, a server without a journal must not go on in silence
                log.exception("journal_restart_failed")
                self.failed.set_result(f"{type(error).__name__} while it was started again")
                return
            log.warning("journal_restarted", pid=self.pid)


async def start_journal(
    path: Path, *, durability: Durability = "sync", queue: int = 4_096, deadline_s: float = 5.0
) -> JournalProcess:
    """Start a journal process that owns the store at `path`, and connect to it."""
    process = JournalProcess(path, durability=durability, queue=queue, deadline_s=deadline_s)
    try:
        await process.start()
    except BaseException:
        await process.stop()
        raise
    return process
