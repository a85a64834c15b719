"""Checks that the settings of several policies share."""

from policies.errors import InvalidInput

__all__ = ["check_discount", "check_max_actions", "check_range", "reward_range_of"]

_LARGEST_REWARD = 1e9  # the largest number that a request may hold
_LEAST_DISCOUNT = 0.5  # below it a policy remembers less than two outcomes
_MOST_ACTIONS = 1_000_000  # some 200 bytes each in memory, and all of them in every snapshot


def check_range(name: str, value: float, *, low: float, high: float) -> None:
    """Raise `InvalidInput` unless `value` lies in [low, high]; NaN does not."""
    if not low <= value <= high:
        raise InvalidInput("setting_out_of_range", name, f"must be from {low:g} to {high:g}, not {value!r}")


def check_max_actions(value: int) -> None:
    """Raise `InvalidInput` unless a table of that many actions may be kept."""
    check_range("max_actions", value, low=1, high=_MOST_ACTIONS)


def check_discount(value: float) -> None:
    """Raise `InvalidInput` unless `value` may be what an outcome counts after the next one."""
    check_range("discount", value, low=_LEAST_DISCOUNT, high=1.0)


def reward_range_of(ends: tuple[float, ...] | None, default: tuple[float, float]) -> tuple[float, float]:
    """Return the setting `reward_range` as two ends, or the default where it is None.

    Raises
    ------
    InvalidInput
        It is not two numbers within ±1e9, the lower one first.
    """
    if ends is None:
        return default
    if len(ends) != 2:  # noqa: PLR2004 - two ends
        raise InvalidInput("setting_out_of_range", "reward_range", "must be two numbers: [low, high]")
    low, high = ends
    for end in ends:
        check_range("reward_range", end, low=-_LARGEST_REWARD, high=_LARGEST_REWARD)
    if not low < high:
        raise InvalidInput("setting_out_of_range", "reward_range", "must have its low end below its high end")
    return low, high
