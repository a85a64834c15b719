"""Tasks cut further, where a cluster has more processors than an evaluation has candidates.

Candidates that do not learn need nothing of what came before: each shard reads some of the log's files. Policies that
are one for each segment need nothing of other segments: each shard plays some of them. What comes out is added up; all
other candidates go along the whole log, each by itself. Sums that are put together in another order differ in their
last digits. What rests on the order of all rows is lost: there is no curve over time, whose confidence sequence bets
on each row by what it has seen in all rows before.
"""

import copy
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from replay.candidates import PolicyRecipe, Recipe, Table
from replay.events import LoggedEvent
from replay.logs import DsjsonLog, JsonlLog, OpenBanditLog, TableLog
from replay.logs.sources import STDIN, Source
from replay.tally import OTHERS, Counts, Slicing, Tally
from replay.tasks import Partial, Task
from replay.timeline import Timeline

__all__ = ["OfSegments", "Shards", "cut"]

_MOST_SLICES = 200  # as a tally keeps


@dataclass(frozen=True, slots=True)
class Shards:
    """Tasks to be run instead of one.

    Attributes
    ----------
    tasks
        Just one, if it stays whole.
    """

    tasks: Sequence[Task]

    def joined(self, partials: Sequence[Partial]) -> Partial:
        """Return what the one task would have found, given what these did, in their order."""
        if len(partials) == 1:
            return partials[0]
        by_segment = isinstance(self.tasks[0].log, OfSegments)  # then each has read the whole log
        first = partials[0]
        healths = [partial.health for partial in partials if partial.health is not None]
        health = healths[0] if healths else None
        for other in healths[1:]:
            health = other if health is None else health + other
        tallies = {name: _tally([partial.tallies[name] for partial in partials]) for name in first.tallies}
        return Partial(
            tallies=tallies,
            findings={name: [one for part in partials for one in part.findings[name]] for name in first.findings},
            dropped=first.dropped if by_segment else sum((partial.dropped for partial in partials), Counter()),
            noted=first.noted if by_segment else sum((partial.noted for partial in partials), Counter()),
            health=health,
            n_events=sum(partial.n_events for partial in partials),
        )


@dataclass(frozen=True, slots=True)
class OfSegments:
    """The decisions of some segments of a log: those whose name has one of `n` remainders.

    Attributes
    ----------
    log
        All of it.
    part, n
        Which, from 0, of how many.
    """

    log: Any
    part: int
    n: int

    @property
    def dropped(self) -> Counter[str]:
        """What the whole log left out."""
        dropped: Counter[str] = self.log.dropped
        return dropped

    @property
    def noted(self) -> Counter[str]:
        """What was odd about the whole log."""
        return Counter(getattr(self.log, "noted", {}))

    def events(self) -> Iterator[LoggedEvent]:
        """Yield them in their order."""
        for event in self.log.events():
            if zlib.crc32(event.segment.encode()) % self.n == self.part:
                yield event


def cut(tasks: Sequence[Task], n: int) -> list[Shards]:
    """Cut each kind of candidates that can be cut into at most `n` shards; one element a task that is replaced."""
    if n < 2 or not tasks or not all(_is_plain(task) for task in tasks):  # noqa: PLR2004 - one is no cut
        return [Shards([task]) for task in tasks]
    every = {name: recipe for task in tasks for name, recipe in task.candidates.items()}
    fixed = {name: recipe for name, recipe in every.items() if not recipe.learns}
    apart = {name: recipe for name, recipe in every.items() if isinstance(recipe, PolicyRecipe) and _is_apart(recipe)}
    result = []
    for task in tasks:
        whole = {name: one for name, one in task.candidates.items() if name not in fixed and name not in apart}
        if whole:
            result.append(Shards([replace(task, candidates=whole, wants_health=not fixed and task.wants_health)]))
    if fixed:
        one = replace(tasks[0], candidates=fixed, wants_health=True)
        logs = _parts(one.log, n) if _has_one_numbering(one.log, fixed) else []
        result.append(Shards([replace(one, log=log) for log in logs] if logs else [one]))
    if apart:
        one = replace(tasks[0], candidates=apart, wants_health=not fixed)
        result.append(Shards([replace(one, log=OfSegments(one.log, part, n)) for part in range(n)]))
    return result


def _is_plain(task: Task) -> bool:
    """Whether a task goes along the whole log alike, with nothing but policies that is carried from row to row."""
    plan = task.plan
    is_whole = plan.score_from == 0 and plan.stop_at is None and plan.question != "deployed"
    # Replicates draw by the number of a row in the whole log, which a shard does not know.
    is_summed = plan.reward_model is None and plan.bootstrap is None and not plan.slates
    return is_whole and is_summed and not task.baseline[1].learns


def _is_apart(recipe: PolicyRecipe) -> bool:
    return recipe.learns and recipe.per_segment


def _has_one_numbering(log: Any, recipes: Mapping[str, Recipe]) -> bool:
    """Whether an action has the same number in all files: without a set it is numbered when it is first seen."""
    has_tables = any(isinstance(recipe, Table) for recipe in recipes.values())
    return not has_tables or not isinstance(log, TableLog) or bool(log.mapping.actions or log.mapping.action_set)


def _parts(log: Any, n: int) -> list[Any]:
    """Return logs of neighbouring files, about as large as each other; none if the log cannot be cut."""
    if not isinstance(log, (DsjsonLog, JsonlLog, OpenBanditLog, TableLog)):
        return []
    sources: Sequence[Any] = log.paths if isinstance(log.paths, Sequence) else [log.paths]
    files = [one for one in sources if isinstance(one, Source) and one.path != STDIN]
    if len(files) < len(sources):
        return []
    sizes = [Path(one.path).stat().st_size for one in files]
    share, groups, so_far = max(1, sum(sizes)) / max(1, n), dict[int, list[Source]](), 0
    for source, size in zip(files, sizes, strict=True):
        groups.setdefault(min(n - 1, int((so_far + size / 2) / share)), []).append(source)
        so_far += size
    if len(groups) < 2:  # noqa: PLR2004 - one is no cut
        return []
    return [replace(log, paths=tuple(group), dropped=Counter(), noted=Counter()) for group in groups.values()]


def _tally(parts: Sequence[Tally]) -> Tally:
    result = copy.copy(parts[0])
    result.timeline = Timeline(level=result.timeline.level, reward_range=result.timeline.reward_range)
    result.slicings = {by: _slicing([part.slicings[by] for part in parts]) for by in parts[0].slicings}
    for part in parts[1:]:
        result.counts = _counts(result.counts, part.counts)
        result.clips = replace(
            result.clips,
            sums=result.clips.sums + part.clips.sums,
            heaviest=max(result.clips.heaviest, part.clips.heaviest),
        )
        result.n_unplayed += part.n_unplayed
    return result


def _counts(one: Counts, other: Counts) -> Counts:
    both = {name: each + other.estimators[name] for name, each in one.estimators.items()}
    paired = (
        one.paired + other.paired if one.paired.n and other.paired.n else one.paired if one.paired.n else other.paired
    )
    return Counts(both, paired, one.weights + other.weights)


def _slicing(parts: Sequence[Slicing]) -> Slicing:
    result = copy.copy(parts[0])
    result.slices = {}
    for part in parts:
        for name, counts in part.slices.items():
            key = name if name in result.slices or len(result.slices) < _MOST_SLICES else OTHERS
            known = result.slices.get(key)
            result.slices[key] = counts if known is None else _counts(known, counts)
    return result
