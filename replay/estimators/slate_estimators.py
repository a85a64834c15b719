"""Estimators of the mean reward of a slate, the sum over its slots, by what slots are taken to do to each other."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from replay.errors import InvalidLog
from replay.estimators.slates import SlateBatch
from replay.intervals import Interval, interval
from replay.sums import JointSums, Terms

__all__ = [
    "CascadeDr",
    "CascadeIps",
    "IndependentIps",
    "PseudoInverse",
    "RewardInteractionIps",
    "SlateEstimator",
    "SlateIps",
]


@dataclass(slots=True, kw_only=True, eq=False)
class SlateEstimator(ABC):
    """An estimate of a target policy's mean reward a slate; grows, adds up and is sent about as `Estimator` is.

    Attributes
    ----------
    sums
        None before the first rows.
    """

    name: ClassVar[str]

    sums: JointSums | None = None

    @abstractmethod
    def terms(self, batch: SlateBatch) -> Sequence[Terms]:
        """Return what each row gives to each part of the estimate; the estimate is the sum of the parts."""

    def add(self, batch: SlateBatch) -> None:
        """Take in some rows.

        Raises
        ------
        InvalidLog
            The batch lacks what this estimator needs, or has another number of slots than the rows before; names the
            array; nothing changed.
        """
        parts = self.terms(batch)
        sums = JointSums.over(parts, [1.0] * len(parts), batch.multiplicity)
        self.sums = sums if self.sums is None else self.sums + sums

    @property
    def value(self) -> float:
        """The estimate; NaN where the rows cannot answer."""
        return float("nan") if self.sums is None else self.sums.value

    def interval(self, level: float = 0.95) -> Interval:
        """Return the Gaussian interval of the value, by the delta method where it is a sum of ratios.

        For logs with a few hundred slates of like weight; `replay.intervals.Bootstrap` takes the same `terms`.

        Raises
        ------
        InvalidLog
            There are no rows, or the level is not between 0 and 1.
        """
        if self.sums is None:
            raise InvalidLog("no_rows", "batch", "must have been added before there is an interval")
        return interval(self.sums, "gaussian", level=level)

    def __add__(self, other: Self) -> Self:
        """Return the estimator that saw the rows of both.

        Raises
        ------
        InvalidLog
            The two differ in kind or in their slots.
        """
        if type(self) is not type(other):
            raise InvalidLog("estimator_differs", "estimator", f"must be the same to be added: {self.name}")
        if self.sums is None or other.sums is None:
            return dataclasses.replace(self, sums=self.sums or other.sums)
        return dataclasses.replace(self, sums=self.sums + other.sums)

    def dumps(self) -> tuple[Any, ...] | None:
        """Return what it saw as plain numbers and lists, to be sent to another process."""
        return None if self.sums is None else self.sums.dumps()

    def loads(self, state: tuple[Any, ...] | None) -> Self:
        """Return one with the state that `dumps` gave."""
        return dataclasses.replace(self, sums=None if state is None else JointSums.loads(state))


@dataclass(slots=True, kw_only=True, eq=False)
class SlateIps(SlateEstimator):
    """Weight of the whole slate times its reward: assumes nothing, and has the variance of a product of weights.

    References
    ----------
    Precup, Sutton & Singh (2000), "Eligibility Traces for Off-Policy Policy Evaluation".
    """

    name: ClassVar[str] = "slate_ips"

    def terms(self, batch: SlateBatch) -> Sequence[Terms]:
        """Return Π w times Σ r."""
        weight, reward = batch.weights.prod(axis=1), batch.rewards.sum(axis=1)
        return (Terms(numerator=weight * reward, weight=weight, residual=reward),)


@dataclass(slots=True, kw_only=True, eq=False)
class IndependentIps(SlateEstimator):
    """Σ over slots of w r: right if a slot's reward depends on its own action alone.

    References
    ----------
    Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay & Wen (2018), "Offline Evaluation of Ranking Policies with Click
    Models".
    """

    name: ClassVar[str] = "iips"

    def terms(self, batch: SlateBatch) -> Sequence[Terms]:
        """Return w r, a part a slot."""
        weights = batch.weights
        return tuple(_slot(weights, batch, slot) for slot in range(batch.n_slots))


@dataclass(slots=True, kw_only=True, eq=False)
class CascadeIps(SlateEstimator):
    """Σ over slots of w₁…w_s r_s: right if a slot's reward depends on the actions up to it and on none after.

    References
    ----------
    McInerney, Brost, Chandar, Mehrotra & Carterette (2020), "Counterfactual Evaluation of Slate Recommendations with
    Sequential Reward Interactions".
    """

    name: ClassVar[str] = "cascade_ips"

    def terms(self, batch: SlateBatch) -> Sequence[Terms]:
        """Return w₁…w_s r_s, a part a slot."""
        weights = batch.weights.cumprod(axis=1)
        return tuple(_slot(weights, batch, slot) for slot in range(batch.n_slots))


@dataclass(slots=True, kw_only=True, eq=False)
class RewardInteractionIps(SlateEstimator):
    """Σ over slots of Σ w₁…w_s r_s ÷ Σ w₁…w_s: as `CascadeIps`, each slot self-normalised.

    References
    ----------
    McInerney, Brost, Chandar, Mehrotra & Carterette (2020), "Counterfactual Evaluation of Slate Recommendations with
    Sequential Reward Interactions".
    """

    name: ClassVar[str] = "rips"

    def terms(self, batch: SlateBatch) -> Sequence[Terms]:
        """Return w₁…w_s r_s and w₁…w_s, which divides, a part a slot."""
        weights = batch.weights.cumprod(axis=1)
        return tuple(_slot(weights, batch, slot, self_normalised=True) for slot in range(batch.n_slots))


@dataclass(slots=True, kw_only=True, eq=False)
class CascadeDr(SlateEstimator):
    """Σ over slots of w₁…w_s (r_s − q_s) + w₁…w_{s−1} q̄_s: `CascadeIps` with a reward model.

    References
    ----------
    Kiyohara, Saito, Matsuhiro, Narita, Shimizu & Yamamoto (2022), "Doubly Robust Off-Policy Evaluation for Ranking
    Policies under the Cascade Behavior Model".
    """

    name: ClassVar[str] = "cascade_dr"

    def terms(self, batch: SlateBatch) -> Sequence[Terms]:
        """Return the two terms of each slot, a part a slot.

        Raises
        ------
        InvalidLog
            There is no reward model.
        """
        if batch.q_logged is None or batch.q_target is None:
            missing = "q_logged" if batch.q_logged is None else "q_target"
            raise InvalidLog("reward_model_missing", missing, f"must be given: {self.name} needs a reward model")
        weights = batch.weights.cumprod(axis=1)
        before = np.hstack([np.ones((len(batch), 1)), weights[:, :-1]])
        residuals, bases = batch.rewards - batch.q_logged, before * batch.q_target
        return tuple(
            Terms(weights[:, slot] * residuals[:, slot], weights[:, slot], residuals[:, slot], base=bases[:, slot])
            for slot in range(batch.n_slots)
        )


@dataclass(slots=True, kw_only=True, eq=False)
class PseudoInverse(SlateEstimator):
    """(1 − S + Σ w) Σ r for S slots: right if the slate's reward is a sum of unseen effects of its slots.

    For a product logger and a product target. A weight may be below 0.

    References
    ----------
    Swaminathan, Krishnamurthy, Agarwal, Dudík, Langford, Jose & Zitouni (2017), "Off-policy Evaluation for Slate
    Recommendation".
    """

    name: ClassVar[str] = "pi"

    def terms(self, batch: SlateBatch) -> Sequence[Terms]:
        """Return (1 − S + Σ w) times Σ r."""
        weight, reward = batch.weights.sum(axis=1) + (1.0 - batch.n_slots), batch.rewards.sum(axis=1)
        return (Terms(numerator=weight * reward, weight=weight, residual=reward, used=np.abs(weight)),)


def _slot(
    weights: np.ndarray[Any, np.dtype[np.float64]], batch: SlateBatch, slot: int, *, self_normalised: bool = False
) -> Terms:
    weight, reward = weights[:, slot], batch.rewards[:, slot]
    return Terms(numerator=weight * reward, weight=weight, residual=reward, self_normalised=self_normalised)
