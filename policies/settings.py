"""Checks that the settings of several policies share."""

from policies.errors import InvalidInput

__all__ = ["check_max_actions", "check_range"]

_MOST_ACTIONS = 1_000_000  # some 200 bytes each in memory, and all of them in every snapshot


def check_range(name: str, value: float, *, low: float, high: float) -> None:
    """Raise `InvalidInput` unless `value` lies in [low, high]; NaN does not."""
    if not low <= value <= high:
        raise InvalidInput("setting_out_of_range", name, f"must be from {low:g} to {high:g}, not {value!r}")


def check_max_actions(value: int) -> None:
    """Raise `InvalidInput` unless a table of that many actions may be kept."""
    check_range("max_actions", value, low=1, high=_MOST_ACTIONS)
