"""`banditd verify` and `banditd export` as an operator runs them: beside a server that runs, and on a copy."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.api_client import Client, ServerProcess, running_server

CONFIG = """
[reward]
wait = "3s"
[[segments]]
name = "news"
policy = { kind = "vw" }
[[segments]]
name = "sport"
policy = { kind = "vw" }
[[segments]]
name = "home"
policy = { kind = "thompson" }
pooling = "own"
reward = { slots = "all" }
[default]
policy = { kind = "epsilon_greedy" }
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-m", "banditd", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def traffic(client: Client, n: int, prefix: str) -> None:
    """Rank and reward: alone, shared, mixed, in slots, deferred."""
    rng = random.Random(prefix)  # noqa: S311 - of a test
    actions = [{"id": name, "features": {"price": price}} for name, price in (("a", 1), ("b", 2), ("c", 3))]
    for i in range(n):
        event_id = f"{prefix}{i}"
        segment = rng.choice(["news", "sport", "home", "default"])
        body: dict[str, Any] = {"event_id": event_id, "actions": actions, "context": {"hour": i % 5}}
        if rng.random() < 0.2:
            body["segments"] = {"news": 1, "sport": 2, "home": 1}
        else:
            body["segment"] = segment
            if segment == "home":
                body["slots"] = [{"id": "left"}, {"id": "right"}]
        body["activate"] = rng.random() > 0.1
        assert client.post("/v1/rank", body).status == 200
        if rng.random() < 0.7:
            assert client.post("/v1/reward", {"event_id": event_id, "reward": rng.random()}).status == 200


@contextlib.contextmanager
def verifying(folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Verify again and again while something goes on; yield what will hold what was found."""
    found: list[dict[str, Any]] = []
    ends = threading.Event()

    def work() -> None:
        while not ends.is_set():
            found.append(json.loads(run(folder, "verify", "--json").stdout))

    thread = threading.Thread(target=work)
    thread.start()
    yield found
    ends.set()
    thread.join()


def reloaded(server: ServerProcess, config: str) -> None:
    """Let a server read a changed configuration, and wait until it is in force."""
    (server.folder / "banditd.toml").write_text(config)
    n_before = server.log.count('"reloaded"')
    os.kill(server.pid, signal.SIGHUP)
    give_up_at = time.monotonic() + 20.0
    while server.log.count('"reloaded"') == n_before:
        assert time.monotonic() < give_up_at, server.log
        time.sleep(0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a server that was reloaded, lost its journal, was started again and ended."""
    folder = tmp_path_factory.mktemp("verify")
    with running_server(folder, CONFIG) as server:
        traffic(server.client, 120, "a")
        reloaded(server, CONFIG.replace("thompson", "ucb").replace("3s", "2s"))
        traffic(server.client, 60, "b")
        with verifying(folder) as found:
            n_busy = 0
            while len(found) < 3:
                traffic(server.client, 10, f"busy{n_busy}-")
                n_busy += 10
        (folder / "busy.json").write_text(json.dumps(found))
        journal = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])
        os.kill(journal, signal.SIGKILL)
        give_up_at = time.monotonic() + 20.0
        while server.client.get("/readyz").status != 200 or "journal_restarted" not in server.log:
            assert time.monotonic() < give_up_at, server.log
            time.sleep(0.05)
        (folder / "live.count").write_text(str(180 + n_busy))
        (folder / "live.json").write_text(run(folder, "verify", "--config", "banditd.toml", "--json").stdout)
        (folder / "live.jsonl").write_text(run(folder, "export", "--format", "jsonl", "--output", "-").stdout)
    with running_server(folder, CONFIG) as server:
        traffic(server.client, 60, "c")
        time.sleep(3.2)  # all windows close
    return folder


def test_a_store_is_verified_beside_its_server(folder: Path) -> None:
    """While the server runs, everything that it has decided so far is as it was, down to the draws."""
    found = json.loads((folder / "live.json").read_text())

    assert found["ok"] is True
    assert found["decisions"] == int((folder / "live.count").read_text())
    assert found["draws"] == {"repeated": found["draws"]["repeated"], "without_key": 0}
    assert found["draws"]["repeated"] > found["distributions"]["exact"] > found["decisions"]
    assert found["unchecked"] == {}


def test_a_store_is_verified_while_its_server_decides(folder: Path) -> None:
    """What comes during the check is left for the next one; nothing of it is taken for a problem."""
    found = json.loads((folder / "busy.json").read_text())

    assert [one["first"] for one in found] == [[]] * len(found)
    assert [one["unchecked"] for one in found] == [{}] * len(found)
    assert 180 <= found[0]["decisions"] < found[1]["decisions"] < found[2]["decisions"]


def test_an_export_to_standard_output_is_made_beside_the_server(folder: Path) -> None:
    """Standard output holds the lines and nothing else."""
    lines = [json.loads(line) for line in (folder / "live.jsonl").read_text().splitlines()]

    assert len(lines) == int((folder / "live.count").read_text())
    assert {line["segment"] for line in lines} == {"news", "sport", "home", "default"}


def test_a_reader_that_has_enough_ends_the_export(folder: Path) -> None:
    """A pipe that is closed early, as by ``head``, is no error."""
    command = f"{sys.executable} -m banditd export --format jsonl --output - | head -c 100"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0
    assert len(done.stdout) == 100
    assert done.stderr == b""


def test_verify_says_what_it_checked(folder: Path) -> None:
    """After restarts and reloads all is as it was, and the sentences say how much that is."""
    done = run(folder, "verify")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"banditd.db: {60 + int((folder / 'live.count').read_text())} decisions, ")
    assert done.stdout.endswith("everything that was checked is as it was\n")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        pytest.param(
            "UPDATE decisions SET body = CAST(replace(CAST(body AS TEXT), '\"hour\":', '\"hour\": ') AS BLOB)"
            " WHERE event_id = 'b30'",
            "outcome",
            id="a blank in a context",
        ),
        pytest.param(
            "UPDATE outcomes SET reward = reward + 1e-12 WHERE decision_id ="
            " (SELECT id FROM decisions WHERE event_id = 'b30')",
            "outcome",
            id="a reward",
        ),
    ],
)
def test_a_changed_copy_is_found_out(folder: Path, tmp_path: Path, statement: str, kind: str) -> None:
    """One byte or one bit of what was stored is enough to end with 1 and the event that it is about."""
    shutil.copy(folder / "banditd.db", tmp_path)
    shutil.copy2(folder / "banditd.db.keys", tmp_path)
    connection = apsw.Connection(str(tmp_path / "banditd.db"))
    connection.execute(statement)
    had_outcome = connection.execute(
        "SELECT count(*) FROM outcomes o JOIN decisions d ON d.id = o.decision_id WHERE event_id = 'b30'"
    ).fetchall()
    connection.close()

    done = run(tmp_path, "verify")

    assert had_outcome != [(0,)]
    assert done.returncode == 1
    assert "NOT AS IT WAS" in done.stdout
    assert f"  {kind}: event 'b30'" in done.stdout


def test_verify_refuses_what_it_cannot_do(folder: Path, tmp_path: Path) -> None:
    """A store that is not there, an unknown lane and a missing key file end with 2, and nothing is made."""
    store = str(folder / "banditd.db")

    missing = run(tmp_path, "verify")
    lane = run(tmp_path, "verify", "--store", store, "--lane", "nowhere/main")
    keys = run(tmp_path, "verify", "--store", store, "--keys", "no.keys")

    assert [missing.returncode, lane.returncode, keys.returncode] == [2, 2, 2]
    assert "there is no store at banditd.db" in missing.stderr
    assert "there is no lane 'nowhere/main'; there are default/main, home/main, news/main, sport/main" in lane.stderr
    assert "--keys: there is no file no.keys" in keys.stderr
    assert list(tmp_path.iterdir()) == []
