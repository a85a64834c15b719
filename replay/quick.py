"""Labels of dsjson lines in the layout that VW's own tools write, without decoding what stands in between.

A candidate that is VW reads each line itself; decoding it here as well would cost more than VW takes. So the label is
taken from the head of the line, and whatever is laid out otherwise goes to `replay.logs`. What could still stand in the
middle of a line unseen (a second label, ``pdrop``, ``_skipLearn`` behind the context) changes VW's own counts: the
evaluation compares them, block by block, and starts again with careful labels if they differ.
"""

import functools
import math
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np

from policies.protocol import FloatArray
from replay.block import Block, block_of
from replay.events import LoggedEvent
from replay.logs.dsjson import Cost, event_of

__all__ = ["Care", "block_of_lines"]

_HEAD: Final = re.compile(
    rb'\{"_label_cost":([^,"]+),"_label_probability":([^,"]+),"_label_Action":[0-9]+,"_labelIndex":([0-9]+),'
    rb'(?:"o":\[[^\]]*\],)?(?:"Timestamp":"([^"\\]*)",)?(?:"Version":"[^"\\]*",)?(?:"EventId":"([^"\\]*)",)?'
    rb'"a":\[([0-9,]+)\],"c":\{'
)
_TAIL_BYTES: Final = 200  # where VW's tools write what comes behind the probabilities
_ORIGINAL: Final = b'"_original_label_cost":'
_LABELS: Final = 4  # cost, probability, action, index
_UNUSUAL: Final = (b'"_skipLearn"', b'"pdrop"', b'"_outcomes"')
_SECOND_BYTES: Final = 19  # of a time down to the second
_ORDERS_KEPT: Final = 65_536

Care = Literal["quick", "careful"]


def block_of_lines(
    lines: Sequence[bytes], *, care: Care, cost: Cost, dropped: Counter[str], noted: Counter[str]
) -> Block:
    """Return dsjson lines as columns; those that cannot be used are counted and left out.

    Parameters
    ----------
    care
        "careful": lines whose middle holds anything unusual are decoded.
    cost, noted
        As of `replay.logs.dsjson`.
    dropped
        Where lines that are left out are counted.
    """
    try:
        return _all_alike(lines, care=care, cost=cost)
    except ValueError:
        return _one_by_one(lines, cost=cost, dropped=dropped, noted=noted)


def _all_alike(lines: Sequence[bytes], *, care: Care, cost: Cost) -> Block:
    """Return lines that are all laid out as VW's tools do; raises `ValueError` if one is not."""
    match = _HEAD.match
    try:
        columns = list(zip(*[match(line).groups() for line in lines], strict=True))  # type: ignore[union-attr] # below
    except AttributeError:
        raise ValueError("a line is laid out in another way") from None
    if not columns:
        raise ValueError("there is no line")
    costs, probabilities, indices, times, event_ids, orders = columns
    tails = [line[-_TAIL_BYTES:] for line in lines]
    behind = b"\n".join(tails)
    if b'"_skipLearn"' in behind or b'"pdrop"' in behind or (care == "careful" and _is_unusual(lines)):
        raise ValueError("a line holds more than a decision and its reward")
    vw_costs = _floats(costs)
    true_costs = vw_costs if cost == "label" else _originals(lines, tails, behind, vw_costs)
    propensities = _floats(probabilities)
    chosen = np.array(list(map(int, indices)), dtype=np.intp)
    count = _n_in_order if care == "careful" else _n_numbers
    n_eligible = np.array(list(map(count, orders)), dtype=np.intp)
    if not ((propensities > 0.0) & (propensities <= 1.0) & (chosen < n_eligible)).all():
        raise ValueError("a line needs a second look")
    return Block(
        rewards=0.0 - true_costs,  # no reward is -0.0
        propensities=propensities,
        at=_seconds(times),
        n_events=len(lines),
        n_eligible=n_eligible,
        chosen=chosen,
        slot=np.zeros(len(lines), dtype=np.intp),
        chosen_id=chosen,
        place_propensities=propensities,
        lines=lines,
        vw_costs=vw_costs if care == "quick" else None,
        event_ids=event_ids if event_ids[0] is not None else (),
    )


def _one_by_one(lines: Sequence[bytes], *, cost: Cost, dropped: Counter[str], noted: Counter[str]) -> Block:
    """Return lines as columns after a look into each of them."""
    events: list[LoggedEvent] = []
    for line in lines:
        event = event_of(line, noted=noted, cost=cost)
        if isinstance(event, str) or not event.learn:
            dropped["skip_learn" if isinstance(event, LoggedEvent) else event] += 1
        else:
            events.append(event)
    return block_of(events)


def _is_unusual(lines: Sequence[bytes]) -> bool:
    """Whether anything stands in the middle of a line that changes what the line says."""
    text = b"\n".join(lines)
    return text.count(b'"_label') != _LABELS * len(lines) or any(word in text for word in _UNUSUAL)


def _floats(texts: Sequence[bytes]) -> FloatArray:
    numbers: FloatArray = np.array(texts, dtype=np.bytes_).astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("not a finite number")
    return numbers


def _originals(lines: Sequence[bytes], tails: Sequence[bytes], behind: bytes, costs: FloatArray) -> FloatArray:
    """Return the true costs: those of before apprentice mode changed them, where the lines have them."""
    n_original = behind.count(_ORIGINAL)
    if n_original == 0 and _ORIGINAL not in b"\n".join(lines):
        return costs
    if n_original != len(lines):
        raise ValueError("some lines have an original cost, or have it where it is not looked for")
    return _floats([tail.rpartition(_ORIGINAL)[2].rstrip(b"}\r\n") for tail in tails])  # anything more is no number


def _n_numbers(order: bytes) -> int:
    """Return how many actions were listed; VW's own count of its answers says later whether those were all."""
    return order.count(b",") + 1


@functools.lru_cache(maxsize=_ORDERS_KEPT)
def _n_in_order(order: bytes) -> int:
    """Return how many actions there were; raises `ValueError` unless it is all of 1 to n."""
    numbers = [int(number) for number in order.split(b",")]
    if set(numbers) != set(range(1, len(numbers) + 1)):
        raise ValueError("some actions could not be chosen")
    return len(numbers)


def _seconds(times: Sequence[bytes | None]) -> FloatArray:
    """Return UTC seconds; NaN for what is no time."""
    try:
        return _all_utc(b"".join(times), len(times))  # type: ignore[arg-type]  # a None in it is a TypeError: below
    except (TypeError, ValueError):
        return np.array([_second(time) for time in times])


def _all_utc(text: bytes, n: int) -> FloatArray:
    """Return times such as ``2021-02-04T16:31:29.2460000Z``, all of one length; raises `ValueError` for others."""
    table = np.frombuffer(text, dtype=np.uint8).reshape(n, -1)
    if table.shape[1] < _SECOND_BYTES + 1 or not (
        (table[:, (4, 7, 10, 13, 16, -1)] == np.frombuffer(b"--T::Z", dtype=np.uint8)).all()
        and (table[:, _SECOND_BYTES] == table[0, _SECOND_BYTES]).all()
    ):
        raise ValueError("times are written in another way")
    digits = table.astype(np.int64) - ord("0")
    fraction = digits[:, _SECOND_BYTES + 1 : -1]
    number = digits[:, (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)]
    if (number < 0).any() or (number > 9).any() or (fraction < 0).any() or (fraction > 9).any():  # noqa: PLR2004 - digits
        raise ValueError("times are written in another way")
    dates, place = np.unique(number[:, :8] @ 10 ** np.arange(7, -1, -1), return_inverse=True)
    days = np.array([datetime.strptime(f"{date:08d}", "%Y%m%d").replace(tzinfo=UTC).timestamp() for date in dates])
    seconds = number[:, 8:] @ np.array([36_000, 3_600, 600, 60, 10, 1])
    result: FloatArray = days[place] + seconds + fraction @ (0.1 ** np.arange(1.0, fraction.shape[1] + 1))
    return result


def _second(time: bytes | None) -> float:
    try:
        moment = datetime.fromisoformat("" if time is None else time.decode())
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
