"""The process that an evaluation runs in, as the server sees it."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from banditd.evaluating.bodies import EvaluationProgress

__all__ = ["PROGRAM", "Child", "Files"]

PROGRAM: Final = (sys.executable, "-m", "banditd.evaluating.confined")

_PATIENCE_S: Final = 2.0  # between asking a process to end and ending it
_TAIL_BYTES: Final = 4_096

_decode_progress = msgspec.json.Decoder(EvaluationProgress).decode


class Files:
    """What an evaluation writes, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.result = folder / "result.json"
        self.report = folder / "report.html"
        self.progress = folder / "progress.jsonl"
        self.complaints = folder / "stderr.txt"

    def last_progress(self) -> EvaluationProgress | None:
        """Return what was said last of how far it is."""
        for line in reversed(_tail(self.progress).split(b"\n")):
            with contextlib.suppress(msgspec.DecodeError):  # the last line may be half written, the first cut off
                return _decode_progress(line)
        return None

    def last_complaint(self) -> str:
        """Return the last line of what was written on standard error."""
        lines = _tail(self.complaints).decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""


class Child:
    """A process that computes an evaluation."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls, command: Sequence[str], files: Files, *, memory_mib: int, program: Sequence[str] = PROGRAM
    ) -> "Child":
        """Start a command of banditd with bounds on what it may take.

        Raises
        ------
        OSError
            The system has no process to spare.
        """
        with files.complaints.open("wb") as complaints:
            process = await asyncio.create_subprocess_exec(
                *program,
                str(memory_mib),
                str(files.progress),
                *command,
                stdin=asyncio.subprocess.PIPE,  # never written to: the child ends when it breaks
                stdout=asyncio.subprocess.DEVNULL,
                stderr=complaints,
                env=_environment(files.folder.parent),
                # In the session of the server: where sessions are scheduled as groups, priority counts within one.
            )
        return cls(process)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Return the exit code, once there is one; negative: the signal that ended it."""
        return await self._process.wait()

    def end(self) -> None:
        """Ask the process to end, and see to it that it does."""
        self._send(kill=False)
        asyncio.get_running_loop().call_later(_PATIENCE_S, lambda: self._send(kill=True))

    def _send(self, *, kill: bool) -> None:
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            (self._process.kill if kill else self._process.terminate)()


def _environment(shared: Path) -> Mapping[str, str]:
    """Return the environment of a child: one thread, and nothing of the server's own settings, keys among them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BANDITD_")}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    # matplotlib keeps a list of fonts, which takes seconds to make: once for all evaluations of a server.
    return {**kept, **threads, "MPLBACKEND": "Agg", "MPLCONFIGDIR": str(shared / "matplotlib")}


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""
