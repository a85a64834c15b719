"""The replay method: a policy's mean reward on the rows where it agrees with the log."""

import math
from dataclasses import dataclass
from typing import Self

from replay.errors import InvalidLog
from replay.intervals import clopper_pearson, empirical_bernstein

__all__ = ["Matching"]


@dataclass(slots=True)
class Matching:
    """Running sums of the replay method of Li et al.

    For each row of a log whose actions were chosen uniformly at random, the policy says what it
    would choose. Where that is the logged action, the row counts, and the policy may learn from
    its reward; otherwise the row is thrown away. The mean reward of the rows that count is then
    unbiased for what the policy would have earned over as many live decisions. Of a log with k
    actions about one row in k counts.

    Add each match once: a reward that is added twice makes the interval narrower than what is known.

    Parameters
    ----------
    reward_range
        None for rewards that are 0 or 1 (the interval is then exact), else the smallest and the
        largest that a reward can be.

    References
    ----------
    Li, Chu, Langford & Wang (2011), "Unbiased Offline Evaluation of Contextual-bandit-based News
    Article Recommendation Algorithms".
    """

    reward_range: tuple[float, float] | None = None
    n_rows: int = 0
    n_matched: int = 0
    _mean: float = 0.0
    _squares: float = 0.0  # sum of squared distances from the mean

    def add(self, *, matched: bool, reward: float) -> None:
        """Take in one logged row; its reward is only looked at if it `matched`.

        Raises
        ------
        InvalidLog
            The reward of a matched row is not one that `reward_range` allows; nothing changed.
        """
        if matched:
            self._check(reward)
            self.n_matched += 1
            distance = reward - self._mean
            self._mean += distance / self.n_matched
            self._squares += distance * (reward - self._mean)
        self.n_rows += 1

    @property
    def value(self) -> float:
        """Mean reward of the matched rows; NaN if none matched."""
        return self._mean if self.n_matched else math.nan

    def interval(self, *, level: float = 0.95) -> tuple[float, float]:
        """Return an interval for the value, given the number of matches.

        Clopper-Pearson for rewards of 0 or 1, empirical Bernstein for a range. Both take the
        matched rewards for independent draws; for a policy that learns on the way, the value is its
        average over that way.

        Raises
        ------
        InvalidLog
            The level is not between 0 and 1.
        """
        if self.reward_range is None:
            successes = round(self._mean * self.n_matched)
            return clopper_pearson(successes, self.n_matched, level=level)
        variance = self._squares / (self.n_matched - 1) if self.n_matched > 1 else 0.0
        return empirical_bernstein(self._mean, variance, self.n_matched, reward_range=self.reward_range, level=level)

    def __add__(self, other: Self) -> Self:
        """Return the sums over both logs.

        Raises
        ------
        InvalidLog
            The two were made for different rewards.
        """
        if self.reward_range != other.reward_range:
            raise InvalidLog(
                "range_differs", "reward_range", f"must be the same: {self.reward_range} is not {other.reward_range}"
            )
        n = self.n_matched + other.n_matched
        share = other.n_matched / n if n else 0.0
        distance = other._mean - self._mean
        return type(self)(
            reward_range=self.reward_range,
            n_rows=self.n_rows + other.n_rows,
            n_matched=n,
            _mean=self._mean + distance * share,
            _squares=self._squares + other._squares + distance**2 * self.n_matched * share,
        )

    def _check(self, reward: float) -> None:
        if self.reward_range is None:
            if reward not in (0, 1):
                raise InvalidLog("reward_out_of_range", "reward", f"must be 0 or 1, not {reward!r}")
        elif not self.reward_range[0] <= reward <= self.reward_range[1]:
            raise InvalidLog("reward_out_of_range", "reward", f"must lie in {self.reward_range}, not {reward!r}")
