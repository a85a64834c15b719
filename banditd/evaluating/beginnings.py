"""Where the folds of a store begin, and which decisions name a state of which fold.

Epochs of a lane that have the same spec are one fold: a changed reward rule or build changes no outcome that was made
before. The same holds for epochs of a parent that have the same spec and the same moves of lanes.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from banditd.decision import Decision, Member
from banditd.evaluating.store import ReadStore
from banditd.journal.protocol import Epoch, PoolInfo, Snapshot
from banditd.segments.families import Kin, families, family_key, parent_name
from banditd.segments.lane import spec_digest
from policies.errors import InvalidInput
from policies.protocol import PolicySpec
from policies.registry import parse_spec

__all__ = ["Beginnings", "FoldKey", "Unanswerable", "kin_at"]


class Unanswerable(Exception):
    """The states of an epoch cannot be had; says why, by a word of `findings.REASONS`, or of none if it is a lie."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


@dataclass(frozen=True, slots=True)
class FoldKey:
    """One fold.

    Attributes
    ----------
    log
        The lane alone whose log it is of; or the parent, of the log of its pool.
    settings
        The policy's spec as JSON; of a parent, with the moves of its lanes.
    is_shared
        Whether it is a parent's.
    """

    log: str
    settings: str
    is_shared: bool

    @property
    def moves(self) -> Mapping[str, int]:
        """The moves of lanes that a parent's epochs are of."""
        moves: dict[str, int] = orjson.loads(self.settings).get("moves", {})
        return moves

    @property
    def spec(self) -> PolicySpec:
        """The policy's spec."""
        return _parse(self.settings)


@dataclass(slots=True)
class Beginnings:
    """Tells the folds of a store, and the state at which each begins."""

    store: ReadStore
    _epochs: dict[tuple[str, int], Epoch] = field(default_factory=dict)
    _keys: dict[tuple[str, int], FoldKey | Unanswerable] = field(default_factory=dict)
    _first: dict[FoldKey, Epoch] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for stored in self.store.epochs():
            self._epochs[stored.epoch.lane, stored.epoch.epoch] = stored.epoch

    def epoch_of(self, state: Decision | Member) -> Epoch:
        """Return the epoch whose build made a state.

        Raises
        ------
        Unanswerable
            There is no such epoch.
        """
        epoch = self._epochs.get((state.lane, state.epoch))
        if epoch is not None and state.parent_epoch is not msgspec.UNSET:
            epoch = self._epochs.get((_parent_of(epoch), state.parent_epoch))
        if epoch is None:
            raise Unanswerable("")
        return epoch

    def key_of(self, state: Decision | Member) -> FoldKey:
        """Return the fold that has a state: of the lane alone, or of its parent.

        Raises
        ------
        Unanswerable
            No fold has it.
        """
        epoch = self.epoch_of(state)
        name = (epoch.lane, epoch.epoch)
        if name not in self._keys:
            try:
                self._keys[name] = self._key(epoch, is_shared=state.parent_epoch is not msgspec.UNSET)
            except Unanswerable as unanswerable:
                self._keys[name] = unanswerable
        key = self._keys[name]
        if isinstance(key, Unanswerable):
            raise key
        return key

    def first_epoch(self, key: FoldKey) -> Epoch:
        """Return one of the epochs that a fold has the states of."""
        return self._first[key]

    def base(self, key: FoldKey) -> Snapshot | None:
        """Return the state that a fold begins with; None: it begins with nothing learned."""
        base = self.store.base(key.log)
        return base if base is not None and base.spec_digest == spec_digest(key.spec) else None

    def base_of_own(self, lane: str, spec: PolicySpec) -> Snapshot | None:
        """Return the state of a lane's own policy at which its kept log begins; None if there is none."""
        base = self.store.base(lane)
        return base if base is not None and base.spec_digest == spec_digest(spec) else None

    def _key(self, epoch: Epoch, *, is_shared: bool) -> FoldKey:
        settings = orjson.dumps(epoch.spec, option=orjson.OPT_SORT_KEYS).decode()
        key = FoldKey(epoch.lane, settings, is_shared)
        try:
            spec = key.spec
        except InvalidInput:
            raise Unanswerable("spec_unusable") from None
        self._check_kept(epoch, key, spec)
        self._first.setdefault(key, epoch)
        return key

    def _check_kept(self, epoch: Epoch, key: FoldKey, spec: PolicySpec) -> None:
        """Raise if what a fold has to begin with is gone."""
        begins = self.store.lanes[epoch.lane].base_seq
        if begins in (0, epoch.fold_from):
            return  # as the server began, be that with the base or, if it does not fit, with nothing
        base = self.store.base(epoch.lane)
        fits = base is not None and base.spec_digest == spec_digest(spec)
        if fits and key.is_shared and base is not None:
            fits = self._epochs[epoch.lane, base.epoch].spec.get("moves", {}) == key.moves
        if not fits:
            raise Unanswerable("before_base")


def kin_at(info: PoolInfo, spec: PolicySpec, moves: Mapping[str, int]) -> list[Kin]:
    """Return the lanes that belonged to a parent when it had seen these moves of lanes, and no later ones.

    A lane that came or left without an outcome in the pool moved nothing, and it does not matter when it did.
    """
    key = family_key(spec)
    by_lane: defaultdict[str, list[Any]] = defaultdict(list)
    for stretch in info.stretches:
        by_lane[stretch.lane].append(stretch)
    kin: list[Kin] = []
    for lane, stretches in by_lane.items():
        for end in range(len(stretches), 0, -1):
            family = families(PoolInfo(info.seq, stretches[:end])).get(key)
            if family is None:
                break  # it has nothing to do with this parent, or not yet
            if family.moves.get(lane, 0) <= moves.get(lane, 0):
                kin.extend(family.kin)
                break
    return kin


def _parent_of(epoch: Epoch) -> str:
    try:
        return parent_name(_parse(orjson.dumps(epoch.spec)))
    except InvalidInput:
        raise Unanswerable("spec_unusable") from None


def _parse(settings: str | bytes) -> PolicySpec:
    """Return a stored spec without what the journal keeps beside it."""
    table: dict[str, Any] = orjson.loads(settings)
    table.pop("moves", None)
    table.pop("pooling", None)
    return parse_spec(table)
