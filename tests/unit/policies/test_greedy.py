"""Shares of the decisions drawn evenly, and what the best one gets."""

import pytest

from policies import InvalidInput
from policies.greedy import Epsilon, greedy


def test_the_best_score_gets_what_is_not_explored() -> None:
    """With ε = 0.3 and three scores, 0.1 for each and the rest for the largest."""
    assert greedy([0.5, -1.0, 2.0], 0.3) == pytest.approx([0.1, 0.1, 0.8], abs=1e-15)


def test_without_exploration_the_best_share_all() -> None:
    """Two equal best scores get a half each and the others nothing, infinite ones included."""
    assert greedy([float("inf"), 3.0, float("inf")]).tolist() == [0.5, 0.0, 0.5]


def test_a_constant_share_stays() -> None:
    """Without a decay ε is what was set, after any number of outcomes."""
    assert Epsilon.of(0.1, None, None).at(1e9) == 0.1


@pytest.mark.parametrize(("n_outcomes", "expected"), [(0, 0.4), (300, 0.2), (1_500, 0.1), (9_900, 0.05), (10**9, 0.05)])
def test_a_falling_share_goes_with_the_root_of_the_outcomes(n_outcomes: int, expected: float) -> None:
    """With `decay_after` 100, ε = 0.4 ÷ √(1 + n ÷ 100), and never below the least."""
    assert Epsilon.of(0.4, 100.0, 0.05).at(n_outcomes) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("first", "expected"), [(0.4, 0.01), (0.002, 0.002)])
def test_the_least_share_is_one_in_a_hundred_unless_epsilon_is_less(first: float, expected: float) -> None:
    """Without `least_epsilon` the share falls to 0.01, or stays where it is if that is lower."""
    assert Epsilon.of(first, 1.0, None).at(1e12) == expected


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("epsilon", (0.0, None, None)),
        ("epsilon", (1.1, None, None)),
        ("decay_after", (0.1, 0.5, None)),
        ("decay_after", (0.1, float("nan"), None)),
        ("least_epsilon", (0.1, 10.0, 0.2)),
        ("least_epsilon", (0.1, 10.0, 0.0)),
        ("least_epsilon", (0.1, None, 0.05)),
    ],
)
def test_settings_out_of_range_are_refused(field: str, settings: tuple[float, float | None, float | None]) -> None:
    """A setting out of its range, or without the one that it belongs to, is refused by name."""
    with pytest.raises(InvalidInput) as caught:
        Epsilon.of(*settings)

    assert caught.value.field == field
