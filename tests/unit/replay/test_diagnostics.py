"""What stands for and against figures: weights, choices beside probabilities, duplicates, and the log's own health."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no annotations

from policies.protocol import FloatArray
from replay import InvalidLog
from replay.batch import Batch
from replay.diagnostics import (
    ActionShares,
    Duplicates,
    LogCounts,
    WeightCounts,
    candidate_findings,
    chi_square_tail,
    log_health,
)
from replay.results import Diagnostics, Finding

# ---------------------------------------------------------------------------------------------------------- weights


def _counts(weights: FloatArray, multiplicity: list[float] | None = None) -> WeightCounts:
    n = len(weights)
    counts = WeightCounts()
    half = np.full(n, 0.5) / max(1.0, float(weights.max(initial=0.0)))
    counts.add(Batch.of(np.ones(n), half, weights * half, multiplicity=multiplicity))
    return counts


def test_figures_are_those_of_the_weights() -> None:
    """Four weights give the figures that a reader works out: 1, 2, 0 and 5."""
    figures = _counts(np.array([1.0, 2.0, 0.0, 5.0])).diagnostics()

    assert (figures.n, figures.max_weight, figures.share_zero) == (4, 5.0, 0.25)
    assert figures.ess == pytest.approx(64 / 30)
    assert figures.mean_weight == pytest.approx(2.0)
    assert figures.top_share == pytest.approx(5 / 8)
    # squares of deviations from 2 are 1, 0, 4 and 9: a standard error of √(14 ÷ 3 ÷ 4)
    assert figures.mean_weight_z == pytest.approx(1.0 / math.sqrt(14 / 12))
    assert math.isnan(figures.unsupported)


def test_multiplicity_counts_in_every_figure() -> None:
    """A row that stands for three events has three times the share, and is the heaviest by it."""
    figures = _counts(np.array([1.0, 0.0]), multiplicity=[3.0, 1.0]).diagnostics()

    assert figures.share_zero == 0.25
    assert figures.mean_weight == pytest.approx(0.75)
    assert figures.max_weight == pytest.approx(1.0)
    assert figures.top_share == 1.0


def test_quantiles_are_within_one_percent() -> None:
    """The 99 % weight of 100,000 spread-out weights is within 1 % of the sorted one."""
    weights = np.exp(np.random.default_rng(3).normal(0.0, 2.0, 100_000))
    counts = _counts(weights)

    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        exact = float(np.quantile(weights, share, method="inverted_cdf"))
        assert counts.quantile(share) == pytest.approx(exact, rel=0.0101)


def test_quantiles_know_of_zeros() -> None:
    """Where most rows have no weight, the median weight is 0."""
    counts = _counts(np.array([0.0, 0.0, 0.0, 4.0]))

    assert counts.quantile(0.5) == 0.0
    assert counts.quantile(0.99) == pytest.approx(4.0, rel=0.01)


def test_weights_of_shards_add_up() -> None:
    """Two shards, one sent through JSON, give the figures and bars of the whole."""
    weights = np.random.default_rng(4).exponential(size=1_000)
    left, right, whole = _counts(weights[:300]), _counts(weights[300:]), _counts(weights)

    both = left + WeightCounts.loads(json.loads(json.dumps(right.dumps())))

    for name in Diagnostics.__slots__:
        mine, theirs = getattr(both.diagnostics(), name), getattr(whole.diagnostics(), name)
        assert mine == pytest.approx(theirs, rel=1e-9, nan_ok=True), name
    assert both.histogram() == whole.histogram()


def test_a_histogram_counts_every_row_with_weight() -> None:
    """Bars follow one another without gaps, are few, and hold all rows but those without weight."""
    weights = np.concatenate([[0.0], np.exp(np.random.default_rng(4).normal(size=999))])

    bars = _counts(weights).histogram(most_bars=20)

    assert 10 <= len(bars) <= 20
    assert sum(bar.count for bar in bars) == 999
    assert all(bar.high == after.low for bar, after in itertools.pairwise(bars))
    assert bars[0].low <= weights[1:].min() < bars[0].high
    assert bars[-1].low <= weights.max() < bars[-1].high * (1 + 1e-12)
    assert _counts(np.zeros(3)).histogram() == ()


def test_a_mean_weight_of_one_is_no_deviation() -> None:
    """Weights that are all 1 but for rounding are 0 standard errors away; weights that are all 0.9 infinitely many."""
    assert _counts(np.full(10, 1.0 + 1e-12)).z() == 0.0
    assert _counts(np.full(10, 0.9)).z() == -math.inf


def test_a_part_without_rows_adds_nothing() -> None:
    """Weights of a shard add up with those of an empty one, on either side."""
    some = _counts(np.array([1.0, 2.0]))

    for both in (some + WeightCounts(), WeightCounts() + some):
        assert both.dumps() == some.dumps()


def test_no_rows_have_no_figures() -> None:
    """Without rows nothing is known, and nothing added changes nothing."""
    counts = WeightCounts()
    counts.add(Batch.of([], [], []))

    figures = counts.diagnostics()

    assert figures.n == 0
    assert figures.ess == 0.0
    unknown = (figures.mean_weight, figures.mean_weight_z, figures.share_zero, figures.q99_weight, figures.unsupported)
    assert all(math.isnan(each) for each in unknown)


def test_unsupported_play_is_averaged_where_it_is_known() -> None:
    """Rows without a whole distribution are left out of the share of unsupported play."""
    counts = WeightCounts()
    batch = Batch.of([1.0] * 3, [0.5] * 3, [0.5] * 3, multiplicity=[1.0, 3.0, 1.0])

    counts.add(batch, np.array([0.4, 0.0, math.nan]))

    assert counts.diagnostics().unsupported == pytest.approx(0.1)


# ----------------------------------------------------------------------------------------------------------- shares


@pytest.mark.parametrize("freedom", [1, 2, 3, 8, 63])
@pytest.mark.parametrize("statistic", [1e-6, 0.5, 3.84, 60.0, 400.0])
def test_chi_square_tail_is_the_known_one(statistic: float, freedom: int) -> None:
    """The closed form equals scipy's to ten digits."""
    assert chi_square_tail(statistic, freedom) == pytest.approx(stats.chi2.sf(statistic, freedom), rel=1e-10)


def test_chi_square_tail_at_its_ends() -> None:
    """Nothing is below 0, and there is no test without a degree of freedom."""
    assert chi_square_tail(0.0, 3) == 1.0
    with pytest.raises(InvalidLog) as caught:
        chi_square_tail(1.0, 0)
    assert caught.value.code == "freedom_invalid"


def test_equal_probabilities_give_pearsons_statistic() -> None:
    """For one distribution the statistic is Pearson's Σ (O − E)² ÷ E with one degree less than actions."""
    shares = ActionShares()
    for chosen, times in enumerate((30, 50, 20)):
        for _ in range(times):
            shares.add(["a", "b", "c"], np.array([0.25, 0.5, 0.25]), chosen)

    found = shares.test()

    assert found.freedom == 2
    assert found.statistic == pytest.approx(25 / 25 + 0.0 + 25 / 25)
    assert found.p_value == pytest.approx(math.exp(-1.0))
    assert found.worst in {"a", "c"}
    assert (found.expected, found.observed) in {(25.0, 30.0), (25.0, 20.0)}


def test_probabilities_that_differ_make_counts_vary_less() -> None:
    """An epsilon-greedy log that favours each action in turn varies little: Pearson's statistic would see nothing."""
    greedy = (np.array([0.95, 0.05]), np.array([0.05, 0.95]))
    shares = ActionShares()
    for row in range(400):
        shares.add(["a", "b"], greedy[row % 2], 0 if row % 2 == 0 or row < 60 else 1)  # "a" 230 times, 200 expected

    found = shares.test()

    assert found.freedom == 1
    assert found.statistic == pytest.approx(30**2 / (400 * 0.95 * 0.05))
    assert found.p_value < 1e-6
    assert stats.chisquare([230, 170]).pvalue > 1e-3


def test_rare_actions_are_taken_together() -> None:
    """Actions that are expected fewer than five times share a cell, and so a degree of freedom."""
    shares = ActionShares()
    probabilities = np.array([0.5, 0.46, 0.01, 0.01, 0.01, 0.01])
    for row in range(200):
        shares.add(range(6), probabilities, row % 2)

    found = shares.test()

    assert found.freedom == 2
    assert found.worst == "(others)"
    assert found.expected == pytest.approx(8.0)
    assert found.observed == 0.0


@pytest.mark.parametrize("n_actions", [3, 100])
def test_shares_of_shards_and_tables_add_up(n_actions: int) -> None:
    """Events one by one, a table, and two shards of which one was sent through JSON give the same test."""
    rng = np.random.default_rng(8)
    probabilities = rng.dirichlet(np.ones(n_actions), 1_000)
    chosen = rng.integers(n_actions, size=1_000)
    names = [f"action {place}" for place in range(n_actions)]
    one, table, left, right = (ActionShares() for _ in range(4))

    for row in range(1_000):
        one.add(names, probabilities[row], int(chosen[row]))
        backwards = [*reversed(names)]
        if row < 400:
            left.add(names, probabilities[row], int(chosen[row]))
        elif n_actions < 64:
            right.add(backwards, probabilities[row][::-1], n_actions - 1 - int(chosen[row]))
        else:  # which actions share the last cell is up to the shard that met them first
            right.add(names, probabilities[row], int(chosen[row]))
    table.add_table(names, probabilities, chosen)
    both = left + ActionShares.loads(json.loads(json.dumps(right.dumps())))

    for other in (table, both):
        assert other.test().statistic == pytest.approx(one.test().statistic, rel=1e-9)
        assert other.test().freedom == one.test().freedom == min(n_actions, 64) - 1


def test_nothing_to_compare_is_no_mismatch() -> None:
    """Neither an empty log nor one that left nothing to chance says anything about its probabilities."""
    certain = ActionShares()
    for _ in range(50):
        certain.add(["a", "b"], np.array([1.0, 0.0]), 0)

    for shares in (ActionShares(), certain):
        assert (shares.test().p_value, shares.test().freedom) == (1.0, 0)


# ------------------------------------------------------------------------------------------------------- duplicates


def test_duplicates_are_counted_exactly_while_they_fit() -> None:
    """Of five events two were seen before; events without an id are not counted."""
    duplicates = Duplicates()

    duplicates.add(["a", "b", "a", "", "", "c", "a"])

    assert duplicates.is_exact
    assert duplicates.share == 2 / 5


def test_duplicates_beyond_the_limit_are_estimated_in_bounded_memory() -> None:
    """With 50,000 ids, a tenth of them twice, and room for 2,000, the share is right to a percentage point or two."""
    duplicates = Duplicates(limit=2_000)

    duplicates.add(str(number) for number in range(50_000))
    duplicates.add(str(number) for number in range(5_000))

    assert not duplicates.is_exact
    assert len(duplicates.counts) <= 2_000
    assert duplicates.share == pytest.approx(5 / 55, abs=0.03)  # five standard errors of 1,000 kept ids


@pytest.mark.parametrize("limit", [100, 100_000])
def test_duplicates_of_shards_add_up(limit: int) -> None:
    """Shards that each saw an id once find the duplicate together: the same counts as one that saw it all."""
    ids = [str(number % 700) for number in range(1_000)]
    left, right, whole = (Duplicates(limit=limit) for _ in range(3))
    left.add(ids[:600])
    right.add(ids[600:])
    whole.add(ids)

    both = left + Duplicates.loads(json.loads(json.dumps(right.dumps())))

    assert both.counts == whole.counts
    assert both.zero_bits == whole.zero_bits
    assert both.share == whole.share
    assert Duplicates().share == 0.0


def test_duplicates_of_shards_that_do_not_fit_together_are_thinned() -> None:
    """Two shards that each fit, but not both, become an estimate of both."""
    left, right = Duplicates(limit=100), Duplicates(limit=100)
    left.add(str(number) for number in range(90))
    right.add(str(number) for number in range(60, 150))

    both = left + right

    assert left.is_exact
    assert right.is_exact
    assert not both.is_exact
    assert len(both.counts) <= 100
    assert 0.0 < both.share < 0.5


# -------------------------------------------------------------------------------------------------------------- log


def _log() -> LogCounts:
    counts = LogCounts()
    counts.add(np.array([1.0, 0.0, 0.5]), np.array([0.5, 0.25, 0.25]), at=np.array([30.0, math.nan, 10.0]))
    counts.add_sums(np.array([1.0, 0.999_9, 1.0]))
    counts.add_sums(np.array([1.0]))
    return counts


def test_health_is_what_was_seen() -> None:
    """Extremes, the mean and what the reader dropped are reported; a sound log has no findings."""
    health = log_health(_log(), events=3, dropped={"parse_error": 2})

    assert (health.events, health.dropped) == (3, {"parse_error": 2})
    assert (health.first_at, health.last_at) == (10.0, 30.0)
    assert (health.reward_min, health.reward_max, health.reward_mean) == (0.0, 1.0, 0.5)
    assert health.propensity_min == 0.25
    assert health.findings == ()


def test_health_of_nothing_is_unknown() -> None:
    """A log without rows has no figures and no findings."""
    counts = LogCounts()
    counts.add(np.empty(0), np.empty(0))
    counts.add_sums(np.empty(0))

    health = log_health(counts, events=0, dropped={})

    unknown = (health.first_at, health.last_at, health.reward_min, health.reward_mean, health.propensity_min)
    assert all(math.isnan(each) for each in unknown)
    assert health.findings == ()


def test_logs_of_shards_add_up() -> None:
    """Two shards, one sent through JSON, give the health of the whole, slices and duplicates too."""
    shards = []
    whole = LogCounts()
    for shard in range(2):
        counts = LogCounts()
        for each in (counts, whole):
            each.add(np.array([1.0, shard]), np.array([1.0, 0.5 - shard / 4]), at=np.array([1.0, 2.0 + shard]))
            each.add_sums(np.array([1.0, 0.9 + 0.3 * shard]))
            each.add_rewards(10, missing=1 + shard, late=3)
            each.duplicates.add(["same", str(shard)])
            for shares in (each.shares, each.slice("all"), each.slice(str(shard))):
                for _ in range(20):
                    shares.add(["a", "b"], np.array([0.5, 0.5]), shard)
        shards.append(counts)

    both = shards[0] + LogCounts.loads(json.loads(json.dumps(shards[1].dumps())))

    assert log_health(both, events=4, dropped={}) == log_health(whole, events=4, dropped={})
    assert set(both.slices) == {"all", "0", "1"}
    assert both.furthest_sum == pytest.approx(1.2)


def _found(counts: LogCounts) -> dict[str, Finding]:
    return {each.code: each for each in log_health(counts, events=counts.n, dropped={}).findings}


def test_a_bad_log_is_found_out() -> None:
    """Each thing that can be wrong with a log is said, with its figures, and the grave ones are serious."""
    counts = LogCounts()
    counts.add(np.ones(100), np.concatenate([np.ones(5), np.full(94, 0.5), [1e-5]]))
    counts.add_sums(np.concatenate([np.ones(98), [0.7, 1.1]]))
    counts.add_rewards(100, missing=30, late=5)
    counts.duplicates.add(["a", *(str(number) for number in range(48)), "a"])
    for _ in range(100):
        counts.shares.add(["a", "b"], np.array([0.5, 0.5]), 0)
        counts.slice("mobile").add(["a", "b"], np.array([0.5, 0.5]), 0)

    found = _found(counts)

    serious = {"propensity_sum", "action_shares", "missing_rewards", "duplicates"}
    assert {code for code, each in found.items() if each.serious} == serious
    assert set(found) - serious == {"certain", "small_propensity", "rewards_equal", "late_rewards"}
    assert "2.00%" in found["propensity_sum"].detail
    assert "0.7" in found["propensity_sum"].detail
    assert "30.0%" in found["missing_rewards"].detail
    assert "'mobile'" in found["action_shares"].detail
    assert "About" not in found["duplicates"].detail


def test_one_odd_slice_of_many_is_chance() -> None:
    """A p-value of 0.5 % is no finding where fifty slices were looked at, nor is one of 0.2 % in one."""
    counts = LogCounts()
    for number in range(50):
        for row in range(100):
            counts.slice(str(number)).add(["a", "b"], np.array([0.5, 0.5]), int(row < (64 if number == 0 else 50)))

    assert counts.slices["0"].test().p_value < 0.01
    assert _found(counts) == {}


def test_duplicates_that_are_estimated_say_so() -> None:
    """The sentence on duplicates says "about" where not every id was kept."""
    counts = LogCounts(duplicates=Duplicates(limit=50))
    counts.duplicates.add([*(str(number) for number in range(200)), *(str(number) for number in range(200))])

    assert _found(counts)["duplicates"].detail == "About 50.00% of the events are there more than once."


# ------------------------------------------------------------------------------------------------------- candidates

SOUND = {
    "n": 10_000,
    "ess": 5_000.0,
    "max_weight": 5.0,
    "q99_weight": 4.0,
    "mean_weight": 1.0,
    "mean_weight_z": 0.1,
    "share_zero": 0.5,
    "unsupported": 0.0,
    "top_share": 0.001,
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {}),
        ({"unsupported": math.nan}, {}),
        ({"ess": 999.0}, {"low_ess": False}),
        ({"ess": 99.0}, {"low_ess": True}),
        ({"ess": 50.0, "top_share": 0.11}, {"low_ess": True, "heavy_row": True}),
        ({"ess": 0.0, "mean_weight": 0.0}, {"no_weight": True}),
        ({"mean_weight": 1.02, "mean_weight_z": 4.0}, {"mean_weight": False}),
        ({"mean_weight": 0.9, "mean_weight_z": -6.0}, {"mean_weight": True}),
        ({"mean_weight": 0.9, "mean_weight_z": -6.0, "max_weight": 300.0}, {}),
        ({"mean_weight": 0.9, "mean_weight_z": -6.0, "max_weight": 400.0}, {}),
        ({"mean_weight": 3.13, "mean_weight_z": 0.98}, {}),
        ({"mean_weight": 1.001, "mean_weight_z": math.inf}, {}),
        ({"unsupported": 0.02}, {"unsupported": False}),
        ({"unsupported": 0.3}, {"unsupported": True}),
    ],
    ids=str,
)
def test_findings_of_a_candidate(changed: dict[str, float], expected: dict[str, bool]) -> None:
    """Each rule speaks where its threshold is passed, and is serious beyond the second one."""
    figures = Diagnostics(**(SOUND | changed))  # type: ignore[arg-type]  # n is a whole number

    found = {each.code: each.serious for each in candidate_findings(figures)}

    assert found == expected
