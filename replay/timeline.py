"""How an estimate moves while the log goes on: some hundred moments, however long the log is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from policies.protocol import FloatArray
from policies.sequences import ValueSequence
from replay.batch import Batch
from replay.results import Moment
from replay.sums import Terms

__all__ = ["Timeline"]

_MOST: Final = 100  # moments: enough for a plot, and the bounds of each take half a millisecond
_ROUNDING: Final = 1e-9  # of the range, by which a mean over slots may leave it
_FIRST_ROWS: Final = 16  # between the first moments; doubled whenever there are too many

# Sums of a stretch of the log: rows, Σm, Σm², then of the columns c = (numerator, weight, base): Σmc, Σm²c, Σm²ccᵀ.
_N, _M, _M2, _FIRST, _SECOND, _PRODUCTS = 0, 1, 2, slice(3, 6), slice(6, 9), slice(9, 18)
_WIDTH: Final = 18
_AT_ONCE: Final = 1_024  # rows that the sequence takes at once: what it keeps of them fits in a cache


@dataclass(slots=True)
class Timeline:
    """Sums over stretches of the log, of one length each, which doubles as often as it must to keep them few.

    The bounds are those of `policies.sequences.ValueSequence`, which hold at all moments at once. They need the range
    of rewards beforehand: once a reward lies outside, or where some rows stand for more events than others, there are
    none (NaN), and `missing` says why.

    Parameters
    ----------
    level
        Coverage to promise.
    reward_range
        What the reward of a slot can be; that of a decision is a sum over its slots.

    Attributes
    ----------
    missing
        Why there are no bounds; "" if there are.
    """

    level: float = 0.95
    reward_range: tuple[float, float] = (0.0, 1.0)
    _sums: FloatArray = field(default_factory=lambda: np.zeros((0, _WIDTH)))
    _at: FloatArray = field(default_factory=lambda: np.zeros(0))
    _states: list[tuple[Any, ...] | None] = field(default_factory=list)  # of the sequence, at the end of each stretch
    _open: FloatArray = field(default_factory=lambda: np.zeros(_WIDTH))
    _last_at: float = math.nan
    _length: int = _FIRST_ROWS
    _self_normalised: bool = False
    missing: str = ""
    _range: tuple[float, float] | None = None  # of a row's reward; None before the first row
    _stands_for: float = 1.0  # events, each row
    _sequence: ValueSequence | None = None

    def add(self, batch: Batch, terms: Terms, at: FloatArray, *, n_slots: int = 1) -> None:
        """Take in the next rows, and what each gives to the estimate.

        Parameters
        ----------
        n_slots
            Slots that these rows are sums over, at most; how many there will be is settled by the first rows.
        """
        self._self_normalised = terms.self_normalised
        if self._range is None:
            self._begin(batch, n_slots)
        self._check(batch)
        columns, start, n = _columns(terms, batch.multiplicity), 0, len(terms.weight)
        weights = batch.weights
        while start < n:
            room = _MOST - len(self._sums)  # stretches that may be closed before their length doubles
            first = start + self._length - int(self._open[_N])
            stop = min(n, first + (room - 1) * self._length)
            cuts = [start, *range(first, stop, self._length)] if first < stop else [start]
            parts = _summed(columns, cuts, stop)
            parts[0] += self._open
            closed = len(parts) if parts[-1, _N] >= self._length else len(parts) - 1
            ends = [*cuts[1:], stop]
            for index, (cut, end) in enumerate(zip(cuts, ends, strict=True)):
                self._follow(weights[cut:end], batch.rewards[cut:end])
                if index < closed:
                    self._states.append(self._state())
            self._sums = np.concatenate([self._sums, parts[:closed]])
            self._at = np.concatenate([self._at, at[[end - 1 for end in ends[:closed]]]])
            self._open = np.zeros(_WIDTH) if closed == len(parts) else parts[-1]
            self._last_at = float(at[stop - 1])
            start = stop
            if len(self._sums) == _MOST:
                self._sums = self._sums[::2] + self._sums[1::2]
                self._at, self._states = self._at[1::2], self._states[1::2]
                self._length *= 2

    def moments(self) -> list[Moment]:
        """Return the estimate at the end of each stretch, with a confidence sequence."""
        sums, at, states = self._sums, self._at, self._states
        if self._open[_N]:
            sums, at = np.vstack([sums, self._open]), np.append(at, self._last_at)
            states = [*states, self._state()]
        return [
            Moment(int(total[_N]), float(time), self._value(total), *self._bounds(state), self._value(recent))
            for total, recent, time, state in zip(sums.cumsum(axis=0), sums, at, states, strict=True)
        ]

    def _begin(self, batch: Batch, n_slots: int) -> None:
        low, high = self.reward_range
        self._range = low, high = min(low, n_slots * low), max(high, n_slots * high)
        self._stands_for = 1.0 if batch.multiplicity is None else float(batch.multiplicity[0])
        self._sequence = ValueSequence(low=low, high=high)

    def _check(self, batch: Batch) -> None:
        """Give the sequence up where its assumptions fail: rewards beyond their range, rows that count differently."""
        assert self._range is not None  # noqa: S101 - set by the first rows; tells mypy
        low, high = self._range
        slack = _ROUNDING * (high - low)
        m = np.ones(1) if batch.multiplicity is None else batch.multiplicity
        if (np.abs(m - self._stands_for) > _ROUNDING * self._stands_for).any():
            self._give_up("some events of the log stand for more than others")
        elif float(batch.rewards.min()) < low - slack or float(batch.rewards.max()) > high + slack:
            self._give_up(f"a reward lies outside {low:g} to {high:g}; state a reward_range that holds")

    def _give_up(self, why: str) -> None:
        self.missing = self.missing or why
        self._sequence = None

    def _follow(self, weights: FloatArray, rewards: FloatArray) -> None:
        if self._sequence is not None and self._range is not None:
            rewards = np.clip(rewards, *self._range)  # means over slots are rounded
            for first in range(0, len(weights), _AT_ONCE):
                part = slice(first, first + _AT_ONCE)
                self._sequence.add(weights[part], rewards[part])

    def _state(self) -> tuple[Any, ...] | None:
        return None if self._sequence is None else self._sequence.dumps()

    def _bounds(self, state: tuple[Any, ...] | None) -> tuple[float, float]:
        if state is None or self.missing or self._range is None:
            return math.nan, math.nan
        low, high = self._range
        return ValueSequence(low=low, high=high).loads(state).interval(self.level)

    def _value(self, total: FloatArray) -> float:
        n_events = float(total[_M])
        numerator, weight, base = (float(one) for one in total[_FIRST])
        if self._self_normalised:
            return base / n_events + numerator / weight if weight else math.nan
        return (base + numerator) / n_events


def _columns(terms: Terms, multiplicity: FloatArray | None) -> dict[int, FloatArray]:
    """Return what is summed up of each row, by its place among the sums, but for what is 0 or another's copy."""
    present = [terms.numerator, terms.weight, *([] if terms.base is None else [terms.base])]
    weighted = present if multiplicity is None else [multiplicity * column for column in present]
    result = {_FIRST.start + i: column for i, column in enumerate(weighted)}
    for i, one in enumerate(weighted):
        for j, other in enumerate(weighted[: i + 1]):
            result[_PRODUCTS.start + 3 * i + j] = one * other
    if multiplicity is not None:
        result |= {_M: multiplicity, _M2: multiplicity * multiplicity}
        result |= {_SECOND.start + i: multiplicity * column for i, column in enumerate(weighted)}
    return result


def _summed(columns: Mapping[int, FloatArray], cuts: Sequence[int], stop: int) -> FloatArray:
    """Return the sums of the rows from each cut to the next, shape (n_cuts, 18)."""
    parts = np.zeros((len(cuts), _WIDTH))
    parts[:, _N] = np.diff([*cuts, stop])
    for place, column in columns.items():
        parts[:, place] = np.add.reduceat(column[:stop], cuts)
    if _M not in columns:
        parts[:, _M] = parts[:, _M2] = parts[:, _N]
        parts[:, _SECOND] = parts[:, _FIRST]
    products = parts[:, _PRODUCTS].reshape(-1, 3, 3)
    products += np.tril(products, -1).transpose(0, 2, 1)
    parts[:, _PRODUCTS] = products.reshape(-1, 9)
    return parts
