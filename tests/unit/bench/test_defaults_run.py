"""Runs of one player, decision by decision."""

from collections.abc import Sequence

import numpy as np
import pytest

from bench.defaults_data import Problem
from bench.defaults_run import Log, play, play_log
from policies import Action, Context, FloatArray, Outcome

ACTIONS = [Action.of("a"), Action.of("b")]


class Scripted:
    """Plays the second action with a given probability and remembers what it was told."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.learned: list[Outcome] = []
        self.learned_before: list[int] = []

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:
        """Return the script."""
        assert context.line
        assert len(actions) == 2
        self.learned_before.append(len(self.learned))
        return np.array([1 - self.share, self.share])

    def learn(self, outcome: Outcome) -> None:
        """Remember."""
        self.learned.append(outcome)


def problem(*, noisy: bool = False) -> Problem:
    """Return four rows, whose second action earns 0.8 and whose first 0.1."""
    contexts = [Context.of({"row": f"r{i}"}) for i in range(4)]
    return Problem(contexts, [ACTIONS], np.tile([0.1, 0.8], (4, 1)), noisy=noisy)


@pytest.mark.parametrize(("share", "mean"), [(0.0, 0.1), (0.5, 0.45), (1.0, 0.8)])
def test_expected_reward(share: float, mean: float) -> None:
    """What counts is the reward to be expected from the probabilities, not that of the draw."""
    assert play(Scripted(share), problem(), n_rounds=10, seed=0) == pytest.approx(mean)


def test_every_row_before_any_again() -> None:
    """Rows come in a random order, and none a second time before all came once."""
    player = Scripted(1.0)

    play(player, problem(), n_rounds=8, seed=0)

    lines = [outcome.context.line for outcome in player.learned]
    assert len(set(lines[:4])) == len(set(lines[4:])) == 4


def test_learns_what_it_played() -> None:
    """An outcome holds the drawn action, its probability and its reward; draws follow the probabilities."""
    player = Scripted(0.25)

    play(player, problem(), n_rounds=4_000, seed=1)

    chosen = np.array([outcome.chosen for outcome in player.learned])
    assert chosen.mean() == pytest.approx(0.25, abs=0.04)  # six standard errors
    for outcome in player.learned:
        assert (outcome.propensity, outcome.reward) == ((0.25, 0.8) if outcome.chosen else (0.75, 0.1))


def test_noise() -> None:
    """Where rewards are noisy they are 0 or 1, and 1 as often as expected."""
    player = Scripted(1.0)

    play(player, problem(noisy=True), n_rounds=4_000, seed=1)

    rewards = [outcome.reward for outcome in player.learned]
    assert set(rewards) == {0.0, 1.0}
    assert np.mean(rewards) == pytest.approx(0.8, abs=0.04)  # six standard errors


def test_batches() -> None:
    """In batches of three, three decisions are made before the first is learned from."""
    player = Scripted(1.0)

    play(player, problem(), n_rounds=8, seed=0, batch=3)

    assert player.learned_before == [0, 0, 0, 3, 3, 3, 6, 6]


def test_same_luck_for_all() -> None:
    """Two players of one seed see the same rows in the same order; another seed has another order."""
    orders = []
    for seed in (3, 3, 4):
        player = Scripted(0.5)
        play(player, problem(), n_rounds=40, seed=seed)
        orders.append([outcome.context.line for outcome in player.learned])

    assert orders[0] == orders[1] != orders[2]


def test_replay_counts_matches_alone() -> None:
    """On a log of even decisions about every second row matches one of two actions; only those are learned."""
    n_rows = 1_000
    contexts = [Context.of({"row": f"r{i}"}) for i in range(n_rows)]
    chosen = np.random.default_rng(0).integers(2, size=n_rows).tolist()
    log = Log(ACTIONS, contexts, chosen, clicks=chosen)  # the second action is always clicked
    player = Scripted(1.0)

    matching = play_log(player, log, seed=0)

    assert matching.n_rows == n_rows
    assert matching.n_matched == sum(chosen) == len(player.learned)
    assert matching.value == 1.0
    assert play_log(Scripted(0.0), log, seed=0).value == 0.0
    assert play_log(Scripted(1.0), log, seed=0, n_rows=10).n_rows == 10
