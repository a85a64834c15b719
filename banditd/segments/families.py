"""Which lanes share a parent: those of one pool that run the same policy, by their epochs in the journal.

A parent learns from every outcome that was made in the pool by a lane which belongs to it now, whatever that lane ran
then. So a policy that is changed for all its segments loses nothing: its new parent folds all that they have. What
a parent has learned therefore changes when a lane with outcomes in the pool comes to it or leaves it. Each such move is
part of the parent's epoch, so that the next epoch opens and the pool's log is folded again. A lane that is new to
the pool moves nothing: it has no outcome there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, cast

import orjson

from banditd.journal.protocol import PoolInfo, Pooling, PoolStretch
from banditd.segments.lane import spec_digest
from policies.protocol import PolicySpec
from policies.state import spec_settings

__all__ = ["POOL", "Family", "Kin", "families", "family_key", "parent_name"]

POOL: Final = "shared"  # the one pool of all lanes that share; a pool of a lane alone has the lane's name


@dataclass(frozen=True, slots=True)
class Kin:
    """A lane that belongs to a parent.

    Attributes
    ----------
    lane
        Its name.
    epoch
        The first of its epochs with this policy in this pool.
    current
        Its epoch now.
    entered
        Its last outcome before it came to the pool.
    """

    lane: str
    epoch: int
    current: int
    entered: int
    pooling: Pooling

    def is_same_stay(self, later: "Kin") -> bool:
        """Tell whether this and what was read later are of one stay in the pool, pooled in the same way."""
        return (self.epoch, self.entered, self.pooling) == (later.epoch, later.entered, later.pooling)


@dataclass(slots=True)
class Family:
    """The lanes of one parent.

    Attributes
    ----------
    moves
        By lane, the epoch with which it came or left, or changed how it is pooled, with outcomes in the pool.
    """

    kin: list[Kin] = field(default_factory=list)
    moves: dict[str, int] = field(default_factory=dict)


def families(info: PoolInfo) -> dict[str, Family]:
    """Return every parent's family, by `family_key`."""
    found: dict[str, Family] = {}
    readings: dict[str, tuple[str, Pooling]] = {}
    for lane, stretches in groupby(info.stretches, key=lambda stretch: stretch.lane):
        _add(lane, stretches, found, readings)
    return found


def family_key(spec: PolicySpec) -> str:
    """Return what a spec and the stored specs that share its parent have in common."""
    return _key(spec_settings(spec))


def parent_name(spec: PolicySpec) -> str:
    """Return the name of the parent's lane in the journal; no segment's lane begins with a star."""
    return f"*/{spec_digest(spec).hex()}"


def _add(
    lane: str, stretches: Iterable[PoolStretch], found: dict[str, Family], readings: dict[str, tuple[str, Pooling]]
) -> None:
    before: PoolStretch | None = None
    runs_before: tuple[str, Pooling] | None = None
    runs: tuple[str, Pooling] | None = None
    has_outcomes = False
    entered = 0
    for stretch in stretches:
        runs = _read(stretch.spec, readings) if stretch.pooled else None
        if before is not None and before.pooled and stretch.from_seq > before.from_seq:
            has_outcomes = True
        if before is not None and has_outcomes and runs != runs_before:
            for side in (runs, runs_before):
                if side is not None:
                    found.setdefault(side[0], Family()).moves[lane] = stretch.epoch
        if stretch.pooled and not (before is not None and before.pooled):
            entered = stretch.from_seq
        before, runs_before = stretch, runs
    if before is not None and runs is not None:
        key, pooling = runs
        kin = Kin(lane, before.epoch, before.current, entered, pooling)
        found.setdefault(key, Family()).kin.append(kin)


def _read(spec: str, readings: dict[str, tuple[str, Pooling]]) -> tuple[str, Pooling]:
    """Return the family's key and the pooling that a stored spec says; most lanes have one of a few specs."""
    reading = readings.get(spec)
    if reading is None:
        settings: dict[str, Any] = orjson.loads(spec)
        pooling = cast("Pooling", settings.pop("pooling", "shared"))
        reading = readings[spec] = (_key(settings), pooling)
    return reading


def _key(settings: dict[str, Any]) -> str:
    return orjson.dumps(settings, option=orjson.OPT_SORT_KEYS).decode()
