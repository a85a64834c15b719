"""Turn the features of a context or an action into a vector of numbers.

The features come from `Context.line` and `Action.line`, where they are checked and escaped. Column 0 is the constant 1.
A feature gets the next free column when it is learned from, at first or second sight; when `max_features` have one,
those seen longest ago make room (`policies.linear_admission`). What has no column contributes nothing.

=========================  ======================================================================================
feature                    its column holds
=========================  ======================================================================================
``name``, ``name=value``   1 where the feature is there, 0 where it is not
``name:number``            (number − mean) ÷ standard deviation of the numbers learned so far, cut off at ±4; 0
                           where the feature is not there, and as long as all numbers were the same
=========================  ======================================================================================

So numbers of any unit are alike, and none can outweigh the rest.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from policies.errors import StateInvalid
from policies.features import Action, Context
from policies.linear_admission import Admission
from policies.linear_scales import NO_NUMBERS, Sums, scale, taken_in

__all__ = ["Columns"]

_CONTEXT = "|s"  # opens the namespace of a context's own features
_ACTION = "|a"  # the same of an action's
_ID = "%id="  # opens the id of an action in its line
_LARGEST: Final = 4.0  # deviations

_MOST_OUTCOMES: Final = 2**53  # in a state

_NO_COLUMNS: Final[Mapping[str, int]] = {}


class Columns:
    """Which feature has which column, and the scale of each.

    Parameters
    ----------
    max_features
        Columns, the constant not counted.
    max_ids
        Columns for ids of actions, on top of those.

    Attributes
    ----------
    ignored
        How often a feature was met in learning and got no column.
    n
        Outcomes learned.
    keys
        A number for each column, the constant included, that stays the same when columns before it go.
    """

    __slots__ = (
        "_escaped",
        "_features",
        "_ids",
        "_max_features",
        "_max_ids",
        "_names",
        "_numbers",
        "_scales",
        "_seen",
        "_strings",
        "_sums",
        "_tables",
        "_taken",
        "ignored",
        "keys",
        "n",
    )

    def __init__(self, *, max_features: int, max_ids: int = 0) -> None:
        self._max_features = max_features
        self._max_ids = max_ids
        self._features = Admission(max_features)
        self._ids = Admission(max_ids)
        self.ignored = 0
        self.n = 0
        self._clear()

    def _clear(self) -> None:
        self.keys = [0]
        self._taken: tuple[list[int], list[int]] = ([], [])  # columns of features, of ids
        self._seen = [0]  # of all columns: the outcome that had it last
        self._names: list[tuple[str, str]] = []  # namespace and name of the columns but the first
        self._sums: list[Sums] = []
        self._scales: list[tuple[float, float]] = [(0.0, 0.0)]  # of all columns: what to take off, what to multiply by
        self._tables: dict[str, dict[str, int]] = {}
        # The shortcut past the line, for an object's own features: by the names and values as they came.
        self._numbers: dict[str, int] = {}
        self._strings: dict[tuple[str, str], int] = {}
        self._escaped = False  # whether a name or a value is written otherwise in the line; then there is no shortcut

    def __len__(self) -> int:
        """Return the number of columns, the constant included."""
        return len(self._scales)

    def context(self, context: Context) -> list[float]:
        """Return the features of a context as numbers, one for each column."""
        values = [0.0] * len(self._scales)
        values[0] = 1.0
        line = context.line
        end = 0
        if not self._escaped and self._set_plain(context.data, values):
            end = line.find(" |")  # the namespaces that follow are of a slot or segment
            if end < 0:
                return values
        self._set_line(line[end:].lstrip(), values)
        return values

    def action(self, action: Action) -> list[float]:
        """Return the features of an action as numbers, one for each column."""
        values = [0.0] * len(self._scales)
        values[0] = 1.0
        line = action.line
        if not self._escaped and self._set_plain(action.features, values):
            line = " ".join(
                [part for part in line.split(" ", 2)[:2] if part[0] == "|" or part.startswith(_ID)]
            )  # the id
        self._set_line(line, values)
        return values

    def learn(self, line: str) -> list[int] | None:
        """Take the numbers of an outcome into their scales, and give new features a column.

        Returns
        -------
        None, or, if columns had to go, those that were kept, in the order in which they now are.
        """
        self.n = now = self.n + 1
        seen, sums, scales = self._seen, self._sums, self._scales
        namespace = ""
        new: list[tuple[str, str, str]] = []
        column_of = _NO_COLUMNS.get
        for token in line.split(" "):
            name, is_number, number = token.partition(":")
            column = column_of(name)
            if column is None:
                if token[0] == "|":
                    namespace = token
                    column_of = self._tables.get(namespace, _NO_COLUMNS).get
                else:
                    new.append((namespace, name, number))
                continue
            seen[column] = now
            if is_number:
                sums[column - 1], scales[column] = taken_in(float(number), *sums[column - 1])
        return self._admit(new) if new else None

    def is_id(self, column: int) -> bool:
        """Return whether a column is that of an action's id."""
        return column > 0 and _is_id(*self._names[column - 1])

    def dumps(self) -> list[Any]:
        """Return the whole state as JSON values."""
        rows = [[*name, *sums, seen] for name, sums, seen in zip(self._names, self._sums, self._seen[1:], strict=True)]
        return [self.ignored, rows, self.n, self._features.dumps(), self._ids.dumps()]

    def read(self, state: Any) -> "Columns":
        """Return the columns, of the same settings, that `dumps` described.

        Raises
        ------
        StateInvalid
            It did not return that.
        """
        match state:
            case [int(ignored), list(rows), int(n), features, ids] if 0 <= n <= _MOST_OUTCOMES:
                pass
            case _:
                raise StateInvalid("not a table of columns")
        result = Columns(max_features=self._max_features, max_ids=self._max_ids)
        result.ignored, result.n = ignored, n
        result._features, result._ids = self._features.read(features), self._ids.read(ids)
        for row in rows:
            (namespace, name), sums, seen = _row(row)
            if name in result._tables.get(namespace, ()) or not 0 < seen <= n:
                raise StateInvalid("a feature has two columns, or was seen in no outcome")
            result._append(namespace, name, sums, seen)
        if len(result._taken[False]) > self._max_features or len(result._taken[True]) > self._max_ids:
            raise StateInvalid("more columns than there may be")
        return result

    def _admit(self, new: list[tuple[str, str, str]]) -> list[int] | None:
        """Give columns to those of the new features that are due."""
        gone: list[int] = []
        admitted: list[tuple[str, str, str]] = []
        for admission, of_ids in ((self._features, False), (self._ids, True)):
            asking = [one for one in new if _is_id(*one[:2]) == of_ids]
            if asking:
                keys = [_key(namespace, name) for namespace, name, _ in asking]
                chosen, idle = admission.admit(keys, self._taken[of_ids], self._seen, self.n)
                admitted += [asking[i] for i in chosen]
                gone += idle
        kept = [column for column in range(len(self.keys)) if column not in gone] if gone else None
        if kept:
            self._keep(kept)
        self.ignored += len(new) - len(admitted)
        for namespace, name, number in admitted:
            column = self._tables.get(namespace, _NO_COLUMNS).get(name)
            if column is None:  # a line may hold a feature twice
                self._append(namespace, name, NO_NUMBERS, self.n)
                column = len(self._names)
            if number:
                self._sums[column - 1], self._scales[column] = taken_in(float(number), *self._sums[column - 1])
        return kept

    def _keep(self, kept: Sequence[int]) -> None:
        rows = [(*self._names[i - 1], self._sums[i - 1], self._seen[i]) for i in kept[1:]]
        self._clear()
        for row in rows:
            self._append(*row)

    def _append(self, namespace: str, name: str, sums: Sums, seen: int) -> None:
        self._names.append((namespace, name))
        self.keys.append(_key(namespace, name))
        self._seen.append(seen)
        self._sums.append(sums)
        self._scales.append(scale(*sums[1:]))
        column = len(self._names)
        self._tables.setdefault(namespace, {})[name] = column
        is_id = _is_id(namespace, name)
        self._taken[is_id].append(column)
        if not is_id and namespace in (_CONTEXT, _ACTION):
            key, is_string, value = name.partition("=")
            self._escaped |= "%" in name
            if is_string:
                self._strings[key, value] = column
            else:
                self._numbers[key] = column

    def _set_plain(self, data: Mapping[str, Any], values: list[float]) -> bool:
        """Set the features that an object of plain values holds itself; False if it has others."""
        scales, numbers, strings = self._scales, self._numbers, self._strings
        for key, value in data.items():
            kind = type(value)
            if kind is float or kind is int:
                column = numbers.get(key)
                if column is not None:
                    middle, factor = scales[column]
                    number = (value - middle) * factor
                    values[column] = number if -_LARGEST < number < _LARGEST else math.copysign(_LARGEST, number)
            elif kind is str:
                column = strings.get((key, value))
                if column is not None:
                    values[column] = 1.0
            elif kind is bool:
                column = numbers.get(key)
                if column is not None:
                    values[column] = float(value)
            elif value is not None:
                return False
        return True

    def _set_line(self, line: str, values: list[float]) -> None:
        """Set the features that are written in a line."""
        table: Mapping[str, int] = {}
        for token in line.split(" "):
            if token[0] == "|":
                table = self._tables.get(token, {})
                continue
            name, is_number, number = token.partition(":")
            column = table.get(name)
            if column is None:
                continue
            if is_number:
                middle, factor = self._scales[column]
                value = (float(number) - middle) * factor
                values[column] = value if -_LARGEST < value < _LARGEST else math.copysign(_LARGEST, value)
            else:
                values[column] = 1.0


def _is_id(namespace: str, name: str) -> bool:
    return namespace == _ACTION and name.startswith(_ID)


def _key(namespace: str, name: str) -> int:
    return zlib.crc32(name.encode(), zlib.crc32(namespace.encode()))


def _row(row: Any) -> tuple[tuple[str, str], Sums, int]:
    match row:
        case [str(namespace), str(name), float(n), float(mean), float(variance), int(seen)]:
            if all(map(math.isfinite, (n, mean, variance))) and n >= 0.0 and variance >= 0.0:
                return (namespace, name), (n, mean, variance), seen
    raise StateInvalid("not a column")
