"""Normal rewards of unknown mean and variance.

The prior is normal-inverse-gamma, as if it were a sample of `prior_weight` rewards. The mean's posterior is Student's
t with prior_weight + n degrees of freedom.

References
----------
Murphy (2007), "Conjugate Bayesian analysis of the Gaussian distribution", section 3.3.
Wallace (1959), "Bounds on normal approximations to Student's and the chi-square distributions".
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policies.posterior import ADOPTED, Adopted, Component, Numbers
from policies.protocol import REWARD_RANGE, FloatArray
from policies.settings import check_range, reward_range_of
from policies.shapes import Shape

__all__ = ["GaussianModel"]

_TAIL_Z = 5.2  # a normal's upper tail beyond it is 1e-7, below what is explored anyway
_LEAST_RELATIVE_SCALE = 1e-12  # of a posterior far from 0: float64 tells places apart no closer
_HALF_LOG_PI = 0.5 * math.log(math.pi)


@dataclass(frozen=True, slots=True)
class GaussianModel:
    """Statistics: number, mean, and sum of squared deviations of the rewards (Welford). Prior: the same, imagined."""

    reward_range: tuple[float, float]
    prior: Numbers
    unseen: Numbers = (0.0, 0.0, 0.0)

    @classmethod
    def of(
        cls,
        *,
        reward_range: tuple[float, ...] | None,
        prior_mean: float | None,
        prior_weight: float,
        prior_sd: float | None,
    ) -> "GaussianModel":
        """Check the settings.

        Raises
        ------
        InvalidInput
            One is out of its range.
        """
        low, high = reward_range_of(reward_range, REWARD_RANGE)
        check_range("prior_weight", prior_weight, low=1.0, high=1e6)
        mean = 0.0 if prior_mean is None else prior_mean
        sd = 1.0 if prior_sd is None else prior_sd
        check_range("prior_mean", mean, low=low, high=high)
        check_range("prior_sd", sd, low=1e-9, high=REWARD_RANGE[1])
        return cls((low, high), (prior_weight, mean, prior_weight * sd**2))

    def learned(self, statistics: Numbers, reward: float) -> Numbers:
        """Return the statistics with one more outcome."""
        n, mean, squares = statistics
        deviation = reward - mean
        n += 1.0
        mean += deviation / n
        return n, mean, squares + deviation * (reward - mean)

    def faded(self, statistics: Numbers, share: float) -> Numbers:
        """Return the statistics of the same outcomes, each of them counted as `share` of one."""
        n, mean, squares = statistics
        return n * share, mean, squares * share

    def component(self, prior: Numbers, statistics: Numbers) -> Component:
        """Return the posterior."""
        weight, _, squares = prior
        total, middle, spread = _together(prior, statistics)  # degrees of freedom too
        scale = max(math.sqrt(spread) / total, abs(middle) * _LEAST_RELATIVE_SCALE)
        factor = 1.0 / (scale * math.sqrt(total))
        log_factor = math.lgamma((total + 1.0) / 2.0) - math.lgamma(total / 2.0) - _HALF_LOG_PI + math.log(factor)
        log_evidence = (
            math.lgamma(total / 2.0)
            - math.lgamma(weight / 2.0)
            + (weight * math.log(squares) - total * math.log(spread) + math.log(weight / total)) / 2.0
        )
        reach = scale * _t_reach(total)
        return Component(
            Shape.of(middle, scale, low=middle - reach, high=middle + reach),
            (middle, factor, -(total + 1.0) / 2.0, log_factor),
            log_evidence,
        )

    @staticmethod
    def basis(points: FloatArray, lengths: FloatArray) -> FloatArray:
        """Return the points and the logarithms of the lengths."""
        return np.array((points, np.log(lengths)))

    def masses(self, constants: FloatArray, basis: FloatArray) -> FloatArray:
        """Return the densities of the mean times the lengths."""
        middle, factor, power, log_factor = constants.T[:, :, None]
        result: FloatArray = basis[0] - middle
        result *= factor
        result *= result
        np.log1p(result, out=result)
        result *= power
        result += log_factor
        result += basis[1]
        np.exp(result, out=result)
        return result

    def adopted(self, statistics: Mapping[str, Numbers]) -> Adopted:
        """Return what a parent's rewards say to a child, as far as it is to be trusted there.

        Of actions in general: the mean of their means, and as variance that within actions plus that between them,
        with the weight of the prior. Of one action: its posterior, as 20 outcomes or as many as it has.
        """
        posteriors = {key: _together(self.prior, numbers) for key, numbers in statistics.items()}
        middles = [middle for _, middle, _ in posteriors.values()]
        mean = math.fsum(middles) / len(middles)
        within = math.fsum([spread / total for total, _, spread in posteriors.values()]) / len(middles)
        between = math.fsum([(middle - mean) ** 2 for middle in middles]) / len(middles)
        weight = self.prior[0]
        informed = {}
        for action_id, (total, middle, spread) in posteriors.items():
            capped = min(total, max(ADOPTED, weight))
            informed[action_id] = (capped, middle, spread / total * capped)
        return Adopted((weight, mean, weight * (within + between)), informed)


def _together(prior: Numbers, statistics: Numbers) -> tuple[float, float, float]:
    """Return number, mean and squared deviations of imagined and real rewards as one sample."""
    weight, prior_mean, prior_squares = prior
    n, mean, squares = statistics
    total = weight + n
    spread = prior_squares + squares + weight * n / total * (mean - prior_mean) ** 2
    return total, (weight * prior_mean + n * mean) / total, spread


def _t_reach(degrees: float) -> float:
    """Return where the tail of Student's t falls to 1e-7 or less (Wallace 1959, his first bound inverted)."""
    factor = (8.0 * degrees + 3.0) / (8.0 * degrees + 1.0)
    return math.sqrt(degrees * math.expm1(_TAIL_Z**2 / degrees * factor**2))
