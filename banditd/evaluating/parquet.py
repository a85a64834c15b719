"""Decisions as a Parquet table: a row for each slot, a column for each plain feature of the context."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import orjson

from banditd.evaluating.entries import Entry
from banditd.evaluating.errors import ExtrasMissing
from banditd.evaluating.journal_log import actions_of, asked_slots

if TYPE_CHECKING:
    import polars as pl

__all__ = ["feature_kinds", "write_parquet"]

_BATCH: Final = 2_000  # rows handed over at a time
_ROW_GROUP: Final = 50_000  # rows a reader has in memory
_FEATURES_AT_MOST: Final = 256  # columns; whatever there are more of is in the context's JSON alone
_PREFIX: Final = "context."


def feature_kinds(entries: Iterable[Entry]) -> dict[str, str]:
    """Return which plain features the contexts have, by path, and whether as ``number``, ``string`` or ``boolean``.

    A feature that comes as several kinds is left out, and so are the rarest beyond 256; lists are no plain features.
    """
    counts: Counter[str] = Counter()
    kinds: dict[str, set[str]] = {}
    for entry in entries:
        for name, value in _plain(orjson.loads(bytes(entry.decision.context))).items():
            counts[name] += 1
            kinds.setdefault(name, set()).add(_kind(value))
    same = [name for name, _ in counts.most_common() if len(kinds[name]) == 1]
    return {name: next(iter(kinds[name])) for name in sorted(same[:_FEATURES_AT_MOST])}


def write_parquet(
    entries: Callable[[], Iterator[Entry]],
    path: Path,
    *,
    kinds: Mapping[str, str],
    compression: Literal["gzip", "zstd"],
) -> None:
    """Write the table, a group of rows at a time.

    Raises
    ------
    ExtrasMissing
        Polars is not installed.
    """
    try:
        import polars as pl  # noqa: PLC0415 - of the extra `replay`, which nothing else here needs
        from polars.io.plugins import register_io_source  # noqa: PLC0415 - see above
    except ImportError:
        detail = "--format parquet needs Polars: pip install 'banditd[replay]'"
        raise ExtrasMissing("extras_missing", detail, field="--format") from None
    schema = _schema(pl, kinds)
    failed: list[Exception] = []

    def batches(*_: object) -> Iterator["pl.DataFrame"]:
        rows: list[dict[str, Any]] = []
        try:
            for entry in entries():
                rows.extend(_rows(entry, kinds))
                if len(rows) >= _BATCH:
                    yield pl.DataFrame(rows, schema=schema)
                    rows = []
        except Exception as error:
            failed.append(error)  # Polars would make a text of it
            raise
        yield pl.DataFrame(rows, schema=schema)

    try:
        table = register_io_source(batches, schema=schema)
        table.sink_parquet(path, compression=compression, row_group_size=_ROW_GROUP, maintain_order=True)
    except pl.exceptions.PolarsError:
        if failed:
            raise failed[0] from None
        raise


def _schema(pl: Any, kinds: Mapping[str, str]) -> Any:
    types = {"number": pl.Float64, "string": pl.String, "boolean": pl.Boolean}
    return pl.Schema(
        {
            "event_id": pl.String,
            "at": pl.Float64,
            "segment": pl.String,
            "lane": pl.String,
            "epoch": pl.Int64,
            "seq": pl.Int64,
            "pool_seq": pl.Int64,
            "served_by": pl.String,
            "subject": pl.String,
            "position": pl.Int64,
            "slot": pl.String,
            "n_slots": pl.Int64,
            "action": pl.String,
            "action_index": pl.Int64,
            "action_set": pl.List(pl.String),
            "probabilities": pl.List(pl.Float64),
            "propensity": pl.Float64,
            "reward": pl.Float64,
            "reward_at": pl.Float64,
            "default_reward": pl.Boolean,
            "outcome_seq": pl.Int64,
            "outcome_pool_seq": pl.Int64,
            "context": pl.String,
            "actions": pl.String,
            **{f"{_PREFIX}{name}": types[kind] for name, kind in kinds.items()},
        }
    )


def _rows(entry: Entry, kinds: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    decision = entry.decision
    ids = [f"#{place}" if action.id is None else action.id for place, action in enumerate(actions_of(decision))]
    context = orjson.loads(bytes(decision.context))
    features = _plain(context)
    shared = {
        **{name: getattr(decision, name) for name in ("event_id", "at", "lane", "epoch", "seq", "pool_seq")},
        "served_by": decision.served_by,
        "segment": entry.segment,
        "subject": decision.subject,
        "n_slots": len(decision.slots),
        "context": orjson.dumps(context).decode(),
        "actions": orjson.dumps(orjson.loads(bytes(decision.actions))).decode(),
        **{f"{_PREFIX}{name}": _told(features.get(name), kind) for name, kind in kinds.items()},
    }
    for number, (slot, asked) in enumerate(zip(decision.slots, asked_slots(decision), strict=True)):
        outcome = entry.outcomes[number]
        yield {
            **shared,
            "position": number,
            "slot": None if decision.asked_slots is msgspec.UNSET else asked["id"],
            "action": ids[slot.chosen],
            "action_index": slot.chosen,
            "action_set": [ids[index] for index in slot.eligible],
            "probabilities": slot.probabilities,
            "propensity": min(slot.propensity, 1.0),
            "reward": outcome.reward,
            "reward_at": entry.reward_at(number),
            "default_reward": not outcome.rewarded,
            "outcome_seq": outcome.seq,
            "outcome_pool_seq": outcome.pool_seq,
        }


def _plain(data: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return numbers, strings and booleans by their paths, as ``user.age``."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            found.update(_plain(value, f"{path}{key}."))
        elif isinstance(value, str | int | float):
            found[f"{path}{key}"] = value
    return found


def _kind(value: object) -> str:
    return "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"


def _told(value: Any, kind: str) -> Any:
    return float(value) if kind == "number" and value is not None else value
