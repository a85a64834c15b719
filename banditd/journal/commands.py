"""What can be asked of a store in one batch, and what it answers: the words of the journal's socket."""

from typing import Any

import msgspec

from banditd.journal.protocol import (
    Activated,
    Epoch,
    LaneInfo,
    NewDecision,
    NewReward,
    OutcomeRow,
    Recorded,
    Rewarded,
    RewardRule,
    Snapshot,
)

__all__ = [
    "Activate",
    "Answer",
    "Command",
    "Done",
    "DropLapses",
    "Failed",
    "GetDecision",
    "GetLane",
    "GetLastBefore",
    "GetOutcomes",
    "GetSnapshots",
    "OpenLane",
    "OutcomePage",
    "SaveSnapshot",
    "SnapshotPage",
    "Trim",
]


class OpenLane(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ask for a lane's current epoch."""

    lane: str
    pool: str
    spec: dict[str, Any]
    rule: RewardRule
    build: str


class Activate(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Activate a deferred decision."""

    event_id: str


class GetOutcomes(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ask for a page of a lane's log."""

    lane: str
    after: int
    limit: int


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


class GetLastBefore(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Ask for the last outcome older than an age."""

    lane: str
    age_s: float


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
    | OpenLane
    | GetOutcomes
    | GetLane
    | SaveSnapshot
    | GetSnapshots
    | Trim
    | GetLastBefore
    | GetDecision
    | DropLapses
)
Answer = Recorded | Rewarded | Activated | Epoch | LaneInfo | OutcomePage | SnapshotPage | Done | Failed
