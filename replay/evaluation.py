"""Evaluate policies on a log: what each would have earned, how sure that is, and how much more than what is there now.

Three different questions are kept apart; see docs/replay.md:

``"progressive"``
    What the sequence of policies was worth that a learning candidate became while it learned from this log.
``"frozen"``
    What the policy is worth that it was at the end of the first part of the log, on the rest.
``"deployed"``
    What it would earn if it were deployed, over as many decisions as rejection sampling accepts.

Candidates that do not learn have one value, and it is called ``"fixed"``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from replay.arrays import PERCENTILE, STUDENTISED
from replay.candidates import First, Given, Logged, Recipe, Uniform, VwRecipe, parse_candidate
from replay.errors import InvalidLog
from replay.estimators import Estimator, Ips, estimator
from replay.estimators.slate_estimators import SlateEstimator
from replay.findings import Look, evaluation_of
from replay.intervals import METHODS, Bootstrap
from replay.models import FITTED, MODELS
from replay.reading import Reading, knows_actions, need_of
from replay.results import Evaluation
from replay.slates import SLATE_ESTIMATORS
from replay.slicing import SLICES
from replay.tasks import Engine, Partial, Plan, Processes, Progress, Task, here

__all__ = ["Asked", "Asking", "Run", "evaluate", "evaluated", "survey"]

Asked = Literal["progressive", "frozen", "deployed"]
Slots = Literal["auto", "all", "first"]

_BASELINES: Final[Mapping[str, Recipe]] = {"logged": Logged(), "baseline1": First(), "uniform": Uniform()}
_QUESTIONS: Final = ("progressive", "frozen", "deployed")
_DEFAULT: Final = ("ips", "snips")
_BOOTSTRAPS: Final = (PERCENTILE, STUDENTISED)
_LIFT_BY: Final = ("dr", "sndr", "snips", "ips")  # the first of these that is asked for; then the first of all


def evaluate(  # noqa: PLR0913 - what to evaluate, and how to look at it, all but two by name
    log: Any,
    policies: Mapping[str, Given],
    *,
    baseline: str = "logged",
    estimators: Sequence[str] | None = None,
    clip: float | None = None,
    tau: float | None = None,
    lam: float | None = None,
    by: Sequence[str] = (),
    question: Asked = "progressive",
    split: float = 0.5,
    acceptance: float | None = None,
    reward_model: str = "auto",
    reward_range: tuple[float, float] | None = None,
    interval: str = "auto",
    level: float = 0.95,
    seed: int = 0,
    slots: Slots = "auto",
    per_segment: bool = False,
    workers: int = 1,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate policies on a log.

    Parameters
    ----------
    log
        An `EventLog` or a `ColumnLog`, such as `replay.logs.open_log` returns.
    policies
        By name, each as `replay.candidates.parse_candidate` takes it. `logged`, `baseline1` (the caller's first
        eligible action) and `uniform` are always evaluated beside them.
    baseline
        The name of the one that lifts are measured against.
    estimators
        Names as in docs/estimators.md, those of slates too; None: ips and snips. Lifts need one that is not of
        slates: ips is added if there is none.
    clip, tau, lam
        Of the estimators that have such a parameter.
    by
        What to slice by: ``"segment"``, ``"day"``, ``"hour"``, ``"slot"``.
    question
        Which value is asked for; see docs/replay.md.
    split
        Of ``"frozen"``: the share of the events, from the first, that candidates learn from.
    acceptance
        Of ``"deployed"``: the constant of rejection sampling; None: the least propensity of the log.
    reward_model
        For the estimators that need one: a name in `replay.models.MODELS`, or ``"auto"``: ``"linear"`` where any
        candidate learns, else ``"ridge"``. Logs whose columns hold predictions use those.
    reward_range
        What a reward can be; None: 0 to 1 if all lie in it, else as seen.
    interval
        A method as in docs/intervals.md, ``"percentile_bootstrap"`` and ``"studentised_bootstrap"`` among them.
    level
        Coverage to promise, in (0, 1).
    seed
        Of rejection sampling, and of bootstraps.
    slots
        Of decisions with several: a decision is worth the sum over ``"all"``, or its ``"first"`` alone, which is what
        VW's own loss counts for ``--ccb_explore_adf``. ``"auto"``: the first where a candidate is VW with that option
        and without ``--all_slots_loss``, so that its value is VW's; else all.
    per_segment
        Whether policies of banditd are one for each segment of the log, as a server keeps them.
    workers
        Processes; candidates are dealt out to them.
    engine
        Who runs the tasks instead, such as a cluster; see `replay.tasks`.
    progress
        Called with the number of events so far, with one worker.

    Raises
    ------
    InvalidLog
        A name or a setting is none, or the log cannot answer what is asked; says which.
    """
    asked = Asking(
        baseline=baseline,
        estimators=estimators,
        clip=clip,
        tau=tau,
        lam=lam,
        by=tuple(by),
        question=question,
        reward_model=reward_model,
        reward_range=reward_range,
        interval=interval,
        level=level,
        seed=seed,
        slots=slots,
        per_segment=per_segment,
    )
    if not 0.0 < split < 1.0:
        raise InvalidLog("split_out_of_range", "split", f"must lie between 0 and 1, not {split!r}")
    asked.check()
    recipes = asked.recipes(log, policies)
    plan = asked.plan(log, recipes)
    plan, stated = _surveyed(log, plan, split=split, acceptance=acceptance)
    run = Run(workers=workers, engine=engine, progress=progress)
    return evaluated(log, recipes, asked, plan, run=run, stated=stated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What is asked of an evaluation; fields as the parameters of `evaluate`."""

    baseline: str = "logged"
    estimators: Sequence[str] | None = None
    clip: float | None = None
    tau: float | None = None
    lam: float | None = None
    by: tuple[str, ...] = ()
    question: Asked = "progressive"
    reward_model: str = "auto"
    reward_range: tuple[float, float] | None = None
    interval: str = "auto"
    level: float = 0.95
    seed: int = 0
    slots: Slots = "auto"
    per_segment: bool = False

    def check(self) -> None:
        """Refuse settings that cannot be; raises `InvalidLog`."""
        for name in self.by:
            if name not in SLICES:
                raise InvalidLog("slice_unknown", "by", f"must be some of {', '.join(SLICES)}, not {name!r}")
        if self.question not in _QUESTIONS:
            detail = f"must be one of {', '.join(_QUESTIONS)}, not {self.question!r}"
            raise InvalidLog("question_unknown", "question", detail)
        if self.slots not in ("auto", "all", "first"):
            raise InvalidLog("slots_unknown", "slots", f"must be auto, all or first, not {self.slots!r}")
        if not 0.0 < self.level < 1.0:
            raise InvalidLog("level_out_of_range", "level", f"must lie between 0 and 1, not {self.level!r}")
        if self.interval not in (*METHODS, *_BOOTSTRAPS):
            known = ", ".join((*METHODS, *_BOOTSTRAPS))
            raise InvalidLog("method_unknown", "interval", f"must be one of {known}, not {self.interval!r}")
        if self.interval in _BOOTSTRAPS and self.question == "deployed":
            detail = "cannot be a bootstrap for `deployed`: each candidate has other rows, so that none can be paired"
            raise InvalidLog("method_unfit", "interval", detail)

    def recipes(self, log: Any, policies: Mapping[str, Given]) -> dict[str, Recipe]:
        """Return the baselines and the candidates by name; raises `InvalidLog` for a name or a policy that is none."""
        always = _BASELINES if knows_actions(log) and not _q_columns(log) else {"logged": _BASELINES["logged"]}
        given = {name: parse_candidate(one, per_segment=self.per_segment) for name, one in policies.items()}
        for name, recipe in given.items():
            if name in _BASELINES and recipe != _BASELINES[name]:
                detail = "is the name of a baseline: call the policy another way"
                raise InvalidLog("name_taken", f"policies.{name}", detail)
        recipes = {**always, **given}
        if self.baseline not in recipes:
            known = ", ".join(recipes)
            raise InvalidLog("baseline_unknown", "baseline", f"must be one of {known}, not {self.baseline!r}")
        return recipes

    def plan(self, log: Any, recipes: Mapping[str, Recipe]) -> Plan:
        """Return what all tasks have in common; raises `InvalidLog` for an estimator or a model that is none."""
        prototypes = self._prototypes(log)
        needs_model = any(one.needs_model for one in prototypes.values()) and not _q_columns(log)
        model = self._model(recipes) if needs_model else None
        need = need_of(recipes.values(), whole="chosen" if model is None else "whole")
        if "segment" in self.by and need == "lines":
            need = "events"
        lift = next((name for name in _LIFT_BY if name in prototypes), next(iter(prototypes)))
        slates = self._slates()
        slots = self.slots
        if slots == "auto":
            slots = "first" if any(_counts_first(recipe) for recipe in recipes.values()) else "all"
        if slates and slots == "first":
            raise InvalidLog("slots_unfit", "slots", f"must be all for {', '.join(slates)}, which are of whole slates")
        return Plan(
            self.question,
            prototypes,
            lift,
            self.by,
            need,
            self.seed,
            model,
            slots=slots,
            level=self.level,
            sequence_range=self.reward_range or (0.0, 1.0),
            slates=slates,
            bootstrap=self._bootstrap(),
        )

    def _bootstrap(self) -> Bootstrap | None:
        if self.interval not in _BOOTSTRAPS:
            return None
        return Bootstrap(seed=self.seed, studentised=self.interval == STUDENTISED)

    def _slates(self) -> dict[str, SlateEstimator]:
        found = {name: SLATE_ESTIMATORS[name]() for name in self.estimators or () if name in SLATE_ESTIMATORS}
        if found and self.interval not in ("auto", "gaussian"):
            detail = f"must be auto or gaussian for {', '.join(found)}, not {self.interval!r}"
            raise InvalidLog("method_unfit", "interval", detail)
        return found

    def _prototypes(self, log: Any) -> dict[str, Estimator]:
        names = self.estimators
        if self.question == "deployed":
            if names is not None:
                detail = "have no place in `deployed`, which takes a plain mean"
                raise InvalidLog("estimators_unused", "estimators", detail)
            return {"rejection": Ips()}
        if names is None:
            names = (*_DEFAULT, "dr") if _q_columns(log) else _DEFAULT
        if not names:
            raise InvalidLog("estimators_missing", "estimators", "must name at least one")
        names = [name for name in names if name not in SLATE_ESTIMATORS] or [Ips.name]
        return {name: estimator(name, clip=self.clip, tau=self.tau, lam=self.lam) for name in names}

    def _model(self, recipes: Mapping[str, Recipe]) -> str:
        learns = any(recipe.learns for recipe in recipes.values())
        if self.reward_model == "auto":
            return "linear" if learns else "ridge"
        if self.reward_model not in MODELS:
            known = ", ".join(["auto", *MODELS])
            raise InvalidLog("model_unknown", "reward_model", f"must be one of {known}, not {self.reward_model!r}")
        if learns and self.reward_model in FITTED:
            detail = f"must be linear or means: {self.reward_model} sees rewards that come after what is played"
            raise InvalidLog("model_not_predictable", "reward_model", detail)
        return self.reward_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Who does the work; fields as the parameters of `evaluate`."""

    workers: int = 1
    engine: Engine | None = None
    progress: Progress | None = None

    def partials(self, log: Any, recipes: Mapping[str, Recipe], baseline: str, plan: Plan) -> list[Partial]:
        """Deal the candidates out, those that learn first, since they take longest, and have them played."""
        if self.workers < 1:
            raise InvalidLog("workers_out_of_range", "workers", f"must be 1 or more, not {self.workers!r}")
        names = sorted(recipes, key=lambda name: not recipes[name].learns)
        groups = [names[i :: self.workers] for i in range(min(self.workers, len(names)))]
        pair = (baseline, recipes[baseline])
        tasks = [
            Task(log, {name: recipes[name] for name in group}, pair, plan, wants_health=group is groups[0])
            for group in groups
        ]
        if self.engine is not None:
            return list(self.engine(tasks))
        return list(here(tasks, progress=self.progress) if len(tasks) == 1 else Processes(len(tasks))(tasks))


def evaluated(
    log: Any, recipes: Mapping[str, Recipe], asked: Asking, plan: Plan, *, run: Run, stated: Mapping[str, Any]
) -> Evaluation:
    """Run a plan and say what came of it.

    Parameters
    ----------
    stated
        Further settings, for the report.
    """
    partials = run.partials(log, recipes, asked.baseline, plan)
    settings = {
        "estimators": [*plan.estimators, *plan.slates],
        "lift_by": plan.lift,
        "question": plan.question,
        "by": list(plan.by),
        "interval": asked.interval,
        "level": asked.level,
        "seed": plan.seed,
        "slots": plan.slots,
        "reward_model": plan.reward_model,
        "per_segment": asked.per_segment,
        **stated,
    }
    look = Look(interval=asked.interval, level=asked.level, reward_range=asked.reward_range, settings=settings)
    return evaluation_of(recipes, asked.baseline, plan, partials, look)


def _counts_first(recipe: Recipe) -> bool:
    """Whether a candidate is VW counting the first slot of a decision alone, as it does unless told otherwise."""
    words = recipe.arguments.split() if isinstance(recipe, VwRecipe) else []
    return "--ccb_explore_adf" in words and "--all_slots_loss" not in words


def _q_columns(log: Any) -> bool:
    """Whether columns of the log hold predicted rewards."""
    mapping = getattr(log, "mapping", None)
    return mapping is not None and mapping.q_logged is not None and bool(mapping.q_targets)


def _surveyed(log: Any, plan: Plan, *, split: float, acceptance: float | None) -> tuple[Plan, dict[str, Any]]:
    """Look at the whole log first, where the question asks for it, and say what came of that."""
    if plan.question == "frozen":
        n_events, _ = survey(log, plan)
        first = math.floor(split * n_events)
        return replace(plan, score_from=first), {"split": split, "learned_from_events": first}
    if plan.question == "deployed":
        constant = survey(log, plan)[1] if acceptance is None else acceptance
        return replace(plan, acceptance=constant), {"acceptance": constant}
    return plan, {}


def survey(log: Any, plan: Plan) -> tuple[int, float]:
    """Return how many events the log has, and its least propensity."""
    n_events, least = 0, 1.0
    for block in Reading(log, need=plan.need).blocks():
        n_events += block.n_events
        least = min(least, float(block.propensities.min(initial=1.0)))
    return n_events, least
