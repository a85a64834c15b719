"""A walk along a log that stops at each place that is asked about."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from banditd.decision import Decision, decode_decision
from banditd.evaluating.plan import Question
from banditd.evaluating.store import ReadStore
from banditd.journal.protocol import OutcomeRow
from banditd.segments.lane import Gap
from policies.errors import InvalidInput
from policies.protocol import FloatArray

__all__ = ["Answer", "StateMissing", "Walk"]

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, ValueError, LookupError, InvalidInput, Gap)


class StateMissing(Exception):
    """A decision names a state that its log does not have; says in what."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy played, slot by slot; or why that is not known.

    Attributes
    ----------
    erased
        Whether an outcome had been erased before this place of the log.
    wrong
        In what the state that the decision names is not the log's.
    broken
        Why the decision is none that a policy could have made.
    reason
        A word of `findings.REASONS`.
    """

    question: Question
    decision: Decision | None
    played: Sequence[FloatArray] = ()
    erased: bool = False
    wrong: str = ""
    broken: str = ""
    reason: str = ""


@dataclass(slots=True)
class Walk:
    """Goes along a log and stops at each place that is asked about."""

    store: ReadStore
    questions: Iterator[Question]
    when_folded: Callable[[], None]
    erased: bool = False

    def along(
        self,
        rows: Iterator[OutcomeRow],
        place_of: Callable[[OutcomeRow], int],
        *,
        start: int,
        take: Callable[[OutcomeRow], object],
        play: Callable[[Decision, Question], Sequence[FloatArray]],
    ) -> Iterator[Answer]:
        """Answer all questions: those about a place once everything up to it, and nothing beyond, was taken in."""
        question = next(self.questions, None)
        while question is not None and question.place < start:
            yield Answer(question, None, reason="before_base")
            question = next(self.questions, None)
        row = next(rows, None)
        while question is not None:
            while row is not None and place_of(row) <= question.place:
                try:
                    take(row)
                except _UNREADABLE:
                    yield from self._give_up(question)
                    return
                self.when_folded()
                self.erased = self.erased or row.erased
                row = next(rows, None)
            yield self._answer(question, play)
            question = next(self.questions, None)

    def _answer(self, question: Question, play: Callable[[Decision, Question], Sequence[FloatArray]]) -> Answer:
        for _, body in self.store.bodies([question.decision]):
            decision = decode_decision(body)
            try:
                played = play(decision, question)
            except StateMissing as missing:
                return Answer(question, decision, erased=self.erased, wrong=str(missing))
            except _UNREADABLE as error:
                return Answer(question, decision, broken=str(error))
            return Answer(question, decision, played, self.erased)
        return Answer(question, None, reason="dropped_meanwhile")

    def _give_up(self, question: Question) -> Iterator[Answer]:
        yield Answer(question, None, reason="log_damaged")
        for later in self.questions:
            yield Answer(later, None, reason="log_damaged")
