"""Kinds in several models."""

import pytest

from policies import InvalidInput
from policies.epsilon_greedy import EpsilonGreedySpec
from policies.thompson import ThompsonSpec
from policies.ucb import UcbSpec


@pytest.mark.parametrize("spec", [EpsilonGreedySpec, ThompsonSpec, UcbSpec])
def test_an_unknown_model_is_refused_with_the_known_ones(
    spec: type[EpsilonGreedySpec | ThompsonSpec | UcbSpec],
) -> None:
    """A model that the kind does not have is refused, and those that it has are named."""
    with pytest.raises(InvalidInput) as caught:
        spec(model="median")

    assert caught.value.field == "model"
    assert repr("median") in caught.value.detail
    assert spec().model in caught.value.detail


def test_a_setting_of_another_model_is_refused_not_ignored() -> None:
    """The message names the setting, the model and whose setting it is."""
    with pytest.raises(InvalidInput) as caught:
        ThompsonSpec(model="beta", prior_sd=2.0)

    assert (caught.value.code, caught.value.field) == ("setting_does_not_apply", "prior_sd")
    assert "'gaussian'" in caught.value.detail
