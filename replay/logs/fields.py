"""Single fields of a dsjson line, each read as VW reads it, or refused."""

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["Refused", "exact", "finite", "flag", "index", "number", "numbers", "propensity", "properties", "text"]

_PROBABILITY_SLACK = 1e-6  # a float32 probability of 1 may be printed as 1.0000001
_LABEL = "_label_"
_NUMBERS = frozenset({"cost", "probability", "action"})
_OTHERS = frozenset({"label", "initial", "weight", "ca", "pdf_value"})


class Refused(Exception):
    """Say why a line is left out; never leaves this package."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def numbers(value: Any) -> list[float]:
    """Return a list as VW reads it: nulls left out, a lone number as a list of one, "NaN" as NaN."""
    if value is None:
        return []
    return [number(one) for one in (value if isinstance(value, list) else [value]) if one is not None]


def properties(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return `_label_*` and what is in `_label`, by names in small letters."""
    found: dict[str, Any] = {}
    for key, value in fields.items():
        if not key.startswith("_label") or value is None:
            continue
        if key.startswith(_LABEL):
            found[key[len(_LABEL) :].lower()] = value
        elif key == "_label" and isinstance(value, dict):
            found.update((name.lower(), one) for name, one in value.items())
    for name, value in found.items():
        if name in _NUMBERS:
            found[name] = number(value)
        elif name not in _OTHERS:
            raise Refused("field_invalid")
    return found


def propensity(value: float) -> float:
    """Return a probability that something was chosen with, or refuse it."""
    if not 0 < value <= 1 + _PROBABILITY_SLACK:
        raise Refused("propensity_out_of_range")
    return min(value, 1.0)


def finite(value: float) -> float:
    """Return a cost, or refuse one that VW reads and that no estimate survives."""
    if not math.isfinite(value):
        raise Refused("reward_not_finite")
    return value


def exact(value: Any) -> float:
    """Return a number that may not be "NaN"."""
    if math.isfinite(read := number(value)):
        return read
    raise Refused("field_invalid")


def text(root: Mapping[str, Any], key: str) -> str:
    """Return a string; "" if there is none or it is null."""
    value = root.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused("field_invalid")
    return value


def flag(value: Any) -> bool:
    """Return a boolean; False for null."""
    if value is not None and not isinstance(value, bool):
        raise Refused("field_invalid")
    return bool(value)


def number(value: Any) -> float:
    """Return a number; NaN for "NaN"."""
    if type(value) in (float, int):
        return float(value)
    if isinstance(value, str) and value.lower() == "nan":
        return math.nan
    raise Refused("field_invalid")


def index(value: Any) -> int:
    """Return a whole number ≥ 0."""
    read = number(value)
    if not (read >= 0 and read.is_integer()):
        raise Refused("field_invalid")
    return int(read)
