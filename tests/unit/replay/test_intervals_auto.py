"""The rules by which an interval is chosen, one by one."""

import numpy as np
import pytest

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.errors import InvalidLog
from replay.estimators.base import Estimator
from replay.estimators.dr import Dm, Dr, SwitchDr
from replay.estimators.ips import ClippedIps, Ips, Snips
from replay.intervals import Interval, clopper_pearson, interval
from replay.sums import JointSums, PairedSums, Terms


def _seen(by: Estimator, *columns: object, **more: object) -> Estimator:
    by.add(Batch.of(*columns, **more))  # type: ignore[arg-type]  # what Batch.of takes, passed on
    return by


def _log(n: int, rate: float, *, seed: int = 0, k: int = 4) -> Batch:
    """Rows of a uniform log with a target that always plays one action."""
    rng = np.random.default_rng(seed)
    return Batch.of((rng.random(n) < rate).astype(float), np.full(n, 1 / k), (rng.random(n) < 1 / k).astype(float))


def _auto(by: Estimator, batch: Batch, *, max_weight: float | None = None) -> Interval:
    by.add(batch)
    found: Interval = by.interval(max_weight=max_weight)
    return found


def test_rows_that_never_agree_with_the_target_say_nothing() -> None:
    """Rule 1: without weight the interval is the whole range, and says why."""
    by = _seen(Ips(), [0.0, 1.0], [0.5, 0.5], [0.0, 0.0])

    found = by.interval(reward_range=(-1.0, 3.0))

    assert (found.lower, found.upper) == (-1.0, 3.0)
    assert "no row speaks" in found.method


def test_a_thousand_rows_without_a_click_do_not_prove_a_rate_of_zero() -> None:
    """Rule 2: 1,000 rewards of 0 with weight 1 bound the rate by the exact 1 − 0.05^(1/1000), not by 0."""
    by = _seen(Ips(), np.zeros(1000), np.full(1000, 0.5), np.full(1000, 0.5))

    found = by.interval()

    assert found.lower == 0.0
    assert found.upper == pytest.approx(1 - 0.05 ** (1 / 1000), rel=1e-9)
    assert "all rewards with weight are equal" in found.method


def test_ten_successes_do_not_prove_a_rate_of_one() -> None:
    """Rule 2 on the other side: ten rewards of 1 leave room down to 0.05^(1/10) at least."""
    by = _seen(Snips(), np.ones(10), np.full(10, 0.5), np.full(10, 0.5))

    found = by.interval()

    assert found.upper == 1.0
    assert 0.5 < found.lower <= 0.05 ** (1 / 10)


def test_equal_rewards_inside_the_range_leave_both_ends_open() -> None:
    """Rule 2: rewards that are all 0.5 are inside the interval, not at its end."""
    by = _seen(Ips(), np.full(30, 0.5), np.full(30, 0.5), np.full(30, 0.5))

    found = by.interval()

    assert found.lower < 0.4
    assert found.upper > 0.6


def test_weights_that_are_all_one_give_the_interval_of_a_mean() -> None:
    """The logging policy itself gets an interval like Clopper & Pearson's for its own mean, a little narrower."""
    clicks = np.repeat([0.0, 1.0], [160, 40])
    by = _seen(Ips(), clicks, np.full(200, 0.3), np.full(200, 0.3))

    found = by.interval()

    lower, upper = clopper_pearson(40, 200)
    assert 0.85 * (upper - lower) < found.upper - found.lower < 1.02 * (upper - lower)


def test_every_estimator_without_a_model_has_the_same_interval() -> None:
    """IPS and SNIPS differ in their value and not in what the log allows."""
    batch = _log(300, 0.4)

    assert _auto(Ips(), batch) == _auto(Snips(), batch)


def test_few_successes_are_a_whole_phantom_row_and_many_a_tenth() -> None:
    """Rule 3: the phantom's mass falls from 1 to 0.1 as effective rewards grow, and the method says so."""
    few, many = _auto(Ips(), _log(40, 0.2)), _auto(Ips(), _log(20_000, 0.5))

    assert "phantom mass 1 and" in few.method or "and 1 at" in few.method
    assert "phantom mass 0.1 and 0.1" in many.method


def test_many_rows_are_as_narrow_as_the_delta_method() -> None:
    """On 20,000 rows the interval is within 1 % of SNIPS's by the delta method."""
    batch, by = _log(20_000, 0.5), Snips()

    ours = _auto(by, batch)

    delta = by.interval("gaussian")
    assert ours.upper - ours.lower == pytest.approx(delta.upper - delta.lower, rel=0.01)


def test_few_successes_move_the_lower_end_in() -> None:
    """Rule 4: with three weighted successes the lower end is Clopper & Pearson's for three of all rows."""
    clicks = np.zeros(2000)
    clicks[:3] = 1.0
    target = np.zeros(2000)
    target[:100] = 1.0
    by = _seen(Ips(), clicks, np.full(2000, 0.05), target)

    found = by.interval()

    assert found.lower == pytest.approx(20 * clopper_pearson(3, 2000)[0], rel=1e-9)
    assert "lower end by clopper-pearson" in found.method


def test_few_failures_move_the_upper_end_in() -> None:
    """Rule 4 mirrored: rewards turned round give the interval turned round."""
    batch = _log(400, 0.02, k=5)
    turned = Batch.of(1.0 - batch.rewards, batch.propensities, batch.target)
    assert batch.rewards @ batch.target > 0

    one, other = _auto(Ips(), batch), _auto(Ips(), turned)

    assert (other.lower, other.upper) == pytest.approx((1 - one.upper, 1 - one.lower), abs=1e-12)
    assert "upper end by clopper-pearson" in other.method


@pytest.mark.parametrize("scale", [(-3.0, 5.0), (0.0, 10.0)], ids=["shifted", "stretched"])
def test_the_unit_of_rewards_does_not_matter(scale: tuple[float, float]) -> None:
    """Rewards in another unit give the same interval in that unit."""
    low, high = scale
    batch = _log(500, 0.3)
    other = Snips()
    other.add(Batch.of(low + (high - low) * batch.rewards, batch.propensities, batch.target))

    expected = _auto(Snips(), batch)
    found = other.interval(reward_range=scale)

    assert found.lower == pytest.approx(low + (high - low) * expected.lower, abs=1e-9)
    assert found.upper == pytest.approx(low + (high - low) * expected.upper, abs=1e-9)


def test_a_larger_bound_on_weights_widens_the_interval_of_a_small_log() -> None:
    """What is not known of weights is paid for in width."""
    batch = _log(60, 0.3)

    near, far = _auto(Ips(), batch, max_weight=4.0), _auto(Ips(), batch, max_weight=40.0)

    assert far.upper - far.lower > near.upper - near.lower
    assert "(given)" in near.method


@pytest.mark.parametrize(
    ("propensities", "target", "words"),
    [
        pytest.param([0.5, 0.5, 0.1], [0.4, 0.9, 0.02], "three times the largest seen", id="bound-far-away"),
        pytest.param([0.5, 0.5, 0.4], [0.4, 0.9, 0.3], "from the least propensity", id="bound-near"),
    ],
)
def test_without_a_given_bound_the_method_says_where_it_is_from(
    propensities: list[float], target: list[float], words: str
) -> None:
    """The bound on weights is three times the largest seen, or what propensities allow where that is less."""
    found = _auto(Ips(), Batch.of([0.0, 1.0, 1.0] * 20, propensities * 20, target * 20))

    assert words in found.method


def test_a_weight_above_the_given_bound_counts_instead_of_it() -> None:
    """The largest weight seen replaces a bound that it breaks, and the method says so."""
    found = _auto(Ips(), _log(200, 0.4), max_weight=2.0)

    assert "weight 4 (seen, above the one given)" in found.method


def test_rows_that_stand_for_several_reach_further() -> None:
    """A log that was thinned out gives a wider interval than as many rows that stand for themselves."""
    batch = _log(400, 0.3)
    thinned = Batch.of(batch.rewards, batch.propensities, batch.target, multiplicity=np.tile([1.0, 1.0, 1.0, 5.0], 100))

    one, other = _auto(Snips(), batch), _auto(Snips(), thinned)

    assert other.upper - other.lower > one.upper - one.lower
    assert "weight 20 " in other.method


def test_a_good_reward_model_narrows_the_interval() -> None:
    """Doubly robust with the true means is narrower than SNIPS on the same 2,000 rows, and holds the truth."""
    rng = np.random.default_rng(4)
    means = rng.choice([0.05, 0.95], 2000)
    batch = Batch.of(
        (rng.random(2000) < means).astype(float),
        np.full(2000, 0.5),
        rng.random(2000),
        q_logged=means,
        q_target=np.full(2000, 0.5),
    )

    plain, doubly = _auto(Snips(), batch), _auto(Dr(), batch)

    assert doubly.upper - doubly.lower < 0.7 * (plain.upper - plain.lower)
    assert doubly.lower < 0.5 < doubly.upper


def test_a_reward_model_alone_does_not_hide_that_no_row_has_weight() -> None:
    """Doubly robust without a row that the target agrees with rules nothing out, however alike the predictions are."""
    q = np.linspace(0.2, 0.6, 40)
    batch = Batch.of(np.zeros(40), np.full(40, 0.5), np.zeros(40), q_logged=q, q_target=q)

    found = _auto(Dr(), batch)

    assert (found.lower, found.upper) == (0.0, 1.0)
    assert "no row speaks of the target" in found.method


def test_a_model_that_predicts_the_same_everywhere_changes_next_to_nothing() -> None:
    """One prediction for all rows leaves the interval of IPS, but for how effective rewards are counted."""
    batch = _log(300, 0.4)
    same = np.full(300, 0.3)
    modelled = Batch.of(batch.rewards, batch.propensities, batch.target, q_logged=same, q_target=same)

    plain, doubly = _auto(Ips(), batch), _auto(Dr(), modelled)

    assert (doubly.lower, doubly.upper) == pytest.approx((plain.lower, plain.upper), abs=1e-4)


def test_one_odd_prediction_hardly_widens_the_interval_of_the_others() -> None:
    """How far a missing reward can pull is told by the mean prediction, not by the most extreme one of 300."""
    batch = _log(300, 0.4)
    usual = np.full(300, 0.4)
    odd = np.where(np.arange(300) == 0, 1.0, usual)
    logs = [Batch.of(batch.rewards, batch.propensities, batch.target, q_logged=q, q_target=q) for q in (usual, odd)]

    ours, widened = (_auto(Dr(), each) for each in logs)

    assert widened.upper - widened.lower == pytest.approx(ours.upper - ours.lower, rel=0.02)


def test_the_average_of_clipped_weights_and_clicks_is_not_below_zero() -> None:
    """Where no reward is below 0, neither is what clipped weights average; the interval says so too."""
    by = ClippedIps(clip=100.0)
    rows = 10_000
    rewards = (np.arange(rows) % 1000 == 0).astype(float)
    target = np.where(np.arange(rows) == 0, 0.4, 0.01)
    propensities = np.where(np.arange(rows) == 0, 0.001, 0.01)

    found = _auto(by, Batch.of(rewards, propensities, target))

    assert found.lower >= 0.0
    assert found.upper > by.value > 0.0


def test_the_direct_methods_interval_says_that_it_tells_of_predictions_alone() -> None:
    """The spread of predictions is called that."""
    rng = np.random.default_rng(5)
    q = rng.random(300)
    batch = Batch.of(rng.random(300), np.full(300, 0.5), rng.random(300), q_logged=q, q_target=q)

    found = _auto(Dm(), batch)

    assert found.lower < q.mean() < found.upper
    assert "how predictions vary" in found.method


@pytest.mark.parametrize("by", [ClippedIps(clip=1.5), SwitchDr(tau=1.5)], ids=["ips_clipped", "switch_dr"])
def test_smaller_weights_have_an_interval_around_their_own_value(by: Estimator) -> None:
    """Clipped weights average something else than the policy's value, and their interval says so."""
    q, target = np.full(500, 0.3), np.random.default_rng(8).random(500)
    batch = _log(500, 0.4)

    found = _auto(by, Batch.of(batch.rewards, batch.propensities, target, q_logged=q, q_target=q))

    assert found.lower < by.value < found.upper
    assert "not of the policy's value" in found.method


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        pytest.param({"level": 1.0}, "level", id="level"),
        pytest.param({"reward_range": (1.0, 0.0)}, "reward_range", id="range"),
        pytest.param({"max_weight": 0.5}, "max_weight", id="max-weight"),
        pytest.param({"max_weight": float("nan")}, "max_weight", id="max-weight-nan"),
        pytest.param({"method": "guess"}, "interval", id="method"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, object], field: str) -> None:
    """A setting out of its range raises `InvalidLog` that names it."""
    with pytest.raises(InvalidLog) as raised:
        interval(Ips().sums, **settings)  # type: ignore[arg-type]  # wrong on purpose

    assert raised.value.field == field


def test_methods_that_do_not_fit_are_refused() -> None:
    """Clopper-Pearson is not for reward models, and not for differences."""
    batch = Batch.of([0.0, 1.0], [0.5, 0.5], [0.2, 0.9], q_logged=[0.1, 0.2], q_target=[0.1, 0.2])
    by = Dr()
    by.add(batch)

    with pytest.raises(InvalidLog, match="for ips and snips"):
        by.interval("clopper_pearson")
    with pytest.raises(InvalidLog, match="one policy's value"):
        interval(PairedSums.of(Ips().terms(batch), Ips().terms(batch)), "cressie_read")


def test_a_policy_does_not_differ_from_itself() -> None:
    """The paired difference of a policy and itself is 0, with a narrow interval around it or none."""
    batch = _log(100, 0.4)
    logged = Batch.of(batch.rewards, batch.propensities, batch.propensities)

    varied = interval(PairedSums.of(Snips().terms(batch), Snips().terms(batch)))
    constant = interval(PairedSums.of(Snips().terms(logged), Snips().terms(logged)))

    assert varied.lower <= 0.0 <= varied.upper
    assert (constant.lower, constant.upper) == (0.0, 0.0)


def test_a_paired_difference_is_tighter_than_two_intervals() -> None:
    """The lift of a policy near the baseline is known far better than either policy alone."""
    rng = np.random.default_rng(6)
    rewards, propensities = (rng.random(3000) < 0.4).astype(float), np.full(3000, 0.25)
    target, baseline = np.full(3000, 0.25) + rng.normal(size=3000) * 0.02, np.full(3000, 0.25)
    one, other = (Batch.of(rewards, propensities, np.clip(p, 0, 1)) for p in (target, baseline))

    lift = interval(PairedSums.of(Snips().terms(one), Snips().terms(other)))

    alone = _auto(Snips(), other)
    assert lift.upper - lift.lower < 0.3 * (alone.upper - alone.lower)


def test_a_difference_without_support_says_nothing() -> None:
    """If one of both policies never agrees with the log, the lift may be anything."""
    rows = Batch.of([0.0, 1.0], [0.5, 0.5], [0.5, 0.5])
    none = Batch.of([0.0, 1.0], [0.5, 0.5], [0.0, 0.0])

    found = interval(PairedSums.of(Ips().terms(rows), Ips().terms(none)))

    assert (found.lower, found.upper) == (-1.0, 1.0)


def test_sums_of_several_parts_have_a_gaussian_interval() -> None:
    """What has no rule of its own, such as the slots of a slate, gets the delta method under "auto"."""
    batch = _log(200, 0.4)
    joint = JointSums.over([Ips().terms(batch), Ips().terms(batch)], [1.0, 1.0])

    found = interval(joint)

    assert found.method.startswith("gaussian")
    assert found.lower < joint.value < found.upper


@pytest.mark.parametrize("by", [Ips, Dr])
@pytest.mark.parametrize("n", [200, 2_000])
def test_a_baseline_between_both_policies_has_its_share_of_the_lift(n: int, by: type[Estimator]) -> None:
    """The lift on 0.8 candidate + 0.2 log is 0.2 of the lift on the log, and so is its interval.

    Both weights lie on a line then, and a phantom off that line would have no say.
    """
    rng = np.random.default_rng(3)
    best = rng.random(n) < 0.925
    propensities, rewards = np.where(best, 0.925, 0.025), (rng.random(n) < 0.5).astype(float)
    q = rng.random(n)

    def terms(target: FloatArray, expected: FloatArray) -> Terms:
        return by().terms(Batch.of(rewards, propensities, target, q_logged=q, q_target=expected))

    def lift(share: float) -> Interval:
        baseline = terms(share * best + (1.0 - share) * propensities, q + share * 0.05)
        return interval(PairedSums.of(terms(best.astype(float), q + 0.05), baseline))

    whole, fifth = lift(0.0), lift(0.8)

    width = 0.2 * (whole.upper - whole.lower)
    assert fifth.lower == pytest.approx(0.2 * whole.lower, abs=0.002 * width)
    assert fifth.upper == pytest.approx(0.2 * whole.upper, abs=0.002 * width)


def test_what_a_candidate_lacks_at_one_end_its_baseline_lacks_at_the_other() -> None:
    """The interval of the lift of one policy on another is that of the other on the one, mirrored."""
    rng = np.random.default_rng(8)
    chosen = rng.integers(4, size=400)
    clicks = (rng.random(400) < 0.02).astype(float)
    one, other = (Batch.of(clicks, np.full(400, 0.25), (chosen == each).astype(float)) for each in (0, 1))

    there = interval(PairedSums.of(Ips().terms(one), Ips().terms(other)))
    back = interval(PairedSums.of(Ips().terms(other), Ips().terms(one)))

    assert (back.lower, back.upper) == pytest.approx((-there.upper, -there.lower), rel=1e-9)
