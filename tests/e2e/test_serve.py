"""The server as an operator meets it: started, reloaded, killed in parts, ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api_client import Client, ServerProcess, running_server

ACTIONS = [{"id": "a"}, {"id": "b"}, {"id": "c"}]
WAIT_S = 20.0


def until(condition: Callable[[], Any]) -> Any:
    """Return what `condition` returns once it is true."""
    give_up_at = time.monotonic() + WAIT_S
    while time.monotonic() < give_up_at:
        with contextlib.suppress(OSError):
            if found := condition():
                return found
        time.sleep(0.02)
    raise AssertionError("it did not come true in time")


def events(server: ServerProcess, name: str) -> list[dict[str, Any]]:
    """Return the log's lines of one event."""
    lines = [json.loads(line) for line in server.log.splitlines()]
    return [line for line in lines if line["event"] == name]


def journal_of(pid: int) -> int:
    """Return the process id of a server's journal."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def is_alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.contextmanager
def ended_with(code: int) -> Iterator[None]:
    """Demand that the server in the block ends with an exit code."""
    with pytest.raises(RuntimeError, match=f"ended with {code}"):
        yield


def learn(client: Client, n: int, prefix: str) -> None:
    """Rank and reward n times."""
    ranks = [{"event_id": f"{prefix}{i}", "actions": ACTIONS} for i in range(n)]
    rewards = [{"event_id": f"{prefix}{i}", "reward": i % 2} for i in range(n)]
    assert client.post("/v1/rank/batch", ranks).status == 200
    assert {item["status"] for item in client.post("/v1/reward/batch", rewards).json["results"]} == {200}


def state(client: Client) -> dict[str, Any]:
    """Return the digest of the default segment's state."""
    found: dict[str, Any] = client.get("/v1/segments/default?digest=true").json["state"]
    return found


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "banditd", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_stopped_server_goes_on_where_it_was(tmp_path: Path) -> None:
    """After SIGTERM the next start loads a snapshot and serves the same state; decisions are still there."""
    with running_server(tmp_path, "") as server:
        learn(server.client, 20, "e")
        before = state(server.client)
        first = server.client.post("/v1/rank", {"event_id": "e0", "actions": ACTIONS}).json

    with running_server(tmp_path, "") as server:
        assert state(server.client) == before
        assert server.client.post("/v1/rank", {"event_id": "e0", "actions": ACTIONS}).json == first


def test_a_killed_journal_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    """The worker notices, answers 503 meanwhile, and serves the same state from the same log after."""
    with running_server(tmp_path, "") as server:
        learn(server.client, 10, "e")
        before = state(server.client)

        os.kill(journal_of(server.pid), signal.SIGKILL)
        until(lambda: events(server, "journal_restarted"))

        assert until(lambda: server.client.get("/readyz").status == 200)
        assert state(server.client) == before
        learn(server.client, 10, "f")
        assert state(server.client)["seq"] == 20


def test_a_journal_that_keeps_dying_stops_the_server(tmp_path: Path) -> None:
    """After five restarts in a minute the server ends with an error and says why."""
    with ended_with(70), running_server(tmp_path, "") as server:
        for count in range(1, 7):
            os.kill(journal_of(server.pid), signal.SIGKILL)
            if count <= 5:
                until(lambda: len(events(server, "journal_restarted")) == count)  # noqa: B023 - called at once
        until(lambda: not is_alive(server.pid))

    assert events(server, "journal_failed")


def test_the_journal_ends_with_its_server(tmp_path: Path) -> None:
    """Nothing of a killed server stays behind, and the next one starts."""
    with ended_with(-signal.SIGKILL), running_server(tmp_path, "") as server:
        journal = journal_of(server.pid)
        learn(server.client, 10, "e")
        before = state(server.client)
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not is_alive(journal))

    with running_server(tmp_path, "") as server:
        assert state(server.client) == before


def test_a_reload_takes_what_it_can_and_names_what_it_cannot(tmp_path: Path) -> None:
    """SIGHUP changes the policy for the next request; a new port has to wait for a restart."""
    with running_server(tmp_path, "") as server:
        learn(server.client, 6, "e")
        (tmp_path / "banditd.toml").write_text('[store]\nqueue = 17\n[default]\npolicy = { kind = "epsilon_greedy" }\n')
        os.kill(server.pid, signal.SIGHUP)
        (reloaded,) = until(lambda: events(server, "reloaded"))

        reply = server.client.post("/v1/rank", {"actions": ACTIONS}).json
        assert reply["version"] == {"epoch": 2, "seq": 6}
        assert reloaded["needs_restart"] == ["store.queue"]
        assert any(path.startswith("default.policy") for path in reloaded["taken"])


def test_a_bad_reload_changes_nothing(tmp_path: Path) -> None:
    """A configuration with a mistake is refused with its path, and the server serves by the old one."""
    with running_server(tmp_path, "") as server:
        (tmp_path / "banditd.toml").write_text('[default]\npolicy = { kind = "oracle" }\n')
        os.kill(server.pid, signal.SIGHUP)
        (refused,) = until(lambda: events(server, "reload_refused"))

        assert refused["field"] == "default.policy.kind"
        assert server.client.post("/v1/rank", {"actions": ACTIONS}).json["version"]["epoch"] == 1


def test_two_servers_never_own_one_store(tmp_path: Path) -> None:
    """The second says that the store is in use, and the first goes on."""
    with running_server(tmp_path, "") as server:
        second = run("serve", "--port", "0", cwd=tmp_path, BANDITD_STORE_URL=f"sqlite:{server.folder / 'banditd.db'}")

        assert second.returncode != 0
        assert "another process owns" in second.stdout
        assert server.client.get("/readyz").status == 200


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(("serve", "--host", "0.0.0.0"), "server.host", id="exposed"),  # noqa: S104 - what is refused
        pytest.param(("serve", "--config", "none.toml"), "none.toml", id="missing-file"),
        pytest.param(("config", "check", "bad.toml"), "default.policy.exploration", id="bad-value"),
        pytest.param(("serve", "--config", "bad.toml"), "default.policy.exploration", id="bad-value-serve"),
    ],
)
def test_a_command_that_cannot_be_carried_out_names_the_setting(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    """Exit code 2 and one line that says what to change."""
    (tmp_path / "bad.toml").write_text('[default]\npolicy = { kind = "vw", exploration = "guess" }\n')

    done = run(*arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_checked_configuration_is_shown_without_its_keys(tmp_path: Path) -> None:
    """`config check` prints what is in force, and no secret."""
    (tmp_path / "good.toml").write_text('[server]\nkeys = ["sesame"]\n[reward]\nwait = "5m"\n')

    done = run("config", "check", "good.toml", cwd=tmp_path)

    assert done.returncode == 0
    assert "sesame" not in done.stdout
    assert 'wait = "5m"' in done.stdout


def test_a_file_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    """A store path that names something else ends the start, and the file stays as it was."""
    (tmp_path / "notes.db").write_text("my notes " * 1_000)

    done = run("serve", "--port", "0", cwd=tmp_path, BANDITD_STORE_URL="sqlite:notes.db")

    assert done.returncode != 0
    assert "not a SQLite file" in done.stdout
    assert (tmp_path / "notes.db").read_text() == "my notes " * 1_000


def test_a_reload_never_opens_an_exposed_server(tmp_path: Path) -> None:
    """What a reload cannot change stays in force, so keys are not dropped because the new file names a safer host."""
    exposed = '[server]\nhost = "0.0.0.0"\nkeys = ["sesame"]\n'
    with running_server(tmp_path, exposed, "--uds", str(tmp_path / "socket")) as server:
        (tmp_path / "banditd.toml").write_text("[server]\nkeys = []\n[store]\nkeep = '1h'\n")
        os.kill(server.pid, signal.SIGHUP)
        (reloaded,) = until(lambda: events(server, "reloaded"))
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: len(events(server, "reloaded")) == 2)

        assert "store.keep" in reloaded["needs_restart"]
        assert "store.keep" in events(server, "reloaded")[1]["needs_restart"]  # still


def test_hanging_up_on_everybody_is_a_reload(tmp_path: Path) -> None:
    """SIGHUP reaches the journal too when a terminal closes; it is no reason to end."""
    with running_server(tmp_path, "") as server:
        journal = journal_of(server.pid)
        os.kill(journal, signal.SIGHUP)
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: events(server, "reloaded"))

        learn(server.client, 3, "e")
        assert journal_of(server.pid) == journal


def test_a_socket_in_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """An address that cannot be listened on ends the start with one line."""
    done = run("serve", "--uds", str(tmp_path / "nowhere" / "socket"), cwd=tmp_path)

    assert done.returncode == 70
    assert "cannot be listened on" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_store_without_its_keys_is_told(tmp_path: Path) -> None:
    """New keys beside an old store mean new pseudonyms: the log says so."""
    with running_server(tmp_path, "") as server:
        learn(server.client, 1, "e")
    (tmp_path / "banditd.db.keys").unlink()

    with running_server(tmp_path, "") as server:
        assert events(server, "keys_missing")


def test_files_of_the_store_are_private(tmp_path: Path) -> None:
    """Contexts are somebody's data: nobody else on the machine can read them, from the first start on."""
    with running_server(tmp_path, "") as server:
        learn(server.client, 3, "e")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("banditd.db*")}

    assert set(modes.values()) == {0o600}
    assert {"banditd.db", "banditd.db-wal", "banditd.db.keys"} <= set(modes)


def test_a_client_that_does_not_read_is_not_written_to_for_ever(tmp_path: Path) -> None:
    """Pipelined requests whose answers nobody takes are left in the socket, not answered into memory."""
    with running_server(tmp_path, "") as server:
        before = _memory_kib(server.pid)
        with server.client.connect() as connection:
            connection.settimeout(1.0)
            with contextlib.suppress(TimeoutError):
                for _ in range(100):
                    connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            grown = _memory_kib(server.pid) - before

        assert server.client.get("/healthz").status == 200
    assert grown < 50_000


def _memory_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
