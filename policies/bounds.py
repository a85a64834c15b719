"""The running mean of a stream of rewards, and an interval for it that may be looked at any time."""

import math
from dataclasses import dataclass

from policies.errors import InvalidInput, StateInvalid

__all__ = ["RunningMean"]

_FEWEST = 10  # rewards: with fewer, no limit theorem has had a chance yet
_TIGHTEST_AT = 1_000.0  # rewards: what people first look at in earnest; far from it the interval is only a little wider


@dataclass(slots=True)
class RunningMean:
    """Number, mean and sum of squared deviations of the values so far (Welford, Chan et al.).

    Adding the values one by one, or adding the `RunningMean` of two halves, gives the same
    numbers up to rounding.
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Take in one finite value."""
        self.n += 1
        deviation = value - self.mean
        self.mean += deviation / self.n
        self.squares += deviation * (value - self.mean)

    def __add__(self, other: "RunningMean") -> "RunningMean":
        n = self.n + other.n
        if n == 0:
            return RunningMean()
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.n / n)
        return RunningMean(n, mean, self.squares + other.squares + apart * apart * (self.n * other.n / n))

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Return bounds of the mean that hold at all times at once.

        Whoever looks after every reward and stops when it suits still finds the true mean outside
        with a probability of at most 1 - `level`, in the limit of many rewards; values need no bounds,
        only a variance. With α = 1 - level, t values, their mean m and standard deviation σ::

            m ± σ √( 2 (t ρ² + 1) / (t² ρ²) · log( √(t ρ² + 1) / α ) )
            ρ² = ( -2 log α + log(1 - 2 log α) ) / 1,000

        which is Robbins' normal mixture. The width at t is least where u = t ρ² solves
        u = -2 log α + log(1 + u); ρ² is one step of that from u = -2 log α, for t = 1,000.

        Returns
        -------
        None before the tenth value, and while all are equal: nothing then says how far others may lie.

        Raises
        ------
        InvalidInput
            `level` is not inside (0, 1).

        References
        ----------
        Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), "Time-uniform central limit theory and
        asymptotic confidence sequences", Annals of Statistics 52(6), theorem 2.2.
        """
        if not 0.0 < level < 1.0:
            raise InvalidInput("number_out_of_range", "level", f"must lie between 0 and 1, not {level!r}")
        if self.n < _FEWEST or self.squares <= 0.0:
            return None
        log_alpha = math.log1p(-level)
        rho2 = (-2.0 * log_alpha + math.log1p(-2.0 * log_alpha)) / _TIGHTEST_AT
        spread = self.n * rho2 + 1.0
        factor = 2.0 * spread / (self.n**2 * rho2) * (0.5 * math.log(spread) - log_alpha)
        half = math.sqrt(self.squares / self.n * factor)
        return self.mean - half, self.mean + half

    def dumps(self) -> tuple[int, float, float]:
        """Return the three numbers."""
        return self.n, self.mean, self.squares

    @classmethod
    def loads(cls, state: tuple[int, float, float]) -> "RunningMean":
        """Return the one that `dumps` described.

        Raises
        ------
        StateInvalid
            A number is negative that cannot be, or not finite.
        """
        n, mean, squares = state
        if n < 0 or not math.isfinite(mean) or not 0.0 <= squares < math.inf:
            raise StateInvalid("not the state of a running mean")
        return cls(n, mean, squares)
