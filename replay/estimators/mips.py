"""Weights of action embeddings instead of actions: for many actions that differ little."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.errors import InvalidLog
from replay.estimators.base import Estimator
from replay.estimators.slates import table
from replay.sums import Sums, Terms

__all__ = ["EmbeddedBatch", "Mips"]


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """Rows whose chosen action is described by an embedding; tables have shape (n, n_actions).

    Attributes
    ----------
    rewards
        Shape (n,), finite.
    logging, target
        The whole distribution over the actions, of the logging policy and of the target.
    likelihood
        ≥ 0: how likely the row's logged embedding is for each action, p(e | x, a). Where an action has one embedding
        (a brand, a category, a cluster), 1 for the actions that share the logged one's and 0 for the others: see
        `of_groups`. Only ratios within a row count.
    multiplicity
        Shape (n,); None for 1 each.
    """

    rewards: FloatArray
    logging: FloatArray
    target: FloatArray
    likelihood: FloatArray
    multiplicity: FloatArray | None = None

    @classmethod
    def of(
        cls,
        rewards: ArrayLike,
        logging: ArrayLike,
        target: ArrayLike,
        likelihood: ArrayLike,
        *,
        multiplicity: ArrayLike | None = None,
    ) -> "EmbeddedBatch":
        """Check and convert what a caller has.

        Raises
        ------
        InvalidLog
            An array has the wrong shape, a value is not finite or out of its range, or the logging policy could not
            have produced a logged embedding; names the array.
        """
        ones = np.ones(len(np.asarray(rewards)))
        rows = Batch.of(rewards, ones, ones, multiplicity=multiplicity)
        given = {"logging": (logging, 1.0), "target": (target, 1.0), "likelihood": (likelihood, math.inf)}
        tables = {name: _shares(name, each, len(rows), most) for name, (each, most) in given.items()}
        if len({each.shape for each in tables.values()}) > 1:
            raise InvalidLog("length_differs", "likelihood", "must have the shape of logging and target")
        if len(rows) and not (tables["logging"] * tables["likelihood"]).sum(axis=1).min() > 0.0:
            raise InvalidLog("propensity_zero", "logging", "must give the logged embedding a probability above 0")
        return cls(rows.rewards, **tables, multiplicity=rows.multiplicity)

    @classmethod
    def of_groups(
        cls,
        rewards: ArrayLike,
        logging: ArrayLike,
        target: ArrayLike,
        *,
        groups: NDArray[np.int64],
        chosen: NDArray[np.int64],
        multiplicity: ArrayLike | None = None,
    ) -> "EmbeddedBatch":
        """Return rows whose embedding is the group that the chosen action belongs to.

        Parameters
        ----------
        rewards, logging, target, multiplicity
            As in `of`.
        groups
            Shape (n_actions,), or (n, n_actions) where actions change groups: any integers.
        chosen
            Shape (n,): index of the logged action.

        Raises
        ------
        InvalidLog
            As `of`, or an index is not that of an action.
        """
        n_actions = np.shape(logging)[-1]
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < n_actions):
            raise InvalidLog("out_of_range", "chosen", f"must hold indices from 0 to {n_actions - 1}")
        group = np.broadcast_to(groups, (len(chosen), n_actions))
        same = group == group[np.arange(len(chosen)), chosen][:, None]
        return cls.of(rewards, logging, target, same, multiplicity=multiplicity)


@dataclass(slots=True, kw_only=True, eq=False)
class Mips(Estimator):
    """mean(p(e | x, target) ÷ p(e | x, logging) · r): weights marginalised over the embedding e.

    Unbiased if the action acts on the reward through its embedding alone and each embedding that the target can
    produce can be produced by the logging policy; weights are never more spread than those of actions. The column
    seam is `add_embedded`; `add` takes a `Batch` whose two probabilities are those of embeddings already.

    References
    ----------
    Saito & Joachims (2022), "Off-Policy Evaluation for Large Action Spaces via Embeddings".
    """

    name: ClassVar[str] = "mips"

    def terms(self, batch: Batch) -> Terms:
        """Return w r and w."""
        weight = batch.weights
        return Terms(numerator=weight * batch.rewards, weight=weight, residual=batch.rewards)

    def add_embedded(self, batch: EmbeddedBatch) -> None:
        """Take in some rows with their embeddings."""
        weight = (batch.target * batch.likelihood).sum(axis=1) / (batch.logging * batch.likelihood).sum(axis=1)
        terms = Terms(numerator=weight * batch.rewards, weight=weight, residual=batch.rewards)
        self.sums += Sums.of(terms, batch.multiplicity)


def _shares(name: str, given: ArrayLike, n: int, most: float) -> FloatArray:
    found = table(name, given)
    if len(found) != n:
        raise InvalidLog("length_differs", name, f"must have {n} rows as rewards has, not {len(found)}")
    slack = 1e-5  # logs round what they print
    if found.size and not (np.isfinite(found).all() and found.min() >= 0.0 and found.max() <= most + slack):
        raise InvalidLog("out_of_range", name, f"must hold finite numbers from 0 to {most:g}")
    return found
