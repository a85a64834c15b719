"""What the runs add up to."""

import math

import numpy as np
import pytest

from bench.defaults_table import Clicks, Results, clicks_table, interval
from replay import Matching

# Two problems, three seeds: "good" leads "old" by 0.1 on the first and lies behind by 0.3 on the second.
RESULTS = Results(
    ["old", "good"],
    ["p", "q"],
    np.array([[[0.4, 0.5, 0.6], [0.7, 0.8, 0.9]], [[0.5, 0.6, 0.7], [0.4, 0.5, 0.6]]]),
    "old",
)


def test_interval() -> None:
    """1, 2, 3 have mean 2 and, with 4.3027 for two degrees of freedom, 2.4841 to either side."""
    estimate = interval(np.array([1.0, 2.0, 3.0]))

    assert estimate.mean == 2.0
    assert estimate.half == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)
    assert estimate.clear == 0


def test_one_value_says_nothing() -> None:
    """The interval of a single value is infinitely wide, so that nothing is clear."""
    estimate = interval(np.array([5.0]))

    assert (estimate.mean, estimate.half, estimate.clear) == (5.0, math.inf, 0)


def test_paired_lead() -> None:
    """Leads are taken seed by seed: the same lead at each seed is a clear one, however the seeds differ."""
    leads = RESULTS.leads("good")

    assert leads["p"].mean == pytest.approx(0.1)
    assert leads["q"].mean == pytest.approx(-0.3)
    assert [lead.clear for lead in leads.values()] == [1, -1]


def test_mean_lead() -> None:
    """The mean lead weighs the problems alike, and its interval is over them: half of 0.4 apart, times 12.706."""
    lead = RESULTS.lead("good")

    assert lead.mean == pytest.approx(-0.1)
    assert lead.half == pytest.approx(12.706 * 0.2, abs=1e-3)


def test_rank_and_worst() -> None:
    """Each is first once, so both have rank 1.5; the worst place of a player is told with its distance to the best."""
    assert RESULTS.rank("old") == RESULTS.rank("good") == 1.5
    for player, problem, behind in (("good", "q", 0.3), ("old", "p", 0.1)):
        assert RESULTS.worst(player)[0] == problem
        assert RESULTS.worst(player)[1] == pytest.approx(behind)


def test_tables() -> None:
    """The best mean comes first, and the best of each problem is bold."""
    assert RESULTS.by_mean() == ["old", "good"]
    assert [line.split(" | ")[0] for line in RESULTS.summary()] == [
        "| policy",
        "|---|---|---|---|---|---|",
        "| old",
        "| good",
    ]
    assert RESULTS.detail(["q"])[2:] == ["| old | **80.0 ± 24.8** |", "| good | 50.0 ± 24.8 |"]
    assert "| 1, 1 | 1.5 | 30: q |" in RESULTS.summary()[3]


def test_clicks() -> None:
    """Clicks are summed over the orders; the interval is that of one order, since all share the same clicks."""
    first, second = Matching(), Matching()
    for i in range(10):
        first.add(matched=True, reward=float(i == 0))
        second.add(matched=True, reward=float(i < 3))

    clicks = Clicks.of([first, second])

    assert clicks.per_1000 == pytest.approx(200)
    assert clicks.n_matched == 10
    assert clicks.low == pytest.approx(1_000 * (first.interval()[0] + second.interval()[0]) / 2)
    assert clicks_table({"a": clicks})[2].startswith("| a | 200.0 | ")
