"""The lanes and pools that a configuration asks for, opened in the journal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from banditd.build import build_id
from banditd.config import Config, Segment
from banditd.journal.protocol import Epoch, Journal, OpenLane, RewardRule
from banditd.segments.families import POOL, Family, Kin, families, family_key, parent_name
from banditd.segments.lane import Lane, lane_name
from banditd.segments.pool import Pool
from banditd.segments.pooled import PooledLane
from banditd.segments.reading import Reader
from policies.protocol import PolicySpec
from policies.state import spec_settings

__all__ = ["Opener", "Roster"]

_AT_ONCE: Final = 500  # lanes opened in one commit: it takes some 20 ms, in which nobody else is served
_NO_RULE: Final = RewardRule(wait_s=0.0, default=0.0, aggregate="earliest")  # of a lane that nobody decides in


@dataclass(frozen=True, slots=True)
class Roster:
    """Lanes by segment, and the pools of those that share a parent, by the parent's name.

    A pool that goes on from an earlier roster is changed by `regroup` and `settle` only.
    """

    lanes: Mapping[str, Lane]
    pools: Mapping[str, Pool]
    newcomers: Mapping[str, Mapping[str, PooledLane]] = field(default_factory=dict)
    kin: Mapping[str, Mapping[str, tuple[Kin, Epoch]]] = field(default_factory=dict)

    def regroup(self) -> None:
        """Let the pools that go on have the lanes that came and not those that left; neither has an outcome there yet.

        So it has to be done before they fold any outcome from after the journal opened the lanes.
        """
        for name, kin in self.kin.items():
            pool = self.pools[name]
            kept = {lane: pooled for lane, pooled in pool.lanes.items() if lane in kin}
            pool.lanes = {**kept, **self.newcomers[name]}
            for lane, pooled in pool.lanes.items():
                pooled.kin = kin[lane][0]

    def settle(self) -> None:
        """Let the lanes of the pools that go on decide under their newest epochs."""
        for name, kin in self.kin.items():
            for lane, pooled in self.pools[name].lanes.items():
                pooled.epoch = kin[lane][1]

    def alone(self) -> list[Lane]:
        """Return the lanes that share nothing."""
        return [lane for lane in self.lanes.values() if not isinstance(lane, PooledLane)]


class Opener:
    """Opens what a configuration asks for, and takes over what has not changed; nothing is folded here.

    Parameters
    ----------
    reader
        Of stored decisions.
    when_started
        Told of a lane whose own policy has started from its parent.
    """

    def __init__(self, journal: Journal, reader: Reader, *, when_started: Callable[[PooledLane], None]) -> None:
        self._journal = journal
        self._reader = reader
        self._when_started = when_started

    async def open(self, config: Config, current: Roster) -> Roster:
        """Return the lanes and pools; new lanes are cold, and new pools as before any outcome."""
        wanted = _wanted(config)
        epochs: list[Epoch] = []
        for start in range(0, len(wanted), _AT_ONCE):
            epochs += await self._journal.open_lanes(wanted[start : start + _AT_ONCE])
        by_lane = {epoch.lane: epoch for epoch in epochs}
        pools, newcomers, kin = await self._open_pools(config, by_lane, current)
        lanes: dict[str, Lane] = {}
        for segment, epoch in zip(config.segments, epochs, strict=True):
            pool = pools.get(parent_name(segment.policy)) if "pooling" in epoch.spec else None
            if pool is not None:
                lanes[segment.name] = newcomers.get(pool.name, {}).get(epoch.lane) or pool.lanes[epoch.lane]
            else:
                lanes[segment.name] = self._lane(segment, epoch, current)
        return Roster(lanes, pools, newcomers, kin)

    def _lane(self, segment: Segment, epoch: Epoch, current: Roster) -> Lane:
        lane = current.lanes.get(segment.name)
        if lane is not None and lane.epoch == epoch and not lane.is_failed:
            return lane
        return Lane(segment.name, epoch=epoch, spec=segment.policy, policy=None, reader=self._reader)

    async def _open_pools(
        self, config: Config, epochs: Mapping[str, Epoch], current: Roster
    ) -> tuple[dict[str, Pool], dict[str, dict[str, PooledLane]], dict[str, dict[str, tuple[Kin, Epoch]]]]:
        specs = _shared_specs(config)
        pools: dict[str, Pool] = {}
        newcomers: dict[str, dict[str, PooledLane]] = {}
        going_on: dict[str, dict[str, tuple[Kin, Epoch]]] = {}
        found = families(await self._journal.pool_info(POOL)) if specs else {}
        for spec in specs:
            family = found[family_key(spec)]
            epoch = await self._open_parent(spec, family)
            kin = {each.lane: (each, epochs.get(each.lane) or _unserved(each, epoch)) for each in family.kin}
            pool = current.pools.get(epoch.lane)
            if pool is not None and pool.epoch == epoch and not pool.is_failed:
                going_on[epoch.lane] = kin
            else:
                pool = Pool(epoch=epoch, spec=spec, reader=self._reader, when_started=self._when_started)
                pool.lanes = {lane: PooledLane(pool, *each) for lane, each in kin.items()}
            pools[epoch.lane] = pool
            newcomers[epoch.lane] = {
                lane: PooledLane(pool, *each)
                for lane, each in kin.items()
                if lane not in pool.lanes or not pool.lanes[lane].kin.is_same_stay(each[0])
            }
        return pools, newcomers, going_on

    async def _open_parent(self, spec: PolicySpec, family: Family) -> Epoch:
        settings: dict[str, Any] = spec_settings(spec)
        if family.moves:
            settings["moves"] = family.moves
        return await self._journal.open_lane(
            parent_name(spec), pool=POOL, spec=settings, rule=_NO_RULE, build=build_id()
        )


def _wanted(config: Config) -> list[OpenLane]:
    pooled = config.pooled()
    wanted: list[OpenLane] = []
    for segment in config.segments:
        name, pooling = lane_name(segment.name), pooled[segment.name]
        settings: dict[str, Any] = spec_settings(segment.policy)
        pool = name
        if pooling != "own":
            pool, settings = POOL, {**settings, "pooling": pooling}
        wanted.append(OpenLane(name, pool, settings, segment.reward, build_id()))
    return wanted


def _shared_specs(config: Config) -> Sequence[PolicySpec]:
    pooled = config.pooled()
    return list(dict.fromkeys(segment.policy for segment in config.segments if pooled[segment.name] != "own"))


def _unserved(kin: Kin, parent: Epoch) -> Epoch:
    """Return the epoch of a lane whose segment is gone, as far as the pool needs it."""
    return Epoch(kin.lane, kin.current, kin.entered, 0, {}, _NO_RULE, parent.build, "", 0.0)
