"""Durations as people write them: ``"500ms"``, ``"10m"``, ``"48h"``, ``"90d"`` or a number of seconds."""

import math
import re
from fractions import Fraction

__all__ = ["LONGEST_S", "SHORTEST_S", "format_duration", "parse_duration"]

SHORTEST_S = 0.001
LONGEST_S = 3_650 * 86_400.0  # ten years: whatever is longer is a slip of the unit
_UNITS_S = {"ms": Fraction(1, 1_000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3_600), "d": Fraction(86_400)}
_DURATION = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)(ms|s|m|h|d)", re.ASCII)


def parse_duration(value: object) -> float:
    """Return a duration in seconds.

    Parameters
    ----------
    value
        A number of seconds, or a number directly followed by ``ms``, ``s``, ``m``, ``h`` or ``d``.

    Raises
    ------
    ValueError
        It is neither, or not from 1 ms to 3,650 days.
    """
    match value:
        case bool():
            seconds = math.nan
        case int() | float():
            seconds = float(value) if abs(value) <= LONGEST_S else math.nan
        case str() if (parts := _DURATION.fullmatch(value)) is not None:
            seconds = float(Fraction(parts[1]) * _UNITS_S[parts[2]])
        case _:
            seconds = math.nan
    if not SHORTEST_S <= seconds <= LONGEST_S:  # also refuses NaN
        message = 'must be a duration from "1ms" to "3650d": a number with ms, s, m, h or d, or a number of seconds'
        raise ValueError(message)
    return seconds


def format_duration(seconds: float) -> str:
    """Return the shortest text that `parse_duration` reads as exactly `seconds`."""
    for unit in ("d", "h", "m", "s", "ms"):
        count = Fraction(seconds) / _UNITS_S[unit]
        text = f"{round(count)}{unit}"
        if round(count) > 0 and float(round(count) * _UNITS_S[unit]) == seconds:
            return text
    return f"{seconds!r}s"
