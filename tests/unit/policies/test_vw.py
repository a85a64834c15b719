"""The vw policy: a deterministic fold that learns, and that no input can hurt."""

import dataclasses
import gc
import hashlib
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from vowpalwabbit import Workspace

from policies.errors import InvalidInput, StateInvalid
from policies.features import Action, Context
from policies.protocol import Outcome, Policy
from policies.state import seal, unseal
from policies.vw import Vw, VwSpec
from policies.vw_exploration import EXPLORATIONS

_ACTIONS = [Action.of(f"item{k}", {"category": f"c{k % 3}", "price": 1.5 * k}) for k in range(6)]
_OFFERED = [(name, cb_type) for name, exploration in EXPLORATIONS.items() for cb_type in exploration.cb_types]
_SPECS = [
    *(pytest.param(VwSpec(exploration=name, cb_type=cb_type), id=f"{name}-{cb_type}") for name, cb_type in _OFFERED),
    pytest.param(VwSpec(gamma_scale=300.0, interactions=("ss", "sa", "aa")), id="all interactions"),
    pytest.param(VwSpec(power_t=0.0, interactions=()), id="constant rate, no interaction"),
    pytest.param(VwSpec(exploration="epsilon", power_t=0.3, learning_rate=0.1, bits=12), id="slow, few bits"),
    pytest.param(VwSpec(exploration="softmax", power_t=1.0, learning_rate=30.0), id="fast"),
    pytest.param(VwSpec(exploration="bag", greedify=True, n_models=3), id="greedify"),
    pytest.param(VwSpec(exploration="rnd", bits=20, rnd_alpha=1.0), id="rnd with a large table"),
    pytest.param(VwSpec(exploration="rnd", cb_type="dr", bits=22, interactions=("sa", "aa")), id="rnd-dr, larger"),
    pytest.param(VwSpec(marginal=True, bits=12), id="marginal"),
    pytest.param(VwSpec(exploration="cover", marginal=True), id="marginal cover"),
]
_ROOT = Path(__file__).parents[3]
_RSS_UNIT_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def _outcomes(n: int, *, seed: int = 7) -> list[Outcome]:
    chance = random.Random(seed)  # noqa: S311 - made-up traffic, not a secret
    return [
        Outcome(
            Context.of({"device": chance.choice(["ios", "android", "web"]), "hour": round(24 * chance.random(), 2)}),
            _ACTIONS,
            chance.randrange(len(_ACTIONS)),
            round(0.01 + 0.99 * chance.random(), 3),
            chance.choice([0.0, 0.0, 1.0, 3.5]),
        )
        for _ in range(n)
    ]


def _folded(spec: VwSpec, outcomes: list[Outcome]) -> Policy:
    policy = spec.make()
    for outcome in outcomes:
        policy.learn(outcome)
    return policy


def _played(policy: Policy) -> list[list[float]]:
    return [policy.probabilities(outcome.context, _ACTIONS).tolist() for outcome in _outcomes(20, seed=8)]


def _rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _RSS_UNIT_MB


# ------------------------------------------------------------------------------------------------------------- the fold


@pytest.mark.parametrize("spec", _SPECS)
def test_snapshot_and_tail_equal_the_whole_fold(spec: VwSpec) -> None:
    """Whatever the options, a loaded state and the rest of the log give the bytes and probabilities of one fold."""
    outcomes = _outcomes(400)
    whole = _folded(spec, outcomes)
    resumed = spec.make()

    resumed.loads(_folded(spec, outcomes[:150]).dumps())
    for outcome in outcomes[150:]:
        resumed.learn(outcome)

    assert resumed.resumable
    assert resumed.dumps() == whole.dumps()
    assert _played(resumed) == _played(whole)


@pytest.mark.parametrize("spec", _SPECS)
def test_predicts_and_snapshots_leave_no_trace(spec: VwSpec) -> None:
    """However many probabilities and dumps came between, also after a load, bytes and probabilities are the same."""
    outcomes = _outcomes(120)
    quiet = _folded(spec, outcomes)
    busy = spec.make()

    for i, outcome in enumerate(outcomes):
        for _ in range(i % 4):
            busy.probabilities(outcome.context, outcome.actions[: 1 + i % 5])
        if i % 40 == 20:
            busy.loads(busy.dumps())
        busy.learn(outcome)

    assert busy.dumps() == quiet.dumps()
    assert _played(busy) == _played(quiet)
    assert busy.dumps() == quiet.dumps()


def test_another_process_gives_the_same_bytes() -> None:
    """The same outcomes give the same bytes in a process with other hash seeds."""
    code = f"""
import importlib.util, hashlib
spec = importlib.util.spec_from_file_location("here", {__file__!r})
here = importlib.util.module_from_spec(spec); spec.loader.exec_module(here)
print(hashlib.sha256(here._folded(here.VwSpec(), here._outcomes(200)).dumps()).hexdigest())
"""
    environment = {**os.environ, "PYTHONHASHSEED": "4242"}

    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=_ROOT, env=environment, check=True
    )

    assert there.stdout.strip() == hashlib.sha256(_folded(VwSpec(), _outcomes(200)).dumps()).hexdigest()


# --------------------------------------------------------------------------------------------------------- the formulas


def _costs_by_hand(rewards: list[float]) -> list[float]:
    costs = []
    for i in range(len(rewards)):
        seen = np.array(rewards[: i + 1])
        costs.append(float((seen.mean() - rewards[i]) / (2 * seen.std())) if seen.std() > 0 else 0.0)
    return costs


def _predicted_costs(spec: VwSpec, outcomes: list[Outcome], *, probability: float | None) -> list[float]:
    """What a greedy VW, taught by hand, predicts for the last context."""
    exploration = spec.arguments().split(" --per_model_save_load ")[1].split(" --bit_precision")[0]
    arguments = spec.arguments().replace("--cb_explore_adf", "--cb_adf").replace(exploration, "") + " --random_seed 1"
    greedy = Workspace(arguments)
    for outcome, cost in zip(outcomes, _costs_by_hand([outcome.reward for outcome in outcomes]), strict=True):
        lines = ["shared " + outcome.context.line, *(action.line for action in outcome.actions)]
        label = f"0:{cost}:{outcome.propensity if probability is None else probability} "
        lines[1 + outcome.chosen] = label + lines[1 + outcome.chosen]
        greedy.learn("\n".join(lines))
    predicted: list[float] = greedy.predict(
        "\n".join(["shared " + outcomes[-1].context.line, *(action.line for action in _ACTIONS)])
    )
    return predicted


def test_squarecb_is_the_formula_of_its_paper() -> None:
    """Others than the best get 1 ÷ (n + gamma × gap), gamma being 10 × √outcomes; the best the rest; 0.001 is even."""
    outcomes = _outcomes(60)
    gaps = np.array(_predicted_costs(VwSpec(numbers="plain"), outcomes, probability=1.0))
    gaps -= gaps.min()
    expected = 1 / (len(_ACTIONS) + 10 * math.sqrt(60) * gaps)
    expected[gaps.argmin()] = 0
    expected[gaps.argmin()] = 1 - expected.sum()
    expected = 0.999 * expected + 0.001 / len(_ACTIONS)

    played = _folded(VwSpec(numbers="plain"), outcomes).probabilities(outcomes[-1].context, _ACTIONS)

    assert gaps.max() > 0.05
    assert played == pytest.approx(expected, abs=1e-5)


def test_epsilon_is_the_formula() -> None:
    """Each action gets epsilon ÷ n, the one of the least predicted cost the rest too."""
    outcomes = _outcomes(60)
    spec = VwSpec(exploration="epsilon", epsilon=0.3)
    costs = _predicted_costs(spec, outcomes, probability=None)
    expected = [0.05 + 0.7 * (cost == min(costs)) for cost in costs]

    played = _folded(spec, outcomes).probabilities(outcomes[-1].context, _ACTIONS)

    assert played == pytest.approx(expected, abs=1e-5)


def test_softmax_is_the_formula_mixed_with_epsilon() -> None:
    """An action gets (1 − epsilon) × exp(−lambda × cost) ÷ their sum + epsilon ÷ n."""
    outcomes = _outcomes(60)
    spec = VwSpec(numbers="plain", exploration="softmax", softmax_lambda=4.0, epsilon=0.2)
    weights = np.exp(-4.0 * np.array(_predicted_costs(spec, outcomes, probability=None)))

    played = _folded(spec, outcomes).probabilities(outcomes[-1].context, _ACTIONS)

    assert played == pytest.approx(0.8 * weights / weights.sum() + 0.2 / 6, abs=1e-5)


@pytest.mark.parametrize(
    "exploration",
    sorted(set(EXPLORATIONS) - {"synthcover"}),  # which deals out hundredths, so that three cannot be equal
)
def test_equal_actions_tie(exploration: str) -> None:
    """Actions with the same features, of an id never seen, get the same probability."""
    policy = _folded(VwSpec(exploration=exploration), _outcomes(100))
    twins = [Action("a", {}, "|a new"), Action("b", {}, "|a new"), Action("c", {}, "|a new")]

    played = policy.probabilities(Context.of({"device": "ios"}), twins)

    assert played == pytest.approx([1 / 3] * 3, abs=1e-6)


def test_one_action_is_certain() -> None:
    """With a single action there is nothing to explore."""
    policy = _folded(VwSpec(), _outcomes(10))

    assert policy.probabilities(Context.of({}), _ACTIONS[:1]).tolist() == [1.0]


# -------------------------------------------------------------------------------------------------------- learning


def _learns(spec: VwSpec, rewards: tuple[float, float], *, n_rounds: int) -> float:
    """Return the mean probability of the right action at the end: which it is depends on the device."""
    policy, chance = spec.make(), random.Random(5)  # noqa: S311 - made-up traffic, not a secret
    contexts = [Context.of({"device": device}) for device in ("ios", "android", "web")]
    actions = _ACTIONS[:3]
    for _ in range(n_rounds):
        right = chance.randrange(3)
        played = policy.probabilities(contexts[right], actions)
        chosen = chance.choices(range(3), played.tolist())[0]
        won = chance.random() < (0.8 if chosen == right else 0.2)
        policy.learn(Outcome(contexts[right], actions, chosen, float(played[chosen]), rewards[won]))
    return float(np.mean([policy.probabilities(contexts[k], actions)[k] for k in range(3)]))


@pytest.mark.parametrize(
    "rewards",
    [
        pytest.param((0.0, 1.0), id="0 to 1"),
        pytest.param((5.0, 10.0), id="5 to 10"),
        pytest.param((-3.0, 0.0), id="-3 to 0"),
        pytest.param((0.0, 100.0), id="0 to 100"),
        pytest.param((0.0, 0.01), id="0 to 0.01"),
        pytest.param((-1000.0, 1000.0), id="the whole range"),
    ],
)
@pytest.mark.parametrize("exploration", ["squarecb", "epsilon", "softmax", "regcb", "bag", "synthcover"])
def test_rewards_of_any_unit_are_learned_from(exploration: str, rewards: tuple[float, float]) -> None:
    """Whatever the size and the sign of the rewards, the right action of each context ends up preferred."""
    assert _learns(VwSpec(exploration=exploration), rewards, n_rounds=2_000) > 0.75


def test_the_context_matters_only_through_interactions() -> None:
    """Without interactions every context gets the same probabilities; with the default ones it does not."""
    plain, crossed = (_folded(spec, _outcomes(200)) for spec in (VwSpec(interactions=()), VwSpec()))
    here, there = Context.of({"device": "ios", "hour": 3}), Context.of({"device": "web", "hour": 20})

    assert plain.probabilities(here, _ACTIONS).tolist() == plain.probabilities(there, _ACTIONS).tolist()
    assert crossed.probabilities(here, _ACTIONS).tolist() != crossed.probabilities(there, _ACTIONS).tolist()


def test_one_absurd_reward_does_not_end_learning() -> None:
    """After a reward of 1,000 among zeros and ones the right actions are still found."""
    spec = VwSpec()
    policy = spec.make()
    contexts = [Context.of({"device": device}) for device in ("ios", "android", "web")]
    chance = random.Random(5)  # noqa: S311 - made-up traffic, not a secret
    for i in range(6_000):
        right = chance.randrange(3)
        played = policy.probabilities(contexts[right], _ACTIONS[:3])
        chosen = chance.choices(range(3), played.tolist())[0]
        reward = 1_000.0 if i == 300 else float(chance.random() < (0.8 if chosen == right else 0.2))
        policy.learn(Outcome(contexts[right], _ACTIONS[:3], chosen, float(played[chosen]), reward))

    assert [int(policy.probabilities(contexts[k], _ACTIONS[:3]).argmax()) for k in range(3)] == [0, 1, 2]


def test_the_first_of_equal_rewards_teach_nothing() -> None:
    """As long as all rewards are the same, whatever they are, all actions are."""
    policy = _folded(VwSpec(), [Outcome(Context.of({}), _ACTIONS, 2, 0.5, 7.0)] * 3)

    assert policy.probabilities(Context.of({}), _ACTIONS).tolist() == pytest.approx([1 / 6] * 6, abs=1e-7)


@pytest.mark.parametrize("chosen", [0, 5], ids=["first line", "last line"])
def test_squarecb_learns_the_same_whatever_the_propensity(chosen: int) -> None:
    """The logged propensity does not leak into a regression without weights, not even on the last line."""
    one, other = (
        [Outcome(Context.of({"x": i}), _ACTIONS, chosen, propensity, float(i % 2)) for i in range(30)]
        for propensity in (0.01, 1.0)
    )

    assert _folded(VwSpec(), one).dumps() == _folded(VwSpec(), other).dumps()


def test_cover_gets_over_a_few_tiny_propensities() -> None:
    """After eight outcomes of many features, some hardly ever played, three hundred good ones make the best likely."""
    chance = random.Random(3)  # noqa: S311 - made-up traffic, not a secret
    policy = VwSpec(exploration="cover").build()
    wide = [Action.of(f"s{k}", {f"f{j}": chance.choice([1, -1]) for j in range(60)}) for k in range(4)]
    for i in range(8):
        context = Context.of({f"c{j}": chance.choice([1, -1]) for j in range(60)})
        policy.learn(Outcome(context, wide, i % 4, 0.25 if i % 3 else 1e-9, float(i % 2)))

    plain = [Action.of(f"s{k}", {"g": k}) for k in range(4)]
    for i in range(300):
        chosen = chance.randrange(4)
        reward = float(chance.random() < (0.9 if chosen == 2 else 0.1))
        policy.learn(Outcome(Context.of({"hour": i % 24}), plain, chosen, 0.25, reward))

    assert policy.probabilities(Context.of({"hour": 3}), plain)[2] > 0.9


def test_epsilon_weighs_by_propensity_down_to_a_thousandth() -> None:
    """Propensities change what epsilon learns, but those below 0.001 count as 0.001."""
    spec = VwSpec(exploration="epsilon")
    half, thousandth, tiny = (
        _folded(spec, [Outcome(Context.of({}), _ACTIONS, 1, p, float(i % 2)) for i in range(10)]).dumps()
        for p in (0.5, 1e-3, 1e-9)
    )

    assert half != thousandth
    assert thousandth == tiny


def test_numpy_numbers_are_learned_from_like_pythons() -> None:
    """A reward and a propensity out of an array teach what the same numbers out of JSON teach."""
    plain = _outcomes(30)
    scalars = [dataclasses.replace(o, propensity=np.float64(o.propensity), reward=np.float64(o.reward)) for o in plain]
    spec = VwSpec(exploration="epsilon")

    assert _folded(spec, scalars).dumps() == _folded(spec, plain).dumps()


# ---------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("field", "outcome"),
    [
        pytest.param("propensity", Outcome(Context.of({}), _ACTIONS, 0, 0.0, 1.0), id="propensity 0"),
        pytest.param("propensity", Outcome(Context.of({}), _ACTIONS, 0, -0.5, 1.0), id="negative propensity"),
        pytest.param("propensity", Outcome(Context.of({}), _ACTIONS, 5, math.nan, 1.0), id="NaN propensity"),
        pytest.param("propensity", Outcome(Context.of({}), _ACTIONS, 0, 2.0, 1.0), id="propensity over 1"),
        pytest.param("reward", Outcome(Context.of({}), _ACTIONS, 0, 0.5, math.inf), id="infinite reward"),
        pytest.param("reward", Outcome(Context.of({}), _ACTIONS, 0, 0.5, math.nan), id="NaN reward"),
        pytest.param("reward", Outcome(Context.of({}), _ACTIONS, 0, 0.5, 1000.1), id="reward outside the range"),
        pytest.param("chosen", Outcome(Context.of({}), _ACTIONS, 6, 0.5, 1.0), id="chosen is no action"),
        pytest.param("chosen", Outcome(Context.of({}), _ACTIONS, -1, 0.5, 1.0), id="chosen from the end"),
        pytest.param("actions", Outcome(Context.of({}), [], 0, 0.5, 1.0), id="no actions"),
    ],
)
def test_a_bad_outcome_is_refused_and_changes_nothing(field: str, outcome: Outcome) -> None:
    """What would ruin a VW model in silence is refused by name, before VW."""
    policy = _folded(VwSpec(exploration="epsilon"), _outcomes(10))
    before = policy.dumps()

    with pytest.raises(InvalidInput) as refused:
        policy.learn(outcome)

    assert refused.value.field == field
    assert policy.dumps() == before


def test_no_actions_are_refused() -> None:
    """VW answers an empty list with a phantom action; the policy does not."""
    with pytest.raises(InvalidInput, match="at least one action"):
        VwSpec().make().probabilities(Context.of({}), [])


_HOSTILE = [
    "new\nline",
    "carriage\r\nreturn",
    "|a forged",
    "shared |s x",
    "0:-1:0.5 |a x",
    "a:b:c",
    "x:nan",
    "%id=other",
    "nul\x00byte",
    "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029",
    "tab\tbed",
    "",
    " ",
    "'tag|",
    "🦊 ünïcode",
]


@pytest.mark.parametrize("text", _HOSTILE, ids=ascii)
def test_no_name_or_value_opens_a_line_or_a_label(text: str) -> None:
    """Hostile names and values stay features: as many probabilities as actions, and nothing is learned from them."""
    policy = VwSpec().make()
    context = Context.of({text: text, "nested": {text: {text: 1.5}}, "list": [text, text]})
    actions = [Action.of("a", {text: text, "n": {text: 2}}), Action.of("b", {"x": [text]}), Action.of("c")]
    before = policy.dumps()

    played = policy.probabilities(context, actions)

    assert played.tolist() == [1 / 3] * 3
    assert policy.dumps() == before
    for i in range(30):
        policy.learn(Outcome(context, actions, i % 3, 0.3, float(i % 3 == 1)))
    assert int(policy.probabilities(context, actions).argmax()) == 1


def test_two_hostile_names_are_two_features() -> None:
    """Names that differ in nothing but an encoded character are told apart."""
    policy, chance = VwSpec().make(), random.Random(1)  # noqa: S311 - made-up traffic, not a secret
    contexts = [Context.of({"a:b": True}), Context.of({"a b": True}), Context.of({"a%3Ab": True})]
    for _ in range(900):
        which, chosen = chance.randrange(3), chance.randrange(3)
        policy.learn(Outcome(contexts[which], _ACTIONS[:3], chosen, 1 / 3, float(which == chosen)))

    assert [int(policy.probabilities(context, _ACTIONS[:3]).argmax()) for context in contexts] == [0, 1, 2]


def test_a_line_that_is_not_ours_is_a_bug_and_not_an_answer() -> None:
    """If an encoder let a newline through, the policy stops instead of answering for actions that do not exist."""
    with pytest.raises(AssertionError, match="3 actions in 2 lines"):
        _folded(VwSpec(), _outcomes(1)).probabilities(Context({}, "|s x\n|a forged"), _ACTIONS[:2])


@pytest.mark.parametrize("spec", _SPECS)
def test_the_largest_numbers_leave_distributions(spec: VwSpec) -> None:
    """Features of ±1e9, in context and actions, a hundred at a time, never give NaN or 0, nor ruin other contexts."""
    policy, chance = spec.make(), random.Random(2)  # noqa: S311 - made-up traffic, not a secret
    sizes = [1e9, -1e9, 1e-9, 1, 0]
    contexts = [Context.of({f"f{k}": chance.choice(sizes) for k in range(100)}) for _ in range(5)]
    actions = [Action.of(f"a{k}", {f"g{j}": chance.choice(sizes) for j in range(100)}) for k in range(3)]

    for i in range(40):
        policy.learn(Outcome(contexts[i % 5], actions, i % 3, 0.3, float(i % 3 == 1)))
        played = policy.probabilities(contexts[(i + 2) % 5], actions)

        assert math.fsum(played) == pytest.approx(1, abs=1e-5)
        assert played.min() > 0
    assert np.isfinite(policy.probabilities(Context.of({"other": 1}), _ACTIONS)).all()


# ---------------------------------------------------------------------------------------------------------- the state


@pytest.mark.parametrize("at", [0, 7, 8, 20, 100, 300, 600, -1])
def test_a_flipped_bit_is_refused(at: int) -> None:
    """A state with one bit wrong is refused, and the policy goes on as it was."""
    policy = _folded(VwSpec(), _outcomes(30))
    state = bytearray(policy.dumps())
    state[at] ^= 1
    before = _played(policy)

    with pytest.raises(StateInvalid):
        policy.loads(bytes(state))

    assert _played(policy) == before


@pytest.mark.parametrize("kept", [0, 8, 24, 100, 0.5, 0.999])
def test_a_state_cut_short_is_refused(kept: float) -> None:
    """VW itself loads half a file without a word; the policy does not."""
    state = _folded(VwSpec(), _outcomes(30)).dumps()

    with pytest.raises(StateInvalid):
        VwSpec().make().loads(state[: int(kept * len(state)) if kept < 1 else int(kept)])


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(32), id="moments without a model"),
        pytest.param(bytes(32) + b"not a model" * 50, id="no model"),
    ],
)
def test_a_sealed_state_of_another_make_is_refused(payload: bytes) -> None:
    """A good checksum over what `dumps` never wrote is not enough."""
    for spec in (VwSpec(), VwSpec(numbers="plain")):
        with pytest.raises(StateInvalid):
            spec.make().loads(seal(spec, payload))


def test_a_state_that_counts_predictions_is_refused() -> None:
    """Only canonical models are loaded, so that what was loaded dumps the same bytes."""
    policy = _folded(VwSpec(numbers="plain"), _outcomes(5))
    _played(policy)
    moments = unseal(VwSpec(numbers="plain"), policy.dumps())[:32]

    assert isinstance(policy, Vw)
    with pytest.raises(StateInvalid, match="counts predictions"):
        policy.loads(seal(VwSpec(numbers="plain"), moments + policy._vw().save()))


def test_the_state_of_another_spec_is_refused() -> None:
    """A state fits the settings it was made with, and no others."""
    with pytest.raises(StateInvalid, match="another policy or spec"):
        VwSpec(gamma_scale=20.0).make().loads(VwSpec().build().dumps())


def test_a_model_that_disagrees_with_the_count_of_outcomes_is_a_bug() -> None:
    """`dumps` stops rather than write a state in which VW and the policy learned different things."""
    policy = _folded(VwSpec(numbers="plain"), _outcomes(5))
    assert isinstance(policy, Vw)
    policy._n += 1

    with pytest.raises(AssertionError, match="clock"):
        policy.dumps()


# ------------------------------------------------------------------------------------------------------- from a parent


@pytest.mark.parametrize("exploration", EXPLORATIONS)
def test_a_child_starts_with_what_its_parent_knows(exploration: str) -> None:
    """With the parent's weights a child prefers what the parent prefers, before any outcome of its own."""
    spec = VwSpec(exploration=exploration, n_first=1 if exploration == "first" else None)
    parent, child = spec.make(), spec.make()
    for i in range(600):
        parent.learn(Outcome(Context.of({"i": i % 3}), _ACTIONS, i % 6, 1 / 6, float(i % 6 == 4)))

    child.adopt(parent)

    assert int(parent.probabilities(Context.of({"i": 1}), _ACTIONS).argmax()) == 4
    played = child.probabilities(Context.of({"i": 1}), _ACTIONS)
    assert played[4] == max(played) > 0.15


def test_a_child_of_squarecb_explores_again() -> None:
    """It counts outcomes from 20, so that its gamma × gap is √(20 ÷ 500) of its parent's, not the same."""
    spec = VwSpec()
    parent, child = _folded(spec, _outcomes(500)), spec.make()
    context = _outcomes(1)[0].context

    child.adopt(parent)

    of_parent, of_child = (
        1 / (np.sort(policy.probabilities(context, _ACTIONS)[:-1]) - 0.001 / 6) * 0.999 - 6
        for policy in (parent, child)
    )
    assert of_child[:-1] / of_parent[:-1] == pytest.approx([0.2] * 4, rel=1e-2)


def _share_of_the_best(policy: Policy, best: int, *, n: int) -> float:
    chance = random.Random(3)  # noqa: S311 - made-up traffic, not a secret
    for _ in range(n):
        played = policy.probabilities(Context.of({}), _ACTIONS)
        chosen = chance.choices(range(6), played.tolist())[0]
        won = float(chance.random() < (0.4 if chosen == best else 0.1))
        policy.learn(Outcome(Context.of({}), _ACTIONS, chosen, float(played[chosen]), won))
    return float(policy.probabilities(Context.of({}), _ACTIONS)[best])


def test_a_child_unlike_its_parent_gets_away_from_it() -> None:
    """Where another action is best than in the parent's 5,000 outcomes, a child finds it; a mere copy does not."""
    spec = VwSpec(bits=12)
    parent, child, copy = spec.make(), spec.make(), spec.make()
    _share_of_the_best(parent, 1, n=5_000)
    child.adopt(parent)
    copy.loads(parent.dumps())

    assert _share_of_the_best(child, 4, n=1_000) > 0.6
    assert _share_of_the_best(copy, 4, n=1_000) < 0.2


def test_with_a_window_the_best_action_may_change() -> None:
    """When another action becomes the best after 5,000 outcomes, a window finds it long before the whole log does."""
    windowed, plain = VwSpec(bits=12, window=500).build(), VwSpec(bits=12).build()

    ends = []
    for policy in (windowed, plain):
        _share_of_the_best(policy, 1, n=5_000)
        ends.append(_share_of_the_best(policy, 4, n=1_000))

    assert ends[0] > 0.6
    assert ends[1] < 0.4


@pytest.mark.parametrize("options", ["", "--ftrl"])
def test_a_child_resumes_bit_for_bit(options: str) -> None:
    """A child's state loads into another policy that then goes on like it."""
    spec, outcomes = VwSpec(options=options), _outcomes(300)
    child, resumed = spec.make(), spec.make()
    child.adopt(_folded(spec, outcomes[:250]))
    for outcome in outcomes[250:275]:
        child.learn(outcome)

    resumed.loads(child.dumps())
    for outcome in outcomes[275:]:
        child.learn(outcome)
        resumed.learn(outcome)

    assert resumed.dumps() == child.dumps()
    assert _played(resumed) == _played(child)


def test_only_vw_is_a_parent_of_vw() -> None:
    """A policy of another kind is no parent."""
    for numbers in ("plain", "standardised"):
        with pytest.raises(TypeError, match="another spec"):
            VwSpec(numbers=numbers).make().adopt(VwSpec(min_probability=0.1).build())


# ----------------------------------------------------------------------------------------------------------- memory


def test_twenty_thousand_decisions_do_not_grow_the_process() -> None:
    """Decisions over ever new actions, with lessons in between, leave the memory as it is after the first ones."""
    policy, outcomes = VwSpec().make(), _outcomes(200)
    actions = [[Action.of(f"item{i}-{k}", {"price": i * k}) for k in range(10)] for i in range(100)]

    def decide(n: int) -> None:
        for i in range(n):
            policy.probabilities(outcomes[i % 200].context, actions[i % 100])
            if i % 20 == 0:
                policy.learn(outcomes[i % 200])

    decide(2_000)
    gc.collect()
    before = _rss_mb()
    decide(20_000)
    gc.collect()

    assert _rss_mb() - before < 4


def test_built_and_loaded_again_and_again_memory_is_given_back() -> None:
    """Each workspace goes with the policy, or the load, that replaces it: 200 of them would hold 180 MB."""
    state = _folded(VwSpec(), _outcomes(50)).dumps()

    def rebuild(n: int) -> None:
        for _ in range(n):
            VwSpec().make().loads(state)

    rebuild(20)
    gc.collect()
    before = _rss_mb()
    rebuild(100)
    gc.collect()

    assert _rss_mb() - before < 20
