"""Logs in tables, CSV or Parquet, by a mapping from what we call things to how their columns are called."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.events import LoggedEvent
from replay.logs.casting import datetimes, floats, holds_numbers, require, strings, vectors
from replay.logs.columns import Columns, IntArray
from replay.logs.frames import column_names, read_frames
from replay.logs.mapping import ColumnMapping
from replay.logs.rows import Rows
from replay.logs.sieve import Coding, Sieve
from replay.logs.sources import Paths, find_sources

if TYPE_CHECKING:
    import polars as pl

__all__ = ["TableLog"]

_LEAST_PROPENSITY = math.ulp(0.0)  # more than 0


@dataclass(slots=True)
class TableLog:
    """A log in CSV or Parquet files, read as columns or as events.

    Parameters
    ----------
    paths
        Files, folders, patterns, or ``"-"`` (CSV); CSV packed with gzip, zstd, or not at all.
    mapping
        Which column means what.
    action_features
        Features of the actions by id, for policies that learn.

    Attributes
    ----------
    dropped
        Rows of the last reading that were left out, by the reasons in docs/logs.md.
    noted
        What is odd about rows that were used all the same.
    """

    paths: Paths
    mapping: ColumnMapping = field(default_factory=ColumnMapping)
    action_features: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.paths = find_sources(self.paths)  # once: standard input remembers that it was read

    def batches(self) -> Iterator[Columns]:
        """Yield the rows that can be used, about 65,000 at a time; start counting `dropped` and `noted` anew.

        Raises
        ------
        InvalidLog
            A file cannot be read, a column is not there, or a whole column is of a wrong type.
        """
        for columns, _, _ in self._read(self.mapping):
            yield columns

    def events(self) -> Iterator[LoggedEvent]:
        """Yield the rows that can be used as decisions; start counting `dropped` and `noted` anew.

        A log that does not say which actions there were is read twice: first for the ids of all actions in it.

        Raises
        ------
        InvalidLog
            As `batches` does; and for standard input, which cannot be read twice.
        """
        mapping = self.mapping
        if not (mapping.actions or mapping.action_set):
            mapping = replace(mapping, actions=self._all_actions())
        rows = Rows(mapping, self.action_features, dropped=self.dropped, noted=self.noted)
        for columns, frame, kept in self._read(mapping):
            yield from rows.events(columns, frame, kept)

    def _all_actions(self) -> tuple[str, ...]:
        coding = Coding()
        for source in find_sources(self.paths):
            for frame in read_frames(source, [self.mapping.action], dropped=Counter()):
                coding.encode(frame[self.mapping.action])
        return coding.known

    def _read(self, mapping: ColumnMapping) -> "Iterator[tuple[Columns, pl.DataFrame, NDArray[np.bool_]]]":
        self.dropped.clear()
        self.noted.clear()
        coding = Coding(mapping.actions)
        numeric: set[str] | None = None
        for source in find_sources(self.paths):
            there = column_names(source)
            wanted = mapping.columns(there)
            features = mapping.context_columns(there)
            for frame in read_frames(source, wanted, dropped=self.dropped):
                if numeric is None:  # CSV has no types: the first batch says it for the whole log
                    numeric = {name for name in features if holds_numbers(frame[name])}
                    _require_types(frame, mapping)
                context = {name: (floats if name in numeric else strings)(frame[name]) for name in features}
                yield self._columns(frame, context, coding)

    def _columns(
        self, frame: "pl.DataFrame", context: Mapping[str, NDArray[Any]], coding: Coding
    ) -> "tuple[Columns, pl.DataFrame, NDArray[np.bool_]]":
        mapping = self.mapping
        sieve = Sieve(np.ones(frame.height, dtype=np.bool_), self.dropped)
        rewards = sieve.number(floats(frame[mapping.reward]), "reward")
        propensities = sieve.probability(floats(frame[mapping.propensity]), "propensity", least=_LEAST_PROPENSITY)
        sieve.drop(frame[mapping.action].is_null().to_numpy(), "action_missing")
        actions = coding.encode(frame[mapping.action])
        sieve.drop(actions < 0, "action_unknown")
        optional = self._optional(frame, sieve)
        targets = {name: sieve.probability(floats(frame[column]), "target") for name, column in mapping.targets.items()}
        q_targets = {name: sieve.number(floats(frame[column]), "q") for name, column in mapping.q_targets.items()}
        keep = sieve.keep
        columns = Columns(
            rewards=rewards[keep],
            propensities=propensities[keep],
            actions=actions[keep],
            action_ids=coding.known,
            targets={name: values[keep] for name, values in targets.items()},
            q_targets={name: values[keep] for name, values in q_targets.items()},
            context={name: values[keep] for name, values in context.items()},
            probabilities=self._probabilities(frame, keep, coding),
            **{name: values[keep] for name, values in optional.items()},
        )
        return columns, frame, keep

    def _optional(self, frame: "pl.DataFrame", sieve: Sieve) -> dict[str, NDArray[Any]]:
        mapping = self.mapping
        found: dict[str, NDArray[Any]] = {}
        for name, column in (("at", mapping.at), ("reward_at", mapping.reward_at)):
            if column is not None:
                found[name] = datetimes(frame[column])
                self.noted["time_unreadable"] += int(np.isnan(found[name]).sum())
        for name, column in (("segments", mapping.segment), ("event_ids", mapping.event_id)):
            if column is not None:
                found[name] = strings(frame[column])
        if mapping.position is not None:
            found["positions"] = self._positions(frame[mapping.position], sieve)
        if mapping.drop_probability is not None:
            share = floats(frame[mapping.drop_probability])
            with np.errstate(invalid="ignore", divide="ignore"):
                sieve.drop(~((share >= 0) & (share < 1)), "drop_probability_out_of_range")
                found["multiplicity"] = 1 / (1 - share)
        if mapping.q_logged is not None:
            found["q_logged"] = sieve.number(floats(frame[mapping.q_logged]), "q")
        self.noted += Counter()  # without zeros
        return found

    def _positions(self, column: "pl.Series", sieve: Sieve) -> IntArray:
        positions = floats(column) - self.mapping.first_position
        with np.errstate(invalid="ignore"):
            usable = (positions >= 0) & (positions == np.floor(positions)) & np.isfinite(positions)
        sieve.drop(~usable, "position_out_of_range")
        result: IntArray = np.where(usable, positions, -1).astype(np.int64)
        return result

    def _probabilities(self, frame: "pl.DataFrame", keep: NDArray[np.bool_], coding: Coding) -> FloatArray | None:
        if self.mapping.probabilities is None or not self.mapping.actions:
            return None
        matrix = vectors(frame[self.mapping.probabilities], len(coding.known))[keep]
        self.noted["probabilities_unusable"] += int(np.isnan(matrix[:, 0]).sum())
        self.noted += Counter()  # without zeros
        return matrix


def _require_types(frame: "pl.DataFrame", mapping: ColumnMapping) -> None:
    numbers = [mapping.reward, mapping.propensity, mapping.position, mapping.drop_probability, mapping.q_logged]
    for column in (*numbers, *mapping.targets.values(), *mapping.q_targets.values()):
        if column is not None:
            require(frame[column], "numbers")
    for column in (mapping.at, mapping.reward_at):
        if column is not None:
            require(frame[column], "times")
    for column in (mapping.action_set, mapping.probabilities):
        if column is not None:
            require(frame[column], "lists")
