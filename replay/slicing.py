"""Which slice of a log each row lies in."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from replay.block import Block
from replay.errors import InvalidLog

__all__ = ["SLICES", "slice_names"]

_NO_TIME: Final = "(no time)"
_NONE: Final = "(none)"

Names = NDArray[np.str_]


def slice_names(block: Block, by: str) -> Names:
    """Return the name of each row's slice, shape (n_rows,).

    Raises
    ------
    InvalidLog
        A log cannot be sliced by that.
    """
    if by not in SLICES:
        raise InvalidLog("slice_unknown", "by", f"must be some of {', '.join(SLICES)}, not {by!r}")
    return SLICES[by](block)


def _segments(block: Block) -> Names:
    if not len(block.segments):
        return np.full(len(block), _NONE)
    return _of_rows(block, np.array([str(name) or _NONE for name in block.segments]))


def _days(block: Block) -> Names:
    return _times(block, "D")


def _hours(block: Block) -> Names:
    return _times(block, "h")


def _times(block: Block, unit: str) -> Names:
    known = np.isfinite(block.at)
    seconds = np.where(known, block.at, 0.0).astype(np.int64).astype("datetime64[s]")
    return np.where(known, np.datetime_as_string(seconds, unit=unit), _NO_TIME)  # type: ignore[call-overload]  # a unit


def _slots(block: Block) -> Names:
    places = block.slot if block.starts is None else block.slot[block.starts]
    return places.astype(str)


def _of_rows(block: Block, of_events: Any) -> Names:
    names: Names = of_events if block.row_event is None else of_events[block.row_event]
    return names


SLICES: Final[Mapping[str, Callable[[Block], Names]]] = {
    "segment": _segments,
    "day": _days,
    "hour": _hours,
    "slot": _slots,
}
