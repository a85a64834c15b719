"""Estimators of a target policy's mean reward, on four rows that a reader can work out."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest

from replay import InvalidLog
from replay.batch import Batch
from replay.estimators import ESTIMATORS, Estimator, Ips, Replay, Snips, available, estimator
from replay.sums import PairedSums, Sums

# Weights 1, 2, ½ and 4; residuals ½, −½, ½ and 0.
COLUMNS = {
    "rewards": [1.0, 0.0, 1.0, 0.5],
    "propensities": [0.5, 0.25, 0.5, 0.2],
    "target": [0.5, 0.5, 0.25, 0.8],
    "q_logged": [0.5, 0.5, 0.5, 0.5],
    "q_target": [0.4, 0.6, 0.2, 0.8],
}
VALUES = {
    "ips": (1.0 + 0.0 + 0.5 + 2.0) / 4,
    "ips_clipped": (1.0 + 0.0 + 0.5 + 0.5) / 4,
    "snips": 3.5 / 7.5,
    "dm": 2.0 / 4,
    "dr": 2.0 / 4 + (0.5 - 1.0 + 0.25 + 0.0) / 4,
    "dr_clipped": 2.0 / 4 + (0.5 - 0.5 + 0.25 + 0.0) / 4,
    "sndr": 2.0 / 4 + (0.5 - 1.0 + 0.25 + 0.0) / 7.5,
    "switch_dr": 2.0 / 4 + (0.5 - 1.0 + 0.25) / 4,
    "dros": 2.0 / 4 + 0.5 * (0.5 / 1.5 - 1.0 / 4.5 + 0.25 / 0.75) / 4,
    "sub_gaussian": (1.0 + 0.0 + 2 / 3 + 0.8) / 4,
    "sub_gaussian_dr": 2.0 / 4 + (0.5 - 2 / 3 + 1 / 3) / 4,
}
WEIGHTS_USED = {"ips_clipped": (1, 1, 0.5, 1), "switch_dr": (1, 2, 0.5, 0)}


def _batch(rows: slice = slice(None), multiplicity: list[float] | None = None) -> Batch:
    columns = {name: column[rows] for name, column in COLUMNS.items()}
    return Batch.of(**columns, multiplicity=None if multiplicity is None else multiplicity[rows])


def _new(name: str) -> Estimator:
    return estimator(name, clip=1.0, tau=2.0, lam=0.5)


@pytest.fixture(params=sorted(VALUES))
def name(request: pytest.FixtureRequest) -> str:
    """Each estimator in turn."""
    return str(request.param)


def test_value_is_what_the_definition_gives_by_hand(name: str) -> None:
    """Each estimator gives the number that its formula gives on four rows."""
    by = _new(name)

    by.add(_batch())

    assert by.value == pytest.approx(VALUES[name], rel=1e-15)


def test_no_estimator_is_left_out_of_the_table() -> None:
    """The table above holds every estimator but the replay method, which refuses such a log."""
    assert set(VALUES) | {"replay"} == set(ESTIMATORS)


def test_multiplicity_counts_a_row_as_often_as_it_stands_for(name: str) -> None:
    """A row that stands for m events gives the value that m such rows would give."""
    thinned, whole = _new(name), _new(name)
    often = [1.0, 2.0, 1.0, 4.0]

    thinned.add(_batch(multiplicity=often))
    for row, times in enumerate(often):
        for _ in range(int(times)):
            whole.add(_batch(slice(row, row + 1)))

    assert thinned.value == pytest.approx(whole.value, rel=1e-14)


def test_multiplicity_is_a_weight_in_the_variance(name: str) -> None:
    """One row for m events makes the standard error larger than m rows would: its square has m²."""
    thinned = _new(name)
    often = [1.0, 2.0, 1.0, 4.0]

    thinned.add(_batch(multiplicity=often))

    parts = [_new(name).terms(_batch(slice(row, row + 1))) for row in range(4)]
    x, w = ([float(getattr(part, column)[0]) for part in parts] for column in ("numerator", "weight"))
    base = [0.0 if part.base is None else float(part.base[0]) for part in parts]
    mean_x, mean_w, mean_base = (
        sum(m * each for m, each in zip(often, column, strict=True)) / 8 for column in (x, w, base)
    )
    if thinned.sums.self_normalised:
        influence = [(xi - mean_x / mean_w * wi) / mean_w + b - mean_base for xi, wi, b in zip(x, w, base, strict=True)]
    else:
        influence = [xi - mean_x + b - mean_base for xi, b in zip(x, base, strict=True)]
    squares = sum((m * each) ** 2 for m, each in zip(often, influence, strict=True))
    assert thinned.sums.squares == pytest.approx(squares, rel=1e-12)


def test_parts_add_up_to_the_whole(name: str) -> None:
    """Two halves, one of them sent through JSON, add up to the value and variance of the whole."""
    left, right, whole = _new(name), _new(name), _new(name)
    left.add(_batch(slice(0, 1)))
    right.add(_batch(slice(1, 4)))
    whole.add(_batch())

    sent = _new(name).loads(json.loads(json.dumps(right.dumps())))
    both = left + sent

    assert both.value == pytest.approx(whole.value, rel=1e-14)
    assert both.sums.squares == pytest.approx(whole.sums.squares, rel=1e-12, abs=1e-15)
    assert dataclasses.astuple(both.sums.used) == pytest.approx(dataclasses.astuple(whole.sums.used), rel=1e-14)
    exact = {each.name for each in dataclasses.fields(whole.sums)} - {"moments", "used", "residual_squares"}
    for each in sorted(exact):
        assert getattr(both.sums, each) == getattr(whole.sums, each), each
    assert both.sums.residual_squares == pytest.approx(whole.sums.residual_squares, rel=1e-14)


def test_nothing_is_neutral(name: str) -> None:
    """An estimator that saw nothing has no value, and adds nothing to one that saw something."""
    empty, whole = _new(name), _new(name)
    empty.add(_batch(slice(0, 0)))
    whole.add(_batch())

    assert math.isnan(empty.value)
    assert (empty + whole).value == whole.value == (whole + empty).value


@pytest.mark.parametrize(("name", "used"), WEIGHTS_USED.items())
def test_spread_is_of_the_weights_that_were_used(name: str, used: tuple[float, ...]) -> None:
    """The effective sample size and the largest weight are those of the clipped or switched weights."""
    by = _new(name)

    by.add(_batch())

    assert by.sums.used.ess == pytest.approx(sum(used) ** 2 / sum(each**2 for each in used))
    assert by.sums.used.largest == max(used)


def test_squares_are_those_of_the_deviations() -> None:
    """The sum of squares of the plain mean is Σ (w r − mean)²: 2.1875 here."""
    by = Ips()

    by.add(_batch())

    assert by.sums.squares == pytest.approx(2.1875, rel=1e-15)


def test_sums_of_an_empirical_likelihood() -> None:
    """Σ w, Σ w r and Σ w r² can be had of any estimator without a model."""
    by = Snips()

    by.add(_batch())

    sums = by.sums
    found = (sums.sum_weight, sums.sum_numerator, sums.residual_squares)
    assert found == pytest.approx((7.5, 3.5, 1.0 + 0.5 + 1.0))


def test_large_offsets_cancel_no_digits() -> None:
    """The variance of values around a million is right to nine digits, in one batch and in hundred."""
    rng = np.random.default_rng(5)
    rewards = 1e6 + rng.standard_normal(10_000)
    ones = np.ones(10_000)
    whole, merged = Ips(), Ips()

    whole.add(Batch.of(rewards, ones, ones))
    for part in np.split(rewards, 100):
        merged.add(Batch.of(part, ones[:100], ones[:100]))

    exact = math.fsum((each - math.fsum(rewards) / 10_000) ** 2 for each in rewards)
    assert whole.sums.squares == pytest.approx(exact, rel=1e-9)
    assert merged.sums.squares == pytest.approx(exact, rel=1e-9)


def test_rewards_without_weight_say_nothing() -> None:
    """The extremes of rewards are those of rows that the target may play."""
    by = Snips()

    by.add(Batch.of([9.0, 1.0, 1.0], [0.5, 0.5, 0.5], [0.0, 0.5, 0.5]))

    assert (by.sums.residual_min, by.sums.residual_max, by.sums.n_weighted) == (1.0, 1.0, 2)


def test_snips_has_no_value_without_weight() -> None:
    """Where the target never plays what was logged, a ratio is NaN, not 0."""
    by = Snips()

    by.add(Batch.of([1.0, 1.0], [0.5, 0.5], [0.0, 0.0]))

    assert math.isnan(by.value)
    assert by.sums.used.ess == by.sums.used.top_share == 0.0


def test_full_sub_gaussian_shrinkage_weighs_all_supported_rows_alike() -> None:
    """With lam 1 a row counts 1 if it has any weight, and 0 if it has none."""
    by = estimator("sub_gaussian", lam=1.0)

    by.add(Batch.of([1.0, 1.0, 1.0], [0.5, 0.5, 0.5], [0.0, 0.1, 0.5]))

    assert by.value == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", sorted(name for name, kind in ESTIMATORS.items() if kind.needs_model))
@pytest.mark.parametrize("missing", ["q_logged", "q_target"])
def test_missing_predictions_are_named(name: str, missing: str) -> None:
    """An estimator with a reward model refuses rows without predictions, names the array, and stays as it was."""
    by = _new(name)

    with pytest.raises(InvalidLog, match=name) as caught:
        by.add(Batch.of(**{column: values for column, values in COLUMNS.items() if column != missing}))

    assert (caught.value.code, caught.value.field) == ("reward_model_missing", missing)
    assert by.sums.n == 0


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("ips_clipped", "clip", 0.0),
        ("ips_clipped", "clip", math.nan),
        ("dr_clipped", "clip", -1.0),
        ("switch_dr", "tau", math.inf),
        ("dros", "lam", 0.0),
        ("sub_gaussian", "lam", 1.5),
        ("sub_gaussian_dr", "lam", -0.1),
    ],
)
def test_parameters_out_of_range_are_named(name: str, parameter: str, value: float) -> None:
    """A parameter that makes no sense is refused by its name."""
    with pytest.raises(InvalidLog) as caught:
        estimator(name, **{parameter: value})

    assert (caught.value.code, caught.value.field) == ("parameter_out_of_range", parameter)


@pytest.mark.parametrize(("name", "parameter"), [("ips_clipped", "clip"), ("switch_dr", "tau"), ("dros", "lam")])
def test_parameters_have_no_default(name: str, parameter: str) -> None:
    """Clipping and shrinking are never done unless asked for."""
    with pytest.raises(InvalidLog) as caught:
        estimator(name)

    assert (caught.value.code, caught.value.field) == ("parameter_missing", parameter)


def test_unknown_names_are_refused() -> None:
    """A name that is no estimator's is refused, with those that are."""
    with pytest.raises(InvalidLog, match="snips") as caught:
        estimator("ipw")

    assert caught.value.code == "estimator_unknown"


def test_available_is_what_the_columns_allow() -> None:
    """Without model and parameters there are two; each adds its own; a lam above 1 is for dros alone."""
    column = [0.5]

    assert available(model=(None, None), clip=None, tau=None, lam=None) == ("ips", "snips")
    assert available(model=(column, None), clip=None, tau=None, lam=None) == ("ips", "snips")
    with_model = available(model=(column, column), clip=None, tau=None, lam=None)
    assert with_model == ("ips", "snips", "dm", "dr", "sndr")
    everything = available(model=(column, column), clip=2.0, tau=2.0, lam=0.5)
    assert set(everything) == set(VALUES)
    assert set(everything) - set(available(model=(column, column), clip=2.0, tau=2.0, lam=5.0)) == {
        "sub_gaussian",
        "sub_gaussian_dr",
    }
    assert "dros" not in available(model=(column, column), clip=2.0, tau=2.0, lam=0.0)


@pytest.mark.parametrize("method", ["auto", "gaussian"])
def test_intervals_nest(name: str, method: str) -> None:
    """An estimator gives its own interval, and one of a higher level holds one of a lower."""
    by = _new(name)
    for _ in range(50):
        by.add(_batch())

    narrow, wide = (by.interval(method, level, reward_range=(0.0, 1.0), max_weight=4.0) for level in (0.5, 0.99))

    assert wide.lower <= narrow.lower <= narrow.upper <= wide.upper
    assert wide.upper - wide.lower > narrow.upper - narrow.lower
    if method == "gaussian":
        assert (wide.lower + wide.upper) / 2 == pytest.approx(VALUES[name])


def test_sums_of_different_estimators_do_not_add_up() -> None:
    """Sums know whether they are of a ratio and of a model, and refuse the others; no sums are neutral."""
    sums = []
    for name in ("ips", "snips", "dr"):
        by = _new(name)
        by.add(_batch())
        sums.append(by.sums)

    for one, other in itertools.permutations(sums, 2):
        with pytest.raises(InvalidLog) as caught:
            one + other
        assert caught.value.code == "estimator_differs"
    assert (Sums() + sums[0]).n == 4


def test_sums_over_no_rows_are_none() -> None:
    """A difference over no rows has nothing in it, and adds nothing."""
    by = Snips()
    empty, whole = (PairedSums.of(by.terms(batch), by.terms(batch)) for batch in (_batch(slice(0, 0)), _batch()))

    assert empty.n == 0
    assert (whole + empty).dumps() == whole.dumps()


def test_paired_sums_have_the_difference_and_both_policies() -> None:
    """Parts of a difference add up, from none on and through JSON; each policy alone is still there."""
    by = Snips()
    other = Batch.of(COLUMNS["rewards"], COLUMNS["propensities"], COLUMNS["propensities"])
    whole = PairedSums.of(by.terms(_batch()), by.terms(other))
    parts = PairedSums()
    for row in range(4):
        only = slice(row, row + 1)
        weightless = Batch(*(column[only] for column in (other.rewards, other.propensities, other.target)))
        part = PairedSums.of(by.terms(_batch(only)), by.terms(weightless))
        parts = parts + PairedSums.loads(json.loads(json.dumps(part.dumps())))

    assert whole.value == pytest.approx(3.5 / 7.5 - 2.5 / 4)
    assert (whole.candidate.value, whole.baseline.value) == pytest.approx((3.5 / 7.5, 2.5 / 4))
    assert (parts.n, parts.total) == (whole.n, whole.total) == (4, 4.0)
    assert parts.value == pytest.approx(whole.value)
    influence = [
        (w * r - 3.5 / 7.5 * w) / (7.5 / 4) - (r - 2.5 / 4)
        for w, r in zip((1.0, 2.0, 0.5, 4.0), COLUMNS["rewards"], strict=True)
    ]
    assert parts.squares == pytest.approx(math.fsum(each**2 for each in influence))
    assert whole.squares == pytest.approx(parts.squares)


def test_different_estimators_do_not_add_up() -> None:
    """Neither two kinds nor two clips can be merged."""
    for one, other in (
        (Ips(), Snips()),
        (estimator("ips_clipped", clip=1.0), estimator("ips_clipped", clip=2.0)),
    ):
        with pytest.raises(InvalidLog) as caught:
            one + other
        assert caught.value.code == "estimator_differs"


# ----------------------------------------------------------------------------------------------------------- replay


UNIFORM = {"rewards": [1.0, 0.0, 1.0, 1.0], "propensities": [0.25] * 4, "target": [1.0, 1.0, 0.0, 0.0]}


def test_replay_is_the_mean_of_the_rows_that_match() -> None:
    """On a uniform log the replay method gives the mean reward of the matches."""
    by = Replay()

    by.add(Batch.of(**UNIFORM))

    assert by.value == 0.5


def test_replay_adds_up_and_remembers_its_propensity() -> None:
    """Two logs of the same propensity add up; also after being sent, and also with one that saw nothing."""
    one, other = Replay(), Replay()
    one.add(Batch.of(**UNIFORM))
    other.add(Batch.of([0.0], [0.25], [1.0]))

    both = Replay() + one + Replay().loads(json.loads(json.dumps(other.dumps())))

    assert both.value == pytest.approx(1 / 3)
    assert both.propensity == 0.25


@pytest.mark.parametrize(
    ("batches", "code", "field"),
    [
        ([([1.0, 0.0], [0.25, 0.5], [1.0, 0.0])], "log_not_uniform", "propensities"),
        ([([1.0], [0.25], [1.0]), ([1.0], [0.5], [1.0])], "log_not_uniform", "propensities"),
        ([([1.0], [0.25], [0.5])], "target_not_deterministic", "target"),
    ],
    ids=["within a batch", "between batches", "stochastic target"],
)
def test_replay_refuses_what_it_would_answer_wrongly(
    batches: list[tuple[list[float], list[float], list[float]]], code: str, field: str
) -> None:
    """A log that is not uniform and a target that draws are refused, with a word on what to use instead."""
    by = Replay()
    *fine, last = (Batch.of(*batch) for batch in batches)
    for batch in fine:
        by.add(batch)

    with pytest.raises(InvalidLog, match="snips") as caught:
        by.add(last)

    assert (caught.value.code, caught.value.field) == (code, field)


def test_replay_refuses_to_add_logs_of_two_propensities() -> None:
    """Two uniform logs over different numbers of actions are no uniform log."""
    one, other = Replay(), Replay()
    one.add(Batch.of([1.0], [0.25], [1.0]))
    other.add(Batch.of([1.0], [0.5], [1.0]))

    with pytest.raises(InvalidLog) as caught:
        one + other

    assert caught.value.code == "log_not_uniform"


def test_replay_that_saw_no_rows_has_no_value() -> None:
    """An empty batch changes nothing."""
    by = Replay()

    by.add(Batch.of([], [], []))

    assert math.isnan(by.value)
    assert math.isnan(by.propensity)
