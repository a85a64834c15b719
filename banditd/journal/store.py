"""The embedded store: batches of commands in, answers and new outcomes out, one commit a batch.

Synchronous and owned by one thread; `LocalJournal` calls it directly, the journal process puts a
socket in front of it.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from banditd.clock import Clock, SystemClock
from banditd.journal.commands import (
    Activate,
    Answer,
    Command,
    DropLapses,
    Failed,
    GetDecision,
    GetLane,
    GetLanes,
    GetLastBefore,
    GetOutcomes,
    GetPool,
    GetPoolOutcomes,
    GetSnapshots,
    MoveBases,
    OpenLanes,
    SaveSnapshot,
    Trim,
)
from banditd.journal.database import Checkpointer, Database, Durability
from banditd.journal.join import Joiner
from banditd.journal.ledger import Ledger, Moment, OpenLaneState, unknown_lane
from banditd.journal.protocol import NewDecision, NewReward, OutcomeRow
from banditd.journal.states import States

__all__ = ["Applied", "Store"]

_READS: Final = (
    GetLane | GetLanes | GetOutcomes | GetPool | GetPoolOutcomes | GetSnapshots | GetLastBefore | GetDecision
)
_US: Final = 1_000_000
_HEARTBEAT_US: Final = 1_000_000  # at most so much of the journal's clock is lost in a crash


@dataclass(frozen=True, slots=True)
class Applied:
    """What one committed batch did: an answer a command, and the outcomes it made, in commit order.

    `is_full`: there was no space, and nothing was written.
    """

    answers: list[Answer]
    outcomes: list[OutcomeRow]
    is_full: bool = False


class Store:
    """One SQLite file and the journal's clock.

    Parameters
    ----------
    path
        The file; made with its directory if it is not there.
    clock
        Its monotonic side drives the journal's clock; its wall side only stamps rows.
    durability
        ``"sync"``: a commit survives a power cut. ``"process"``: only the end of the process.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None, durability: Durability = "sync") -> None:
        self._clock = clock or SystemClock()
        self._database = Database(path, durability=durability)
        self._db = self._database.connection
        self._checkpointer = Checkpointer(self._database, durability=durability)
        self._ledger = Ledger(self._db)
        self._joiner = Joiner(self._db, self._ledger)
        states = States(self._db, self._ledger)
        self._carry_out: dict[type[Any], Callable[[Any, Moment], Answer]] = {
            NewDecision: self._joiner.record,
            NewReward: self._joiner.reward,
            Activate: self._joiner.activate,
            OpenLanes: self._ledger.open_lanes,
            GetPool: self._ledger.pool_info,
            GetLanes: self._ledger.infos,
            GetLane: self._in_lane(lambda lane, _command, _now: self._ledger.info(lane)),
            GetOutcomes: self._in_lane(states.outcomes),
            GetPoolOutcomes: states.pool_outcomes,
            GetSnapshots: self._in_lane(states.snapshots),
            SaveSnapshot: self._in_lane(states.save),
            GetDecision: self._joiner.find,
            Trim: self._in_lane(states.trim),
            MoveBases: states.move_bases,
            DropLapses: self._in_lane(states.drop_lapses),
            GetLastBefore: self._in_lane(states.last_before),
        }
        self._clock_base_us = self._clock_written_us = self._ledger.clock_us()
        self._try_again_us = 0
        self._opened_at = self._clock.monotonic()

    @property
    def next_due_us(self) -> int | None:
        """When the next window closes, on the journal's clock; None if none is open."""
        return self._joiner.next_due_us

    def now_us(self) -> int:
        """Return the journal's clock."""
        return self._clock_base_us + int((self._clock.monotonic() - self._opened_at) * _US)

    def is_due(self) -> bool:
        """Return whether a call of `apply` without commands would have work to do."""
        now_us = self.now_us()
        due = self.next_due_us
        if due is None or now_us < self._try_again_us:
            return False
        return now_us >= due or now_us - self._clock_written_us >= _HEARTBEAT_US

    def apply(self, commands: Sequence[Command], *, closing: bool = True) -> Applied:
        """Close what is due, carry the commands out in order, and commit all of it once.

        Parameters
        ----------
        closing
            False: close no windows yet, because nobody takes their outcomes in. No answer depends on it.

        Raises
        ------
        apsw.IOError
            A write or a sync failed. What is on the disk is unknown: the caller must end the process.
        """
        now = Moment(self.now_us(), self._clock.wall())
        self._ledger.made = []
        try:
            self._db.execute("BEGIN")
            closed = closing and self._joiner.close_windows(now)
            answers = [self._carry_out[type(command)](command, now) for command in commands]
            counts = closed or now.clock_us - self._clock_written_us >= _HEARTBEAT_US
            if counts:
                self._ledger.write_counts(now.clock_us)
            self._db.execute("COMMIT")
        except apsw.FullError:
            self._roll_back()
            self._try_again_us = now.clock_us + _HEARTBEAT_US
            return Applied([self._without_writing(command, now) for command in commands], [], is_full=True)
        except apsw.IOError:
            raise  # nothing is rolled back: after a failed sync nobody knows what the disk holds
        except BaseException:
            self._roll_back()
            raise
        if counts:
            self._clock_written_us = now.clock_us
        self._checkpointer.after_commit()
        return Applied(answers, self._ledger.made)

    def close(self) -> None:
        """Write the clock, and let go of the file."""
        with contextlib.suppress(apsw.FullError), self._db:
            self._ledger.write_counts(self.now_us())
        self._checkpointer.close()
        self._database.close()

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._ledger.reload()
        self._joiner.reload()

    def _without_writing(self, command: Command, now: Moment) -> Answer:
        """Answer a command that only reads, and refuse any other."""
        if isinstance(command, _READS):
            return self._carry_out[type(command)](command, now)
        return Failed("store_full", "the disk is full; nothing was written")

    def _in_lane(self, work: Callable[[OpenLaneState, Any, Moment], Answer]) -> Callable[[Any, Moment], Answer]:
        """Return `work` as a handler of commands that name a lane, which somebody must have opened."""

        def carry_out(command: Any, now: Moment) -> Answer:
            lane = self._ledger.lanes.get(command.lane)
            return unknown_lane(command.lane) if lane is None else work(lane, command, now)

        return carry_out
