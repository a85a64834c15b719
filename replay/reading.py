"""From any log to blocks: as little of each line is decoded as the candidates need."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal

import numpy as np

from policies.errors import InvalidInput
from replay.block import Block, Place, block_of, places_of
from replay.candidates.protocol import Need, Recipe
from replay.events import LoggedEvent
from replay.logs.columns import Columns
from replay.quick import Care, block_of_lines

__all__ = ["BLOCK_EVENTS", "Reading", "knows_actions", "need_of"]

BLOCK_EVENTS: Final = 1_024  # enough that numpy's calls do not show, and a megabyte or two of lines


_ORDER: Final[Sequence[Need]] = ("columns", "lines", "events", "places")


def need_of(recipes: Iterable[Recipe], *, whole: Literal["whole", "chosen"]) -> Need:
    """Return what of the log must be read, so that all candidates see what they need.

    Parameters
    ----------
    whole
        "whole" if a reward model is to see what policies see.
    """
    needs: list[Need] = [recipe.needs for recipe in recipes]
    return "places" if whole == "whole" else max(needs, key=_ORDER.index, default="columns")


@dataclass(slots=True)
class Reading:
    """One pass over a log.

    Parameters
    ----------
    log
        An `EventLog` or a `ColumnLog`.
    need
        What is to be seen of it.
    care
        Of dsjson lines that VW alone reads; see `replay.quick`.

    Attributes
    ----------
    dropped
        Why events were left out, beyond those that the log itself leaves out; complete after the pass.
    """

    log: Any
    need: Need
    care: Care = "careful"

    _own: Counter[str] = field(default_factory=Counter)

    @property
    def dropped(self) -> Counter[str]:
        """Why events were left out, and how many, by the log and here."""
        return Counter(getattr(self.log, "dropped", {})) + self._own

    def blocks(self) -> Iterator[Block]:
        """Yield the log from its beginning.

        Raises
        ------
        InvalidLog
            The log cannot be read, or has not what the candidates need.
        """
        self._own.clear()
        if self.need == "columns" and hasattr(self.log, "batches") and not _has_own_sets(self.log):
            return self._columns()
        if self.need in ("columns", "lines") and hasattr(self.log, "lines") and hasattr(self.log, "cost"):
            return self._lines()
        return self._events()

    def _columns(self) -> Iterator[Block]:
        known = knows_actions(self.log)
        for columns in self.log.batches():
            yield _block_of_columns(columns, knows_actions=known)

    def _lines(self) -> Iterator[Block]:
        """Read dsjson lines for VW, which decodes them itself."""
        noted: Counter[str] = self.log.noted
        source: Iterator[bytes] = iter(self.log.lines())
        self.log.dropped.clear()
        noted.clear()
        while lines := list(islice(source, BLOCK_EVENTS)):
            yield block_of_lines(lines, care=self.care, cost=self.log.cost, dropped=self._own, noted=noted)

    def _events(self) -> Iterator[Block]:
        source: Iterator[LoggedEvent] = filter(self._counts, self.log.events())
        while events := list(islice(source, BLOCK_EVENTS)):
            if self.need != "places":
                yield block_of(events)
                continue
            seen = [(event, places) for event in events if (places := self._seen(event))]
            yield block_of([event for event, _ in seen], places=[places for _, places in seen])

    def _counts(self, event: LoggedEvent) -> bool:
        """Whether an event is part of the evaluation: VW leaves out the lines that it is not to learn from."""
        if event.learn or event.line is None:
            return True
        self._own["skip_learn"] += 1
        return False

    def _seen(self, event: LoggedEvent) -> list[Place]:
        """Return what policies see of an event; nothing, if it holds what none may see."""
        try:
            return places_of(event)
        except InvalidInput:
            self._own["features_refused"] += 1
            return []


def knows_actions(log: Any) -> bool:
    """Whether the log says which actions could have been chosen, and not only which were."""
    mapping = getattr(log, "mapping", None)
    return mapping is None or bool(mapping.actions or mapping.action_set)


def _has_own_sets(log: Any) -> bool:
    """Whether each row of a table says which actions could have been chosen: no matter of whole columns."""
    mapping = getattr(log, "mapping", None)
    return mapping is not None and mapping.action_set is not None


def _block_of_columns(columns: Columns, *, knows_actions: bool) -> Block:
    n = len(columns)
    actions = columns.actions.astype(np.intp)
    return Block(
        rewards=columns.rewards,
        propensities=columns.propensities,
        at=np.full(n, np.nan) if columns.at is None else columns.at,
        n_events=n,
        n_eligible=np.full(n, columns.n_actions if knows_actions else 0, dtype=np.intp),
        chosen=actions,
        slot=np.zeros(n, dtype=np.intp) if columns.positions is None else columns.positions.astype(np.intp),
        chosen_id=actions,
        place_propensities=columns.propensities,
        multiplicity=columns.multiplicity,
        event_ids=() if columns.event_ids is None else columns.event_ids,
        action_names=columns.action_ids,
        distributions=() if columns.probabilities is None else columns.probabilities,
        segments=() if columns.segments is None else columns.segments,
        targets=columns.targets,
        q_logged=columns.q_logged,
        q_targets=columns.q_targets,
    )
