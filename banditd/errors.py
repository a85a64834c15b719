"""What `banditd` raises on purpose; `banditd.api` alone turns these into HTTP.

BanditdError
├── BadRequest            400  the body is not what it claims to be
├── Unauthenticated       401
├── NotFound              404
├── MethodNotAllowed      405
├── Conflict              409
├── TooLate               410
├── BodyTooLarge          413
├── UnsupportedMedia      415
├── Unprocessable         422  well formed, but not allowed; names the field
├── TooMany               429  as much of this waits as may; nothing was done
├── NotPossible           501  this server lacks what it takes
├── JournalUnavailable    503  retry with the same event id; the outcome is unknown
│   └── Overloaded        503  retry with the same event id; nothing was done
├── CannotListen          -    the address is taken, or not ours; the start ends
├── ConfigError           -    the configuration cannot be used; exit code 2
└── JournalCorrupt        -    the store is not what we wrote; the process stops
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import ClassVar

__all__ = [
    "BadRequest",
    "BanditdError",
    "BodyTooLarge",
    "CannotListen",
    "ConfigError",
    "Conflict",
    "JournalCorrupt",
    "JournalUnavailable",
    "MethodNotAllowed",
    "NotFound",
    "NotPossible",
    "Overloaded",
    "TooLate",
    "TooMany",
    "Unauthenticated",
    "Unprocessable",
    "UnsupportedMedia",
]


class BanditdError(Exception):
    """Base: a stable `code`, one sentence of `detail`, and the `field` it is about."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    retry_after_s: ClassVar[int | None] = None

    def __init__(self, code: str, detail: str, *, field: str | None = None) -> None:
        super().__init__(f"{field}: {detail}" if field else detail)
        self.code = code
        self.detail = detail
        self.field = field


class BadRequest(BanditdError):
    """The body is not JSON, or its transfer broke off."""

    status = HTTPStatus.BAD_REQUEST


class Unauthenticated(BanditdError):
    """No API key, or none that is configured."""

    status = HTTPStatus.UNAUTHORIZED


class NotFound(BanditdError):
    """There is no such event, segment or path."""

    status = HTTPStatus.NOT_FOUND


class MethodNotAllowed(BanditdError):
    """The path exists, but not with this method."""

    status = HTTPStatus.METHOD_NOT_ALLOWED

    def __init__(self, code: str, detail: str, *, allow: Iterable[str]) -> None:
        super().__init__(code, detail)
        self.allow = ", ".join(allow)


class Conflict(BanditdError):
    """The same event id came before with another request."""

    status = HTTPStatus.CONFLICT


class TooLate(BanditdError):
    """The reward window has closed; nothing changed."""

    status = HTTPStatus.GONE


class BodyTooLarge(BanditdError):
    """The body is larger than `limits.body_bytes`."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMedia(BanditdError):
    """The body is compressed."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class Unprocessable(BanditdError):
    """The request is well-formed JSON that breaks a rule."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class TooMany(BanditdError):
    """As much of this waits as may; nothing was done."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    retry_after_s = 10


class NotPossible(BanditdError):
    """The server lacks what it takes, such as a package."""

    status = HTTPStatus.NOT_IMPLEMENTED


class JournalUnavailable(BanditdError):
    """The journal did not answer; whether it did the work is unknown."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after_s = 1


class Overloaded(JournalUnavailable):
    """More is waiting for the journal than a bounded queue holds; nothing was done."""


class ConfigError(BanditdError):
    """The configuration cannot be used; `field` is the path of the key."""


class CannotListen(BanditdError):
    """The address is taken, or not ours."""


class JournalCorrupt(BanditdError):
    """The store does not hold what banditd writes; going on could lose more."""
