"""What banditd is measured against: an aiohttp handler that reads JSON, answers JSON of the same size, and no more.

``python -m bench.bare --port 8081 --reply reply.json`` serves ``POST /v1/rank`` on 127.0.0.1.
"""

import argparse
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp import web

__all__ = ["make_app"]


def make_app(reply: Any) -> web.Application:
    """Return an application that decodes each body of ``POST /v1/rank`` and encodes `reply` anew for it."""

    async def rank(request: web.Request) -> web.Response:
        orjson.loads(await request.read())
        return web.Response(body=orjson.dumps(reply), content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/rank", rank)
    return app


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--reply", type=Path, required=True, help="JSON file that every answer encodes")
    options = parser.parse_args()
    app = make_app(orjson.loads(options.reply.read_bytes()))
    web.run_app(app, host="127.0.0.1", port=options.port, loop=uvloop.new_event_loop(), access_log=None, print=None)


if __name__ == "__main__":
    _main()
