"""What policies see of an action in a context, as a few hashed numbers for reward models.

The features are those that policies learn from (`policies.features`): the action's own, and each of the context's
crossed with the action's id, or with the action's own features where it has no id. A number enters as its asinh, which
keeps its order and its sign and does not let one large value carry everything away.
"""

import functools
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.block import Place

__all__ = ["Hashed", "hashed"]

_KEPT: Final = 65_536  # lines of actions, and tokens, whose hashes are remembered
_MIX: Final = np.uint32(2_654_435_761)  # Knuth's multiplicative hash: spreads what is crossed over all bits
_BIAS: Final = 0  # the column that every row has

HashArray = NDArray[np.uint32]
IndexArray = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Hashed:
    """Sparse rows, one an action of a place, places one after another.

    Attributes
    ----------
    indices, values
        Of all rows, one after another.
    starts
        Where each row begins, shape (n_rows,); no row is empty.
    """

    indices: IndexArray
    values: FloatArray
    starts: IndexArray

    def dot(self, weights: FloatArray) -> FloatArray:
        """Return each row times `weights`, shape (n_rows,)."""
        if not len(self.starts):
            return np.zeros(0)
        result: FloatArray = np.add.reduceat(weights[self.indices] * self.values, self.starts)
        return result

    def dense(self, rows: IndexArray, n_columns: int) -> FloatArray:
        """Return some rows as a table, shape (len(rows), n_columns)."""
        ends = np.append(self.starts[1:], len(self.indices))
        table = np.zeros((len(rows), n_columns))
        for i, row in enumerate(rows.tolist()):
            part = slice(self.starts[row], ends[row])
            np.add.at(table[i], self.indices[part], self.values[part])
        return table


def hashed(places: Sequence[Place], *, bits: int) -> Hashed:
    """Return the features of every eligible action of every place, hashed to 2^bits columns."""
    mask = np.uint32((1 << bits) - 1)
    indices: list[IndexArray] = []
    values: list[FloatArray] = []
    sizes: list[int] = []
    for place in places:
        context, numbers = _tokens(place.context.line)
        for action in place.actions:
            own, own_numbers = _kept_tokens(action.line)
            key = own[:1] if action.line.startswith("|a %id=") else own
            crossed = (key[:, None] * _MIX ^ context[None, :]) * _MIX
            all_ = np.concatenate([own, crossed.ravel() >> np.uint32(3)]) & mask
            indices.append(np.concatenate([[_BIAS], all_]).astype(np.intp))
            values.append(np.concatenate([[1.0], own_numbers, np.tile(numbers, len(key))]))
            sizes.append(len(all_) + 1)
    starts = np.cumsum([0, *sizes[:-1]]) if sizes else np.zeros(0, dtype=np.intp)
    flat = np.concatenate(indices) if indices else np.zeros(0, dtype=np.intp)
    return Hashed(flat, np.concatenate(values) if values else np.zeros(0), starts.astype(np.intp))


@functools.lru_cache(maxsize=_KEPT)
def _kept_tokens(line: str) -> tuple[HashArray, FloatArray]:
    return _tokens(line)


def _tokens(line: str) -> tuple[HashArray, FloatArray]:
    """Return the hashes and values of the features of a line in VW's format, as `policies.features` writes it."""
    namespace = ""
    hashes: list[int] = []
    values: list[float] = []
    for token in line.split(" "):
        if token.startswith("|"):
            namespace = token
            continue
        name, _, number = token.partition(":")
        hashes.append(_hash(namespace + name))
        values.append(math.asinh(float(number)) if number else 1.0)
    return np.array(hashes, dtype=np.uint32), np.array(values)


@functools.lru_cache(maxsize=_KEPT)
def _hash(name: str) -> int:
    return zlib.crc32(name.encode())
