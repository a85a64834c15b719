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

import copy
import marshal
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
_DUMP_VERSION = 2  # of marshal; from 3 on equal objects are written in several ways
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

Number = tuple[int, str, float]  # the place of its token, its name, its value
Block = tuple[list[str], list[Number]]  # a namespace: its tokens, empty where a number belongs; those numbers


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Context:
    """The features of the moment.

    Parameters
    ----------
    line
        What the property is to be; None where `blocks` say it.

    Attributes
    ----------
    data
        The JSON object as it came; not to be changed.
    blocks
        What `line` is made of, for who rewrites its numbers; None where only the line is known. Not to be changed.
    """

    data: Mapping[str, Any]
    blocks: Sequence[Block] | None = field(repr=False)
    _line: str | None = field(repr=False)

    def __init__(
        self, data: Mapping[str, Any], line: str | None = None, *, blocks: Sequence[Block] | None = None
    ) -> None:
        _set_data(self, data)  # two thirds of the time of a frozen dataclass's own __init__
        _set_line(self, line)
        _set_blocks(self, blocks)

    def __eq__(self, other: object) -> bool:
        """Return whether both came as equal objects and read the same."""
        if not isinstance(other, Context):
            return NotImplemented
        return self.data == other.data and self.line == other.line

    __hash__ = None  # type: ignore[assignment]  # data is a dict

    @property
    def line(self) -> str:
        """The features as VW text, without the word ``shared``; written when it is first asked for."""
        line = self._line
        if line is None:
            line = _joined(self.blocks or ())
            _set_line(self, line)
        return line

    @property
    def n_features(self) -> int:
        """How many features there are, each namespace but the first counted as one more."""
        if self.blocks is None:
            return self.line.count(" ")
        return sum([len(tokens) for tokens, _ in self.blocks]) - 1

    @classmethod
    def of(cls, data: Mapping[str, Any], *, limits: Limits = _LIMITS) -> "Context":
        """Check `data` and encode it.

        Raises
        ------
        InvalidInput
            A value is of no known kind, not finite, too large, too deep or one too many.
        """
        numbers: list[Number] = []
        tokens = _flat(data, [_SHARED_NAMESPACE], numbers, limits)
        return cls(data, blocks=[(tokens, numbers)] if tokens else _encode(data, _SHARED_NAMESPACE, "", limits))

    def at_slot(self, slot: "Slot") -> "Context":
        """Return the context with the features of a slot, as a policy sees it that is to fill it."""
        return Context(self.data, f"{self.line} {slot.line}")

    def within(self, segment: str) -> "Context":
        """Return the context with the segment as one more feature, as a policy that several segments share sees it."""
        return Context(self.data, f"{self.line} {_SHARED_NAMESPACE}.%segment %={_escape(segment)}")


_set_data, _set_blocks, _set_line = (Context.__dict__[name].__set__ for name in Context.__slots__)


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
            line = _joined(_encode(features, _ACTION_NAMESPACE, "", limits))
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
        key = b""
        if type(features) is dict:
            try:
                key = _dumped((id, features), _DUMP_VERSION)
            except ValueError:  # holds what no JSON object does, or is too deep
                pass
            else:
                known = _ACTIONS.get(key)
                if known is not None and known[0] is limits:
                    return known[1]
        data = {} if features is None else features
        first = _id_token(id, limits)
        try:
            tokens = _flat(data, [_ACTION_NAMESPACE, first], None, limits)
            line = " ".join(tokens) if tokens else _joined(_encode(data, _ACTION_NAMESPACE, first, limits))
        except InvalidInput as error:
            raise error.under("features") from None
        if not key or len(line) > _MEMO_LINE:
            return cls(id, data, line)
        action = cls(id, dict(data) if tokens else copy.deepcopy(data), line)  # of its own: a caller's may change
        if len(_ACTIONS) >= _MEMO_ACTIONS:
            _ACTIONS.clear()
        _ACTIONS[key] = limits, action
        return action


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
        own = f"{_id_token(id, limits)} %position={position}"
        try:
            line = _joined(_encode({} if features is None else features, _SLOT_NAMESPACE, own, limits))
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


def _id_token(value: str, limits: Limits) -> str:
    """Check an id and return it as a feature."""
    known = _IDS.get(value) if type(value) is str else None
    if known is not None and known[0] is limits:
        return known[1]
    check_id(value, field="id", limits=limits)
    token = _ID_FEATURE + _escape(value)
    if len(value) <= _MEMO_LENGTH:
        if len(_IDS) >= _MEMO_ENTRIES:
            _IDS.clear()
        _IDS[value] = limits, token
    return token


def _flat(data: Any, tokens: list[str], numbers: list[Number] | None, limits: Limits) -> list[str] | None:
    """Return the tokens of an object that holds only a few plain values; None if `_encode` has to look at it.

    Most contexts and actions are such objects, and this takes half as long.

    Parameters
    ----------
    tokens
        What comes first; the list is the one that is returned.
    numbers
        Takes the numbers, for a `Block`; None to have them written out.
    """
    if type(data) is not dict or len(data) > limits.features or limits.depth < 1:
        return None
    least, largest = _LEAST_NUMBER, limits.magnitude
    strings, names = _STRINGS.get, _NAMES.get
    for key, value in data.items():
        kind = type(value)
        if kind is str:
            tokens.append(strings((key, value)) or _string_token(key, value, ""))
        elif kind is float or kind is int:
            if not -largest <= value <= largest:
                return None
            number = value if value >= least or value <= -least else 0
            name = names(key) or _name_token(key, "")
            if numbers is None:
                tokens.append(f"{name}:{number!r}")
            else:
                numbers.append((len(tokens), name, number))
                tokens.append("")
        elif kind is bool:
            if value:
                tokens.append(names(key) or _name_token(key, ""))
        elif value is not None:
            return None
    return tokens


def _encode(data: Mapping[str, Any], namespace: str, first: str, limits: Limits) -> list[Block]:
    if not isinstance(data, Mapping):
        raise InvalidInput("invalid_type", "", "must be a JSON object")
    encoder = _Encoder(limits)
    encoder.add_object(data, namespace, first, "", 1)
    return encoder.blocks


def _joined(blocks: Sequence[Block]) -> str:
    words: list[str] = []
    for tokens, numbers in blocks:
        start = len(words)
        words += tokens
        for place, name, number in numbers:
            words[start + place] = f"{name}:{number!r}"
    return " ".join(words)


class _Encoder:
    """One pass over a JSON object: checks it and writes its namespaces."""

    __slots__ = ("blocks", "left", "limits")

    def __init__(self, limits: Limits) -> None:
        self.blocks: list[Block] = []
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
        numbers: list[Number] = []
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
                name = _NAMES.get(key) or _name_token(key, path)
                numbers.append((len(tokens), name, number))
                tokens.append("")
            elif kind is bool:
                if value:
                    tokens.append(_NAMES.get(key) or _name_token(key, path))
            elif kind is dict:
                nested.append((key, value, depth + 1))
            elif kind is list:
                merged = self._add_list(key, value, (tokens, numbers), path, depth)
                if merged is not None:
                    nested.append((key, merged, depth + 2))
            elif value is not None:
                raise _refused("invalid_type", _join(path, key), f"is a {kind.__name__}, not a JSON value")
        self.left -= len(tokens) - n_own + len(nested)
        if self.left < 0:
            raise _refused("too_many_features", path, f"takes the features to more than {limits.features}")
        if len(tokens) > 1 or not nested:
            self.blocks.append((tokens, numbers))
        for key, value, level in nested:
            name = _NAMES.get(key) or _name_token(key, path)
            self.add_object(value, f"{namespace}.{name}", "", _join(path, key), level)

    def _add_list(  # noqa: C901 - as above
        self, key: str, values: Sequence[Any], block: Block, path: str, depth: int
    ) -> dict[str, Any] | None:
        tokens, numbers = block
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
                numbers.append((len(tokens), f"{name}.{i}", number))
                tokens.append("")
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


# Most requests repeat the actions of a catalogue. The key is an id and its features as marshal writes them: in one
# call, and with what tells 1, 1.0 and True apart.
_dumped = marshal.dumps
_ACTIONS: dict[bytes, tuple[Limits, Action]] = {}
_IDS: dict[str, tuple[Limits, str]] = {}  # and most others at least their ids
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
