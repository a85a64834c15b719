"""Time small calls against each other: in turns, in CPU time, one ratio per round.

Calls of microseconds cannot be compared across runs, nor across minutes of one run. So every round times
all the calls that are to be compared, each time in another order, and a ratio is taken within a round.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Cell", "Ratio", "Times", "interleave", "median_us", "ratio"]

Times = Mapping[str, Sequence[float]]  # by cell: µs a call, one number for each round

_SPREAD = 0.1  # of the rounds lie below the spread's low end, as many above its high end
_N_WARM = 3  # calls of each cell that do not count


@dataclass(frozen=True, slots=True)
class Cell:
    """Something to be timed.

    Attributes
    ----------
    name
        Names it in the results.
    call
        Does the work for request i, from 0 to `n` − 1.
    n
        Calls a round.
    before
        Is run, untimed, before each call. The calls of such a cell are timed one by one, so that each carries
        what it takes to read the clock: some 0.3 µs.
    """

    name: str
    call: Callable[[int], object]
    n: int
    before: Callable[[int], object] | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of the rounds' ratios, and between which two the middle 80 % lie."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def interleave(cells: Sequence[Cell], *, rounds: int) -> dict[str, list[float]]:
    """Return, for each cell, the CPU time of a call in µs: one number for each round.

    The collector of cyclic garbage rests while a cell is timed, and runs before it.
    """
    times: dict[str, list[float]] = {cell.name: [] for cell in cells}
    for cell in cells:
        for i in range(min(_N_WARM, cell.n)):
            _prepare(cell, i)
            cell.call(i)
    gc.collect()
    gc.freeze()  # else each of many collections would go through all that the libraries hold
    gc.disable()
    try:
        for number in range(rounds):
            start = number % len(cells)
            for cell in (*cells[start:], *cells[:start]):
                gc.collect()
                times[cell.name].append(_round_us(cell))
    finally:
        gc.enable()
        gc.unfreeze()
    return times


def median_us(times: Times, name: str) -> float:
    """Return the median over the rounds."""
    return statistics.median(times[name])


def ratio(times: Times, one: str, other: str) -> Ratio:
    """Return how many times as long `one` takes as `other`, taken within each round."""
    each = sorted(a / b for a, b in zip(times[one], times[other], strict=True))
    outside = int(_SPREAD * len(each))
    return Ratio(statistics.median(each), each[outside], each[len(each) - 1 - outside])


def _round_us(cell: Cell) -> float:
    clock, call, n = time.process_time_ns, cell.call, cell.n
    if cell.before is None:
        started = clock()
        for i in range(n):
            call(i)
        return (clock() - started) / n / 1e3
    spent = 0
    for i in range(n):
        cell.before(i)
        started = clock()
        call(i)
        spent += clock() - started
    return spent / n / 1e3


def _prepare(cell: Cell, i: int) -> None:
    if cell.before is not None:
        cell.before(i)
