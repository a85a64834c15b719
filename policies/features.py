"""Turn JSON objects into contexts and actions that no policy can be hurt by.

A context or an action's features are a JSON object. Its values mean:

===================  ==========================================================
number               a feature of that value; finite, at most `Limits.magnitude`;
                     nearer to 0 than 1e-20 it is 0
string               a feature ``name=value`` of value 1
``true``             a feature of value 1; ``false`` and ``null`` are dropped
object               a namespace of its own, named after the path to it
list of strings      a set: one feature ``name=value`` for each that is different
list of numbers      a vector: one feature ``name.i`` for each
list of objects      merged in order, a later key replaces an earlier one
===================  ==========================================================

A namespace counts as a feature, so that the limit on features bounds all that is written.

`Context.line` and `Action.line` hold the same features once more, encoded for
VW's text format: every character that means something there (space, ``|``,
``:``, control characters) is percent-encoded, as are ``%``, ``=`` and, in names,
the dot, so that two different features never read the same and none can open a
new line, namespace or label.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.errors import InvalidInput

__all__ = ["Action", "Context", "Limits", "Slot"]

_SHARED_NAMESPACE = "|s"
_ACTION_NAMESPACE = "|a"
_SLOT_NAMESPACE = "|s.%slot"  # a client's own name never holds a bare "%", so none can collide with it
_ID_FEATURE = "%id="  # as above
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0%:=|\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MEMO_ENTRIES = 65_536  # tokens kept; a client that sends new strings for ever only costs the memo
_MEMO_ACTIONS = 16_384  # actions kept, some 1 KB each
_MEMO_LINE = 1_000  # characters of the line of an action that is kept
_MEMO_LENGTH = 100  # characters; longer ones are rare, and kept they would add up to gigabytes
_LEAST_NUMBER = 1e-20  # VW 9.11 reads what is a little smaller as 0, but 5.1e-270 as 5.1e-14
_FIELD_LENGTH = 300  # characters of a path that an error repeats


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one context or action may hold.

    Parameters
    ----------
    depth
        Levels of nesting, the outermost object included.
    features
        Features and namespaces of one context or of one action.
    id_bytes
        Bytes of UTF-8 in an id.
    magnitude
        Largest absolute value of a number.
    """

    depth: int = 16
    features: int = 1_000
    id_bytes: int = 256
    magnitude: float = 1e9


_LIMITS = Limits()


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
    def of(cls, data: Mapping[str, Any], *, limits: Limits = _LIMITS) -> "Context":
        """Check `data` and encode it.

        Raises
        ------
        InvalidInput
            A value is of no known kind, not finite, too large, too deep or one too many.
        """
        return cls(data, _flat(data, _SHARED_NAMESPACE, limits) or _encode(data, _SHARED_NAMESPACE, "", limits))

    def at_slot(self, slot: "Slot") -> "Context":
        """Return the context with the features of a slot, as a policy sees it that is to fill it."""
        return Context(self.data, f"{self.line} {slot.line}")

    def within(self, segment: str) -> "Context":
        """Return the context with the segment as one more feature, as a policy that several segments share sees it."""
        return Context(self.data, f"{self.line} {_SHARED_NAMESPACE}.%segment %={_escape(segment)}")


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
        The id and the features as VW text; of an action without an id of its own the features alone.
    """

    id: str
    features: Mapping[str, Any]
    line: str

    @classmethod
    def unnamed(cls, place: int, features: Mapping[str, Any], *, limits: Limits = _LIMITS) -> "Action":
        """Check the features of an action without an id, and encode them.

        It is called by its place among the actions, ``"#0"``, ``"#1"``, …; models of features do not see that name.

        Raises
        ------
        InvalidInput
            There is no feature, so that nothing tells it from others, or one is refused.
        """
        try:
            line = _encode(features, _ACTION_NAMESPACE, "", limits)
        except InvalidInput as error:
            raise error.under("features") from None
        if all(token.startswith("|") for token in line.split(" ")):
            raise InvalidInput("no_features", "features", "must hold a feature, since the action has no id")
        return cls(f"#{place}", features, line)

    @classmethod
    def of(cls, id: str, features: Mapping[str, Any] | None = None, *, limits: Limits = _LIMITS) -> "Action":  # noqa: A002 - an action's id is its id
        """Check an id and its features and encode them.

        Raises
        ------
        InvalidInput
            The id is empty, too long or holds a control character, or a feature is refused.
        """
        key = None
        if type(features) is dict and type(id) is str:
            values = features.values()
            key = (id, *features, *values, *map(type, values))  # the types too: 1, 1.0 and True are equal
            try:
                known = _ACTIONS.get(key)
            except TypeError:  # a list or an object among the values
                key = None
            else:
                if known is not None and known[0] is limits:
                    return known[1]
        check_id(id, field="id", limits=limits)
        data = {} if features is None else features
        first = _ID_FEATURE + _escape(id)
        try:
            line = _flat(data, f"{_ACTION_NAMESPACE} {first}", limits) or _encode(
                data, _ACTION_NAMESPACE, first, limits
            )
        except InvalidInput as error:
            raise error.under("features") from None
        if key is not None and len(line) <= _MEMO_LINE:
            if len(_ACTIONS) >= _MEMO_ACTIONS:
                _ACTIONS.clear()
            _ACTIONS[key] = limits, cls(id, dict(data), line)  # its own features: a caller's may change
        return cls(id, data, line)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place to fill, one of several in a decision.

    Attributes
    ----------
    id
        As an action's.
    line
        The id, the position and the features as VW text: a namespace of the context.
    """

    id: str
    line: str

    @classmethod
    def of(
        cls,
        id: str,  # noqa: A002 - as an action's
        *,
        position: int,
        features: Mapping[str, Any] | None = None,
        limits: Limits = Limits(),
    ) -> "Slot":
        """Check an id and its features and encode them.

        Parameters
        ----------
        position
            Which place of the decision it is, from 0; a feature like a string, since the second place is not
            twice the first.

        Raises
        ------
        InvalidInput
            The id is empty, too long or holds a control character, or a feature is refused.
        """
        check_id(id, field="id", limits=limits)
        own = f"{_ID_FEATURE}{_escape(id)} %position={position}"
        try:
            line = _encode({} if features is None else features, _SLOT_NAMESPACE, own, limits)
        except InvalidInput as error:
            raise error.under("features") from None
        return cls(id, line)


def check_id(value: str, *, field: str, limits: Limits) -> None:
    """Raise `InvalidInput` unless `value` is an id: short, printable UTF-8."""
    if type(value) is not str:
        raise InvalidInput("invalid_type", field, "must be a string")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidInput("invalid_text", field, "is not valid UTF-8 text") from None
    if not 1 <= size <= limits.id_bytes:
        raise InvalidInput("id_length", field, f"must be 1 to {limits.id_bytes} bytes long, not {size}")
    if _CONTROL.search(value):
        raise InvalidInput("control_character", field, "must not hold control characters")


def _flat(data: Any, head: str, limits: Limits) -> str | None:
    """Return the line of an object that holds only a few plain values; None if `_encode` has to look at it.

    Most contexts and actions are such objects, and this takes half as long.
    """
    if type(data) is not dict or len(data) > limits.features or limits.depth < 1:
        return None
    largest = limits.magnitude
    tokens = [head]
    for key, value in data.items():
        kind = type(value)
        if kind is str:
            tokens.append(_STRINGS.get((key, value)) or _string_token(key, value, ""))
        elif kind is float or kind is int:
            if not -largest <= value <= largest:
                return None
            number = 0 if -_LEAST_NUMBER < value < _LEAST_NUMBER else value
            tokens.append(f"{_NAMES.get(key) or _name_token(key, '')}:{number!r}")
        elif kind is bool:
            if value:
                tokens.append(_NAMES.get(key) or _name_token(key, ""))
        elif value is not None:
            return None
    return " ".join(tokens)


def _encode(data: Mapping[str, Any], namespace: str, first: str, limits: Limits) -> str:
    if not isinstance(data, Mapping):
        raise InvalidInput("invalid_type", "", "must be a JSON object")
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

    def add_object(  # noqa: C901, PLR0912 - one branch per JSON kind; a call for each would be most of the cost
        self, data: Mapping[str, Any], namespace: str, first: str, path: str, depth: int
    ) -> None:
        limits = self.limits
        if depth > limits.depth:
            raise _refused("too_deep", path, f"is nested more than {limits.depth} levels deep")
        largest = limits.magnitude
        tokens = [namespace, first] if first else [namespace]
        n_own = len(tokens)
        nested: list[tuple[str, Mapping[str, Any], int]] = []
        for key, value in data.items():
            kind = type(value)
            if kind is str:
                tokens.append(_STRINGS.get((key, value)) or _string_token(key, value, path))
            elif kind is float or kind is int:
                if not -largest <= value <= largest:
                    raise _bad_number(value, _join(path, key), limits)
                number = 0 if -_LEAST_NUMBER < value < _LEAST_NUMBER else value
                tokens.append(f"{_NAMES.get(key) or _name_token(key, path)}:{number!r}")
            elif kind is bool:
                if value:
                    tokens.append(_NAMES.get(key) or _name_token(key, path))
            elif kind is dict:
                nested.append((key, value, depth + 1))
            elif kind is list:
                merged = self._add_list(key, value, tokens, path, depth)
                if merged is not None:
                    nested.append((key, merged, depth + 2))
            elif value is not None:
                raise _refused("invalid_type", _join(path, key), f"is a {kind.__name__}, not a JSON value")
        self.left -= len(tokens) - n_own + len(nested)
        if self.left < 0:
            raise _refused("too_many_features", path, f"takes the features to more than {limits.features}")
        if len(tokens) > 1 or not nested:
            self.blocks.append(" ".join(tokens))
        for key, value, level in nested:
            name = _NAMES.get(key) or _name_token(key, path)
            self.add_object(value, f"{namespace}.{name}", "", _join(path, key), level)

    def _add_list(  # noqa: C901 - as above
        self, key: str, values: Sequence[Any], tokens: list[str], path: str, depth: int
    ) -> dict[str, Any] | None:
        merged: dict[str, Any] = {}
        strings: dict[str, None] = {}  # a set that keeps its order
        n_objects = n_scalars = 0
        name = _NAMES.get(key) or _name_token(key, path)
        if depth + 1 > self.limits.depth:
            raise _refused("too_deep", _join(path, key), f"is nested more than {self.limits.depth} levels deep")
        for i, value in enumerate(values):
            kind = type(value)
            if kind is dict:
                n_objects += 1
                merged.update(value)
                continue
            if value is None:
                continue
            n_scalars += 1
            if kind is str:
                token = _STRINGS.get((key, value)) or _string_token(key, value, path, place=f"[{i}]")
                strings[token] = None
            elif kind is float or kind is int:
                if not -self.limits.magnitude <= value <= self.limits.magnitude:
                    raise _bad_number(value, f"{_join(path, key)}[{i}]", self.limits)
                number = 0 if -_LEAST_NUMBER < value < _LEAST_NUMBER else value
                tokens.append(f"{name}.{i}:{number!r}")
            elif kind is bool:
                if value:
                    tokens.append(f"{name}.{i}")
            else:
                raise _refused(
                    "invalid_type", f"{_join(path, key)}[{i}]", f"is a {kind.__name__}; a list holds scalars or objects"
                )
        if n_objects and n_scalars:
            raise _refused("mixed_list", _join(path, key), "holds both objects and scalars")
        tokens.extend(strings)
        return merged if n_objects else None


_ACTIONS: dict[tuple[Any, ...], tuple[Limits, Action]] = {}  # most requests repeat the actions of a catalogue
_NAMES: dict[str, str] = {}
_STRINGS: dict[tuple[str, str], str] = {}


def _name_token(key: str, path: str) -> str:
    if type(key) is not str:
        raise _refused("invalid_type", path, "has a name that is not a string")
    token = _checked_escape(key, _join(path, key)).replace(".", "%2E") or "%"
    if len(key) <= _MEMO_LENGTH:
        if len(_NAMES) >= _MEMO_ENTRIES:
            _NAMES.clear()
        _NAMES[key] = token
    return token


def _string_token(key: str, value: str, path: str, *, place: str = "") -> str:
    token = f"{_NAMES.get(key) or _name_token(key, path)}={_checked_escape(value, _join(path, key) + place)}"
    if len(key) + len(value) <= _MEMO_LENGTH:
        if len(_STRINGS) >= _MEMO_ENTRIES:
            _STRINGS.clear()
        _STRINGS[key, value] = token
    return token


def _checked_escape(text: str, field: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused("invalid_text", field, "is not valid UTF-8 text") from None
    return _escape(text)


def _escape(text: str) -> str:
    if _UNSAFE.search(text) is None:
        return text
    return _UNSAFE.sub(_percent_encoded, text)


def _percent_encoded(match: re.Match[str]) -> str:
    return "".join([f"%{byte:02X}" for byte in match.group().encode()])  # bytes: two digits each, so none runs on


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else str(key)


def _refused(code: str, field: str, detail: str) -> InvalidInput:
    """Return an error whose field may go into a reply, whatever a client called it."""
    return InvalidInput(code, field[:_FIELD_LENGTH].encode(errors="replace").decode(), detail)


def _bad_number(value: float, field: str, limits: Limits) -> InvalidInput:
    if type(value) is float and not math.isfinite(value):  # an int may be too large to ask
        return _refused("number_not_finite", field, "must be a finite number")
    return _refused("number_out_of_range", field, f"must be within ±{limits.magnitude:g}")
