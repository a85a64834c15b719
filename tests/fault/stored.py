"""What is read from a store's files: its logs, their chains and the decisions."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import orjson

from banditd.decision import Decision, Slot, decode_decision
from banditd.journal.protocol import Journal, OutcomeRow
from banditd.journal.schema import CHAIN_START, chain_digest, outcome_digest
from banditd.segments.families import POOL
from tests.fault.ledger import Entry
from tests.fault.server import SEGMENTS

__all__ = ["broken_links", "lost_decisions", "new_decisions", "open_windows_and_ends", "read_log", "read_pool_log"]


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
        rankings = entry.answer.get("slots", [entry.answer])
        if len(rankings) != len(stored.slots):
            yield f"{entry.event_id}: stored {len(stored.slots)} slots, answered {len(rankings)}"
        for slot, ranking in zip(stored.slots, rankings, strict=False):
            if not _is_answer(slot, ids, ranking):
                yield f"{entry.event_id}: stored {slot}, answered {ranking}"


def _is_answer(slot: Slot, ids: Sequence[str], ranking: dict[str, Any]) -> bool:
    played = {ids[i]: p for i, p in zip(slot.eligible, slot.probabilities, strict=True)}
    answered = {action["id"]: action["probability"] for action in ranking["ranking"]}
    return ids[slot.chosen] == ranking["chosen"] and answered == dict.fromkeys(ids, 0.0) | played


def new_decisions(store: Path, *, after: int) -> list[tuple[int, Decision]]:
    """Return the decisions that were stored after the one with the number `after`, with their numbers."""
    connection = apsw.Connection(str(store))
    found = list(connection.execute("SELECT id, body FROM decisions WHERE id > ? ORDER BY id", (after,)))
    connection.close()
    return [(number, decode_decision(body)) for number, body in found]


async def read_log(journal: Journal, lane: str, *, after: int) -> list[OutcomeRow]:
    """Return a lane's log behind `after`."""
    rows: list[OutcomeRow] = []
    while page := await journal.outcomes(lane, after=rows[-1].seq if rows else after, limit=1_000):
        rows += page
    return rows


async def read_pool_log(journal: Journal, *, after: int) -> list[OutcomeRow]:
    """Return the log of all lanes that share, behind the number `after` in their pool."""
    rows: list[OutcomeRow] = []
    while page := await journal.pool_outcomes(POOL, after=rows[-1].pool_seq if rows else after, limit=1_000):
        rows += page
    return rows
