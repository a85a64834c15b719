"""Logs: one JSON object per line on standard output.

Each line has ``event`` (a constant name), ``level``, ``timestamp`` (UTC, ISO 8601) and its key-values.
What is logged never holds a context, a key or a raw user id; the `subject` stands for the user.
"""

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, Final, Literal

import orjson
import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, FilteringBoundLogger

__all__ = ["Level", "configure", "get_logger", "set_level"]

Level = Literal["debug", "info", "warning", "error"]

_LEVELS: Final[dict[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_MAX_FRAMES = 30
_MAX_TEXT = 2_000  # characters of an exception's message

_threshold = logging.INFO


def configure(*, level: Level = "info", stream: BinaryIO | None = None) -> None:
    """Send the process's logs, those of the libraries included, to one stream as JSON lines.

    Parameters
    ----------
    level
        The least level that is written; `set_level` changes it later.
    stream
        Where to; None means standard output.
    """
    set_level(level)
    structlog.configure(
        processors=[
            _drop_below_threshold,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(
                # Local variables would hold contexts, users and keys.
                ExceptionDictTransformer(show_locals=False, max_frames=_MAX_FRAMES)
            ),
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        # Loggers are cached, so the level is looked up by a processor: a reload must reach them all.
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.BytesLoggerFactory(file=sys.stdout.buffer if stream is None else stream),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_Forward(structlog.get_logger())]
    root.setLevel(logging.WARNING)  # below that, libraries talk about requests


def set_level(level: Level) -> None:
    """Change the least level that is written, for every logger at once."""
    global _threshold  # noqa: PLW0603 - logging is the process's; so is its level
    _threshold = _LEVELS[level]


def get_logger(**values: Any) -> FilteringBoundLogger:
    """Return a logger that adds `values` to each line."""
    logger: FilteringBoundLogger = structlog.get_logger(**values)
    return logger


class _Forward(logging.Handler):
    """Writes what a library logs through `logging` as an event of ours."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()[:_MAX_TEXT]
        # exc_info can be (None, None, None) where a library logs outside of an exception
        exc_info = record.exc_info if record.exc_info and record.exc_info[1] is not None else None
        level = max(logging.DEBUG, min(record.levelno // 10 * 10, logging.ERROR))
        self._logger.log(level, "library_message", source=record.name, message=message, exc_info=exc_info)


def _drop_below_threshold(_logger: Any, method: str, event: EventDict) -> EventDict:
    if _LEVELS.get(method, logging.ERROR) < _threshold:
        raise structlog.DropEvent
    return event


def _dumps(event: EventDict, default: Callable[[Any], Any] | None = None) -> bytes:
    del default  # structlog's own falls back to repr(), which may show what an object holds
    try:
        return orjson.dumps(event, default=_type_name)
    except TypeError:  # broken surrogates, integers beyond 64 bits, keys that are no strings: a log line never raises
        return json.dumps(event, default=_type_name, skipkeys=True).encode()


def _type_name(value: object) -> str:
    return f"<{type(value).__name__}>"
