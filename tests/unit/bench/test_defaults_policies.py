"""Who takes part in the comparison of defaults."""

import math

import pytest

from bench.defaults_policies import ENTRANTS, OPPONENT, Entrant
from policies import Action, Context, Outcome

ACTIONS = [Action.of("a"), Action.of("b"), Action.of("c")]


def test_entrants_play() -> None:
    """Every entrant has a name of its own and hands out a distribution before any outcome."""
    assert len({entrant.name for entrant in ENTRANTS}) == len(ENTRANTS)
    for entrant in ENTRANTS:
        assert entrant.player().probabilities(Context.of({"x": 1.5}), ACTIONS).sum() == pytest.approx(1.0, abs=1e-5)


def test_the_opponent_is_the_one_agreed_on() -> None:
    """It is raw VW with squarecb, mtr, context × action and a floor of 0.02 ÷ n."""
    (opponent,) = [entrant for entrant in ENTRANTS if entrant.name == OPPONENT]

    assert opponent.settings is None
    assert opponent.options.split() == ["--cb_explore_adf", "--squarecb", "--cb_type", "mtr", "-q", "sa"]
    assert opponent.floor == 0.02


def test_the_opponent_learns_and_keeps_its_floor() -> None:
    """After enough outcomes the best action gets nearly all, and no action less than its share of the floor."""
    player = Entrant("x", options="--cb_explore_adf --squarecb --cb_type mtr -q sa", floor=0.3).player()
    context = Context.of({"device": "ios"})
    for i in range(600):
        player.learn(Outcome(context, ACTIONS, i % 3, 1 / 3, float(i % 3 == 1)))

    played = player.probabilities(context, ACTIONS)

    assert played[1] > 0.75
    assert min(played) >= 0.1 - 1e-6
    assert math.isclose(played.sum(), 1.0, abs_tol=1e-5)
