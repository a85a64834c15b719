"""A log from its path: what it is written in is seen from what is inside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from replay.errors import InvalidLog
from replay.logs.dsjson import Cost, DsjsonLog
from replay.logs.frames import PARQUET_MAGIC, column_names
from replay.logs.jsonl import JsonlLog
from replay.logs.mapping import ColumnMapping, parse_mapping
from replay.logs.obd import OPEN_BANDIT_COLUMNS, OpenBanditLog
from replay.logs.sources import Paths, Source, find_sources
from replay.logs.tables import TableLog

__all__ = ["Log", "LogFormat", "log_format", "open_log"]

LogFormat = Literal["dsjson", "jsonl", "obd", "csv", "parquet"]
Log = DsjsonLog | JsonlLog | OpenBanditLog | TableLog

_ITEMS = "item_context.csv"  # of the Open Bandit Dataset: beside a log, and none itself
_OUR_WORDS = ("at", "reward_at", "event_id", "segment", "position", "drop_probability", "q_logged")
_OUR_LISTS = ("action_set", "probabilities")


def open_log(
    paths: Paths,
    *,
    format: Literal["auto", "dsjson", "jsonl", "obd", "csv", "parquet"] = "auto",  # noqa: A002 - what the command line calls it
    mapping: ColumnMapping | Mapping[str, Any] | str | Path | None = None,
    cost: Cost = "original",
) -> Log:
    """Open a log of any format.

    Parameters
    ----------
    paths
        A file, a folder, a pattern, ``"-"`` for standard input, or several of them: one log, in that order.
    format
        ``"auto"`` looks into the files.
    mapping
        For CSV and Parquet: which column is what, as for `parse_mapping`. Without it the columns must be called as
        `ColumnMapping` calls them (``context.…``, ``target.NAME`` and ``q_target.NAME`` among them).
    cost
        For dsjson: whose negative is the reward.

    Raises
    ------
    InvalidLog
        Nothing is there, it is empty or cannot be read, its files are not of one format, or a column is missing.
    """
    if format not in ("auto", *get_args(LogFormat)):
        known = ", ".join(("auto", *get_args(LogFormat)))
        raise InvalidLog("format_unknown", "format", f"must be one of {known}, not {format!r}")
    sources = [one for one in find_sources(paths) if one.path == "-" or Path(one.path).name != _ITEMS]
    if format == "auto":
        sources = [one for one in sources if one.peek()]  # a day without a decision is an empty file
        if not sources:
            raise InvalidLog("log_empty", "path", "holds nothing")
    found = _only([log_format(one) for one in sources], sources) if format == "auto" else format
    if mapping is not None:
        if found in ("dsjson", "jsonl"):
            raise InvalidLog("mapping_unused", "mapping", f"is for tables, and the log is {found}")
        return TableLog(sources, parse_mapping(mapping))
    if found == "dsjson":
        return DsjsonLog(sources, cost)
    if found == "jsonl":
        return JsonlLog(sources)
    if found == "obd":
        return OpenBanditLog(sources)
    return TableLog(sources, _plain_mapping(sources[0]))


def log_format(source: Source) -> LogFormat:
    """Return what a file is written in.

    Raises
    ------
    InvalidLog
        It is empty or cannot be read.
    """
    first = source.peek()
    if first.startswith(PARQUET_MAGIC):
        return "parquet"
    lines = [line for line in first.splitlines() if line.lstrip().startswith(b"{")]
    if lines:
        return "jsonl" if _is_ours(lines[0]) else "dsjson"
    if b"\0" in first:
        detail = "is binary, and neither Parquet nor packed by gzip or zstd; text must be UTF-8"
        raise InvalidLog("log_unreadable", source.path, detail)
    names = column_names(source)
    return "obd" if set(names) >= OPEN_BANDIT_COLUMNS else "csv"


def _is_ours(line: bytes) -> bool:
    """Whether a line is one of banditd's own; of a line that is cut off, by what stands in it."""
    try:
        decision = orjson.loads(line)
    except orjson.JSONDecodeError:
        return all(word in line for word in (b'"event_id"', b'"lane"', b'"context"')) and b'"EventId"' not in line
    return "slots" in decision and "EventId" not in decision


def _only(formats: Sequence[LogFormat], sources: Sequence[Source]) -> LogFormat:
    for one, source in zip(formats, sources, strict=True):
        if one != formats[0]:
            detail = f"is {one}, but {sources[0].path} is {formats[0]}: a log is of one format"
            raise InvalidLog("formats_differ", source.path, detail)
    return formats[0]


def _plain_mapping(source: Source) -> ColumnMapping:
    """Return the mapping of a table whose columns are called as we call them, as an export of banditd's are."""
    names = column_names(source)
    plain = ColumnMapping()
    missing = [one for one in (plain.reward, plain.propensity, plain.action) if one not in names]
    if missing:
        detail = (
            f"has no column {missing[0]!r}, so say by a mapping which column is what; it has {', '.join(names[:30])}"
        )
        raise InvalidLog("mapping_missing", source.path, detail)
    words: dict[str, Any] = {name: name for name in _OUR_WORDS if name in names}
    if "action_set" in names:
        words.update((name, name) for name in _OUR_LISTS if name in names)
    words.update((name, name) for name in names if name.startswith(("target.", "q_target.")))
    if any(name.startswith("context.") for name in names):
        words["context"] = ["context.*"]
    return parse_mapping(words)
