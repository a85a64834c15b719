"""Conditions that a pipeline stops on."""

import math

import pytest

from replay.errors import InvalidLog
from replay.gate import parse_requirement
from replay.results import CandidateResult, Diagnostics, Estimate, Evaluation, Lift, LogHealth


def _candidate(name: str, *, lift_lower: float | None, refused: str = "") -> CandidateResult:
    return CandidateResult(
        name=name,
        spec="",
        question="fixed",
        estimates={"snips": Estimate(0.4, 0.35, 0.45, "gaussian", 100, 80.0, 4.0, refused)},
        lift=None if lift_lower is None else Lift("snips", 0.1, lift_lower, 0.2, "paired", 0.25),
        diagnostics=Diagnostics(100, 80.0, 4.0, 3.0, 1.0, 0.0, 0.0, math.nan, 0.04),
        findings=[],
        verdict="better",
        grade="green",
    )


def _evaluation() -> Evaluation:
    return Evaluation(
        health=LogHealth(100, {}, math.nan, math.nan, 0.0, 1.0, 0.3, 0.1, []),
        policies={
            "logged": _candidate("logged", lift_lower=None),
            "new": _candidate("new", lift_lower=0.05),
            "v1.2": _candidate("v1.2", lift_lower=-0.01),
            "bold": _candidate("bold", lift_lower=0.3, refused="2 rows carry it"),
        },
        baseline="logged",
        settings={},
    )


@pytest.mark.parametrize(
    ("text", "failing"),
    [
        ("lift_lower > 0", ["v1.2", "bold"]),
        ("new.lift_lower > 0", []),
        ("v1.2.lift_lower>=-0.01", []),
        ("new.lift_upper < 0.2", ["new"]),
        ("lift_relative == .25", ["bold"]),
        ("bold.lift > -1e9", ["bold"]),
        ("ess >= 100", ["new", "v1.2", "bold"]),
        ("max_weight <= 4", []),
        ("events > 1e2", ["new", "v1.2", "bold"]),
        ("new.snips_lower > 0.3", []),
        ("new.snips_value > 0.4", ["new"]),
        ("bold.snips_upper < 1", ["bold"]),
    ],
)
def test_requirement_names_who_does_not_meet_it(text: str, failing: list[str]) -> None:
    """Every candidate but the baselines is asked, or the one that is named; what is refused never passes."""
    failures = parse_requirement(text).failures(_evaluation())

    assert [failure.split(":")[0] for failure in failures] == failing


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("lift_lower", "require"),
        ("lift_lower > much", "require"),
        ("lift lower > 0", "require"),
        ("> 0", "require"),
        ("", "require"),
    ],
)
def test_requirement_of_another_form_is_refused(text: str, field: str) -> None:
    """Text that is no comparison with a number stops the command, and is shown what one looks like."""
    with pytest.raises(InvalidLog, match="lift_lower > 0") as caught:
        parse_requirement(text)

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("old.lift_lower > 0", "unknown_policy"),
        ("loft > 0", "unknown_field"),
        ("lift_middle > 0", "unknown_field"),
        ("dr_lower > 0", "unknown_field"),
        ("logged.lift > 0", "no_lift"),
    ],
)
def test_requirement_that_nothing_answers_is_an_error_and_no_pass(text: str, code: str) -> None:
    """A misspelt condition must not let a pipeline go on."""
    with pytest.raises(InvalidLog) as caught:
        parse_requirement(text).failures(_evaluation())

    assert caught.value.code == code


def test_requirement_without_a_candidate_is_an_error() -> None:
    """Where only baselines were evaluated, a condition on the others has nobody to be asked of."""
    evaluation = _evaluation()
    alone = Evaluation(evaluation.health, {"logged": evaluation.policies["logged"]}, "logged", {})

    with pytest.raises(InvalidLog, match="no candidate"):
        parse_requirement("lift_lower > 0").failures(alone)
