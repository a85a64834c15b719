"""A store's files against the ledger and against the states that the server told, after each kill."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from banditd.clock import ManualClock
from banditd.decision import Decision
from banditd.journal.local import LocalJournal
from banditd.journal.protocol import Journal, OutcomeRow
from tests.fault.folds import Ask, Fold, LaneFold, PoolFold, asks_of, wrong_distributions
from tests.fault.ledger import Ledger
from tests.fault.server import SEGMENTS
from tests.fault.stored import broken_links, new_decisions, read_log, read_pool_log

__all__ = ["Audit"]

LANES: Final = tuple(f"{segment}/main" for segment in SEGMENTS)


class Audit:
    """Follows the logs of one store, with policies that learn from them as the server's should.

    Attributes
    ----------
    wrong
        What was found since somebody cleared it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._folds = _fresh_folds()
        self._states: dict[str, dict[int, set[str]]] = {segment: {} for segment in SEGMENTS}
        self._last_states: dict[str, tuple[int, str]] = {}
        self._last_decision = 0
        self._counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def note(self, segment: str, seq: int, digest: str) -> None:
        """Write down a state that the server told, to be compared at the next check; the last must be that at the end.

        The same number may come with several states where a policy is shared: others teach it too.
        """
        self._states[segment].setdefault(seq, set()).add(digest)
        self._last_states[segment] = (seq, digest)

    def count(self) -> dict[str, int]:
        """Return how much was compared."""
        pooled = [fold for fold in self._folds if isinstance(fold, PoolFold)]
        return {
            **self._counts,
            "pooled_lanes": sum(len(fold.segments) for fold in pooled),
            "own_policies": sum(fold.n_own for fold in pooled),
        }

    async def check(self, copy: Path, *, full: bool) -> None:
        """Hold a copy of the store to the ledger, and to every state that was noted since the last time.

        Parameters
        ----------
        full
            Read and fold all of it anew, and not only what was added.
        """
        journal = LocalJournal.open(copy, clock=ManualClock(), durability="process")
        logs = await self._new_in_logs(journal)
        for lane, rows in logs.items():
            self.wrong.extend(self._ledger.take(lane, rows))
            self.wrong.extend(broken_links(copy, lane, after=0 if full else len(self._ledger.chains[lane]) - len(rows)))
        shared = await read_pool_log(journal, after=self._folds[0].place)
        self.wrong.extend(_different_logs(shared, logs))
        self._fold([shared, *logs.values()], new_decisions(copy, after=self._last_decision))
        if full:
            await self._check_whole(journal)
        await journal.close()
        self.wrong.extend(self._ledger.settle())
        self._counts["full_checks"] += full

    async def _new_in_logs(self, journal: Journal) -> dict[str, list[OutcomeRow]]:
        """Return what each lane's log holds beyond what was seen, whose last outcome must be what it was."""
        logs = {}
        for lane in LANES:
            seen = self._ledger.chains.setdefault(lane, [])
            rows = await read_log(journal, lane, after=max(0, len(seen) - 1))
            if seen and (not rows or rows[0].chain != seen[-1]):
                self.wrong.append(f"{lane}: outcome {len(seen)} is not what it was")
            logs[lane] = rows[1:] if seen else rows
        return logs

    def _fold(self, logs: Sequence[list[OutcomeRow]], decisions: list[tuple[int, Decision]]) -> None:
        """Take in what is new, and hold every state that was noted and every new decision to it."""
        asked = [(decision, asks_of(decision)) for _, decision in decisions]
        by_segment: defaultdict[str, list[Ask]] = defaultdict(list)
        for ask in (ask for _, asks in asked for ask in asks):
            by_segment[ask.segment].append(ask)
        for fold in self._folds:
            rows = logs[0] if isinstance(fold, PoolFold) else logs[1 + list(SEGMENTS).index(fold.segments[0])]
            fold.take(rows, stops=self._states, asks=[ask for name in fold.segments for ask in by_segment[name]])
            self._compare(fold)
        for decision, asks in asked:
            self._counts["distributions_compared"] += len(decision.slots)
            self.wrong.extend(wrong_distributions(decision, asks))
        self._last_decision = decisions[-1][0] if decisions else self._last_decision

    def _compare(self, fold: Fold) -> None:
        for segment in fold.segments:
            for seq, digests in self._states[segment].items():
                self._counts["states_compared"] += len(digests)
                if not digests <= fold.digests[segment, seq]:
                    self.wrong.append(f"{segment}: the server's state at {seq} is not the fold of the log")
            if self._last_states[segment] != (fold.seq(segment), fold.digest(segment)):
                self.wrong.append(f"{segment}: the server's last state is not that at the end of the log")
            self._states[segment].clear()
        fold.digests.clear()
        self.wrong.extend(fold.wrong)
        fold.wrong.clear()

    async def _check_whole(self, journal: Journal) -> None:
        """Read the logs from their first outcomes and fold them anew: the same as was followed so far."""
        for lane in LANES:
            if [row.chain for row in await read_log(journal, lane, after=0)] != self._ledger.chains[lane]:
                self.wrong.append(f"{lane}: the log is another than it was")
        folds = _fresh_folds()
        for fold, followed in zip(folds, self._folds, strict=True):
            is_pool = isinstance(fold, PoolFold)
            rows = await (read_pool_log(journal, after=0) if is_pool else read_log(journal, _lane_of(fold), after=0))
            fold.take(rows, stops=self._states, asks=[])
            for segment in fold.segments:
                if fold.state(segment) != followed.state(segment):
                    self.wrong.append(f"{segment}: two folds of one log differ")
        self._folds = folds


def _fresh_folds() -> list[Fold]:
    """Return the folds of nothing: of what is shared, and of each lane alone."""
    alone = [name for name, segment in SEGMENTS.items() if segment.pooling == "own"]
    return [PoolFold(), *(LaneFold(name) for name in alone)]


def _lane_of(fold: Fold) -> str:
    """Return the lane of one alone."""
    return f"{fold.segments[0]}/main"


def _different_logs(shared: Sequence[OutcomeRow], logs: Mapping[str, Sequence[OutcomeRow]]) -> Iterator[str]:
    """Compare what is new in the log of those that share with what is new in their own; yield what differs."""
    for segment, settings in SEGMENTS.items():
        lane = f"{segment}/main"
        if [row for row in shared if row.lane == lane] != (list(logs[lane]) if settings.pooling == "auto" else []):
            yield f"{lane}: has another log in its pool than by itself"
