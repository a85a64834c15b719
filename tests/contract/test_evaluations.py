"""Evaluations as a client asks a real server for them: their results, their refusals, and what they leave to others."""

import contextlib
import http.client
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api_client import Client, ServerProcess, running_server
from tests.replay_worlds import assert_alike

ROOT = Path(__file__).parents[2]
KEY = "key-of-the-evaluations"
CONFIG = f"""
[server]
keys = ["{KEY}"]

[evaluations]
memory_mib = 1000

[[segments]]
name = "news"
policy = {{ kind = "epsilon_greedy", epsilon = 0.5 }}
pooling = "own"

[[segments]]
name = "page"
policy = {{ kind = "epsilon_greedy" }}
reward = {{ slots = "all" }}

[default]
policy = {{ kind = "epsilon_greedy", epsilon = 0.3 }}
pooling = "own"
"""
POLICIES: dict[str, Any] = {
    "curious": {"kind": "epsilon_greedy", "epsilon": 0.2},
    "warm": "thompson",
    "worker": {"kind": "vw", "exploration": "squarecb"},
}
# What the processor is busy with for some seconds, whatever it is.
LONG: dict[str, Any] = {f"vw{i}": {"kind": "vw", "learning_rate": 0.1 * (i + 1)} for i in range(30)}
A_WHILE_S = 100.0  # a process that has the lowest priority, on a machine that has other work
SHOWS = {"a": 0.2, "b": 0.4, "c": 0.6}
GRACE_S = 10.0


def until(condition: Callable[[], Any], *, within_s: float = A_WHILE_S) -> Any:
    """Return what `condition` returns once it is true."""
    give_up_at = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < give_up_at, f"not within {within_s} s"
        time.sleep(0.02)
    return found


def traffic(client: Client, n: int, prefix: str) -> None:
    """Rank n times for each of two segments, and reward nine of ten."""
    rng = random.Random(prefix)  # noqa: S311 - of a test
    actions = [{"id": name, "features": {"price": i}} for i, name in enumerate(SHOWS)]
    for start in range(0, n, 50):
        ranks = [
            {"event_id": f"{prefix}-{name}-{i}", "segment": name, "context": {"hour": i % 4}, "actions": actions}
            for i in range(start, start + 50)
            for name in ("news", "default")
        ]
        answers = [item["result"] for item in client.post("/v1/rank/batch", ranks).json["results"]]
        rewards = [
            {"event_id": answer["event_id"], "reward": float(rng.random() < SHOWS[answer["chosen"]])}
            for answer in answers
            if rng.random() < 0.9
        ]
        assert client.post("/v1/reward/batch", rewards).status == 200


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server that has decided 2,000 times."""
    with running_server(tmp_path_factory.mktemp("host"), CONFIG) as process:
        traffic(Client(port=process.client.port, key=KEY), 1_000, "x")
        yield process


@pytest.fixture
def api(host: ServerProcess) -> Client:
    """Return a client of `host`."""
    return Client(port=host.client.port, key=KEY)


def asked(api: Client, **fields: Any) -> str:
    """Ask for an evaluation; return its path."""
    reply = api.post("/v1/evaluations", {"policies": POLICIES, **fields})
    assert reply.status == 202, reply.body
    return reply.headers["location"]


def ended(api: Client, path: str) -> dict[str, Any]:
    """Wait until an evaluation has ended."""
    until(lambda: api.get(path).json["state"] not in ("queued", "running"))
    info: dict[str, Any] = api.get(path).json
    return info


def process_of(server_pid: int, *, but: int = 0) -> int:
    """Wait until an evaluation's process runs; return its id."""

    def found() -> int:
        for pid in Path(f"/proc/{server_pid}/task/{server_pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if b"banditd.evaluating.confined" in Path(f"/proc/{pid}/cmdline").read_bytes() and int(pid) != but:
                    return int(pid)
        return 0

    pid: int = until(found)
    return pid


def is_alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def metric(api: Client, name: str) -> float:
    """Return a number among the metrics."""
    return float(re.findall(rf"^banditd_{name} (\S+)$", api.get("/metrics").body.decode(), re.MULTILINE)[0])


@pytest.mark.timeout(300)
def test_results_are_those_of_the_command_line(host: ServerProcess, api: Client) -> None:
    """The same question has the same answer, but for last digits, asked here and on the command line."""
    before = metric(api, "evaluations_done")
    path = asked(api, estimators=["ips", "snips", "dr"], by=["segment"], level=0.9, seed=3, baseline="curious")
    command = [sys.executable, "-m", "banditd", "replay", "--store", "banditd.db", "--json", "told.json"]
    policies = [
        f"--policy={name}={json.dumps(spec) if isinstance(spec, dict) else spec}" for name, spec in POLICIES.items()
    ]
    options = ["--estimator=ips,snips,dr", "--by=segment", "--level=0.9", "--seed=3", "--baseline=curious"]

    info = ended(api, path)
    subprocess.run(
        [*command, *policies, *options],
        cwd=host.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )

    assert info["state"] == "done", info
    assert_alike(info["result"], json.loads((host.folder / "told.json").read_text()))
    assert info["result"]["events"] > 1_500
    assert info["result"]["dropped"]["window_open"] > 50
    assert set(info["result"]["policies"]) == {*POLICIES, "logged", "baseline1", "uniform"}
    assert set(info["result"]["policies"]["warm"]["estimates"]) == {"ips", "snips", "dr"}
    assert metric(api, "evaluations_done") == before + 1
    report = api.get(f"{path}/report")
    assert (report.status, report.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in report.headers["content-security-policy"]
    assert b"curious" in report.body
    assert b"</html>" in report.body


@pytest.mark.timeout(300)
def test_ranks_go_on_while_one_runs(host: ServerProcess, api: Client) -> None:
    """While an evaluation takes what processor it can get, each rank is answered 200, and no later for it."""

    def rank_for(connection: http.client.HTTPConnection, name: str, condition: Callable[[int], bool]) -> list[float]:
        taken_s: list[float] = []
        body = {"segment": "news", "actions": [{"id": action} for action in SHOWS], "context": {"hour": 1}}
        while condition(len(taken_s)):
            began = time.perf_counter()
            sent = json.dumps({**body, "event_id": f"{name}-{len(taken_s)}"})
            connection.request("POST", "/v1/rank", body=sent, headers={"Authorization": f"Bearer {KEY}"})
            reply = connection.getresponse()
            reply.read()
            taken_s.append(time.perf_counter() - began)
            assert reply.status == 200
        return taken_s

    connection = http.client.HTTPConnection("127.0.0.1", host.client.port, timeout=20)
    alone = rank_for(connection, "alone", lambda n: n < 500)
    path = asked(api, policies=LONG)
    pid = process_of(host.pid)
    until(lambda: api.get(path).json["progress"]["events"] > 0)
    beside = rank_for(connection, "beside", lambda n: n < 500 and is_alive(pid))
    progress = api.get(path).json["progress"]
    api.call("DELETE", path)
    connection.close()

    assert len(beside) > 200
    assert 0 < progress["events"] <= progress["of"]
    assert statistics.median(beside) < 3 * statistics.median(alone) + 0.01
    assert sorted(beside)[int(0.9 * len(beside))] < 0.1


@pytest.mark.timeout(300)
def test_its_process_takes_what_is_left_and_ends_when_it_is_cancelled(host: ServerProcess, api: Client) -> None:
    """It runs at the lowest priority, with a bound on its memory and one thread; cancelled, it is gone."""
    before = metric(api, "evaluations_cancelled")
    path = asked(api, policies=LONG, evaluation_id="to be cancelled/ü")
    pid = process_of(host.pid)
    until(lambda: api.get(path).json["progress"]["events"] > 0)
    status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    running = metric(api, "evaluations_running")
    limits = Path(f"/proc/{pid}/limits").read_text()
    first_to_go = Path(f"/proc/{pid}/oom_score_adj").read_text().strip()

    reply = api.call("DELETE", path)

    assert not is_alive(pid)
    assert path == "/v1/evaluations/to%20be%20cancelled%2F%C3%BC"
    assert reply.json == {"evaluation_id": "to be cancelled/ü", "status": "cancelled"}
    assert api.get(path).json["state"] == "cancelled"
    assert status[16] == "19"
    assert first_to_go == "1000"
    assert re.search(rf"Max data size +{1000 * 1_048_576} +{1000 * 1_048_576}", limits)
    assert b"OMP_NUM_THREADS=1" in environment
    assert (running, metric(api, "evaluations_running")) == (1.0, 0.0)
    assert metric(api, "evaluations_cancelled") == before + 1
    assert api.call("DELETE", path).json["status"] == "forgotten"
    assert api.get(path).status == 404


@pytest.mark.timeout(300)
def test_a_log_without_an_answer_is_a_failure_that_says_so(api: Client) -> None:
    """Where the command line would refuse, the evaluation fails with its sentence."""
    slots = [{"id": "left"}, {"id": "right"}]
    request = {"event_id": "page", "actions": [{"id": "a"}, {"id": "b"}], "slots": slots, "segment": "page"}
    assert api.post("/v1/rank", request).status == 200
    assert api.post("/v1/reward", {"event_id": "page", "reward": 1}).status == 200

    info = ended(api, asked(api, policies={"a": "uniform"}, segment="page", question="deployed"))

    assert info["state"] == "failed", info
    detail = "question: cannot be `deployed` for decisions with several slots"
    assert info["error"] == {"code": "refused", "detail": detail}


@pytest.mark.timeout(300)
def test_one_that_needs_more_memory_than_it_may_have_fails(tmp_path: Path) -> None:
    """Beyond `memory_mib` an evaluation ends and says so; the server goes on."""
    narrow = CONFIG.replace("keys = ", "# keys = ").replace("memory_mib = 1000", "memory_mib = 256")
    with running_server(tmp_path, narrow) as server:
        traffic(server.client, 100, "x")
        info = ended(server.client, asked(server.client, policies={"large": {"kind": "vw", "bits": 24}}))
        ready = server.client.get("/readyz").status

    assert (info["state"], info.get("error", {}).get("code")) == ("failed", "out_of_memory"), info
    assert ready == 200


def test_a_request_is_answered_once(api: Client) -> None:
    """The same id with the same request is the same evaluation; with another it is refused."""
    request = {"evaluation_id": "once", "policies": {"a": "uniform"}, "segment": "news"}

    first, again = [api.post("/v1/evaluations", request) for _ in range(2)]
    other = api.post("/v1/evaluations", {**request, "segment": "default"})

    assert (first.status, again.status) == (202, 202)
    assert first.json["created_at"] == again.json["created_at"]
    assert (other.status, other.json["code"], other.json["field"]) == (409, "evaluation_id_reused", "evaluation_id")
    ids = [info["evaluation_id"] for info in api.get("/v1/evaluations").json["evaluations"]]
    assert ids.count("once") == 1
    api.call("DELETE", "/v1/evaluations/once")


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"", 400, "malformed_json", None),
        (b"{", 400, "malformed_json", None),
        ([], 422, "invalid_value", None),
        ({}, 422, "invalid_value", "policies"),
        ({"policies": ["uniform"]}, 422, "invalid_value", "policies"),
        ({"policies": {"a": "uniform", "b": 3}}, 422, "invalid_value", "policies"),
        (b'{"policies": {"a": {"kind": "vw", "bits": 1e999}}}', 422, "number_not_finite", "policies"),
        ({"policies": {"a": "uniform"}, "wings": 2}, 422, "invalid_value", "wings"),
        ({"policies": {"a": "uniform"}, "level": 1}, 422, "invalid_value", "level"),
        ({"policies": {"a": "uniform"}, "level": "high"}, 422, "invalid_value", "level"),
        ({"policies": {"a": "uniform"}, "by": ["week"]}, 422, "invalid_value", "by[0]"),
        ({"policies": {"a": "uniform"}, "question": "why"}, 422, "invalid_value", "question"),
        ({"policies": {"a": "uniform"}, "seed": -1}, 422, "invalid_value", "seed"),
        ({"policies": {"a": "uniform"}, "since": -1}, 422, "invalid_value", "since"),
        ({"policies": {"a": "uniform"}, "estimators": []}, 422, "invalid_value", "estimators"),
        ({"policies": {"a": "uniform"}, "estimators": ["luck"]}, 422, "invalid_value", "estimators[0]"),
        ({"policies": {"a": "uniform"}, "estimators": ["dros"]}, 422, "invalid_value", "lam"),
        ({"policies": {"a": "uniform"}, "evaluation_id": ""}, 422, "id_length", "evaluation_id"),
        ({"policies": {"a": "column:x"}}, 422, "invalid_policy", "policies.a"),
        ({"policies": {"a": {"kind": "vw", "bits": 99}}}, 422, "invalid_policy", "policies.a.bits"),
        ({"policies": {"a": "uniform"}, "segment": "nobody"}, 404, "unknown_segment", "segment"),
    ],
    ids=str,
)
def test_rubbish_is_refused_with_its_field(
    host: ServerProcess, api: Client, body: Any, status: int, code: str, field: str | None
) -> None:
    """What is no question is refused before anything is started, and the field at fault is named."""
    before = host.log.count('"evaluation_started"')

    reply = api.post("/v1/evaluations", body)

    assert (reply.status, reply.json["code"], reply.json["field"]) == (status, code, field)
    assert host.log.count('"evaluation_started"') == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/evaluations"),
        ("GET", "/v1/evaluations"),
        ("GET", "/v1/evaluations/x"),
        ("GET", "/v1/evaluations/x/report"),
        ("DELETE", "/v1/evaluations/x"),
    ],
)
def test_each_call_needs_the_key(host: ServerProcess, method: str, path: str) -> None:
    """Without a key nothing is told and nothing done."""
    assert host.client.call(method, path, b"{}" if method == "POST" else None).status == 401


@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("GET", "/report"), ("DELETE", "")])
def test_what_is_not_there_is_not_found(api: Client, method: str, end: str) -> None:
    """An id that nobody gave has nothing behind it."""
    reply = api.call(method, f"/v1/evaluations/nobody{end}")

    assert (reply.status, reply.json["code"]) == (404, "unknown_evaluation")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["told to end", "killed"])
def test_none_outlives_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: signal.Signals) -> None:
    """When the server ends, however it does, what it had started ends too; told to end, it takes its files along."""
    (temporary := tmp_path / "t").mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    expected = (
        contextlib.nullcontext() if ending == signal.SIGTERM else pytest.raises(RuntimeError, match="ended with -9")
    )
    with expected, running_server(tmp_path, CONFIG.replace("keys = ", "# keys = ")) as server:
        traffic(server.client, 500, "x")
        path = asked(server.client, policies=LONG)
        pid = process_of(server.pid)
        until(lambda: server.client.get(path).json["progress"]["events"] > 0)
        assert len(list(temporary.glob("banditd-evaluations-*"))) == 1
        os.kill(server.pid, ending)
        until(lambda: not is_alive(pid), within_s=GRACE_S)

    assert not is_alive(pid)
    assert list(temporary.glob("banditd-evaluations-*/*/result.json")) == [], "it ended by itself"
    assert len(list(temporary.glob("banditd-evaluations-*"))) == (0 if ending == signal.SIGTERM else 1)
