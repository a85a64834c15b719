"""The `Journal` protocol's calls, as commands to a store: shared by all that reach one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

from banditd.errors import JournalUnavailable
from banditd.journal.commands import (
    Activate,
    Answer,
    Command,
    Done,
    DropLapses,
    EpochPage,
    Failed,
    GetDecision,
    GetLane,
    GetLanes,
    GetLastBefore,
    GetOutcomes,
    GetPool,
    GetPoolOutcomes,
    GetSnapshots,
    LanePage,
    MoveBases,
    OpenLanes,
    OutcomePage,
    SaveSnapshot,
    SnapshotPage,
    Trim,
)
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
    RewardRule,
    Snapshot,
)

__all__ = ["AskingJournal", "expect"]

_AnswerType = TypeVar("_AnswerType")


class AskingJournal(ABC):
    """Everything of a `Journal` that is one command and one answer."""

    @abstractmethod
    async def _ask(self, command: Command) -> Answer:
        """Have one command carried out and committed."""

    async def open_lane(self, lane: str, *, pool: str, spec: dict[str, Any], rule: RewardRule, build: str) -> Epoch:
        """Return the lane's current epoch, opening the next one if spec, rule or build changed."""
        return (await self.open_lanes((OpenLane(lane, pool, spec, rule, build),)))[0]

    async def open_lanes(self, lanes: Sequence[OpenLane]) -> Sequence[Epoch]:
        """Return the current epochs of many lanes, opened in one commit."""
        return expect(EpochPage, await self._ask(OpenLanes(list(lanes)))).rows

    async def record(self, decision: NewDecision) -> Recorded:
        """Claim the event id and keep the decision, or return the one that holds the id."""
        return expect(Recorded, await self._ask(decision))

    async def reward(self, reward: NewReward) -> Rewarded:
        """Keep a reward and join it with its decision."""
        return expect(Rewarded, await self._ask(reward))

    async def activate(self, event_id: str) -> Activated:
        """Let a deferred decision be learned from."""
        return expect(Activated, await self._ask(Activate(event_id)))

    async def outcomes(self, lane: str, *, after: int, limit: int) -> Sequence[OutcomeRow]:
        """Return up to `limit` outcomes of the lane with seq > `after`, in order."""
        return expect(OutcomePage, await self._ask(GetOutcomes(lane, after, limit))).rows

    async def pool_outcomes(self, pool: str, *, after: int, limit: int) -> Sequence[OutcomeRow]:
        """Return up to `limit` outcomes of a shared pool with pool_seq > `after`, in that order."""
        return expect(OutcomePage, await self._ask(GetPoolOutcomes(pool, after, limit))).rows

    async def pool_info(self, pool: str) -> PoolInfo:
        """Return where the pool is, and which lanes were in it when."""
        return expect(PoolInfo, await self._ask(GetPool(pool)))

    async def lane_infos(self, lanes: Sequence[str]) -> Sequence[LaneInfo]:
        """Return the counters of many lanes, in the order asked."""
        return expect(LanePage, await self._ask(GetLanes(list(lanes)))).rows

    async def lane_info(self, lane: str) -> LaneInfo:
        """Return the lane's counters."""
        return expect(LaneInfo, await self._ask(GetLane(lane)))

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; older ones of the lane but the newest few are dropped."""
        expect(Done, await self._ask(SaveSnapshot(snapshot)))

    async def snapshots(self, lane: str, *, epoch: int) -> Sequence[Snapshot]:
        """Return the epoch's snapshots and the lane's base, newest first."""
        return expect(SnapshotPage, await self._ask(GetSnapshots(lane, epoch))).rows

    async def trim(self, lane: str, base: Snapshot) -> int:
        """Write a base, then drop a bounded part of the log up to it; return how many outcomes went."""
        return expect(Done, await self._ask(Trim(lane, base))).count

    async def move_bases(self, bases: Sequence[Snapshot]) -> None:
        """Put bases of a parent and of lanes of its pool in force in one commit."""
        expect(Done, await self._ask(MoveBases(list(bases))))

    async def last_before(self, lane: str, *, age_s: float) -> int:
        """Return the seq of the lane's last outcome older than `age_s` on the journal's clock; 0 if none."""
        return expect(Done, await self._ask(GetLastBefore(lane, age_s))).count

    async def decision(self, event_id: str) -> bytes | None:
        """Return the body of the decision that holds an event id; None if nobody claimed it."""
        found = expect(Recorded, await self._ask(GetDecision(event_id)))
        return found.body or None

    async def drop_lapses(self, lane: str, *, age_s: float) -> int:
        """Drop some of the lapsed decisions whose window closed longer ago than `age_s`; return how many."""
        return expect(Done, await self._ask(DropLapses(lane, age_s))).count


def expect(kind: type[_AnswerType], answer: Answer) -> _AnswerType:
    """Return the answer as the type it must be.

    Raises
    ------
    JournalUnavailable
        The store said that it did not do it.
    """
    if isinstance(answer, Failed):
        raise JournalUnavailable(answer.code, answer.detail)
    if not isinstance(answer, kind):
        wrong = f"the journal answered a {type(answer).__name__} where a {kind.__name__} was due"
        raise AssertionError(wrong)  # noqa: TRY004 - no caller's mistake: the journal is not ours
    return answer
