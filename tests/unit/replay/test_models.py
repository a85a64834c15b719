"""Reward models: what they predict, and that none has seen the row that it predicts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from policies.protocol import FloatArray
from replay import evaluate
from replay.block import Block, block_of, places_of
from replay.errors import InvalidLog
from replay.events import LoggedEvent
from replay.features import hashed
from replay.models import MODELS, CrossFitted, OnlineLinear, OnlineMeans, RewardModel, chosen_rows, fold_of
from tests.replay_worlds import ACTIONS, KINDS, PAYS, ListLog, make_events


def _block(events: Sequence[LoggedEvent]) -> Block:
    return block_of(events, places=[places_of(event) for event in events])


def _blocks(events: Sequence[LoggedEvent], size: int = 500) -> list[Block]:
    return [_block(events[i : i + size]) for i in range(0, len(events), size)]


def _truth(block: Block) -> FloatArray:
    kinds = [KINDS.index(str(event.context["kind"])) for event in block.events]
    return np.concatenate([PAYS[kind] for kind in kinds])


def _fitted(name: str, blocks: Sequence[Block]) -> RewardModel:
    model = MODELS[name]()
    if isinstance(model, CrossFitted):
        for block in blocks:
            model.gather(block)
        model.fit()
        model.rewind()
    else:
        for block in blocks[:-1]:
            model.predict(block)
            model.learn(block)
    return model


@pytest.mark.parametrize(("name", "error"), [("linear", 0.06), ("ridge", 0.06), ("logistic", 0.08), ("boosting", 0.08)])
def test_models_of_features_learn_what_pays_where(name: str, error: float) -> None:
    """After some thousand rows the predictions are near the truth, for each action in each kind of moment."""
    blocks = _blocks(make_events(4_000, seed=1))

    model = _fitted(name, blocks)
    if isinstance(model, CrossFitted):
        for block in blocks[:-1]:
            model.predict(block)
    predicted = model.predict(blocks[-1])

    assert np.sqrt(np.mean((predicted - _truth(blocks[-1])) ** 2)) < error


def test_means_are_those_of_the_actions_drawn_to_that_of_all() -> None:
    """An action's prediction is its mean so far, with ten rows of the overall mean."""
    model = OnlineMeans()
    events = make_events(300, seed=2)
    block = _block(events)

    before = model.predict(block)
    model.learn(block)
    after = model.predict(_block(events[:1]))

    rewards = np.array([event.reward for event in events])
    chosen = np.array([event.slots[0].chosen for event in events])
    expected = [
        (rewards[chosen == action].sum() + 10.0 * rewards.mean()) / ((chosen == action).sum() + 10.0)
        for action in range(len(ACTIONS))
    ]
    np.testing.assert_array_equal(before, 0.0)
    np.testing.assert_allclose(after, expected)


@pytest.mark.parametrize("model", [OnlineMeans(), OnlineLinear()], ids=["means", "linear"])
def test_predictable_models_have_not_seen_what_they_predict(model: RewardModel) -> None:
    """What is predicted for a block does not depend on the rewards in it."""
    first, block = _blocks(make_events(1_000, seed=3))
    paid = _block([replace(event, reward=9.0) for event in block.events])
    model.predict(first)
    model.learn(first)

    np.testing.assert_array_equal(model.predict(block), model.predict(paid))


def test_a_linear_model_that_was_asked_about_another_block_learns_the_right_one() -> None:
    """Learning goes by the block that is given, whatever was predicted last."""
    blocks = _blocks(make_events(1_000, seed=3))
    one, other = OnlineLinear(), OnlineLinear()
    one.predict(blocks[0])
    one.learn(blocks[0])
    other.predict(blocks[1])
    other.learn(blocks[0])

    np.testing.assert_array_equal(one.predict(blocks[1]), other.predict(blocks[1]))


def test_cross_fitted_predictions_have_not_seen_their_fold() -> None:
    """Changing the rewards of one fold changes no prediction of that fold."""
    events = make_events(600, seed=4)
    block = _block(events)
    folds = np.array([_fold(event.event_id) for event in events])
    changed = _block(
        [replace(event, reward=9.0) if fold == 2 else event for event, fold in zip(events, folds, strict=True)]
    )

    plain, other = _fitted("ridge", [block]).predict(block), _fitted("ridge", [changed]).predict(block)

    same = np.repeat(folds == 2, len(ACTIONS))
    np.testing.assert_allclose(plain[same], other[same], atol=1e-6)
    assert np.abs(plain[~same] - other[~same]).max() > 0.1


def _fold(event_id: str) -> int:
    import hashlib  # noqa: PLC0415 - the fold written down once more

    return fold_of(int.from_bytes(hashlib.blake2b(event_id.encode(), digest_size=8).digest()), 5)


def test_events_without_ids_go_by_their_place_in_the_log() -> None:
    """A log without event ids has folds too, the same in every reading."""
    events = [replace(event, event_id="") for event in make_events(400, seed=5)]
    blocks = _blocks(events, 100)
    model = _fitted("ridge", blocks)
    assert isinstance(model, CrossFitted)

    first = [model.predict(block) for block in blocks]
    model.rewind()
    again = [model.predict(block) for block in blocks]

    np.testing.assert_array_equal(first, again)


def test_memory_is_bounded_by_a_stated_number_of_rows() -> None:
    """A cross-fitted model keeps no more rows than its cap, and those evenly over the log."""
    model = CrossFitted("ridge", cap=200)
    for block in _blocks(make_events(2_000, seed=6), 300):
        model.gather(block)

    assert len(model._rows) == 200
    model.fit()
    model.rewind()
    assert np.isfinite(model.predict(_block(make_events(10, seed=6)))).all()


def test_rewards_that_are_all_alike_are_predicted_as_they_are() -> None:
    """There is nothing to fit where every reward is the same."""
    block = _block([replace(event, reward=0.5) for event in make_events(100, seed=7)])

    np.testing.assert_array_equal(_fitted("logistic", [block]).predict(block), 0.5)


def test_logistic_models_want_two_values() -> None:
    """A logistic model of many values is refused by name."""
    block = _block([replace(event, reward=i / 10) for i, event in enumerate(make_events(30, seed=7))])

    with pytest.raises(InvalidLog) as caught:
        _fitted("logistic", [block])

    assert caught.value.code == "rewards_not_binary"


def test_too_few_rows_are_refused() -> None:
    """A log of one row leaves a fold nothing to be fitted on."""
    with pytest.raises(InvalidLog) as caught:
        _fitted("ridge", [_block(make_events(1, seed=7))])

    assert caught.value.code == "too_few_rows"


def test_hashed_features_are_those_of_actions_and_their_contexts() -> None:
    """Each eligible action is a row: a constant, its own features, and the context's crossed with it."""
    block = _block(make_events(2, seed=8))

    rows = hashed(block.places, bits=16)

    assert len(rows.starts) == 2 * len(ACTIONS)
    assert len(hashed([], bits=4).starts) == 0
    np.testing.assert_array_equal(hashed([], bits=4).dot(np.zeros(16)), np.zeros(0))
    weights = np.random.default_rng(1).random(1 << 16)
    np.testing.assert_allclose(rows.dense(chosen_rows(block), 1 << 16) @ weights, rows.dot(weights)[chosen_rows(block)])


def test_numbers_enter_as_their_asinh() -> None:
    """A number keeps its sign and order, and a large one does not carry everything away."""
    events = [
        replace(event, context={"x": value}) for event, value in zip(make_events(2, seed=1), (0.5, 1e6), strict=True)
    ]

    rows = hashed(_block(events).places, bits=10)

    assert rows.values.max() == pytest.approx(np.arcsinh(1e6))
    assert np.arcsinh(0.5) in rows.values


@pytest.mark.parametrize("model", ["auto", *MODELS])
def test_every_model_makes_a_doubly_robust_estimate(model: str) -> None:
    """Candidates that do not learn may have any reward model; the estimate stays near ips."""
    log = ListLog(make_events(1_500, seed=9, skew=0.5))

    found = evaluate(log, {"uni": "{kind='uniform'}"}, estimators=["ips", "dr"], reward_model=model)

    estimates = found.policies["uni"].estimates
    assert found.settings["reward_model"] == ("ridge" if model == "auto" else model)
    assert estimates["dr"].value == pytest.approx(estimates["ips"].value, abs=0.05)
    assert estimates["dr"].upper - estimates["dr"].lower < estimates["ips"].upper - estimates["ips"].lower + 0.02
