"""Linear policies from end to end: what they predict, play, bound, fade and hand on."""

import dataclasses
import json
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from policies import Action, Context, InvalidInput, Outcome, Policy, StateInvalid, checked, parse_spec
from policies.linear_policy import LinearPolicy
from policies.protocol import FloatArray
from policies.state import seal, unseal

A, B, C, D = (Action.of(name) for name in "abcd")
MORNING, EVENING = (Context.of({"time": time}) for time in ("morning", "evening"))
LINEAR: dict[str, Any] = {"kind": "thompson", "model": "linear"}
LOGISTIC: dict[str, Any] = {"kind": "thompson", "model": "logistic"}
MODELS: dict[str, dict[str, Any]] = {
    "thompson": LINEAR,
    "thompson-shared": {**LINEAR, "shared": True},
    "logistic": {**LOGISTIC, "reward_range": [-1e9, 1e9]},
    "logistic-shared": {**LOGISTIC, "reward_range": [-1e9, 1e9], "shared": True},
    "greedy": {"kind": "epsilon_greedy", "model": "linear"},
    "ucb": {"kind": "ucb", "model": "linear"},
    "fading": {**LINEAR, "discount": 0.9, "max_actions": 2, "max_features": 5},
    "fading-shared": {**LINEAR, "discount": 0.5, "shared": True, "max_features": 9},
}


def chance(seed: int) -> random.Random:
    """Return a source of numbers."""
    return random.Random(seed)  # noqa: S311 - makes a test's data, no secret


def built(settings: dict[str, Any]) -> LinearPolicy:
    """Return the policy itself, without what it is wrapped in."""
    policy = parse_spec({**settings, "min_probability": 0.0}).build()
    assert isinstance(policy, LinearPolicy)
    return policy


def lesson(context: Context, action: Action, reward: float) -> Outcome:
    """Return the outcome of playing an action that was the only one."""
    return Outcome(context, [action], 0, 1.0, reward)


def scores(policy: LinearPolicy, context: Context, *actions: Action) -> tuple[list[float], list[float]]:
    """Return means and variances of the actions' scores."""
    result = policy._model.scores(context, actions)
    return result.means.tolist(), result.variances.tolist()


def test_the_per_action_scores_are_those_of_ridge_regressions() -> None:
    """Each action's mean and variance solve the normal equations of its own outcomes, around the mean reward."""
    policy = built(LINEAR)
    source = chance(1)
    log = [(source.choice([MORNING, EVENING]), source.choice([A, B]), source.gauss(5.0, 2.0)) for _ in range(200)]
    for context, action, reward in log:
        policy.learn(lesson(context, action, reward))

    means, variances = scores(policy, EVENING, A, B, C)

    order = ["time=" + ("morning" if log[0][0] is MORNING else "evening")]
    rows = {id(MORNING): [1.0, 1.0, 0.0], id(EVENING): [1.0, 0.0, 1.0]}
    if order == ["time=evening"]:
        rows = {id(MORNING): [1.0, 0.0, 1.0], id(EVENING): [1.0, 1.0, 0.0]}
    overall = float(np.mean([reward for _, _, reward in log]))
    noise = policy._model._response.noise**2  # type: ignore[attr-defined]  # this model has one
    x = np.array(rows[id(EVENING)])
    for i, action in enumerate([A, B]):
        xs = np.array([rows[id(context)] for context, one, _ in log if one is action])
        ys = np.array([reward for _, one, reward in log if one is action])
        precision = xs.T @ xs + 2.0 * np.eye(3)
        pull = np.array([2.0 * overall, 0.0, 0.0])
        assert means[i] == pytest.approx(x @ np.linalg.solve(precision, xs.T @ ys + pull), rel=1e-9)
        assert variances[i] == pytest.approx(noise * (x @ np.linalg.inv(precision) @ x), rel=1e-9)
    assert means[2] == pytest.approx(overall)
    assert variances[2] == pytest.approx(noise * 2 / 2.0)


def test_the_noise_is_that_of_the_rewards() -> None:
    """After 3,000 rewards with a deviation of 2 around their scores the estimate of it is within 5 %."""
    policy = built(LINEAR)
    source = chance(2)
    for _ in range(3_000):
        policy.learn(lesson(source.choice([MORNING, EVENING]), A, source.gauss(100.0, 2.0)))

    assert policy._model._response.noise == pytest.approx(2.0, rel=0.05)  # type: ignore[attr-defined]  # it has one


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e4), (-1.0, 0.0)])
def test_the_unit_of_the_rewards_does_not_matter(scale: float, shift: float) -> None:
    """Rewards in another unit, or from another zero, give the same probabilities; turned round, the opposite ones."""
    source = chance(3)
    log = [(source.choice([MORNING, EVENING]), source.choice([A, B]), source.random()) for _ in range(60)]
    plain, scaled = built(LINEAR), built(LINEAR)
    for context, action, reward in log:
        plain.learn(lesson(context, action, reward))
        scaled.learn(lesson(context, action, scale * reward + shift))

    expected = plain.probabilities(MORNING, [A, B])

    other = scaled.probabilities(MORNING, [A, B])
    assert other == pytest.approx(expected if scale > 0 else expected[::-1], abs=1e-6)


def test_a_shared_model_knows_new_actions_by_their_features() -> None:
    """What was learned about a feature holds for an action that was never seen, in the contexts where it held."""
    policy = built({**LINEAR, "shared": True})
    source = chance(4)
    red = [Action.of(f"r{i}", {"colour": "red"}) for i in range(5)]
    blue = [Action.of(f"b{i}", {"colour": "blue"}) for i in range(5)]
    for _ in range(400):
        context, kind = source.choice([MORNING, EVENING]), source.choice(["red", "blue"])
        good = (context is MORNING) == (kind == "red")
        policy.learn(lesson(context, source.choice(red if kind == "red" else blue), source.gauss(float(good), 0.3)))
    new = [Action.of("x", {"colour": "red"}), Action.of("y", {"colour": "blue"})]

    assert policy.probabilities(MORNING, new)[0] > 0.99
    assert policy.probabilities(EVENING, new)[1] > 0.99


def test_the_greedy_rule_plays_the_larger_mean() -> None:
    """The best mean gets all but epsilon, which is shared evenly."""
    policy = built({"kind": "epsilon_greedy", "model": "linear", "epsilon": 0.3})
    for _ in range(3):
        policy.learn(lesson(MORNING, A, 1.0))
        policy.learn(lesson(MORNING, B, 0.0))

    assert policy.probabilities(MORNING, [B, A, C]) == pytest.approx([0.1, 0.8, 0.1])


def test_the_optimist_plays_the_larger_bound() -> None:
    """With alpha 0 the better mean is played, with alpha 100 the action of which less is known; ties are shared."""
    log = [lesson(MORNING, A, reward) for reward in (1.0, 0.9, 1.1, 1.0)] + [lesson(MORNING, B, 0.0)]
    bold, sober = (built({"kind": "ucb", "model": "linear", "alpha": alpha}) for alpha in (100.0, 0.0))
    for outcome in log:
        bold.learn(outcome)
        sober.learn(outcome)

    assert sober.probabilities(MORNING, [A, B]).tolist() == [1.0, 0.0]
    assert bold.probabilities(MORNING, [A, B, C, D]).tolist() == [0.0, 0.0, 0.5, 0.5]


@pytest.mark.parametrize("kind", ["thompson", "epsilon_greedy", "ucb"])
def test_new_actions_that_are_alike_share(kind: str) -> None:
    """Actions never seen with the same features are played alike to the bit, at whatever place of however many."""
    policy = built({"kind": kind, "model": "linear", "shared": True})
    source = chance(13)
    for _ in range(60):
        action = Action.of("a", {f"y{i}": source.gauss(0.0, 1.0) for i in range(5)})
        context = Context.of({f"x{i}": source.gauss(0.0, 1.0) for i in range(8)})
        policy.learn(lesson(context, action, source.random()))

    for n in range(2, 40):
        alike = [Action.of(f"new{i}", {f"y{i}": 0.1 * n for i in range(5)}) for i in range(n)]
        assert len({*policy.probabilities(Context.of({"x1": 0.7, "x2": 0.3}), alike).tolist()}) == 1


def test_a_wide_outcome_is_looked_at_in_part() -> None:
    """Of 60 × 60 products one outcome looks at 480 at most, and a few such outcomes still fill all columns.

    Half of the columns go at first sight: 30 of the context's and 30 of the action's features with 900 products, of
    which 30 get a column and 450 wait.
    """
    policy = built({**LINEAR, "shared": True, "max_features": 60})
    outcome = lesson(
        Context.of({f"x{i}": True for i in range(60)}), Action.of("a", {f"y{i}": True for i in range(60)}), 1.0
    )

    policy.learn(outcome)
    first = policy._model.dumps()[0]
    for _ in range(3):
        policy.learn(outcome)
    last = policy._model.dumps()[0]

    assert (len(first["pairs"]), len(first["admission"])) == (1 + 30, 450)
    assert len(last["pairs"]) == 1 + 60


def test_the_least_recently_learned_action_makes_room() -> None:
    """Beyond `max_actions` the id whose last lesson lies furthest back has the prior again, and its place is used."""
    policy = built({**LINEAR, "max_actions": 2})
    for action in (A, B, A, C):
        policy.learn(lesson(MORNING, action, 1.0))
        policy.learn(lesson(MORNING, action, 0.0))

    assert [row[:2] for row in policy._model.dumps()[0]["actions"]] == [["a", 1], ["c", 2]]
    means, variances = scores(policy, MORNING, B, D)
    assert means[0] == means[1]
    assert variances[0] == variances[1]


@pytest.mark.parametrize("shared", [False, True])
def test_a_discount_follows_a_flip(shared: bool) -> None:  # noqa: FBT001 - a row of the table
    """After rewards flip, a discounted policy plays the new best action when one that forgets nothing does not yet."""
    actions = [Action.of("a", {"kind": "x"}), Action.of("b", {"kind": "y"})]
    policies = [built({**LINEAR, "shared": shared, "discount": discount}) for discount in (0.98, 1.0)]
    source = chance(5)
    for i in range(1_200):
        chosen = source.randrange(2)
        good = chosen == 0 if i < 1_000 else chosen == 1
        for policy in policies:
            policy.learn(Outcome(MORNING, actions, chosen, 0.5, source.gauss(float(good), 0.2)))

    fading, lasting = (policy.probabilities(MORNING, actions)[1] for policy in policies)

    assert fading > 0.95
    assert lasting < 0.05


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_a_child_starts_from_its_parent(settings: dict[str, Any]) -> None:
    """A child has its parent's means; it is less sure, and 200 outcomes of its own overrule 2,000 of the parent's."""
    actions = [Action.of("a", {"kind": "x"}), Action.of("b", {"kind": "y"})]
    settings = {**settings, "discount": 1.0}
    parent, child, again = built(settings), built(settings), built(settings)
    source = chance(6)
    for _ in range(2_000):
        chosen = source.randrange(2)
        parent.learn(Outcome(MORNING, actions, chosen, 0.5, source.gauss(float(chosen == 0), 0.2)))

    child.adopt(parent)
    again.adopt(parent)

    (means, variances), (others, wider) = scores(parent, MORNING, *actions), scores(child, MORNING, *actions)
    if settings.get("model") == "linear":
        assert others == pytest.approx(means, rel=1e-6, abs=1e-9)
    assert min(wider) > 5.0 * max(variances)
    assert child.dumps() == again.dumps()
    for _ in range(200):
        chosen = source.randrange(2)
        child.learn(Outcome(MORNING, actions, chosen, 0.5, source.gauss(float(chosen == 1), 0.2)))
    means, _ = scores(child, MORNING, *actions)
    assert means[1] > means[0]


def test_a_parent_of_another_kind_is_a_mistake() -> None:
    """Only a policy of the same spec can be adopted."""
    with pytest.raises(TypeError):
        built(LINEAR).adopt(parse_spec({"kind": "thompson"}).build())


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_adopting_from_a_policy_that_knows_nothing_changes_nothing(settings: dict[str, Any]) -> None:
    """A parent before its first outcome leaves the child as it was."""
    child = built(settings)
    before = child.dumps()

    child.adopt(built(settings))

    assert child.dumps() == before


EXTREME: tuple[float, ...] = (0.0, 1e9, -1e9, 1.0, 1e-300, 1e-9, -3.0, 5e8)


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("seed", range(4))
def test_nothing_valid_ruins_a_policy(settings: dict[str, Any], seed: int) -> None:
    """Numbers and rewards up to 1e9 in any order leave finite distributions, and the state still learns."""
    policy = built(settings)
    source = chance(seed)
    extreme = EXTREME if seed % 2 else (1e9, -1e9)
    for i in range(120):
        data = {f"x{source.randrange(12)}": source.choice(extreme) for _ in range(8)}
        features = {f"y{source.randrange(3)}": source.choice(extreme)}
        actions = [Action.of(f"a{source.randrange(40)}-{k}", features) for k in range(4)]
        context = Context.of({**data, "i": i})
        vector = policy.probabilities(context, actions)
        assert checked(vector.tolist(), 4)
        policy.learn(Outcome(context, actions, source.randrange(4), 0.25, source.choice(extreme)))

    before = policy.dumps()
    policy.learn(lesson(MORNING, A, 1.0))
    assert policy.dumps() != before
    assert all(map(math.isfinite, np.concatenate(scores(policy, MORNING, A, B)).tolist()))


def test_rewards_that_never_differ_leave_the_play_open() -> None:
    """While all rewards are 0, or all 5, no action is preferred for its mean."""
    for reward in (0.0, 5.0):
        policy = built(LINEAR)
        for action in (A, B, A, B):
            policy.learn(lesson(MORNING, action, reward))
        assert policy.probabilities(MORNING, [A, B]) == pytest.approx([0.5, 0.5], abs=1e-3)


def probabilities_of(policy: Policy, actions: Sequence[Action]) -> FloatArray:
    """Return what would be played in the morning."""
    return policy.probabilities(MORNING, actions)


def test_the_order_of_the_actions_does_not_matter() -> None:
    """Asked in another order, with known and unknown ids, each action has the same probability."""
    policy = built(LINEAR)
    for action, reward in ((A, 1.0), (B, 0.5), (A, 0.0), (C, 0.3), (B, 0.7)):
        policy.learn(lesson(MORNING, action, reward))

    straight = probabilities_of(policy, [A, B, C, D])

    assert probabilities_of(policy, [D, C, B, A])[::-1] == pytest.approx(straight, abs=1e-12)
    assert probabilities_of(policy, [A, B, C, D]).tobytes() == straight.tobytes()
    few = probabilities_of(policy, [C])
    assert few == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({**LINEAR, "prior_weight": 0.001}, "prior_weight"),
        ({**LINEAR, "max_features": 0}, "max_features"),
        ({**LINEAR, "max_features": 513}, "max_features"),
        ({**LINEAR, "max_actions": 10_001}, "max_actions"),
        ({**LINEAR, "max_actions": 5, "shared": True}, "max_actions"),
        ({**LINEAR, "seed": -1}, "seed"),
        ({**LINEAR, "seed": 2**32}, "seed"),
        ({**LINEAR, "discount": 0.4}, "discount"),
        ({**LINEAR, "prior_mean": 2e9}, "prior_mean"),
        ({**LINEAR, "prior_sd": 1.0}, "prior_sd"),
        ({**LINEAR, "reward_range": [1.0, 0.0]}, "reward_range"),
        ({**LOGISTIC, "prior_mean": 1.0}, "prior_mean"),
        ({**LOGISTIC, "prior_mean": 1e-10}, "prior_mean"),
        ({**LOGISTIC, "prior_mean": 1e308, "reward_range": [-1e9, 1e9]}, "prior_mean"),
        ({**LOGISTIC, "prior_mean": 1e9, "reward_range": [999999999.0, 1e9]}, "prior_mean"),
        ({**LOGISTIC, "prior_mean": 999999999.0, "reward_range": [999999999.0, 1e9]}, "prior_mean"),
        ({**LOGISTIC, "prior_mean": 5e-324, "reward_range": [0.0, 5e-324]}, "prior_mean"),
        ({"kind": "epsilon_greedy", "model": "linear", "initial_reward": 1e308}, "initial_reward"),
        ({"kind": "thompson", "seed": 1}, "seed"),
        ({"kind": "ucb", "shared": True}, "shared"),
        ({"kind": "epsilon_greedy", "max_features": 3}, "max_features"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], field: str) -> None:
    """A setting that is out of its range, or of another model, is refused by name."""
    with pytest.raises(InvalidInput) as caught:
        parse_spec(settings)

    assert caught.value.field == field


def test_a_prior_mean_can_be_given() -> None:
    """The score of an action before any outcome is the prior mean; a click's is its log-odds."""
    linear = built({**LINEAR, "prior_mean": 3.0})
    logistic = built({**LOGISTIC, "prior_mean": 0.2})

    assert scores(linear, MORNING, A)[0] == [3.0]
    assert scores(logistic, MORNING, A)[0] == pytest.approx([math.log(0.25)])


SHARED = {**LINEAR, "shared": True, "max_features": 4}
OWN = {**LINEAR, "max_actions": 2, "max_features": 4}
DAMAGED: dict[str, tuple[dict[str, Any], str, Any]] = {
    "two-blocks-of-one": (OWN, "actions", [["a", 1, 1.0], ["b", 1, 1.0]]),
    "no-such-block": (OWN, "actions", [["a", 3, 1.0], ["b", 1, 1.0]]),
    "an-action-twice": (OWN, "actions", [["a", 1, 1.0], ["a", 2, 1.0]]),
    "an-action-less": (OWN, "actions", [["a", 1, 1.0]]),
    "a-block-at-infinity": (OWN, "actions", [["a", math.inf, 1.0], ["b", 1, 1.0]]),
    "columns-missing": (OWN, "columns", [0, [], 3, [], []]),
    "sums-of-another": (OWN, "response", [1.0]),
    "sums-not-finite": (OWN, "response", [1.0, math.nan, 0.0]),
    "sums-below-0": (OWN, "response", [-1.0, 0.0, 0.0]),
    "squares-below-0": (OWN, "response", [1.0, 0.0, -1.0]),
    "another-shape": (OWN, "shape", [3, 2, 9]),
    "no-shape": (OWN, "shape", None),
    "contexts-missing": (SHARED, "contexts", [0, [], 3, [], []]),
    "negative-lessons": (SHARED, "n", -1.0),
    "first-column-missing": (SHARED, "pairs", [[0, 1, 1], [1, 1, 1], [0, 0, 3]]),
    "a-product-of-nothing": (SHARED, "pairs", [[0, 0, 3], [7, 1, 3], [1, 1, 3]]),
    "a-product-less": (SHARED, "pairs", [[0, 0, 3]]),
    "a-product-of-tomorrow": (SHARED, "pairs", [[0, 0, 4]]),
    "waiting-for-nothing": (SHARED, "admission", [-1]),
    "no-pairs": (SHARED, "pairs", 3),
    "a-shape-of-two": (SHARED, "shape", [2, 5, 0]),
}


@pytest.mark.parametrize(("settings", "key", "value"), DAMAGED.values(), ids=DAMAGED)
def test_states_that_cannot_be_are_refused(settings: dict[str, Any], key: str, value: Any) -> None:
    """A state that no outcomes lead to is refused even where its checksum is right, and nothing changes."""
    spec = parse_spec(settings)
    policy = spec.build()
    red, blue = Action.of("a", {"red": True}), Action.of("b", {"blue": True})
    for action in (red, blue, red):
        policy.learn(lesson(MORNING, action, 1.0))
    before = policy.dumps()
    head, _, numbers = unseal(spec, before).partition(b"\n")
    n, state = json.loads(head)
    assert state[key] != value

    with pytest.raises(StateInvalid):
        policy.loads(seal(spec, json.dumps([n, {**state, key: value}]).encode() + b"\n" + numbers))

    assert policy.dumps() == before


@pytest.mark.parametrize("count", [-1.0, math.inf, math.nan, "1", None])
def test_outcomes_are_counted(count: Any) -> None:
    """A state that does not say how many outcomes it has learned is refused."""
    spec = parse_spec(LINEAR)
    head, _, numbers = unseal(spec, spec.build().dumps()).partition(b"\n")
    payload = json.dumps([count, json.loads(head)[1]]).encode() + b"\n" + numbers

    with pytest.raises(StateInvalid):
        spec.build().loads(seal(spec, payload))


def test_numbers_that_are_none_are_refused() -> None:
    """A posterior of infinities, or too short by a number, is refused."""
    spec = parse_spec(LINEAR)
    policy = spec.build()
    head, _, numbers = unseal(spec, policy.dumps()).partition(b"\n")

    for bad in (numbers[:-8], np.full(len(numbers) // 8, math.inf).tobytes()):
        with pytest.raises(StateInvalid):
            policy.loads(seal(spec, head + b"\n" + bad))


def test_a_mean_click_is_a_share() -> None:
    """The state of a logistic policy whose mean success is not from 0 to 1 is refused."""
    spec = parse_spec({"kind": "thompson", "model": "logistic"})
    policy = spec.build()
    n, state = json.loads(unseal(spec, policy.dumps()).partition(b"\n")[0])
    numbers = unseal(spec, policy.dumps()).partition(b"\n")[2]

    with pytest.raises(StateInvalid):
        policy.loads(seal(spec, json.dumps([n, {**state, "response": [1.0, 2.0]}]).encode() + b"\n" + numbers))


def test_a_refused_outcome_leaves_no_column() -> None:
    """An outcome that is refused leaves even the table of features as it was."""
    policy = built(LINEAR)
    before = policy.dumps()

    with pytest.raises(InvalidInput):
        policy.learn(dataclasses.replace(lesson(MORNING, A, 1.0), reward=math.nan))

    assert policy.dumps() == before


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_a_loaded_policy_goes_on_alike(settings: dict[str, Any]) -> None:
    """A policy that was loaded learns on, forgets and plays as the one that was saved, to the bit."""
    source = chance(7)
    actions = [Action.of(name, {"size": source.random(), "kind": {"colour": name}}) for name in "abcdef"]
    log = [
        Outcome(source.choice([MORNING, EVENING]), actions, source.randrange(6), 1 / 6, source.gauss(0.0, 1.0))
        for _ in range(80)
    ]
    saved, loaded = built(settings), built(settings)
    for outcome in log[:40]:
        saved.learn(outcome)
    loaded.loads(saved.dumps())

    for outcome in log[40:]:
        saved.learn(outcome)
        loaded.learn(outcome)

    assert loaded.dumps() == saved.dumps()
    expected = probabilities_of(saved, actions)
    assert probabilities_of(loaded, actions).tobytes() == expected.tobytes()


def spam(n: int, *, seed: int, same: bool) -> list[Outcome]:
    """Return outcomes of a thousand context features and a hundred of the action's, new ones each time or the same."""
    return [
        Outcome(
            Context.of({f"s{seed}-{0 if same else k}-{i}": True for i in range(900)}),
            [Action.of(f"spam{k}", {f"t{0 if same else k}-{i}": True for i in range(100)})],
            0,
            1.0,
            0.5,
        )
        for k in range(n)
    ]


SPAM: dict[str, list[Outcome]] = {
    "once": spam(1, seed=0, same=True),
    "ten-times-the-same": spam(10, seed=1, same=True),
    "ten-times-new": spam(10, seed=2, same=False),
}


def taught(settings: dict[str, Any], *, before: Sequence[Outcome], session: bool, n: int) -> list[float]:
    """Return what is played in the morning and in the evening, by a policy taught what is good then."""
    policy = built(settings)
    actions = [Action.of("a", {"kind": "x"}), Action.of("b", {"kind": "y"})]
    source = chance(11)
    for outcome in before:
        policy.learn(outcome)
    for i in range(n):
        time, chosen = source.choice(["morning", "evening"]), source.randrange(2)
        good = (time == "morning") == (chosen == 0)
        data = {"session": f"{i}", "visit": f"{i // 3}"} if session else {}
        reward = min(1.0, max(0.0, source.gauss(float(good), 0.3)))
        policy.learn(Outcome(Context.of({**data, "time": time}), actions, chosen, 0.5, reward))
    return [float(policy.probabilities(MORNING, actions)[0]), float(policy.probabilities(EVENING, actions)[1])]


@pytest.mark.parametrize("before", SPAM.values(), ids=SPAM)
@pytest.mark.parametrize("settings", [LINEAR, {**LINEAR, "shared": True}, MODELS["ucb"]], ids=["own", "shared", "ucb"])
def test_features_that_come_once_leave_room(settings: dict[str, Any], before: list[Outcome]) -> None:
    """Outcomes of a thousand features each do not keep a policy from telling apart what comes after them."""
    assert min(taught(settings, before=before, session=False, n=400)) > 0.95


@pytest.mark.parametrize("max_features", [16, 128])
@pytest.mark.parametrize("shared", [False, True])
def test_features_that_never_come_back_leave_room(max_features: int, shared: bool) -> None:  # noqa: FBT001 - a row of the table
    """Two ids of sessions in every context, one never repeated, one in three outcomes, leave the others known.

    The features that count come for the first time when hundreds of ids have come.
    """
    settings = {**LINEAR, "shared": shared, "max_features": max_features}
    before = [
        lesson(Context.of({"session": f"x{i}", "visit": f"x{i // 3}"}), Action.of("a", {"kind": "x"}), 0.5)
        for i in range(300)
    ]

    assert min(taught(settings, before=before, session=True, n=1_000)) > 0.95


@pytest.mark.parametrize("discount", [1.0, 0.98])
@pytest.mark.parametrize("shared", [False, True])
def test_a_policy_that_makes_room_resumes(discount: float, shared: bool) -> None:  # noqa: FBT001 - a row of the table
    """Saved and loaded between any two outcomes of a stream that makes room again and again, it has the same bytes."""
    settings = {**LINEAR, "shared": shared, "max_features": 6, "discount": discount}
    policy, again = built(settings), built(settings)
    source = chance(12)
    for i in range(120):
        data = {f"x{source.randrange(3) + i // 10}": source.choice([True, 1.5, 2.0]) for _ in range(3)}
        actions = [Action.of(f"a{source.randrange(3) + i // 20}", {f"y{i // 15}": True})]
        outcome = Outcome(Context.of(data), actions, 0, 1.0, source.random())
        policy.learn(outcome)
        again.learn(outcome)
        state = again.dumps()
        again = built(settings)
        again.loads(state)

    assert again.dumps() == policy.dumps()
    columns = policy._model.dumps()[0]["contexts" if shared else "columns"]
    assert len(columns[1]) <= 6
    assert int(columns[1][0][1][1:]) > 3
