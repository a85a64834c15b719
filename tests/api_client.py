"""A real server process over loopback or a Unix socket, and a client that shows replies as they are."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Client", "Reply", "ServerProcess", "replies_in", "running_server"]

_START_S = 30.0
_STOP_S = 20.0
_REPLY_S = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Client:
    """Calls a server; every call has a connection of its own.

    Attributes
    ----------
    host, port
        Where it listens, unless `uds` names a socket.
    key
        API key that each call carries.
    """

    host: str = "127.0.0.1"
    port: int = 0
    uds: str = ""
    key: str = ""

    def call(
        self, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send one request as it is."""
        connection = (
            _UnixConnection(self.uds, timeout=_REPLY_S)
            if self.uds
            else http.client.HTTPConnection(self.host, self.port, timeout=_REPLY_S)
        )
        sent = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            connection.request(method, path, body=body, headers={**sent, **(headers or {})})
            reply = connection.getresponse()
            found = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, found, reply.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        """Get a path."""
        return self.call("GET", path, headers=headers)

    def post(self, path: str, value: object = None, *, headers: Mapping[str, str] | None = None) -> Reply:
        """Post a value as JSON, or bytes as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.call("POST", path, body, headers={"Content-Type": "application/json", **(headers or {})})

    def connect(self) -> socket.socket:
        """Return a bare connection, for what no HTTP library would send."""
        return socket.create_connection((self.host, self.port), timeout=_REPLY_S)

    def exchange(self, request: bytes) -> bytes:
        """Send bytes and return all that comes until the server hangs up."""
        with self.connect() as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65_536), b""))


def replies_in(stream: bytes) -> list[tuple[int, bytes]]:
    """Take a stream of replies with a length each apart: their statuses and bodies."""
    found = []
    while stream:
        head, _, rest = stream.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        length = int(headers.get("content-length", "0"))
        found.append((int(lines[0].split(" ")[1]), rest[:length]))
        stream = rest[length:]
    return found


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that runs.

    Attributes
    ----------
    client
        Calls it without a key.
    folder
        Holds its store, its keys and its log, ``banditd.log``.
    pid
        Of the server, not of its journal.
    """

    client: Client
    folder: Path
    pid: int

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.folder / "banditd.log").read_text()


@contextmanager
def running_server(folder: Path, config: str, *options: str) -> Iterator[ServerProcess]:
    """Start ``banditd serve`` on a free port (or as `options` say), and end it as an operator would.

    Parameters
    ----------
    config
        The configuration file.
    """
    (folder / "banditd.toml").write_text(config)
    command = [sys.executable, "-m", "banditd", "serve", "--config", "banditd.toml"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BANDITD_")}
    # The package is found from the checkout even where it is not installed.
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    with (folder / "banditd.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *(options or ("--port", "0"))], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield ServerProcess(_await_ready(folder, process), folder, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    if code != 0:
        raise RuntimeError(f"the server ended with {code}:\n{(folder / 'banditd.log').read_text()}")


def _await_ready(folder: Path, process: "subprocess.Popen[bytes]") -> Client:
    give_up_at = time.monotonic() + _START_S
    while time.monotonic() < give_up_at and process.poll() is None:
        for line in (folder / "banditd.log").read_text().splitlines():
            if '"serving"' in line:
                address = json.loads(line)["address"]
                if address.startswith("unix:"):
                    return Client(uds=address.removeprefix("unix:"))
                return Client(port=int(address.rpartition(":")[2]))
        time.sleep(0.02)
    raise RuntimeError(f"the server did not start:\n{(folder / 'banditd.log').read_text()}")
