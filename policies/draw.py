"""Turn a distribution into a choice that can be repeated and not be steered."""

import hmac
import math
from collections.abc import Sequence
from itertools import accumulate

__all__ = ["SUM_TOLERANCE", "checked", "draw", "uniform"]

SUM_TOLERANCE = 1e-5
_TWO_53 = float(1 << 53)


def uniform(key: bytes, lane: str, event_id: str, slot: int) -> float:
    """Return the number in [0, 1) that belongs to one slot of one decision.

    The top 53 bits of HMAC-SHA256(key, lane NUL event id NUL slot): names hold no
    control characters, so no two triples give the same message.
    """
    message = f"{lane}\x00{event_id}\x00{slot}".encode()
    return (int.from_bytes(hmac.digest(key, message, "sha256")[:8]) >> 11) / _TWO_53


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
    threshold = u * cumulative[-1]
    for index, reached in enumerate(cumulative):
        if reached > threshold:
            return index
    raise AssertionError("a checked distribution has an action above any u < 1")


def checked(probabilities: Sequence[float], n_actions: int) -> Sequence[float]:
    """Return `probabilities` if they are a distribution over `n_actions` actions.

    Raises
    ------
    ArithmeticError
        Wrong length, a value that is negative or not finite, or a sum that is not 1 ± 1e-5:
        the policy is at fault, never its input.
    """
    total = math.fsum(probabilities)
    if (
        len(probabilities) != n_actions
        or not abs(total - 1.0) <= SUM_TOLERANCE  # also refuses NaN
        or min(probabilities) < 0.0
    ):
        raise ArithmeticError(f"not a distribution over {n_actions} actions: sum {total!r}, {len(probabilities)} values")
    return probabilities
