"""The Poisson bootstrap: its counts, its shards, and what it says of ratios."""

import numpy as np
import pytest

from replay.batch import Batch
from replay.errors import InvalidLog
from replay.estimators.dr import Sndr
from replay.estimators.ips import Ips, Snips
from replay.intervals import Bootstrap
from replay.intervals.bootstrap import COUNT_SHARES


def _batch(n: int, seed: int = 0, *, several: bool = False) -> Batch:
    rng = np.random.default_rng(seed)
    propensities = rng.choice([0.2, 0.5], n)
    q = rng.random(n)
    return Batch.of(
        (rng.random(n) < 0.3).astype(float),
        propensities,
        rng.random(n) * 0.6,
        q_logged=q,
        q_target=q,
        multiplicity=rng.integers(1, 4, n) if several else None,
    )


def _rows(batch: Batch, rows: slice) -> Batch:
    return Batch.of(batch.rewards[rows], batch.propensities[rows], batch.target[rows])


def test_counts_have_the_mean_and_the_variance_of_poisson() -> None:
    """The 256 bytes give counts of mean 1 and variance 1 exactly, and a third moment within 0.4 % of Poisson's 5."""
    counts = np.repeat(np.arange(len(COUNT_SHARES)), COUNT_SHARES)

    assert counts.size == 256
    assert counts.sum() == 256
    assert (counts**2).sum() == 2 * 256
    assert (counts**3).mean() == pytest.approx(5.0, rel=0.004)


def test_counts_are_drawn_as_the_table_says() -> None:
    """Over 256,000 draws each count comes within five standard errors of its share, rows and replicates apart."""
    copies = Bootstrap(seed=3)._copies(7)

    for count, share in enumerate(COUNT_SHARES):
        expected = copies.size * share / 256
        assert abs((copies == count).sum() - expected) < 5 * np.sqrt(expected)
    assert abs(np.corrcoef(copies[0], copies[1])[0, 1]) < 0.2
    assert abs(np.corrcoef(copies[:, 0], copies[:, 1])[0, 1]) < 0.35


@pytest.mark.parametrize("studentised", [False, True], ids=["percentile", "studentised"])
def test_any_split_into_shards_gives_the_same_replicates(studentised: bool) -> None:  # noqa: FBT001 - a table of two
    """Three shards of odd sizes, added in any order, give each replicate of the whole log within 1e-6."""
    batch = _batch(1000)
    whole = Bootstrap(seed=5, studentised=studentised)
    whole.add([Snips().terms(batch)])
    parts = []

    for start, stop in ((0, 137), (137, 700), (700, 1000)):
        part = Bootstrap(seed=5, studentised=studentised)
        part.add([Snips().terms(_rows(batch, slice(start, stop)))], first_row=start)
        parts.append(part)
    merged = parts[2] + (parts[0] + parts[1])

    assert merged.values() == pytest.approx(whole.values(), rel=1e-6)
    one, other = merged.interval(), whole.interval()
    assert (one.lower, one.upper) == pytest.approx((other.lower, other.upper), rel=1e-6)


def test_rows_in_small_batches_are_numbered_on() -> None:
    """Without row numbers, batches follow one another: the same as all at once."""
    batch = _batch(600)
    whole, parts = Bootstrap(), Bootstrap()
    whole.add([Ips().terms(batch)])

    for start in range(0, 600, 100):
        parts.add([Ips().terms(_rows(batch, slice(start, start + 100)))])

    assert parts.values() == pytest.approx(whole.values(), rel=1e-6)
    assert parts.n == 600


@pytest.mark.parametrize("by", [Ips(), Snips(), Sndr()], ids=["ips", "snips", "sndr"])
@pytest.mark.parametrize("several", [False, True], ids=["whole-log", "thinned"])
@pytest.mark.parametrize("studentised", [False, True], ids=["percentile", "studentised"])
def test_its_width_is_that_of_the_delta_method(by: Ips, several: bool, studentised: bool) -> None:  # noqa: FBT001 - a table
    """On 5,000 rows both intervals are within 12 % of the delta method's width, centred within a tenth of it."""
    batch = _batch(5000, several=several)
    by = type(by)()
    by.add(batch)
    bootstrap = Bootstrap(studentised=studentised)
    bootstrap.add([by.terms(batch)], batch.multiplicity)

    ours, delta = bootstrap.interval(), by.interval("gaussian")

    width = delta.upper - delta.lower
    assert ours.upper - ours.lower == pytest.approx(width, rel=0.12)
    assert (ours.lower + ours.upper) / 2 == pytest.approx((delta.lower + delta.upper) / 2, abs=width / 10)


def test_a_ratio_is_divided_by_the_weights_of_its_replicate() -> None:
    """Where all rewards are equal SNIPS does not vary at all, however its weights do."""
    batch = _batch(500)
    equal = Batch.of(np.full(500, 0.7), batch.propensities, batch.target)
    bootstrap = Bootstrap()
    bootstrap.add([Snips().terms(equal), Ips().terms(equal)])

    found = bootstrap.interval(0)

    assert (found.lower, found.upper) == pytest.approx((0.7, 0.7), abs=1e-6)
    assert bootstrap.interval(1).upper - bootstrap.interval(1).lower > 0.01


def test_the_studentised_bootstrap_of_what_does_not_vary_is_a_point() -> None:
    """Rows that are all alike have no standard error to divide by, and the interval is their value."""
    bootstrap = Bootstrap(studentised=True)
    bootstrap.add([Snips().terms(Batch.of(np.ones(64), np.full(64, 0.5), np.full(64, 0.5)))])

    found = bootstrap.interval()

    assert (found.lower, found.upper) == (1.0, 1.0)
    assert "no replicate varies" in found.method


def test_replicates_without_weight_are_left_out() -> None:
    """With one row of weight among three a third of the replicates have none, and the others make the interval."""
    bootstrap = Bootstrap()
    bootstrap.add([Snips().terms(Batch.of([1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, 0.0, 0.0]))])

    assert 200 < np.isnan(bootstrap.values()).sum() < 550
    assert bootstrap.interval().lower == 1.0


def test_no_weight_at_all_says_nothing() -> None:
    """If no replicate has weight the interval is the whole line."""
    bootstrap = Bootstrap()
    bootstrap.add([Snips().terms(Batch.of([1.0, 0.0], [0.5, 0.5], [0.0, 0.0]))])

    assert bootstrap.interval().lower == -np.inf
    assert bootstrap.interval().upper == np.inf


def test_other_seeds_give_other_replicates() -> None:
    """Two seeds share no replicate."""
    batch = _batch(300)
    one, other = Bootstrap(seed=1), Bootstrap(seed=2)
    for each in (one, other):
        each.add([Ips().terms(batch)])

    assert (one.values() != other.values()).mean() > 0.99


def test_it_comes_back_from_plain_numbers() -> None:
    """What was dumped and loaded gives the same interval and can be added to."""
    bootstrap = Bootstrap(seed=4)
    bootstrap.add([Ips().terms(_batch(300))])

    back = Bootstrap.loads(bootstrap.dumps())

    assert back.interval() == bootstrap.interval()
    assert (back + Bootstrap(seed=4)).n == (Bootstrap(seed=4) + back).n == 300


def test_what_does_not_belong_together_is_refused() -> None:
    """Other seeds, other estimators, numbers that do not exist and odd sizes raise `InvalidLog`."""
    batch = _batch(64)
    one, other = Bootstrap(seed=1), Bootstrap(seed=2)
    for each in (one, other):
        each.add([Ips().terms(batch)])

    with pytest.raises(InvalidLog, match="same seed"):
        one + other
    with pytest.raises(InvalidLog, match="every batch"):
        one.add([Snips().terms(batch)])
    with pytest.raises(InvalidLog, match="no estimate number 1"):
        one.interval(1)
    with pytest.raises(InvalidLog, match="multiple of 8"):
        Bootstrap(n_replicates=100 - 3)
