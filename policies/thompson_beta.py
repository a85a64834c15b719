"""Beta posteriors, for clicks and other rewards within a known range.

Rewards are scaled from `reward_range` to [0, 1]; a reward of 0.3 counts as 0.3 of a success and 0.7 of a failure.
All is computed for y = log(x / (1 - x)): the same order, and smooth at both ends for any two counts > 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policies.errors import InvalidInput
from policies.posterior import ADOPTED, Adopted, Component, Numbers
from policies.protocol import FloatArray
from policies.settings import check_range, reward_range_of
from policies.shapes import Shape

__all__ = ["BetaModel"]

_TAIL_Z = 5.2  # a normal's upper tail beyond it is 1e-7, below what is explored anyway
_TAIL_LOG = 16.2  # the same for an exponential tail: -log 1e-7
_LEAST_PSEUDO_COUNT = 0.01
_LEAST_RATE = 1e-4  # of successes or of failures, that a parent can make its child believe in


@dataclass(frozen=True, slots=True)
class BetaModel:
    """Statistics: sums of the successes and of the failures. Prior: the same two, imagined."""

    reward_range: tuple[float, float]
    prior: Numbers
    unseen: Numbers = (0.0, 0.0)

    @classmethod
    def of(
        cls, *, reward_range: tuple[float, ...] | None, prior_mean: float | None, prior_weight: float
    ) -> "BetaModel":
        """Check the settings.

        Raises
        ------
        InvalidInput
            One is out of its range.
        """
        low, high = reward_range_of(reward_range, (0.0, 1.0))
        check_range("prior_weight", prior_weight, low=1.0, high=1e6)
        mean = (low + high) / 2 if prior_mean is None else prior_mean
        share = (mean - low) / (high - low)
        successes, failures = share * prior_weight, (1.0 - share) * prior_weight
        if not min(successes, failures) >= _LEAST_PSEUDO_COUNT:
            raise InvalidInput(
                "setting_out_of_range",
                "prior_mean",
                f"must lie inside reward_range, {low:g} to {high:g}, by {_LEAST_PSEUDO_COUNT:g} of an outcome or more",
            )
        return cls((low, high), (successes, failures))

    def learned(self, statistics: Numbers, reward: float) -> Numbers:
        """Return the statistics with one more outcome."""
        low, high = self.reward_range
        success = (reward - low) / (high - low)
        return statistics[0] + success, statistics[1] + (1.0 - success)

    def faded(self, statistics: Numbers, share: float) -> Numbers:
        """Return the statistics of the same outcomes, each of them counted as `share` of one."""
        return statistics[0] * share, statistics[1] * share

    def component(self, prior: Numbers, statistics: Numbers) -> Component:
        """Return the posterior."""
        a = prior[0] + statistics[0]
        b = prior[1] + statistics[1]
        # Below one pseudo-count the mode wanders out into an exponential tail; the bend of the density does not.
        middle = math.log(max(a, 1.0) / max(b, 1.0))
        deviation = math.sqrt(1.0 / max(a, 1.0) + 1.0 / max(b, 1.0))
        reach = _TAIL_Z * deviation
        shape = Shape.of(
            middle, min(deviation, 1.0), low=middle - reach - _TAIL_LOG / a, high=middle + reach + _TAIL_LOG / b
        )
        log_integral = _log_beta(a, b)
        return Component(shape, (a, a + b, 1.0, -log_integral), log_integral - _log_beta(*prior))

    @staticmethod
    def basis(points: FloatArray, lengths: FloatArray) -> FloatArray:
        """Return what the logarithm of every mass is a sum of, each times a constant."""
        return np.array((points, -np.logaddexp(0.0, points), np.log(lengths), np.ones(len(points))))

    def masses(self, constants: FloatArray, basis: FloatArray) -> FloatArray:
        """Return the densities of y times the lengths."""
        result: FloatArray = constants.dot(basis)
        np.exp(result, out=result)
        return result

    def adopted(self, statistics: Mapping[str, Numbers]) -> Adopted:
        """Return what a parent's counts say to a child, as far as it is to be trusted there.

        Of actions in general: the mean of their rates, as one success (or failure, if those are rarer) would show
        it. Of one action: its rate, drawn towards that mean as the prior would draw it, as 20 outcomes or as
        many as it has, but no fewer than show one success.
        """
        weight = sum(self.prior)
        rates = [(self.prior[0] + s) / (weight + s + f) for s, f in statistics.values()]
        mean = _bounded(math.fsum(rates) / len(rates))
        base = _counts(mean, max(weight, 1.0 / min(mean, 1.0 - mean)))
        informed = {}
        for action_id, (s, f) in statistics.items():
            rate = _bounded((weight * mean + s) / (weight + s + f))
            informed[action_id] = _counts(rate, min(weight + s + f, max(ADOPTED, weight, 1.0 / min(rate, 1.0 - rate))))
        return Adopted(base, informed)


def _bounded(rate: float) -> float:
    return min(max(rate, _LEAST_RATE), 1.0 - _LEAST_RATE)


def _counts(rate: float, weight: float) -> tuple[float, float]:
    return max(rate * weight, _LEAST_PSEUDO_COUNT), max((1.0 - rate) * weight, _LEAST_PSEUDO_COUNT)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
