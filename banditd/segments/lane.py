"""A lane in memory: the policy at the head of its log, and how it got there."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NoReturn, cast

import msgspec
import orjson

from banditd.decision import Decision, Slot, decode_decision
from banditd.journal.protocol import Epoch, OutcomeRow, Pooling, Snapshot
from banditd.logs import get_logger
from banditd.segments.reading import Reader
from policies.bounds import RunningMean
from policies.contest import ContestState, Server
from policies.draw import checked, draw, uniform
from policies.errors import InvalidInput, StateInvalid
from policies.features import Action, Context
from policies.protocol import Outcome, Policy, PolicySpec
from policies.spec import n_asked
from policies.state import spec_bytes

__all__ = ["Gap", "Lane", "LaneState", "lane_name", "learned_from", "spec_digest", "spec_settings"]

ARM: Final = "main"  # the only arm of a segment without an experiment
_DIGEST_BYTES: Final = 16

log = get_logger()


class Gap(Exception):
    """An outcome came whose predecessor has not been folded in."""


class LaneState(msgspec.Struct, array_like=True):
    """What a snapshot holds: the policy's own bytes and the lane's running sums.

    Of a lane that shares a parent also: the contest between the two, and the parent's epoch, without which the
    state cannot be gone on from. No bytes: it has no policy of its own yet.
    """

    policy: bytes
    rewards: tuple[int, float, float]
    refused: int
    contest: ContestState | None = None
    parent_epoch: int | None = None


class _Unloaded:
    """Stands in for the policy of a lane that is not in memory; a use of it is a mistake of ours."""

    resumable = True

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"a lane that is not in memory was asked for {name}")


_UNLOADED: Final = cast("Policy", _Unloaded())


class Lane:
    """One policy and the place in its log up to which it has learned.

    Parameters
    ----------
    segment
        The segment it serves.
    epoch
        What its journal says it is to run.
    spec
        The policy's spec; equal to the one in `epoch`.
    policy
        As it is before any outcome; None: the lane is not in memory until `open` is called and its log folded.
    reader
        Reads contexts and actions out of stored decisions.

    Attributes
    ----------
    seq, last_pool_seq, chain
        Numbers and chain value of the last outcome folded in.
    rewards
        Running sums over the rewards of the outcomes.
    refused
        Outcomes that the policy would not learn from, such as a reward beyond its range under an
        older spec; they count in `seq` and `rewards` all the same.
    is_failed
        Whether it stopped at an outcome that it could not take in, by a fault of ours; until the next reload or start.
    n_asked
        Policies that a decision asks, at most; it follows from the configuration alone.
    is_hot
        Whether it can decide now. What is not in memory keeps the numbers that it had when it was.
    used
        When it was asked last, in asks of any lane.
    waiting
        How many wait for it, so that it must not be unloaded.
    saved_seq
        `seq` of the newest snapshot that is known to be kept.
    """

    pooling: Pooling = "own"

    def __init__(self, segment: str, *, epoch: Epoch, spec: PolicySpec, policy: Policy | None, reader: Reader) -> None:
        self.segment = segment
        self.name = epoch.lane
        self.epoch = epoch
        self.spec = spec
        self.policy = _UNLOADED if policy is None else policy
        self.n_asked = n_asked(spec)
        self.is_hot = policy is not None
        self.is_failed = False
        self.used = 0
        self.waiting = 0
        self.saved_seq = epoch.fold_from
        self.seq = epoch.fold_from
        self.last_pool_seq = 0
        self.chain = b""
        self.rewards = RunningMean()
        self.refused = 0
        self.reader = reader

    @property
    def pool_seq(self) -> int:
        """The pool's number of the last outcome that had a part in what would be played now."""
        return self.last_pool_seq

    @property
    def served_by(self) -> Server:
        """Whose policy serves, or the larger share of it: the lane's own, or one that it shares."""
        return "own"

    @property
    def parent_epoch(self) -> int | msgspec.UnsetType:
        """The epoch of the parent that it shares; unset if it is alone."""
        return msgspec.UNSET

    @property
    def own_from(self) -> int | msgspec.UnsetType:
        """The pool's number at which its own policy started from the parent; unset if it is alone or has not."""
        return msgspec.UNSET

    @property
    def own_share(self) -> float | msgspec.UnsetType:
        """Share of its own policy in what would be played now; unset if it is alone or has none."""
        return msgspec.UNSET

    @property
    def can_unload(self) -> bool:
        """Whether it has a policy in memory that it can do without for a while."""
        return self.is_hot and self.policy.resumable

    def open(self) -> None:
        """Become as before any outcome, to fold the log; hot once that is done."""
        self.policy = self.spec.build()
        self.seq, self.last_pool_seq, self.chain = self.epoch.fold_from, 0, b""
        self.saved_seq = self.seq
        self.rewards = RunningMean()
        self.refused = 0

    def unload(self) -> None:
        """Let go of the policy."""
        self.is_hot = False
        self.policy = _UNLOADED

    def fail(self, error: Exception) -> None:
        """Stop for good: nothing is decided, learned or saved by a state that may have half of an outcome in it."""
        if not self.is_failed:
            log.error("lane_failed", lane=self.name, seq=self.seq, exc_info=error)
        self.is_failed = True
        self.unload()

    def dumps(self) -> bytes:
        """Return the state of everything that has a part in what is played."""
        return self.policy.dumps()

    def decide(
        self, context: Context, actions: Sequence[Action], *, eligible: list[int], event_id: str, key: bytes
    ) -> Slot:
        """Return the distribution over the eligible actions and the one drawn from it."""
        options = actions if len(eligible) == len(actions) else [actions[i] for i in eligible]
        vector = self.distribution(context, options)
        chosen = draw(vector, uniform(key, self.name, event_id, 0))
        return Slot(eligible, vector, eligible[chosen])

    def distribution(self, context: Context, options: Sequence[Action]) -> list[float]:
        """Return what would be played now: shape (n_options,), checked."""
        vector: list[float] = self.policy.probabilities(context, options).tolist()
        checked(vector, len(options))
        return vector

    def fold(self, row: OutcomeRow) -> None:
        """Take the next outcome in; one that was taken in before changes nothing.

        Raises
        ------
        Gap
            Outcomes between the last one and this are missing.
        """
        if row.seq <= self.seq:
            return
        if row.seq != self.seq + 1:
            raise Gap(f"{self.name} is at {self.seq}, and {row.seq} came")
        if not row.erased:
            self.rewards.add(row.reward)
            try:
                self.policy.learn(learned_from(row, self.reader))
            except InvalidInput as error:
                if self.refused == 0:
                    log.warning("outcome_refused", lane=self.name, seq=row.seq, code=error.code, field=error.field)
                self.refused += 1
        self.seq, self.last_pool_seq, self.chain = row.seq, row.pool_seq, row.chain

    def snapshot(self) -> Snapshot:
        """Return the state as it is now."""
        state = LaneState(self.policy.dumps(), self.rewards.dumps(), self.refused)
        return Snapshot(
            lane=self.name,
            epoch=self.epoch.epoch,
            seq=self.seq,
            chain=self.chain,
            build=self.epoch.build,
            spec_digest=spec_digest(self.spec),
            state=msgspec.msgpack.encode((self.last_pool_seq, state)),
        )

    def restore(self, snapshot: Snapshot) -> bool:
        """Go to a snapshot's state if it is one of this spec and, unless it is a base, of this build."""
        if snapshot.spec_digest != spec_digest(self.spec):
            return False
        if snapshot.build != self.epoch.build and not snapshot.is_base:
            return False
        try:
            pool_seq, state = msgspec.msgpack.decode(snapshot.state, type=tuple[int, LaneState])
            self.policy.loads(state.policy)
        except (StateInvalid, msgspec.DecodeError) as error:
            log.warning("snapshot_invalid", lane=self.name, seq=snapshot.seq, detail=str(error))
            return False
        self.rewards = RunningMean.loads(state.rewards)
        self.refused = state.refused
        self.seq, self.last_pool_seq, self.chain = snapshot.seq, pool_seq, snapshot.chain
        self.saved_seq = snapshot.seq
        return True


def lane_name(segment: str) -> str:
    """Return the name of a segment's only lane."""
    return f"{segment}/{ARM}"


def spec_digest(spec: PolicySpec) -> bytes:
    """Return the 16 bytes that stand for a spec in a snapshot."""
    return hashlib.blake2b(spec_bytes(spec), digest_size=_DIGEST_BYTES).digest()


def spec_settings(spec: PolicySpec) -> dict[str, Any]:
    """Return a spec as a JSON object, its kind and every default written out."""
    settings: dict[str, Any] = orjson.loads(spec_bytes(spec))
    return settings


def learned_from(row: OutcomeRow, reader: Reader) -> Outcome:
    """Return what a policy learns from a row of the log."""
    decision = _decision(row.body)
    slot = decision.slots[row.slot]
    actions = reader.actions(decision.actions)
    if len(slot.eligible) != len(actions):
        actions = tuple(actions[i] for i in slot.eligible)
    context = reader.context(decision.context)
    if decision.asked_slots is not msgspec.UNSET:
        context = context.at_slot(reader.slots(decision.asked_slots)[row.slot].slot)
    return Outcome(
        context=context,
        actions=actions,
        chosen=slot.eligible.index(slot.chosen),
        propensity=min(slot.propensity, 1.0),  # a mixture's sum could be above 1 by rounding when this was stored
        reward=row.reward,
    )


@lru_cache(maxsize=1)  # the outcomes of all slots of a decision come one after another
def _decision(body: bytes) -> Decision:
    return decode_decision(body)
