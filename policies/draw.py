"""Turn a distribution into a choice that can be repeated and not be steered."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

__all__ = ["SUM_TOLERANCE", "checked", "draw", "uniform"]

SUM_TOLERANCE = 1e-5
_TWO_53 = float(1 << 53)
_BLOCK_BYTES = 64  # of SHA-256


def uniform(key: bytes, lane: str, event_id: str, slot: int) -> float:
    """Return the number in [0, 1) that belongs to one slot of one decision.

    The top 53 bits of HMAC-SHA256(key, lane NUL event id NUL slot): names hold no
    control characters, so no two triples give the same message.
    """
    inner, outer = _keyed(key)
    hashed = inner.copy()
    hashed.update(f"{lane}\x00{event_id}\x00{slot}".encode())
    result = outer.copy()
    result.update(hashed.digest())
    return (int.from_bytes(result.digest()[:8]) >> 11) / _TWO_53


@lru_cache(maxsize=64)
def _keyed(key: bytes) -> tuple["hashlib._Hash", "hashlib._Hash"]:
    """Return SHA-256 after the two paddings of HMAC (RFC 2104): half the cost of `hmac.digest` for a known key."""
    padded = hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key
    padded = padded.ljust(_BLOCK_BYTES, b"\x00")
    return (
        hashlib.sha256(bytes(byte ^ 0x36 for byte in padded)),
        hashlib.sha256(bytes(byte ^ 0x5C for byte in padded)),
    )


def draw(probabilities: Sequence[float], u: float) -> int:
    """Return the index of the first action whose cumulative sum exceeds u × total.

    Parameters
    ----------
    probabilities
        Shape (n,), checked (see `checked`).
    u
        In [0, 1).
    """
    cumulative = list(accumulate(probabilities))
    return bisect_right(cumulative, u * cumulative[-1])  # in range: u < 1, so the product is below the last sum


def checked(probabilities: Sequence[float], n_actions: int) -> Sequence[float]:
    """Return `probabilities` if they are a distribution over `n_actions` actions.

    Raises
    ------
    ArithmeticError
        Wrong length, a value that is negative or not finite, or a sum that is not 1 ± 1e-5:
        the policy is at fault, never its input.
    """
    total = sum(probabilities)  # not fsum, which raises ValueError for inf - inf
    if (
        len(probabilities) != n_actions
        or not abs(total - 1.0) <= SUM_TOLERANCE  # also refuses NaN
        or min(probabilities) < 0.0
    ):
        raise ArithmeticError(
            f"not a distribution over {n_actions} actions: sum {total!r}, {len(probabilities)} values"
        )
    return probabilities
