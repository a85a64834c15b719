"""Everything that is summed up for one candidate while the log goes by, and what is made of it in the end."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.block import IntArray
from replay.clips import ClipScan
from replay.diagnostics.weights import WeightCounts
from replay.estimators import Estimator
from replay.sums import PairedSums
from replay.timeline import Timeline

__all__ = ["OTHERS", "Counts", "Rows", "Slicing", "Tally"]

OTHERS = "(others)"
_MOST_SLICES = 200
_AT_ONCE = 16_384  # rows that are summed up at once: numpy's calls then cost nothing beside what they do


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a block as one candidate answered them.

    Attributes
    ----------
    candidate, baseline
        The same rows, with the target probabilities of each.
    at
        UTC seconds; NaN where the log does not say.
    slices
        Names of the slice that each row lies in, by what the log is sliced by.
    unsupported
        As of `WeightCounts.add`.
    """

    candidate: Batch
    baseline: Batch
    at: FloatArray
    slices: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    unsupported: FloatArray | None = None

    def only(self, rows: IntArray | NDArray[np.bool_]) -> "Rows":
        """Return some of the rows."""
        return Rows(
            _some(self.candidate, rows),
            _some(self.baseline, rows),
            self.at[rows],
            {by: names[rows] for by, names in self.slices.items()},
            None if self.unsupported is None else self.unsupported[rows],
        )


@dataclass(slots=True)
class Counts:
    """What a candidate has on the whole log, and on each slice of it.

    Attributes
    ----------
    estimators
        By name; each has seen all rows.
    paired
        Of the estimator that lifts are measured by: the candidate and the baseline on the same rows.
    weights
        For the diagnostics.
    """

    estimators: dict[str, Estimator]
    paired: PairedSums = field(default_factory=PairedSums)
    weights: WeightCounts = field(default_factory=WeightCounts)

    def add(self, rows: Rows, *, lift: str) -> None:
        """Take in some rows."""
        for estimator in self.estimators.values():
            estimator.add(rows.candidate)
        by = self.estimators[lift]
        paired = PairedSums.of(by.terms(rows.candidate), by.terms(rows.baseline), rows.candidate.multiplicity)
        self.paired = self.paired + paired if self.paired.n else paired
        self.weights.add(rows.candidate, rows.unsupported)


class Slicing:
    """Counts by slice: the first 200 slices that come have their own, the others share one."""

    def __init__(self, empty: Counts) -> None:
        self._empty = empty
        self.slices: dict[str, Counts] = {}

    def add(self, rows: Rows, names: NDArray[np.str_], *, lift: str) -> None:
        """Take in rows, and the name of the slice of each."""
        known, places = np.unique(names, return_inverse=True)
        for place, name in enumerate(known.tolist()):
            self._of(name).add(rows.only(np.flatnonzero(places == place)), lift=lift)

    def _of(self, name: str) -> Counts:
        key = name if name in self.slices or len(self.slices) < _MOST_SLICES else OTHERS
        if key not in self.slices:
            self.slices[key] = copy.deepcopy(self._empty)
        return self.slices[key]


class Tally:
    """One candidate's sums over the rows so far, in memory that does not grow with the log.

    Parameters
    ----------
    estimators
        Fresh ones, by name.
    lift
        The name of the one that lifts and the timeline are measured by.
    by
        What the log is sliced by.
    level, reward_range
        Of the timeline's confidence sequence.

    Attributes
    ----------
    n_unplayed
        Rows that the candidate had no answer for, such as lines that VW could not read.
    """

    def __init__(
        self,
        estimators: Mapping[str, Estimator],
        *,
        lift: str,
        by: Sequence[str] = (),
        level: float = 0.95,
        reward_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self.lift = lift
        self.counts = Counts(dict(copy.deepcopy(estimators)))
        self.timeline = Timeline(level=level, reward_range=reward_range)
        self.clips = ClipScan()
        self.slicings = {name: Slicing(Counts(dict(copy.deepcopy(estimators)))) for name in by}
        self.n_unplayed = 0
        self._waiting: list[Rows] = []
        self._n_waiting = 0

    def add(self, rows: Rows) -> None:
        """Take in the next rows; those without an answer of the candidate or the baseline are counted and left out."""
        self._waiting.append(rows)
        self._n_waiting += len(rows.candidate)
        if self._n_waiting >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Sum up what is waiting."""
        if not self._n_waiting:
            return
        rows = _joined(self._waiting)
        self._waiting, self._n_waiting = [], 0
        unplayed = np.isnan(rows.candidate.target) | np.isnan(rows.baseline.target)
        if unplayed.any():
            self.n_unplayed += int(unplayed.sum())
            rows = rows.only(~unplayed)
        if not len(rows.candidate):
            return
        self.counts.add(rows, lift=self.lift)
        by = self.counts.estimators[self.lift]
        self.timeline.add(rows.candidate, by.terms(rows.candidate), rows.at)
        self.clips.add(rows.candidate)
        for name, slicing in self.slicings.items():
            slicing.add(rows, rows.slices[name], lift=self.lift)


def _joined(parts: Sequence[Rows]) -> Rows:
    """Return rows one after another."""
    if len(parts) == 1:
        return parts[0]
    unsupported = [part.unsupported for part in parts]
    known = [
        np.full(len(part.candidate), np.nan) if one is None else one
        for part, one in zip(parts, unsupported, strict=True)
    ]
    return Rows(
        _joined_batches([part.candidate for part in parts]),
        _joined_batches([part.baseline for part in parts]),
        np.concatenate([part.at for part in parts]),
        {by: np.concatenate([part.slices[by] for part in parts]) for by in parts[0].slices},
        None if all(one is None for one in unsupported) else np.concatenate(known),
    )


def _joined_batches(parts: Sequence[Batch]) -> Batch:
    multiplicity = None
    if any(part.multiplicity is not None for part in parts):
        multiplicity = np.concatenate(
            [np.ones(len(part)) if part.multiplicity is None else part.multiplicity for part in parts]
        )
    has_model = parts[0].q_logged is not None
    return Batch(
        rewards=np.concatenate([part.rewards for part in parts]),
        propensities=np.concatenate([part.propensities for part in parts]),
        target=np.concatenate([part.target for part in parts]),
        q_logged=np.concatenate([part.q_logged for part in parts if part.q_logged is not None]) if has_model else None,
        q_target=np.concatenate([part.q_target for part in parts if part.q_target is not None]) if has_model else None,
        multiplicity=multiplicity,
    )


def _some(batch: Batch, rows: IntArray | NDArray[np.bool_]) -> Batch:
    return Batch(
        batch.rewards[rows],
        batch.propensities[rows],
        batch.target[rows],
        None if batch.q_logged is None else batch.q_logged[rows],
        None if batch.q_target is None else batch.q_target[rows],
        None if batch.multiplicity is None else batch.multiplicity[rows],
    )
