"""VW itself as a candidate: its own options on the log's own dsjson lines, learning as its command line does.

VW reads each line, says what it would play and learns from the label, all in one call; what it says is from before the
update. Every labelled line is learned at once, as VW's driver does: delays of rewards are not kept. With several slots
VW's prediction for a slot is given the slots before it as the log filled them.

The raw calls have rules that only this module has to know (see `policies.vw_raw`): what was parsed must be finished
once, whatever happened in between; lines must be JSON objects with a context, which the reader has seen to. Most of the
time goes to VW, and of the rest most to the two calls of Python a line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from vowpalwabbit import Workspace

from policies.protocol import FloatArray
from replay.block import Block
from replay.candidates.protocol import Candidate, Contradiction, Need, Played
from replay.candidates.vw_arguments import vw_arguments
from replay.errors import InvalidLog
from replay.rejection import Rejection
from replay.results import Finding

__all__ = ["VwRecipe"]

_SUM_SLACK: Final = 1e-4  # VW adds up floats of 32 bits
_COUNT_SLACK: Final = 1e-4  # as above
_FEWEST: Final = 2  # examples of a line: the context and an action; of a line that VW could not read there is one


@dataclass(frozen=True, slots=True)
class VwRecipe:
    """VW's options, checked; see `replay.candidates.vw_arguments`."""

    arguments: str

    @classmethod
    def of(cls, text: str) -> "VwRecipe":
        """Check options as VW's command line takes them.

        Raises
        ------
        InvalidLog
            They have no place in an evaluation, or VW refuses them.
        """
        return cls(vw_arguments(text))

    @property
    def needs(self) -> Need:
        """VW reads the log's lines itself."""
        return "lines"

    @property
    def learns(self) -> bool:
        """It always does."""
        return True

    @property
    def text(self) -> str:
        """As on VW's command line."""
        return f"vw {self.arguments}"

    def build(self) -> Candidate:
        """Start VW.

        Raises
        ------
        InvalidLog
            VW refuses the options.
        """
        return _VwCandidate(self.arguments)


class _VwCandidate:
    """One workspace, and how often it would not say."""

    def __init__(self, arguments: str) -> None:
        try:
            workspace = Workspace(f"{arguments} --ring_size 64" if "--ring_size" not in arguments else arguments)
        except (RuntimeError, ValueError) as error:
            raise InvalidLog("bad_options", "vw", f"VW refuses them: {error}") from None
        self._workspace: Any = workspace
        self._has_slots = "--ccb_explore_adf" in arguments.split()
        self._parse: Any = workspace._parse  # noqa: SLF001 - the raw calls, as in policies.vw_raw
        self._call: Any = workspace.learn_multi
        self._finish: Any = workspace._finish_example_multi_ex  # noqa: SLF001 - as above
        self._n_unread = 0
        self._n_actions = 0  # that VW gave probabilities for, in the last block
        self._is_frozen = False

    def play(
        self, block: Block, *, whole: Literal["whole", "chosen"] = "chosen", rejection: Rejection | None = None
    ) -> Played:
        """Have VW read, answer and learn each line."""
        if len(block.lines) != block.n_events:
            raise InvalidLog("no_dsjson", "log", "must be dsjson, which VW reads itself, for VW's own options")
        try:
            return self._play(block, whole, rejection)
        except RuntimeError as error:  # VW's own, such as of lines with slots for --cb_explore_adf
            option = "" if self._has_slots else "; decisions with slots need --ccb_explore_adf"
            raise InvalidLog("vw_failed", "vw", f"cannot go on with this log: {error}{option}") from None

    def _play(self, block: Block, whole: Literal["whole", "chosen"], rejection: Rejection | None) -> Played:
        if self._has_slots:
            if rejection is not None:
                raise InvalidLog("slots", "question", "cannot be `deployed` for --ccb_explore_adf")
            return Played(self._slots(block))
        if rejection is not None:
            return self._deployed(block, rejection)
        if whole == "whole":
            return self._whole(block)
        weight, loss = self._workspace.get_weighted_examples(), self._workspace.get_sum_loss()
        target = np.array(self._chosen(block.lines, block.chosen_id.tolist()))
        if block.vw_costs is not None:
            weight, loss = self._workspace.get_weighted_examples() - weight, self._workspace.get_sum_loss() - loss
            _compare(block, target, block.vw_costs, n_actions=self._n_actions, weight=weight, loss=loss)
        return Played(target)

    def freeze(self) -> None:
        """Predict only from here on."""
        if self._has_slots:  # VW then draws what fills the earlier slots, instead of taking what the log says
            raise InvalidLog("not_frozen", "vw", "cannot be frozen with --ccb_explore_adf")
        self._call = self._workspace.predict_multi

    def findings(self) -> Sequence[Finding]:
        """Tell what VW itself makes of the log, and what it could not read."""
        found: list[Finding] = []
        weight = self._workspace.get_weighted_examples()
        if weight:
            loss = self._workspace.get_sum_loss() / weight
            detail = f"VW's own average loss is {loss:.9g}, over {weight:g} examples"
            found.append(Finding("vw_average_loss", serious=False, detail=detail))
        if self._n_unread:
            detail = f"VW could not read {self._n_unread} lines; they are not in its estimates"
            found.append(Finding("vw_lines_refused", serious=False, detail=detail))
        return found

    def _chosen(self, lines: Sequence[bytes], chosen: Sequence[int]) -> list[float]:
        """Return the probability of what was chosen, line by line; the loop that decides how fast this is."""
        parse, call, finish = self._parse, self._call, self._finish
        target: list[float] = []
        say = target.append
        total, n_said, n_actions = 0.0, 0, 0
        for line, index in zip(lines, chosen, strict=True):
            examples = parse(line)
            try:
                if len(examples) < _FEWEST:
                    say(self._unread())
                    continue
                call(examples)
                scores = examples[0].get_action_scores()
                total += sum(scores)
                n_said += 1
                n_actions += len(scores)
                say(scores[index] if index < len(scores) else self._unread())
            finally:
                finish(examples)
        self._check(total, n_said)
        self._n_actions = n_actions
        return target

    def _whole(self, block: Block) -> Played:
        vectors: list[list[float]] = []
        total, n_said = 0.0, 0
        for line, n_eligible in zip(block.lines, block.n_eligible.tolist(), strict=True):
            examples = self._parse(line)
            scores: list[float] = []
            try:
                if len(examples) >= _FEWEST:
                    self._call(examples)
                    scores = examples[0].get_action_scores()
                    total += sum(scores)
                    n_said += 1
            finally:
                self._finish(examples)
            vectors.append(scores if len(scores) == n_eligible else [self._unread()] * n_eligible)
        self._check(total, n_said)
        flat = np.array([score for scores in vectors for score in scores], dtype=np.float64)
        return Played(flat[np.cumsum(block.n_eligible) - block.n_eligible + block.chosen], flat)

    def _deployed(self, block: Block, rejection: Rejection) -> Played:
        """Have VW answer each line, and learn the accepted ones."""
        target: list[float] = []
        accepted: list[bool] = []
        for index, (line, chosen) in enumerate(zip(block.lines, block.chosen_id.tolist(), strict=True)):
            examples = self._parse(line)
            try:
                scores: list[float] = []
                if len(examples) >= _FEWEST:
                    self._workspace.predict_multi(examples)
                    scores = examples[0].get_action_scores()
                target.append(scores[chosen] if chosen < len(scores) else self._unread())
                accepted.append(rejection.accepts(index, target[-1], float(block.propensities[index])))
                if accepted[-1]:
                    self._call(examples)
            finally:
                self._finish(examples)
        return Played(np.array(target), accepted=accepted)

    def _slots(self, block: Block) -> FloatArray:
        """Return the probability of what was chosen in each slot."""
        target: list[float] = []
        chosen = block.chosen_id.tolist()
        for line, n_slots in zip(block.lines, _slot_counts(block), strict=True):
            examples = self._parse(line)
            try:
                self._call(examples)  # also of a line that it could not read: VW ends the process otherwise
                slots = examples[0].get_decision_scores()
            finally:
                self._finish(examples)
            if len(slots) != n_slots:
                target += [self._unread()] * n_slots
                continue
            for said, index in zip(slots, chosen[len(target) : len(target) + n_slots], strict=True):
                target.append(next((score for action, score in said if action == index), math.nan))
        return np.array(target)

    def _unread(self) -> float:
        self._n_unread += 1
        return math.nan

    def _check(self, total: float, n: int) -> None:
        """Refuse what is no distribution: ``--regcbopt`` says 1 for every action where several are alike."""
        if not abs(total - n) <= _SUM_SLACK * max(n, 1):
            detail = f"said probabilities that sum to {total / max(n, 1):.6g} in the mean"
            raise InvalidLog("not_a_distribution", "vw", detail)


def _compare(
    block: Block, target: FloatArray, costs: FloatArray, *, n_actions: int, weight: float, loss: float
) -> None:
    """Hold what was read of the lines' labels against what VW made of the same lines.

    Raises
    ------
    Contradiction
        They differ: something stood in a line where nobody looked.
    """
    losses = target / block.propensities * costs
    if (
        np.isnan(losses).any()
        or abs(weight - len(block)) > _COUNT_SLACK * len(block)
        or n_actions != block.n_eligible.sum()
        or abs(loss - losses.sum()) > _COUNT_SLACK * (1.0 + np.abs(losses).sum())
    ):
        raise Contradiction


def _slot_counts(block: Block) -> list[int]:
    if block.event_of is None:
        return [1] * block.n_events
    counts: list[int] = np.bincount(block.event_of, minlength=block.n_events).tolist()
    return counts
