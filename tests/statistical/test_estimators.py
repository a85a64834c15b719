"""Estimators against a truth that is known: unbiased where they promise it, and as spread as their errors say."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from policies.protocol import FloatArray
from replay.batch import Batch
from replay.diagnostics import ActionShares
from replay.estimators import (
    CascadeDr,
    CascadeIps,
    EmbeddedBatch,
    IndependentIps,
    Mips,
    PseudoInverse,
    RewardInteractionIps,
    SlateBatch,
    SlateEstimator,
    SlateIps,
    estimator,
)

SIGMAS = 5.5  # two-sided false alarm 4e-8 a number; some 40 numbers are compared
N_LOGS, N_ROWS, N_ACTIONS = 400, 500, 6
LOGGING = np.array([0.3, 0.25, 0.2, 0.1, 0.1, 0.05])
TARGET = np.array([0.05, 0.05, 0.1, 0.2, 0.3, 0.3])
MEANS = np.array([0.2, 0.3, 0.7, 0.5, 0.4, 0.8])
TRUTH = float(TARGET @ MEANS)


def _mean_and_error(values: list[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _log(rng: np.random.Generator, predicted: FloatArray, *, dropped: float = 0.0) -> Batch:
    action = rng.choice(N_ACTIONS, N_ROWS, p=LOGGING)
    reward = (rng.random(N_ROWS) < MEANS[action]).astype(float)
    # A log that keeps all successes and few failures: each failure stands for several.
    kept = (reward > 0.0) | (rng.random(N_ROWS) >= dropped)
    multiplicity = np.where(reward > 0.0, 1.0, 1.0 / (1.0 - dropped))
    return Batch.of(
        reward[kept],
        LOGGING[action][kept],
        TARGET[action][kept],
        q_logged=predicted[action][kept],
        q_target=np.full(int(kept.sum()), predicted @ TARGET),
        multiplicity=multiplicity[kept] if dropped else None,
    )


@pytest.mark.parametrize("name", ["ips", "dr"])
def test_unbiased_estimators_are(name: str) -> None:
    """The mean of 400 estimates is the truth within its error, also with a reward model that is wrong."""
    rng = np.random.default_rng(1)
    values, errors = [], []
    for _ in range(N_LOGS):
        by = estimator(name)
        by.add(_log(rng, MEANS[::-1]))
        values.append(by.value)
        errors.append(math.sqrt(by.sums.squares * N_ROWS / (N_ROWS - 1)) / N_ROWS)

    mean, error = _mean_and_error(values)

    assert abs(mean - TRUTH) < SIGMAS * error
    # of 400 values a standard deviation is known to one part in 28, the mean of errors to much less
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=SIGMAS / 28)


@pytest.mark.parametrize("name", ["snips", "sndr"])
def test_self_normalised_estimators_are_nearly_unbiased_and_know_their_error(name: str) -> None:
    """The bias of a ratio is below a hundredth, and the delta method's errors are those that are seen."""
    rng = np.random.default_rng(2)
    values, errors = [], []
    for _ in range(N_LOGS):
        by = estimator(name)
        by.add(_log(rng, MEANS[::-1]))
        values.append(by.value)
        errors.append(math.sqrt(by.sums.squares) / N_ROWS)

    mean, error = _mean_and_error(values)

    assert abs(mean - TRUTH) < SIGMAS * error + 0.01
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=SIGMAS / 28)


@pytest.mark.parametrize("name", ["ips", "snips", "dr", "sndr"])
def test_logs_that_were_thinned_out_by_reward_are_weighted_right(name: str) -> None:
    """Where nine of ten failures were dropped, values are still about the truth, and errors those that are seen."""
    rng = np.random.default_rng(3)
    values, errors = [], []
    for _ in range(N_LOGS):
        by = estimator(name)
        batch = _log(rng, MEANS, dropped=0.9)
        by.add(batch)
        values.append(by.value)
        errors.append(math.sqrt(by.sums.squares) / by.sums.total)

    mean, error = _mean_and_error(values)

    assert abs(mean - TRUTH) < SIGMAS * error + 0.01
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=SIGMAS / 28)


def test_a_good_model_makes_dr_tighter() -> None:
    """With the true means as predictions the doubly robust error is at most nine tenths of plain IPS's."""
    rng = np.random.default_rng(4)
    plain, robust = estimator("ips"), estimator("dr")
    for _ in range(20):
        batch = _log(rng, MEANS)
        plain.add(batch)
        robust.add(batch)

    assert robust.sums.squares < 0.9**2 * plain.sums.squares


def test_mips_is_unbiased_where_the_embedding_carries_all() -> None:
    """Rewards that depend on the brand alone: weights of brands are unbiased, and less spread than those of actions."""
    rng = np.random.default_rng(5)
    groups = np.array([0, 0, 0, 1, 1, 1])
    by_brand = np.array([0.3, 0.6])
    logging, target = np.tile(LOGGING, (N_ROWS, 1)), np.tile(TARGET, (N_ROWS, 1))
    values, spread = [], []
    for _ in range(N_LOGS):
        action = rng.choice(N_ACTIONS, N_ROWS, p=LOGGING)
        reward = (rng.random(N_ROWS) < by_brand[groups[action]]).astype(float)
        mips, ips = Mips(), estimator("ips")
        mips.add_embedded(EmbeddedBatch.of_groups(reward, logging, target, groups=groups, chosen=action))
        ips.add(Batch.of(reward, LOGGING[action], TARGET[action]))
        values.append(mips.value)
        spread.append(mips.sums.used.ess / ips.sums.used.ess)

    mean, error = _mean_and_error(values)

    assert abs(mean - float(TARGET @ by_brand[groups])) < SIGMAS * error
    assert min(spread) > 1.0


# ----------------------------------------------------------------------------------------------------------- slates

SLOTS, CHOICES = 3, 3
SLATE_LOGGING = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])  # a product logger, slot by slot
SLATE_TARGET = np.array([[0.2, 0.3, 0.5], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]])
EFFECT = np.array([[0.1, 0.4, 0.7], [0.2, 0.3, 0.5], [0.6, 0.2, 0.4]])


def _independent(chosen: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> FloatArray:
    """Each slot earns by its own choice."""
    return np.stack([EFFECT[slot, chosen[:, slot]] for slot in range(SLOTS)], axis=1)


def _cascade(chosen: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> FloatArray:
    """A slot earns half if the one before it chose the same."""
    means = _independent(chosen)
    means[:, 1:] *= np.where(chosen[:, 1:] == chosen[:, :-1], 0.5, 1.0)
    return means


def _all_or_nothing(chosen: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> FloatArray:
    """Earn in the last slot if all slots chose the last option."""
    means = np.zeros(chosen.shape)
    means[:, -1] = 0.9 * (chosen == CHOICES - 1).all(axis=1)
    return means


def _slate_truth(world: Callable[..., FloatArray]) -> float:
    slates = np.array(np.meshgrid(*[range(CHOICES)] * SLOTS, indexing="ij")).reshape(SLOTS, -1).T
    share = np.prod([SLATE_TARGET[slot, slates[:, slot]] for slot in range(SLOTS)], axis=0)
    return float(share @ world(slates).sum(axis=1))


@pytest.mark.parametrize(
    ("kind", "world", "slack"),
    [
        (SlateIps, _cascade, 0.0),
        (CascadeIps, _cascade, 0.0),
        (CascadeDr, _cascade, 0.0),
        (RewardInteractionIps, _cascade, 0.01),
        (IndependentIps, _independent, 0.0),
        (PseudoInverse, _independent, 0.0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_slate_estimators_are_right_in_their_world(
    kind: type[SlateEstimator], world: Callable[..., FloatArray], slack: float
) -> None:
    """Each is about the truth where slots act on each other as it assumes; errors are those that are seen."""
    rng = np.random.default_rng(6)
    values, errors = [], []
    for _ in range(N_LOGS):
        by = kind()
        by.add(_slates(rng, world))
        values.append(by.value)
        assert by.sums is not None
        errors.append(math.sqrt(by.sums.squares) / N_ROWS)

    mean, error = _mean_and_error(values)

    assert abs(mean - _slate_truth(world)) < SIGMAS * error + slack
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=SIGMAS / 28)


@pytest.mark.parametrize("kind", [IndependentIps, PseudoInverse], ids=lambda kind: kind.name)
def test_slate_estimators_are_wrong_where_slots_meddle(kind: type[SlateEstimator]) -> None:
    """The ones that let no slot act on another are off where one does: their assumption is no formality."""
    rng = np.random.default_rng(7)
    values = []
    for _ in range(N_LOGS):
        by = kind()
        by.add(_slates(rng, _all_or_nothing))
        values.append(by.value)

    mean, error = _mean_and_error(values)

    assert abs(mean - _slate_truth(_all_or_nothing)) > SIGMAS * error


def _slates(rng: np.random.Generator, world: Callable[..., FloatArray]) -> SlateBatch:
    chosen = np.stack([rng.choice(CHOICES, N_ROWS, p=SLATE_LOGGING[slot]) for slot in range(SLOTS)], axis=1)
    rewards = (rng.random((N_ROWS, SLOTS)) < world(chosen)).astype(float)
    slots = np.arange(SLOTS)
    # A model that knows the slots' own effects: of a slot and of all after it, under the target.
    after = np.append((SLATE_TARGET * EFFECT).sum(axis=1)[::-1].cumsum()[::-1], 0.0)
    return SlateBatch.of(
        rewards,
        SLATE_LOGGING[slots, chosen],
        SLATE_TARGET[slots, chosen],
        q_logged=EFFECT[slots, chosen] + after[1:],
        q_target=np.broadcast_to(after[:-1], rewards.shape),
    )


# ------------------------------------------------------------------------------------------------------ diagnostics


def test_the_test_for_a_sample_ratio_mismatch_holds_its_level() -> None:
    """On sound epsilon-greedy logs p-values are uniform: a tenth of 2,000 is below 0.1, where Pearson's has none."""
    rng = np.random.default_rng(8)
    p_values, pearson = [], []
    for _ in range(2_000):
        play = np.full((300, 3), 0.1)
        play[np.arange(300), rng.integers(3, size=300)] += 0.7
        chosen = (rng.random(300)[:, None] > play.cumsum(axis=1)[:, :-1]).sum(axis=1)
        shares = ActionShares()
        shares.add_table(["a", "b", "c"], play, chosen)
        p_values.append(shares.test().p_value)
        expected = play.sum(axis=0)
        pearson.append(float(((np.bincount(chosen, minlength=3) - expected) ** 2 / expected).sum()))

    below = np.mean(np.array(p_values) < 0.1)

    assert below == pytest.approx(0.1, abs=SIGMAS * math.sqrt(0.1 * 0.9 / 2_000))
    assert np.mean(np.array(pearson) > 4.605) < 0.01  # its own tenth
