"""The policy kinds that exist: a new policy is one file and one entry here."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, cast

from policies.epsilon_greedy import EpsilonGreedySpec
from policies.errors import InvalidInput
from policies.protocol import PolicySpec
from policies.thompson import ThompsonSpec
from policies.vw import VwSpec

__all__ = ["KINDS", "parse_spec", "spec_fields"]

KINDS: dict[str, type[PolicySpec]] = {
    spec.kind: cast("type[PolicySpec]", spec) for spec in (EpsilonGreedySpec, ThompsonSpec, VwSpec)
}


def parse_spec(data: Mapping[str, Any]) -> PolicySpec:
    """Return the spec that a table such as ``{"kind": "vw", "exploration": "squarecb"}`` describes.

    Raises
    ------
    InvalidInput
        Unknown kind or setting, or a value of the wrong type or out of range; names the setting.
    """
    settings = dict(data)
    kind = settings.pop("kind", None)
    if kind is None:
        raise InvalidInput("unknown_kind", "kind", f"is missing: it must be one of {', '.join(sorted(KINDS))}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidInput("unknown_kind", "kind", f"must be one of {', '.join(sorted(KINDS))}, not {kind!r}")
    spec = KINDS[kind]
    known = spec_fields(spec)
    for name, value in settings.items():
        if name not in known:
            raise InvalidInput("unknown_setting", name, f"is no setting of {kind!r}; it has {', '.join(known)}")
        settings[name] = _typed(name, value, known[name])
    return spec(**settings)


def spec_fields(spec: type[PolicySpec]) -> dict[str, Any]:
    """Return the settings of a spec with their types, in the order they are declared."""
    hints = typing.get_type_hints(spec)
    return {field.name: hints[field.name] for field in dataclasses.fields(cast("Any", spec))}


def _typed(name: str, value: Any, expected: Any) -> Any:
    options = typing.get_args(expected) if isinstance(expected, types.UnionType) else (expected,)
    if type(value) is int and float in options and int not in options:
        try:
            return float(value)
        except OverflowError:
            raise InvalidInput("setting_out_of_range", name, "is larger than any float") from None
    if type(value) in options or (value is None and types.NoneType in options):
        return value
    if PolicySpec in options and isinstance(value, Mapping):
        try:
            return parse_spec(value)
        except InvalidInput as error:
            raise error.under(name) from None
    for option in options:
        if typing.get_origin(option) is tuple and isinstance(value, (list, tuple)):
            inner = typing.get_args(option)[0]
            return tuple(_typed(f"{name}[{i}]", item, inner) for i, item in enumerate(value))
    names = " or ".join(_type_name(option) for option in options if option is not types.NoneType)
    raise InvalidInput("invalid_type", name, f"must be {names}, not {type(value).__name__}")


def _type_name(expected: Any) -> str:
    if typing.get_origin(expected) is tuple:
        return f"list of {_type_name(typing.get_args(expected)[0])}"
    if expected is PolicySpec:
        return "policy"
    return str(getattr(expected, "__name__", expected))
