"""The HTTP API's calls, on a real server process: what each does, said twice, said too late."""

import itertools
import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api_client import Client, Reply, ServerProcess, running_server

KEYS = ("first-key-of-the-test", "second-key-of-the-test")
A_WHILE_S = 10.0
PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()


def new_id() -> str:
    """Return an event id that no test has used."""
    return f"event-{uuid.uuid4().hex}"


def ranked(n_actions: int = 3, **fields: object) -> dict[str, Any]:
    """Return a rank request over actions a0, a1 and so on."""
    return {"actions": [{"id": f"a{i}", "features": {"price": i}} for i in range(n_actions)], **fields}


def until(condition: Any, what: str) -> None:
    """Wait until the condition holds."""
    give_up_at = time.monotonic() + A_WHILE_S
    while not condition():
        assert time.monotonic() < give_up_at, f"{what}: not within {A_WHILE_S} s"
        time.sleep(0.01)


def rank(api: Client, request: dict[str, Any]) -> dict[str, Any]:
    """Rank, and return the answer."""
    reply = api.post("/v1/rank", request)
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = reply.json
    return answer


def reward(api: Client, event_id: str, value: float = 1.0, **fields: object) -> Reply:
    """Send a reward."""
    return api.post("/v1/reward", {"event_id": event_id, "reward": value, **fields})


def outcomes(api: Client, segment: str) -> int:
    """Return how many outcomes a segment has."""
    n: int = api.get(f"/v1/segments/{segment}").json["outcomes"]
    return n


def test_actions_may_have_features_and_no_id(api: Client) -> None:
    """They are called by their place, in the answer and in `exclude`, beside actions with an id."""
    actions = [{"features": {"kind": "hat"}}, {"id": "coat"}, {"features": {"kind": "shoe"}}]

    answer = rank(api, {"actions": actions, "exclude": ["#0"], "segment": "default"})

    assert answer["chosen"] in ("coat", "#2")
    assert {entry["id"]: entry["probability"] > 0.0 for entry in answer["ranking"]} == {
        "#0": False,
        "coat": True,
        "#2": True,
    }
    assert reward(api, answer["event_id"]).json == {"status": "joined"}


@pytest.mark.parametrize(
    ("actions", "code", "field"),
    [
        ([{"id": "a"}, {}], "no_features", "actions[1].features"),
        ([{"features": {"x": None}}], "no_features", "actions[0].features"),
        ([{"id": None, "features": {"x": 1}}], "invalid_value", "actions[0].id"),
        ([{"id": "#1"}, {"features": {"x": 1}}], "duplicate_action", "actions[1].id"),
    ],
)
def test_actions_that_nothing_names_are_refused(
    api: Client, actions: list[dict[str, Any]], code: str, field: str
) -> None:
    """An action needs an id or a feature, and its place is no other's id."""
    reply = api.post("/v1/rank", {"actions": actions, "segment": "default"})

    assert (reply.status, reply.json["code"], reply.json["field"]) == (422, code, field)


# -- the reference


def test_request_of_the_reference_is_answered_as_it_shows(api: Client) -> None:
    """The rank that docs/http.md shows works as pasted, and its answer has the fields shown there."""
    request, shown, *_ = [json.loads(block) for block in re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)]

    answer = rank(api, {**request, "event_id": new_id(), "segment": "default"})

    assert set(answer) == set(shown)
    assert [set(entry) for entry in answer["ranking"]] == [set(entry) for entry in shown["ranking"]]
    assert set(answer["version"]) == set(shown["version"])


def test_segment_of_the_reference_has_the_fields_of_a_segment(api: Client) -> None:
    """The segment that docs/http.md shows has the fields that a segment has, but for the one that only some have."""
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)]
    shown = next(block for block in blocks if "outcomes" in block)

    segment = api.get("/v1/segments/mobile").json

    assert set(segment) - {"own_advantage"} == set(shown)  # it is there once the segment has learned by itself
    assert set(segment["reward"]) == set(shown["reward"])
    assert set(shown["policy"]) <= set(segment["policy"])


# -- rank


def test_rank_answers_with_every_field(api: Client) -> None:
    """A rank's answer has the fields that the reference shows, and its window is the segment's."""
    before = time.time()

    answer = rank(api, ranked(context={"hour": 21, "device": "tv"}, user="somebody"))

    assert set(answer) == {"event_id", "segment", "version", "chosen", "ranking", "expires_at"}
    assert answer["segment"] == "default"
    assert answer["version"]["epoch"] == 1
    assert answer["version"]["seq"] >= 0
    assert before + 590 < answer["expires_at"] < time.time() + 610


@pytest.mark.parametrize("segment", ["default", "mobile", "beta"])
def test_ranking_holds_every_action_in_order(api: Client, segment: str) -> None:
    """The chosen action stands first, then the others by probability, equal ones as sent; all sum to 1."""
    for _ in range(20):
        answer = rank(api, ranked(7, segment=segment))
        ids = [entry["id"] for entry in answer["ranking"]]
        probabilities = [entry["probability"] for entry in answer["ranking"]]
        rest = list(zip(probabilities[1:], ids[1:], strict=True))

        assert sorted(ids) == [f"a{i}" for i in range(7)]
        assert ids[0] == answer["chosen"]
        assert probabilities[0] > 0
        assert sum(probabilities) == pytest.approx(1.0, abs=1e-5)
        assert rest == sorted(rest, key=lambda entry: (-entry[0], entry[1]))


def test_excluded_actions_stand_last_with_zero(api: Client) -> None:
    """An excluded action is never chosen, has probability 0 and comes after all others, as sent."""
    for _ in range(20):
        answer = rank(api, ranked(6, exclude=["a4", "a1"]))

        assert [entry["id"] for entry in answer["ranking"][4:]] == ["a1", "a4"]
        assert [entry["probability"] for entry in answer["ranking"][4:]] == [0.0, 0.0]
        assert sum(entry["probability"] for entry in answer["ranking"]) == pytest.approx(1.0, abs=1e-5)
        assert answer["chosen"] in {"a0", "a2", "a3", "a5"}


def test_one_action_is_chosen_for_sure(api: Client) -> None:
    """A request with a single action gets it with probability 1."""
    assert rank(api, ranked(1))["ranking"] == [{"id": "a0", "probability": pytest.approx(1.0)}]


def test_rank_without_event_id_gets_a_new_one(api: Client) -> None:
    """Two requests without an event id are two decisions."""
    assert rank(api, ranked())["event_id"] != rank(api, ranked())["event_id"]


def test_rule_picks_the_segment_and_a_name_wins_over_it(api: Client) -> None:
    """The first rule that matches decides, unless the request names a segment."""
    assert rank(api, ranked(context={"device": "mobile"}))["segment"] == "mobile"
    assert rank(api, ranked(context={"device": "tv"}))["segment"] == "default"
    assert rank(api, ranked(context={"device": "mobile"}, segment="summed"))["segment"] == "summed"


def test_same_event_id_returns_the_first_answer(api: Client) -> None:
    """A repeated rank answers as the first did, though the policy has learned since."""
    request = ranked(5, event_id=new_id())
    first = rank(api, request)
    assert reward(api, rank(api, ranked(5))["event_id"]).status == 200

    assert rank(api, request) == first


def test_same_request_may_be_written_otherwise(api: Client) -> None:
    """White space, the order of keys and the escapes of a string make no other request."""
    event_id = new_id()
    request = {
        "event_id": event_id,
        "context": {"b": 1.5, "a": {"y": "ü", "x": [1, 2]}},
        "actions": [{"features": {"q": 2, "p": True}, "id": "a"}, {"id": "b", "features": {}}],
        "activate": True,
    }
    first = rank(api, request)

    for indent, ascii_only in itertools.product((None, 3), (False, True)):
        for sort_keys in (False, True):
            text = json.dumps(request, indent=indent, sort_keys=sort_keys, ensure_ascii=ascii_only)
            assert api.post("/v1/rank", text.encode()).json == first


@pytest.mark.parametrize(
    "change",
    [
        {"context": {"hour": 22}},
        {"actions": [{"id": "a1"}, {"id": "a0"}]},
        {"actions": [{"id": "a0", "features": {"price": 1}}, {"id": "a1"}]},
        {"exclude": ["a1"]},
        {"activate": False},
        {"user": "another"},
        {"segment": "mobile"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_same_event_id_with_another_request_is_refused(api: Client, change: dict[str, Any]) -> None:
    """An event id answers for one request only: any other is a conflict, and the first one still stands."""
    request = {
        "event_id": new_id(),
        "context": {"hour": 21},
        "actions": [{"id": "a0"}, {"id": "a1"}],
        "user": "somebody",
    }
    first = rank(api, request)

    reply = api.post("/v1/rank", {**request, **change})

    assert (reply.status, reply.json["code"], reply.json["field"]) == (409, "event_id_reused", "event_id")
    assert rank(api, request) == first


# -- reward


def test_reward_joins_and_is_learned_from(api: Client) -> None:
    """A reward is joined at once, and a later rank says that it has learned from it."""
    answer = rank(api, ranked(segment="mobile"))
    before = answer["version"]["seq"]

    assert reward(api, answer["event_id"]).json == {"status": "joined"}

    until(lambda: rank(api, ranked(segment="mobile"))["version"]["seq"] > before, "learned from the reward")


def test_second_reward_is_a_duplicate(api: Client) -> None:
    """Where the earliest reward counts, a second one changes nothing, whatever its id."""
    event_id = rank(api, ranked(segment="mobile"))["event_id"]
    assert reward(api, event_id, reward_id="one").json == {"status": "joined"}
    count = outcomes(api, "mobile")

    assert reward(api, event_id, reward_id="one").json == {"status": "duplicate"}
    assert reward(api, event_id, 0.0, reward_id="two").json == {"status": "duplicate"}
    assert reward(api, event_id, 0.0).json == {"status": "duplicate"}
    assert outcomes(api, "mobile") == count


def test_summed_rewards_wait_and_each_id_counts_once(api: Client) -> None:
    """Where rewards are summed each is kept until the window closes; the same reward id is a duplicate."""
    event_id = rank(api, ranked(segment="summed"))["event_id"]

    answers = [
        reward(api, event_id, 1.0, reward_id="one"),
        reward(api, event_id, 1.0, reward_id="one"),
        reward(api, event_id, 2.0, reward_id="two"),
        reward(api, event_id, 2.0),
    ]

    assert [answer.json["status"] for answer in answers] == ["pending", "duplicate", "pending", "pending"]
    assert outcomes(api, "summed") == 0


def test_reward_for_an_unknown_event_is_not_found(api: Client) -> None:
    """A reward without a decision is refused."""
    reply = reward(api, new_id())

    assert (reply.status, reply.json["code"], reply.json["field"]) == (404, "unknown_event", "event_id")


def test_reward_beyond_the_policy_is_refused(api: Client) -> None:
    """A reward that the segment's policy cannot learn from is refused, and a right one is still taken."""
    event_id = rank(api, ranked(segment="beta"))["event_id"]

    reply = reward(api, event_id, 1.5)

    assert (reply.status, reply.json["code"], reply.json["field"]) == (422, "reward_out_of_range", "reward")
    assert reward(api, event_id, 1.0).json == {"status": "joined"}


def test_window_closes_with_the_default_reward(api: Client) -> None:
    """A decision whose window closes counts with the default reward, and a reward after that is too late."""
    before = api.get("/v1/segments/brief").json
    event_id = rank(api, ranked(segment="brief"))["event_id"]

    until(lambda: outcomes(api, "brief") == before["outcomes"] + 1, "the window closed")
    reply = reward(api, event_id)

    assert (reply.status, reply.json["code"], reply.json["field"]) == (410, "window_closed", "event_id")
    after = api.get("/v1/segments/brief").json
    assert after["outcomes"] == before["outcomes"] + 1
    until(lambda: api.get("/v1/segments/brief").json["version"]["seq"] == after["outcomes"], "folded in")
    assert api.get("/v1/segments/brief").json["reward"]["mean"] == pytest.approx(-0.5)


# -- activation


def test_deferred_decision_is_learned_from_once_activated(api: Client) -> None:
    """A reward before the activation is pending and makes no outcome; the activation makes it."""
    event_id = rank(api, ranked(segment="mobile", activate=False))["event_id"]
    count = outcomes(api, "mobile")
    assert reward(api, event_id).json == {"status": "pending"}
    assert outcomes(api, "mobile") == count

    reply = api.post(f"/v1/events/{event_id}/activate")

    assert (reply.status, reply.json) == (200, {"event_id": event_id, "status": "activated"})
    assert outcomes(api, "mobile") == count + 1
    assert api.post(f"/v1/events/{event_id}/activate").json == reply.json
    assert reward(api, event_id).json == {"status": "duplicate"}
    assert outcomes(api, "mobile") == count + 1


def test_activated_first_then_rewarded(api: Client) -> None:
    """An activated decision takes its reward as any other does."""
    event_id = rank(api, ranked(segment="mobile", activate=False))["event_id"]
    assert api.post(f"/v1/events/{event_id}/activate").status == 200

    assert reward(api, event_id).json == {"status": "joined"}


def test_decision_that_is_never_activated_lapses(api: Client) -> None:
    """Without its activation a decision makes no outcome when its window closes, and stays lapsed."""
    lapsing = rank(api, ranked(segment="brief", activate=False))["event_id"]
    rewarded = rank(api, ranked(segment="brief", activate=False))["event_id"]
    assert reward(api, rewarded).json == {"status": "pending"}
    count = outcomes(api, "brief")
    rank(api, ranked(segment="brief"))  # its window closes later, so when it has, so have the others

    until(lambda: outcomes(api, "brief") > count, "the window closed")

    assert outcomes(api, "brief") == count + 1
    for event_id in (lapsing, rewarded):
        late = api.post(f"/v1/events/{event_id}/activate")
        assert (late.status, late.json["code"]) == (410, "window_closed")
    assert reward(api, lapsing).status == 410
    assert reward(api, rewarded).json == {"status": "duplicate"}  # a repeated reward is answered as one, however late
    assert outcomes(api, "brief") == count + 1


def test_activation_of_an_unknown_event_is_not_found(api: Client) -> None:
    """There is nothing to activate without a decision."""
    reply = api.post(f"/v1/events/{new_id()}/activate")

    assert (reply.status, reply.json["code"]) == (404, "unknown_event")


@pytest.mark.parametrize("event_id", ["a/b", "a b", "ä%2F", "?x=1#y", "activate", "..", "%"])
def test_event_id_in_the_path_is_percent_encoded(api: Client, event_id: str) -> None:
    """An id with characters that mean something in a path can be activated."""
    event_id = f"{event_id}{uuid.uuid4().hex}{event_id}"
    rank(api, ranked(event_id=event_id, activate=False))
    encoded = "".join(f"%{byte:02x}" for byte in event_id.encode())

    assert api.post(f"/v1/events/{encoded}/activate").json == {"event_id": event_id, "status": "activated"}


# -- batches


def test_rank_batch_answers_each_item_in_order(api: Client) -> None:
    """Each item is answered as it would be alone, and a bad one changes nothing for the others."""
    first, second = new_id(), new_id()

    reply = api.post(
        "/v1/rank/batch",
        [
            ranked(event_id=first),
            ranked(0),
            ranked(event_id=second, segment="mobile"),
            ranked(event_id=first),
            ranked(2, event_id=first),
            ranked(segment="nowhere"),
            "no object",
        ],
    )

    results = reply.json["results"]
    assert reply.status == 200
    # Which of the two requests with the first id wins is settled by their order.
    assert [result["status"] for result in results] == [200, 422, 200, 200, 409, 404, 422]
    assert results[0]["result"] == results[3]["result"]
    assert results[2]["result"]["segment"] == "mobile"
    assert results[1]["error"]["code"] == "action_count"
    assert rank(api, ranked(event_id=first)) == results[0]["result"]
    assert rank(api, ranked(event_id=second, segment="mobile")) == results[2]["result"]


def test_reward_batch_is_never_all_or_nothing(api: Client) -> None:
    """Good rewards count although others in the list are refused."""
    event_id = rank(api, ranked(segment="mobile"))["event_id"]

    reply = api.post(
        "/v1/reward/batch",
        [
            {"event_id": new_id(), "reward": 1},
            {"event_id": event_id, "reward": 1},
            {"event_id": event_id, "reward": 1},
            {"event_id": event_id},
        ],
    )

    results = reply.json["results"]
    assert reply.status == 200
    assert [result["status"] for result in results] == [404, 200, 200, 422]
    assert [result["result"]["status"] for result in results[1:3]] == ["joined", "duplicate"]
    assert results[3]["error"]["field"] == "reward"


@pytest.mark.parametrize("path", ["/v1/rank/batch", "/v1/reward/batch"])
def test_empty_batch_is_fine(api: Client, path: str) -> None:
    """An empty list gets an empty list."""
    assert api.post(path, []).json == {"results": []}


# -- segments and the rest


def test_segments_are_listed_in_order(api: Client) -> None:
    """All segments are told, as their rules stand, the default one last."""
    segments = api.get("/v1/segments").json["segments"]

    assert [segment["name"] for segment in segments] == ["mobile", "brief", "summed", "page", "beta", "default"]
    assert {segment["policy"]["kind"] for segment in segments} == {"epsilon_greedy", "thompson", "vw"}


def test_segment_counts_decisions_and_outcomes(api: Client) -> None:
    """A segment tells how many decisions and outcomes it has, and the mean of their rewards."""
    before = api.get("/v1/segments/beta").json
    events = [rank(api, ranked(segment="beta"))["event_id"] for _ in range(3)]
    for event_id in events[:2]:
        assert reward(api, event_id, 1.0).status == 200

    after = api.get("/v1/segments/beta").json

    assert after["decisions"] == before["decisions"] + 3
    assert after["outcomes"] == before["outcomes"] + 2
    assert set(after["reward"]) == {"mean", "lower", "upper"}
    assert "state" not in after


def test_digest_of_the_state_is_told_when_asked(api: Client) -> None:
    """`?digest=true` names the state; asking twice, or ranking in between, does not change it."""
    first = api.get("/v1/segments/beta?digest=true").json
    rank(api, ranked(segment="beta"))
    second = api.get("/v1/segments/beta?digest=true").json

    assert first["state"]["seq"] == first["version"]["seq"]
    assert len(bytes.fromhex(first["state"]["digest"])) == 16
    if second["version"] == first["version"]:
        assert second["state"] == first["state"]


def test_unknown_segment_is_not_found(api: Client) -> None:
    """A segment that is not configured is refused, wherever it is named."""
    assert api.get("/v1/segments/nowhere").json["code"] == "unknown_segment"
    reply = api.post("/v1/rank", ranked(segment="nowhere"))
    assert (reply.status, reply.json["code"], reply.json["field"]) == (404, "unknown_segment", "segment")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs", "/metrics", "/v1/segments"])
def test_head_is_get_without_its_body(api: Client, path: str) -> None:
    """HEAD answers with the headers of GET and no body."""
    head, get = api.call("HEAD", path), api.get(path)

    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert int(head.headers["content-length"]) > 0


def test_health_and_readiness(api: Client) -> None:
    """A server that serves is alive and ready."""
    assert api.get("/healthz").json == {"status": "alive"}
    assert api.get("/readyz").json == {"status": "ready"}


def test_metrics_count_requests_by_route(api: Client) -> None:
    """Prometheus sees each route's requests by status, and no label comes from a request."""
    api.get("/no/such/path")
    rank(api, ranked())

    text = api.get("/metrics").body.decode()

    assert 'banditd_requests_total{route="rank",status="200"}' in text
    assert 'banditd_requests_total{route="none",status="404"}' in text
    assert "such" not in text


# -- keys, sockets, secrets


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server that asks for one of two API keys."""
    config = f"[server]\nkeys = {list(KEYS)}\n[default]\npolicy = {{ kind = 'epsilon_greedy' }}\n"
    with running_server(tmp_path_factory.mktemp("locked"), config) as process:
        yield process


CLOSED = [
    ("POST", "/v1/rank"),
    ("POST", "/v1/rank/batch"),
    ("POST", "/v1/reward"),
    ("POST", "/v1/reward/batch"),
    ("POST", "/v1/events/x/activate"),
    ("GET", "/v1/segments"),
    ("GET", "/v1/segments/default"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {KEYS[0]}x", f"Basic {KEYS[0]}", KEYS[0], f"Bearer {KEYS}"],
)
def test_without_a_right_key_nothing_is_told(locked: ServerProcess, method: str, path: str, header: str) -> None:
    """Every call that decides, learns or tells answers 401 and says which kind of key it wants."""
    reply = locked.client.call(method, path, headers={"Authorization": header} if header else {})

    assert (reply.status, reply.json["code"]) == (401, "unauthenticated")
    assert reply.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_each_key_opens(locked: ServerProcess, key: str, scheme: str) -> None:
    """Any configured key opens every call."""
    header = {"Authorization": f"{scheme} {key}"}

    assert locked.client.post("/v1/rank", ranked(), headers=header).status == 200
    assert locked.client.call("GET", "/metrics", headers=header).status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs", "/docs/docs.js"])
def test_health_and_docs_are_open(locked: ServerProcess, path: str) -> None:
    """Liveness, readiness and the description need no key."""
    assert locked.client.get(path).status == 200


def test_keys_are_told_to_nobody(locked: ServerProcess) -> None:
    """An API key stands in no log and no metric."""
    metrics = Client(port=locked.client.port, key=KEYS[0]).get("/metrics").body.decode()

    assert all(key not in locked.log + metrics for key in KEYS)


def test_unix_socket_serves_the_same(tmp_path: Path) -> None:
    """`--uds` serves the API on a Unix socket."""
    config = "[default]\npolicy = { kind = 'epsilon_greedy' }\n"
    with running_server(tmp_path, config, "--uds", str(tmp_path / "b.sock")) as process:
        answer = rank(process.client, ranked())
        assert reward(process.client, answer["event_id"]).json == {"status": "joined"}


def test_raw_user_id_is_kept_nowhere(server: ServerProcess, api: Client) -> None:
    """A user id stands neither in the store, its WAL and its keys, nor in logs, metrics or replies."""
    user = f"user-{uuid.uuid4().hex}"
    event_id = rank(api, ranked(user=user))["event_id"]
    assert reward(api, event_id).status == 200
    replies = [
        api.post("/v1/rank", ranked(event_id=event_id, user=f"{user}-other")).body,
        api.post("/v1/rank", ranked(user=f"{user}\n")).body,
        api.post("/v1/rank", ranked(user=user, actions=[])).body,
        api.get("/metrics").body,
    ]

    files = {path.name: path.read_bytes() for path in server.folder.rglob("*") if path.is_file()}

    assert any(event_id.encode() in content for content in files.values()), "the decision itself is found"
    assert [name for name, content in files.items() if user.encode() in content] == []
    assert not any(user.encode() in reply for reply in replies)
