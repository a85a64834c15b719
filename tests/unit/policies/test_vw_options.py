"""Free VW options: what is refused at once, what VW itself is asked about, and what resumes."""

import io
import json
import math
import random
import subprocess
import sys
import time
from typing import Any

import pytest
from vowpalwabbit import Workspace

from policies import Action, Context, InvalidInput, Outcome, parse_spec, vw_options
from policies.vw import VwSpec
from policies.vw_exploration import EXPLORATIONS
from policies.vw_options import REFUSED, RESUMABLE, check_options, resumes
from policies.vw_probe import Trial, main, tried

_ARGUMENTS = VwSpec(bits=12).arguments()
_HARMLESS_TEXTS = {
    # Options of type text or list that name no file and write none.
    "alg", "bs_type", "classweight", "csoaa_ldf", "emt_initial", "emt_router", "emt_scorer", "hash", "ignore",
    "interact", "interaction_type", "keep", "ldf_override", "link", "lrq", "lrqfa", "opt_func",
    "oracle_type", "priority_type", "experimental_igl", "kernel", "multiworld_test", "normalize", "policy",
    "random_init",
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param("--readable_model weights", "--readable_model reads or writes files", id="a file to write"),
        pytest.param("--l2 1e-6 --dictionary=words", "--dictionary reads or writes files", id="a file to read"),
        pytest.param("--daemon", "--daemon opens connections", id="a server"),
        pytest.param("--json", "changes how the text is read", id="another format"),
        pytest.param("--progress 1", "only changes what VW prints", id="output"),
        pytest.param("--passes 2", "VW's own command line", id="passes over a file"),
        pytest.param("--random_seed 7", "is set by banditd", id="ours"),
        pytest.param("--bag 0", "is a setting of its own", id="a setting"),
        pytest.param("--cubic ssa", "overflow", id="three numbers multiplied"),
        pytest.param("--first_only", "no distribution", id="only the first of ties"),
        pytest.param("--large_action_space", "answers by what was asked before", id="a few of the actions"),
        pytest.param("--thread_pool_size 4", "belongs to --large_action_space", id="threads"),
        pytest.param("--block_size 4", "belongs to --large_action_space", id="blocks"),
        pytest.param("--search_allowed_transitions x", "reads files", id="a search"),
        pytest.param("--bfgs --mem 9", "several times", id="a batch learner"),
        pytest.param("--eval", "measures policies", id="an evaluation"),
        pytest.param("--loss_function quantile", "than the mean reward", id="medians"),
        pytest.param("--min_prediction 5", "bounds predictions", id="bounds"),
        pytest.param("--sgd", "lays its model file out otherwise", id="another file"),
        pytest.param("--random_weights", "every weight", id="weights of all features"),
        pytest.param("-q sa", "neither an option", id="short"),
        pytest.param("l2 1", "neither an option", id="a value alone"),
        pytest.param("--ignore a|b", "neither an option", id="a bar"),
        pytest.param("--link=../x", "neither an option", id="a path"),
        pytest.param("--l2 'a b'", "neither an option", id="quotes"),
        pytest.param("--l2 1 2", "neither an option", id="a second value"),
        pytest.param("--l2=1 2", "neither an option", id="a value after a value"),
        pytest.param("--l2=", "neither an option", id="no value"),
        pytest.param("--l2 1 " * 200, "at most 1000", id="too long"),
    ],
)
def test_what_could_hurt_is_refused_without_asking_vw(
    options: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option on the list, or a text that is not made of options, is refused with its reason."""
    monkeypatch.setattr(subprocess, "run", None)  # asking would be a TypeError

    with pytest.raises(InvalidInput, match=words) as refused:
        VwSpec(options=options)

    assert (refused.value.field, refused.value.code) == ("options", "bad_options")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param("--no_such_option", "unrecognised option", id="unknown"),
        pytest.param("--l2 abc", "Failed to convert abc", id="a value of the wrong type"),
        pytest.param("--ftrl README.md", "Expected no value for ftrl", id="a word that could be a file"),
        pytest.param("--ftrl --coin", "do not work", id="two that exclude each other"),
        pytest.param("--ccb_explore_adf", "do not work", id="another task"),
        pytest.param("--sparse_weights", "does not come back as it was", id="a model that reads back otherwise"),
        pytest.param("--lrq sa3", "answers depends on what it was asked", id="predictions that change answers"),
        pytest.param("--automl 4", "depends on how often it was asked", id="predictions that leave a trace"),
        pytest.param("--l1 1e30", "does not prefer it", id="weights that stay 0"),
        pytest.param("--ftrl --ftrl_alpha -1", "does not prefer it", id="steps the wrong way"),
        pytest.param("--gamma_exponent -5", "does not prefer it", id="exploration that never ends"),
        pytest.param("--keep x", "does not prefer it", id="no features"),
        pytest.param("--ignore a", "does not prefer it", id="no actions"),
        pytest.param("--nn 0", "does not prefer it", id="no neurons"),
    ],
)
def test_what_vw_refuses_is_told_in_its_words(options: str, words: str) -> None:
    """What fails when it is tried out is an error that names `options` and says why."""
    with pytest.raises(InvalidInput, match=words) as refused:
        parse_spec({"kind": "vw", "options": options})

    assert refused.value.field == "options"


@pytest.mark.parametrize("arguments", [f"{_ARGUMENTS} --bag 0", _ARGUMENTS.replace("--squarecb", "--bag 0")])
def test_options_that_end_vw_end_another_process(arguments: str) -> None:
    """What ends the process, or is refused, while it is tried out is reported here."""
    with pytest.raises(InvalidInput, match="do not work: "):
        check_options("--l2 0", arguments)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.abort()", "signal 6"),
        ("raise SystemExit(3)", "code 3"),
        ("print('no report')", "code 0"),
        ("import time; time.sleep(60)", "was not done after"),
    ],
    ids=["signal", "exit code", "no report", "no end"],
)
def test_a_trial_that_does_not_report_is_a_refusal(code: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the other process goes wrong, it is a refusal and not an error of ours."""
    monkeypatch.setattr(vw_options, "_PROBE", code)
    monkeypatch.setattr(vw_options, "_PROBE_TIMEOUT_S", 3.0)

    with pytest.raises(InvalidInput, match=words):
        check_options("--l2 0", f"{_ARGUMENTS} {words!r}")


def test_without_options_nothing_is_tried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings alone start no process, and the same options start one once."""
    started = []
    run: Any = subprocess.run

    def counted(*args: Any, **kwargs: Any) -> Any:
        started.append(args)
        return run(*args, **kwargs)

    monkeypatch.setattr(subprocess, "run", counted)

    began = time.process_time()
    for _ in range(100):
        VwSpec(exploration="bag", n_models=7)
    assert time.process_time() - began < 0.5
    for _ in range(3):
        VwSpec(options="--l2 3e-7")

    assert len(started) == 1


def test_good_options_reach_vw() -> None:
    """What passes is appended to the options of the settings, and changes what is learned."""
    spec, plain = VwSpec(options="--ftrl --ftrl_alpha 0.01"), VwSpec()

    assert spec.arguments() == f"{plain.arguments()} --ftrl --ftrl_alpha=0.01"
    one, other = (_taught(vw).probabilities(*_question()).tolist() for vw in (spec, plain))
    assert one != pytest.approx(other, abs=1e-3)


_ACTIONS = [Action.of(f"a{k}", {"price": k / 2}) for k in range(4)]


def _question() -> tuple[Context, list[Action]]:
    return Context.of({"hour": 3.5}), _ACTIONS


def _outcomes(n: int) -> list[Outcome]:
    chance = random.Random(4)  # noqa: S311 - made-up traffic, not a secret
    return [
        Outcome(Context.of({"hour": 24 * chance.random()}), _ACTIONS, chance.randrange(4), 0.3, chance.gauss(0, 1))
        for _ in range(n)
    ]


def _taught(spec: VwSpec) -> Any:
    policy = spec.make()
    for outcome in _outcomes(60):
        policy.learn(outcome)
    return policy


_VALUES = {
    "clip_p": "0.1",
    "gamma_exponent": "0.4",
    "ftrl_alpha": "0.1 --ftrl",
    "ftrl_beta": "0.5 --coin",
    "l1": "1e-4",
    "l2": "1e-4",
}


@pytest.mark.parametrize(
    ("exploration", "name"),
    [
        ("squarecb", "gamma_exponent"),  # which the others do not have
        *((exploration, name) for exploration in EXPLORATIONS for name in sorted(RESUMABLE - {"gamma_exponent"})),
    ],
)
def test_what_is_said_to_resume_resumes(exploration: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every option on that list a loaded state and the rest of the log give the bytes of the whole fold."""
    monkeypatch.setattr(vw_options, "_tried", lambda _settings, _options: Trial(None, resumes=True))  # tested above
    spec = VwSpec(exploration=exploration, bits=12, options=f"--{name} {_VALUES.get(name, '')}".rstrip())
    outcomes = _outcomes(60)
    first, resumed, whole = spec.make(), spec.make(), _taught(spec)
    for outcome in outcomes[:25]:
        first.probabilities(*_question())
        first.learn(outcome)

    resumed.loads(first.dumps())
    for outcome in outcomes[25:]:
        resumed.learn(outcome)

    assert spec.make().resumable
    assert resumed.dumps() == whole.dumps()
    assert resumed.probabilities(*_question()).tolist() == whole.probabilities(*_question()).tolist()
    assert math.isfinite(sum(whole.probabilities(*_question())))


def test_other_options_are_not_said_to_resume() -> None:
    """What no test holds runs without snapshots, and so does what went on differently when it was tried out."""
    forgetful = VwSpec(exploration="bag", bits=12).arguments().replace(" --per_model_save_load", "")
    check_options("--coin", forgetful)
    assert not resumes("--coin", forgetful)
    assert resumes("", _ARGUMENTS)
    assert resumes("--l2 1e-6 --ftrl --gamma_exponent=0.4", _ARGUMENTS)
    assert not resumes("--l2 1e-6 --nn 2", _ARGUMENTS)
    assert not VwSpec(options="--nn 2").build().resumable
    assert VwSpec(options="--gamma_exponent 0.4").build().resumable


def test_every_option_that_takes_a_text_was_looked_at() -> None:
    """An option of VW that could name a file is on the list of the refused, or known not to."""
    config = Workspace("--cb_explore_adf --quiet").get_config(filtered_enabled_reductions_only=False)
    texts = {
        option.name
        for groups in config.values()
        for _, options in groups
        for option in options
        if isinstance(option.default_value, (str, list))
    }
    numeric_lists = {name for name in texts if name not in REFUSED and name not in _HARMLESS_TEXTS}

    assert len(texts) > 50
    assert numeric_lists == set()
    assert RESUMABLE.isdisjoint(REFUSED)


def test_the_trial_reports_on_its_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program reads options and writes what is wrong with them as JSON."""
    for options, problem in (("", None), ("--no_such", "unrecognised option '--no_such'")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps([_ARGUMENTS, options])))
        main()

        reported = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert reported == {"problem": problem, "resumes": problem is None}


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        (_ARGUMENTS, "", None),
        (_ARGUMENTS.replace("--squarecb --gamma_scale 10.0", "--cover 0 --epsilon 0.1"), "", "VW answered"),
        (_ARGUMENTS, "--lrq=sa3", "depends on what it was asked before"),
        (VwSpec().arguments(), "--large_action_space --max_actions=6", "depends on what it was asked before"),
        (_ARGUMENTS, "--automl=4", "depends on how often"),
        (_ARGUMENTS, "--sparse_weights", "does not come back"),
        (_ARGUMENTS, "--sgd", "layout"),
        (_ARGUMENTS, "--loss_function=quantile", "does not prefer it"),
        (_ARGUMENTS, "--loss_function=poisson", "does not prefer it"),
        (VwSpec(exploration="regcb", bits=12).arguments(), "--coin", "does not prefer it"),
        (VwSpec(exploration="first", n_first=1_000_000, bits=12).arguments(), "--l2=1e-6", None),
    ],
)
def test_the_trial_finds_what_is_wrong(settings: str, options: str, words: str | None) -> None:
    """Each promise of a policy is tried out: a distribution that is learned, no trace of questions, a way back."""
    problem = tried(settings, options).problem

    assert (problem is None) if words is None else (words in str(problem))


def test_a_model_that_goes_on_differently_works_but_does_not_resume() -> None:
    """Options that are fine but for what a saved model forgets may run, without snapshots."""
    bag = VwSpec(exploration="bag", bits=12).arguments()

    assert tried(bag, "--coin") == Trial(None, resumes=True)
    assert tried(bag.replace(" --per_model_save_load", ""), "--coin") == Trial(None, resumes=False)
