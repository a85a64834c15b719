"""What every policy's spec has: the settings that any policy takes, and how one is built from them."""

import abc
import dataclasses
import functools
import types
import typing
from dataclasses import dataclass
from typing import Any, ClassVar

from policies.errors import InvalidInput
from policies.protocol import Policy, PolicySpec
from policies.settings import check_range
from policies.wrapped import Floored, Windowed

__all__ = ["BaseSpec", "n_asked", "types_of"]

_LONGEST_WINDOW = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSpec(abc.ABC):
    """Settings that every policy takes.

    Settings of any spec are held to their declared types, however it was made. A whole number given for a float
    becomes one, and a list given for a tuple, so that equal settings are equal specs.

    Parameters
    ----------
    min_probability
        No action is played with less, as long as there are at most 1 ÷ it of them; beyond that, and from there
        on, all are played evenly. 0 to 1.
    window
        Learn from the last `window` to 2 × `window` outcomes alone; None: from all.

    Raises
    ------
    InvalidInput
        A setting is out of its range or of another type than declared.
    """

    kind: ClassVar[str]

    min_probability: float = 0.0
    window: int | None = None

    def __post_init__(self) -> None:
        """Check the types of all settings, and the ranges of these."""
        made_of: Any = type(self)  # mypy takes no class with its own __hash__ for hashable
        for name, expected in types_of(made_of).items():
            object.__setattr__(self, name, _typed(name, getattr(self, name), expected))  # frozen from here on
        check_range("min_probability", self.min_probability, low=0.0, high=1.0)
        if self.window is not None:
            check_range("window", self.window, low=1, high=_LONGEST_WINDOW)

    def build(self) -> Policy:
        """Make the policy, as it is before any outcome."""
        policy = self.make() if self.window is None else Windowed(self, self.make, self.window)
        return Floored(policy, self.min_probability) if self.min_probability > 0.0 else policy

    @abc.abstractmethod
    def make(self) -> Policy:
        """Make the policy itself, which knows nothing of the settings above."""


def n_asked(spec: PolicySpec) -> int:
    """Return how many policies are asked for one decision: the one of a spec, or all that it is made of."""
    inner: tuple[PolicySpec, ...] = getattr(spec, "policies", ())
    return sum(map(n_asked, inner)) or 1


@functools.cache
def types_of(spec: type[PolicySpec]) -> dict[str, Any]:
    """Return the settings of a spec with their types: its own as they are declared, then those of every policy."""
    hints = typing.get_type_hints(spec)
    common = {field.name: hints[field.name] for field in dataclasses.fields(BaseSpec)}
    own = {field.name: hints[field.name] for field in dataclasses.fields(spec) if field.name not in common}
    return own | common


def _typed(name: str, value: Any, expected: Any) -> Any:
    """Return a setting as its type has it; exact types alone: True is no number, and VW cannot read numpy's floats."""
    options = typing.get_args(expected) if isinstance(expected, types.UnionType) else (expected,)
    if type(value) is int and float in options and int not in options:
        try:
            return float(value)
        except OverflowError:
            raise InvalidInput("setting_out_of_range", name, "is larger than any float") from None
    if type(value) in options or (value is None and types.NoneType in options):
        return value
    if PolicySpec in options and isinstance(value, BaseSpec):
        return value
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
        return "policy table"
    return str(getattr(expected, "__name__", expected))
