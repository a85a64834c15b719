"""Decode parsed TOML into the structs of `banditd.config.tables`, naming the path of what is wrong."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import inspect

from banditd.config.tables import ApiKey, Duration
from banditd.errors import ConfigError
from banditd.units import parse_duration

__all__ = ["allowed", "decode", "join", "nearest"]

T = TypeVar("T", bound=msgspec.Struct)

_MAX_SHOWN = 60  # characters of a bad value in a message


def decode(table: type[T], data: object, path: str) -> T:
    """Return the struct that a TOML table describes, defaults filled in.

    Parameters
    ----------
    path
        Where `data` stands in the file, e.g. ``"segments[0]"``; empty for the whole file.

    Raises
    ------
    ConfigError
        An unknown key, a missing one or a bad value; `field` is its path.
    """
    if not isinstance(data, Mapping):
        raise ConfigError("invalid_value", f"must be a table, not {_shown(data)}", field=path)
    fields = {field.encode_name: field for field in msgspec.structs.fields(table)}
    values: dict[str, Any] = {}
    for key, raw in data.items():
        if key not in fields:
            place = f"[{path}]" if path else "the file"
            raise ConfigError("unknown_key", f"is no key of {place}{nearest(key, fields)}", field=join(path, key))
        values[fields[key].name] = _value(fields[key].type, raw, join(path, key))
    for key, field in fields.items():
        if field.required and field.name not in values:
            raise ConfigError("missing_key", f"is missing: it must be {allowed(field.type)}", field=join(path, key))
    return table(**values)


def join(path: str, key: str) -> str:
    """Return the path of a key in the table at `path`."""
    return f"{path}.{key}" if path else key


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that says what could have been meant instead of `name`."""
    names = sorted(known)
    match = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {match[0]}?" if match else f"; there are {', '.join(names)}"


def allowed(type_: Any) -> str:
    """Say in words which values a field of this type takes."""
    match inspect.type_info(type_):
        case inspect.Metadata(extra_json_schema={"description": str(description)}):
            words = description
        case inspect.LiteralType(values=values):
            words = f"one of {', '.join(map(str, values))}"
        case inspect.BoolType():
            words = "true or false"
        case inspect.IntType(ge=low, le=high):
            words = f"a whole number from {low} to {high}"
        case inspect.FloatType(ge=low, le=high):
            words = "a number" if low is None else f"a number from {low:g} to {high:g}"
        case inspect.DictType():
            words = "a table"
        case other:
            raise AssertionError(f"no words for {other}")
    return words


def _value(type_: Any, raw: object, path: str) -> Any:
    if type_ == Duration:
        try:
            return parse_duration(raw)
        except ValueError as error:
            raise ConfigError("invalid_value", f"{error}, not {_shown(raw)}", field=path) from None
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return decode(type_, raw, path)
    if get_origin(type_) is tuple:
        item_type = get_args(type_)[0]
        if not isinstance(raw, list):
            raise ConfigError("invalid_value", f"must be {_list_of(item_type)}", field=path)
        return tuple(_value(item_type, item, f"{path}[{i}]") for i, item in enumerate(raw))
    try:
        return msgspec.convert(raw, type_)
    except msgspec.ValidationError:
        shown = "" if type_ == ApiKey else f", not {_shown(raw)}"  # a mistyped key is a secret still
        raise ConfigError("invalid_value", f"must be {allowed(type_)}{shown}", field=path) from None


def _list_of(item_type: Any) -> str:
    if isinstance(item_type, type) and issubclass(item_type, msgspec.Struct):
        return "an array of tables"
    return f"a list, each item {allowed(item_type)}"


def _shown(raw: object) -> str:
    match raw:
        case bool():
            return str(raw).lower()
        case Mapping():
            return "a table"
        case list():
            return "a list"
        case _:
            return repr(raw)[:_MAX_SHOWN]
