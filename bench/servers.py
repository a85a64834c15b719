"""Start servers as a user would, say where they run, and read what CPU time they took.

Linux only: children, threads and CPU times are read from ``/proc``.
"""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson

__all__ = [
    "LOAD_CORE",
    "SERVER_CORE",
    "CpuTimes",
    "JobFailed",
    "JobProcess",
    "Server",
    "ServerFailed",
    "accepts",
    "busy_s",
    "cpu_s",
    "file_system_of",
    "free_port",
    "is_ready",
    "pin",
    "rank_once",
    "start_banditd",
    "start_bare",
]

SERVER_CORE = 0
LOAD_CORE = 1
_ROOT = Path(__file__).parent.parent  # so that `-m bench.load` is found wherever the bench was started
_START_DEADLINE_S = 30.0
_STOP_DEADLINE_S = 15.0
_PAUSE_S = 0.02
_LOG_TAIL_BYTES = 4_000
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STATE, _UTIME, _STIME, _STARTED = 0, 11, 12, 19  # fields of /proc/PID/stat, counted behind the name


class ServerFailed(Exception):
    """A server did not become ready, or ended before it was asked to."""


class JobFailed(Exception):
    """A load process could not carry out its job; the figures of this run are worth nothing."""


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU seconds so far: of the process that answers, and of its children (the journal)."""

    worker_s: float
    children_s: float


class Server:
    """A server process of ours, with the children it started.

    Attributes
    ----------
    name
        What the tables call it.
    port
        Where it listens, on 127.0.0.1.
    """

    def __init__(self, name: str, *, command: Sequence[str], port: int, log: Path) -> None:
        self.name = name
        self.port = port
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=_ROOT
            )
        self._children: dict[int, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the worker and of the children that it had when it became ready."""
        return (self.pid, *self._children)

    def wait_until(self, ready: Callable[[int], bool]) -> None:
        """Return when ``ready(port)`` is true.

        Raises
        ------
        ServerFailed
            It ended, or was not ready within 30 s; holds the end of what it printed.
        """
        deadline = time.monotonic() + _START_DEADLINE_S
        while not ready(self.port):
            if self._process.poll() is not None:
                raise ServerFailed(f"{self.name} ended with {self._process.returncode}:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} was not ready after {_START_DEADLINE_S:g} s:\n{self._tail()}")
            time.sleep(_PAUSE_S)
        self._children = {pid: _stat(pid)[_STARTED] for pid in _descendants(self.pid)}

    def pin(self) -> None:
        """Put the worker on its core and its children on the load generator's."""
        pin(self.pid, core=SERVER_CORE)
        for pid in self._children:
            pin(pid, core=LOAD_CORE)

    def cpu_times(self) -> CpuTimes:
        """Return the CPU time taken so far.

        Raises
        ------
        ServerFailed
            A process of it is gone.
        """
        try:
            return CpuTimes(cpu_s(self.pid), sum(cpu_s(pid) for pid in self._children))
        except FileNotFoundError as error:
            raise ServerFailed(f"{self.name} lost a process ({error}):\n{self._tail()}") from None

    def stop(self) -> None:
        """End it: SIGTERM, a wait, SIGKILL; then the children that we saw, if they are still there."""
        _end(self._process)
        deadline = time.monotonic() + _STOP_DEADLINE_S
        while left := [pid for pid, started in self._children.items() if _is_same(pid, started)]:
            if time.monotonic() > deadline:
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                break
            time.sleep(_PAUSE_S)

    def _tail(self) -> str:
        return self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")


class JobProcess:
    """A process that `bench.load.serve_jobs` runs in: takes a job, answers with its result."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _pipe(self._process.stdin).close()
        _pipe(self._process.stdout).close()
        _end(self._process)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def pids(self) -> tuple[int, ...]:
        """Its process id, alone."""
        return (self.pid,)

    def run(self, job: Any) -> dict[str, Any]:
        """Return the result of `job`, a dataclass.

        Raises
        ------
        JobFailed
            It ended in an error.
        """
        requests = _pipe(self._process.stdin)
        requests.write(orjson.dumps(job) + b"\n")
        requests.flush()
        line = _pipe(self._process.stdout).readline()
        answer: dict[str, Any] = orjson.loads(line) if line else {"error": "the load process ended"}
        if "error" in answer:
            raise JobFailed(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result


def start_bare(*, reply: Path, directory: Path) -> Server:
    """Return a started `bench.bare`; enter it as a context, then wait."""
    port = free_port()
    command = [sys.executable, "-m", "bench.bare", "--port", str(port), "--reply", str(reply)]
    return Server("bare", command=command, port=port, log=directory / "bare.log")


def start_banditd(policy: str, *, directory: Path, launcher: Sequence[str] | None = None) -> Server:
    """Return a started banditd with one segment of the given policy kind and a synced store in `directory`."""
    port = free_port()
    config = directory / f"{policy}.toml"
    config.write_text(
        f'[server]\nhost = "127.0.0.1"\nport = {port}\n'
        f'[store]\nurl = "sqlite:{directory / policy}.db"\ndurability = "sync"\n'
        f'[reward]\nwait = "10m"\n'  # longer than any run: what expires inside one would be learned beside the ranks
        f'[default]\npolicy = {{ kind = "{policy}" }}\n'
    )
    command = [sys.executable, *(launcher or ("-m", "banditd")), "serve", "--config", str(config)]
    return Server(policy, command=command, port=port, log=directory / f"{policy}.log")


def accepts(port: int) -> bool:
    """Whether something listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_ready(port: int) -> bool:
    """Whether ``GET /readyz`` answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_DEADLINE_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def rank_once(port: int, body: bytes) -> bytes:
    """Return the body of one rank answer.

    Raises
    ------
    ServerFailed
        It was not a 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_DEADLINE_S)
    try:
        connection.request("POST", "/v1/rank", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        reply = response.read()
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise ServerFailed(f"a rank was answered {response.status}: {reply[:600].decode(errors='replace')}")
    return reply


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def pin(pid: int, *, core: int) -> None:
    """Let every thread of a process, and those it starts later, run on one core only."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has taken so far, all its threads together."""
    fields = _stat(pid)
    return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_PER_S


def busy_s() -> float:
    """Return the time that all cores together have spent on processes so far, or lost to other guests of the host."""
    user, nice, system, _idle, _iowait, _irq, _softirq, steal = (
        int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + steal) / _TICKS_PER_S


def file_system_of(path: Path) -> str:
    """Return type and device of the file system that holds `path`, e.g. ``"ext4 on /dev/vda"``."""
    resolved = str(path.resolve())
    best = ("", "unknown", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, mount, kind = line.split()[:3]
        inside = resolved == mount or resolved.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best[0]):  # a later mount over the same place hides the earlier one
            best = (mount, kind, device)
    return f"{best[1]} on {best[2]}"


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


def _stat(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()  # the name before may hold spaces and brackets itself


def _is_same(pid: int, started: str) -> bool:
    try:
        fields = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[_STARTED] == started and fields[_STATE] != "Z"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise TypeError("the process was started without this pipe")
    return stream
