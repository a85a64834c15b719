"""What Vowpal Wabbit does in silence, or by ending the process, and that the vw policy does not let it.

Each trap is first shown on VW itself, so that a version without it is noticed, then on the policy.
"""

import math
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from vowpalwabbit import Workspace

from policies import Action, Context, InvalidInput, Outcome, Policy
from policies.vw import VwSpec
from policies.vw_raw import RawVw

_ROOT = Path(__file__).parents[3]
_ACTIONS = [Action.of("a"), Action.of("b"), Action.of("c")]
_HERE = Context.of({"device": "ios"})
_TEXT = "shared |s device=ios\n|a x\n|a y\n|a z"
_BASE = "--cb_explore_adf --quiet"
_MTR = f"{_BASE} --epsilon 0.1"


def _labelled(label: str, chosen: int = 0) -> str:
    lines = _TEXT.split("\n")
    lines[1 + chosen] = f"{label} {lines[1 + chosen]}"
    return "\n".join(lines)


def _taught(raw: RawVw, n: int, *, best: int = 1) -> list[float]:
    """Teach raw VW by uniform play that one line earns 1 and the others nothing; return what it plays then."""
    for i in range(n):
        raw.learn(_labelled(f"0:{-float(i % 3 == best)}:0.333", i % 3))
    return raw.predict(_TEXT)


def _taught_policy(policy: Policy, n: int, *, best: int = 1) -> list[float]:
    for i in range(n):
        policy.learn(Outcome(_HERE, _ACTIONS, i % 3, 1 / 3, float(i % 3 == best)))
    played: list[float] = policy.probabilities(_HERE, _ACTIONS).tolist()
    return played


def _best(played: list[float]) -> int:
    return int(np.argmax(played))


def _ends(code: str) -> int:
    """Return how a process ends that runs this code; negative if by a signal."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=_ROOT, timeout=60, check=False
    ).returncode


# ----------------------------------------------------------------------------------------- one outcome, ruined for ever


@pytest.mark.parametrize("propensity", ["0", "-0.5", "nan"])
def test_one_impossible_propensity_stops_vw_for_ever(propensity: str) -> None:
    """After one label with it VW learns nothing more; the policy refuses it and goes on."""
    raw, policy = RawVw(_MTR), VwSpec(exploration="epsilon").make()
    raw.learn(_labelled(f"0:-1:{propensity}"))

    with pytest.raises(InvalidInput, match="propensity"):
        policy.learn(Outcome(_HERE, _ACTIONS, 0, float(propensity), 1.0))

    assert _taught(raw, 300) == RawVw(_MTR).predict(_TEXT)
    assert _best(_taught_policy(policy, 30)) == 1


def test_one_infinite_cost_ruins_every_weight() -> None:
    """VW then holds NaN and plays as if nothing were wrong; the policy refuses the reward and goes on."""
    raw, policy = RawVw(f"{_BASE} --squarecb"), VwSpec().make()
    raw.learn(_labelled("0:-inf:0.5"))

    with pytest.raises(InvalidInput, match="reward"):
        policy.learn(Outcome(_HERE, _ACTIONS, 0, 0.5, math.inf))

    assert _best(_taught(raw, 300)) != 1 or not np.isfinite(raw.predict(_TEXT)).all()
    assert _best(_taught_policy(policy, 30)) == 1


def test_a_cost_that_is_no_number_is_learned_from() -> None:
    """VW takes NaN for a label all the same; the policy refuses it and changes nothing."""
    raw, policy = RawVw(_MTR), VwSpec().make()
    before = policy.dumps()

    raw.learn(_labelled("0:nan:0.5"))
    with pytest.raises(InvalidInput, match="reward"):
        policy.learn(Outcome(_HERE, _ACTIONS, 0, 0.5, math.nan))

    assert raw.save() != RawVw(_MTR).save()
    assert policy.dumps() == before


def test_a_tiny_propensity_wrecks_the_scores() -> None:
    """VW weighs by 1 ÷ 1e-30 and stays wrong; the policy weighs by 1,000 at most and recovers."""
    raw, policy = RawVw(_MTR), VwSpec(exploration="epsilon").make()

    raw.learn(_labelled("0:-1:1e-30"))
    policy.learn(Outcome(_HERE, _ACTIONS, 1, 1 / 3, 0.0))
    policy.learn(Outcome(_HERE, _ACTIONS, 0, 1e-30, 1.0))

    assert _best(_taught(raw, 300)) != 1
    assert _best(_taught_policy(policy, 300)) == 1


def test_one_huge_cost_outweighs_hundreds() -> None:
    """After one cost of a million VW is wrong 300 outcomes later; the policy refuses what is out of its range."""
    raw, policy = RawVw(_MTR), VwSpec(exploration="epsilon").make()

    raw.learn(_labelled("0:1000000:0.333", 1))
    with pytest.raises(InvalidInput, match="reward"):
        policy.learn(Outcome(_HERE, _ACTIONS, 1, 1 / 3, -1e6))

    assert _best(_taught(raw, 300)) != 1
    assert _best(_taught_policy(policy, 300)) == 1


# ---------------------------------------------------------------------------------------------- what leaks and what not


@pytest.mark.parametrize(
    ("exploration", "arguments"),
    [("squarecb", "--squarecb"), ("regcb", "--regcb"), ("regcbopt", "--regcb --regcbopt")],
)
def test_the_propensity_of_the_last_line_leaks_into_a_regression(exploration: str, arguments: str) -> None:
    """VW sets it to 1 on every line but the last; the policy on all."""

    def raw(chosen: int, propensity: float) -> bytes:
        vw = RawVw(f"{_BASE} {arguments}")
        for i in range(20):
            vw.learn(_labelled(f"0:{-float(i % 2)}:{propensity}", chosen))
        return vw.save()[-3 * 16 :]  # the weights of three features

    def policy(chosen: int, propensity: float) -> bytes:
        vw = VwSpec(exploration=exploration).make()
        for i in range(20):
            vw.learn(Outcome(_HERE, _ACTIONS, chosen, propensity, float(i % 2)))
        return vw.dumps()

    assert raw(0, 0.1) == raw(0, 1.0)
    assert raw(2, 0.1) != raw(2, 1.0)
    assert policy(0, 0.1) == policy(0, 1.0)
    assert policy(2, 0.1) == policy(2, 1.0)


def test_the_action_number_of_a_label_is_ignored() -> None:
    """VW takes any number there and goes by the line, which is what the policy relies on."""
    one, other = RawVw(_MTR), RawVw(_MTR)

    one.learn(_labelled("0:-1:0.5", 2))
    other.learn(_labelled("77:-1:0.5", 2))

    assert one.save() == other.save()


def test_without_interactions_the_context_changes_nothing() -> None:
    """VW alone plays the same everywhere; the policy multiplies context by action unless told otherwise."""
    raw, policy = RawVw(_MTR), VwSpec(exploration="epsilon").make()
    there, text_there = Context.of({"device": "web"}), _TEXT.replace("ios", "web")
    for i in range(300):
        chosen, at_home = i % 3, i % 2 == 0
        won = float(chosen == (1 if at_home else 2))
        raw.learn(_labelled(f"0:{-won}:0.333", chosen).replace("ios", "ios" if at_home else "web"))
        policy.learn(Outcome(_HERE if at_home else there, _ACTIONS, chosen, 1 / 3, won))

    assert raw.predict(_TEXT) == raw.predict(text_there)
    assert _best(policy.probabilities(_HERE, _ACTIONS).tolist()) == 1
    assert _best(policy.probabilities(there, _ACTIONS).tolist()) == 2


def test_examples_of_one_workspace_are_read_wrong_by_another() -> None:
    """VW predicts for them without an error, and wrongly; `RawVw` parses and predicts in one call."""
    plain, crossed = Workspace(_MTR), Workspace(f"{_MTR} --quadratic sa --ignore_linear a")
    lessons = [_labelled(f"0:{-float(i % 3 == 1)}:0.333", i % 3) for i in range(90)]
    for lesson in lessons:
        crossed.learn(lesson)
    right = crossed.predict(_TEXT)

    foreign = plain._parse(_TEXT)
    crossed.predict_multi(foreign)
    wrong = foreign[0].get_action_scores()
    plain._finish_example_multi_ex(foreign)

    assert right != wrong
    raw = RawVw(f"{_MTR} --quadratic sa --ignore_linear a")
    for lesson in lessons:
        raw.learn(lesson)
    assert raw.predict(_TEXT) == right


# ---------------------------------------------------------------------------------------------- what is no distribution


def test_regcbopt_answers_ties_with_ones() -> None:
    """VW gives each of three equal actions 1; the policy shares it among them."""
    raw, policy = RawVw(f"{_BASE} --regcb --regcbopt"), VwSpec(exploration="regcbopt").make()
    policy.learn(Outcome(_HERE, _ACTIONS, 0, 0.5, 1.0))  # the first reward is the mean of all, so that all are equal

    assert raw.predict(_TEXT) == [1.0, 1.0, 1.0]
    assert policy.probabilities(_HERE, _ACTIONS).tolist() == pytest.approx([1 / 3] * 3)


def test_regcb_stays_uniform_outside_its_range_of_costs() -> None:
    """With costs of −1 to 0 VW never leaves uniform, its range being 0 to 1; the policy passes one that fits."""
    raw, policy = RawVw(f"{_BASE} --regcb --mellowness 0.001"), VwSpec(exploration="regcb").make()

    assert _taught(raw, 3_000) == pytest.approx([1 / 3] * 3)
    assert _taught_policy(policy, 3_000)[1] > 0.9


@pytest.mark.parametrize("arguments", ["--first 3", "--bag 5", "--cover 3 --nounif", "--synthcover", "--epsilon 0"])
def test_zeros_are_played_nowhere(arguments: str) -> None:
    """VW gives some actions 0, which no log can be evaluated on; the policy gives each its even share."""
    settings: dict[str, dict[str, Any]] = {
        "--first 3": {"exploration": "first", "n_first": 3},
        "--bag 5": {"exploration": "bag"},
        "--cover 3 --nounif": {"exploration": "cover", "n_models": 3},
        "--synthcover": {"exploration": "synthcover"},
        "--epsilon 0": {"exploration": "epsilon"},
    }
    spec = VwSpec(**settings[arguments])

    assert min(_taught(RawVw(f"{_BASE} {arguments}"), 300)) == 0.0
    assert min(_taught_policy(spec.make(), 300)) == pytest.approx((spec.epsilon or 0) / 3, rel=1e-9)


def test_the_epsilon_of_softmax_is_no_floor() -> None:
    """VW's least probability is another than epsilon ÷ n; the policy mixes the even share in by itself."""
    raw = RawVw(f"{_BASE} --softmax --lambda 1 --epsilon 0.3")
    plain = RawVw(f"{_BASE} --softmax --lambda 1")
    policy, by_hand = (VwSpec(exploration="softmax", epsilon=epsilon).make() for epsilon in (0.3, 1e-6))

    floored, free = _taught(raw, 300), _taught(plain, 300)

    assert floored != pytest.approx([0.7 * p + 0.1 for p in free], abs=1e-3)
    expected = [0.7 * (p - 1e-6 / 3) / (1 - 1e-6) + 0.1 for p in _taught_policy(by_hand, 300)]
    assert _taught_policy(policy, 300) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("exploration", "scores"),
    [
        ("squarecb", [0.0, 0.0, 0.0]),
        ("squarecb", [0.9, 0.9, 0.0]),
        ("squarecb", [math.nan, 0.5, 0.5]),
        ("regcbopt", [math.nan, 0.5, 0.5]),
        ("regcbopt", [0.5, 0.5, math.inf]),
        ("regcbopt", [-1.0, 1.0, 1.0]),
    ],
)
def test_what_is_no_distribution_is_an_error(
    exploration: str, scores: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What VW answers is played if it is a distribution, and else is an error: nothing is played in its stead."""
    policy = VwSpec(exploration=exploration).make()
    _taught_policy(policy, 3)
    monkeypatch.setattr(RawVw, "predict", lambda _self, _text: scores)

    with pytest.raises(ArithmeticError, match="no distribution"):
        policy.probabilities(_HERE, _ACTIONS)


def test_only_regcbopt_may_answer_with_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum of 3 is the number of ties under regcbopt, and an error under any other exploration."""
    policy = VwSpec().make()
    _taught_policy(policy, 3)
    monkeypatch.setattr(RawVw, "predict", lambda _self, _text: [1.0, 1.0, 1.0])

    with pytest.raises(ArithmeticError, match="no distribution"):
        policy.probabilities(_HERE, _ACTIONS)


def test_an_empty_text_is_an_action_of_its_own() -> None:
    """VW answers nothing with the certainty of one action; the policy refuses it."""
    assert RawVw(_MTR).predict("") == [1.0]
    with pytest.raises(InvalidInput, match="at least one action"):
        VwSpec().make().probabilities(_HERE, [])


def test_sm_picks_the_wrong_action() -> None:
    """Taught which of three actions pays, VW's --cb_type sm prefers another, so it is not on offer."""
    assert _best(_taught(RawVw(f"{_MTR} --cb_type sm"), 3_000)) != 1
    assert _best(_taught(RawVw(_MTR), 3_000)) == 1
    with pytest.raises(InvalidInput, match="cb_type"):
        VwSpec(exploration="epsilon", cb_type="sm")


# ------------------------------------------------------------------------------------------------------- text and files


@pytest.mark.parametrize(
    ("name", "n_lines"),
    [("x\n|a forged", 4), ("x |a forged", 3), ("x:1:2", 3)],
    ids=["new line", "bar", "colon"],
)
def test_a_name_can_forge_a_line(name: str, n_lines: int) -> None:
    """A name with a line end is one more action for VW; encoded by `Action.of` it is one feature of one action."""
    action = Action.of("z", {name: True})

    assert len(RawVw(_MTR).predict(f"{_TEXT} {name}")) == n_lines
    assert len(RawVw(_MTR).predict(f"{_TEXT}\n{action.line}")) == 4
    assert len(action.line.split(" ")) == 3
    assert re.search(r"[\n:]|.\|", action.line) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e20])
def test_numbers_that_hurt_never_get_to_vw(value: float) -> None:
    """VW reads them without a word; `Context.of` and `Action.of` refuse them."""
    assert len(RawVw(_MTR).predict(f"{_TEXT} p:{value}")) == 3
    with pytest.raises(InvalidInput):
        Context.of({"p": value})
    with pytest.raises(InvalidInput):
        Action.of("a", {"p": value})


def test_half_a_model_loads_without_an_error() -> None:
    """VW takes a file that is cut short for a whole one; the policy refuses the state (see test_vw.py)."""
    raw = RawVw(_MTR)
    _taught(raw, 300)
    model = raw.save()

    half = RawVw(_MTR, model=model[: len(model) - 20])

    assert half.save() != model


def test_saving_makes_folders_and_replaces_what_is_there(tmp_path: Path) -> None:
    """VW creates missing folders and renames over the target; `RawVw.save` only uses a folder made for it."""
    target = tmp_path / "not" / "there" / "model"

    Workspace(_MTR).save(str(target))

    assert target.exists()
    with pytest.raises(InvalidInput, match="final_regressor reads or writes files"):
        VwSpec(options="--final_regressor /etc/passwd".replace("/", ""))


def test_examples_that_are_not_given_back_stay_in_memory() -> None:
    """VW keeps 32 KB a line of a text that was parsed and not finished; `RawVw` finishes what VW refused, too."""
    code = """
import sys
from policies.vw_raw import RawVw
raw, text = RawVw("--cb_explore_adf --quiet --ring_size 16"), "shared |s x\\n" + "|a y\\n" * 20
bad = "shared |s x\\n0:1:0.5 |a i\\n0:1:0.5 |a j"

def size():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

def ours():
    raw.predict(text)
    try:
        raw.predict(bad)
    except RuntimeError:
        pass

def leaky():
    examples = raw._parse(text)
    raw._predict(examples)

for act, most, least in ((ours, 8, -8), (leaky, 1e9, 40)):
    for _ in range(50):
        act()
    before = size()
    for _ in range(150):
        act()
    assert least < size() - before < most, (act, size() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=_ROOT, timeout=60, check=False
    )

    assert done.stderr == ""


# ------------------------------------------------------------------------------------------------ what ends the process


_VW = "from vowpalwabbit import Workspace; vw = Workspace({!r}); "


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        pytest.param(
            _VW.format(f"{_BASE} --bag 0") + f"vw.predict({_TEXT!r})",
            lambda: VwSpec(exploration="bag", n_models=0),
            id="a bag of none",
        ),
        pytest.param(
            _VW.format(f"{_BASE} --json") + "vw.predict('5')",
            lambda: VwSpec(options="--json"),
            id="a number as JSON",
        ),
        pytest.param(
            _VW.format(f"{_BASE} --json") + "vw.predict('true')",
            lambda: Context.of(cast("Any", True)),  # noqa: FBT003 - what JSON may hold
            id="a truth value as JSON",
        ),
        pytest.param(
            _VW.format(f"{_BASE} --synthcover --large_action_space --max_actions 2 --quiet")
            + f"[vw.learn({_labelled('0:1:0.5')!r}) for _ in range(50)]; [vw.predict({_TEXT!r}) for _ in range(50)]",
            lambda: VwSpec(exploration="synthcover", options="--large_action_space --max_actions 2"),
            id="synthcover of a few of the actions",
        ),
        pytest.param(
            _VW.format(_MTR) + f"e = vw._parse({_TEXT!r}); vw.predict_multi(e); "
            "vw._finish_example_multi_ex(e); vw._finish_example_multi_ex(e)",
            None,
            id="examples given back twice",
        ),
    ],
)
def test_what_ends_the_process_is_refused(code: str, refused: Any) -> None:
    """VW dies of it; no setting, option or context lets it happen."""
    assert _ends(code) < 0
    if refused is not None:
        with pytest.raises(InvalidInput):
            refused()


def test_a_cover_of_none_answers_nan() -> None:
    """VW starts with it and answers NaN; no setting and no option lets it happen."""
    assert not np.isfinite(RawVw(f"{_BASE} --cover 0 --epsilon 0.1").predict(_TEXT)).all()
    refused: tuple[dict[str, Any], ...] = ({"exploration": "cover", "n_models": 0}, {"options": "--cover 0"})
    for settings in refused:
        with pytest.raises(InvalidInput):
            VwSpec(**settings)


# ---------------------------------------------------------------------------------------------------- what is forgotten


@pytest.mark.parametrize(
    "settings", [{"exploration": "bag"}, {"exploration": "cover"}, {"exploration": "rnd"}, {"cb_type": "dr"}], ids=str
)
def test_several_models_forget_how_they_step(settings: dict[str, Any]) -> None:
    """Saved as VW does it by itself, all models but the first go on differently; --per_model_save_load prevents it."""
    spec = VwSpec(**{"exploration": "epsilon", **settings})
    with_flag = spec.arguments()
    ends = {}
    for arguments in (with_flag, with_flag.replace(" --per_model_save_load", "")):
        chance, whole = random.Random(1), RawVw(arguments)  # noqa: S311 - made-up traffic, not a secret
        lessons = [
            _labelled(f"0:{chance.gauss(0, 1)!r}:0.4", chance.randrange(3)).replace(
                "=ios", f":{24 * chance.random()!r}"
            )
            for _ in range(120)
        ]
        for lesson in lessons[:60]:
            whole.learn(lesson)
        resumed = RawVw(arguments, model=whole.save())
        for lesson in lessons[60:]:
            whole.learn(lesson)
            resumed.learn(lesson)
        ends[arguments] = whole.save() == resumed.save()

    assert list(ends.values()) == [True, False]
