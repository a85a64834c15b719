"""Columns of a table as numpy arrays; what cannot be read becomes NaN, what can never be read an error."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.errors import InvalidLog

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "datetimes",
    "floats",
    "holds_numbers",
    "is_distribution",
    "lists",
    "require",
    "seconds",
    "strings",
    "vectors",
]

_SUM_SLACK = 1e-5


def floats(column: "pl.Series") -> FloatArray:
    """Return a column as float64, NaN for nulls and for text that is no number.

    Raises
    ------
    InvalidLog
        The column is of a type that holds no numbers.
    """
    import polars as pl  # noqa: PLC0415 - an import of half a second, for tables alone

    dtype = column.dtype
    if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Null)):
        raise _wrong_type(column, "numbers")
    result: FloatArray = column.cast(pl.Float64, strict=False).fill_null(math.nan).to_numpy()
    return result


def holds_numbers(column: "pl.Series") -> bool:
    """Whether a column is of numbers, or of texts that are all numbers."""
    import polars as pl  # noqa: PLC0415 - an import of half a second, for tables alone

    if column.dtype != pl.String:
        return column.dtype.is_numeric()
    nulls = column.null_count()
    return column.cast(pl.Float64, strict=False).null_count() == nulls < len(column)


def strings(column: "pl.Series") -> NDArray[Any]:
    """Return a column as strings, "" for null."""
    import polars as pl  # noqa: PLC0415 - an import of half a second, for tables alone

    if column.dtype.is_nested():
        raise _wrong_type(column, "text")
    return column.cast(pl.String, strict=False).fill_null("").to_numpy()


def datetimes(column: "pl.Series") -> FloatArray:
    """Return a column as UTC seconds: of numbers, of datetimes, or of ISO 8601 text; NaN for what is none.

    Raises
    ------
    InvalidLog
        The column is of a type that holds no times.
    """
    import polars as pl  # noqa: PLC0415 - an import of half a second, for tables alone

    if column.dtype in (pl.Datetime, pl.Date):
        result: FloatArray = (
            column.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64).fill_null(math.nan).to_numpy() / 1e6
        )
        return result
    if column.dtype != pl.String:
        return floats(column)
    return np.fromiter((seconds(one) for one in column.to_list()), dtype=np.float64, count=len(column))


def seconds(text: str | None) -> float:
    """Return UTC seconds of a number or of an ISO 8601 time, which is taken for UTC without a zone; else NaN."""
    if not text:
        return math.nan
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def lists(column: "pl.Series") -> list[list[Any] | None]:
    """Return a column of lists, or of JSON text with lists; None for what is none.

    Raises
    ------
    InvalidLog
        The column is of a type that holds no lists.
    """
    import polars as pl  # noqa: PLC0415 - an import of half a second, for tables alone

    if column.dtype in (pl.List, pl.Array):
        return column.to_list()
    if column.dtype != pl.String:
        raise _wrong_type(column, "lists")
    return [_json_list(one) for one in column.to_list()]


def require(column: "pl.Series", wanted: Literal["numbers", "times", "lists"]) -> None:
    """Refuse a column of texts none of which can be read: one row's text is its own fault, all rows' the mapping's.

    Raises
    ------
    InvalidLog
        The column is of a wrong type.
    """
    n_texts = len(column) - column.null_count()
    if wanted == "lists":
        n_read = sum(one is not None for one in lists(column))
    else:
        n_read = int((~np.isnan((floats if wanted == "numbers" else datetimes)(column))).sum())
    if n_texts and not n_read and not column.dtype.is_numeric():
        raise _wrong_type(column, wanted)


def vectors(column: "pl.Series", width: int) -> FloatArray:
    """Return a column of distributions, shape (n, width); a row of NaN for what is no distribution over so many."""
    rows = np.full((len(column), width), math.nan)
    for i, one in enumerate(lists(column)):
        vector = distribution(one)
        if vector is not None and len(vector) == width:
            rows[i] = vector
    return rows


def distribution(values: Any) -> FloatArray | None:
    """Return numbers that are ≥ 0 and sum to 1 within 1e-5 as an array, else None."""
    if not isinstance(values, list) or not all(type(one) in (float, int) for one in values):
        return None
    return np.array(values, dtype=np.float64) if is_distribution(values) else None


def is_distribution(values: Sequence[float]) -> bool:
    """Whether numbers are ≥ 0 and sum to 1 within 1e-5."""
    return min(values, default=-1.0) >= 0 and abs(math.fsum(values) - 1) <= _SUM_SLACK


def _json_list(text: str | None) -> list[Any] | None:
    try:
        value = orjson.loads(text or "null")
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, list) else None


def _wrong_type(column: "pl.Series", wanted: str) -> InvalidLog:
    example = next((repr(one)[:60] for one in column.drop_nulls().head(1)), "nothing")
    return InvalidLog(
        "column_type", column.name, f"must hold {wanted}, but is of type {column.dtype}, such as {example}"
    )
