"""How much more one policy would have earned than another, as exact sums that can be added and taken apart again.

Scores are summed as whole numbers of 2⁻⁹⁶, so that the sums are the same in whatever order scores, or the evidence of
several lanes, are added: what a group of lanes has found out together depends on their outcomes alone.
"""

import math
from typing import Final

from policies.bounds import RunningMean
from policies.errors import StateInvalid

__all__ = ["Evidence", "EvidenceState"]

EvidenceState = tuple[int, str, str]

_BITS: Final = 96
_FEWEST: Final = 10  # scores: with fewer, their spread says nothing


class Evidence:
    """Number, sum and sum of squares of scores.

    Attributes
    ----------
    n
        Scores so far.
    """

    __slots__ = ("_squares", "_total", "n")

    def __init__(self) -> None:
        self.n = 0
        self._total = 0
        self._squares = 0

    def add(self, score: float) -> None:
        """Take in one finite score."""
        numerator, denominator = score.as_integer_ratio()  # a power of two
        exact = (numerator << _BITS) // denominator
        self.n += 1
        self._total += exact
        self._squares += (exact * exact) >> _BITS

    def count(self, other: "Evidence", *, instead_of: "Evidence") -> None:
        """Take in all of `other` in the place of `instead_of`, which was taken in before."""
        self.n += other.n - instead_of.n
        self._total += other._total - instead_of._total  # noqa: SLF001 - of the same class
        self._squares += other._squares - instead_of._squares  # noqa: SLF001 - see above

    def copy(self) -> "Evidence":
        """Return the same evidence, to be kept while this one grows."""
        result = Evidence()
        result.n, result._total, result._squares = self.n, self._total, self._squares
        return result

    @property
    def z(self) -> float:
        """Mean of the scores in standard errors; 0 while there are too few, or all alike."""
        moments = self._moments()
        if moments.n < _FEWEST or moments.squares <= 0.0:
            return 0.0
        return moments.mean * moments.n / math.sqrt(moments.squares)

    def interval(self, level: float) -> tuple[float, float] | None:
        """Return bounds of the mean score that hold at all times at once; None: too early to say."""
        return self._moments().interval(level)

    def dumps(self) -> EvidenceState:
        """Return the whole state as plain values."""
        return self.n, f"{self._total:x}", f"{self._squares:x}"

    @classmethod
    def loads(cls, state: EvidenceState) -> "Evidence":
        """Return the one that `dumps` described.

        Raises
        ------
        StateInvalid
            The values cannot be those of one.
        """
        result = cls()
        try:
            result.n, result._total, result._squares = state[0], int(state[1], 16), int(state[2], 16)
        except ValueError:
            raise StateInvalid("a sum of scores is not a number") from None
        if result.n < 0 or result._squares < 0:
            raise StateInvalid("a count or a sum of squares is negative")
        return result

    def _moments(self) -> RunningMean:
        if self.n == 0:
            return RunningMean()
        squares = self._squares - ((self._total * self._total // self.n) >> _BITS)
        one = 1 << _BITS
        return RunningMean(self.n, self._total / (self.n * one), max(0, squares) / one)
