"""What can be asked of a store in one batch, and what it answers: the words of the journal's socket."""

import msgspec

from banditd.journal.protocol import (
    Activated,
    Epoch,
    LaneInfo,
    NewDecision,
    NewReward,
    OpenLane,
    OutcomeRow,
    PoolInfo,
    Recorded,
    Rewarded,
    Snapshot,
)

__all__ = [
    "Activate",
    "Answer",
    "Command",
    "Done",
    "DropLapses",
    "EpochPage",
    "Failed",
    "GetDecision",
    "GetLane",
    "GetLanes",
    "GetLastBefore",
    "GetOutcomes",
    "GetPool",
    "GetPoolOutcomes",
    "GetSnapshots",
    "LanePage",
    "MoveBases",
    "OpenLanes",
    "OutcomePage",
    "SaveSnapshot",
    "SnapshotPage",
    "Trim",
]


class OpenLanes(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ask for the current epochs of many lanes."""

    lanes: list[OpenLane]


class Activate(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Activate a deferred decision."""

    event_id: str


class GetOutcomes(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ask for a page of a lane's log."""

    lane: str
    after: int
    limit: int


class GetPoolOutcomes(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ask for a page of a shared pool's log."""

    pool: str
    after: int
    limit: int


class GetPool(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ask which lanes were in a pool when."""

    pool: str


class GetLanes(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ask for the counters of many lanes."""

    lanes: list[str]


class GetLane(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ask for a lane's counters."""

    lane: str


class GetDecision(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ask for the decision that holds an event id."""

    event_id: str


class DropLapses(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Drop a bounded number of lapsed decisions older than an age."""

    lane: str
    age_s: float


class SaveSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Keep a snapshot."""

    snapshot: Snapshot

    @property
    def lane(self) -> str:
        """The lane that the snapshot is of."""
        return self.snapshot.lane


class GetSnapshots(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ask for a lane's snapshots of one epoch, and its base."""

    lane: str
    epoch: int


class Trim(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Write a base and drop a bounded part of the log up to it."""

    lane: str
    base: Snapshot


class MoveBases(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Put the bases of a parent and of lanes of its pool in force, whose states were saved before."""

    bases: list[Snapshot]


class GetLastBefore(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ask for the last outcome older than an age."""

    lane: str
    age_s: float


class EpochPage(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The current epochs of lanes, in the order asked."""

    rows: list[Epoch]


class LanePage(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The counters of lanes, in the order asked."""

    rows: list[LaneInfo]


class OutcomePage(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A page of a lane's log."""

    rows: list[OutcomeRow]


class SnapshotPage(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Snapshots, newest first."""

    rows: list[Snapshot]


class Done(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """It is done; `count` where there is something to count."""

    count: int = 0


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """It was not done and changed nothing."""

    code: str
    detail: str


Command = (
    NewDecision
    | NewReward
    | Activate
    | OpenLanes
    | GetOutcomes
    | GetPoolOutcomes
    | GetPool
    | GetLane
    | GetLanes
    | SaveSnapshot
    | GetSnapshots
    | Trim
    | MoveBases
    | GetLastBefore
    | GetDecision
    | DropLapses
)
Answer = (
    Recorded
    | Rewarded
    | Activated
    | EpochPage
    | LaneInfo
    | LanePage
    | PoolInfo
    | OutcomePage
    | SnapshotPage
    | Done
    | Failed
)
