"""Tables from files, a batch of rows at a time: Parquet as it is typed, CSV as strings."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from replay.errors import InvalidLog
from replay.logs.columns import BATCH_ROWS
from replay.logs.sources import STDIN, Source

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PARQUET_MAGIC", "column_names", "read_frames"]

PARQUET_MAGIC = b"PAR1"
_BLOCK_BYTES = 8 << 20
_RECORD_LIMIT_BYTES = 64 << 20  # a quote that is never closed must not swallow the whole file into memory
_SEPARATORS = (",", "\t", ";", "|")


def column_names(source: Source) -> tuple[str, ...]:
    """Return the names of a table's columns, in its order.

    Raises
    ------
    InvalidLog
        The file cannot be read, or is no table.
    """
    first = source.peek()
    if first.startswith(PARQUET_MAGIC):
        return tuple(_scan(source).collect_schema())
    header, _ = _cut(first, whole=True)
    names, _ = _header(source, header)
    return tuple(names)


def read_frames(source: Source, columns: Sequence[str], *, dropped: Counter[str]) -> "Iterator[pl.DataFrame]":
    """Yield the rows of a table, some columns of it; of CSV, everything is a string, and an empty field is null.

    Parameters
    ----------
    dropped
        Where rows with too many or too few fields are counted, as ``"fields_differ"``.

    Raises
    ------
    InvalidLog
        The file cannot be read.
    """
    if source.peek().startswith(PARQUET_MAGIC):
        yield from _parquet(source, columns)
    else:
        for frame in _csv(source, columns, dropped):
            yield from frame.iter_slices(BATCH_ROWS)


def _polars() -> ModuleType:
    try:
        import polars as pl  # noqa: PLC0415 - an import of half a second, for tables alone
    except ImportError as error:
        raise InvalidLog("package_missing", "log", 'is a table: pip install "banditd[replay]"') from error

    return pl


def _parquet(source: Source, columns: Sequence[str]) -> "Iterator[pl.DataFrame]":
    table = _scan(source).select(columns)
    try:
        yield from table.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True, lazy=True)
    except _polars().exceptions.PolarsError as error:
        raise _broken(source, error) from error


def _scan(source: Source) -> "pl.LazyFrame":
    polars = _polars()
    if source.path == STDIN:
        raise InvalidLog("log_read_twice", source.path, "Parquet begins at its end, so it must be a file")
    try:
        frame: pl.LazyFrame = polars.scan_parquet(source.path, glob=False)
        frame.collect_schema()
    except (polars.exceptions.PolarsError, OSError) as error:
        raise _broken(source, error) from error
    return frame


def _broken(source: Source, error: Exception) -> InvalidLog:
    return InvalidLog("log_broken", source.path, f"cannot be read: {str(error).splitlines()[0]}")


def _csv(source: Source, columns: Sequence[str], dropped: Counter[str]) -> "Iterator[pl.DataFrame]":
    with source.open() as stream:
        names, separator, rest = None, ",", b""
        while True:
            block = stream.read(_BLOCK_BYTES)
            records, rest = _cut(rest + block, whole=not block)
            if len(rest) > _RECORD_LIMIT_BYTES:
                raise InvalidLog(
                    "log_broken", source.path, "holds a record of more than 64 MiB: is a quote not closed?"
                )
            if names is None and records:
                head, records = _first_record(records)
                names, separator = _header(source, head)
            if names is not None and records:
                yield _frame(records, names, separator, columns=columns, dropped=dropped)
            if not block:
                return


def _cut(data: bytes, *, whole: bool) -> tuple[bytes, bytes]:
    """Split behind the last record that is complete: its newline stands outside of quotes, an even number of them."""
    if whole:
        return data, b""
    end = data.rfind(b"\n") + 1
    quotes = data.count(b'"', 0, end)
    while end and quotes % 2:
        before = data.rfind(b"\n", 0, end - 1) + 1
        quotes -= data.count(b'"', before, end)
        end = before
    return data[:end], data[end:]


def _first_record(data: bytes) -> tuple[bytes, bytes]:
    end = data.find(b"\n") + 1
    while end and data.count(b'"', 0, end) % 2:
        end = data.find(b"\n", end) + 1
    return (data[:end], data[end:]) if end else (data, b"")


def _header(source: Source, data: bytes) -> tuple[list[str], str]:
    head, _ = _first_record(data)
    text = head.removeprefix(b"\xef\xbb\xbf").decode(errors="replace")
    separator = max(_SEPARATORS, key=text.count)
    names = next(csv.reader(io.StringIO(text), delimiter=separator), [])
    if not names or not any(names):
        raise InvalidLog("log_empty", source.path, "has no line with the names of its columns")
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise InvalidLog("column_twice", source.path, f"has two columns called {twice[0]!r}")
    return names, separator


def _frame(
    records: bytes, names: list[str], separator: str, *, columns: Sequence[str], dropped: Counter[str]
) -> "pl.DataFrame":
    polars = _polars()
    indices = sorted(names.index(one) for one in columns)
    schema = {f"column_{i + 1}": polars.String for i in range(len(names))}  # as polars itself would call them
    try:
        frame: pl.DataFrame = polars.read_csv(
            records, has_header=False, separator=separator, columns=indices, schema=schema, encoding="utf8-lossy"
        )
    except polars.exceptions.PolarsError:
        return _checked(records, names, separator, columns=columns, dropped=dropped)
    # Polars cuts off what is too many, fills up what is too few, and reads a blank line as a row of nulls.
    if records.count(separator.encode()) != frame.height * (len(names) - 1) or b"\n\n" in records or b"\n\r" in records:
        return _checked(records, names, separator, columns=columns, dropped=dropped)
    return frame.rename({f"column_{i + 1}": names[i] for i in indices})


def _checked(
    records: bytes, names: list[str], separator: str, *, columns: Sequence[str], dropped: Counter[str]
) -> "pl.DataFrame":
    """Read field by field, and leave out each row whose fields are not as many as the columns."""
    polars = _polars()
    rows = [row for row in csv.reader(io.StringIO(records.decode(errors="replace")), delimiter=separator) if row]
    whole = [row for row in rows if len(row) == len(names)]
    if len(whole) < len(rows):
        dropped["fields_differ"] += len(rows) - len(whole)
    taken = {name: [row[names.index(name)] or None for row in whole] for name in columns}
    table: pl.DataFrame = polars.DataFrame(taken, schema=dict.fromkeys(columns, polars.String))
    return table
