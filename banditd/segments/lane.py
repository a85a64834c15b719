"""A lane in memory: the policy at the head of its log, and how it got there."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import orjson

from banditd.decision import Slot, decode_decision
from banditd.journal.protocol import Epoch, OutcomeRow, Snapshot
from banditd.logs import get_logger
from banditd.segments.reading import Reader
from policies.bounds import RunningMean
from policies.draw import checked, draw, uniform
from policies.errors import InvalidInput, StateInvalid
from policies.features import Action, Context
from policies.protocol import Outcome, Policy, PolicySpec
from policies.state import spec_bytes

__all__ = ["Gap", "Lane", "lane_name", "learned_from", "spec_digest", "spec_settings"]

ARM: Final = "main"  # the only arm of a segment without an experiment
_DIGEST_BYTES: Final = 16

log = get_logger()


class Gap(Exception):
    """An outcome came whose predecessor has not been folded in."""


class _State(msgspec.Struct, array_like=True):
    """What a snapshot holds: the policy's own bytes and the lane's running sums."""

    policy: bytes
    rewards: tuple[int, float, float]
    refused: int


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
        As it is before any outcome.
    reader
        Reads contexts and actions out of stored decisions.

    Attributes
    ----------
    seq, pool_seq, chain
        Numbers and chain value of the last outcome folded in.
    rewards
        Running sums over the rewards of the outcomes.
    refused
        Outcomes that the policy would not learn from, such as a reward beyond its range under an
        older spec; they count in `seq` and `rewards` all the same.
    """

    def __init__(self, segment: str, *, epoch: Epoch, spec: PolicySpec, policy: Policy, reader: Reader) -> None:
        self.segment = segment
        self.name = epoch.lane
        self.epoch = epoch
        self.spec = spec
        self.policy = policy
        self.seq = epoch.fold_from
        self.pool_seq = 0
        self.chain = b""
        self.rewards = RunningMean()
        self.refused = 0
        self.reader = reader

    def decide(
        self, context: Context, actions: Sequence[Action], *, eligible: list[int], event_id: str, key: bytes
    ) -> Slot:
        """Return the distribution over the eligible actions and the one drawn from it."""
        options = actions if len(eligible) == len(actions) else [actions[i] for i in eligible]
        vector = self.policy.probabilities(context, options).tolist()
        checked(vector, len(options))
        chosen = draw(vector, uniform(key, self.name, event_id, 0))
        return Slot(eligible, vector, eligible[chosen])

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
        self.seq, self.pool_seq, self.chain = row.seq, row.pool_seq, row.chain

    def snapshot(self) -> Snapshot:
        """Return the state as it is now."""
        state = _State(self.policy.dumps(), self.rewards.dumps(), self.refused)
        return Snapshot(
            lane=self.name,
            epoch=self.epoch.epoch,
            seq=self.seq,
            chain=self.chain,
            build=self.epoch.build,
            spec_digest=spec_digest(self.spec),
            state=msgspec.msgpack.encode((self.pool_seq, state)),
        )

    def restore(self, snapshot: Snapshot) -> bool:
        """Go to a snapshot's state if it is one of this spec and, unless it is a base, of this build."""
        if snapshot.spec_digest != spec_digest(self.spec):
            return False
        if snapshot.build != self.epoch.build and not snapshot.is_base:
            return False
        try:
            pool_seq, state = msgspec.msgpack.decode(snapshot.state, type=tuple[int, _State])
            self.policy.loads(state.policy)
        except (StateInvalid, msgspec.DecodeError) as error:
            log.warning("snapshot_invalid", lane=self.name, seq=snapshot.seq, detail=str(error))
            return False
        self.rewards = RunningMean.loads(state.rewards)
        self.refused = state.refused
        self.seq, self.pool_seq, self.chain = snapshot.seq, pool_seq, snapshot.chain
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
    decision = decode_decision(row.body)
    slot = decision.slots[row.slot]
    actions = reader.actions(decision.actions)
    if len(slot.eligible) != len(actions):
        actions = tuple(actions[i] for i in slot.eligible)
    return Outcome(
        context=reader.context(decision.context),
        actions=actions,
        chosen=slot.eligible.index(slot.chosen),
        propensity=slot.propensity,
        reward=row.reward,
    )
