"""Which newcomers get one of a bounded number of columns, and which columns go for them.

1. While fewer than half of the columns are taken a newcomer gets one at first sight.
2. From then on it gets one when it is seen in a second outcome while the first is still remembered. So what never comes
   twice (the id of a session, a page of made-up features) takes half of the columns at most.
3. When all n are taken, the quarter of them seen longest ago makes room, unless one of that quarter was seen in the
   last n outcomes: what is in use stays, and making room, which costs a pass over all posteriors, is never needed twice
   in a few outcomes.

Newcomers that wait are known by a number of 32 or 64 bits made from their names; two that share one only wait less.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from policies.errors import StateInvalid

__all__ = ["Admission"]

_REMEMBERED: Final = 8  # newcomers that wait, for each column
_LARGEST_KEY: Final = 2**64 - 1


class Admission:
    """Decides over the columns of one kind.

    Parameters
    ----------
    max_columns
        How many there may be.
    """

    __slots__ = ("_max_columns", "_waiting")

    def __init__(self, max_columns: int) -> None:
        self._max_columns = max_columns
        self._waiting: dict[int, None] = {}  # seen in one outcome, the latest last

    @property
    def max_waiting(self) -> int:
        """How many newcomers may wait for a column."""
        return _REMEMBERED * self._max_columns

    def admit(
        self, keys: Sequence[int], columns: Sequence[int], seen: Sequence[int], now: int
    ) -> tuple[list[int], list[int]]:
        """Decide over the newcomers of one outcome.

        Parameters
        ----------
        keys
            Of the newcomers.
        columns
            The columns taken.
        seen
            In which outcome each column was seen last; at least those of `columns`.
        now
            Which outcome this is.

        Returns
        -------
        The places in `keys` of those that get a column, and the columns that go.
        """
        at_first_sight = max(0, (self._max_columns + 1) // 2 - len(columns))
        ready = [i for i, key in enumerate(keys) if i < at_first_sight or key in self._waiting]
        room, idle = self._max_columns - len(columns), list[int]()
        if len(ready) > room and columns:
            idle = sorted(columns, key=seen.__getitem__)[: (self._max_columns + 3) // 4]
            if seen[idle[-1]] > now - self._max_columns:
                idle = []
            room += len(idle)
        admitted = ready[:room]
        self._wait(keys, {*admitted})
        return admitted, idle

    def dumps(self) -> list[int]:
        """Return the newcomers that wait, the latest last."""
        return [*self._waiting]

    def read(self, state: Any) -> "Admission":
        """Return the admission, of the same size, that `dumps` described.

        Raises
        ------
        StateInvalid
            It did not return that.
        """
        if not isinstance(state, list) or len(state) > self.max_waiting:
            raise StateInvalid("not a list of what waits for a column")
        if not all(type(key) is int and 0 <= key <= _LARGEST_KEY for key in state) or len({*state}) != len(state):
            raise StateInvalid("what waits for a column is not told apart")
        result = Admission(self._max_columns)
        result._waiting = dict.fromkeys(state)
        return result

    def _wait(self, keys: Sequence[int], admitted: set[int]) -> None:
        waiting = self._waiting
        for i, key in enumerate(keys):
            waiting.pop(key, None)
            if i not in admitted:
                waiting[key] = None
        excess = len(waiting) - self.max_waiting
        if excess > 0:
            for key in [*islice(waiting, excess)]:
                del waiting[key]
