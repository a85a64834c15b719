"""Estimators that weight the rewards of the log, without a reward model."""

from dataclasses import dataclass
from typing import ClassVar

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.estimators.base import Estimator
from replay.estimators.shrinking import above_zero, clipped, share, sub_gaussian
from replay.sums import Terms

__all__ = ["ClippedIps", "Ips", "Snips", "SubGaussian"]


@dataclass(slots=True, kw_only=True, eq=False)
class Ips(Estimator):
    """mean(w r): unbiased, but one heavy row can carry it away.

    References
    ----------
    Horvitz & Thompson (1952); Strehl, Langford, Li & Kakade (2010), "Learning from Logged Implicit Exploration Data".
    """

    name: ClassVar[str] = "ips"

    def terms(self, batch: Batch) -> Terms:
        """Return w r and w."""
        weight = batch.weights
        return Terms(numerator=weight * batch.rewards, weight=weight, residual=batch.rewards, reach=batch.reach)


@dataclass(slots=True, kw_only=True, eq=False)
class Snips(Estimator):
    """Σ w r ÷ Σ w: a weighted mean, so never outside the rewards; its bias vanishes as 1 ÷ n.

    References
    ----------
    Swaminathan & Joachims (2015), "The Self-Normalized Estimator for Counterfactual Learning".
    """

    name: ClassVar[str] = "snips"

    def terms(self, batch: Batch) -> Terms:
        """Return w r and w, which divides."""
        weight = batch.weights
        return Terms(
            numerator=weight * batch.rewards,
            weight=weight,
            residual=batch.rewards,
            self_normalised=True,
            reach=batch.reach,
        )


@dataclass(slots=True, kw_only=True, eq=False)
class ClippedIps(Estimator):
    """mean(min(w, clip) r): too low for rewards ≥ 0 as soon as any weight is above `clip`.

    References
    ----------
    Ionides (2008), "Truncated Importance Sampling"; Bottou et al. (2013), "Counterfactual Reasoning and Learning
    Systems".
    """

    name: ClassVar[str] = "ips_clipped"

    clip: float

    def __post_init__(self) -> None:
        above_zero("clip", self.clip)

    def terms(self, batch: Batch) -> Terms:
        """Return min(w, clip) r and w."""
        weight = batch.weights
        return _weighted(batch, weight, clipped(weight, self.clip))


@dataclass(slots=True, kw_only=True, eq=False)
class SubGaussian(Estimator):
    """mean(w ÷ (1 − lam + lam w) r): `lam` 0 is plain IPS, 1 gives every supported row the weight 1.

    References
    ----------
    Metelli, Russo & Restelli (2021), "Subgaussian and Differentiable Importance Sampling for Off-Policy Evaluation
    and Learning".
    """

    name: ClassVar[str] = "sub_gaussian"

    lam: float

    def __post_init__(self) -> None:
        share("lam", self.lam)

    def terms(self, batch: Batch) -> Terms:
        """Return the shrunk weight times r, and w."""
        weight = batch.weights
        return _weighted(batch, weight, sub_gaussian(weight, self.lam))


def _weighted(batch: Batch, weight: FloatArray, used: FloatArray) -> Terms:
    return Terms(numerator=used * batch.rewards, weight=weight, residual=batch.rewards, used=used, reach=batch.reach)
