"""Turn JSON objects into contexts and actions that no policy can be hurt by.

A context or an action's features are a JSON object. Its values mean:

===================  ==========================================================
number               a feature of that value; finite, at most `Limits.magnitude`
string               a feature ``name=value`` of value 1
``true``             a feature of value 1; ``false`` and ``null`` are dropped
object               a namespace of its own, named after the path to it
list of strings      a set: one feature ``name=value`` for each
list of numbers      a vector: one feature ``name.i`` for each
list of objects      merged in order, a later key replaces an earlier one
===================  ==========================================================

`Context.line` and `Action.line` hold the same features once more, encoded for
VW's text format: every character that means something there (space, ``|``,
``:``, control characters) is percent-encoded, as are ``%`` and ``=``, so that
two different features never read the same and none can open a new line,
namespace or label.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.errors import InvalidInput

__all__ = ["Action", "Context", "Limits"]

_SHARED_NAMESPACE = "|s"
_ACTION_NAMESPACE = "|a"
_ID_FEATURE = "%id="  # a client's own name never holds a bare "%", so none can collide with it
_UNSAFE = re.compile(r"[\x00-\x20\x7f%:=|\x80-\xa0\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MEMO_ENTRIES = 65_536  # tokens kept; a client that sends new strings for ever only costs the memo


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one context or action may hold.

    Parameters
    ----------
    depth
        Levels of nesting, the outermost object included.
    features
        Features of one context or of one action.
    id_bytes
        Bytes of UTF-8 in an id.
    magnitude
        Largest absolute value of a number.
    """

    depth: int = 16
    features: int = 1_000
    id_bytes: int = 256
    magnitude: float = 1e9


@dataclass(frozen=True, slots=True)
class Context:
    """The features of the moment.

    Attributes
    ----------
    data
        The JSON object as it came; not to be changed.
    line
        The features as VW text, without the word ``shared``.
    """

    data: Mapping[str, Any]
    line: str

    @classmethod
    def of(cls, data: Mapping[str, Any], *, limits: Limits = Limits()) -> "Context":  # noqa: B008 - frozen value
        """Check `data` and encode it.

        Raises
        ------
        InvalidInput
            A value is of no known kind, not finite, too large, too deep or one too many.
        """
        return cls(data, _encode(data, _SHARED_NAMESPACE, "", limits))


@dataclass(frozen=True, slots=True)
class Action:
    """One option.

    Attributes
    ----------
    id
        1 to `Limits.id_bytes` bytes of UTF-8 without control characters.
    features
        The JSON object as it came; not to be changed.
    line
        The id and the features as VW text.
    """

    id: str
    features: Mapping[str, Any]
    line: str

    @classmethod
    def of(cls, id: str, features: Mapping[str, Any] | None = None, *, limits: Limits = Limits()) -> "Action":  # noqa: A002, B008
        """Check an id and its features and encode them.

        Raises
        ------
        InvalidInput
            The id is empty, too long or holds a control character, or a feature is refused.
        """
        check_id(id, field="id", limits=limits)
        data = {} if features is None else features
        try:
            line = _encode(data, _ACTION_NAMESPACE, _ID_FEATURE + _escape(id), limits)
        except InvalidInput as error:
            raise error.under("features") from None
        return cls(id, data, line)


def check_id(value: str, *, field: str, limits: Limits) -> None:
    """Raise `InvalidInput` unless `value` is an id: short, printable UTF-8."""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidInput("invalid_text", field, "is not valid UTF-8 text") from None
    if not 1 <= size <= limits.id_bytes:
        raise InvalidInput("id_length", field, f"must be 1 to {limits.id_bytes} bytes long, not {size}")
    if _CONTROL.search(value):
        raise InvalidInput("control_character", field, "must not hold control characters")


def _encode(data: Mapping[str, Any], namespace: str, first: str, limits: Limits) -> str:
    encoder = _Encoder(limits)
    encoder.add_object(data, namespace, first, "", 1)
    return " ".join(encoder.blocks)


class _Encoder:
    """One pass over a JSON object: checks it and writes its namespaces."""

    __slots__ = ("blocks", "left", "limits")

    def __init__(self, limits: Limits) -> None:
        self.blocks: list[str] = []
        self.left = limits.features
        self.limits = limits

    def add_object(self, data: Mapping[str, Any], namespace: str, first: str, path: str, depth: int) -> None:
        limits = self.limits
        if depth > limits.depth:
            raise InvalidInput("too_deep", path, f"is nested more than {limits.depth} levels deep")
        largest = limits.magnitude
        tokens = [namespace, first] if first else [namespace]
        nested: list[tuple[str, Mapping[str, Any]]] = []
        for key, value in data.items():
            kind = type(value)
            if kind is str:
                tokens.append(_STRINGS.get((key, value)) or _string_token(key, value, path))
            elif kind is float or kind is int:
                if not -largest <= value <= largest:
                    raise _bad_number(value, _join(path, key), limits)
                tokens.append(f"{_NAMES.get(key) or _name_token(key, path)}:{value!r}")
            elif kind is bool:
                if value:
                    tokens.append(_NAMES.get(key) or _name_token(key, path))
            elif kind is dict:
                nested.append((key, value))
            elif kind is list:
                merged = self._add_list(key, value, tokens, path, depth)
                if merged is not None:
                    nested.append((key, merged))
            elif value is not None:
                raise InvalidInput("invalid_type", _join(path, key), f"is a {kind.__name__}, not a JSON value")
        self.left -= len(tokens) - (2 if first else 1)
        if self.left < 0:
            raise InvalidInput("too_many_features", path, f"holds more than {limits.features} features")
        if len(tokens) > 1 or not nested:
            self.blocks.append(" ".join(tokens))
        for key, value in nested:
            name = _NAMES.get(key) or _name_token(key, path)
            self.add_object(value, f"{namespace}.{name}", "", _join(path, key), depth + 1)

    def _add_list(
        self, key: str, values: Sequence[Any], tokens: list[str], path: str, depth: int
    ) -> dict[str, Any] | None:
        merged: dict[str, Any] | None = None
        name = _NAMES.get(key) or _name_token(key, path)
        if depth + 1 > self.limits.depth:
            raise InvalidInput("too_deep", _join(path, key), f"is nested more than {self.limits.depth} levels deep")
        for i, value in enumerate(values):
            kind = type(value)
            if kind is str:
                tokens.append(_STRINGS.get((key, value)) or _string_token(key, value, f"{path}[{i}]"))
            elif kind is float or kind is int:
                if not -self.limits.magnitude <= value <= self.limits.magnitude:
                    raise _bad_number(value, f"{_join(path, key)}[{i}]", self.limits)
                tokens.append(f"{name}.{i}:{value!r}")
            elif kind is bool:
                if value:
                    tokens.append(f"{name}.{i}")
            elif kind is dict:
                merged = value if merged is None else {**merged, **value}
            elif value is not None:
                raise InvalidInput(
                    "invalid_type", f"{_join(path, key)}[{i}]", f"is a {kind.__name__}; a list holds scalars or objects"
                )
        if merged is not None and any(type(value) is not dict and value is not None for value in values):
            raise InvalidInput("mixed_list", _join(path, key), "holds both objects and scalars")
        return merged


_NAMES: dict[str, str] = {}
_STRINGS: dict[tuple[str, str], str] = {}


def _name_token(key: str, path: str) -> str:
    if type(key) is not str:
        raise InvalidInput("invalid_type", path, "has a name that is not a string")
    token = _checked_escape(key, _join(path, key)) or "%"
    if len(_NAMES) >= _MEMO_ENTRIES:
        _NAMES.clear()
    _NAMES[key] = token
    return token


def _string_token(key: str, value: str, path: str) -> str:
    token = f"{_name_token(key, path)}={_checked_escape(value, _join(path, key))}"
    if len(_STRINGS) >= _MEMO_ENTRIES:
        _STRINGS.clear()
    _STRINGS[key, value] = token
    return token


def _checked_escape(text: str, field: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput("invalid_text", field.encode(errors="replace").decode(), "is not valid UTF-8") from None
    return _escape(text)


def _escape(text: str) -> str:
    if _UNSAFE.search(text) is None:
        return text
    return _UNSAFE.sub(lambda match: f"%{ord(match.group()):02X}", text)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _bad_number(value: float, field: str, limits: Limits) -> InvalidInput:
    if not math.isfinite(value):
        return InvalidInput("number_not_finite", field, "must be a finite number")
    return InvalidInput("number_out_of_range", field, f"must be within ±{limits.magnitude:g}")
