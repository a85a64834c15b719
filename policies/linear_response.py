"""What a reward says about the score of a linear model: the two kinds of response, and where their prior lies.

``GaussianResponse``
    The reward is the score plus noise. The variance of the noise is unknown and estimated over all outcomes of the
    lane: the mean of e² ÷ (1 + h) for errors e of the prediction before each outcome, h being the variance of that
    prediction in units of the noise's (the sum is that of the normal-inverse-gamma posterior: Murphy 2007, "Conjugate
    Bayesian analysis of the Gaussian distribution"). The prior mean is the mean of all rewards so far: right in any
    unit, and neutral towards an action of which nothing is known.

``LogisticResponse``
    The reward, scaled to [0, 1], is a success with log-odds equal to the score. The prior mean is the log-odds of the
    mean of all rewards so far.
"""

import math
from collections.abc import Sequence
from typing import Final, Protocol

from policies import linear_posterior
from policies.errors import InvalidInput, StateInvalid
from policies.protocol import REWARD_RANGE, FloatArray
from policies.settings import check_range, reward_range_of

__all__ = ["GaussianResponse", "LogisticResponse", "Response"]

_LEAST_RELATIVE_NOISE: Final = 1e-9  # of the mean reward: what is less may be rounding
_LEAST_NOISE: Final = 1e-100  # its square is still a number; what is less is taken for none
_LEAST_SHARE: Final = 1e-9  # of the successes that a prior mean may stand for: log-odds of −21
_IMAGINED_CLICKS: Final = 1.0  # half of them successes, so that the log-odds of the mean are finite


class Response(Protocol):
    """Running sums over the rewards of a lane, and how one reward changes a posterior."""

    reward_range: tuple[float, float]

    @property
    def prior_weight(self) -> float:
        """How many imagined outcomes the prior of each weight is worth, if no setting says so."""

    @property
    def precision(self) -> float:
        """What one imagined outcome is worth in the precision of a weight."""

    @property
    def prior_mean(self) -> float:
        """Where the prior of the constant's weight lies now."""

    @property
    def noise(self) -> float:
        """The unit of the posteriors' deviations, > 0."""

    def learn(self, block: FloatArray, x: FloatArray, reward: float) -> None:
        """Take one reward into the sums and into the posterior that predicted it."""

    def limit(self, n_outcomes: float) -> None:
        """Let the sums count as so many outcomes at most."""

    def dumps(self) -> list[float]:
        """Return the sums."""

    def loads(self, state: Sequence[float]) -> None:
        """Replace the sums with those that `dumps` returned; raises `StateInvalid` if they cannot be."""


class GaussianResponse:
    """Scores are mean rewards.

    Parameters
    ----------
    prior_mean
        Mean reward before any outcome; None: the mean of all rewards so far.
    reward_range
        Least and largest reward; None: ±1e9.
    discount
        What an outcome still counts after the next.
    """

    __slots__ = ("_discount", "_given", "_mean", "_n", "_squares", "reward_range")

    precision = 1.0
    prior_weight = 2.0

    def __init__(self, *, prior_mean: float | None, reward_range: tuple[float, ...] | None, discount: float) -> None:
        self.reward_range = reward_range_of(reward_range, REWARD_RANGE)
        if prior_mean is not None:
            check_range("prior_mean", prior_mean, low=self.reward_range[0], high=self.reward_range[1])
        self._given = prior_mean
        self._discount = discount
        self._n = self._mean = self._squares = 0.0

    @property
    def prior_mean(self) -> float:
        """The mean reward that an action has before any outcome."""
        return self._mean if self._given is None else self._given

    @property
    def noise(self) -> float:
        """The standard deviation of the rewards around their scores; 1 while nothing tells."""
        variance = self._squares / self._n if self._n else 0.0
        noise = max(math.sqrt(variance), _LEAST_RELATIVE_NOISE * abs(self.prior_mean))
        return noise if noise > _LEAST_NOISE else 1.0

    def learn(self, block: FloatArray, x: FloatArray, reward: float) -> None:
        """Take one reward in."""
        self._n = self._n * self._discount + 1.0
        self._mean += (reward - self._mean) / self._n
        variance, mean, prior_share = linear_posterior.learn(block, x, reward)
        error = reward - mean - self.prior_mean * prior_share
        self._squares = self._squares * self._discount + error * error / (1.0 + variance)

    def limit(self, n_outcomes: float) -> None:
        """Let the sums count as so many outcomes at most."""
        if self._n > n_outcomes:
            self._squares *= n_outcomes / self._n
            self._n = n_outcomes

    def dumps(self) -> list[float]:
        """Return the number of the rewards, their mean, and the sum of the squared errors."""
        return [self._n, self._mean, self._squares]

    def loads(self, state: Sequence[float]) -> None:
        """Replace the sums."""
        n, mean, squares = _checked(state, width=3)
        if squares < 0.0:
            raise StateInvalid("the squares of the errors are less than none")
        self._n, self._mean, self._squares = n, mean, squares


class LogisticResponse:
    """Scores are log-odds of success.

    Parameters
    ----------
    prior_mean
        Mean reward before any outcome, inside `reward_range`; None: the mean of all rewards so far.
    reward_range
        Least and largest reward, which become 0 and 1; None: 0 to 1.
    discount
        What an outcome still counts after the next.
    """

    __slots__ = ("_discount", "_given", "_mean", "_n", "reward_range")

    prior_weight = 10.0  # log-odds have no noise to be measured against: weights of deviation 0.6
    precision = 0.25  # the curvature of the log-likelihood of one outcome at even odds
    noise = 1.0  # the posteriors' covariances are absolute

    def __init__(self, *, prior_mean: float | None, reward_range: tuple[float, ...] | None, discount: float) -> None:
        low, high = self.reward_range = reward_range_of(reward_range, (0.0, 1.0))
        self._given = None
        if prior_mean is not None:
            check_range("prior_mean", prior_mean, low=low, high=high)
            share = (prior_mean - low) / (high - low)
            if not _LEAST_SHARE <= share <= 1.0 - _LEAST_SHARE:
                detail = f"must lie between {low!r} and {high!r}, not at an end or a billionth of the way from it"
                raise InvalidInput("setting_out_of_range", "prior_mean", detail)
            self._given = _log_odds(share)
        self._discount = discount
        self._n = 0.0
        self._mean = 0.0

    @property
    def prior_mean(self) -> float:
        """The log-odds that an action has before any outcome."""
        if self._given is not None:
            return self._given
        return _log_odds((self._n * self._mean + _IMAGINED_CLICKS / 2.0) / (self._n + _IMAGINED_CLICKS))

    def learn(self, block: FloatArray, x: FloatArray, reward: float) -> None:
        """Take one reward in."""
        low, high = self.reward_range
        success = (reward - low) / (high - low)
        self._n = self._n * self._discount + 1.0
        self._mean += (success - self._mean) / self._n
        linear_posterior.learn_click(block, x, success, prior_mean=self.prior_mean)

    def limit(self, n_outcomes: float) -> None:
        """Let the sums count as so many outcomes at most."""
        self._n = min(self._n, n_outcomes)

    def dumps(self) -> list[float]:
        """Return the number of the rewards and the mean success."""
        return [self._n, self._mean]

    def loads(self, state: Sequence[float]) -> None:
        """Replace the sums."""
        n, mean = _checked(state, width=2)
        if not 0.0 <= mean <= 1.0:
            raise StateInvalid("a mean success is not from 0 to 1")
        self._n, self._mean = n, mean


def _log_odds(share: float) -> float:
    return math.log(share / (1.0 - share))


def _checked(state: Sequence[float], *, width: int) -> Sequence[float]:
    if len(state) != width or not all(type(value) is float and math.isfinite(value) for value in state):
        raise StateInvalid(f"the sums over the rewards are not {width} finite numbers")
    if state[0] < 0.0:
        raise StateInvalid("the state counts fewer outcomes than none")
    return state
