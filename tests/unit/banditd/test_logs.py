"""Logs: one JSON object a line, at the level asked for, never an exception, never a local variable."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from banditd.logs import configure, get_logger, set_level


@pytest.fixture
def stream() -> Iterator[io.BytesIO]:
    """Return where logs go for the length of one test."""
    handlers, level = logging.getLogger().handlers, logging.getLogger().level
    captured = io.BytesIO()
    configure(level="info", stream=captured)
    yield captured
    structlog.reset_defaults()
    set_level("info")
    logging.getLogger().handlers = handlers
    logging.getLogger().setLevel(level)


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    """Return what was logged."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_holds_event_level_time_and_values(stream: io.BytesIO) -> None:
    """A line is a JSON object of the event's name, its level, a UTC time and what was passed."""
    get_logger(lane="mobile").info("reward_late", age_s=1.5)

    (line,) = lines(stream)
    at = datetime.fromisoformat(line.pop("timestamp"))
    assert line == {"event": "reward_late", "level": "info", "lane": "mobile", "age_s": 1.5}
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(tz=UTC) - at) < timedelta(minutes=1)


def test_every_line_ends_with_one_newline(stream: io.BytesIO) -> None:
    """A value with line breaks cannot start a line of its own."""
    get_logger().info("event", value='a\n{"event": "forged"}\r\n\u2028')

    assert stream.getvalue().count(b"\n") == 1
    assert stream.getvalue().endswith(b"}\n")


def test_level_reaches_loggers_that_are_in_use(stream: io.BytesIO) -> None:
    """A reload that changes the level changes it for loggers that logged before."""
    logger = get_logger()
    logger.debug("one")
    logger.info("two")

    set_level("debug")
    logger.debug("three")
    set_level("error")
    logger.warning("four")
    logger.error("five")

    assert [line["event"] for line in lines(stream)] == ["two", "three", "five"]


def test_traceback_is_structured_and_shows_no_local_variable(stream: io.BytesIO) -> None:
    """An exception is logged with its frames, and without what its variables held."""

    def fail() -> None:
        api_key = f"hunter{1 + 1}"  # as a literal it would stand in the source line
        raise RuntimeError(len(api_key))

    try:
        fail()
    except RuntimeError:
        get_logger().exception("request_failed")

    (line,) = lines(stream)
    (error,) = line["exception"]
    assert (line["level"], error["exc_type"], error["exc_value"]) == ("error", "RuntimeError", "7")
    assert error["frames"][-1]["name"] == "fail"
    assert "hunter2" not in stream.getvalue().decode()


class Holder:
    """An object whose text form shows what it holds."""

    def __repr__(self) -> str:
        """Return a secret."""
        return "hunter2"


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        pytest.param(Holder(), "<Holder>", id="object-by-type-alone"),
        pytest.param("\ud800", "\ud800", id="broken-surrogate"),
        pytest.param(2**70, 2**70, id="large-integer"),
        pytest.param({1: "a"}, {"1": "a"}, id="key-that-is-no-string"),
        pytest.param(b"hunter2", "<bytes>", id="bytes"),
        pytest.param([2**70, Holder()], [2**70, "<Holder>"], id="both"),
        pytest.param(float("nan"), None, id="not-a-number"),
    ],
)
def test_no_value_makes_logging_raise(stream: io.BytesIO, value: object, logged: object) -> None:
    """Whatever is passed is written in some form, and never by its `repr`."""
    get_logger().info("event", value=value)

    (line,) = lines(stream)
    assert line["value"] == logged
    assert "hunter2" not in stream.getvalue().decode()


def test_libraries_log_as_json_too(stream: io.BytesIO) -> None:
    """A warning that a library logs becomes a line of ours; its chatter below that does not."""
    logging.getLogger("asyncio").info("chatter")
    logging.getLogger("aiohttp.server").warning("odd %s", "thing")

    (line,) = lines(stream)
    line.pop("timestamp")
    assert line == {"event": "library_message", "level": "warning", "source": "aiohttp.server", "message": "odd thing"}


def test_library_exception_comes_with_its_traceback(stream: io.BytesIO) -> None:
    """An exception that a library logs is structured like one of ours."""
    try:
        raise KeyError("gone")  # noqa: TRY301 - the subject of the test
    except KeyError:
        logging.getLogger("asyncio").exception("callback failed")

    (line,) = lines(stream)
    assert line["level"] == "error"
    assert line["exception"][0]["exc_type"] == "KeyError"


def test_odd_library_levels_become_ours(stream: io.BytesIO) -> None:
    """Levels that only `logging` knows are written as the nearest one below, at most `error`."""
    library = logging.getLogger("library")

    library.log(35, "custom")
    library.critical("worst")

    assert [line["level"] for line in lines(stream)] == ["warning", "error"]


def test_logs_go_to_standard_output() -> None:
    """Without a stream, lines go to standard output and nothing goes to standard error."""
    program = "from banditd.logs import configure, get_logger; configure(level='info'); get_logger().info('hello')"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert json.loads(done.stdout)["event"] == "hello"
    assert done.stderr == b""
