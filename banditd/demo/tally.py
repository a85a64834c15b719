"""What one policy has earned so far."""

from collections import deque
from dataclasses import dataclass, field

__all__ = ["WINDOW", "Tally"]

WINDOW = 1_000  # decisions of the moving mean
_CURVE_EVERY = 250  # decisions


@dataclass(slots=True)
class Tally:
    """Running sums of one policy's rewards.

    Attributes
    ----------
    interval
        For the mean, as the server last reported it; None before that, or where no server is asked.
    curve
        The moving mean after every 250 decisions.
    """

    name: str
    n: int = 0
    total: float = 0.0
    interval: tuple[float, float] | None = None
    curve: list[float] = field(default_factory=list)
    _last: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _last_total: float = 0.0

    def add(self, reward: float) -> None:
        """Take in the reward of one decision."""
        if len(self._last) == WINDOW:
            self._last_total -= self._last[0]
        self._last.append(reward)
        self._last_total += reward
        self.n += 1
        self.total += reward
        if self.n % _CURVE_EVERY == 0:
            self.curve.append(self.moving_mean)

    @property
    def mean(self) -> float:
        """Mean reward of all decisions; 0 before the first."""
        return self.total / self.n if self.n else 0.0

    @property
    def moving_mean(self) -> float:
        """Mean reward of the last `WINDOW` decisions, or of all while they are fewer; 0 before the first."""
        return self._last_total / len(self._last) if self._last else 0.0
