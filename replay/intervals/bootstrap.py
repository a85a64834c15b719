"""A bootstrap that takes rows once, as they come, and adds up over shards and days.

A bootstrap sample of a log takes each row 0, 1, 2, ... times. Here each row draws that count by itself, for each
replicate, close to Poisson with mean 1, so that no row needs to know of another. A ratio divides by what the same
counts make of its weights: to keep the denominator fixed, as others do, makes the interval nearly twice too wide.

The counts come from one random byte each: of its 256 values, 94, 95, 46, 16, 4 and 1 give the counts 0 to 5. This has
mean 1 and variance 1 exactly, third moment 4.984 (Poisson: 5), and no probability more than 0.0025 from Poisson's.
Bytes are made by Philox from the key (seed, number of the block of 256 rows), so that a row's counts depend on its
number in the log and on nothing else: any split into shards gives the same replicates, up to rounding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.errors import InvalidLog
from replay.intervals.interval import Interval, check_level
from replay.sums import Terms

__all__ = ["COUNT_SHARES", "Bootstrap"]

COUNT_SHARES: Final = (94, 95, 46, 16, 4, 1)  # how many of 256 bytes give 0, 1, 2, ... copies of a row
_COPIES: Final = np.repeat(np.arange(len(COUNT_SHARES)), COUNT_SHARES).astype(np.float32)
_BLOCK_ROWS: Final = 256  # × 1,000 replicates × 4 bytes: what fits beside the columns in a core's cache
_BYTES_A_DRAW: Final = 8
_SEEDS: Final = 2**64
_COLUMNS: Final = 3  # numerator, weight, base
_SQUARES: Final = [(i, j) for i in range(_COLUMNS) for j in range(i, _COLUMNS)]


@dataclass(slots=True)
class Bootstrap:
    """Sums of every replicate, of as many estimates as wanted over the same rows.

    Attributes
    ----------
    seed
        Whole number ≥ 0; the same seed, rows and row numbers give the same replicates.
    n_replicates
        A multiple of 8.
    studentised
        Whether to keep what a standard error in each replicate needs: twice to three times the work.
    """

    seed: int = 0
    n_replicates: int = 1000
    studentised: bool = False
    n: int = 0
    _totals: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))  # (replicates, 1 + columns)
    _means: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))  # of all rows, once each
    _ratios: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.seed < _SEEDS:
            raise InvalidLog("seed_out_of_range", "seed", f"must be a whole number from 0, not {self.seed!r}")
        if self.n_replicates < _BYTES_A_DRAW or self.n_replicates % _BYTES_A_DRAW:
            raise InvalidLog("count_out_of_range", "n_replicates", f"must be a multiple of 8, not {self.n_replicates}")

    def add(
        self, terms: Sequence[Terms], multiplicity: FloatArray | None = None, *, first_row: int | None = None
    ) -> None:
        """Take in some rows of all estimates at once.

        Parameters
        ----------
        terms
            One for each estimate, in the same order each time.
        multiplicity
            As in `Batch`.
        first_row
            Number of the first of these rows in the whole log; None for behind all rows so far. Shards must give it.

        Raises
        ------
        InvalidLog
            The estimates are not the ones of the rows before.
        """
        ratios = tuple(each.self_normalised for each in terms)
        self._expect(ratios)
        columns = self._columns(terms, multiplicity)
        self._means[0] += columns.sum(axis=0, dtype=np.float64)
        start = self.n if first_row is None else first_row
        stop = start + len(columns)
        for block in range(start // _BLOCK_ROWS, -(-stop // _BLOCK_ROWS)):
            begin = block * _BLOCK_ROWS
            rows = slice(max(start, begin) - begin, min(stop, begin + _BLOCK_ROWS) - begin)
            part = columns[begin + rows.start - start : begin + rows.stop - start]
            self._totals += self._copies(block)[rows].T @ part
        self.n += len(columns)

    def __add__(self, other: Self) -> Self:
        """Return the bootstrap of both sets of rows, which must be different rows of one log.

        Raises
        ------
        InvalidLog
            Seeds, numbers of replicates or estimates differ.
        """
        if not self.n or not other.n:
            return self if self.n else other
        if self._kind != other._kind:
            raise InvalidLog("estimator_differs", "bootstrap", "must be of the same seed and estimators to be added")
        totals, means = self._totals + other._totals, self._means + other._means
        return type(self)(self.seed, self.n_replicates, self.studentised, self.n + other.n, totals, means, self._ratios)

    def values(self, index: int = 0) -> FloatArray:
        """Return the estimate of each replicate, shape (n_replicates,); NaN where it has nothing to divide by."""
        return self._values(self._totals, index)

    def interval(self, index: int = 0, *, level: float = 0.95) -> Interval:
        """Return the interval of the estimate at `index`.

        Percentile: from one quantile of the replicates to the other. Studentised: the value less the quantiles of
        (replicate − value) ÷ its own standard error, times the standard error.

        Raises
        ------
        InvalidLog
            No rows were taken, there is no such estimate, or the level is not between 0 and 1.
        """
        check_level(level)
        if not 0 <= index < len(self._ratios):
            raise InvalidLog("estimator_differs", "bootstrap", f"has no estimate number {index}")
        tails = [(1.0 - level) / 2, (1.0 + level) / 2]
        values = self.values(index)
        usable = np.isfinite(values)
        if not usable.any():
            return Interval(-math.inf, math.inf, "bootstrap: no replicate has weight")
        if not self.studentised:
            low, high = np.quantile(values[usable], tails).tolist()
            return Interval(low, high, f"percentile bootstrap, {self.n_replicates} Poisson replicates")
        value = float(self._values(self._means, index)[0])
        error = float(self._errors(self._means, index)[0])
        errors = self._errors(self._totals, index)
        usable &= errors > 0.0
        words = f"studentised bootstrap, {self.n_replicates} Poisson replicates"
        if not usable.any():
            return Interval(value, value, f"{words}: no replicate varies")
        low, high = np.quantile((values[usable] - value) / errors[usable], tails).tolist()
        return Interval(value - high * error, value - low * error, words)

    def dumps(self) -> tuple[Any, ...]:
        """Return plain numbers and lists of them, to be sent to another process."""
        state = (self._totals.tolist(), self._means.tolist(), list(self._ratios))
        return (self.seed, self.n_replicates, self.studentised, self.n, *state)

    @classmethod
    def loads(cls, state: tuple[Any, ...]) -> Self:
        """Return what `dumps` described."""
        seed, n_replicates, studentised, n, totals, means, ratios = state
        return cls(seed, n_replicates, studentised, n, np.asarray(totals), np.asarray(means), tuple(ratios))

    @property
    def _kind(self) -> tuple[Any, ...]:
        """What two must have in common to be added."""
        return self.seed, self.n_replicates, self.studentised, self._ratios

    def _copies(self, block: int) -> NDArray[np.float32]:
        """Return how often each replicate takes each row of a block, shape (rows, replicates)."""
        made = np.random.Philox(key=np.array([self.seed, block], dtype=np.uint64))
        draws = made.random_raw(_BLOCK_ROWS * self.n_replicates // _BYTES_A_DRAW)
        # Little-endian by name, so that every machine gives a row the same counts.
        taken: NDArray[np.float32] = _COPIES[draws.astype("<u8", copy=False).view(np.uint8)]
        return taken.reshape(_BLOCK_ROWS, self.n_replicates)

    def _expect(self, ratios: tuple[bool, ...]) -> None:
        width = 1 + len(ratios) * (_COLUMNS + (len(_SQUARES) if self.studentised else 0))
        if not self.n and not self._ratios:
            self._ratios = ratios
            self._totals, self._means = np.zeros((self.n_replicates, width)), np.zeros((1, width))
        elif self._ratios != ratios:
            raise InvalidLog("estimator_differs", "terms", "must be of the same estimators in every batch")

    def _columns(self, terms: Sequence[Terms], multiplicity: FloatArray | None) -> NDArray[np.float32]:
        """Return m, then m × (numerator, weight, base) of each estimate, then m² × their products."""
        n = len(terms[0].weight)
        columns = np.zeros((n, self._totals.shape[1]), dtype=np.float32)
        columns[:, 0] = 1.0 if multiplicity is None else multiplicity
        several = 1.0 if multiplicity is None else multiplicity
        for index, each in enumerate(terms):
            parts = (each.numerator, each.weight, each.base)
            for offset, part in enumerate(parts):
                if part is not None:
                    columns[:, 1 + index * _COLUMNS + offset] = part * several
            if self.studentised:
                start = 1 + len(terms) * _COLUMNS + index * len(_SQUARES)
                for offset, (i, j) in enumerate(_SQUARES):
                    one, two = parts[i], parts[j]
                    if one is not None and two is not None:
                        columns[:, start + offset] = one * two * several * several
        return columns

    def _values(self, totals: FloatArray, index: int) -> FloatArray:
        numerator, weight, base = self._three(totals, index)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = numerator / (weight if self._ratios[index] else totals[:, 0])
            result: FloatArray = ratio + base / totals[:, 0]
        return result

    def _errors(self, totals: FloatArray, index: int) -> FloatArray:
        """Return the standard error of each row of totals, by the delta method."""
        n = totals[:, 0]
        numerator, weight, base = self._three(totals, index)
        start = 1 + len(self._ratios) * _COLUMNS + index * len(_SQUARES)
        squares = dict(zip(_SQUARES, totals[:, start : start + len(_SQUARES)].T, strict=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            if self._ratios[index]:
                slope = (n / weight, -numerator * n / weight**2, np.ones_like(n))
            else:
                slope = (np.ones_like(n), np.zeros_like(n), np.ones_like(n))
            means = slope[0] * numerator + slope[1] * weight + slope[2] * base
            second = (
                sum(slope[i] * slope[j] * squares[i, j] * (1.0 if i == j else 2.0) for i, j in _SQUARES)
                - means * means / n
            )
            result: FloatArray = np.sqrt(np.maximum(second, 0.0)) / n
        return result

    def _three(self, totals: FloatArray, index: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        start = 1 + index * _COLUMNS
        return totals[:, start], totals[:, start + 1], totals[:, start + 2]
