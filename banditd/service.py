"""What the server does, without HTTP: decide, take rewards, keep the lanes, tell about them."""

import asyncio
import dataclasses
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from banditd.build import build_id
from banditd.clock import Clock, SystemClock
from banditd.config import Config, Segment
from banditd.decision import Decision, Slot, decode_decision, encode_decision, same_request
from banditd.errors import Conflict, JournalUnavailable, NotFound, TooLate, Unprocessable
from banditd.ids import new_event_id
from banditd.journal.protocol import Journal, NewDecision, NewReward
from banditd.keys import Keyring
from banditd.logs import get_logger
from banditd.messages import (
    ActivateReply,
    Interval,
    Ranked,
    RankReply,
    RankRequest,
    RewardReply,
    RewardRequest,
    SegmentInfo,
    SegmentList,
    StateDigest,
    Version,
)
from banditd.segments.feed import Feed
from banditd.segments.lane import Lane, lane_name, spec_settings
from banditd.segments.reading import Reader
from banditd.segments.recovery import agrees, recover
from banditd.segments.rules import Rules
from policies.errors import InvalidInput
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
    lanes: Mapping[str, Lane]


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
        self._feed = Feed(journal)
        # What is in the log was within the limits of its day: today's must not change what a fold gives.
        self._log_reader = Reader(_NO_LIMITS, actions=_NO_LIMITS.features)
        self._snapshot_seqs: dict[str, int] = {}
        self._setup = _Setup(config, Rules(config.segments), _reader(config), {})
        self._maintenance: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()  # lanes are exchanged, and logs trimmed, one at a time
        self.ready = False
        self.ending = False

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._setup.config

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """The lane of each segment."""
        return self._setup.lanes

    @property
    def backlog(self) -> int:
        """Outcomes that are not folded in yet."""
        return self._feed.backlog

    async def start(self) -> None:
        """Fold every lane's log; ready when this returns."""
        await self.apply(self._setup.config)
        self._maintenance = asyncio.create_task(self._maintain(), name="maintenance")
        self.ready = True

    async def close(self) -> None:
        """Keep a snapshot of every lane, so that the next start is quick."""
        self.ready = False
        if self._maintenance is not None:
            self._maintenance.cancel()
            await asyncio.gather(self._maintenance, return_exceptions=True)
        await self._feed.close()
        for lane in self.lanes.values():
            await self._snapshot(lane, at_least=1)

    async def apply(self, config: Config) -> None:
        """Serve by another configuration: lanes whose policy or reward rule changed open their next epoch.

        Requests are served by the old configuration until the new lanes have folded their logs.
        """
        async with self._changing:
            lanes = {segment.name: await self._open(segment) for segment in config.segments}
            self._setup = _Setup(config, Rules(config.segments), _reader(config), lanes)
            self._feed.keep(lanes.values())

    async def _open(self, segment: Segment) -> Lane:
        epoch = await self._journal.open_lane(
            lane_name(segment.name),
            pool=lane_name(segment.name),
            spec=spec_settings(segment.policy),
            rule=segment.reward,
            build=build_id(),
        )
        current = self.lanes.get(segment.name)
        if current is not None and current.epoch == epoch:
            return current
        lane = Lane(
            segment.name, epoch=epoch, spec=segment.policy, policy=segment.policy.build(), reader=self._log_reader
        )
        started = time.monotonic()
        await recover(lane, self._journal)
        self._snapshot_seqs[lane.name] = lane.seq
        log.info(
            "lane_folded",
            lane=lane.name,
            epoch=lane.epoch.epoch,
            seq=lane.seq,
            resumable=lane.policy.resumable,
            seconds=round(time.monotonic() - started, 3),
        )
        return lane

    async def rank(self, request: RankRequest) -> RankReply:
        """Decide, record the decision, and answer with what the journal holds."""
        setup = self._setup
        context = setup.reader.context(request.context)
        actions = setup.reader.actions(request.actions)
        event_id = self._event_id(request.event_id)
        if request.user is not None:
            self._check_id(request.user, "user")
        eligible = _eligible(actions, request.exclude)
        try:
            lane = self._lane_for(request, context.data, actions, setup)
        except NotFound:
            return await self._first_answer(request, event_id, eligible)
        slot = lane.decide(context, actions, eligible=eligible, event_id=event_id, key=self._draw_key)
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
            slots=[slot],
            key=self._keyring.draw_id,
            deferred=not request.activate,
            asked=request.segment,
        )
        recorded = await self._journal.record(
            NewDecision(event_id, lane.name, lane.epoch.epoch, not request.activate, encode_decision(decision))
        )
        if recorded.created:
            return _rank_reply(decision, slot, actions)
        return self._stored_answer(decode_decision(recorded.body), decision)

    async def _first_answer(self, request: RankRequest, event_id: str, eligible: list[int]) -> RankReply:
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
            raise _unknown_segment(request.segment or "", field="segment")
        stored = decode_decision(body)
        again = msgspec.structs.replace(
            stored,
            asked=request.segment,
            subject=None if request.user is None else self._keyring.subject(request.user),
            deferred=not request.activate,
            context=request.context,
            actions=request.actions,
            slots=[msgspec.structs.replace(stored.slots[0], eligible=eligible)],
        )
        return self._stored_answer(stored, again)

    def _stored_answer(self, stored: Decision, asked: Decision) -> RankReply:
        """Return the answer of the decision that holds the event id, if it is one to the same request."""
        if not same_request(stored, asked):
            detail = "came before with another request; a retry sends the same body"
            raise Conflict("event_id_reused", detail, field="event_id")
        return _rank_reply(stored, stored.slots[0], self._log_reader.actions(stored.actions))

    async def reward(self, request: RewardRequest) -> RewardReply:
        """Keep a reward and say what became of it."""
        self._check_id(request.event_id, "event_id")
        if request.reward_id is not None:
            self._check_id(request.reward_id, "reward_id")
        largest = self.config.limits.number
        if not -largest <= request.reward <= largest:
            raise Unprocessable("number_out_of_range", f"must be within ±{largest:g}", field="reward")
        answer = await self._journal.reward(NewReward(request.event_id, request.reward, request.reward_id))
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
        return SegmentList([await self.segment(name) for name in self.lanes])

    async def segment(self, name: str, *, with_digest: bool = False) -> SegmentInfo:
        """Return one segment; `with_digest` adds the digest of its policy's state."""
        lane = self._named_lane(name, self._setup, field=None)
        info = await self._journal.lane_info(lane.name)
        lower, upper = lane.rewards.interval(_LEVEL) or (None, None)
        return SegmentInfo(
            name=name,
            policy=spec_settings(lane.spec),
            version=Version(lane.epoch.epoch, lane.seq),
            decisions=info.decisions,
            outcomes=info.seq,
            reward=Interval(lane.rewards.mean if lane.rewards.n else None, lower, upper),
            state=_state_digest(lane) if with_digest else None,
        )

    async def journal_is_back(self) -> None:
        """Go on after the journal was away: lanes that no longer agree with it are folded anew."""
        async with self._changing:
            lanes = dict(self.lanes)
            for name, lane in self.lanes.items():
                if not await agrees(lane, self._journal):
                    log.error("lane_disagrees", lane=lane.name, seq=lane.seq)
                    lanes[name] = _fresh(lane)
                    await recover(lanes[name], self._journal)
            self._setup = dataclasses.replace(self._setup, lanes=lanes)
            self._feed.keep(lanes.values())
            self._feed.resume()

    def _event_id(self, given: str | None) -> str:
        if given is None:
            return new_event_id()
        self._check_id(given, "event_id")
        return given

    def _check_id(self, value: str, field: str) -> None:
        check_id(value, field=field, limits=self._setup.reader.limits)

    def _lane_for(
        self, request: RankRequest, context: Mapping[str, Any], actions: Sequence[Action], setup: _Setup
    ) -> Lane:
        if request.segment is not None:
            return self._named_lane(request.segment, setup, field="segment")
        needs = setup.rules.needs
        if not needs:
            return setup.lanes["default"]
        seen: dict[str, Any] = {"context": context}
        if "user" in needs:
            seen["user"] = request.user
        if "actions" in needs:
            seen["actions"] = [{"id": action.id, "features": action.features} for action in actions]
        return setup.lanes[setup.rules.segment_for(seen)]

    def _named_lane(self, name: str, setup: _Setup, *, field: str | None) -> Lane:
        lane = setup.lanes.get(name)
        if lane is None:
            raise _unknown_segment(name, field=field)
        return lane

    async def _maintain(self) -> None:
        """Keep snapshots young and logs within `store.keep`."""
        trim_at = time.monotonic() + _TRIM_EVERY_S
        while True:
            await asyncio.sleep(_MAINTENANCE_S)
            try:
                for lane in list(self.lanes.values()):
                    await self._snapshot(lane, at_least=self.config.store.snapshot_every)
                if time.monotonic() >= trim_at:
                    trim_at = time.monotonic() + _TRIM_EVERY_S
                    await self.trim()
            except JournalUnavailable as error:
                log.warning("maintenance_waits", code=error.code)
            except Exception:  # a fault of ours must not end snapshots and trims for good
                log.exception("maintenance_failed")

    async def _snapshot(self, lane: Lane, *, at_least: int) -> None:
        if lane.policy.resumable and lane.seq - self._snapshot_seqs.get(lane.name, 0) >= at_least:
            snapshot = lane.snapshot()
            await self._journal.save_snapshot(snapshot)
            self._snapshot_seqs[lane.name] = snapshot.seq

    async def trim(self) -> None:
        """Write a base for each lane and drop what is older than `store.keep`."""
        age_s = self.config.store.keep_s
        async with self._changing:
            for lane in self.lanes.values():
                lapsed = await self._journal.drop_lapses(lane.name, age_s=age_s)
                while lapsed:
                    lapsed = await self._journal.drop_lapses(lane.name, age_s=age_s)
                last = await self._journal.last_before(lane.name, age_s=age_s)
                base_seq = (await self._journal.lane_info(lane.name)).base_seq
                if last > base_seq and lane.policy.resumable:
                    await self._trim_lane(lane, last)

    async def _trim_lane(self, lane: Lane, last: int) -> None:
        past = _fresh(lane)
        await recover(past, self._journal, until=last)
        dropped = 0
        while count := await self._journal.trim(lane.name, past.snapshot()):
            dropped += count
            await asyncio.sleep(0)
        log.info("log_trimmed", lane=lane.name, base_seq=past.seq, outcomes=dropped)


def _fresh(lane: Lane) -> Lane:
    """Return the lane as it is before any outcome."""
    return Lane(lane.segment, epoch=lane.epoch, spec=lane.spec, policy=lane.spec.build(), reader=lane.reader)


def _reader(config: Config) -> Reader:
    return Reader(config.limits.of_features(), actions=config.limits.actions)


def _eligible(actions: Sequence[Action], exclude: Sequence[str]) -> list[int]:
    if not exclude:
        return list(range(len(actions)))
    known = {action.id for action in actions}
    for index, action_id in enumerate(exclude):
        if action_id not in known:
            raise InvalidInput("unknown_action", f"exclude[{index}]", f"{action_id[:64]!r} is not one of the actions")
    excluded = set(exclude)
    eligible = [index for index, action in enumerate(actions) if action.id not in excluded]
    if not eligible:
        raise InvalidInput("nothing_to_choose", "exclude", "leaves no action to choose")
    return eligible


def _rank_reply(decision: Decision, slot: Slot, actions: Sequence[Action]) -> RankReply:
    probabilities: Sequence[float] = slot.probabilities
    if len(slot.eligible) < len(actions):
        played = dict(zip(slot.eligible, probabilities, strict=True))
        probabilities = [played.get(index, 0.0) for index in range(len(actions))]
    chosen = slot.chosen
    order = sorted(slot.eligible, key=probabilities.__getitem__, reverse=True)  # stable: ties keep the caller's order
    order.remove(chosen)
    ranking = [Ranked(actions[chosen].id, probabilities[chosen])]
    ranking += [Ranked(actions[index].id, probabilities[index]) for index in order]
    if len(order) + 1 < len(actions):
        eligible = set(slot.eligible)
        ranking += [Ranked(action.id, 0.0) for index, action in enumerate(actions) if index not in eligible]
    return RankReply(
        decision.event_id,
        decision.lane.rpartition("/")[0],
        Version(decision.epoch, decision.seq),
        actions[chosen].id,
        ranking,
        decision.expires_at,
    )


def _state_digest(lane: Lane) -> StateDigest:
    digest = hashlib.blake2b(lane.policy.dumps(), digest_size=_DIGEST_BYTES).hexdigest()
    return StateDigest(lane.epoch.epoch, lane.seq, digest)


def _unknown_segment(name: str, *, field: str | None) -> NotFound:
    return NotFound("unknown_segment", f"there is no segment {name[:64]!r}", field=field)


def _unknown_event() -> NotFound:
    return NotFound("unknown_event", "there is no decision with this event id", field="event_id")
