"""Statistics per action id, for at most so many ids.

An id that is new when the table is full takes the place of the one whose last
lesson lies furthest back: that one is then as unknown as one never seen.

The payload is JSON, ``[[id, number, ...], ...]``, the least recently learned id first.
Python writes a float so that reading it gives the same float, hence the same table
gives the same bytes and the bytes give the same table.
"""

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from policies.errors import StateInvalid

__all__ = ["PerAction", "read_numbers"]


class PerAction:
    """A bounded table: action id → tuple of floats, in the order of the last lesson.

    Parameters
    ----------
    width
        Numbers per id.
    max_actions
        Ids kept.
    """

    __slots__ = ("_max_actions", "_values", "_width", "values")

    def __init__(self, *, width: int, max_actions: int) -> None:
        self._width = width
        self._max_actions = max_actions
        self._values: dict[str, tuple[float, ...]] = {}
        self.values: Mapping[str, tuple[float, ...]] = MappingProxyType(self._values)

    def put(self, action_id: str, values: tuple[float, ...]) -> str | None:
        """Replace the numbers of one id and return the id that had to go for it, if any."""
        table = self._values
        forgotten = None
        if table.pop(action_id, None) is None and len(table) >= self._max_actions:
            forgotten = next(iter(table))
            del table[forgotten]
        table[action_id] = values
        return forgotten

    def like(self) -> "PerAction":
        """Return an empty table of the same width and size."""
        return PerAction(width=self._width, max_actions=self._max_actions)

    def dumps(self) -> bytes:
        """Return the whole table as JSON."""
        return json.dumps([[key, *values] for key, values in self._values.items()], separators=(",", ":")).encode()

    def loads(self, payload: bytes) -> None:
        """Replace the table with one that `dumps` wrote.

        Raises
        ------
        StateInvalid
            It is not such a table; the one in place stays.
        """
        rows = _read(payload)
        if not all(isinstance(row, list) and row and isinstance(row[0], str) for row in rows):
            raise StateInvalid("the state is not a table of numbers per action")
        table = {row[0]: _numbers(row[1:], self._width) for row in rows}
        if len(table) != len(rows) or len(table) > self._max_actions:
            raise StateInvalid("the state holds an action twice, or too many")
        self._values = table
        self.values = MappingProxyType(table)


def read_numbers(payload: bytes, *, width: int | None = None) -> tuple[float, ...]:
    """Return the floats of a JSON list.

    Parameters
    ----------
    width
        How many there must be; None: one or more.

    Raises
    ------
    StateInvalid
        It is not a list of that many finite floats.
    """
    values = _read(payload)
    return _numbers(values, (len(values) or 1) if width is None else width)


def _read(payload: bytes) -> list[Any]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        raise StateInvalid("the state is not JSON") from None
    if not isinstance(value, list):
        raise StateInvalid("the state is not a JSON list")
    return value


def _numbers(values: list[Any], width: int) -> tuple[float, ...]:
    if len(values) != width or not all(type(value) is float and math.isfinite(value) for value in values):
        raise StateInvalid(f"the state does not hold {width} finite numbers where it should")
    return tuple(values)
