"""Slate estimators, on two slates of two slots that a reader can work out."""

import json
import math
from typing import Any

import pytest

from replay import InvalidLog
from replay.estimators import (
    CascadeDr,
    CascadeIps,
    IndependentIps,
    PseudoInverse,
    RewardInteractionIps,
    SlateBatch,
    SlateEstimator,
    SlateIps,
)

# Weights by slot: (2, ½) and (½, 4); of the prefixes (2, 1) and (½, 2).
COLUMNS: dict[str, Any] = {
    "rewards": [[1.0, 0.5], [0.0, 1.0]],
    "propensities": [[0.25, 0.5], [0.5, 0.125]],
    "target": [[0.5, 0.25], [0.25, 0.5]],
    "q_logged": [[0.5, 0.5], [0.5, 0.5]],
    "q_target": [[0.8, 0.4], [0.6, 0.2]],
}
VALUES: dict[type[SlateEstimator], float] = {
    SlateIps: (1.0 * 1.5 + 2.0 * 1.0) / 2,
    IndependentIps: (2.0 * 1.0 + 0.5 * 0.5 + 0.5 * 0.0 + 4.0 * 1.0) / 2,
    CascadeIps: (2.0 * 1.0 + 1.0 * 0.5 + 0.5 * 0.0 + 2.0 * 1.0) / 2,
    RewardInteractionIps: (2.0 * 1.0 + 0.5 * 0.0) / 2.5 + (1.0 * 0.5 + 2.0 * 1.0) / 3.0,
    # w₁…w_s (r − q) + w₁…w_{s−1} q̄: (1 + 0.8) + (0 + 2 × 0.4), and (−¼ + 0.6) + (1 + ½ × 0.2)
    CascadeDr: (1.8 + 0.8 + 0.35 + 1.1) / 2,
    PseudoInverse: ((1 - 2 + 2.5) * 1.5 + (1 - 2 + 4.5) * 1.0) / 2,
}


@pytest.fixture(params=VALUES, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[SlateEstimator]:
    """Each slate estimator in turn."""
    found: type[SlateEstimator] = request.param
    return found


def _batch(rows: slice = slice(None), **changed: Any) -> SlateBatch:
    return SlateBatch.of(**{name: column[rows] for name, column in COLUMNS.items()} | changed)


def test_value_is_what_the_definition_gives_by_hand(kind: type[SlateEstimator]) -> None:
    """Each estimator gives the number that its formula gives on two slates."""
    by = kind()

    by.add(_batch())

    assert by.value == pytest.approx(VALUES[kind], rel=1e-15)


def test_parts_add_up_to_the_whole(kind: type[SlateEstimator]) -> None:
    """Two halves, one of them sent through JSON, and one that saw nothing, add up to the whole."""
    left, right, whole = kind(), kind(), kind()
    left.add(_batch(slice(0, 1)))
    right.add(_batch(slice(1, 2)))
    whole.add(_batch())

    both = kind().loads(kind().dumps()) + left + kind().loads(json.loads(json.dumps(right.dumps())))

    assert both.value == pytest.approx(whole.value, rel=1e-14)
    assert both.sums is not None
    assert whole.sums is not None
    assert both.sums.squares == pytest.approx(whole.sums.squares, rel=1e-12, abs=1e-15)


def test_adding_twice_is_adding_once_for_all(kind: type[SlateEstimator]) -> None:
    """Rows may come in any number of batches; a multiplicity counts them as often."""
    rowwise, weighted = kind(), kind()
    for row in (0, 1, 1, 1):
        rowwise.add(_batch(slice(row, row + 1)))
    weighted.add(_batch(multiplicity=[1.0, 3.0]))

    assert weighted.value == pytest.approx(rowwise.value, rel=1e-14)


def test_interval_is_about_the_value(kind: type[SlateEstimator]) -> None:
    """The Gaussian interval is symmetric about the value, and as wide as the terms of slates vary."""
    by = kind()
    by.add(_batch())

    found = by.interval(level=0.9)

    assert (found.lower + found.upper) / 2 == pytest.approx(by.value)
    assert by.sums is not None
    half = 1.6448536269514722 * math.sqrt(by.sums.squares) / 2
    assert (found.upper - found.lower) / 2 == pytest.approx(half)


def test_one_slot_is_an_ordinary_decision(kind: type[SlateEstimator]) -> None:
    """With one slot every estimator without a model is IPS, or SNIPS where it is self-normalised."""
    by = kind()
    batch = SlateBatch.of([[1.0], [0.5]], [[0.5], [0.2]], [[0.25], [0.6]], q_logged=[[0.0]] * 2, q_target=[[0.0]] * 2)

    by.add(batch)

    assert by.value == pytest.approx(2.0 / 3.5 if kind is RewardInteractionIps else 1.0)


def test_nothing_is_known_without_rows(kind: type[SlateEstimator]) -> None:
    """Before the first rows the value is NaN, and there is no interval."""
    by = kind()

    assert math.isnan(by.value)
    with pytest.raises(InvalidLog) as caught:
        by.interval()
    assert caught.value.code == "no_rows"


def test_kinds_and_numbers_of_slots_do_not_mix() -> None:
    """Neither two kinds add up, nor rows of two and of three slots, where slots are kept apart."""
    two, three = CascadeIps(), SlateBatch.of([[1.0] * 3], [[0.5] * 3], [[0.5] * 3])
    two.add(_batch())

    for wrong in (lambda: two + IndependentIps(), lambda: two.add(three)):  # type: ignore[operator]  # it is refused
        with pytest.raises(InvalidLog) as caught:
            wrong()
        assert caught.value.code == "estimator_differs"
    assert two.value == pytest.approx(VALUES[CascadeIps])


@pytest.mark.parametrize("missing", ["q_logged", "q_target"])
def test_cascade_dr_needs_a_model(missing: str) -> None:
    """Without predictions the doubly robust one refuses, naming the array."""
    columns = {name: column for name, column in COLUMNS.items() if name != missing}

    with pytest.raises(InvalidLog) as caught:
        CascadeDr().add(SlateBatch.of(**columns))

    assert (caught.value.code, caught.value.field) == ("reward_model_missing", missing)


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"rewards": [1.0, 0.0]}, "shape_invalid", "rewards"),
        ({"rewards": [[], []]}, "shape_invalid", "rewards"),
        ({"rewards": [[1.0], [1.0, 2.0]]}, "not_numbers", "rewards"),
        ({"target": [[0.5], [0.5]]}, "length_differs", "target"),
        ({"propensities": [[0.5, 0.0], [0.5, 0.5]]}, "propensity_zero", "propensities"),
        ({"q_target": [[0.5, math.inf], [0.5, 0.5]]}, "not_finite", "q_target"),
        ({"multiplicity": [1.0]}, "length_differs", "multiplicity"),
    ],
)
def test_rubbish_is_refused_by_name(changed: dict[str, Any], code: str, field: str) -> None:
    """A table of the wrong shape or with impossible values is refused, and named."""
    with pytest.raises(InvalidLog) as caught:
        _batch(**changed)

    assert (caught.value.code, caught.value.field) == (code, field)
