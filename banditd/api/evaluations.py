"""The calls about evaluations: decode, ask the jobs, encode."""

from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
from aiohttp import web

from banditd.api.bodies import decode, read_body
from banditd.api.replies import HTML, Reply
from banditd.errors import JournalUnavailable
from banditd.evaluating.bodies import EvaluationRequest, State
from banditd.evaluating.jobs import Jobs
from banditd.service import Service

__all__ = ["EVALUATIONS", "Evaluations"]

EVALUATIONS: Final = "/v1/evaluations/"

# A report needs nothing from anywhere: it may not run scripts, load, or send anything.
_REPORT_HEADERS: Final = (
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\n"
)
_STATES: Final[dict[State, str]] = {
    "queued": "Evaluations that wait.",
    "running": "Evaluations that run.",
    "done": "Evaluations that came to a result since the server started.",
    "failed": "Evaluations that failed since the server started.",
    "cancelled": "Evaluations that were ended before their time since the server started.",
}

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(EvaluationRequest)


class Evaluations:
    """Handlers, each with the same arguments: the request, and the id in its path.

    Attributes
    ----------
    jobs
        The evaluations that were asked for; who serves closes them.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self.jobs = Jobs(lambda: service.config)

    async def create(self, request: web.BaseRequest, _: str) -> Reply:
        """Queue one."""
        body = await read_body(request, self._service.config)
        if not self._service.ready:
            raise JournalUnavailable("not_ready", "the server is folding its logs, or is about to end")
        info = await self.jobs.create(decode(_decoder, body))
        location = f"Location: {EVALUATIONS}{quote(info.evaluation_id, safe='')}\r\n"
        return Reply(_encode(info), status=HTTPStatus.ACCEPTED.value, headers=location)

    async def all(self, _request: web.BaseRequest, _: str) -> Reply:
        """Say which there are."""
        return Reply(_encode(self.jobs.all()))

    async def show(self, _request: web.BaseRequest, name: str) -> Reply:
        """Say what is known of one, its result included."""
        return Reply(_encode(await self.jobs.info(name)))

    async def report(self, _request: web.BaseRequest, name: str) -> Reply:
        """Return the page about one."""
        return Reply(await self.jobs.report(name), content_type=HTML, headers=_REPORT_HEADERS)

    async def end(self, _request: web.BaseRequest, name: str) -> Reply:
        """Cancel one, or forget it."""
        return Reply(_encode(await self.jobs.delete(name)))

    def gauges(self) -> list[tuple[str, str, list[tuple[str | None, float]]]]:
        """Return what `banditd.metrics` shows of them."""
        counts = self.jobs.counts
        return [(f"evaluations_{state}", text, [(None, float(counts[state]))]) for state, text in _STATES.items()]
