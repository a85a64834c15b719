"""When a number is refused, and how findings become a grade and a verdict."""

import math

import numpy as np
import pytest

from replay.batch import Batch
from replay.diagnostics import candidate_findings, grade, refusal, settled, verdict
from replay.diagnostics.weights import WeightCounts
from replay.moments import Spread
from replay.results import Finding, Grade, Lift, Verdict

SERIOUS, MINOR = Finding("a", serious=True, detail=""), Finding("b", serious=False, detail="")


@pytest.mark.parametrize(
    ("findings", "expected"),
    [((), "green"), ((MINOR,), "amber"), ((MINOR, SERIOUS), "red")],
    ids=["none", "minor", "serious"],
)
def test_grade_is_that_of_the_worst_finding(findings: tuple[Finding, ...], expected: Grade) -> None:
    """Green without findings, amber with any, red with a serious one."""
    assert grade(findings) == expected


@pytest.mark.parametrize(
    ("ends", "how_far", "expected"),
    [
        ((0.01, 0.02), "green", "better"),
        ((0.01, 0.02), "amber", "better"),
        ((0.01, 0.02), "red", "not enough data"),
        ((-0.02, -0.01), "green", "worse"),
        ((-0.02, 0.01), "green", "not enough data"),
        ((0.0, 0.01), "green", "not enough data"),
        ((math.nan, 0.01), "green", "not enough data"),
    ],
)
def test_verdict_is_what_the_lift_says(ends: tuple[float, float], how_far: Grade, expected: Verdict) -> None:
    """Better or worse only if the whole interval is on one side of 0 and the figures are not red."""
    lift = Lift("snips", sum(ends) / 2, *ends, "gaussian", relative=0.1)

    assert verdict(lift, how_far) == expected


def test_a_baseline_and_a_refused_lift_have_no_verdict() -> None:
    """Without a lift, or with one that is refused, nothing is said."""
    refused = Lift("snips", 0.1, 0.05, 0.15, "gaussian", relative=0.1, refused="one row decides")

    assert verdict(None, "green") == "not enough data"
    assert verdict(refused, "green") == "not enough data"


def test_what_is_refused_is_red() -> None:
    """For weights of any kind: where one row has over a tenth of all weight, the grade is red."""
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(300):
        weights = rng.pareto(rng.uniform(0.3, 3.0), rng.integers(1, 2_000))
        weights /= max(1.0, weights.max())
        counts = WeightCounts()
        counts.add(Batch.of(np.zeros(len(weights)), np.ones(len(weights)), weights))
        is_refused = bool(refusal(counts.spread))
        is_red = grade(candidate_findings(counts.diagnostics())) == "red"
        assert is_red or not is_refused
        seen.add(is_refused)

    assert seen == {False, True}


def test_refusals_give_the_figures() -> None:
    """The reason names the share and the weight of the row, and the effective sample."""
    assert refusal(Spread.of(np.ones(10), None)) == ""
    assert refusal(Spread.of(np.array([8.0, 1.0, 1.0]), None)) == (
        "one row has 80% of all weight (weight 8): the effective sample is 1.5 rows"
    )
    assert "never plays" in refusal(Spread())


@pytest.mark.parametrize(
    ("lift", "said"),
    [
        (Lift("snips", 8.9e-16, 8.9e-16, 8.9e-16, "paired", 8.9e-16 / 2.5), "not enough data"),
        (Lift("snips", 9e-16, -5.2e-8, -5.1e-8, "paired", 9e-16 / 2.5), "not enough data"),
        (Lift("snips", 0.0, 2.5e-32, 1.5e-16, "paired", 0.0), "not enough data"),
        (Lift("snips", 0.1, 0.05, 0.15, "paired", 0.0), "better"),
        (Lift("snips", 1e-5, 9e-6, 1.1e-5, "paired", 1e-5 / 2.5), "better"),
        (Lift("snips", 0.1, 0.05, 0.15, "paired", float("nan")), "better"),
        (Lift("snips", -0.1, -0.15, -0.05, "paired", -0.04), "worse"),
    ],
)
def test_rounding_of_propensities_is_no_lift(lift: Lift, said: str) -> None:
    """A policy that plays as the log did is neither better nor worse for the last digits of the log's numbers."""
    assert verdict(settled(lift), "green") == said
