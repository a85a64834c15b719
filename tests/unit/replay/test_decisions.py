"""From slots to decisions: the same means, counted once a decision."""

import numpy as np
import pytest

from replay.batch import Batch
from replay.decisions import Decisions
from replay.estimators import ESTIMATORS, estimator
from replay.sums import Sums, Terms

NUMBER = np.array([3, 3, 4, 7, 7, 7])
THIRD = 1 / 3


def _rows(seed: int = 0) -> Batch:
    random = np.random.default_rng(seed)
    return Batch.of(
        random.random(6),
        random.uniform(0.2, 1.0, 6),
        random.random(6),
        q_logged=random.random(6),
        q_target=random.random(6),
        multiplicity=[1.0] * 6,
    )


def test_rows_with_one_number_are_one_decision() -> None:
    """Neighbouring rows with the same number are one decision, which stands for what they stand for together."""
    found = Decisions.of(NUMBER, np.array([0.5, 0.5, 4.0, THIRD, THIRD, THIRD]))

    assert found.starts.tolist() == [0, 2, 3]
    assert found.multiplicity.tolist() == [1.0, 4.0, 1.0]
    assert found.shares == pytest.approx([0.5, 0.5, 1.0, THIRD, THIRD, THIRD])
    assert found.most_rows == 3


@pytest.mark.parametrize("n_slots", [3, 7, 10, 49])
def test_slots_shares_make_up_one_decision(n_slots: int) -> None:
    """However many slots share a decision, rounding does not make it stand for less than one."""
    found = Decisions.of(np.repeat([0, 1], n_slots), np.full(2 * n_slots, 1 / n_slots))

    assert found.multiplicity.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "replay"])
def test_the_value_of_decisions_is_that_of_their_rows(name: str) -> None:
    """Every estimator has the same value by decisions as by rows; only what is counted as independent differs."""
    rows, by = _rows(), estimator(name, clip=1.2, tau=1.2, lam=0.5)
    multiplicity = np.array([0.5, 0.5, 4.0, THIRD, THIRD, THIRD])
    decisions = Decisions.of(NUMBER, multiplicity)

    terms = by.terms(rows)
    found = Sums.of(decisions.terms(terms), decisions.multiplicity)

    assert found.value == pytest.approx(Sums.of(terms, multiplicity).value, rel=1e-12)
    assert found.n == 3
    assert found.residual_max <= terms.residual.max() + 1e-12
    assert found.residual_min >= terms.residual.min() - 1e-12


def test_what_weights_multiply_is_their_mean_reward() -> None:
    """A decision's reward is the mean of its slots' by their weights; without any weight the plain mean."""
    rows = Terms(
        numerator=np.array([2.0, 0.0, 0.0, 0.0]),
        weight=np.array([2.0, 1.0, 0.0, 0.0]),
        residual=np.array([1.0, 0.0, 1.0, 0.0]),
    )

    found = Decisions.of(np.array([0, 0, 1, 1]), None).terms(rows)

    assert found.numerator.tolist() == [1.0, 0.0]
    assert found.weight.tolist() == [1.5, 0.0]
    assert found.residual == pytest.approx([2 / 3, 0.5])


def test_decisions_as_rows_earn_what_their_rows_earn() -> None:
    """As rows, decisions have the weighted rewards of theirs, and a multiplicity only where any stands for several."""
    rows = _rows(1)
    decisions = Decisions.of(NUMBER, np.array([0.5, 0.5, 1.0, THIRD, THIRD, THIRD]))

    found = decisions.batch(rows)

    assert found.weights * found.rewards == pytest.approx(decisions.mean(rows.weights * rows.rewards))
    assert found.multiplicity is None
    assert Decisions.of(NUMBER, np.full(6, 2.0)).batch(rows).multiplicity is not None
