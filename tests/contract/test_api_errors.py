"""What the HTTP API refuses: each limit, with the status, the code and the field that a client is told."""

import gzip
import json
import re
from typing import Any

import pytest

from banditd.api.openapi import CODES
from tests.api_client import Client, Reply, ServerProcess, running_server

BOMB = 100_000  # levels: far beyond what any recursive reader takes
BODY_BYTES = 262_144

A = {"id": "a"}


def rank_with(text: str) -> bytes:
    """Return a rank request with `text` as its fields beside the actions."""
    return f'{{"actions":[{{"id":"a"}}],{text}}}'.encode()


def context(text: str) -> bytes:
    """Return a rank request with `text` as its context."""
    return rank_with(f'"context":{text}')


def nested(levels: int) -> str:
    """Return an object with `levels` levels, itself included."""
    return '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)


def actions(*values: object) -> bytes:
    """Return a rank request with these actions."""
    return json.dumps({"actions": values}).encode()


def check_problem(reply: Reply, status: int, code: str, field: str | None) -> None:
    """Hold the one shape of all errors, and what this one says."""
    problem = reply.json
    assert reply.headers["content-type"] == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail", "code", "request_id", "field"}
    assert (reply.status, problem["status"], problem["code"], problem["field"]) == (status, status, code, field)
    assert problem["type"] == f"urn:banditd:error:{code}"
    assert reply.headers["x-request-id"] == problem["request_id"]
    assert re.fullmatch(r"[0-9a-f]{16}", problem["request_id"])
    assert problem["title"]
    assert problem["detail"]
    assert CODES[code][0] == status


RANKS: dict[str, tuple[bytes, int, str, str | None]] = {
    "nothing": (b"", 400, "malformed_json", None),
    "no JSON": (b"{", 400, "malformed_json", None),
    "two values": (b'{"actions":[{"id":"a"}]} {}', 400, "malformed_json", None),
    "no UTF-8": (b'{"event_id":"\xff","actions":[{"id":"a"}]}', 400, "malformed_json", None),
    "no UTF-8 in an action": (b'{"actions":[{"id":"a"},{"id":"\xff"}]}', 422, "invalid_text", "actions[1]"),
    "no UTF-8 in a context": (b'{"actions":[{"id":"a"}],"context":{"\xed\xa0\x80":1}}', 422, "invalid_text", "context"),
    "no UTF-8 in another key": (b'{"actions":[{"id":"a"}],"\xff":1}', 400, "malformed_json", None),
    "lone surrogate in a context": (context(r'{"a":"\ud800"}'), 400, "malformed_json", None),
    "lone surrogate": (rb'{"event_id":"\ud800","actions":[{"id":"a"}]}', 400, "malformed_json", None),
    "NaN": (context('{"a":NaN}'), 400, "malformed_json", None),
    "Infinity": (context('{"a":-Infinity}'), 400, "malformed_json", None),
    "trailing comma": (context('{"a":1,}'), 400, "malformed_json", None),
    "a list": (b"[]", 422, "invalid_value", None),
    "null": (b"null", 422, "invalid_value", None),
    "a number": (b"1", 422, "invalid_value", None),
    "empty object": (b"{}", 422, "invalid_value", "actions"),
    "unknown field": (rank_with('"contxt":{}'), 422, "invalid_value", "contxt"),
    "context no object": (context("[]"), 422, "invalid_value", "context"),
    "context a text": (context('"a"'), 422, "invalid_value", "context"),
    "context null": (context("null"), 422, "invalid_value", "context"),
    "segment a number": (rank_with('"segment":1'), 422, "invalid_value", "segment"),
    "user a number": (rank_with('"user":1'), 422, "invalid_value", "user"),
    "activate a text": (rank_with('"activate":"yes"'), 422, "invalid_value", "activate"),
    "exclude a text": (rank_with('"exclude":"a"'), 422, "invalid_value", "exclude"),
    "exclude of numbers": (rank_with('"exclude":["a",1]'), 422, "invalid_value", "exclude[1]"),
    "exclude unknown": (rank_with('"exclude":["b"]'), 422, "unknown_action", "exclude[0]"),
    "exclude all": (rank_with('"exclude":["a","a"]'), 422, "nothing_to_choose", "exclude"),
    "actions null": (b'{"actions":null}', 422, "invalid_value", "actions"),
    "actions an object": (b'{"actions":{}}', 422, "invalid_value", "actions"),
    "no actions": (actions(), 422, "action_count", "actions"),
    "1,001 actions": (actions(*({"id": str(i)} for i in range(1_001))), 422, "action_count", "actions"),
    "action a text": (actions(A, "b"), 422, "invalid_value", "actions[1]"),
    "action without id or feature": (actions(A, {"features": {}}), 422, "no_features", "actions[1].features"),
    "action id a number": (actions({"id": 7}), 422, "invalid_value", "actions[0].id"),
    "action with unknown field": (actions(A, {"id": "b", "name": "b"}), 422, "invalid_value", "actions[1].name"),
    "features a list": (actions({"id": "a", "features": []}), 422, "invalid_value", "actions[0].features"),
    "features null": (actions({"id": "a", "features": None}), 422, "invalid_value", "actions[0].features"),
    "duplicate ids": (actions(A, {"id": "b"}, A), 422, "duplicate_action", "actions[2].id"),
    "duplicate ids, written otherwise": (
        rb'{"actions":[{"id":"a"},{"id":"\u0061"}]}',
        422,
        "duplicate_action",
        "actions[1].id",
    ),
    "empty action id": (actions({"id": ""}), 422, "id_length", "actions[0].id"),
    "action id of 257 bytes": (actions({"id": "a" * 257}), 422, "id_length", "actions[0].id"),
    "action id of 129 two-byte letters": (actions({"id": "ä" * 129}), 422, "id_length", "actions[0].id"),
    "action id with a control character": (actions({"id": "a\n"}), 422, "control_character", "actions[0].id"),
    "empty event id": (rank_with('"event_id":""'), 422, "id_length", "event_id"),
    "event id of 257 bytes": (rank_with(f'"event_id":"{"e" * 257}"'), 422, "id_length", "event_id"),
    "event id of 65 four-byte letters": (rank_with(f'"event_id":"{"🎲" * 65}"'), 422, "id_length", "event_id"),
    "event id with NUL": (rank_with(r'"event_id":"a\u0000"'), 422, "control_character", "event_id"),
    "event id with DEL": (rank_with(r'"event_id":"a\u007f"'), 422, "control_character", "event_id"),
    "user of 257 bytes": (rank_with(f'"user":"{"u" * 257}"'), 422, "id_length", "user"),
    "empty user": (rank_with('"user":""'), 422, "id_length", "user"),
    "1e9 and a bit": (context('{"a":1000000001}'), 422, "number_out_of_range", "context.a"),
    "minus 1e10": (context('{"a":{"b":-1e10}}'), 422, "number_out_of_range", "context.a.b"),
    "a number of 400 digits": (context(f'{{"a":{"9" * 400}}}'), 422, "number_out_of_range", "context.a"),
    "a vector's number": (context('{"a":[1,2e9]}'), 422, "number_out_of_range", "context.a[1]"),
    "a feature's number": (
        actions({"id": "a", "features": {"p": 1e300}}),
        422,
        "number_out_of_range",
        "actions[0].features.p",
    ),
    "list of lists": (context('{"a":[[1]]}'), 422, "invalid_type", "context.a[0]"),
    "mixed list": (context('{"a":[1,{"b":1}]}'), 422, "mixed_list", "context.a"),
    "17 levels": (context(nested(17)), 422, "too_deep", "context" + ".a" * 16),
    "17 levels of features": (
        b'{"actions":[{"id":"a","features":' + nested(17).encode() + b"}]}",
        422,
        "too_deep",
        "actions[0].features" + ".a" * 16,
    ),
    "1,001 features": (context(json.dumps({f"f{i}": 1 for i in range(1_001)})), 422, "too_many_features", "context"),
}


@pytest.mark.parametrize("name", RANKS)
def test_rank_refuses(api: Client, name: str) -> None:
    """Each request that breaks a rule gets the code of the rule and the path of the value."""
    body, status, code, field = RANKS[name]

    check_problem(api.post("/v1/rank", body), status, code, field)


HUGE = ["1e999", "-1e999", "1e400", "1" + "0" * 400, "9" * 5_000, "0." + "0" * 400 + "1e720"]
PLACES = pytest.mark.parametrize("place", ['{"a":%s}', '{"a":[%s]}', '{"a":[{"b":%s}]}'])


@pytest.mark.parametrize("number", HUGE, ids=lambda text: text[:12])
@PLACES
def test_numbers_beyond_any_float_are_refused(api: Client, number: str, place: str) -> None:
    """A number that is too large for a float is refused, however it is written."""
    reply = api.post("/v1/rank", context(place % number))

    assert (reply.status, reply.json["code"]) in {
        (422, "invalid_value"),
        (422, "number_out_of_range"),
        (422, "number_not_finite"),
    }
    assert reply.json["field"].startswith("context")


@PLACES
def test_numbers_too_small_for_any_float_are_zero(api: Client, place: str) -> None:
    """A number that is closer to 0 than any float is read as 0, as JSON readers do."""
    assert api.post("/v1/rank", context(place % "1e-999999999999")).status == 200


@pytest.mark.parametrize("opening", ['{"a":', "[", '[{"a":', '{"a":[', '{"a":[{"b":'], ids=str)
@pytest.mark.parametrize("where", ["body", "context", "actions", "features", "rest"])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "left open"])
@pytest.mark.parametrize("path", ["/v1/rank", "/v1/reward", "/v1/rank/batch", "/v1/reward/batch"])
def test_depth_bombs_are_refused(api: Client, opening: str, where: str, path: str, *, closed: bool) -> None:
    """A body nested as deeply as it fits is refused, wherever it is nested, and the server goes on."""
    levels = min(BOMB, (BODY_BYTES - 200) // (2 * len(opening)))
    closing = "".join({"{": "}", "[": "]"}[mark] for mark in reversed(opening) if mark in "{[")
    bomb = opening * levels + ("1" + closing * levels if closed else "")
    body = {
        "body": bomb,
        "context": f'{{"actions":[{{"id":"a"}}],"context":{bomb}}}',
        "actions": f'{{"actions":{bomb}}}',
        "features": f'{{"actions":[{{"id":"a","features":{bomb}}}]}}',
        "rest": f'{{"event_id":{bomb}}}',
    }[where]

    reply = api.post(path, f"[{body}]".encode() if path.endswith("batch") else body.encode())

    results = reply.json.get("results", [{"status": reply.status}])
    assert reply.status in {200, 400, 422}
    assert all(400 <= result["status"] < 500 for result in results)
    assert api.get("/healthz").status == 200


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        pytest.param(b"{", 400, "malformed_json", None, id="no JSON"),
        pytest.param(b"[]", 422, "invalid_value", None, id="a list"),
        pytest.param(b'{"reward":1}', 422, "invalid_value", "event_id", id="no event id"),
        pytest.param(b'{"event_id":"a"}', 422, "invalid_value", "reward", id="no reward"),
        pytest.param(b'{"event_id":"a","reward":"1"}', 422, "invalid_value", "reward", id="reward a text"),
        pytest.param(b'{"event_id":"a","reward":null}', 422, "invalid_value", "reward", id="reward null"),
        pytest.param(b'{"event_id":"a","reward":true}', 422, "invalid_value", "reward", id="reward a truth"),
        pytest.param(b'{"event_id":1,"reward":1}', 422, "invalid_value", "event_id", id="event id a number"),
        pytest.param(b'{"event_id":"a","reward":1,"x":1}', 422, "invalid_value", "x", id="unknown field"),
        pytest.param(b'{"event_id":"a","reward":1,"slot":0}', 422, "invalid_value", "slot", id="slot"),
        pytest.param(b'{"event_id":"a","reward":NaN}', 400, "malformed_json", None, id="NaN"),
        pytest.param(b'{"event_id":"a","reward":1.1e9}', 422, "number_out_of_range", "reward", id="1.1e9"),
        pytest.param(b'{"event_id":"","reward":1}', 422, "id_length", "event_id", id="empty event id"),
        pytest.param(b'{"event_id":"\xc2\x80a","reward":1}', 422, "control_character", "event_id", id="C1 control"),
        pytest.param(b'{"event_id":"a b:c|\xc3\xa4","reward":1}', 404, "unknown_event", "event_id", id="odd but fine"),
        pytest.param(b'{"event_id":"a\\u0007","reward":1}', 422, "control_character", "event_id", id="bell"),
        pytest.param(
            b'{"event_id":"a","reward":1,"reward_id":""}', 422, "id_length", "reward_id", id="empty reward id"
        ),
        pytest.param(
            b'{"event_id":"a","reward":1,"reward_id":"%s"}' % (b"r" * 257), 422, "id_length", "reward_id", id="257 r"
        ),
        pytest.param(
            b'{"event_id":"a","reward":1,"reward_id":"\\u0000"}', 422, "control_character", "reward_id", id="NUL"
        ),
    ],
)
def test_reward_refuses(api: Client, body: bytes, status: int, code: str, field: str | None) -> None:
    """Each reward that breaks a rule gets the code of the rule and the path of the value."""
    check_problem(api.post("/v1/reward", body), status, code, field)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400], ids=["1e999", "-1e999", "401 digits"])
def test_reward_beyond_any_float_is_refused(api: Client, number: str) -> None:
    """A reward that no float holds is refused, however it is read."""
    reply = api.post("/v1/reward", f'{{"event_id":"a","reward":{number}}}'.encode())

    assert reply.status in {400, 422}


@pytest.mark.parametrize("path", ["/v1/rank/batch", "/v1/reward/batch"])
def test_batch_refuses(api: Client, path: str) -> None:
    """A batch is a list of at most 100 items; only then is it looked into."""
    check_problem(api.post(path, {}), 422, "invalid_value", None)
    check_problem(api.post(path, b"[1,"), 400, "malformed_json", None)
    check_problem(api.post(path, [{}] * 101), 422, "batch_too_large", None)
    assert [item["status"] for item in api.post(path, [{}] * 100).json["results"]] == [422] * 100


def test_items_of_a_batch_have_the_same_shape(api: Client) -> None:
    """An item's error is a problem with the request id of the whole."""
    reply = api.post("/v1/rank/batch", [{"actions": [{"id": ""}]}], headers={"X-Request-Id": "trace-1"})

    assert reply.json["results"] == [
        {
            "status": 422,
            "error": {
                "type": "urn:banditd:error:id_length",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": "must be 1 to 256 bytes long, not 0",
                "code": "id_length",
                "request_id": "trace-1",
                "field": "actions[0].id",
            },
        }
    ]


@pytest.mark.parametrize(
    "path", ["/v1/rank", "/v1/rank/batch", "/v1/reward", "/v1/reward/batch", "/v1/events/a/activate"]
)
def test_body_limits_hold_for_every_call(api: Client, path: str) -> None:
    """A body beyond 256 KiB is refused by its length, and one with an encoding unread."""
    check_problem(api.post(path, b" " * (BODY_BYTES + 1)), 413, "body_too_large", None)
    compressed = api.post(path, gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
    check_problem(compressed, 415, "compressed_body", "Content-Encoding")


def test_body_of_exactly_the_limit_is_read(api: Client) -> None:
    """The largest allowed body is answered like any other."""
    request = b'{"actions":[{"id":"a"}]}'

    assert api.post("/v1/rank", request + b" " * (BODY_BYTES - len(request))).status == 200


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (actions({"id": "a" * 256}), "an id of 256 bytes"),
        (actions({"id": "🎲" * 64}), "an id of 64 four-byte letters"),
        (actions(*({"id": str(i)} for i in range(1_000))), "1,000 actions"),
        (context(nested(16)), "16 levels"),
        (context(json.dumps({f"f{i}": 1 for i in range(1_000)})), "1,000 features"),
        (context('{"a":1e9,"b":-1e9,"c":1e-300,"d":null,"e":[],"f":{},"g":[null,true,"x",1]}'), "odd values"),
        (context(r'{"a|b c:d\n\u0000":"e|f g:h\r\u2028","":"","%":"="}'), "characters that mean something to VW"),
        (rank_with('"event_id":null,"segment":null,"user":null,"exclude":[]'), "nulls where nothing is said"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_just_allowed_is_answered(api: Client, body: bytes, what: str) -> None:
    """A request at a limit, and one of odd but legal values, is ranked."""
    reply = api.post("/v1/rank", body)

    assert reply.status == 200, (what, reply.body)
    assert sum(entry["probability"] for entry in reply.json["ranking"]) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/rank", "POST"),
        ("HEAD", "/v1/rank", "POST"),
        ("PUT", "/v1/reward", "POST"),
        ("DELETE", "/v1/segments", "GET, HEAD"),
        ("POST", "/v1/segments/default", "GET, HEAD"),
        ("GET", "/v1/events/a/activate", "POST"),
        ("PATCH", "/healthz", "GET, HEAD"),
        ("OPTIONS", "/docs", "GET, HEAD"),
        ("PROPFIND", "/metrics", "GET, HEAD"),
    ],
)
def test_wrong_method_is_told_the_right_one(api: Client, method: str, path: str, allow: str) -> None:
    """A known path with another method answers 405 and lists what it takes."""
    reply = api.call(method, path)

    assert reply.status == 405
    assert reply.headers["allow"] == allow
    if method != "HEAD":
        check_problem(reply, 405, "method_not_allowed", None)


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/", "/v1/rank/", "/V1/rank", "/v1/events/a", "/v1/events/activate", "/v2/rank", "/docs.js", "//a"],
)
def test_unknown_path_is_not_found(api: Client, path: str) -> None:
    """What is no path of the API answers 404."""
    check_problem(api.post(path, {}), 404, "unknown_path", None)


@pytest.mark.parametrize("path", ["/docs/../messages.py", "/docs/..%2fapp.py", "/docs/swagger-ui/LICENSE"])
def test_docs_serve_their_files_and_no_other(api: Client, path: str) -> None:
    """No path below /docs leads to a file that the page does not use."""
    check_problem(api.get(path), 404, "unknown_asset", None)


@pytest.mark.parametrize("path", ["/", "/docs/"])
def test_the_bare_address_leads_to_the_documentation(api: Client, path: str) -> None:
    """Who opens the server in a browser finds out what it does."""
    reply = api.get(path)

    assert (reply.status, reply.headers["location"]) == (307, "/docs")


def test_a_number_beyond_any_float_is_named(api: Client) -> None:
    """The field says which one it is, in a context and in an action."""
    actions = b'[{"id": "a", "features": {"price": 1e400}}]'

    check_problem(
        api.post("/v1/rank", b'{"context": {"user": {"age": 1e400}}, "actions": [{"id": "a"}]}'),
        422,
        "number_not_finite",
        "context.user.age",
    )
    check_problem(
        api.post("/v1/rank", b'{"actions": ' + actions + b"}"), 422, "number_not_finite", "actions[0].features.price"
    )


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 5_000], ids=["float", "negative", "whole"])
def test_a_reward_or_a_weight_beyond_any_float_is_named(api: Client, number: str) -> None:
    """The field says which one it is, a weight by the name of its segment."""
    weights = f'"segments": {{"default": 1, "alpha": {number}}}'

    reward = f'{{"event_id": "e", "reward": {number}}}'.encode()
    check_problem(api.post("/v1/reward", reward), 422, "number_not_finite", "reward")
    rank = f'{{"actions": [{{"id": "a"}}], {weights}}}'.encode()
    check_problem(api.post("/v1/rank", rank), 422, "number_not_finite", "segments.alpha")


@pytest.mark.parametrize(
    ("weights", "field"),
    [
        pytest.param('{"default": 1, "alpha": "x"}', "segments.alpha", id="text"),
        pytest.param('{"default": 1, "alpha": {"b": 1}}', "segments.alpha", id="object"),
        pytest.param('{"default": 1, "a.b": true}', "segments.a.b", id="name with a dot"),
        pytest.param('{"alpha": "x"}, "segments": 3', "segments", id="twice"),
        pytest.param('{"alpha": "x"}, "slots": [', "segments", id="broken after it"),
    ],
)
def test_a_weight_that_is_no_number_is_named(api: Client, weights: str, field: str) -> None:
    """The field says which segment's weight it is, as far as the body can be read."""
    body = f'{{"actions": [{{"id": "a"}}], "segments": {weights}}}'.encode()

    check_problem(api.post("/v1/rank", body), 422, "invalid_value", field)


@pytest.mark.parametrize("path", ["/v1/segments/%ff", "/docs/%c3%28"])
def test_path_that_is_no_text_is_refused(api: Client, path: str) -> None:
    """Percent-encoded bytes that are not UTF-8 are refused."""
    check_problem(api.get(path), 400, "invalid_path", None)


@pytest.mark.parametrize("field", ["", "a" * 257, "a%00", "a%0a"])
def test_activation_checks_its_event_id(api: Client, field: str) -> None:
    """The id in the path follows the rules of ids."""
    code = "control_character" if "%" in field else "id_length"

    check_problem(api.post(f"/v1/events/{field}/activate"), 422, code, "event_id")


@pytest.mark.parametrize(
    ("given", "taken"),
    [("abc-123", True), ("a" * 128, True), ("a" * 129, False), ("", False), ("a b", False), ('"><script>', False)],
)
def test_request_id_is_given_back(api: Client, given: str, *, taken: bool) -> None:
    """An error carries the request's id if that is a harmless text, otherwise a new one."""
    reply = api.call("POST", "/v1/rank", b"{", headers={"X-Request-Id": given})

    assert (reply.json["request_id"] == given) is taken
    assert reply.headers["x-request-id"] == reply.json["request_id"]


def test_errors_do_not_quote_values(api: Client) -> None:
    """A problem names the field at fault and never repeats what stood there."""
    secret = "s3cret-value"
    for body in (
        context(f'["{secret}"]'),
        rank_with(f'"activate":"{secret}"'),
        rank_with(f'"user":"{secret}\\n"'),
        f'{{"event_id":"a","reward":"{secret}"}}'.encode(),
    ):
        for path in ("/v1/rank", "/v1/reward"):
            reply = api.post(path, body)
            assert reply.status == 422
            assert secret.encode() not in reply.body


def test_limits_can_be_configured(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each limit that the configuration sets is the one in force."""
    config = """
[limits]
body_bytes = 2048
actions = 2
features = 3
depth = 2
id_bytes = 4
number = 10.0
batch = 1
[default]
policy = { kind = "epsilon_greedy" }
"""
    with running_server(tmp_path_factory.mktemp("limits"), config) as process:
        api = process.client
        cases: list[tuple[str, Any, str]] = [
            ("/v1/rank", b" " * 2_049, "body_too_large"),
            ("/v1/rank", {"actions": [{"id": str(i)} for i in range(3)]}, "action_count"),
            ("/v1/rank", {"actions": [A], "context": {f"f{i}": 1 for i in range(4)}}, "too_many_features"),
            ("/v1/rank", {"actions": [A], "context": {"a": {"b": {}}}}, "too_deep"),
            ("/v1/rank", {"actions": [{"id": "abcde"}]}, "id_length"),
            ("/v1/rank", {"actions": [A], "context": {"a": 10.5}}, "number_out_of_range"),
            ("/v1/reward", {"event_id": "a", "reward": 10.5}, "number_out_of_range"),
            ("/v1/rank/batch", [{}, {}], "batch_too_large"),
        ]
        assert [api.post(path, value).json["code"] for path, value, _ in cases] == [code for _, _, code in cases]
        fine = {"actions": [A, {"id": "abcd"}], "context": {"f": 10, "g": {"h": -10.0}}}
        assert api.post("/v1/rank", fine).status == 200


def test_no_request_was_a_fault_of_ours(server: ServerProcess, api: Client) -> None:
    """After all that the server has no traceback in its log, and answers."""
    assert api.post("/v1/rank", {"actions": [A]}).status == 200
    assert "request_failed" not in server.log
    assert "exc_type" not in server.log
