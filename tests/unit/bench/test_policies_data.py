"""The traffic that the policies are timed on."""

import numpy as np

from bench.policies_data import DIMENSIONS, Shop, Stream


def test_a_request_has_the_stated_features() -> None:
    """A context holds 7 words and 3 numbers, an action 2 words and 3 numbers."""
    [request] = Shop(seed=1).fresh(1, n_actions=10)

    assert [type(value) for value in request.context.values()].count(str) == 7
    assert len(request.context) == 10
    assert len(request.actions) == len({action_id for action_id, _ in request.actions}) == 10
    for _, features in request.actions:
        assert [type(value) for value in features.values()].count(str) == 2
        assert len(features) == 5


def test_traffic_is_the_same_for_the_same_seed() -> None:
    """Two shops with one seed ask the same; another seed asks something else."""
    asked = [Shop(seed=seed).fresh(3, n_actions=5) for seed in (1, 1, 2)]

    assert asked[0] == asked[1]
    assert asked[0] != asked[2]


def test_known_actions_keep_their_features() -> None:
    """An item of the catalogue has the same features in every request; `same` asks about the same items always."""
    shop = Shop(seed=1)
    requests = shop.known(50, n_actions=100)
    same = shop.known(5, n_actions=100, same=True)
    catalogue: dict[str, object] = {}

    for request in requests:
        for action_id, features in request.actions:
            assert catalogue.setdefault(action_id, features) == features
    assert all(request.actions == same[0].actions for request in same)
    assert len({str(request.context) for request in same}) == 5


def test_fresh_actions_have_features_of_their_own() -> None:
    """No two actions of fresh requests have the same features, so that nothing read before can be used again."""
    requests = Shop(seed=1).fresh(20, n_actions=50)
    seen = {str(features) for request in requests for _, features in request.actions}

    assert len(seen) == 1_000


def test_outcomes_can_be_learned_from() -> None:
    """An outcome names one of its actions, with the propensity of an even draw and a reward of 0 or 1."""
    shop = Shop(seed=1)
    outcomes = shop.outcomes(shop.known(200, n_actions=4))

    assert {outcome.reward for outcome in outcomes} == {0.0, 1.0}
    assert {outcome.chosen for outcome in outcomes} == {0, 1, 2, 3}
    assert all(outcome.propensity == 0.25 for outcome in outcomes)


def test_a_stream_says_the_same_in_every_shape() -> None:
    """Vectors, JSON objects, contexts and outcomes of a stream hold the same numbers."""
    stream = Stream(20, n_actions=3, seed=1)
    outcome = stream.outcome(7)

    assert stream.vectors.shape == (20, DIMENSIONS)
    assert list(stream.objects[7].values()) == stream.vectors[7].tolist()
    assert outcome.context.data == stream.objects[7]
    assert (outcome.chosen, outcome.reward) == (stream.chosen[7], stream.rewards[7])
    assert len(stream) == 20


def test_rewards_of_a_stream_depend_on_context_and_action() -> None:
    """A linear model of one action's rewards explains more than chance on outcomes it has not seen."""
    stream = Stream(4_000, n_actions=2, seed=1)
    mine = stream.chosen == 0
    x, y = stream.vectors[mine], stream.rewards[mine].astype(np.float64)
    weights, *_ = np.linalg.lstsq(x[:1_000], y[:1_000] - y[:1_000].mean(), rcond=None)

    assert np.corrcoef(x[1_000:] @ weights, y[1_000:])[0, 1] > 0.3
