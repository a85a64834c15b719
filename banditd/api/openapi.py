"""`/openapi.json`: OpenAPI 3.1, made from the structs that decode the requests and the codes that errors carry."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

from banditd.api.replies import HTML, JSON, PROBLEM
from banditd.build import banditd_version
from banditd.evaluating.bodies import EvaluationEnd, EvaluationInfo, EvaluationList, EvaluationRequest
from banditd.messages import (
    Action,
    ActivateReply,
    Problem,
    RankReply,
    RankRequest,
    RewardReply,
    RewardRequest,
    SegmentInfo,
    SegmentList,
    SlotRequest,
)
from banditd.metrics import CONTENT_TYPE as METRICS

__all__ = ["CODES", "openapi_json"]

_REF: Final = "#/components/schemas/"
_BATCH_AT_MOST: Final = 100
_NUMBER_AT_MOST: Final = 1e9

CODES: Final[Mapping[str, tuple[HTTPStatus, str]]] = {
    "malformed_json": (HTTPStatus.BAD_REQUEST, "The body is not JSON."),
    "body_broke_off": (HTTPStatus.BAD_REQUEST, "The connection ended within the body."),
    "body_too_slow": (HTTPStatus.BAD_REQUEST, "The body did not arrive within `server.body_timeout`."),
    "invalid_path": (HTTPStatus.BAD_REQUEST, "The path holds percent-encoded bytes that are not UTF-8."),
    "malformed_request": (HTTPStatus.BAD_REQUEST, "It is not HTTP, or a line or a header is too long."),
    "unauthenticated": (HTTPStatus.UNAUTHORIZED, "API keys are configured and the request carries none of them."),
    "unknown_event": (HTTPStatus.NOT_FOUND, "No decision has this event id."),
    "unknown_segment": (HTTPStatus.NOT_FOUND, "No segment has this name."),
    "unknown_evaluation": (HTTPStatus.NOT_FOUND, "No evaluation has this id, or it was forgotten."),
    "unknown_asset": (HTTPStatus.NOT_FOUND, "The page at `/docs` has no such file."),
    "unknown_path": (HTTPStatus.NOT_FOUND, "There is nothing at this path."),
    "method_not_allowed": (HTTPStatus.METHOD_NOT_ALLOWED, "The path takes other methods; `Allow` lists them."),
    "event_id_reused": (HTTPStatus.CONFLICT, "The event id came before with another request."),
    "evaluation_id_reused": (HTTPStatus.CONFLICT, "The evaluation id came before with another request."),
    "evaluation_not_done": (HTTPStatus.CONFLICT, "The evaluation has no report, yet or at all."),
    "window_closed": (HTTPStatus.GONE, "The reward window has closed, or the decision lapsed. Nothing changed."),
    "body_too_large": (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than `limits.body_bytes`."),
    "compressed_body": (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The request has a `Content-Encoding`."),
    "action_count": (HTTPStatus.UNPROCESSABLE_ENTITY, "No action, or more than `limits.actions`."),
    "batch_too_large": (HTTPStatus.UNPROCESSABLE_ENTITY, "More items than `limits.batch`."),
    "control_character": (HTTPStatus.UNPROCESSABLE_ENTITY, "An id holds a control character."),
    "duplicate_action": (HTTPStatus.UNPROCESSABLE_ENTITY, "Two actions have the same id."),
    "duplicate_slot": (HTTPStatus.UNPROCESSABLE_ENTITY, "Two slots have the same id."),
    "id_length": (HTTPStatus.UNPROCESSABLE_ENTITY, "An id is empty or longer than `limits.id_bytes` of UTF-8."),
    "invalid_policy": (HTTPStatus.UNPROCESSABLE_ENTITY, "A candidate is no policy, or its name cannot be one."),
    "invalid_text": (HTTPStatus.UNPROCESSABLE_ENTITY, "A text is not valid UTF-8."),
    "invalid_type": (HTTPStatus.UNPROCESSABLE_ENTITY, "A feature has no meaning, such as a list of lists."),
    "invalid_value": (HTTPStatus.UNPROCESSABLE_ENTITY, "A field is missing, unknown, or not what it may be."),
    "mixed_list": (HTTPStatus.UNPROCESSABLE_ENTITY, "A list holds both objects and scalars."),
    "no_features": (HTTPStatus.UNPROCESSABLE_ENTITY, "An action has neither an id nor a feature."),
    "nothing_to_choose": (HTTPStatus.UNPROCESSABLE_ENTITY, "`exclude` leaves no action, or may leave none to a slot."),
    "number_not_finite": (HTTPStatus.UNPROCESSABLE_ENTITY, "A number is not finite."),
    "number_out_of_range": (HTTPStatus.UNPROCESSABLE_ENTITY, "A number is beyond ±`limits.number`."),
    "reward_out_of_range": (HTTPStatus.UNPROCESSABLE_ENTITY, "The segment's policy cannot learn from this reward."),
    "segment_count": (HTTPStatus.UNPROCESSABLE_ENTITY, "`segments` is empty, or holds more than 16."),
    "slot_count": (HTTPStatus.UNPROCESSABLE_ENTITY, "No slot, or more than `limits.slots` or than there are actions."),
    "too_deep": (HTTPStatus.UNPROCESSABLE_ENTITY, "Nested deeper than `limits.depth`."),
    "too_many_features": (HTTPStatus.UNPROCESSABLE_ENTITY, "More features than `limits.features`."),
    "too_many_scores": (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "(Actions + features of the context) × slots × policies are more than `limits.scores`.",
    ),
    "unknown_action": (HTTPStatus.UNPROCESSABLE_ENTITY, "`exclude` names an id that no action has."),
    "unknown_slot": (HTTPStatus.UNPROCESSABLE_ENTITY, "The decision has no slot of this id."),
    "evaluation_queue_full": (HTTPStatus.TOO_MANY_REQUESTS, "As many evaluations wait as `evaluations.queue` allows."),
    "internal_error": (HTTPStatus.INTERNAL_SERVER_ERROR, "A fault of banditd; its log has a line with the request id."),
    "replay_not_installed": (HTTPStatus.NOT_IMPLEMENTED, "What evaluating needs is missing: `banditd[replay]`."),
    "store_not_embedded": (HTTPStatus.NOT_IMPLEMENTED, "The store is none that can be evaluated."),
    "not_ready": (HTTPStatus.SERVICE_UNAVAILABLE, "The server is folding its logs, or is about to end."),
    "journal_queue_full": (HTTPStatus.SERVICE_UNAVAILABLE, "Too much waits for the journal. Nothing was done."),
    "journal_late": (HTTPStatus.SERVICE_UNAVAILABLE, "The journal did not answer in time. It may have done the work."),
    "journal_lost": (HTTPStatus.SERVICE_UNAVAILABLE, "The journal is being restarted. It may have done the work."),
    "store_full": (HTTPStatus.SERVICE_UNAVAILABLE, "The disk is full. Nothing was done."),
    "lane_failed": (HTTPStatus.SERVICE_UNAVAILABLE, "The segment's policy has stopped; the log says why."),
    "lane_loading": (HTTPStatus.SERVICE_UNAVAILABLE, "The segment's policy was not loaded in time; ask again."),
    "journal_closed": (HTTPStatus.SERVICE_UNAVAILABLE, "The journal has been closed."),
}
"""Every code that a client can see, its status, and what it means; docs/http.md says the same in prose."""

_BODY: Final = ("malformed_json", "body_broke_off", "body_too_slow", "compressed_body", "body_too_large")
_JOURNAL: Final = ("not_ready", "journal_queue_full", "journal_late", "journal_lost", "journal_closed", "store_full")
_LANES: Final = ("lane_failed", "lane_loading")
_IDS: Final = ("control_character", "id_length")
_RANK_RULES: Final = (
    "invalid_value",
    *_IDS,
    "invalid_text",
    "invalid_type",
    "mixed_list",
    "number_not_finite",
    "number_out_of_range",
    "too_deep",
    "too_many_features",
    "action_count",
    "duplicate_action",
    "unknown_action",
    "no_features",
    "nothing_to_choose",
    "slot_count",
    "duplicate_slot",
    "segment_count",
    "too_many_scores",
)
_REWARD_RULES: Final = (
    "invalid_value",
    *_IDS,
    "number_not_finite",
    "number_out_of_range",
    "reward_out_of_range",
    "unknown_slot",
)

_VISIT: Final = "visit-7f3a"
_RANK: Final = {
    "context": {"device": "mobile", "hour": 21},
    "actions": [
        {"id": "shoe-7", "features": {"price": 59.9, "tags": ["new", "leather"]}},
        {"id": "boot-2", "features": {"price": 89.0}},
    ],
}
_RANKS: Final = {
    "plain": _RANK,
    "slots": {
        **_RANK,
        "slots": [{"id": "hero", "features": {"width": 2}}, {"id": "side", "exclude": ["shoe-7"]}],
    },
    "segments": {**_RANK, "segments": {"default": 1.0}},
}
_REWARD: Final = {"event_id": _VISIT, "reward": 1.0}

_EVALUATION: Final = "spring-plans"
_EVALUATIONS: Final = {
    "plain": {"policies": {"curious": {"kind": "epsilon_greedy", "epsilon": 0.2}}, "estimators": ["snips"]},
    "named": {
        "evaluation_id": _EVALUATION,
        "policies": {"new": {"kind": "thompson"}, "plain": "uniform"},
        "segment": "default",
        "by": ["day"],
        "level": 0.9,
    },
}

_DESCRIPTION: Final = """\
Ask which of some actions to show (`rank`), then say how good it was (`reward`). A call that failed on the way, or was
answered with 503, is sent again with the same ids: nothing counts twice.

Every error is `application/problem+json` (RFC 9457) with a stable `code`, the `field` at fault where there is one, and
the `request_id`, which is the request's `X-Request-Id` if it had one. A known path with another method answers 405.
Limits are those of a server with the default configuration."""

_FEATURES_DESCRIPTION: Final = """\
An object of features. A number is a feature of that value; a string is the feature `name=value`; `true` is a feature of
value 1, `false` and `null` are none. An object is a namespace of its own. A list of strings is a set, a list of numbers
a vector, and the objects of a list are merged in order. At most 1000 features, 16 levels deep."""

_SCALARS: Final[list[dict[str, Any]]] = [
    {"type": ["string", "boolean", "null"]},
    {"type": "number", "minimum": -_NUMBER_AT_MOST, "maximum": _NUMBER_AT_MOST},
]

# Schemas that no struct describes: what `policies.features` reads, and the lists that are taken apart item by item.
_BY_HAND: Final[dict[str, Any]] = {
    "Features": {
        "title": "Features",
        "description": _FEATURES_DESCRIPTION,
        "type": "object",
        "additionalProperties": {
            "anyOf": [
                *_SCALARS,
                {"$ref": f"{_REF}Features"},
                {"type": "array", "items": {"anyOf": _SCALARS}},
                {"type": "array", "items": {"$ref": f"{_REF}Features"}},
            ]
        },
    },
    **{
        f"{name}Batch{kind}": schema
        for name in ("Rank", "Reward")
        for kind, schema in {
            "Request": {
                "title": f"{name}BatchRequest",
                "type": "array",
                "maxItems": _BATCH_AT_MOST,
                "items": {"$ref": f"{_REF}{name}Request"},
            },
            "Reply": {
                "title": f"{name}BatchReply",
                "description": "One result for each item, in the order of the request.",
                "type": "object",
                "properties": {
                    "results": {
                        "type": "array",
                        "maxItems": _BATCH_AT_MOST,
                        "items": {
                            "oneOf": [
                                {
                                    "type": "object",
                                    "properties": {"status": {"const": 200}, "result": {"$ref": f"{_REF}{name}Reply"}},
                                    "required": ["status", "result"],
                                    "additionalProperties": False,
                                },
                                {
                                    "type": "object",
                                    "properties": {
                                        "status": {"type": "integer", "minimum": 400},
                                        "error": {"$ref": f"{_REF}Problem"},
                                    },
                                    "required": ["status", "error"],
                                    "additionalProperties": False,
                                },
                            ]
                        },
                    }
                },
                "required": ["results"],
                "additionalProperties": False,
            },
        }.items()
    },
    **{
        name: {
            "title": name,
            "type": "object",
            "properties": {"status": {"const": status}},
            "required": ["status"],
            "additionalProperties": False,
        }
        for name, status in (("Alive", "alive"), ("Ready", "ready"))
    },
}


@dataclass(frozen=True, slots=True)
class _Operation:
    """One call.

    Attributes
    ----------
    request, reply
        Names of schemas; a reply that is no JSON has its content type instead.
    codes
        What else than `status` it can answer, beside `unauthenticated` and `internal_error`.
    needs_key
        Whether it asks for an API key where one is configured.
    """

    path: str
    name: str
    tag: str
    summary: str
    reply: str
    codes: Sequence[str] = ()
    method: str = "post"
    description: str = ""
    request: str = ""
    examples: Mapping[str, Any] = field(default_factory=dict)
    parameters: Sequence[Mapping[str, Any]] = ()
    needs_key: bool = True
    status: HTTPStatus = HTTPStatus.OK


_NAME_PARAMETER: Final = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "Name of the segment.",
    "schema": {"type": "string"},
    "example": "default",
}
_DIGEST_PARAMETER: Final = {
    "name": "digest",
    "in": "query",
    "description": "`true` adds the digest of the policy's state, which takes as long as writing a snapshot.",
    "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
}
_EVENT_PARAMETER: Final = {
    "name": "event_id",
    "in": "path",
    "required": True,
    "description": "Id of the decision, percent-encoded.",
    "schema": {"type": "string"},
    "example": _VISIT,
}

_EVALUATION_PARAMETER: Final = {
    "name": "evaluation_id",
    "in": "path",
    "required": True,
    "description": "Id of the evaluation, percent-encoded.",
    "schema": {"type": "string"},
    "example": _EVALUATION,
}

_OPERATIONS: Final = (
    _Operation(
        "/v1/rank",
        "rank",
        "decide",
        "Choose one of the actions",
        "RankReply",
        (*_BODY, "unknown_segment", "event_id_reused", *_RANK_RULES, *_LANES, *_JOURNAL),
        description="The decision is on disk before it is answered. The same event id again returns the first answer; "
        "with another body, 409.",
        request="RankRequest",
        examples=_RANKS,
    ),
    _Operation(
        "/v1/rank/batch",
        "rankBatch",
        "decide",
        "Choose for several requests at once",
        "RankBatchReply",
        (*_BODY, "invalid_value", "batch_too_large", "too_deep", *_JOURNAL),
        description="200 whenever the list could be read: each item has a status of its own.",
        request="RankBatchRequest",
        examples={"plain": [_RANK, _RANK]},
    ),
    _Operation(
        "/v1/events/{event_id}/activate",
        "activate",
        "decide",
        "Let a deferred decision be learned from",
        "ActivateReply",
        (
            *(code for code in _BODY if code != "malformed_json"),
            "invalid_path",
            "unknown_event",
            "window_closed",
            *_IDS,
            *_JOURNAL,
        ),
        description="For a rank with `activate: false`, within its reward window. A body is ignored.",
        parameters=(_EVENT_PARAMETER,),
    ),
    _Operation(
        "/v1/reward",
        "reward",
        "learn",
        "Say how good a decision turned out",
        "RewardReply",
        (*_BODY, "unknown_event", "window_closed", *_REWARD_RULES, *_JOURNAL),
        request="RewardRequest",
        examples={"plain": _REWARD, "slot": {**_REWARD, "slot": "hero"}},
    ),
    _Operation(
        "/v1/reward/batch",
        "rewardBatch",
        "learn",
        "Send several rewards at once",
        "RewardBatchReply",
        (*_BODY, "invalid_value", "batch_too_large", "too_deep", *_JOURNAL),
        description="200 whenever the list could be read: each item has a status of its own.",
        request="RewardBatchRequest",
        examples={"plain": [{**_REWARD, "reward_id": "click-1"}]},
    ),
    _Operation(
        "/v1/segments",
        "segments",
        "look",
        "List the segments",
        "SegmentList",
        _JOURNAL,
        method="get",
    ),
    _Operation(
        "/v1/segments/{name}",
        "segment",
        "look",
        "Look at one segment",
        "SegmentInfo",
        ("invalid_path", "unknown_segment", "invalid_value", *_LANES, *_JOURNAL),
        method="get",
        parameters=(_NAME_PARAMETER, _DIGEST_PARAMETER),
    ),
    _Operation(
        "/v1/evaluations",
        "evaluate",
        "evaluate",
        "Ask what other policies would have earned",
        "EvaluationInfo",
        (
            *_BODY,
            "unknown_segment",
            "evaluation_id_reused",
            "invalid_value",
            "invalid_policy",
            *_IDS,
            "number_not_finite",
            "too_deep",
            "evaluation_queue_full",
            "replay_not_installed",
            "store_not_embedded",
            "not_ready",
        ),
        description="It is queued: `Location` says where it is found. It runs beside the server, after those asked for "
        "before it. The same id with the same request is the evaluation that is there already.",
        request="EvaluationRequest",
        examples=_EVALUATIONS,
        status=HTTPStatus.ACCEPTED,
    ),
    _Operation(
        "/v1/evaluations",
        "evaluations",
        "evaluate",
        "List the evaluations",
        "EvaluationList",
        method="get",
    ),
    _Operation(
        "/v1/evaluations/{evaluation_id}",
        "evaluation",
        "evaluate",
        "Look at one evaluation",
        "EvaluationInfo",
        ("invalid_path", "unknown_evaluation"),
        method="get",
        parameters=(_EVALUATION_PARAMETER,),
    ),
    _Operation(
        "/v1/evaluations/{evaluation_id}",
        "endEvaluation",
        "evaluate",
        "End an evaluation, or forget one that has ended",
        "EvaluationEnd",
        ("invalid_path", "unknown_evaluation"),
        method="delete",
        description="One that waits or runs is cancelled, and its process gone when this is answered.",
        parameters=(_EVALUATION_PARAMETER,),
    ),
    _Operation(
        "/v1/evaluations/{evaluation_id}/report",
        "evaluationReport",
        "evaluate",
        "The report of an evaluation, as a page",
        HTML,
        ("invalid_path", "unknown_evaluation", "evaluation_not_done"),
        method="get",
        parameters=(_EVALUATION_PARAMETER,),
    ),
    _Operation("/healthz", "healthz", "operate", "Is it alive?", "Alive", method="get", needs_key=False),
    _Operation(
        "/readyz", "readyz", "operate", "Are all logs folded?", "Ready", ("not_ready",), method="get", needs_key=False
    ),
    _Operation("/metrics", "metrics", "operate", "Metrics for Prometheus", METRICS, method="get"),
    _Operation("/openapi.json", "openapi", "operate", "This description", JSON, method="get", needs_key=False),
    _Operation("/docs", "docs", "operate", "This description as a page", HTML, method="get", needs_key=False),
)


@cache
def openapi_json() -> bytes:
    """Return the OpenAPI document as JSON."""
    structs = (
        RankRequest,
        SlotRequest,
        Action,
        RankReply,
        RewardRequest,
        RewardReply,
        ActivateReply,
        SegmentInfo,
        SegmentList,
        EvaluationRequest,
        EvaluationInfo,
        EvaluationList,
        EvaluationEnd,
        Problem,
    )
    _, schemas = msgspec.json.schema_components(structs, ref_template=f"{_REF}{{name}}")
    paths: dict[str, Any] = {}
    for operation in _OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "banditd",
                "summary": "An online-learning contextual-bandit server",
                "description": _DESCRIPTION,
                "version": banditd_version(),
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "tags": [
                {"name": "decide", "description": "What to show"},
                {"name": "learn", "description": "How good it was"},
                {"name": "look", "description": "What has been learned"},
                {"name": "evaluate", "description": "What else could have been earned"},
                {"name": "operate", "description": "For those who run it"},
            ],
            "paths": paths,
            "components": {
                "schemas": {**schemas, **_BY_HAND},
                "securitySchemes": {
                    "key": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "One of `server.keys`; needed as soon as one is configured.",
                    }
                },
            },
        }
    )


def _operation(operation: _Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        # Nothing is asked for where no key is configured: {} means that it also goes without.
        "security": [{"key": []}, {}] if operation.needs_key else [],
        "responses": {str(operation.status.value): _success(operation), **_failures(operation)},
    }
    if operation.description:
        described["description"] = operation.description
    if operation.parameters:
        described["parameters"] = operation.parameters
    if operation.request:
        examples = {name: {"value": value} for name, value in operation.examples.items()}
        content = {"schema": {"$ref": f"{_REF}{operation.request}"}, "examples": examples}
        described["requestBody"] = {"required": True, "content": {JSON: content}}
    return described


def _success(operation: _Operation) -> dict[str, Any]:
    if operation.reply == JSON:
        return {"description": "Done.", "content": {JSON: {"schema": {"type": "object"}}}}
    if "/" in operation.reply:
        return {"description": "Done.", "content": {operation.reply: {"schema": {"type": "string"}}}}
    content = {JSON: {"schema": {"$ref": f"{_REF}{operation.reply}"}}}
    if operation.status == HTTPStatus.ACCEPTED:
        headers = {"Location": {"required": True, "description": "Where to look for it.", "schema": {"type": "string"}}}
        return {"description": "Queued.", "headers": headers, "content": content}
    return {"description": "Done.", "content": content}


def _failures(operation: _Operation) -> dict[str, Any]:
    codes = [*operation.codes, *(["unauthenticated"] if operation.needs_key else []), "internal_error"]
    by_status = sorted(codes, key=lambda code: CODES[code][0])
    return {
        str(status.value): _failure(status, list(same))
        for status, same in itertools.groupby(by_status, key=lambda code: CODES[code][0])
    }


def _failure(status: HTTPStatus, codes: Sequence[str]) -> dict[str, Any]:
    text = "string"
    headers: dict[str, Any] = {
        "X-Request-Id": {"required": True, "description": "As in the body.", "schema": {"type": text}}
    }
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = {"required": True, "schema": {"type": text}}
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        headers["Retry-After"] = {"required": True, "description": "In seconds.", "schema": {"type": "integer"}}
    return {
        "description": "\n".join(f"- `{code}`: {CODES[code][1]}" for code in codes),
        "headers": headers,
        "content": {PROBLEM: {"schema": {"$ref": f"{_REF}Problem"}}},
    }
