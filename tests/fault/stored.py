"""What is read from a store's files: its log, folded here from nothing, its chain and its decisions."""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import orjson

from banditd.decision import decode_decision
from banditd.journal.protocol import Journal, OutcomeRow
from banditd.journal.schema import CHAIN_START, chain_digest, outcome_digest
from policies import Action, Context, InvalidInput, Outcome, Policy, parse_spec
from tests.fault.ledger import Entry
from tests.fault.server import SEGMENTS

__all__ = ["Fold", "broken_links", "lost_decisions", "open_windows_and_ends", "read_log"]


@dataclass(slots=True)
class Fold:
    """A lane's policy, made here from the log alone."""

    policy: Policy
    seq: int = 0
    digests: dict[int, str] = field(default_factory=dict)

    @classmethod
    def fresh(cls, segment: str) -> "Fold":
        """Return the fold of nothing."""
        return cls(parse_spec(SEGMENTS[segment].policy).build())

    def take(self, rows: Iterable[OutcomeRow], *, stops: set[int]) -> None:
        """Fold outcomes in, and keep the digest of the state at each of `stops`."""
        for row in rows:
            self._note(stops)
            with contextlib.suppress(InvalidInput):  # what a policy refuses changes nothing, here as there
                self.policy.learn(_lesson(row))
            self.seq = row.seq
        self._note(stops)

    def _note(self, stops: set[int]) -> None:
        if self.seq in stops:
            self.digests[self.seq] = hashlib.blake2b(self.policy.dumps(), digest_size=16).hexdigest()


def _lesson(row: OutcomeRow) -> Outcome:
    decision = decode_decision(row.body)
    slot = decision.slots[row.slot]
    actions = [Action.of(action["id"], action["features"]) for action in orjson.loads(bytes(decision.actions))]
    return Outcome(
        context=Context.of(orjson.loads(bytes(decision.context))),
        actions=[actions[i] for i in slot.eligible],
        chosen=slot.eligible.index(slot.chosen),
        propensity=slot.propensity,
        reward=row.reward,
    )


def open_windows_and_ends(store: Path) -> tuple[int, dict[str, int]]:
    """Return how many reward windows are open, and the seq of each segment's last outcome."""
    connection = apsw.Connection(str(store))
    n_open = sum(1 for _ in connection.execute("SELECT 1 FROM windows"))
    last = "SELECT l.name, max(o.seq) FROM lanes l JOIN outcomes o ON o.lane_id = l.id GROUP BY l.id"
    ends = {name.partition("/")[0]: seq for name, seq in connection.execute(last)}
    connection.close()
    return n_open, {segment: ends.get(segment, 0) for segment in SEGMENTS}


def broken_links(store: Path, lane: str, *, after: int) -> Iterator[str]:
    """Compute the digest and the chain of every stored outcome again; yield what does not agree."""
    query = (
        "SELECT o.seq, o.slot, o.reward, o.rewarded, o.salt, o.digest, o.chain, d.body FROM outcomes o"
        " JOIN lanes l ON l.id = o.lane_id JOIN decisions d ON d.id = o.decision_id"
        " WHERE l.name = ? AND o.seq >= ? ORDER BY o.seq"
    )
    connection = apsw.Connection(str(store))
    previous = CHAIN_START if after == 0 else None
    for seq, slot, reward, rewarded, salt, digest, chain, body in connection.execute(query, (lane, after)):
        event_id = orjson.loads(body)["event_id"]
        content = outcome_digest(salt, event_id=event_id, slot=slot, reward=reward, rewarded=bool(rewarded), body=body)
        if content != digest:
            yield f"{lane}: outcome {seq} is not what its digest says"
        if previous is not None and chain_digest(previous, digest) != chain:
            yield f"{lane}: outcome {seq} is not chained to the one before"
        previous = chain
    connection.close()


def lost_decisions(store: Path, entries: Iterable[Entry]) -> Iterator[str]:
    """Compare the stored decision of every acknowledged one with its answer; yield what differs."""
    connection = apsw.Connection(str(store))
    query = "SELECT c.event_id, d.body FROM claims c JOIN decisions d ON d.id = c.decision_id"
    bodies = dict(connection.execute(query))
    connection.close()
    for entry in entries:
        if entry.answer is None:
            continue
        if entry.event_id not in bodies:
            yield f"{entry.event_id}: was acknowledged and is not in the store"
            continue
        stored = decode_decision(bodies[entry.event_id])
        ids = [action["id"] for action in orjson.loads(bytes(stored.actions))]
        slot = stored.slots[0]
        played = {ids[i]: p for i, p in zip(slot.eligible, slot.probabilities, strict=True)}
        answered = {action["id"]: action["probability"] for action in entry.answer["ranking"]}
        if ids[slot.chosen] != entry.answer["chosen"] or answered != dict.fromkeys(ids, 0.0) | played:
            yield f"{entry.event_id}: stored {slot}, answered {entry.answer}"


async def read_log(journal: Journal, lane: str, *, after: int) -> list[OutcomeRow]:
    """Return a lane's log behind `after`."""
    rows: list[OutcomeRow] = []
    while page := await journal.outcomes(lane, after=rows[-1].seq if rows else after, limit=1_000):
        rows += page
    return rows
