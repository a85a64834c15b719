"""Estimators with a reward model: what it predicts for the target, corrected by what the log says of its errors."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.estimators.base import Estimator, predictions
from replay.estimators.shrinking import above_zero, clipped, optimistic, share, sub_gaussian, switched
from replay.sums import Terms

__all__ = ["ClippedDr", "Dm", "Dr", "Dros", "Sndr", "SubGaussianDr", "SwitchDr"]


@dataclass(slots=True, kw_only=True, eq=False)
class Dm(Estimator):
    """mean(q_target), the direct method: as good as the reward model, and the log does not check it.

    Its interval tells how the predictions vary, not how far they are off; its weights are kept to say how many rows
    could have told.

    References
    ----------
    Dudík, Erhan, Langford & Li (2014), "Doubly Robust Policy Evaluation and Optimization".
    """

    name: ClassVar[str] = "dm"
    needs_model: ClassVar[bool] = True

    def terms(self, batch: Batch) -> Terms:
        """Return no correction, w, and the predictions."""
        q_logged, q_target = predictions(batch, self.name)
        nothing = np.zeros_like(q_target)
        return Terms(nothing, batch.weights, residual=batch.rewards - q_logged, base=q_target, reach=batch.reach)


@dataclass(slots=True, kw_only=True, eq=False)
class Dr(Estimator):
    """mean(q_target + w (r − q_logged)), doubly robust: unbiased if propensities or predictions are right.

    References
    ----------
    Dudík, Erhan, Langford & Li (2014), "Doubly Robust Policy Evaluation and Optimization".
    """

    name: ClassVar[str] = "dr"
    needs_model: ClassVar[bool] = True

    def terms(self, batch: Batch) -> Terms:
        """Return w (r − q), w, and the predictions."""
        return _corrected(batch, self.name, used=None)


@dataclass(slots=True, kw_only=True, eq=False)
class Sndr(Estimator):
    """mean(q_target) + Σ w (r − q_logged) ÷ Σ w: the correction is self-normalised.

    References
    ----------
    Thomas & Brunskill (2016), "Data-Efficient Off-Policy Policy Evaluation for Reinforcement Learning";
    Kallus & Uehara (2019), "Intrinsically Efficient, Stable, and Bounded Off-Policy Evaluation".
    """

    name: ClassVar[str] = "sndr"
    needs_model: ClassVar[bool] = True

    def terms(self, batch: Batch) -> Terms:
        """Return w (r − q), w, which divides, and the predictions."""
        return _corrected(batch, self.name, used=None, self_normalised=True)


@dataclass(slots=True, kw_only=True, eq=False)
class ClippedDr(Estimator):
    """mean(q_target + min(w, clip) (r − q_logged)).

    References
    ----------
    Su, Dimakopoulou, Krishnamurthy & Dudík (2020), "Doubly Robust Off-Policy Evaluation with Shrinkage"
    (pessimistic shrinkage).
    """

    name: ClassVar[str] = "dr_clipped"
    needs_model: ClassVar[bool] = True

    clip: float

    def __post_init__(self) -> None:
        above_zero("clip", self.clip)

    def terms(self, batch: Batch) -> Terms:
        """Return min(w, clip) (r − q), w, and the predictions."""
        return _corrected(batch, self.name, used=clipped(batch.weights, self.clip))


@dataclass(slots=True, kw_only=True, eq=False)
class SwitchDr(Estimator):
    """mean(q_target + w 1{w ≤ tau} (r − q_logged)): trusts the model alone where weights are above `tau`.

    References
    ----------
    Wang, Agarwal & Dudík (2017), "Optimal and Adaptive Off-policy Evaluation in Contextual Bandits".
    """

    name: ClassVar[str] = "switch_dr"
    needs_model: ClassVar[bool] = True

    tau: float

    def __post_init__(self) -> None:
        above_zero("tau", self.tau)

    def terms(self, batch: Batch) -> Terms:
        """Return w 1{w ≤ tau} (r − q), w, and the predictions."""
        return _corrected(batch, self.name, used=switched(batch.weights, self.tau))


@dataclass(slots=True, kw_only=True, eq=False)
class Dros(Estimator):
    """mean(q_target + lam w ÷ (w² + lam) (r − q_logged)): doubly robust with optimistic shrinkage.

    References
    ----------
    Su, Dimakopoulou, Krishnamurthy & Dudík (2020), "Doubly Robust Off-Policy Evaluation with Shrinkage".
    """

    name: ClassVar[str] = "dros"
    needs_model: ClassVar[bool] = True

    lam: float

    def __post_init__(self) -> None:
        above_zero("lam", self.lam)

    def terms(self, batch: Batch) -> Terms:
        """Return the shrunk weight times (r − q), w, and the predictions."""
        return _corrected(batch, self.name, used=optimistic(batch.weights, self.lam))


@dataclass(slots=True, kw_only=True, eq=False)
class SubGaussianDr(Estimator):
    """mean(q_target + w ÷ (1 − lam + lam w) (r − q_logged)).

    References
    ----------
    Metelli, Russo & Restelli (2021), "Subgaussian and Differentiable Importance Sampling for Off-Policy Evaluation
    and Learning".
    """

    name: ClassVar[str] = "sub_gaussian_dr"
    needs_model: ClassVar[bool] = True

    lam: float

    def __post_init__(self) -> None:
        share("lam", self.lam)

    def terms(self, batch: Batch) -> Terms:
        """Return the shrunk weight times (r − q), w, and the predictions."""
        return _corrected(batch, self.name, used=sub_gaussian(batch.weights, self.lam))


def _corrected(batch: Batch, name: str, *, used: FloatArray | None, self_normalised: bool = False) -> Terms:
    q_logged, q_target = predictions(batch, name)
    weight, residual = batch.weights, batch.rewards - q_logged
    numerator = (weight if used is None else used) * residual
    return Terms(
        numerator, weight, residual, base=q_target, used=used, self_normalised=self_normalised, reach=batch.reach
    )
