"""Logs of every format, read as decisions or as columns, with a count of what was left out and why."""

from replay.logs.columns import ColumnLog, Columns
from replay.logs.dsjson import DsjsonLog
from replay.logs.jsonl import JsonlLog
from replay.logs.labels import Label, SlotLabel
from replay.logs.mapping import ColumnMapping, parse_mapping
from replay.logs.obd import OpenBanditLog
from replay.logs.opening import Log, LogFormat, log_format, open_log
from replay.logs.rules import label_of
from replay.logs.sources import read_lines
from replay.logs.tables import TableLog

__all__ = [
    "ColumnLog",
    "ColumnMapping",
    "Columns",
    "DsjsonLog",
    "JsonlLog",
    "Label",
    "Log",
    "LogFormat",
    "OpenBanditLog",
    "SlotLabel",
    "TableLog",
    "label_of",
    "log_format",
    "open_log",
    "parse_mapping",
    "read_lines",
]
