"""aiohttp's server, made to answer what is not HTTP as it answers everything else: a problem, and no traceback."""

from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from banditd.api.problems import problem_reply, request_id
from banditd.errors import BadRequest
from banditd.logs import get_logger

__all__ = ["HttpServer"]

log = get_logger()


class HttpServer(web.Server):
    """Takes connections; each gets a `_Connection` of its own."""

    def __init__(self, handler: Any, **settings: Any) -> None:
        super().__init__(handler, **settings)
        self._settings = settings

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return _Connection(self, loop=self._loop, **self._settings)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refused, and close the connection: where the next request begins is unknown."""
        del message  # quotes the request
        if status != HTTPStatus.BAD_REQUEST or request.writer.output_size > 0:
            return super().handle_error(request, status, exc)
        log.debug("malformed_request", reason=type(exc).__name__)
        detail = "a line or a header is too long" if isinstance(exc, LineTooLong) else "is not valid HTTP/1.1"
        return problem_reply(BadRequest("malformed_request", detail), request_id(request))
