"""From what was summed up to what is said of it: estimates with intervals, lifts, grades, verdicts."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from replay.arrays import difference, estimate_of, lift_of
from replay.candidates import Recipe
from replay.diagnostics import candidate_findings, grade, refusal, verdict
from replay.estimators.slate_estimators import SlateEstimator
from replay.intervals import Interval, interval
from replay.results import CandidateResult, Estimate, Evaluation, Finding, Lift, LogHealth, Question, Slice
from replay.sums import Sums
from replay.tally import Counts, Tally
from replay.tasks import Partial, Plan

__all__ = ["Look", "evaluation_of"]

_NO_ROWS: Final = Estimate(math.nan, math.nan, math.nan, "no rows", 0, 0.0, 0.0, "there are no rows")


@dataclass(frozen=True, slots=True)
class Look:
    """How the sums are to be looked at.

    Attributes
    ----------
    interval
        A method as in docs/intervals.md.
    level
        Coverage to promise.
    reward_range
        What a reward can be; None: 0 to 1 if all lie in it, else as seen.
    settings
        What was asked for, for the report.
    """

    interval: str
    level: float
    reward_range: tuple[float, float] | None
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _View:
    """A look with nothing left open, at one candidate beside the baseline."""

    interval: str
    level: float
    reward_range: tuple[float, float]
    lift: str
    is_deployed: bool

    def estimates(self, counts: Counts) -> dict[str, Estimate]:
        return {name: self.estimate(counts, name) for name in counts.estimators}

    def estimate(self, counts: Counts, name: str) -> Estimate:
        sums = counts.estimators[name].sums
        if not sums.n:
            return _NO_ROWS
        if counts.bootstrap is not None:
            return estimate_of(sums, counts.bootstrap.interval(list(counts.estimators).index(name), level=self.level))
        return estimate_of(sums, self._interval(sums))

    def slate(self, one: SlateEstimator) -> Estimate:
        """Return an estimate of whole slates: a sum of parts, each with weights of its own."""
        if one.sums is None or not one.sums.n:
            return _NO_ROWS
        used = [part.used for part in one.sums.parts]
        found = one.interval(self.level)
        return Estimate(
            value=one.value,
            lower=found.lower,
            upper=found.upper,
            method=found.method,
            n=one.sums.n,
            ess=min(each.ess for each in used),
            max_weight=max(each.largest for each in used),
            refused=next(filter(None, map(refusal, used)), ""),
        )

    def _interval(self, sums: Sums) -> Interval:
        return interval(sums, self.interval, level=self.level, reward_range=self.reward_range)

    def lift_of(self, counts: Counts, baseline: Counts) -> Lift:
        if self.is_deployed:
            return self._apart(counts, baseline)
        if not counts.paired.n:
            return Lift(self.lift, math.nan, math.nan, math.nan, "no rows", math.nan)
        if counts.bootstrap is not None:
            pair = (list(counts.estimators).index(self.lift), len(counts.estimators))
            found = difference(counts.bootstrap, *pair, level=self.level)
        else:
            method = self.interval if self.interval == "gaussian" else "auto"  # the others are for one policy alone
            found = interval(counts.paired, method, level=self.level, reward_range=self.reward_range)
        return lift_of(counts.paired, found, name=self.lift)

    def _apart(self, counts: Counts, baseline: Counts) -> Lift:
        """Return the difference of two means over other rows each, by the method of variance estimates recovery.

        References
        ----------
        Zou & Donner (2008), "Construction of confidence limits about effect measures: A general approach".
        """
        mine, theirs = (self.estimate(each, self.lift) for each in (counts, baseline))
        value = mine.value - theirs.value
        lower = value - math.hypot(mine.value - mine.lower, theirs.upper - theirs.value)
        upper = value + math.hypot(mine.upper - mine.value, theirs.value - theirs.lower)
        method = "of two intervals over other rows each (MOVER): not paired"
        return Lift(self.lift, value, lower, upper, method, value / theirs.value if theirs.value else math.nan)


def evaluation_of(
    recipes: Mapping[str, Recipe], baseline: str, plan: Plan, partials: Sequence[Partial], look: Look
) -> Evaluation:
    """Put together what the tasks found out."""
    first = next(partial for partial in partials if partial.health is not None)
    assert first.health is not None  # noqa: S101 - just looked for; tells mypy
    health = first.health.found(events=first.n_events, dropped=first.dropped, noted=first.noted)
    view = _View(
        look.interval,
        look.level,
        _range(look, health, first.health.n_slots if plan.slots == "all" else 1),
        plan.lift,
        plan.question == "deployed",
    )
    tallies = {name: tally for partial in partials for name, tally in partial.tallies.items()}
    health = replace(health, findings=(*health.findings, *_without_sequence(tallies.values())))
    told = {name: found for partial in partials for name, found in partial.findings.items()}
    policies = {
        name: _candidate(
            name,
            recipe,
            _question(recipe, plan),
            tallies[name],
            None if name == baseline else tallies[baseline],
            told=told[name],
            view=view,
        )
        for name, recipe in recipes.items()
    }
    settings = {
        **look.settings,
        "reward_range": list(view.reward_range),
        "reward_range_given": look.reward_range is not None,
    }
    return Evaluation(health, policies, baseline, settings)


def _without_sequence(tallies: Iterable[Tally]) -> Iterator[Finding]:
    """Say once why curves over time have no bounds, if they have none."""
    why = next((tally.timeline.missing for tally in tallies if tally.timeline.missing), "")
    if why:
        yield Finding("no_sequence", serious=False, detail=f"Curves over time have no confidence sequence: {why}.")


def _question(recipe: Recipe, plan: Plan) -> Question:
    if plan.question == "deployed":
        return "deployed"
    return plan.question if recipe.learns else "fixed"


def _range(look: Look, health: LogHealth, n_slots: int) -> tuple[float, float]:
    """Return what the reward of a row can be; a slot's counts once for each slot of its decision."""
    if look.reward_range is not None:
        low, high = look.reward_range
        return min(low, low * n_slots), max(high, high * n_slots)
    low, high = health.reward_min, health.reward_max
    if math.isnan(low) or (low >= 0.0 and high <= 1.0):
        return 0.0, 1.0
    return (low, high) if low < high else (min(low, 0.0), max(high, 0.0))


def _candidate(
    name: str,
    recipe: Recipe,
    question: Question,
    tally: Tally,
    baseline: Tally | None,
    *,
    told: Sequence[Finding],
    view: _View,
) -> CandidateResult:
    counts = tally.counts
    figures = counts.weights.diagnostics()
    unplayed = [_unplayed(tally)] if tally.n_unplayed else []
    found = (*candidate_findings(figures), *told, *unplayed)
    lift = None if baseline is None else view.lift_of(counts, baseline.counts)
    # What a candidate tells of itself is for the reader; only what is serious speaks against its figures.
    how_far = grade([*candidate_findings(figures), *(one for one in (*told, *unplayed) if one.serious)])
    return CandidateResult(
        name=name,
        spec=recipe.text,
        question=question,
        estimates=view.estimates(counts) | {key: view.slate(one) for key, one in tally.slates.items()},
        lift=lift,
        diagnostics=figures,
        findings=found,
        verdict=verdict(lift, how_far),
        grade=how_far,
        over_time=tally.timeline.moments(),
        weight_histogram=counts.weights.histogram(),
        clip_scan=[(clip, tally.clips.clipped(clip, level=view.level)) for clip in tally.clips.clips()],
        slices={
            by: [
                _slice(part, of_part, None if baseline is None else baseline.slicings[by].slices.get(part), view)
                for part, of_part in sorted(slicing.slices.items())
            ]
            for by, slicing in tally.slicings.items()
        },
    )


def _slice(name: str, counts: Counts, baseline: Counts | None, view: _View) -> Slice:
    figures = counts.weights.diagnostics()
    lift = None if baseline is None else view.lift_of(counts, baseline)
    how_far = grade(candidate_findings(figures))
    return Slice(name, view.estimates(counts), lift, figures, verdict(lift, how_far), how_far)


def _unplayed(tally: Tally) -> Finding:
    share = tally.n_unplayed / (tally.n_unplayed + tally.clips.n)
    detail = f"{tally.n_unplayed} rows ({share:.2%}) have no answer of the candidate or the baseline, and are left out"
    return Finding("rows_unplayed", share > 0.01, detail)  # noqa: PLR2004 - one in a hundred
