"""Taking rows out of a table, each for its first reason, and numbering actions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.logs.columns import IntArray

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Coding", "Sieve"]

_SLACK = 1e-6  # a float32 probability of 1 may be printed as 1.0000001


@dataclass(slots=True)
class Sieve:
    """Which rows of a batch are left, and why the others are not.

    Parameters
    ----------
    keep
        Shape (n,), all True at the beginning.
    dropped
        Where rows are counted, each once, for the first reason that is found.
    """

    keep: NDArray[np.bool_]
    dropped: Counter[str]

    def drop(self, rows: NDArray[np.bool_], reason: str) -> None:
        """Take out those that are still there."""
        taken = int(np.count_nonzero(rows & self.keep))
        if taken:
            self.dropped[reason] += taken
            self.keep &= ~rows

    def number(self, values: FloatArray, name: str) -> FloatArray:
        """Take out rows without a finite number; NaN stands for none."""
        self.drop(np.isnan(values), f"{name}_missing")
        self.drop(np.isinf(values), f"{name}_not_finite")
        return values

    def probability(self, values: FloatArray, name: str, *, least: float = 0.0) -> FloatArray:
        """Take out rows without a number in [0, 1], or in (0, 1] if `least` is more than 0."""
        self.drop(np.isnan(values), f"{name}_missing")
        with np.errstate(invalid="ignore"):
            inside = (values >= least) & (values <= 1 + _SLACK)
        self.drop(~inside, f"{name}_out_of_range")
        result: FloatArray = np.minimum(values, 1.0)
        return result


@dataclass(slots=True)
class Coding:
    """Numbers for the actions of a log, the same in all its batches.

    Parameters
    ----------
    ids
        The fixed action set; empty for one that grows as actions are seen.
    """

    ids: Sequence[str] = ()
    _grows: bool = field(init=False)
    _ids: list[str] = field(init=False)
    _codes: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self._grows = not self.ids
        self._ids = list(self.ids)
        self._codes = {name: i for i, name in enumerate(self._ids)}

    @property
    def known(self) -> tuple[str, ...]:
        """The ids so far, in the order of their numbers."""
        return tuple(self._ids)

    def encode(self, column: "pl.Series") -> IntArray:
        """Return the numbers of a column's actions, −1 for null and for what a fixed set does not have."""
        import polars as pl  # noqa: PLC0415 - an import of half a second, for tables alone

        seen = column.drop_nulls().unique(maintain_order=True)
        codes = [self._code(str(one)) for one in seen.to_list()]
        if not codes:
            return np.full(len(column), -1, dtype=np.int64)
        coded = column.replace_strict(seen, pl.Series(codes, dtype=pl.Int64), default=-1, return_dtype=pl.Int64)
        result: IntArray = coded.fill_null(-1).to_numpy()
        return result

    def _code(self, name: str) -> int:
        if self._grows and name not in self._codes:
            self._codes[name] = len(self._ids)
            self._ids.append(name)
        return self._codes.get(name, -1)
