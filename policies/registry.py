"""The policy kinds that exist: a new policy is one file and one entry here."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, cast

from policies.epsilon_greedy import EpsilonGreedySpec
from policies.errors import InvalidInput
from policies.fixed import FixedSpec
from policies.mixture import MixtureSpec
from policies.protocol import PolicySpec
from policies.spec import types_of
from policies.thompson import ThompsonSpec
from policies.ucb import UcbSpec
from policies.uniform_policy import UniformSpec
from policies.vw import VwSpec

__all__ = ["KINDS", "parse_spec", "spec_fields"]

KINDS: dict[str, type[PolicySpec]] = {
    spec.kind: cast("type[PolicySpec]", spec)
    for spec in (EpsilonGreedySpec, FixedSpec, MixtureSpec, ThompsonSpec, UcbSpec, UniformSpec, VwSpec)
}

_DEEPEST = 32  # policies within policies: no mixture may be that deep, and a deeper table would use up Python's stack


def parse_spec(data: Mapping[str, Any]) -> PolicySpec:
    """Return the spec that a table such as ``{"kind": "vw", "exploration": "squarecb"}`` describes.

    Raises
    ------
    InvalidInput
        Unknown kind or setting, or a value of the wrong type or out of range; names the setting.
    """
    return _parsed(data, 0)


def spec_fields(spec: type[PolicySpec]) -> dict[str, Any]:
    """Return the settings of a spec with their types: its own as they are declared, then those of every policy."""
    return dict(types_of(spec))


def _parsed(data: Mapping[str, Any], depth: int) -> PolicySpec:
    settings = dict(data)
    kind = settings.pop("kind", None)
    if kind is None:
        raise InvalidInput("unknown_kind", "kind", f"is missing: it must be one of {', '.join(sorted(KINDS))}")
    if not isinstance(kind, str) or kind not in KINDS:
        given = repr(kind) if isinstance(kind, str) else type(kind).__name__  # a number may be too long to be written
        raise InvalidInput("unknown_kind", "kind", f"must be one of {', '.join(sorted(KINDS))}, not {given}")
    if depth > _DEEPEST:
        raise InvalidInput("too_deep", "", f"is a policy more than {_DEEPEST} levels inside another")
    spec = KINDS[kind]
    known = spec_fields(spec)
    for name, value in settings.items():
        if not isinstance(name, str):
            raise InvalidInput("invalid_type", "", f"holds a setting whose name is no text but {type(name).__name__}")
        if name not in known:
            raise InvalidInput("unknown_setting", name, f"is no setting of {kind!r}; it has {', '.join(known)}")
        settings[name] = _read(name, value, known[name], depth)
    for name in _required(spec):
        if name not in settings:
            raise InvalidInput("missing_setting", name, f"is missing: a {kind!r} policy must have it")
    return spec(**settings)


def _required(spec: type[PolicySpec]) -> list[str]:
    return [field.name for field in dataclasses.fields(cast("Any", spec)) if field.default is dataclasses.MISSING]


def _read(name: str, value: Any, expected: Any, depth: int) -> Any:
    """Return a setting with the tables of policies in it parsed; `BaseSpec` checks the types of all."""
    options = typing.get_args(expected) if isinstance(expected, types.UnionType) else (expected,)
    if PolicySpec in options and isinstance(value, Mapping):
        try:
            return _parsed(value, depth + 1)
        except InvalidInput as error:
            raise error.under(name) from None
    for option in options:
        if typing.get_origin(option) is tuple and isinstance(value, (list, tuple)):
            inner = typing.get_args(option)[0]
            return tuple(_read(f"{name}[{i}]", item, inner, depth) for i, item in enumerate(value))
    return value
