"""Everything that is summed up for one candidate while the log goes by, and what is made of it in the end."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.block import IntArray
from replay.clips import ClipScan
from replay.decisions import Decisions
from replay.diagnostics.weights import WeightCounts
from replay.estimators import Estimator
from replay.estimators.slate_estimators import SlateEstimator
from replay.estimators.slates import SlateBatch
from replay.intervals import Bootstrap
from replay.sums import PairedSums, Sums, Terms
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
    decision
        Number of the decision that each row is part of; rows of one are neighbours. None: each row is one.
    """

    candidate: Batch
    baseline: Batch
    at: FloatArray
    slices: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    unsupported: FloatArray | None = None
    decision: IntArray | None = None

    def only(self, rows: IntArray | NDArray[np.bool_]) -> "Rows":
        """Return some of the rows."""
        return Rows(
            _some(self.candidate, rows),
            _some(self.baseline, rows),
            self.at[rows],
            {by: names[rows] for by, names in self.slices.items()},
            None if self.unsupported is None else self.unsupported[rows],
            None if self.decision is None else self.decision[rows],
        )

    def slot_by_slot(self) -> "Rows":
        """Return each slot as a decision of its own, worth its own reward and not its part of the sum."""
        if self.decision is None:
            return self
        n_slots = np.bincount(self.decision)[self.decision].astype(np.float64)
        return replace(
            self, candidate=_alone(self.candidate, n_slots), baseline=_alone(self.baseline, n_slots), decision=None
        )

    def decisions(self) -> Decisions | None:
        """Return which rows are one decision; None: each row is one."""
        return None if self.decision is None else Decisions.of(self.decision, self.candidate.multiplicity)


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
    bootstrap
        Of all estimators in their order, and last of the baseline by the one that lifts are measured by; None if
        nobody asked for it.
    """

    estimators: dict[str, Estimator]
    paired: PairedSums = field(default_factory=PairedSums)
    weights: WeightCounts = field(default_factory=WeightCounts)
    bootstrap: Bootstrap | None = None

    def add(self, rows: Rows, *, lift: str) -> None:
        """Take in some rows; those of one decision count as one."""
        decisions, batch, unsupported = rows.decisions(), rows.candidate, rows.unsupported
        terms = {name: one.terms(rows.candidate) for name, one in self.estimators.items()}
        theirs = self.estimators[lift].terms(rows.baseline)
        if decisions is not None:
            terms = {name: decisions.terms(one) for name, one in terms.items()}
            theirs, batch = decisions.terms(theirs), decisions.batch(batch)
            unsupported = None if unsupported is None else decisions.mean(unsupported)
        for name, estimator in self.estimators.items():
            estimator.sums += Sums.of(terms[name], batch.multiplicity)
        paired = PairedSums.of(terms[lift], theirs, batch.multiplicity)
        self.paired = self.paired + paired if self.paired.n else paired
        self.weights.add(batch, unsupported)
        if self.bootstrap is not None:
            self.bootstrap.add([*terms.values(), theirs], batch.multiplicity)


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
    slates
        Fresh estimators of whole slates, by name.
    bootstrap
        A fresh one, if intervals are to be made by it.

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
        slates: Mapping[str, SlateEstimator] | None = None,
        bootstrap: Bootstrap | None = None,
    ) -> None:
        self.lift = lift
        empty = Counts(dict(estimators), bootstrap=bootstrap)
        self.counts = copy.deepcopy(empty)
        self.slates = dict(copy.deepcopy(slates or {}))
        self.timeline = Timeline(level=level, reward_range=reward_range)
        self.clips = ClipScan()
        self.slicings = {name: Slicing(copy.deepcopy(empty)) for name in by}
        self.n_unplayed = 0
        self._waiting: list[Rows] = []
        self._n_waiting = 0

    def add(self, rows: Rows) -> None:
        """Take in the next rows; those without an answer of the candidate or the baseline are counted and left out."""
        self._waiting.append(rows)
        self._n_waiting += len(rows.candidate)
        if self._n_waiting >= _AT_ONCE:
            self.flush()

    def add_slates(self, batch: SlateBatch) -> None:
        """Take in the next decisions with all of their slots; those without an answer are left out."""
        played: NDArray[np.bool_] = np.isfinite(batch.target.sum(axis=1))
        for estimator in self.slates.values():
            estimator.add(batch if played.all() else batch.only(played))

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
        self._follow(rows)
        for name, slicing in self.slicings.items():
            slicing.add(rows.slot_by_slot() if name == "slot" else rows, rows.slices[name], lift=self.lift)

    def _follow(self, rows: Rows) -> None:
        """Take in what depends on the order of rows, and what is kept row by row."""
        terms: Terms = self.counts.estimators[self.lift].terms(rows.candidate)
        decisions, batch, at = rows.decisions(), rows.candidate, rows.at
        most_rows = 1
        if decisions is not None:
            terms, batch, at = decisions.terms(terms), decisions.batch(batch), at[decisions.starts]
            most_rows = decisions.most_rows
        self.timeline.add(batch, terms, at, n_slots=most_rows)
        self.clips.add(rows.candidate, n_slots=most_rows)


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
        _joined_decisions(parts),
    )


def _joined_decisions(parts: Sequence[Rows]) -> IntArray | None:
    """Return numbers of decisions that go on from part to part: no decision is in two."""
    if all(part.decision is None for part in parts):
        return None
    found, first = [], 0
    for part in parts:
        own = np.arange(len(part.candidate)) if part.decision is None else part.decision
        found.append(own + first)
        first += int(own.max(initial=-1)) + 1
    return np.concatenate(found)


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


def _alone(batch: Batch, n_slots: FloatArray) -> Batch:
    """Return rows of decisions of so many slots, which count as a part of one each, as decisions."""
    m = np.ones(len(batch)) if batch.multiplicity is None else batch.multiplicity
    return Batch(
        batch.rewards / n_slots,
        batch.propensities,
        batch.target,
        None if batch.q_logged is None else batch.q_logged / n_slots,
        None if batch.q_target is None else batch.q_target / n_slots,
        m * n_slots,
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
