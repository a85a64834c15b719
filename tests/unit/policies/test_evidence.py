"""`policies.evidence`: sums that do not depend on their order."""

import math
import random
from collections.abc import Sequence

import pytest

from policies import RunningMean, StateInvalid
from policies.evidence import Evidence

SCORES = [random.Random(5).gauss(0.1, 1.0) * scale for scale in (1e-6, 1.0, 1e9) for _ in range(40)]  # noqa: S311 - test data


def _of(scores: Sequence[float]) -> Evidence:
    evidence = Evidence()
    for score in scores:
        evidence.add(score)
    return evidence


def test_the_order_of_scores_does_not_matter() -> None:
    """Scores of very different sizes give the same sums in any order, to the last bit."""
    assert _of(SCORES).dumps() == _of(SCORES[::-1]).dumps() == _of(sorted(SCORES)).dumps()


def test_the_bounds_are_those_of_a_running_mean() -> None:
    """Mean and spread, and with them the bounds, are those of the scores."""
    scores = [0.5, -0.25, 1.0, 0.0, 0.125] * 8
    moments = RunningMean()
    for score in scores:
        moments.add(score)

    assert _of(scores).interval(0.9) == pytest.approx(moments.interval(0.9), rel=1e-12)


def test_z_is_the_mean_in_standard_errors() -> None:
    """Ten scores of 1 and ten of 0: mean 1/2, standard deviation 1/2, so that z = √20."""
    assert _of([1.0, 0.0] * 10).z == pytest.approx(math.sqrt(20.0))


@pytest.mark.parametrize("scores", [[], [1.0] * 9, [0.25] * 50], ids=["none", "nine", "all alike"])
def test_too_little_says_nothing(scores: list[float]) -> None:
    """Without a spread there is neither a z nor a bound."""
    assert _of(scores).z == 0.0
    assert _of(scores).interval(0.9) is None


def test_what_was_counted_before_is_replaced() -> None:
    """Counting a lane again, further on, leaves the sum of all scores once."""
    pool = _of(SCORES[:10])
    lane = _of(SCORES[10:20])
    pool.count(lane, instead_of=Evidence())
    before = lane.copy()
    for score in SCORES[20:]:
        lane.add(score)

    pool.count(lane, instead_of=before)

    assert pool.dumps() == _of(SCORES).dumps()
    assert before.dumps() == _of(SCORES[10:20]).dumps()


def test_a_state_comes_back() -> None:
    """Loading what was dumped gives the same sums."""
    assert Evidence.loads(_of(SCORES).dumps()).dumps() == _of(SCORES).dumps()


@pytest.mark.parametrize("state", [(1, "x", "0"), (1, "0", ""), (-1, "0", "0"), (1, "0", "-1")])
def test_a_state_that_cannot_be_is_refused(state: tuple[int, str, str]) -> None:
    """Sums that are no numbers, and counts and squares below 0, are refused."""
    with pytest.raises(StateInvalid):
        Evidence.loads(state)
