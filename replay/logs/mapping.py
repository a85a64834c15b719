"""Which column of a table means what."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import orjson

from replay.errors import InvalidLog

__all__ = ["ColumnMapping", "parse_mapping"]

_LISTS = ("context", "actions")
_BY_CANDIDATE = {"target": "targets", "q_target": "q_targets"}


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Columns of a table by what they mean; each is the name of a column unless said otherwise.

    Attributes
    ----------
    reward, propensity, action
        Must be there. The propensity is that of the logged action, in (0, 1]; the action may be of any type.
    at, reward_at
        Times: numbers are UTC seconds; datetimes and ISO 8601 strings without a zone are taken for UTC.
    event_id, segment
        Strings.
    position
        Place on the page, a whole number.
    first_position
        What the first place is called in the log: 0 or 1.
    drop_probability
        Share of such rows that were left out of the log.
    context
        Features of the moment: names of columns; a name that ends with ``*`` stands for all columns that begin so.
    actions
        The action set, where it is the same for all rows: ids.
    action_set
        A list column with the ids that were there; for event-wise reading.
    probabilities
        A list column with the whole distribution, in the order of `actions` or of `action_set`.
    q_logged
        Predicted reward of the logged action.
    targets, q_targets
        By candidate: its probability of the logged action; its expected predicted reward. As text ``target.NAME`` and
        ``q_target.NAME``.
    """

    reward: str = "reward"
    propensity: str = "propensity"
    action: str = "action"
    at: str | None = None
    reward_at: str | None = None
    event_id: str | None = None
    segment: str | None = None
    position: str | None = None
    first_position: int = 0
    drop_probability: str | None = None
    context: Sequence[str] = ()
    actions: Sequence[str] = ()
    action_set: str | None = None
    probabilities: str | None = None
    q_logged: str | None = None
    targets: Mapping[str, str] = field(default_factory=dict)
    q_targets: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.first_position not in (0, 1):
            raise InvalidLog("mapping_invalid", "first_position", f"must be 0 or 1, not {self.first_position!r}")
        if self.actions and self.action_set:
            raise InvalidLog("mapping_invalid", "actions", "is a fixed set, so action_set cannot be given as well")
        if self.probabilities and not (self.actions or self.action_set):
            raise InvalidLog("mapping_invalid", "probabilities", "needs actions or action_set, which say their order")
        if len(set(self.actions)) != len(self.actions):
            raise InvalidLog("mapping_invalid", "actions", "must not name an action twice")

    def columns(self, there: Sequence[str]) -> tuple[str, ...]:
        """Return the columns to read, of those that the table has.

        Raises
        ------
        InvalidLog
            One is not there; names it, and what is there.
        """
        named = [(word.name, value) for word in fields(self) if isinstance(value := getattr(self, word.name), str)]
        named += [(f"target.{name}", column) for name, column in self.targets.items()]
        named += [(f"q_target.{name}", column) for name, column in self.q_targets.items()]
        for word, column in named:
            if column not in there:
                raise _missing(word, column, there)
        wanted = dict.fromkeys([*(column for _, column in named), *self.context_columns(there)])
        return tuple(wanted)

    def context_columns(self, there: Sequence[str]) -> tuple[str, ...]:
        """Return the columns of the context, of those that the table has; raises as `columns` does."""
        found: dict[str, None] = {}
        for name in self.context:
            some = [one for one in there if one.startswith(name[:-1])] if name.endswith("*") else [name]
            if not some or some[0] not in there:
                raise _missing("context", name, there)
            found.update(dict.fromkeys(some))
        return tuple(found)


def parse_mapping(given: "ColumnMapping | Mapping[str, Any] | str | Path") -> ColumnMapping:
    """Return a mapping from what a caller has.

    Parameters
    ----------
    given
        A mapping; a dict; the path of a TOML or JSON file; or text such as ``"reward=click,propensity=pscore"``, where
        lists are joined by ``+``: ``"context=age+country"``.

    Raises
    ------
    InvalidLog
        A word is unknown or its value of a wrong type, or the file cannot be read; names the word.
    """
    if isinstance(given, ColumnMapping):
        return given
    if isinstance(given, str) and "=" in given:
        return _from_words(_from_text(given))
    if isinstance(given, str | Path):
        return _from_words(_from_file(Path(given)))
    return _from_words(given)


def _from_text(text: str) -> dict[str, Any]:
    words: dict[str, Any] = {}
    for part in text.split(","):
        word, equals, value = part.partition("=")
        if not equals or not value.strip():
            raise InvalidLog("mapping_invalid", part.strip(), "must be word=column")
        value = value.strip()
        word = word.strip()
        if word in words:
            raise InvalidLog("mapping_invalid", word, "is given twice")
        words[word] = value.split("+") if word in _LISTS else value
    if "first_position" in words:
        words["first_position"] = _whole(words["first_position"])
    return words


def _from_file(path: Path) -> Mapping[str, Any]:
    try:
        raw = path.read_bytes()
        words = tomllib.loads(raw.decode()) if path.suffix == ".toml" else orjson.loads(raw)
    except OSError as error:
        raise InvalidLog("mapping_invalid", str(path), f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # of both formats, and of bytes that are no UTF-8
        raise InvalidLog("mapping_invalid", str(path), f"is not valid: {error}") from error
    if not isinstance(words, dict):
        raise InvalidLog("mapping_invalid", str(path), "must be one object")
    return words


def _from_words(given: Mapping[str, Any]) -> ColumnMapping:
    words: dict[str, Any] = {"targets": {}, "q_targets": {}}
    for word, value in given.items():
        kind, dot, name = word.partition(".")
        if dot and kind in _BY_CANDIDATE:
            words[_BY_CANDIDATE[kind]][name] = _text(word, value)
        elif word in _BY_CANDIDATE or word in _BY_CANDIDATE.values():  # a table in TOML is an object of its own
            table = words[_BY_CANDIDATE.get(word, word)]
            table.update((name, _text(f"{word}.{name}", one)) for name, one in _table(word, value).items())
        elif word in _LISTS:
            words[word] = tuple(_text(word, one) for one in (value if isinstance(value, list | tuple) else [value]))
        elif word == "first_position":
            words[word] = value
        elif word in ColumnMapping.__dataclass_fields__:
            words[word] = _text(word, value)
        else:
            known = ", ".join(one.name for one in fields(ColumnMapping))
            raise InvalidLog("mapping_invalid", word, f"is none of the words that a mapping knows: {known}")
    return ColumnMapping(**words)


def _table(word: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidLog("mapping_invalid", word, "must be a table of candidate = column")
    return value


def _text(word: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise InvalidLog("mapping_invalid", word, f"must be text, not {value!r}")
    return str(value)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidLog("mapping_invalid", "first_position", f"must be 0 or 1, not {text!r}") from None


def _missing(word: str, column: str, there: Sequence[str]) -> InvalidLog:
    shown = ", ".join(there[:30]) + (f", and {len(there) - 30} more" if len(there) > 30 else "")  # noqa: PLR2004 - a sentence, not a page
    return InvalidLog("column_missing", word, f"is to be column {column!r}, but the log has: {shown}")
