"""The embedded store's tables, and how an outcome is chained to the one before.

======================  =================================================================================
table                   one row is
======================  =================================================================================
meta                    a fact of the whole store: format, the journal's clock in µs, the last decision counted
pools                   a unit of order; `seq`: of the last outcome that no lane of it has in its log any more
lanes                   a lane: its pool, where its kept log begins, its decisions up to the last one counted
epochs                  a stretch of a lane in one pool under one spec, reward rule and build
claims                  an event id and the decision that owns it; event ids are unique over the store
decisions               a decision as it was made; never changed
windows                 a decision whose reward window is open, in the order in which they close
activations             a deferred decision that was activated, and when on the journal's clock
lapses                  a deferred decision whose window closed before it was activated
rewards                 a reward as it came: counted, duplicate or late
outcomes                an outcome: numbered in its lane and its pool, at most one a (decision, slot); a
                        tombstone (`erased`) has neither decision nor salt any more; `pool_id` is NULL where the
                        lane was a pool of its own, so that only shared pools pay for an index
snapshots               a lane's state at one of its outcomes; `base` rows are data, the others a cache, and so is
                        a base that lies after the beginning of its lane's log: it is not in force yet
======================  =================================================================================

What can be read off other rows is not kept twice: a lane's last number and chain are those of its last
outcome, or of its base, and the clock is at least what any row says. A commit of decisions so touches three
pages and not six.

Clock values are µs of the journal's own clock; `at` columns are UTC seconds, for people.
"""

import hashlib
import struct
from typing import Final

__all__ = ["CHAIN_START", "FORMAT", "SCHEMA", "chain_digest", "outcome_digest"]

FORMAT: Final = 2
CHAIN_START: Final = bytes(32)

SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE pools (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, seq INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE lanes (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, pool_id INTEGER NOT NULL REFERENCES pools,
    base_seq INTEGER NOT NULL, base_chain BLOB NOT NULL, decisions INTEGER NOT NULL
) STRICT;
CREATE TABLE epochs (
    lane_id INTEGER NOT NULL REFERENCES lanes, epoch INTEGER NOT NULL, from_seq INTEGER NOT NULL,
    fold_from INTEGER NOT NULL, spec TEXT NOT NULL, rule TEXT NOT NULL, build TEXT NOT NULL,
    reason TEXT NOT NULL, at REAL NOT NULL, pool_id INTEGER NOT NULL, PRIMARY KEY (lane_id, epoch)
) WITHOUT ROWID, STRICT;
CREATE TABLE claims (event_id TEXT PRIMARY KEY, decision_id INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, lane_id INTEGER NOT NULL, epoch INTEGER NOT NULL,
    deferred INTEGER NOT NULL, n_slots INTEGER NOT NULL, due_us INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE windows (
    due_us INTEGER NOT NULL, decision_id INTEGER NOT NULL, PRIMARY KEY (due_us, decision_id)
) WITHOUT ROWID, STRICT;
CREATE TABLE activations (decision_id INTEGER PRIMARY KEY, clock_us INTEGER NOT NULL) STRICT;
CREATE TABLE lapses (
    lane_id INTEGER NOT NULL, decision_id INTEGER NOT NULL, PRIMARY KEY (lane_id, decision_id)
) WITHOUT ROWID, STRICT;
CREATE TABLE rewards (
    id INTEGER PRIMARY KEY, decision_id INTEGER NOT NULL, slot INTEGER, reward REAL NOT NULL, reward_id TEXT,
    status TEXT NOT NULL CHECK (status IN ('counted', 'duplicate', 'late')), clock_us INTEGER NOT NULL,
    at REAL NOT NULL
) STRICT;
CREATE INDEX rewards_of_decision ON rewards (decision_id);
CREATE TABLE outcomes (
    lane_id INTEGER NOT NULL, seq INTEGER NOT NULL, pool_seq INTEGER NOT NULL, decision_id INTEGER,
    slot INTEGER NOT NULL, reward REAL NOT NULL, rewarded INTEGER NOT NULL, clock_us INTEGER NOT NULL,
    salt BLOB, digest BLOB NOT NULL, chain BLOB NOT NULL, erased INTEGER NOT NULL DEFAULT 0, pool_id INTEGER,
    PRIMARY KEY (lane_id, seq)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX outcomes_of_pool ON outcomes (pool_id, pool_seq) WHERE pool_id IS NOT NULL;
CREATE UNIQUE INDEX outcome_of_slot ON outcomes (decision_id, slot);
CREATE TABLE snapshots (
    lane_id INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, base INTEGER NOT NULL,
    chain BLOB NOT NULL, build TEXT NOT NULL, spec_digest BLOB NOT NULL, state BLOB NOT NULL,
    checksum BLOB NOT NULL, at REAL NOT NULL, PRIMARY KEY (lane_id, base, epoch, seq)
) STRICT;
"""

_NUMBERS = struct.Struct(">qd?")


def outcome_digest(salt: bytes, *, event_id: str, slot: int, reward: float, rewarded: bool, body: bytes) -> bytes:
    """Return the 32 bytes that stand for an outcome's content, salted so that they give nothing away alone."""
    content = hashlib.blake2b(salt, digest_size=32)
    content.update(_NUMBERS.pack(slot, reward, rewarded))
    content.update(event_id.encode())
    content.update(b"\x00")
    content.update(body)
    return content.digest()


def chain_digest(previous: bytes, digest: bytes) -> bytes:
    """Return the chain value of an outcome: BLAKE2b(previous chain ‖ its digest)."""
    return hashlib.blake2b(previous + digest, digest_size=32).digest()
