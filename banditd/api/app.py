"""HTTP in and out: find the route, check the key, decode, call the service, encode."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
from aiohttp import web

from banditd.api.bodies import decode, read_body
from banditd.api.docs import CONTENT_SECURITY_POLICY, docs_asset, docs_page
from banditd.api.evaluations import EVALUATIONS, Evaluations
from banditd.api.openapi import openapi_json
from banditd.api.problems import problem_of, problem_reply, request_id
from banditd.api.replies import HTML, Reply
from banditd.errors import (
    BadRequest,
    BanditdError,
    JournalUnavailable,
    MethodNotAllowed,
    NotFound,
    Unauthenticated,
    Unprocessable,
)
from banditd.logs import get_logger
from banditd.messages import Problem, RankRequest, RewardRequest
from banditd.metrics import CONTENT_TYPE, Metrics
from banditd.service import Service
from policies.errors import InvalidInput

__all__ = ["Api"]

T = TypeVar("T")
Handler = Callable[[web.BaseRequest, str], Awaitable[Reply]]

_encode = msgspec.json.Encoder().encode
_rank_decoder = msgspec.json.Decoder(RankRequest)
_reward_decoder = msgspec.json.Decoder(RewardRequest)
_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])

log = get_logger()


class _Route:
    """A path (or a pattern of paths), its methods, and whether it needs a key."""

    def __init__(self, name: str, *, open_to_all: bool = False, **methods: Handler) -> None:
        self.name = name
        self.open_to_all = open_to_all
        self._methods = methods

    def handler(self, method: str) -> Handler:
        """Return what answers a method; HEAD is GET without its body."""
        handler = self._methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = [*self._methods, *(["HEAD"] if "GET" in self._methods else [])]
            raise MethodNotAllowed("method_not_allowed", f"takes {', '.join(allowed)}", allow=allowed)
        return handler


class Api:
    """The request handler of `aiohttp.web.Server`: one call a request, no middleware.

    Parameters
    ----------
    service
        What answers.

    Attributes
    ----------
    jobs
        The evaluations that it was asked for; who serves closes them.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._evaluations = Evaluations(service)
        self.jobs = self._evaluations.jobs
        self.metrics = Metrics(self._gauges)
        self._key_digests: tuple[bytes, ...] = ()
        self._keys_seen: Sequence[str] | None = None
        self._exact = {
            "/v1/rank": _Route("rank", POST=self._rank),
            "/v1/rank/batch": _Route("rank_batch", POST=self._rank_batch),
            "/v1/reward": _Route("reward", POST=self._reward),
            "/v1/reward/batch": _Route("reward_batch", POST=self._reward_batch),
            "/v1/segments": _Route("segments", GET=self._segments),
            "/v1/evaluations": _Route("evaluations", POST=self._evaluations.create, GET=self._evaluations.all),
            "/healthz": _Route("healthz", open_to_all=True, GET=self._healthz),
            "/readyz": _Route("readyz", open_to_all=True, GET=self._readyz),
            "/metrics": _Route("metrics", GET=self._metrics),
            "/openapi.json": _Route("openapi", open_to_all=True, GET=self._openapi),
            "/docs": _Route("docs", open_to_all=True, GET=self._docs),
            "/docs/": _Route("docs", open_to_all=True, GET=self._to_docs),
            "/": _Route("docs", open_to_all=True, GET=self._to_docs),
        }
        # What begins and ends so; between them stands an id or a name. The first that fits is taken.
        evaluation = _Route("evaluation", GET=self._evaluations.show, DELETE=self._evaluations.end)
        self._patterns = (
            ("/v1/events/", "/activate", _Route("activate", POST=self._activate)),
            ("/v1/segments/", "", _Route("segment", GET=self._segment)),
            (EVALUATIONS, "/report", _Route("evaluation_report", GET=self._evaluations.report)),
            (EVALUATIONS, "", evaluation),
            ("/docs/", "", _Route("docs", open_to_all=True, GET=self._asset)),
        )

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever a client sends, never with a 500."""
        started = time.perf_counter()
        name = "none"
        try:
            route, argument = self._find(request)
            name = route.name
            handler = route.handler(request.method)
            if not route.open_to_all:
                self._check_key(request)
            reply = await handler(request, argument)
        except (BanditdError, InvalidInput) as error:
            reply = problem_reply(error, request_id(request))
        except Exception:  # the one place: a fault of ours is logged, and the server goes on
            trace = request_id(request)
            log.exception("request_failed", route=name, request_id=trace)
            reply = problem_reply(None, trace)
        seconds = time.perf_counter() - started
        self.metrics.observe(name, reply.code, seconds)
        if self._service.config.log.requests:
            log.info(
                "request", route=name, status=reply.code, ms=round(seconds * 1e3, 3), request_id=request_id(request)
            )
        return reply

    def _find(self, request: web.BaseRequest) -> tuple[_Route, str]:
        route = self._exact.get(request.raw_path)  # as it was sent: the usual case, before a URL is made of it
        if route is not None:
            return route, ""
        path = request.rel_url.raw_path
        route = self._exact.get(path)
        if route is not None:
            return route, ""
        for begin, end, route in self._patterns:
            if path.startswith(begin) and path.endswith(end) and len(path) >= len(begin) + len(end):
                return route, _unquoted(path[len(begin) : len(path) - len(end)])
        raise NotFound("unknown_path", "there is nothing at this path; /docs lists what there is")

    def _check_key(self, request: web.BaseRequest) -> None:
        keys = self._service.config.server.keys
        if not keys:
            return
        if keys is not self._keys_seen:  # a reload brought others
            self._key_digests = tuple(hashlib.sha256(key.encode()).digest() for key in keys)
            self._keys_seen = keys
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode(errors="surrogateescape")).digest()
        # All are compared, each in constant time: how long it takes says nothing about any of them.
        matches = [hmac.compare_digest(digest, known) for known in self._key_digests]
        if scheme.lower() != "bearer" or not any(matches):
            detail = "send 'Authorization: Bearer KEY' with one of the configured API keys"
            raise Unauthenticated("unauthenticated", detail, field="Authorization")

    async def _rank(self, request: web.BaseRequest, _: str) -> Reply:
        body = await read_body(request, self._service.config)
        self._require_ready()
        return Reply(_encode(await self._service.rank(decode(_rank_decoder, body))))

    async def _rank_batch(self, request: web.BaseRequest, _: str) -> Reply:
        return await self._batch(request, _rank_decoder, self._service.rank)

    async def _reward(self, request: web.BaseRequest, _: str) -> Reply:
        body = await read_body(request, self._service.config)
        self._require_ready()
        return Reply(_encode(await self._service.reward(decode(_reward_decoder, body))))

    async def _reward_batch(self, request: web.BaseRequest, _: str) -> Reply:
        return await self._batch(request, _reward_decoder, self._service.reward)

    async def _activate(self, request: web.BaseRequest, event_id: str) -> Reply:
        await read_body(request, self._service.config)
        self._require_ready()
        return Reply(_encode(await self._service.activate(event_id)))

    async def _segments(self, _request: web.BaseRequest, _: str) -> Reply:
        self._require_ready()
        return Reply(_encode(await self._service.segments()))

    async def _segment(self, request: web.BaseRequest, name: str) -> Reply:
        self._require_ready()
        digest = request.rel_url.query.get("digest", "false")
        if digest not in ("true", "false"):
            raise Unprocessable("invalid_value", "must be true or false", field="digest")
        with_digest = digest == "true"
        return Reply(_encode(await self._service.segment(name, with_digest=with_digest)))

    async def _healthz(self, _request: web.BaseRequest, _: str) -> Reply:
        return Reply(b'{"status":"alive"}')

    async def _readyz(self, _request: web.BaseRequest, _: str) -> Reply:
        self._require_ready()
        if self._service.ending:  # who asks here is to send nothing new; what still comes is answered
            raise JournalUnavailable("not_ready", "the server is about to end")
        return Reply(b'{"status":"ready"}')

    async def _metrics(self, _request: web.BaseRequest, _: str) -> Reply:
        return Reply(self.metrics.render(), content_type=CONTENT_TYPE)

    async def _openapi(self, _request: web.BaseRequest, _: str) -> Reply:
        return Reply(openapi_json())

    async def _docs(self, _request: web.BaseRequest, _: str) -> Reply:
        return Reply(docs_page(), content_type=HTML, headers=f"Content-Security-Policy: {CONTENT_SECURITY_POLICY}\r\n")

    async def _to_docs(self, _request: web.BaseRequest, _: str) -> Reply:
        return Reply(b"", status=HTTPStatus.TEMPORARY_REDIRECT, content_type=HTML, headers="Location: /docs\r\n")

    async def _asset(self, _request: web.BaseRequest, name: str) -> Reply:
        content, content_type = docs_asset(name)
        headers = "Cache-Control: max-age=86400\r\nX-Content-Type-Options: nosniff\r\n"
        return Reply(content, content_type=content_type, headers=headers)

    async def _batch(
        self, request: web.BaseRequest, decoder: "msgspec.json.Decoder[T]", call: Callable[[T], Awaitable[Any]]
    ) -> Reply:
        """Answer each item on its own, in order; they go to the journal together."""
        body = await read_body(request, self._service.config)
        self._require_ready()
        items = decode(_list_decoder, body)
        most = self._service.config.limits.batch
        if len(items) > most:
            raise InvalidInput("batch_too_large", "", f"a batch holds at most {most} items, not {len(items)}")
        trace = request_id(request)
        results = await asyncio.gather(*[self._item(decoder, item, call, trace) for item in items])
        return Reply(_encode({"results": results}))

    async def _item(
        self, decoder: "msgspec.json.Decoder[T]", item: msgspec.Raw, call: Callable[[T], Awaitable[Any]], trace: str
    ) -> dict[str, Any]:
        try:
            return {"status": HTTPStatus.OK.value, "result": await call(decode(decoder, item))}
        except (BanditdError, InvalidInput) as error:
            problem: Problem = problem_of(error, trace)
            return {"status": problem.status, "error": problem}

    def _require_ready(self) -> None:
        if not self._service.ready:
            raise JournalUnavailable("not_ready", "the server is folding its logs, or is about to end")

    def _gauges(self) -> list[tuple[str, str, list[tuple[str | None, float]]]]:
        lanes = self._service.lanes
        hot = self._service.keeper.hot
        return [
            ("ready", "1 once all logs are folded.", [(None, float(self._service.ready))]),
            ("learning_backlog", "Outcomes that are not learned from yet.", [(None, float(self._service.backlog))]),
            (
                "outcomes_folded",
                "Number of the last outcome a segment's policy has learned from.",
                [(name, float(lane.seq)) for name, lane in lanes.items()],
            ),
            (
                "outcomes_refused",
                "Outcomes that a segment's policy would not learn from.",
                [(name, float(lane.refused)) for name, lane in lanes.items()],
            ),
            ("hot_lanes", "Policies in memory that can be unloaded.", [(None, float(hot.n_hot))]),
            ("lane_loads", "Times that a segment's policy was loaded.", [(None, float(hot.loads))]),
            ("lane_unloads", "Times that a segment's policy was unloaded.", [(None, float(hot.unloads))]),
            (
                "lane_failed",
                "1 for a segment whose policy stopped at an outcome, by a fault of banditd; the log says which.",
                [(name, float(lane.is_failed)) for name, lane in lanes.items()],
            ),
            (
                "reload_unfinished",
                "1 while a reload that broke off is tried again.",
                [(None, float(self._service.keeper.unfinished is not None))],
            ),
            *self._evaluations.gauges(),
            (
                "reward_mean",
                "Mean reward of a segment's outcomes.",
                [(name, lane.rewards.mean) for name, lane in lanes.items() if lane.rewards.n],
            ),
        ]


def _unquoted(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest("invalid_path", "the path is not valid UTF-8") from None
