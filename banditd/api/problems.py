"""Errors as `application/problem+json` (RFC 9457): the one place where they become HTTP."""

import re
import secrets
from http import HTTPStatus

import msgspec
from aiohttp import web

from banditd.api.replies import PROBLEM, Reply
from banditd.errors import BanditdError, MethodNotAllowed, Unauthenticated
from banditd.messages import Problem
from policies.errors import InvalidInput

__all__ = ["problem_of", "problem_reply", "request_id"]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")


def request_id(request: web.BaseRequest) -> str:
    """Return the id that the client gave the request, or a new one."""
    given = request.headers.get("X-Request-Id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def problem_of(error: BanditdError | InvalidInput, trace: str) -> Problem:
    """Return the body that tells a client of an error."""
    status = HTTPStatus.UNPROCESSABLE_ENTITY if isinstance(error, InvalidInput) else error.status
    return _problem(status, code=error.code, detail=error.detail, field=error.field or None, trace=trace)


def problem_reply(error: BanditdError | InvalidInput | None, trace: str) -> Reply:
    """Return the reply to a request that failed; None for a fault of ours."""
    headers = f"X-Request-Id: {trace}\r\n"
    if error is None:
        detail = "banditd failed; its log has a line with this request id"
        problem = _problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, code="internal_error", detail=detail, field=None, trace=trace
        )
        return Reply(msgspec.json.encode(problem), status=500, content_type=PROBLEM, headers=headers)
    problem = problem_of(error, trace)
    if isinstance(error, BanditdError) and error.retry_after_s is not None:
        headers += f"Retry-After: {error.retry_after_s}\r\n"
    if isinstance(error, Unauthenticated):
        headers += 'WWW-Authenticate: Bearer realm="banditd"\r\n'
    if isinstance(error, MethodNotAllowed):
        headers += f"Allow: {error.allow}\r\n"
    return Reply(msgspec.json.encode(problem), status=problem.status, content_type=PROBLEM, headers=headers)


def _problem(status: HTTPStatus, *, code: str, detail: str, field: str | None, trace: str) -> Problem:
    return Problem(
        type=f"urn:banditd:error:{code}",
        title=status.phrase,
        status=status.value,
        detail=detail,
        code=code,
        request_id=trace,
        field=field,
    )
