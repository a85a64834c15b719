"""Posteriors of several linear models with the same columns, and how all of them fade."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from policies import linear_posterior
from policies.errors import StateInvalid
from policies.linear_posterior import MEAN_ROWS
from policies.protocol import FloatArray

__all__ = ["Blocks"]

_BYTE_ORDER: Final = "<f8"  # of the numbers in a state, whatever the machine's
_LEAST_PRIOR: Final = 0.5  # share of its precision below which no weight's prior ever fades


class Blocks:
    """A stack of blocks (`policies.linear_posterior`): one at first.

    With a discount every outcome of the lane takes its share off what each block knows, the prior included; so the
    prior's precision is given back, to some of the columns each time, in turn: what the prior of any weight counts
    stays between half of it and all of it, however long nothing is learned about the weight, and nothing winds up.

    Parameters
    ----------
    precision
        Of each weight's prior, > 0.
    discount
        What an outcome still counts after the next one, (0, 1].

    Attributes
    ----------
    values
        Shape (n_blocks, d + 2, d).
    """

    __slots__ = ("_cursor", "_discount", "_room", "precision", "values")

    def __init__(self, *, precision: float, discount: float) -> None:
        self.precision = precision
        self._discount = discount
        self._cursor = 0
        self._room: FloatArray = linear_posterior.prior_block(1, precision)[None]
        self.values = self._room

    @property
    def n_columns(self) -> int:
        """How many weights each block is about."""
        return int(self.values.shape[2])

    def widen(self, n_columns: int) -> None:
        """Give every block so many columns, if it has fewer."""
        if n_columns > self.n_columns:
            self._room = self.values = linear_posterior.grown(self.values, n_columns, self.precision)

    def narrow(self, kept: Sequence[int]) -> None:
        """Forget the weights of all columns but some; what is known of those stays, with how unsure it is."""
        self._room = self.values = linear_posterior.narrowed(self.values, kept)
        self._cursor %= len(kept)

    def append(self) -> None:
        """Add a block that knows nothing."""
        n_blocks = len(self.values)
        if n_blocks == len(self._room):
            room = np.empty((2 * n_blocks, *self.values.shape[1:]))
            room[:n_blocks] = self.values
            self._room = room
        self.values = self._room[: n_blocks + 1]
        self.reset(n_blocks)

    def reset(self, place: int) -> None:
        """Let a block forget everything."""
        self.values[place] = linear_posterior.prior_block(self.n_columns, self.precision)

    def fade(self, *, first: int) -> None:
        """Take the share of one outcome off what the blocks from `first` on know."""
        fading = self.values[first:]
        if self._discount == 1.0 or not len(fading):
            return
        period = min(self.n_columns, max(1, math.floor(math.log(_LEAST_PRIOR) / math.log(self._discount))))
        self._cursor = (self._cursor + 1) % period
        linear_posterior.weaken(fading, self._discount)
        lost = self.precision * (1.0 - self._discount**period)
        for column in range(self._cursor, self.n_columns, period):
            linear_posterior.fade(fading, column, lost, towards_prior=True)

    def weaken(self, shares: FloatArray) -> None:
        """Let what is known, but not the prior, count these shares in (0, 1], one per block; the means stay."""
        linear_posterior.weaken(self.values, shares)
        for column in range(self.n_columns):
            linear_posterior.fade(self.values, column, self.precision * (1.0 - shares), towards_prior=False)

    def dumps(self) -> tuple[list[int], bytes]:
        """Return number of blocks, columns and the place of fading, and the numbers themselves."""
        return [len(self.values), self.n_columns, self._cursor], self.values.astype(_BYTE_ORDER).tobytes()

    def read(self, shape: list[int], numbers: bytes) -> "Blocks":
        """Return the blocks, of the same settings, that `dumps` described.

        Raises
        ------
        StateInvalid
            It did not return that.
        """
        n_blocks, n_columns, cursor = shape
        n_bytes = n_blocks * (n_columns + MEAN_ROWS) * n_columns * 8
        if n_blocks < 1 or not 0 <= cursor < n_columns or n_bytes != len(numbers):
            raise StateInvalid("the posteriors are not of the size they should be")
        values = np.frombuffer(numbers, _BYTE_ORDER).reshape(n_blocks, n_columns + MEAN_ROWS, n_columns)
        if not np.isfinite(values).all():
            raise StateInvalid("a posterior holds what is no number")
        result = Blocks(precision=self.precision, discount=self._discount)
        result._room = result.values = values.astype(np.float64)
        result._cursor = cursor
        return result
