"""Outcomes against their digests, the chain of their lane, and the rewards they were made of."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from banditd.evaluating.errors import LogGap
from banditd.evaluating.findings import Findings, Kind, Problem
from banditd.evaluating.store import ReadStore
from banditd.journal.join import reward_of
from banditd.journal.schema import CHAIN_START, chain_digest, outcome_digest

__all__ = ["check_chain"]

_PAGE: Final = 500
_OUTCOMES: Final = (
    "SELECT o.seq, o.slot, o.reward, o.rewarded, o.salt, o.digest, o.chain, o.erased, o.decision_id, d.event_id,"
    " d.epoch, d.body FROM outcomes o LEFT JOIN decisions d ON d.id = o.decision_id"
    " WHERE o.lane_id = ? AND o.seq > ? ORDER BY o.seq LIMIT ?"
)
_COUNTED: Final = "SELECT slot, reward, reward_id FROM rewards WHERE decision_id = ? AND status = 'counted' ORDER BY id"
_BASE: Final = "SELECT base_seq, base_chain FROM lanes WHERE id = ?"


def check_chain(store: ReadStore, lane: str, findings: Findings, *, when_checked: Callable[[], None]) -> None:
    """Compute the digest and the chain value of every outcome of a lane again, and its reward."""
    lane_id = store.lanes[lane].id
    ((after, chain),) = store.rows(_BASE, lane_id)
    chain = bytes(chain) if after else CHAIN_START
    begins = after
    page: list[Any] | None = None
    while page != []:
        with store.connection:  # one moment: a trim must not take the rewards of an outcome that was read before it
            page = store.rows(_OUTCOMES, lane_id, after, _PAGE)
            for row in page:
                seq, digest, stored_chain = row[0], row[5], row[6]
                if seq != after + 1:
                    if store.begins(lane) != begins:
                        detail = f"the server dropped the beginning of the log of {lane}: run it again"
                        raise LogGap("log_dropped", detail)
                    _report(findings, row, lane, "outcome", f"outcome {after + 1} of the lane is missing")
                elif chain_digest(chain, digest) != stored_chain:
                    _report(findings, row, lane, "outcome", f"outcome {seq} is not chained to the one before")
                _check_one(store, row, lane, findings)
                after, chain = seq, stored_chain
                when_checked()


def _check_one(store: ReadStore, row: Sequence[Any], lane: str, findings: Findings) -> None:
    seq, slot, reward, rewarded, salt, digest, _, erased, decision, event_id, epoch, body = row
    if erased:
        findings.tombstones += 1
        if decision is not None or salt is not None:
            _report(findings, row, lane, "outcome", f"outcome {seq} is called erased, and is there")
        return
    findings.outcomes += 1
    if body is None:
        _report(findings, row, lane, "outcome", f"the decision of outcome {seq} is missing")
        return
    told = outcome_digest(salt, event_id=event_id, slot=slot, reward=reward, rewarded=bool(rewarded), body=bytes(body))
    if told != digest:
        _report(findings, row, lane, "outcome", f"outcome {seq} is not what its digest says")
    made = reward_of(store.rows(_COUNTED, decision), slot, store.rule(store.lanes[lane].id, epoch))
    if made != (reward, bool(rewarded)):
        _report(findings, row, lane, "reward", f"outcome {seq} has the reward {reward!r}, and {made[0]!r} came")


def _report(findings: Findings, row: Sequence[Any], lane: str, kind: Kind, detail: str) -> None:
    seq, slot, _, _, _, _, _, _, decision, event_id, epoch, _ = row
    # An outcome without a decision comes after all that have one: nothing says when it was decided.
    number = 1 << 62 if decision is None else decision
    findings.report(Problem(number, kind, event_id or "", lane, epoch or 0, seq, detail, slot))
