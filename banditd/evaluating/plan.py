"""What has to be asked of which fold, and what folds have answered: in a file of its own, not in memory.

Decisions stand in the store in the order they were made, and a fold meets the states that they name in the order of
outcomes. So the questions are sorted by fold and place first. A decision that several policies had a part in waits here
until all have answered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Literal

import apsw
import numpy as np

from policies.protocol import FloatArray

__all__ = ["Answered", "Part", "Plan", "Question"]

Part = Literal["alone", "own", "shared"]

_CACHE_KIB: Final = 32_768
_SCHEMA: Final = """
CREATE TABLE asks (
    fold INTEGER, place INTEGER, decision INTEGER, member INTEGER, part TEXT,
    PRIMARY KEY (fold, place, decision, member)
) WITHOUT ROWID;
CREATE TABLE answers (
    decision INTEGER, member INTEGER, part TEXT, erased INTEGER, played BLOB,
    PRIMARY KEY (decision, member, part)
) WITHOUT ROWID;
CREATE TABLE starts (fold INTEGER PRIMARY KEY, state BLOB);
CREATE TABLE gaps (decision INTEGER PRIMARY KEY, reason TEXT);
"""


@dataclass(frozen=True, slots=True)
class Question:
    """What a policy's part in a decision was: of the decision's `member`-th state, at a place of the fold's log."""

    place: int
    decision: int
    member: int
    part: Part


@dataclass(frozen=True, slots=True)
class Answered:
    """All answers about one decision.

    Attributes
    ----------
    played
        By member and part, the vectors of all slots one after another.
    erased
        Whether something was erased before one of the places.
    """

    decision: int
    played: dict[tuple[int, Part], FloatArray]
    erased: bool


class Plan:
    """A private file that is gone when it is closed."""

    def __init__(self) -> None:
        self._db = apsw.Connection("")
        self._db.execute(f"PRAGMA journal_mode = OFF; PRAGMA cache_size = -{_CACHE_KIB}; {_SCHEMA}").fetchall()
        self._db.execute("BEGIN")  # one for all: nothing here outlives the process

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def ask(self, fold: int, question: Question) -> None:
        """Note what a fold is to be asked."""
        self._db.execute(
            "INSERT INTO asks VALUES (?, ?, ?, ?, ?)",
            (fold, question.place, question.decision, question.member, question.part),
        )

    def questions(self, fold: int) -> Iterator[Question]:
        """Yield what a fold is asked, in the order of its log."""
        found = self._db.execute(
            "SELECT place, decision, member, part FROM asks WHERE fold = ? ORDER BY place, decision, member", (fold,)
        )
        for place, decision, member, part in found:
            yield Question(place, decision, member, part)

    def answer(self, question: Question, played: Sequence[FloatArray], *, erased: bool) -> None:
        """Keep a part of a decision until the others are there."""
        told = np.concatenate(played).tobytes()
        row = (question.decision, question.member, question.part, erased, told)
        self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", row)

    def answers(self) -> Iterator[Answered]:
        """Yield what was answered, decision by decision."""
        found = self._db.execute("SELECT * FROM answers ORDER BY decision, member, part")
        for decision, rows in groupby(found, key=lambda row: row[0]):
            played: dict[tuple[int, Part], FloatArray] = {}
            erased = False
            for _, member, part, was_erased, told in rows:
                played[member, part] = np.frombuffer(told)
                erased = erased or bool(was_erased)
            yield Answered(int(decision), played, erased)

    def keep_start(self, fold: int, state: bytes) -> None:
        """Keep the state with which a fold begins."""
        self._db.execute("INSERT OR REPLACE INTO starts VALUES (?, ?)", (fold, state))

    def start(self, fold: int) -> bytes:
        """Return the state that was kept for a fold."""
        found: list[Any] = self._db.execute("SELECT state FROM starts WHERE fold = ?", (fold,)).fetchall()
        return bytes(found[0][0])

    def give_up(self, decision: int, reason: str) -> None:
        """Note that a decision cannot be compared; the first reason counts."""
        self._db.execute("INSERT OR IGNORE INTO gaps VALUES (?, ?)", (decision, reason))

    def is_given_up(self, decision: int) -> bool:
        """Tell whether a decision cannot be compared."""
        return bool(self._db.execute("SELECT 1 FROM gaps WHERE decision = ?", (decision,)).fetchall())

    def given_up(self) -> dict[str, int]:
        """Return how many decisions cannot be compared, by reason."""
        found: list[Any] = self._db.execute("SELECT reason, count(*) FROM gaps GROUP BY reason").fetchall()
        return dict(found)
