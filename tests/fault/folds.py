"""All policies of the server, made here from the logs alone, and what each stored decision says that they played.

Nothing of `banditd.segments` is used: what a pool is, when a lane gets a policy of its own and how the two are mixed is
written down here a second time, as short as it can be.
"""

import contextlib
import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import orjson

from banditd.decision import Decision, Member, decode_decision
from banditd.journal.protocol import OutcomeRow
from policies import Action, Context, InvalidInput, Outcome, Policy, Slot, parse_spec
from policies.contest import START, Contest
from tests.fault.server import SEGMENTS

__all__ = ["Ask", "Fold", "LaneFold", "PoolFold", "asks_of", "wrong_distributions"]

_DIGEST_BYTES: Final = 16
_LEAST_PROPENSITY: Final = 1e-12

Stops: TypeAlias = Mapping[str, Mapping[int, object]]


@dataclass(slots=True)
class Ask:
    """One lane's part in a decision: the state that it was in, and what a fold up to there plays, slot by slot."""

    segment: str
    state: Decision | Member
    contexts: list[Context]
    options: list[list[Action]]
    played: list[list[float]] | None = None


class Fold(ABC):
    """Policies at one place in a log.

    Attributes
    ----------
    segments
        Those whose lanes' outcomes are in the log.
    place
        Number in the log of the last outcome taken in.
    digests
        Of states, by segment and the number of its lane's last outcome.
    """

    def __init__(self, segments: Sequence[str]) -> None:
        self.segments = segments
        self.place = 0
        self.digests: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        self.wrong: list[str] = []

    def take(self, rows: Iterable[OutcomeRow], *, stops: Stops, asks: Iterable[Ask]) -> None:
        """Take outcomes in.

        Parameters
        ----------
        stops
            By segment, the numbers of outcomes at which the digests of its states are kept: one, or with a
            shared policy as many as there are until its lane's next outcome.
        asks
            Answered at the places that they name.
        """
        waiting: defaultdict[int, list[Ask]] = defaultdict(list)
        for ask in asks:
            waiting[self._place_of(ask)].append(ask)
        self._look(stops, waiting[self.place])
        for row in rows:
            self._learn(row)
            self._look(stops, waiting[self.place])

    def _look(self, stops: Stops, asks: Iterable[Ask]) -> None:
        for segment in self.segments:
            seq = self.seq(segment)
            if seq in stops[segment]:
                self.digests[segment, seq].add(self.digest(segment))
        for ask in asks:
            self._answer(ask)

    def digest(self, segment: str) -> str:
        """Return the digest of a segment's state, as the server does."""
        return hashlib.blake2b(self.state(segment), digest_size=_DIGEST_BYTES).hexdigest()

    @abstractmethod
    def seq(self, segment: str) -> int:
        """Return the number of the last outcome of a segment's lane."""

    @abstractmethod
    def state(self, segment: str) -> bytes:
        """Return all that has a part in what a segment plays."""

    @abstractmethod
    def _place_of(self, ask: Ask) -> int: ...

    @abstractmethod
    def _learn(self, row: OutcomeRow) -> None: ...

    @abstractmethod
    def _answer(self, ask: Ask) -> None: ...


class LaneFold(Fold):
    """A policy of a lane alone."""

    def __init__(self, segment: str) -> None:
        super().__init__([segment])
        self._pool_seq = 0
        self._policy = parse_spec(SEGMENTS[segment].policy).build()

    def seq(self, segment: str) -> int:  # noqa: ARG002 - there is one
        """Return the number of the last outcome."""
        return self.place

    def state(self, segment: str) -> bytes:  # noqa: ARG002 - there is one
        """Return the policy's state."""
        return self._policy.dumps()

    def _place_of(self, ask: Ask) -> int:
        return ask.state.seq

    def _learn(self, row: OutcomeRow) -> None:
        with contextlib.suppress(InvalidInput):  # what a policy refuses changes nothing, here as there
            self._policy.learn(_lesson(row))
        self.place, self._pool_seq = row.seq, row.pool_seq

    def _answer(self, ask: Ask) -> None:
        state = ask.state
        if (state.pool_seq, state.own_from, state.own_share) != (self._pool_seq, msgspec.UNSET, msgspec.UNSET):
            self.wrong.append(f"{state}: names another state than that of {ask.segment} at {self.place}")
        ask.played = [
            self._policy.probabilities(context, options).tolist()
            for context, options in zip(ask.contexts, ask.options, strict=True)
        ]


@dataclass(slots=True)
class _Member:
    """A lane of a pool: how far it is, and its own policy with its contest, once it has one."""

    seq: int = 0
    n: int = 0
    own_from: int | msgspec.UnsetType = msgspec.UNSET
    own: Policy | None = None
    contest: Contest = field(default_factory=Contest)


class PoolFold(Fold):
    """The policies of all lanes that share: one for each spec, and the lanes' own."""

    def __init__(self) -> None:
        super().__init__([name for name, segment in SEGMENTS.items() if segment.pooling == "auto"])
        self._members = {name: _Member() for name in self.segments}
        shared = {_family(name): parse_spec(SEGMENTS[name].policy).build() for name in self.segments}
        self._shared = {name: shared[_family(name)] for name in self.segments}

    @property
    def n_own(self) -> int:
        """How many lanes have a policy of their own."""
        return sum(member.own is not None for member in self._members.values())

    def seq(self, segment: str) -> int:
        """Return the number of the last outcome of a segment's lane."""
        return self._members[segment].seq

    def state(self, segment: str) -> bytes:
        """Return the shared state, and with it that of the segment's own policy and its contest if it has one."""
        member, shared = self._members[segment], self._shared[segment].dumps()
        if member.own is None:
            return shared
        return msgspec.msgpack.encode((shared, member.own.dumps(), member.contest.dumps()))

    def _place_of(self, ask: Ask) -> int:
        return ask.state.pool_seq

    def _learn(self, row: OutcomeRow) -> None:
        if row.pool_seq != self.place + 1:
            self.wrong.append(f"outcome {row.pool_seq} of the pool stands in place {self.place + 1}")
        segment = row.lane.partition("/")[0]
        member, shared = self._members[segment], self._shared[segment]
        plain = _lesson(row)
        outcome = dataclasses.replace(plain, context=plain.context.within(segment))
        if member.own is not None:
            own_p, shared_p = (
                float(policy.probabilities(outcome.context, outcome.actions)[outcome.chosen])
                for policy in (member.own, shared)
            )
            with contextlib.suppress(InvalidInput):
                member.own.learn(outcome)
                propensity = max(outcome.propensity, _LEAST_PROPENSITY)
                member.contest.add(own=own_p, shared=shared_p, propensity=propensity, reward=outcome.reward)
        with contextlib.suppress(InvalidInput):
            shared.learn(outcome)
        member.seq, self.place = row.seq, row.pool_seq
        member.n += 1
        if member.n == START:
            member.own = parse_spec(SEGMENTS[segment].policy).build()
            member.own.adopt(shared)
            member.own_from = row.pool_seq

    def _answer(self, ask: Ask) -> None:
        member, state = self._members[ask.segment], ask.state
        has_share = state.own_share is not msgspec.UNSET
        if (state.seq, state.own_from, has_share) != (member.seq, member.own_from, member.own is not None):
            self.wrong.append(f"{state}: names another state than that of {ask.segment} at {self.place} of the pool")
            return
        ask.played = []
        for context, options in zip(ask.contexts, ask.options, strict=True):
            seen = context.within(ask.segment)
            played = self._shared[ask.segment].probabilities(seen, options)
            if member.own is not None and isinstance(state.own_share, float):
                own = member.own.probabilities(seen, options)
                played = state.own_share * own + (1.0 - state.own_share) * played
            ask.played.append(played.tolist())


def asks_of(decision: Decision) -> list[Ask]:
    """Return the parts that lanes had in a decision, in their order."""
    contexts = _contexts(decision)
    actions = _actions(decision)
    options = [[actions[i] for i in slot.eligible] for slot in decision.slots]
    states = [decision] if decision.members is msgspec.UNSET else decision.members
    return [Ask(state.lane.partition("/")[0], state, contexts, options) for state in states]


def wrong_distributions(decision: Decision, asks: Sequence[Ask]) -> Iterator[str]:
    """Compare what a decision says was played with what the folds played; yield what is not the same, bit for bit."""
    weights = [ask.state.weight if isinstance(ask.state, Member) else 1.0 for ask in asks]
    shares = [weight / sum(weights) for weight in weights]
    for number, slot in enumerate(decision.slots):
        mixed = np.zeros(len(slot.eligible))
        for ask, share in zip(asks, shares, strict=True):
            if ask.played is None:
                yield f"{decision.event_id}: names a state of {ask.segment} that the log does not have"
                return
            mixed = mixed + share * np.array(ask.played[number])
        played: list[float] = mixed.tolist()
        if decision.members is not msgspec.UNSET:
            played = [min(probability, 1.0) for probability in played]
        if played != slot.probabilities:
            yield f"{decision.event_id}[{number}]: stored {slot.probabilities}, played {played}"


def _family(segment: str) -> bytes:
    return orjson.dumps(SEGMENTS[segment].policy, option=orjson.OPT_SORT_KEYS)


def _lesson(row: OutcomeRow) -> Outcome:
    decision = decode_decision(row.body)
    slot = decision.slots[row.slot]
    actions = _actions(decision)
    return Outcome(
        context=_contexts(decision)[row.slot],
        actions=[actions[i] for i in slot.eligible],
        chosen=slot.eligible.index(slot.chosen),
        propensity=min(slot.propensity, 1.0),
        reward=row.reward,
    )


def _contexts(decision: Decision) -> list[Context]:
    """Return what a policy sees, slot by slot."""
    context = Context.of(orjson.loads(bytes(decision.context)))
    if decision.asked_slots is msgspec.UNSET:
        return [context]
    asked: list[dict[str, Any]] = orjson.loads(bytes(decision.asked_slots))
    return [
        context.at_slot(Slot.of(slot["id"], position=place, features=slot.get("features", {})))
        for place, slot in enumerate(asked)
    ]


def _actions(decision: Decision) -> list[Action]:
    return [Action.of(action["id"], action["features"]) for action in orjson.loads(bytes(decision.actions))]
