"""The Open Bandit Dataset: one CSV a campaign, with the features of its items beside it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay.errors import InvalidLog
from replay.events import LoggedAction, LoggedEvent
from replay.logs.casting import strings
from replay.logs.columns import Columns
from replay.logs.frames import column_names, read_frames
from replay.logs.mapping import ColumnMapping
from replay.logs.sources import Paths, Source, find_sources
from replay.logs.tables import TableLog

if TYPE_CHECKING:
    import polars as pl

__all__ = ["OPEN_BANDIT_COLUMNS", "OpenBanditLog"]

OPEN_BANDIT_COLUMNS = frozenset({"timestamp", "item_id", "position", "click", "propensity_score"})
_ITEMS = "item_context.csv"
_AFFINITY = "user-item_affinity_"
_MAPPING = ColumnMapping(
    reward="click",
    propensity="propensity_score",
    action="item_id",
    at="timestamp",
    position="position",
    first_position=1,
    context=("user_feature_*",),
)


@dataclass(slots=True)
class OpenBanditLog:
    """A campaign of the Open Bandit Dataset, small or full; each row is one item at one of three places.

    Parameters
    ----------
    paths
        The CSV, packed or not, or the folder that holds it. The features of the items are read from
        ``item_context.csv`` beside it, if that is there.

    Attributes
    ----------
    dropped, noted
        As of every log.
    """

    paths: Paths
    dropped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.paths = find_sources(self.paths)  # once: standard input remembers that it was read

    def batches(self) -> Iterator[Columns]:
        """Yield the rows that can be used; actions are items 0 to K − 1, places 0, 1, 2.

        Raises
        ------
        InvalidLog
            A file cannot be read, or has other columns.
        """
        sources = self._sources()
        mapping = replace(_MAPPING, actions=_item_ids(sources[0]))
        log = TableLog(sources, mapping, dropped=self.dropped, noted=self.noted)
        yield from log.batches()

    def events(self) -> Iterator[LoggedEvent]:
        """Yield the rows as decisions among all items, which have their own features and the user's affinity to them.

        Raises
        ------
        InvalidLog
            A file cannot be read, or has other columns.
        """
        sources = self._sources()
        ids = _item_ids(sources[0])
        context = (*_MAPPING.context, *([f"{_AFFINITY}*"] if _with_affinity(sources[0]) else []))
        mapping = replace(_MAPPING, actions=ids, context=context)
        log = TableLog(sources, mapping, _item_features(sources[0]), dropped=self.dropped, noted=self.noted)
        yield from map(_with_affinities, log.events())

    def _sources(self) -> Sequence[Source]:
        logs = [one for one in find_sources(self.paths) if Path(one.path).name != _ITEMS]
        if not logs:
            raise InvalidLog("log_missing", "path", f"only {_ITEMS} is there")
        return logs


def _item_ids(source: Source) -> tuple[str, ...]:
    """Return all items of a campaign, from the affinity columns or the items' file; none if neither is there."""
    n_items = sum(name.startswith(_AFFINITY) for name in column_names(source))
    return tuple(str(i) for i in range(n_items)) if n_items else tuple(_item_features(source))


def _with_affinity(source: Source) -> bool:
    return any(name.startswith(_AFFINITY) for name in column_names(source))


def _item_features(source: Source) -> dict[str, Mapping[str, Any]]:
    path = Path(source.path).parent / _ITEMS
    if not path.exists():
        return {}
    items = Source(str(path))
    names = [name for name in column_names(items) if name.startswith("item_feature_")]
    features: dict[str, Mapping[str, Any]] = {}
    for frame in read_frames(items, ["item_id", *names], dropped=Counter()):
        columns = [_values(frame[name]) for name in names]
        for item, *values in zip(frame["item_id"].to_list(), *columns, strict=True):
            features[str(item)] = dict(zip(names, values, strict=True))
    return features


def _values(column: "pl.Series") -> list[Any]:
    """Return numbers if all are, else strings."""
    try:
        return [float(one) for one in column.to_list()]
    except (TypeError, ValueError):
        return strings(column).tolist()  # type: ignore[no-any-return]  # of strings, it is a list


def _with_affinities(event: LoggedEvent) -> LoggedEvent:
    """Move the user's affinities from the context to the items they are about; 0 says nothing and is left out."""
    context = {name: value for name, value in event.context.items() if not name.startswith(_AFFINITY)}
    affinities = {
        name[len(_AFFINITY) :]: float(value)
        for name, value in event.context.items()
        if name.startswith(_AFFINITY) and float(value)
    }
    if not affinities:
        return replace(event, context=context)
    return replace(event, context=context, actions=[_liked(one, affinities) for one in event.actions])


def _liked(action: LoggedAction, affinities: Mapping[str, float]) -> LoggedAction:
    affinity = affinities.get(action.id or "")
    return action if affinity is None else replace(action, features={**action.features, "affinity": affinity})
