"""Servers are found, pinned, measured and ended."""

import os
import sys
import time
from pathlib import Path

import pytest

from bench.servers import Server, ServerFailed, busy_s, cpu_s, file_system_of, free_port, pin

_WITH_A_CHILD = """
import socket, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(child.pid, flush=True)
time.sleep(60)
"""


def _start(code: str, log: Path) -> Server:
    port = free_port()
    return Server("made-up", command=[sys.executable, "-c", code, str(port)], port=port, log=log)


def _is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


def test_children_end_with_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that outlives its server is found and ended too."""
    monkeypatch.setattr("bench.servers._STOP_DEADLINE_S", 0.2)
    log = tmp_path / "log"

    with _start(_WITH_A_CHILD, log) as server:
        server.wait_until(lambda _: log.read_bytes().endswith(b"\n"))
        child = int(log.read_text())
        cpu = server.cpu_times()

    assert cpu.worker_s > 0
    assert _is_gone(server.pid)
    assert _is_gone(child)


def test_a_server_that_ends_is_reported(tmp_path: Path) -> None:
    """A server that ends before it is ready is an error that holds what it printed."""
    with (
        _start("raise SystemExit('no such setting')", tmp_path / "log") as server,
        pytest.raises(ServerFailed, match="no such setting"),
    ):
        server.wait_until(lambda _: False)


def test_pin(tmp_path: Path) -> None:
    """A pinned process may run on the one core only."""
    with _start("import time; time.sleep(60)", tmp_path / "log") as server:
        core = min(os.sched_getaffinity(0))

        pin(server.pid, core=core)

        assert os.sched_getaffinity(server.pid) == {core}


def test_file_system_of() -> None:
    """The file system of /proc is told from that of a directory on disk."""
    assert file_system_of(Path("/proc")).startswith("proc ")
    assert not file_system_of(Path(__file__)).startswith("proc ")


def test_busy_time_holds_every_process() -> None:
    """The cores' busy time grows by at least what one process burns (within two ticks of the kernel's clock)."""
    busy, mine = busy_s(), cpu_s(os.getpid())

    while cpu_s(os.getpid()) - mine < 0.1:
        pass

    assert busy_s() - busy >= 0.08
