"""What one process does of an evaluation: some candidates along the log; a plain value in, a plain value out.

`evaluate` makes a list of `Task`; an *engine* is any function that turns them into their `Partial` in the same order:
`here` one after another, `Processes` on this machine, others elsewhere. Whatever the engine, and however the candidates
are dealt out, the numbers are the same: each candidate sees the same blocks in the same order, and nothing of the
others.
"""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.block import Block
from replay.candidates import Candidate, Column, Contradiction, Logged, Need, Played, Recipe, VwRecipe
from replay.errors import InvalidLog
from replay.estimators import Estimator
from replay.estimators.slate_estimators import SlateEstimator
from replay.health import Health
from replay.intervals import Bootstrap
from replay.models import MODELS, CrossFitted, RewardModel, chosen_rows
from replay.reading import Reading
from replay.rejection import Rejection
from replay.results import Finding, Question
from replay.slates import check_slates, slates_of
from replay.slicing import slice_names
from replay.tally import Rows, Tally

__all__ = ["Engine", "Partial", "Plan", "Processes", "Task", "here", "run"]

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What all tasks of an evaluation have in common.

    Attributes
    ----------
    question
        Which value is asked for.
    estimators
        Fresh ones, by name.
    lift
        The one that lifts are measured by.
    by
        What the log is sliced by.
    need
        What is read of the log: the same for all tasks, so that they see the same rows.
    seed
        Of rejection sampling.
    reward_model
        A name in `replay.models.MODELS`; None: predictions are columns of the log, or not needed.
    score_from
        Events before this one, from 0, are learned from and not scored.
    stop_at
        The event before which the pass ends; None: the log's end.
    acceptance
        The constant of rejection sampling.
    slots
        Which slots of a decision are scored; all are played and learned.
    level, sequence_range
        Of confidence sequences: the coverage to promise, and what the reward of a slot can be.
    slates
        Fresh estimators of whole slates, by name.
    bootstrap
        A fresh one, if intervals are to be made by it.
    """

    question: Question
    estimators: Mapping[str, Estimator]
    lift: str
    by: Sequence[str]
    need: Need
    seed: int
    reward_model: str | None = None
    score_from: int = 0
    stop_at: int | None = None
    acceptance: float = 1.0
    slots: Literal["all", "first"] = "all"
    level: float = 0.95
    sequence_range: tuple[float, float] = (0.0, 1.0)
    slates: Mapping[str, SlateEstimator] = field(default_factory=dict)
    bootstrap: Bootstrap | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """Some candidates along the log.

    Attributes
    ----------
    log
        An `EventLog` or a `ColumnLog` that can be sent to where the task runs.
    candidates
        By name, those that this task is about.
    baseline
        Its name, and what it is: played along by every task.
    plan
        As of all tasks.
    wants_health
        Whether this is the task that looks at the log itself.
    """

    log: Any
    candidates: Mapping[str, Recipe]
    baseline: tuple[str, Recipe]
    plan: Plan
    wants_health: bool = False


@dataclass(slots=True)
class Partial:
    """What came out of a task.

    Attributes
    ----------
    tallies, findings
        By candidate.
    dropped, noted
        Events that were left out, by reason; what was odd about others.
    health
        Of the log, if it was asked for.
    n_events
        Decisions that were scored.
    """

    tallies: dict[str, Tally]
    findings: dict[str, list[Finding]]
    dropped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    health: Health | None = None
    n_events: int = 0


Engine = Callable[[Sequence[Task]], Iterable[Partial]]


def here(tasks: Sequence[Task], *, progress: Progress | None = None) -> Iterator[Partial]:
    """Run tasks one after another in this process."""
    return (run(task, progress=progress) for task in tasks)


@dataclass(frozen=True, slots=True)
class Processes:
    """An engine of several processes on this machine."""

    workers: int

    def __call__(self, tasks: Sequence[Task]) -> Iterable[Partial]:
        """Run tasks side by side; a process is started anew, since what it inherited might be in use."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=self.workers, mp_context=context) as pool:
            return list(pool.map(run, tasks))


def run(task: Task, *, progress: Progress | None = None) -> Partial:
    """Do a task.

    Raises
    ------
    InvalidLog
        The log cannot be read, or does not answer what is asked.
    """
    recipes = [task.baseline[1], *task.candidates.values()]
    care: Literal["quick", "careful"] = "quick" if any(isinstance(one, VwRecipe) for one in recipes) else "careful"
    try:
        return _Pass(task, care).run(progress)
    except Contradiction:
        return _Pass(task, "careful").run(progress)


class _Pass:
    """One reading of the log."""

    def __init__(self, task: Task, care: Literal["quick", "careful"]) -> None:
        self.task = task
        self.plan = task.plan
        self.baseline = task.baseline[0]
        recipes = dict(task.candidates)
        recipes.setdefault(*task.baseline)
        self.recipes = recipes
        self.players: dict[str, Candidate] = {name: recipe.build() for name, recipe in recipes.items()}
        self.rejections = (
            {name: Rejection(self.plan.acceptance, seed=self.plan.seed) for name in recipes}
            if self.plan.question == "deployed"
            else {}
        )
        self.tallies = {
            name: Tally(
                self.plan.estimators,
                lift=self.plan.lift,
                by=self.plan.by,
                level=self.plan.level,
                reward_range=self.plan.sequence_range,
                slates=self.plan.slates,
                bootstrap=self.plan.bootstrap,
            )
            for name in task.candidates
        }
        self.reading = Reading(task.log, need=self.plan.need, care=care)
        self.health = Health() if task.wants_health else None
        self.model: RewardModel | None = None
        self.n_scored = 0
        self.is_frozen = False

    def run(self, progress: Progress | None) -> Partial:
        self.model = self._fitted_model()
        plan, position = self.plan, 0
        for whole_block in self.reading.blocks():
            if plan.stop_at is not None and position >= plan.stop_at:
                break
            last = whole_block.n_events if plan.stop_at is None else plan.stop_at - position
            block = whole_block.part(0, last)
            border = plan.score_from - position
            if border > 0:
                self._warm(block.part(0, border))
            if border < block.n_events:
                self._start_scoring()
                self._score(block.part(max(0, border), block.n_events))
            position += block.n_events
            if progress is not None:
                progress(position)
        return self._partial()

    def _fitted_model(self) -> RewardModel | None:
        """Make the reward model; one that is fitted beforehand reads the log once for it."""
        if self.plan.reward_model is None:
            return None
        model = MODELS[self.plan.reward_model]()
        if isinstance(model, CrossFitted):
            for block in self.reading.blocks():
                model.gather(block)
            model.fit()
            model.rewind()
        return model

    def _warm(self, block: Block) -> None:
        """Let candidates learn from what is not scored."""
        for player in self.players.values():
            player.play(block)
        if self.model is not None:
            self.model.predict(block)
            self.model.learn(block)

    def _start_scoring(self) -> None:
        if self.plan.question == "frozen" and not self.is_frozen:
            self.is_frozen = True
            for player in self.players.values():
                player.freeze()

    def _score(self, block: Block) -> None:
        if not block.n_events:
            return
        self.n_scored += block.n_events
        block, scored = _scored(block) if self.plan.slots == "first" else (block, None)
        if self.health is not None:
            self.health.add(block)
        wants = self.model is not None or _has_distributions(block)
        predicted = None if self.model is None else self.model.predict(block)
        played = {
            name: self._ask(name, player, block, "whole" if wants else "chosen")
            for name, player in self.players.items()
        }
        slices = {by: slice_names(block, by) for by in self.plan.by}
        batches = {name: self._batch(name, one, block, predicted) for name, one in played.items()}
        if self.plan.slates:
            check_slates(block, self.plan.slates)
        decision = block.row_event if scored is None and len(block) > block.n_events else None
        for name, tally in self.tallies.items():
            if self.plan.slates:
                tally.add_slates(slates_of(block, played[name].target))
            outside = unsupported(block, played[name])
            rows = Rows(batches[name], batches[self.baseline], block.at, slices, outside, decision)
            accepted = played[name].accepted
            if accepted is not None:
                rows = _deployed(rows, np.array(accepted))
            tally.add(rows if scored is None else rows.only(scored))
        if self.model is not None:
            self.model.learn(block)

    def _ask(self, name: str, player: Candidate, block: Block, whole: Literal["whole", "chosen"]) -> Played:
        rejection = self.rejections.get(name)
        if rejection is not None:
            if block.n_places != block.n_events:
                raise InvalidLog("slots", "question", "cannot be `deployed` for decisions with several slots")
            rejection.start(block.n_events)
        return player.play(block, whole=whole, rejection=rejection)

    def _batch(self, name: str, played: Played, block: Block, predicted: FloatArray | None) -> Batch:
        recipe = self.recipes[name]
        q_logged, q_target = block.q_logged, block.q_targets.get(recipe.name if isinstance(recipe, Column) else name)
        if q_target is None and isinstance(recipe, Logged):
            q_target = q_logged  # what it played is a draw from its distribution
        if predicted is not None:
            q_logged = predicted[chosen_rows(block)]
            q_target = self._expected(name, played, block, predicted)
        return Batch(
            rewards=block.rewards,
            propensities=block.propensities,
            target=block.rows(played.target),
            q_logged=q_logged if q_target is not None else None,
            q_target=q_target if q_logged is not None else None,
            multiplicity=block.multiplicity,
        )

    def _expected(self, name: str, played: Played, block: Block, predicted: FloatArray) -> FloatArray:
        """Return the predicted reward in the mean over what a candidate plays."""
        if played.whole is not None:
            starts = np.cumsum(block.n_eligible) - block.n_eligible
            result: FloatArray = np.add.reduceat(played.whole * predicted, starts)
            return result
        if isinstance(self.recipes[name], Logged):  # what it played is a draw from its distribution, which nobody wrote
            return predicted[chosen_rows(block)]
        raise InvalidLog(
            "distribution_missing", name, "says the probability of one action alone: no reward model helps"
        )

    def _partial(self) -> Partial:
        for tally in self.tallies.values():
            tally.flush()
        findings = {name: [*self.players[name].findings(), *self._of_rejection(name)] for name in self.tallies}
        noted = Counter(getattr(self.task.log, "noted", {}))
        return Partial(self.tallies, findings, self.reading.dropped, noted, self.health, self.n_scored)

    def _of_rejection(self, name: str) -> list[Finding]:
        rejection = self.rejections.get(name)
        if rejection is None:
            return []
        n, share = rejection.n_accepted, rejection.n_accepted / max(1, self.n_scored)
        detail = (
            f"rejection sampling accepted {n} of {self.n_scored} events ({share:.2%}): this is what the first {n} "
            f"decisions of a deployment would earn, and says nothing of later ones"
        )
        found = [Finding("horizon", serious=False, detail=detail)]
        if rejection.n_above:
            detail = f"{rejection.n_above} events should have been accepted more than surely: the value is biased"
            found.append(Finding("acceptance_above_one", serious=True, detail=detail))
        return found


def unsupported(block: Block, played: Played) -> FloatArray | None:
    """Return the probability of actions that the log could not have chosen; None where nobody wrote what it could."""
    if played.whole is None or not _has_distributions(block) or block.starts is not None:
        return None
    logged = np.concatenate(
        [
            np.full(n, np.nan) if vector is None else vector
            for vector, n in zip(block.distributions, block.n_eligible.tolist(), strict=True)
        ]
    )
    outside = np.where(np.isnan(logged), np.nan, np.where(logged > 0.0, 0.0, played.whole))
    result: FloatArray = np.add.reduceat(outside, np.cumsum(block.n_eligible) - block.n_eligible)
    return result


def _scored(block: Block) -> tuple[Block, NDArray[np.bool_] | None]:
    """Return a block with its slots' own rewards, and which of its rows are first slots; None: all are."""
    if block.row_event is None or block.event_of is None:
        return block, None
    n_slots = np.bincount(block.row_event, minlength=block.n_events)[block.row_event]
    m = np.ones(len(block)) if block.multiplicity is None else block.multiplicity
    slot = block.slot if block.starts is None else block.slot[block.starts]
    return replace(block, rewards=block.rewards / n_slots, multiplicity=m * n_slots), slot == 0


def _has_distributions(block: Block) -> bool:
    return len(block.distributions) > 0 and any(vector is not None for vector in block.distributions)


def _deployed(rows: Rows, accepted: NDArray[np.bool_]) -> Rows:
    """Return the accepted rows as a log that the candidate made itself: its own propensities, weights of 1."""
    taken = rows.only(accepted)
    ones = np.ones(len(taken.candidate))
    batch = replace(taken.candidate, propensities=ones, target=ones, q_logged=None, q_target=None)
    return replace(taken, candidate=batch, baseline=batch, unsupported=None)
