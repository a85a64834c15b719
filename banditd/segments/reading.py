"""From a request's bytes to the values that policies take; what was read lately is not read again."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from banditd.messages import Action as ActionJson
from banditd.messages import SlotRequest
from policies.errors import InvalidInput
from policies.features import Action, Context, Limits, Slot

__all__ = ["AskedSlot", "Reader", "split_path"]

_JSON_TYPES: Final = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "object": "an object",
    "array": "a list",
}
_PYTHON_TYPE: Final = re.compile(rf"`({'|'.join(_JSON_TYPES)})`")
_SLOTS_AT_MOST: Final = 100  # more than a configuration can allow, which what is in a log need not be
_ACTIONS_KEPT: Final = 20_000  # per generation; an action of a catalogue comes again and again

# Text is only looked at when a part is read, so what is no UTF-8 is found here and not where the body is decoded.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_action = msgspec.json.Decoder(ActionJson).decode
_decode_slot = msgspec.json.Decoder(SlotRequest).decode


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class AskedSlot:
    """A place to fill, and the ids of the actions that must not come there."""

    slot: Slot
    exclude: Sequence[str]

    @property
    def id(self) -> str:
        """The slot's id."""
        return self.slot.id


class Reader:
    """Checks and encodes contexts and actions, within limits.

    Actions are kept by their bytes in two generations: when the young one is full it becomes
    the old one, so memory is bounded and an action in use is never forgotten.
    """

    def __init__(self, limits: Limits, *, actions: int, slots: int = _SLOTS_AT_MOST) -> None:
        self.limits = limits
        self._actions_at_most = actions
        self._slots_at_most = slots
        self._young: dict[bytes, Action] = {}
        self._old: dict[bytes, Action] = {}

    def context(self, raw: msgspec.Raw) -> Context:
        """Return the context that a JSON object describes.

        Raises
        ------
        InvalidInput
            Not an object, or a value breaks a rule of `policies.features`.
        """
        try:
            return Context.of(_decode_object(raw), limits=self.limits)
        except InvalidInput as error:
            raise error.under("context") from None
        except _UNREADABLE as error:
            raise self._exact(error, raw, "context") from None

    def actions(self, raw: msgspec.Raw) -> tuple[Action, ...]:
        """Return the actions that a JSON list describes.

        Raises
        ------
        InvalidInput
            Not a list of 1 to `limits.actions` actions with different ids, or one of them breaks a rule.
        """
        try:
            parts = _decode_list(raw)
        except _UNREADABLE as error:
            raise _invalid("actions", error) from None
        if not 1 <= len(parts) <= self._actions_at_most:
            detail = f"must hold 1 to {self._actions_at_most} actions, not {len(parts)}"
            raise InvalidInput("action_count", "actions", detail)
        try:
            actions = tuple(map(self._young.__getitem__, map(bytes, parts)))
        except KeyError:
            actions = tuple([self._read(bytes(part), index) for index, part in enumerate(parts)])
        if len({action.id for action in actions}) != len(actions):
            index = _first_repeated(actions)
            raise InvalidInput("duplicate_action", f"actions[{index}].id", f"{actions[index].id!r} comes twice")
        return actions

    def slots(self, raw: msgspec.Raw) -> tuple[AskedSlot, ...]:
        """Return the slots that a JSON list describes.

        Raises
        ------
        InvalidInput
            Not a list of 1 to `limits.slots` slots with different ids, or one of them breaks a rule.
        """
        try:
            parts = _decode_list(raw)
        except _UNREADABLE as error:
            raise _invalid("slots", error) from None
        if not 1 <= len(parts) <= self._slots_at_most:
            raise InvalidInput("slot_count", "slots", f"must hold 1 to {self._slots_at_most} slots, not {len(parts)}")
        slots = [self._slot(part, position) for position, part in enumerate(parts)]
        if len({slot.id for slot in slots}) != len(slots):
            index = _first_repeated(slots)
            raise InvalidInput("duplicate_slot", f"slots[{index}].id", f"{slots[index].id!r} comes twice")
        return tuple(slots)

    def _slot(self, part: msgspec.Raw, position: int) -> AskedSlot:
        try:
            asked = _decode_slot(part)
            return AskedSlot(
                Slot.of(asked.id, position=position, features=asked.features, limits=self.limits), asked.exclude
            )
        except InvalidInput as error:
            raise error.under(f"slots[{position}]") from None
        except _UNREADABLE as error:
            raise self._exact(error, part, f"slots[{position}]") from None

    def _read(self, key: bytes, index: int) -> Action:
        action = self._young.get(key)
        if action is not None:
            return action
        action = self._old.get(key)
        if action is None:
            try:
                fields = _decode_action(key)
                if fields.id is msgspec.UNSET:  # its name depends on its place: not kept
                    return Action.unnamed(index, fields.features, limits=self.limits)
                action = Action.of(fields.id, fields.features, limits=self.limits)
            except InvalidInput as error:
                raise error.under(f"actions[{index}]") from None
            except _UNREADABLE as error:
                raise self._exact(error, key, f"actions[{index}]") from None
        if len(self._young) >= _ACTIONS_KEPT:
            self._old, self._young = self._young, {}
        self._young[key] = action
        return action

    def _exact(self, error: Exception, raw: bytes | msgspec.Raw, field: str) -> InvalidInput:
        """Return what is wrong, with the name of a number that is too large for any float, which msgspec leaves out."""
        if "out of range" in str(error):
            try:
                Context.of(json.loads(bytes(raw)), limits=self.limits)
            except InvalidInput as exact:
                return exact.under(field)
            except (ValueError, RecursionError):
                pass
        return _invalid(field, error)


def _invalid(field: str, error: Exception) -> InvalidInput:
    if isinstance(error, RecursionError):
        return InvalidInput("too_deep", field, "is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return InvalidInput("invalid_text", field, "is not valid UTF-8")
    detail, path = split_path(str(error))
    return InvalidInput("invalid_value", f"{field}{path}", detail)


def split_path(message: str) -> tuple[str, str]:
    """Return a msgspec message as a sentence and the path in it: ``"[3].id"``, ``".x"`` or empty.

    An unknown field's name is made part of the path, since that is the field at fault.
    """
    detail, _, path = message.partition(" - at `$")
    path = path.removesuffix("`")
    prefix = "Object contains unknown field `"
    if detail.startswith(prefix):
        return "is no field here", f"{path}.{detail[len(prefix) : -1]}"
    prefix = "Object missing required field `"
    if detail.startswith(prefix):
        return "is missing", f"{path}.{detail[len(prefix) : -1]}"
    return detail[:1].lower() + _PYTHON_TYPE.sub(lambda match: _JSON_TYPES[match[1]], detail[1:]), path


def _first_repeated(parts: Sequence[_HasId]) -> int:
    """Return the index of the first part whose id came before."""
    seen: set[str] = set()
    for index, part in enumerate(parts):
        if part.id in seen:
            return index
        seen.add(part.id)
    raise AssertionError("no id comes twice")
