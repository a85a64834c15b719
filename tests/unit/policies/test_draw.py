"""The draw, step by step."""

import hashlib
import hmac
import math

import pytest

from policies import checked, draw, uniform


def test_uniform_is_the_top_of_an_hmac() -> None:
    """The number is the top 53 bits of HMAC-SHA256(key, lane NUL event NUL slot) as a fraction."""
    digest = hmac.new(b"key", b"lane\x00event\x002", hashlib.sha256).digest()
    top = int.from_bytes(digest, "big") >> (256 - 53)

    assert uniform(b"key", "lane", "event", 2) == top / 2**53


@pytest.mark.parametrize(
    ("u", "chosen"), [(0.0, 1), (0.2499, 1), (0.25, 3), (0.9999, 3), (math.nextafter(1.0, 0.0), 3)]
)
def test_the_first_sum_above_u_is_chosen(u: float, chosen: int) -> None:
    """Actions of probability 0 are never drawn, and a boundary belongs to the action after it."""
    assert draw([0.0, 0.25, 0.0, 0.75, 0.0], u) == chosen


@pytest.mark.parametrize("total", [0.99999, 1.0, 1.00001, math.nextafter(1.0, 2.0)])
def test_the_largest_u_still_draws(total: float) -> None:
    """The largest number below 1 draws the last action, whatever the rounding of the sum."""
    assert draw([total / 2, total / 2], math.nextafter(1.0, 0.0)) == 1


@pytest.mark.parametrize(
    "vector",
    [[], [1.0], [0.5, 0.5, 0.0], [0.5, 0.4], [1.1, -0.1], [math.nan, 1.0], [math.inf, -math.inf], [1e308, 1e308]],
    ids=str,
)
def test_what_is_no_distribution_over_two_is_refused(vector: list[float]) -> None:
    """A wrong length, a negative, a value that is not finite, or a sum that is not 1 is an ArithmeticError."""
    with pytest.raises(ArithmeticError):
        checked(vector, 2)


def test_a_distribution_passes() -> None:
    """A sum within 1e-5 of 1 is a distribution."""
    assert checked([0.5, 0.500009], 2) == [0.5, 0.500009]
