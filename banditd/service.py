"""What the server does, without HTTP: decide, take rewards, keep the lanes, tell about them."""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from banditd.answering import rank_reply
from banditd.clock import Clock, SystemClock
from banditd.config import Config
from banditd.deciding import Question, check_work, decide
from banditd.decision import Decision, Member, decode_decision, encode_decision, same_request
from banditd.errors import Conflict, JournalUnavailable, NotFound, TooLate, Unprocessable
from banditd.ids import new_event_id
from banditd.journal.protocol import Journal, LaneInfo, NewDecision, NewReward
from banditd.keys import Keyring
from banditd.logs import get_logger
from banditd.messages import (
    ActivateReply,
    Bounds,
    Interval,
    RankReply,
    RankRequest,
    RewardReply,
    RewardRequest,
    SegmentInfo,
    SegmentList,
    StateDigest,
    Version,
)
from banditd.segments.keeper import Keeper
from banditd.segments.lane import Lane, lane_name, spec_settings
from banditd.segments.pooled import PooledLane
from banditd.segments.reading import Reader
from banditd.segments.rules import Rules
from policies.contest import LEVEL
from policies.features import Action, Limits, check_id

__all__ = ["Service"]

_LEVEL: Final = 0.95
_MAINTENANCE_S: Final = 1.0
_TRIM_EVERY_S: Final = 3_600.0
_DIGEST_BYTES: Final = 16
_NO_LIMITS: Final = Limits(depth=1_000, features=1_000_000, id_bytes=1_000_000, magnitude=1e30)

log = get_logger()


@dataclass(frozen=True, slots=True)
class _Setup:
    """What a reload exchanges in one step."""

    config: Config
    rules: Rules
    reader: Reader


class Service:
    """The segments, their lanes and the journal behind them.

    Parameters
    ----------
    keyring
        Keys of draws and pseudonyms.
    clock
        Its wall side stamps decisions; nothing is compared with it.
    """

    def __init__(self, config: Config, journal: Journal, keyring: Keyring, *, clock: Clock | None = None) -> None:
        self._journal = journal
        self._keyring = keyring
        self._draw_key = keyring.draw_key(keyring.draw_id)
        self._clock = clock or SystemClock()
        # What is in the log was within the limits of its day: today's must not change what a fold gives.
        self._log_reader = Reader(_NO_LIMITS, actions=_NO_LIMITS.features)
        self._keeper = Keeper(journal, self._log_reader, config.store)
        self._setup = _Setup(config, Rules(config.segments), _reader(config))
        self._maintenance: asyncio.Task[None] | None = None
        self.ready = False
        self.ending = False

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._setup.config

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """The lane of each segment."""
        return self._keeper.roster.lanes

    @property
    def keeper(self) -> Keeper:
        """What keeps the lanes at the heads of their logs, and in memory or not."""
        return self._keeper

    @property
    def backlog(self) -> int:
        """Outcomes that are not folded in yet."""
        return self._keeper.feed.backlog

    async def start(self) -> None:
        """Fold the logs of pools, and of lanes if there is room for all of them; ready when this returns."""
        await self.apply(self._setup.config)
        self._maintenance = asyncio.create_task(self._maintain(), name="maintenance")
        self.ready = True

    async def close(self) -> None:
        """Keep a snapshot of every lane that is in memory, so that the next start is quick."""
        self.ready = False
        if self._maintenance is not None:
            self._maintenance.cancel()
            await asyncio.gather(self._maintenance, return_exceptions=True)
        await self._keeper.close()

    async def apply(self, config: Config) -> None:
        """Serve by another configuration: lanes whose policy or reward rule changed open their next epoch.

        Requests are served by the old configuration until the new lanes have folded their logs. If the journal does
        not answer meanwhile it may have opened epochs all the same, so the change is tried again until it is done.
        """
        setup = _Setup(config, Rules(config.segments), _reader(config))
        broke_off = self._keeper.unfinished is not None
        async with self._keeper.changing(config) as settle:
            self._setup = setup
            settle()
        if broke_off:
            await self._keeper.journal_is_back()  # it may have been away, and nothing was compared then

    async def _finish_change(self) -> None:
        """Take up a change that broke off, unless somebody does by now."""
        wanted = self._keeper.unfinished
        if wanted is not None and not self._keeper.is_changing:
            await self.apply(wanted)
            log.info("reload_finished")

    async def rank(self, request: RankRequest) -> RankReply:
        """Decide, record the decision, and answer with what the journal holds."""
        setup = self._setup
        context = setup.reader.context(request.context)
        actions = setup.reader.actions(request.actions)
        event_id = self._event_id(request.event_id)
        if request.user is not None:
            self._check_id(request.user, "user")
        question = Question.of(request, actions, reader=setup.reader, limits=setup.config.limits)
        try:
            lanes = self._lanes_for(request, context.data, actions, setup)
        except NotFound as error:
            return await self._first_answer(request, event_id, question, error)
        check_work(question, lanes, context, actions, limits=setup.config.limits)
        for lane in lanes:
            self._keeper.hot.used(lane)
            if not lane.is_hot:
                await self._keeper.hot.ready(lanes)
        decided = decide(question, lanes, context, actions, event_id=event_id, key=self._draw_key)
        lane = decided.lane
        at = self._clock.wall()
        subject = None if request.user is None else self._keyring.subject(request.user)
        decision = Decision(
            event_id=event_id,
            lane=lane.name,
            epoch=lane.epoch.epoch,
            seq=lane.seq,
            pool_seq=lane.pool_seq,
            at=at,
            expires_at=at + lane.epoch.rule.wait_s,
            subject=subject,
            context=request.context,
            actions=request.actions,
            slots=decided.slots,
            key=self._keyring.draw_id,
            deferred=not request.activate,
            asked=request.segment,
            asked_slots=request.slots,
            excluded=question.excluded,
            members=decided.members,
            served_by=lane.served_by,
            parent_epoch=lane.parent_epoch,
            own_from=lane.own_from,
            own_share=lane.own_share,
        )
        recorded = await self._journal.record(
            NewDecision(
                event_id,
                lane.name,
                lane.epoch.epoch,
                not request.activate,
                encode_decision(decision),
                len(decided.slots),
            )
        )
        if recorded.created:
            return rank_reply(decision, actions, [slot.id for slot in question.slots])
        return self._stored_answer(decode_decision(recorded.body), decision)

    async def _first_answer(
        self, request: RankRequest, event_id: str, question: Question, unknown: NotFound
    ) -> RankReply:
        """Answer a rank whose segment is gone as it was answered while the segment was there.

        Raises
        ------
        NotFound
            It never was.
        Conflict
            The event id belongs to another request.
        """
        body = await self._journal.decision(event_id)
        if body is None:
            raise unknown
        stored = decode_decision(body)
        again = msgspec.structs.replace(
            stored,
            asked=request.segment,
            subject=None if request.user is None else self._keyring.subject(request.user),
            deferred=not request.activate,
            context=request.context,
            actions=request.actions,
            slots=[msgspec.structs.replace(stored.slots[0], eligible=question.allowed[0])],
            asked_slots=request.slots,
            excluded=question.excluded,
            members=[Member(lane_name(name), 0, 0, 0, weight) for name, weight in question.weights.items()]
            or msgspec.UNSET,
        )
        return self._stored_answer(stored, again)

    def _stored_answer(self, stored: Decision, asked: Decision) -> RankReply:
        """Return the answer of the decision that holds the event id, if it is one to the same request."""
        if not same_request(stored, asked):
            detail = "came before with another request; a retry sends the same body"
            raise Conflict("event_id_reused", detail, field="event_id")
        return rank_reply(stored, self._log_reader.actions(stored.actions), self._slot_ids(stored))

    async def reward(self, request: RewardRequest) -> RewardReply:
        """Keep a reward and say what became of it."""
        self._check_id(request.event_id, "event_id")
        if request.reward_id is not None:
            self._check_id(request.reward_id, "reward_id")
        largest = self.config.limits.number
        if not -largest <= request.reward <= largest:
            raise Unprocessable("number_out_of_range", f"must be within ±{largest:g}", field="reward")
        slot = None if request.slot is None else await self._slot_number(request.event_id, request.slot)
        answer = await self._journal.reward(NewReward(request.event_id, request.reward, request.reward_id, slot))
        match answer.status:
            case "unknown":
                raise _unknown_event()
            case "late":
                raise TooLate("window_closed", "the reward window has closed; nothing changed", field="event_id")
            case "out_of_range":
                detail = f"must be from {answer.low:g} to {answer.high:g}, which the segment's policy learns from"
                raise Unprocessable("reward_out_of_range", detail, field="reward")
            case status:
                return RewardReply(status)

    async def _slot_number(self, event_id: str, slot_id: str) -> int:
        """Return which slot of a decision has an id.

        Raises
        ------
        NotFound
            There is no such decision.
        Unprocessable
            None has it.
        """
        self._check_id(slot_id, "slot")
        body = await self._journal.decision(event_id)
        if body is None:
            raise _unknown_event()
        slot_ids = self._slot_ids(decode_decision(body))
        if slot_id not in slot_ids:
            raise Unprocessable("unknown_slot", f"the decision has no slot {slot_id[:64]!r}", field="slot")
        return slot_ids.index(slot_id)

    def _slot_ids(self, decision: Decision) -> list[str]:
        asked = decision.asked_slots
        return [] if asked is msgspec.UNSET else [slot.id for slot in self._log_reader.slots(asked)]

    async def activate(self, event_id: str) -> ActivateReply:
        """Let a deferred decision be learned from."""
        self._check_id(event_id, "event_id")
        match (await self._journal.activate(event_id)).status:
            case "unknown":
                raise _unknown_event()
            case "late":
                raise TooLate("window_closed", "the decision has lapsed; nothing changed", field="event_id")
            case "activated":
                return ActivateReply(event_id)

    async def segments(self) -> SegmentList:
        """Return every segment, in the order of their rules."""
        lanes = list(self.lanes.values())
        infos = await self._journal.lane_infos([lane.name for lane in lanes])
        return SegmentList([_segment_info(lane, info) for lane, info in zip(lanes, infos, strict=True)])

    async def segment(self, name: str, *, with_digest: bool = False) -> SegmentInfo:
        """Return one segment, loaded if it was not; `with_digest` adds the digest of its policy's state."""
        lane = self._named_lane(name, field=None)
        info = await self._journal.lane_info(lane.name)
        if not lane.is_hot:  # asked last: while anything else is waited for, it may be unloaded
            await self._keeper.hot.ready([lane])
        return _segment_info(lane, info, _state_digest(lane) if with_digest else None)

    async def journal_is_back(self) -> None:
        """Go on after the journal was away: lanes that no longer agree with it are folded anew."""
        await self._finish_change()
        await self._keeper.journal_is_back()

    def _event_id(self, given: str | None) -> str:
        if given is None:
            return new_event_id()
        self._check_id(given, "event_id")
        return given

    def _check_id(self, value: str, field: str) -> None:
        check_id(value, field=field, limits=self._setup.reader.limits)

    def _lanes_for(
        self, request: RankRequest, context: Mapping[str, Any], actions: Sequence[Action], setup: _Setup
    ) -> list[Lane]:
        """Return the lane that a request goes to, or those that it mixes, in the order of their segments' names."""
        if request.segments is not None:
            return [self._named_lane(name, field=f"segments.{name[:64]}") for name in sorted(request.segments)]
        return [self._lane_for(request, context, actions, setup)]

    def _lane_for(
        self, request: RankRequest, context: Mapping[str, Any], actions: Sequence[Action], setup: _Setup
    ) -> Lane:
        if request.segment is not None:
            return self._named_lane(request.segment, field="segment")
        needs = setup.rules.needs
        if not needs:
            return self.lanes["default"]
        seen: dict[str, Any] = {"context": context}
        if "user" in needs:
            seen["user"] = request.user
        if "actions" in needs:
            seen["actions"] = [{"id": action.id, "features": action.features} for action in actions]
        return self.lanes[setup.rules.segment_for(seen)]

    def _named_lane(self, name: str, *, field: str | None) -> Lane:
        lane = self.lanes.get(name)
        if lane is None:
            raise _unknown_segment(name, field=field)
        return lane

    async def _maintain(self) -> None:
        """Keep snapshots young and logs within `store.keep`."""
        trim_at = time.monotonic() + _TRIM_EVERY_S
        while True:
            await asyncio.sleep(_MAINTENANCE_S)
            try:
                await self._finish_change()
                await self._keeper.save(at_least=self.config.store.snapshot_every)
                if time.monotonic() >= trim_at:
                    trim_at = time.monotonic() + _TRIM_EVERY_S
                    await self.trim()
            except JournalUnavailable as error:
                log.warning("maintenance_waits", code=error.code)
            except Exception:  # a fault of ours must not end snapshots and trims for good
                log.exception("maintenance_failed")

    async def trim(self) -> None:
        """Write a base for each lane and drop what is older than `store.keep`."""
        await self._keeper.trim(age_s=self.config.store.keep_s)


def _reader(config: Config) -> Reader:
    limits = config.limits
    return Reader(limits.of_features(), actions=limits.actions, slots=limits.slots)


def _state_digest(lane: Lane) -> StateDigest:
    digest = hashlib.blake2b(lane.dumps(), digest_size=_DIGEST_BYTES).hexdigest()
    return StateDigest(lane.epoch.epoch, lane.seq, digest)


def _segment_info(lane: Lane, info: LaneInfo, state: StateDigest | None = None) -> SegmentInfo:
    lower, upper = lane.rewards.interval(_LEVEL) or (None, None)
    contest = lane.own.contest.evidence.interval(LEVEL) if isinstance(lane, PooledLane) and lane.own else None
    return SegmentInfo(
        name=lane.segment,
        policy=spec_settings(lane.spec),
        pooling=lane.pooling,
        served_by=lane.served_by,
        version=Version(lane.epoch.epoch, lane.seq),
        decisions=info.decisions,
        outcomes=info.seq,
        reward=Interval(lane.rewards.mean if lane.rewards.n else None, lower, upper),
        own_advantage=None if contest is None else Bounds(*contest),
        state=state,
    )


def _unknown_segment(name: str, *, field: str | None) -> NotFound:
    return NotFound("unknown_segment", f"there is no segment {name[:64]!r}", field=field)


def _unknown_event() -> NotFound:
    return NotFound("unknown_event", "there is no decision with this event id", field="event_id")
