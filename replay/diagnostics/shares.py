"""Whether the log chose its actions as often as its probabilities say: the test for a sample ratio mismatch."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.errors import InvalidLog

__all__ = ["ActionShares", "Mismatch", "chi_square_tail"]

_MOST_CELLS = 64  # of which the last is for all actions beyond; the covariance is that squared
_BUFFER = 512  # events added up at once
_FEWEST = 5.0  # expected choices in a cell, below which chi-square is no guide (Cochran 1954)
_RANK = 1e-9  # relative to the largest: smaller eigenvalues are rounding


@dataclass(frozen=True, slots=True)
class Mismatch:
    """How far the choices are from the probabilities.

    Attributes
    ----------
    statistic, freedom
        Chi-square and its degrees of freedom; 0 and 0 if there is nothing to compare.
    p_value
        How likely so large a statistic is if the probabilities are true; 1 if there is nothing to compare.
    worst, expected, observed
        The action that is furthest off, how often it was to be chosen and how often it was; None, 0, 0 without any.
    """

    statistic: float
    freedom: int
    p_value: float
    worst: Hashable | None
    expected: float
    observed: float


@dataclass(slots=True)
class ActionShares:
    """Running counts of choices beside what the probabilities let expect; those of shards add up.

    Probabilities may differ from event to event, so the counts vary less than those of a die: the statistic is
    dᵀ Σ⁺ d with d = choices − Σp and the covariance Σ = Σ (diag p − p pᵀ), and has as many degrees of freedom as Σ has
    rank. Actions that are expected fewer than five times are taken together. The first 63 actions met have cells of
    their own; all others share one. Each row counts once, however many events it stands for.

    Attributes
    ----------
    cells
        Index of the cell of each action.
    chosen, expected
        By cell.
    covariance
        Of the counts.
    """

    cells: dict[Hashable, int] = field(default_factory=dict)
    chosen: FloatArray = field(default_factory=lambda: np.zeros(_MOST_CELLS))
    expected: FloatArray = field(default_factory=lambda: np.zeros(_MOST_CELLS))
    covariance: FloatArray = field(default_factory=lambda: np.zeros((_MOST_CELLS, _MOST_CELLS)))
    _waiting: list[tuple[list[int], FloatArray, int]] = field(default_factory=list)

    def add(self, actions: Sequence[Hashable], probabilities: FloatArray, chosen: int) -> None:
        """Take in one event: the eligible actions, what each was drawn with, and the place of the chosen one."""
        cells = [self._cell(action) for action in actions]
        self._waiting.append((cells, probabilities, cells[chosen]))
        if len(self._waiting) >= _BUFFER:
            self._flush()

    def add_table(
        self, actions: Sequence[Hashable], probabilities: FloatArray, chosen: NDArray[np.integer[Any]]
    ) -> None:
        """Take in rows over the same actions: probabilities of shape (n, n_actions), chosen places of shape (n,)."""
        cells = np.array([self._cell(action) for action in actions], dtype=np.intp)
        folded = np.zeros((len(probabilities), _MOST_CELLS))
        for place, cell in enumerate(cells):  # several actions may share the last cell
            folded[:, cell] += probabilities[:, place]
        self._count(folded, cells[chosen])

    def __add__(self, other: Self) -> Self:
        """Return the counts over both sets of events."""
        self._flush()
        other._flush()
        result = type(self)(dict(self.cells), self.chosen.copy(), self.expected.copy(), self.covariance.copy())
        fold = np.zeros((_MOST_CELLS, _MOST_CELLS))
        fold[_MOST_CELLS - 1, _MOST_CELLS - 1] = 1.0
        for action, cell in other.cells.items():
            fold[cell, result._cell(action)] = 1.0
        result.chosen += other.chosen @ fold
        result.expected += other.expected @ fold
        result.covariance += fold.T @ other.covariance @ fold
        return result

    def test(self) -> Mismatch:
        """Compare the choices with the probabilities."""
        self._flush()
        merge, labels = self._merged()
        apart = (self.chosen - self.expected) @ merge
        covariance = merge.T @ self.covariance @ merge
        values, vectors = np.linalg.eigh(covariance)
        kept = values > _RANK * max(float(values.max(initial=0.0)), 1.0)
        freedom = int(kept.sum())
        if not freedom:
            return Mismatch(0.0, 0, 1.0, None, 0.0, 0.0)
        statistic = float((((vectors.T @ apart)[kept]) ** 2 / values[kept]).sum())
        error = np.sqrt(np.diag(covariance))
        off = np.divide(np.abs(apart), error, out=np.zeros_like(apart), where=error > 0.0)
        worst = int(off.argmax())
        expected, chosen = float((self.expected @ merge)[worst]), float((self.chosen @ merge)[worst])
        return Mismatch(statistic, freedom, chi_square_tail(statistic, freedom), labels[worst], expected, chosen)

    def dumps(self) -> tuple[Any, ...]:
        """Return plain numbers and lists."""
        self._flush()
        k = len(self.cells)
        used = [*range(k), _MOST_CELLS - 1] if k < _MOST_CELLS else list(range(_MOST_CELLS))
        covariance = self.covariance[np.ix_(used, used)]
        return list(self.cells.items()), self.chosen[used].tolist(), self.expected[used].tolist(), covariance.tolist()

    @classmethod
    def loads(cls, state: tuple[Any, ...]) -> Self:
        """Return what `dumps` described."""
        items, chosen, expected, covariance = state
        result = cls({action: cell for action, cell in items})  # noqa: C416 - lists of two come back from msgpack too
        used = [*range(len(chosen) - 1), _MOST_CELLS - 1]
        result.chosen[used], result.expected[used] = chosen, expected
        result.covariance[np.ix_(used, used)] = covariance
        return result

    def _cell(self, action: Hashable) -> int:
        cell = self.cells.get(action)
        if cell is None:
            if len(self.cells) >= _MOST_CELLS - 1:
                return _MOST_CELLS - 1
            cell = self.cells[action] = len(self.cells)
        return cell

    def _flush(self) -> None:
        if not self._waiting:
            return
        folded = np.zeros((len(self._waiting), _MOST_CELLS))
        for row, (cells, probabilities, _) in enumerate(self._waiting):
            np.add.at(folded[row], cells, probabilities)
        self._count(folded, np.array([chosen for _, _, chosen in self._waiting], dtype=np.intp))
        self._waiting.clear()

    def _count(self, folded: FloatArray, chosen: NDArray[np.intp]) -> None:
        expected = folded.sum(axis=0)
        self.chosen = self.chosen + np.bincount(chosen, minlength=_MOST_CELLS)
        self.expected = self.expected + expected
        self.covariance = self.covariance + np.diag(expected) - folded.T @ folded

    def _merged(self) -> tuple[FloatArray, list[Hashable]]:
        """Return which cells go into which, shape (cells, groups), and what to call each group."""
        names: list[Hashable] = [*self.cells, *("(others)" for _ in range(_MOST_CELLS - len(self.cells)))]
        large = [cell for cell in range(_MOST_CELLS - 1) if self.expected[cell] >= _FEWEST]
        merge = np.zeros((_MOST_CELLS, len(large) + 1))
        merge[large, range(len(large))] = 1.0
        merge[[cell for cell in range(_MOST_CELLS) if cell not in set(large)], len(large)] = 1.0
        return merge, [*(names[cell] for cell in large), "(others)"]


def chi_square_tail(statistic: float, freedom: int) -> float:
    """Return how likely a chi-square variable is at least as large; exact for whole degrees of freedom.

    Raises
    ------
    InvalidLog
        There is no degree of freedom.
    """
    if freedom < 1:
        raise InvalidLog("freedom_invalid", "freedom", f"must be 1 or more, not {freedom}")
    if statistic <= 0.0:
        return 1.0
    half = statistic / 2.0
    odd = freedom % 2
    tail = math.erfc(math.sqrt(half)) if odd else 0.0
    # Q(s + 1, x) = Q(s, x) + xˢ e⁻ˣ / Γ(s + 1), from Q(1/2, x) = erfc √x or from Q(0, x) = 0
    steps = (step + odd / 2.0 for step in range(freedom // 2))
    tail += math.fsum(math.exp(s * math.log(half) - half - math.lgamma(s + 1.0)) for s in steps)
    return min(1.0, tail)
