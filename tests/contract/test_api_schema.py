"""What nobody thought of: requests made from the OpenAPI document, from any JSON and from any bytes."""

import http.client
import json
import re
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api_client import Client, ServerProcess

SETTINGS = Path(__file__).with_name("schemathesis.toml")
POSTS = ["/v1/rank", "/v1/rank/batch", "/v1/reward", "/v1/reward/batch", "/v1/events/x/activate", "/v1/evaluations"]
GOOD = {"actions": [{"id": "a", "features": {"x": 1}}, {"id": "b"}], "context": {"y": "z"}}

numbers = st.integers() | st.floats() | st.sampled_from([10**30, -(10**400), 1e308, 5e-324, -0.0, 2**63, 2**64, 1e9])
scalars = st.none() | st.booleans() | numbers | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5), max_leaves=30
)
# Mostly right: each field is what it should be, or something else.
rank_requests = st.fixed_dictionaries(
    {
        "actions": st.lists(
            st.fixed_dictionaries({"id": st.text() | values}, optional={"features": values, "x": values}), max_size=5
        )
        | values
    },
    optional={
        "context": st.dictionaries(st.text(), values, max_size=5) | values,
        "event_id": st.text() | values,
        "segment": st.sampled_from(["default", "mobile", "beta"]) | values,
        "user": st.text() | values,
        "exclude": st.lists(st.text()) | values,
        "activate": st.booleans() | values,
        "slots": st.lists(
            st.fixed_dictionaries(
                {"id": st.text() | values},
                optional={"features": values, "exclude": st.lists(st.text()) | values, "x": values},
            ),
            max_size=5,
        )
        | values,
        "segments": st.dictionaries(st.sampled_from(["default", "mobile", "beta"]) | st.text(), numbers | values)
        | values,
        "x": values,
    },
)
rewards = st.fixed_dictionaries(
    {"event_id": st.text() | values, "reward": numbers | values},
    optional={"reward_id": st.text() | values, "slot": st.text() | values},
)
requests = rank_requests | rewards | values
bodies = (
    st.binary(max_size=300)
    | st.text(alphabet=string.printable, max_size=300).map(lambda text: text.encode())
    | (requests | st.lists(requests, max_size=4)).map(lambda value: json.dumps(value).encode())
    | st.tuples(requests, st.binary(min_size=1, max_size=3), st.integers(0, 400)).map(
        # A good text with a few bytes of it overwritten.
        lambda parts: (text := json.dumps(parts[0]).encode())[: parts[2]] + parts[1] + text[parts[2] + len(parts[1]) :]
    )
)


@pytest.fixture(scope="module")
def connection(server: ServerProcess) -> Iterator[http.client.HTTPConnection]:
    """Return a connection that is kept from example to example."""
    made = http.client.HTTPConnection("127.0.0.1", server.client.port, timeout=20)
    yield made
    made.close()


@pytest.mark.timeout(300)
def test_requests_made_from_the_document(server: ServerProcess, tmp_path: Path) -> None:
    """Hundreds of requests made from the document, right and wrong, get replies that it describes, and never a 5xx."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS), "run", "--no-color"]
    limits = ["--max-examples", "40", "--seed", "1", "--generation-database", "none"]

    run = subprocess.run(
        [*command, *limits, f"http://127.0.0.1:{server.client.port}/openapi.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    generated, passed = re.findall(r"^ +(\d+) generated, (\d+) passed$", run.stdout, re.MULTILINE)[0]
    assert int(generated) == int(passed) >= 500


@given(path=st.sampled_from(POSTS), body=bodies)
def test_no_body_is_a_fault_of_ours(connection: http.client.HTTPConnection, path: str, body: bytes) -> None:
    """Any bytes posted anywhere get an answer below 500, in JSON, in one of the two shapes."""
    connection.request("POST", path, body=body)
    reply = connection.getresponse()
    answer: dict[str, Any] = json.loads(reply.read())

    assert reply.status < 500
    if reply.status >= 400:
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert answer["status"] == reply.status
    assert all(result["status"] < 500 for result in answer.get("results", []))


@given(context=st.dictionaries(st.text(), values, max_size=5), features=st.dictionaries(st.text(), values, max_size=5))
def test_any_features_leave_the_distribution_whole(server: ServerProcess, context: Any, features: Any) -> None:
    """Whatever a context and an action hold, they are refused, or ranked with probabilities that sum to 1."""
    request = {"context": context, "actions": [{"id": "a", "features": features}, {"id": "b"}]}
    reply = server.client.post("/v1/rank", request)

    if reply.status == 200:
        assert sum(entry["probability"] for entry in reply.json["ranking"]) == pytest.approx(1.0, abs=1e-5)
        assert server.client.post("/v1/reward", {"event_id": reply.json["event_id"], "reward": 1}).status == 200
    else:
        assert reply.status in {400, 422}


def test_server_is_as_good_as_before(server: ServerProcess, api: Client) -> None:
    """After all that the server ranks, learns, and has no traceback in its log."""
    answer = api.post("/v1/rank", GOOD)

    assert answer.status == 200
    assert api.post("/v1/reward", {"event_id": answer.json["event_id"], "reward": 0.5}).json == {"status": "joined"}
    assert "exc_type" not in server.log
