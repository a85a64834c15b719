"""Event ids of decisions for which the client named none."""

import os
import time
from typing import Final

__all__ = ["new_event_id"]

_RANDOM_DIGITS: Final = 20
_DRAWN_AT_ONCE: Final = 400  # so that a system call of the cost of a whole id is made once in 400

_drawn: list[str] = []


def new_event_id() -> str:
    """Return 32 hex digits: 12 of the time in ms, so that a store indexes them in order, then 20 random ones."""
    if not _drawn:
        digits = os.urandom(_RANDOM_DIGITS * _DRAWN_AT_ONCE // 2).hex()
        _drawn.extend(digits[i : i + _RANDOM_DIGITS] for i in range(0, len(digits), _RANDOM_DIGITS))
    return f"{time.time_ns() // 1_000_000:012x}{_drawn.pop()}"
