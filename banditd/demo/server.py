"""A real server in a process of its own, with a store that is deleted afterwards."""

import asyncio
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from banditd.demo.errors import ServerFailed

__all__ = ["POLICIES", "configuration", "running_server"]

# Segment name → its policy as an inline TOML table.
POLICIES = {
    "vw": '{ kind = "vw" }',
    "epsilon_greedy": '{ kind = "epsilon_greedy" }',
    "thompson": '{ kind = "thompson" }',
    "random": '{ kind = "epsilon_greedy", epsilon = 1.0 }',
}

_START_S = 20.0  # a cold start imports VW and NumPy; far above what a slow machine takes
_STOP_S = 10.0  # the server drains and writes a snapshot
_POLL_S = 0.05
_ANSWER_S = 1.0  # a server that is up answers at once
_LOG_LINES = 5  # enough to see why it stopped


def configuration(policies: Mapping[str, str], *, port: int, store: Path, body_bytes: int) -> str:
    """Return a configuration with one segment per policy, each reached by its name.

    Parameters
    ----------
    policies
        As `POLICIES`.
    """
    tables = "\n".join(
        f'[[segments]]\nname = "{name}"\npolicy = {policy}\npooling = "own"\n' for name, policy in policies.items()
    )
    return (
        f'[server]\nhost = "127.0.0.1"\nport = {port}\n\n'
        f'[store]\nurl = "sqlite:{store}"\n\n'
        '[reward]\nwait = "1h"\n\n'  # longer than any scene: nothing expires while it plays
        f"[limits]\nbody_bytes = {body_bytes}\n\n"
        f'{tables}\n[default]\npolicy = {{ kind = "epsilon_greedy" }}\n'
    )


@asynccontextmanager
async def running_server(
    *, port: int, body_bytes: int = 262_144, policies: Mapping[str, str] = POLICIES
) -> AsyncIterator[str]:
    """Start `banditd serve` on 127.0.0.1, wait until it is ready, give its address; stop it at the end.

    Raises
    ------
    ServerFailed
        The port is taken, or the server did not become ready. This error, and one that the body raises,
        is given the last lines of the server's log.
    """
    with tempfile.TemporaryDirectory(prefix="banditd-demo-") as name:
        folder = Path(name)
        port = _free_port(port)
        config = folder / "banditd.toml"
        config.write_text(configuration(policies, port=port, store=folder / "banditd.db", body_bytes=body_bytes))
        log = folder / "server.log"
        print("starting the server …", flush=True)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "banditd", "serve", "--config", str(config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Settings of another server in the environment are not meant for this one.
                env={key: value for key, value in os.environ.items() if not key.startswith("BANDITD_")},
                start_new_session=True,  # Ctrl-C reaches the demonstration alone, which then stops the server
            )
        try:
            address = f"http://127.0.0.1:{port}"
            await _until_ready(address, process)
            yield address
        except ServerFailed as error:  # the log is about to be deleted, so what it says is said now
            detail = f"{error.detail}. The server's log ends:\n{_last_lines(log)}"
            raise ServerFailed(error.code, detail) from error
        finally:
            await _stop(process)


async def _until_ready(address: str, process: asyncio.subprocess.Process) -> None:
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    ends_s = time.monotonic() + _START_S
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while process.returncode is None and time.monotonic() < ends_s:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"{address}/readyz") as response:
                    if response.ok:
                        return
            await asyncio.sleep(_POLL_S)
    raise ServerFailed("server_failed", "the server did not start")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


def _free_port(wanted: int) -> int:
    """Return the port, any free one for 0; never one on which another server would answer in place of ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just let go is free
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise ServerFailed("server_failed", f"port {wanted} cannot be had: {error.strerror}") from error
        port: int = probe.getsockname()[1]
    return port
