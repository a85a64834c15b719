"""Take a request's body in: whole, within its limit, in time, and as a typed struct."""

import asyncio
import json
import math
from typing import TypeVar

import msgspec
from aiohttp import ClientConnectionError, web

from banditd.config import Config
from banditd.errors import BadRequest, BodyTooLarge, Unprocessable, UnsupportedMedia
from banditd.segments.reading import split_path

__all__ = ["decode", "read_body"]

T = TypeVar("T")
_SHOWN = 64  # characters of a key in the path of what is wrong


async def read_body(request: web.BaseRequest, config: Config) -> bytes:
    """Return the whole body.

    Raises
    ------
    UnsupportedMedia
        It is compressed.
    BodyTooLarge
        It is larger than `limits.body_bytes`; the rest is not read.
    BadRequest
        It broke off, or took longer than `server.body_timeout`.
    """
    limit = config.limits.body_bytes
    if "Content-Encoding" in request.headers:
        raise UnsupportedMedia("compressed_body", "compressed bodies are not taken", field="Content-Encoding")
    content = request.content
    if content.is_eof():  # it came with the header: the usual case, and no time limit is needed
        body = content.read_nowait(-1)
    elif (request.content_length or 0) > limit:
        raise _too_large(limit)
    else:
        try:
            _invite_body(request)
            async with asyncio.timeout(config.server.body_timeout_s):
                parts = []
                size = 0
                async for part in content.iter_any():
                    parts.append(part)
                    size += len(part)
                    if size > limit:
                        raise _too_large(limit)
                body = b"".join(parts)
        except TimeoutError:
            detail = f"the body did not arrive within {config.server.body_timeout_s:g} s"
            raise BadRequest("body_too_slow", detail) from None
        except (ClientConnectionError, web.RequestPayloadError, ConnectionError):
            raise BadRequest("body_broke_off", "the body broke off") from None
    if len(body) > limit:
        raise _too_large(limit)
    return body


def decode(decoder: "msgspec.json.Decoder[T]", body: bytes | msgspec.Raw) -> T:
    """Return what the body describes.

    Raises
    ------
    BadRequest
        It is not JSON.
    Unprocessable
        It is JSON, but not what is asked for; names the field.
    """
    if not body:
        raise BadRequest("malformed_json", "the body is empty")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), body) from None
    except RecursionError:
        raise Unprocessable("too_deep", "is nested too deeply", field=None) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest("malformed_json", str(error).replace("`", "")) from None


def _invalid(message: str, body: bytes | msgspec.Raw) -> Unprocessable:
    """Return what is wrong; which key of an object it was, msgspec does not say."""
    detail, path = split_path(message)
    field = path.lstrip(".")
    field, inside, deeper = field.partition("[...]")
    if inside and not deeper and ("`float`" in message or message.startswith("Number out of range")):
        field += _first_that_is_no_number(bytes(body), field)
    if message.startswith("Number out of range"):
        return Unprocessable("number_not_finite", "must be a finite number", field=field)
    return Unprocessable("invalid_value", detail, field=field or None)


def _first_that_is_no_number(body: bytes, field: str) -> str:
    """Return where in an object of numbers the first value is that is none: ``".x"``, or empty."""
    try:
        numbers = json.loads(body, parse_int=float)[field]  # a float also if it is too large for one: infinite then
    except (
        ValueError,
        RecursionError,
        LookupError,
    ):  # wrong beyond that number, which msgspec had read no further than
        return ""
    for key, value in numbers.items() if isinstance(numbers, dict) else ():  # no object: the same key came again
        if not (isinstance(value, float) and math.isfinite(value)):
            return f".{key[:_SHOWN]}"
    return ""


def _invite_body(request: web.BaseRequest) -> None:
    """Tell a client that waits for leave to send its body to go on; some wait a second, some for ever."""
    transport = request.transport
    if transport is not None and request.headers.get("Expect", "").lower() == "100-continue":
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge("body_too_large", f"must be at most {limit} bytes")
