"""A store held to what it says: every vector and every draw had again from the log."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from banditd.build import build_id
from banditd.decision import Decision, decode_decision
from banditd.errors import ConfigError
from banditd.evaluating.beginnings import Beginnings, FoldKey, Unanswerable
from banditd.evaluating.chains import check_chain
from banditd.evaluating.entries import Selection
from banditd.evaluating.findings import Findings, Kind, Problem
from banditd.evaluating.folds import OwnStart, fold_alone, fold_own, fold_shared
from banditd.evaluating.places import Place, claims_of_nothing, read_places
from banditd.evaluating.plan import Part, Plan, Question
from banditd.evaluating.played import mixed, own_and_shared, redrawn, redrawn_owner, states_of
from banditd.evaluating.reading import log_reader
from banditd.evaluating.store import ReadStore
from banditd.evaluating.walking import Answer
from banditd.keys import Keyring
from policies.protocol import FloatArray

__all__ = ["NEAR", "Step", "verify_store"]

NEAR: Final = 1e-6  # how far vectors may be from those of another build

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, ValueError, LookupError)

Step = Callable[[str], None]


def verify_store(store: ReadStore, selection: Selection, *, keyring: Keyring | None, step: Step) -> Findings:
    """Fold the logs again, and compare every decision that is wanted with the states that it names.

    Parameters
    ----------
    keyring
        Holds the keys of the draws; None: draws are counted and not repeated.
    step
        Told of each piece of work, by what it was.

    Raises
    ------
    LogGap
        The server dropped what was about to be read.
    """
    plan = Plan()
    try:
        run = _Run(store, selection, keyring=keyring, step=step, plan=plan)
        run.check_decisions()
        run.check_outcomes()
        run.fold()
        run.combine()
        return run.findings
    finally:
        plan.close()


class _Run:
    def __init__(
        self, store: ReadStore, selection: Selection, *, keyring: Keyring | None, step: Step, plan: Plan
    ) -> None:
        self.findings = Findings()
        self._store = store
        self._selection = selection
        self._keyring = keyring
        self._step = step
        self._plan = plan
        self._last = store.last_decision()
        store.refresh()  # after that: the epoch of each decision up to this one is there
        self._beginnings = Beginnings(store)
        self._reader = log_reader()
        self._build = build_id()
        self._folds: dict[tuple[FoldKey, str], int] = {}  # with the lane of an own policy, or ""
        self._starts: dict[int, OwnStart] = {}

    # ------------------------------------------------------------------------------ what each decision says by itself

    def check_decisions(self) -> None:
        """Repeat the draws, and plan what is to be asked of which fold."""
        for place in read_places(self._store, last=self._last):
            if self._selection.has_lane(place.lane):
                self._check_decision(place)
        if self._selection == Selection():  # nobody knows of which lane and time the lost ones were
            for event_id, number in claims_of_nothing(self._store):
                detail = "its event id is claimed, and the decision is missing"
                self.findings.report(Problem(number, "unreadable", event_id, "", 0, 0, detail))

    def _check_decision(self, place: Place) -> None:
        number = place.number
        try:
            decision = decode_decision(place.body)
            if not self._selection.has_time(decision.at):
                return
            mistake = place.mistake(decision)
            if not mistake:
                self._check_draws(number, decision)
        except _UNREADABLE as error:
            mistake = f"the stored decision cannot be read: {error}"
            self.findings.report(Problem(number, "unreadable", place.event_id, place.lane, place.epoch, 0, mistake))
            return
        self._step("decisions")
        self.findings.decisions += 1
        if mistake:
            self.findings.report(
                Problem(number, "unreadable", place.event_id, place.lane, place.epoch, decision.seq, mistake)
            )
            return
        if loss := place.loss():
            self._report(number, decision, "outcome", loss)
        for member, state in enumerate(states_of(decision)):
            try:
                key = self._beginnings.key_of(state)
            except Unanswerable as unanswerable:
                self._cannot(number, decision, unanswerable.reason)
                continue
            if not key.is_shared:
                self._ask(key, "", Question(state.seq, number, member, "alone"))
                continue
            self._ask(key, "", Question(state.pool_seq, number, member, "shared"))
            if state.own_share is not msgspec.UNSET:
                self._ask(key, state.lane, Question(state.seq, number, member, "own"))

    def _ask(self, key: FoldKey, own: str, question: Question) -> None:
        self._plan.ask(self._folds.setdefault((key, own), len(self._folds)), question)

    def _check_draws(self, number: int, decision: Decision) -> None:
        n_draws = len(decision.slots) + (decision.members is not msgspec.UNSET)
        try:
            key = None if self._keyring is None else self._keyring.draw_key(decision.key)
        except ConfigError:  # rotated away, or of another store
            key = None
        if key is None:
            self.findings.draws_without_key += n_draws
            return
        self.findings.draws += n_draws
        for place, slot in enumerate(decision.slots):
            drawn = redrawn(decision, place, key=key)
            if drawn != slot.chosen:
                self._report(number, decision, "draw", f"action {slot.chosen} is stored, {drawn} is drawn", slot=place)
        owner = redrawn_owner(decision, key=key)
        if owner != decision.lane:
            self._report(number, decision, "owner", f"it belongs to {decision.lane}, and {owner} is drawn")

    # ---------------------------------------------------------------------------------------- what became of decisions

    def check_outcomes(self) -> None:
        """Hold the log of each lane that is wanted to its chain."""
        for lane in sorted(self._store.lanes):
            if self._selection.has_lane(lane):
                check_chain(self._store, lane, self.findings, when_checked=lambda: self._step("outcomes checked"))

    # --------------------------------------------------------------------------------------- what the states would play

    def fold(self) -> None:
        """Fold each log that is asked about; the policies of lanes' own after the parents that they start from."""
        for (key, own), fold in sorted(self._folds.items(), key=lambda item: (item[0][1] != "", item[1])):
            spec = key.spec
            if not spec.build().resumable:
                self.findings.whole_folds.add(own or key.log)
            begins = self._store.lanes[own or key.log].base_seq
            if begins:
                self.findings.bases[own or key.log] = begins
            for answer in self._answers(key, own, fold):
                self._take(answer)

    def _answers(self, key: FoldKey, own: str, fold: int) -> Iterator[Answer]:
        questions = self._plan.questions(fold)
        if own:
            start = self._starts.get(fold)
            if start is None:
                return (Answer(question, None, wrong=f"{own} has no policy of its own") for question in questions)
            if start.is_kept:
                start = start.with_state(self._plan.start(fold))
            return fold_own(start, key, self._store, questions, reader=self._reader, when_folded=self._folded)
        if key.is_shared:
            return fold_shared(
                key,
                self._beginnings,
                questions,
                reader=self._reader,
                when_folded=self._folded,
                when_started=lambda start: self._keep(key, start),
            )
        return fold_alone(key, self._beginnings, questions, reader=self._reader, when_folded=self._folded)

    def _folded(self) -> None:
        self._step("outcomes folded")

    def _keep(self, key: FoldKey, start: OwnStart) -> None:
        """Keep an own policy as it started, on the disk if it can be written down; drop it if nobody asks for it."""
        fold = self._folds.get((key, start.lane))
        if fold is None:
            return
        if isinstance(start.state, bytes):
            self._plan.keep_start(fold, start.state)
            start = start.without_state()
        self._starts[fold] = start

    def _take(self, answer: Answer) -> None:
        """Compare what a policy played if it was alone in deciding, and else keep it until the others have played."""
        self._step("vectors")
        number, decision = answer.question.decision, answer.decision
        if decision is None or answer.reason:
            self._plan.give_up(number, answer.reason)
        elif answer.broken:
            if not self._plan.is_given_up(number):
                self._plan.give_up(number, "")
                self._report(number, decision, "unreadable", f"the stored decision cannot be made: {answer.broken}")
        elif answer.wrong:
            if answer.erased:
                self._plan.give_up(number, "erased_since")
            elif not self._plan.is_given_up(number):
                self._plan.give_up(number, "")
                self._report(number, decision, "state", answer.wrong)
        elif decision.members is msgspec.UNSET and decision.own_share is msgspec.UNSET:
            self._compare(number, decision, [answer.played], erased=answer.erased)
        else:
            self._plan.answer(answer.question, answer.played, erased=answer.erased)

    def combine(self) -> None:
        """Compare the decisions that several policies had a part in, and count those that could not be compared."""
        for answered in self._plan.answers():
            if self._plan.is_given_up(answered.decision):
                continue
            bodies = [body for _, body in self._store.bodies([answered.decision])]
            if not bodies:
                self._plan.give_up(answered.decision, "dropped_meanwhile")
                continue
            decision = decode_decision(bodies[0])
            self._compare(answered.decision, decision, _parts(decision, answered.played), erased=answered.erased)
        self.findings.unchecked.update({reason: n for reason, n in self._plan.given_up().items() if reason})

    def _compare(self, number: int, decision: Decision, parts: Sequence[Sequence[FloatArray]], *, erased: bool) -> None:
        """Compare what is stored with what the lanes' parts, slot by slot, come to together."""
        exact = self._is_exact(decision)
        for place, slot in enumerate(decision.slots):
            played = mixed(decision, [part[place] for part in parts])
            if played == slot.probabilities:
                self.findings.exact += exact
                self.findings.near += not exact
            elif not exact and _are_near(played, slot.probabilities):
                self.findings.near += 1
            elif erased:
                self._plan.give_up(number, "erased_since")
                return
            else:
                detail = "the state that the decision names plays other probabilities"
                stored = slot.probabilities
                self._report(number, decision, "probabilities", detail, slot=place, stored=stored, played=played)

    def _is_exact(self, decision: Decision) -> bool:
        builds = {self._beginnings.epoch_of(state).build for state in states_of(decision)}
        self.findings.builds |= builds - {self._build}
        return builds == {self._build}

    def _cannot(self, number: int, decision: Decision, reason: str) -> None:
        self._plan.give_up(number, reason)
        if not reason:
            self._report(number, decision, "state", "it names an epoch that the store does not have")

    def _report(
        self,
        number: int,
        decision: Decision,
        kind: Kind,
        detail: str,
        *,
        slot: int = 0,
        stored: list[float] | None = None,
        played: list[float] | None = None,
    ) -> None:
        self.findings.report(
            Problem(
                number,
                kind,
                decision.event_id,
                decision.lane,
                decision.epoch,
                decision.seq,
                detail,
                slot,
                stored,
                played,
            )
        )


def _parts(decision: Decision, played: Mapping[tuple[int, Part], FloatArray]) -> list[list[FloatArray]]:
    """Return what each lane of a decision plays, slot by slot."""
    ends = np.cumsum([len(slot.eligible) for slot in decision.slots])[:-1]
    parts: list[list[FloatArray]] = []
    for member, state in enumerate(states_of(decision)):
        if (member, "alone") in played:
            whole = played[member, "alone"]
        elif state.own_share is msgspec.UNSET:
            whole = played[member, "shared"]
        else:
            whole = own_and_shared(state.own_share, played[member, "own"], played[member, "shared"])
        parts.append(np.split(whole, ends))
    return parts


def _are_near(played: Iterable[float], stored: Iterable[float]) -> bool:
    return all(abs(one - other) <= NEAR for one, other in zip(played, stored, strict=True))
