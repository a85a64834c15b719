"""Running sums of rewards, and an interval for their mean that holds at every look."""

import math
from typing import Self

__all__ = ["RunningMean"]


class RunningMean:
    """Mean and spread of what was added so far; sums of two shards merge with ``+``."""

    __slots__ = ("_m2", "mean", "n")

    def __init__(self) -> None:
        self.n = 0
        self.mean = 0.0
        self._m2 = 0.0

    def add(self, value: float) -> None:
        """Take one value in."""
        self.n += 1
        delta = value - self.mean
        self.mean += delta / self.n
        self._m2 += delta * (value - self.mean)

    def interval(self, level: float) -> tuple[float, float]:
        """Return lower and upper bound."""
        if self.n < 2:
            return -math.inf, math.inf
        rho2 = 0.01
        n = self.n
        width = math.sqrt(self._m2 / n) * math.sqrt(
            2 * (n * rho2 + 1) / (n * n * rho2) * math.log(math.sqrt(n * rho2 + 1) / (1 - level))
        )
        return self.mean - width, self.mean + width

    def to_tuple(self) -> tuple[int, float, float]:
        """Return the sums as plain values."""
        return self.n, self.mean, self._m2

    @classmethod
    def from_tuple(cls, values: tuple[float, ...]) -> Self:
        """Return what `to_tuple` was made of."""
        made = cls()
        made.n, made.mean, made._m2 = int(values[0]), float(values[1]), float(values[2])
        return made
