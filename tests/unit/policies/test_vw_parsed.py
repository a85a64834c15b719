"""Actions that VW keeps parsed: played as their text would be, bounded, and given back."""

import gc
import os
import random
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vowpalwabbit import Workspace

from policies import Action, Context, Outcome, Policy, vw_parsed
from policies.vw import Vw, VwSpec
from policies.vw_exploration import EXPLORATIONS
from policies.vw_numbers import Standardised
from policies.vw_parsed import ParsedActions
from policies.vw_raw import RawVw

_OFFERED = [(name, cb_type) for name, exploration in EXPLORATIONS.items() for cb_type in exploration.cb_types]
_SPECS = [
    *(pytest.param(VwSpec(exploration=name, cb_type=cb_type), id=f"{name}-{cb_type}") for name, cb_type in _OFFERED),
    *(pytest.param(VwSpec(exploration=name, marginal=True), id=f"marginal {name}") for name in EXPLORATIONS),
    pytest.param(VwSpec(interactions=("ss", "sa", "aa"), numbers="plain"), id="all interactions"),
    pytest.param(VwSpec(power_t=0.0, interactions=()), id="constant rate, no interaction"),
]
_SHARED = "shared |s x y:2"
_ROOT = Path(__file__).parents[3]
_RSS_UNIT_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
_LOOKS = 3  # requests after which actions are kept: seen at the first look, kept at the second, used from then on


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Let nothing that another test left to the collector count as kept."""
    gc.collect()
    yield
    gc.collect()


def lines(n: int, *, start: int = 0) -> list[str]:
    """Return the lines of made-up actions."""
    return [f"|a %id=i{i} price:{i / 4} kind=k{i % 3}" for i in range(start, start + n)]


def text(actions: list[str]) -> str:
    """Return a request as `RawVw.predict` takes it."""
    return "\n".join([_SHARED, *actions])


def taught(arguments: str | None = None) -> RawVw:
    """Return a workspace that prefers some actions to others."""
    raw = RawVw(arguments or VwSpec().arguments())
    for i in range(30):
        offered = lines(5, start=i % 7)
        offered[i % 5] = f"0:{(i % 3) - 1}:0.4 {offered[i % 5]}"
        raw.learn(text(offered))
    return raw


def asked_often(raw: RawVw, actions: list[str]) -> None:
    """Ask until the actions would be kept."""
    for _ in range(_LOOKS * vw_parsed._LOOK_EVERY):
        raw.predict_actions(_SHARED, list(actions))


def kept(raw: RawVw) -> set[str]:
    """Return the lines whose Examples are kept."""
    return set(raw._parsed._kept)


def rss_mb() -> float:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _RSS_UNIT_MB


class _Traffic:
    """Requests over a small catalogue with objects in objects, and outcomes now and then."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - made-up traffic, not a secret
        self.catalogue = [
            Action.of(f"i{i}", {"price": self.chance.random(), "more": {"w": i, "tags": ["a", f"t{i % 4}"]}})
            for i in range(30)
        ]

    def context(self) -> Context:
        chance = self.chance
        return Context.of({"n": chance.random(), "os": chance.choice("ab"), "user": {"age": chance.randrange(9)}})

    def offered(self) -> list[Action]:
        return self.chance.sample(self.catalogue, self.chance.randrange(1, 13))

    def outcome(self) -> Outcome:
        offered = self.offered()
        return Outcome(self.context(), offered, self.chance.randrange(len(offered)), 0.3, self.chance.random())


def raw_of(policy: Policy) -> RawVw:
    """Return the workspace of a vw policy."""
    inner = policy._policy if isinstance(policy, Standardised) else policy
    assert isinstance(inner, Vw)
    assert inner._raw is not None
    return inner._raw


# ---------------------------------------------------------------------------------------------- as their text would be


@pytest.mark.parametrize("spec", _SPECS)
def test_what_is_kept_is_played_as_its_text_would_be(spec: VwSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, whatever was learned, loaded and given back in between; and `dumps` is the same."""
    monkeypatch.setattr(vw_parsed, "_MOST", 40)
    monkeypatch.setattr(vw_parsed, "_LOOK_EVERY", 2)
    keeps, reads = spec.make(), spec.make()
    traffic, n_found = _Traffic(3), 0

    for i in range(600):
        if i % 5 == 0:
            outcome = traffic.outcome()
            keeps.learn(outcome)
            reads.learn(outcome)
        if i == 300:
            keeps.loads(keeps.dumps())
        if i % 150 == 0:
            traffic.catalogue = traffic.catalogue[15:] + _Traffic(i).catalogue[:15]
        context, offered = traffic.context(), traffic.offered()
        raw_of(reads)._parsed = ParsedActions(*_raw_calls(raw_of(reads)))  # one that has never seen anything

        assert keeps.probabilities(context, offered).tolist() == reads.probabilities(context, offered).tolist()
        n_found += {action.line for action in offered} <= {line.split(" |m ")[0] for line in kept(raw_of(keeps))}

    assert n_found > 100
    assert keeps.dumps() == reads.dumps()


def _raw_calls(raw: RawVw) -> tuple[Any, Any, Any]:
    return raw._parse, raw._predict, raw._finish


def test_the_order_is_the_callers() -> None:
    """Kept actions are scored in any order and selection."""
    raw, reader = taught(), taught()
    asked_often(raw, lines(12))

    for selection in (lines(12)[::-1], lines(3, start=4), lines(1), lines(12)):
        assert raw.predict_actions(_SHARED, selection) == reader.predict(text(selection))
    assert kept(raw) == set(lines(12))


def test_equal_actions_are_two() -> None:
    """An Example stands for one action of a request: with equal ones VW reads the text."""
    raw, reader = taught(), taught()
    asked_often(raw, lines(3))
    twice = [*lines(3), *lines(2)]

    asked_often(raw, twice)

    assert raw.predict_actions(_SHARED, twice) == reader.predict(text(twice))
    assert len(raw.predict_actions(_SHARED, twice)) == 5


def test_equal_actions_are_kept_once() -> None:
    """A request that repeats an action leaves one Example of it behind."""
    raw, reader = taught(), taught()

    asked_often(raw, [*lines(3), *lines(2)])

    assert kept(raw) == set(lines(3))
    assert raw.predict_actions(_SHARED, lines(3)) == reader.predict(text(lines(3)))


def test_free_options_keep_nothing() -> None:
    """What options of a user make VW write into an Example is not known."""
    policy = VwSpec(options="--coin").make()
    traffic = _Traffic(1)
    policy.learn(traffic.outcome())

    for _ in range(50):
        policy.probabilities(traffic.context(), traffic.catalogue[:3])

    assert kept(raw_of(policy)) == set()


# ------------------------------------------------------------------------------------------------------- what is kept


def test_actions_that_change_are_not_kept() -> None:
    """Only what was asked about before is worth an Example."""
    raw = taught()

    for i in range(200):
        raw.predict_actions(_SHARED, [*lines(3), f"|a %id=new{i}"])

    assert kept(raw) == set()


@pytest.mark.parametrize(
    "actions",
    [
        pytest.param(lines(257), id="too many"),
        pytest.param([*lines(3), "|a " + "x" * 1_000], id="a long line"),
    ],
)
def test_what_is_large_is_not_kept(actions: list[str]) -> None:
    """No more actions than there is room for, and none whose features take more memory than the rest of it."""
    raw = taught()

    asked_often(raw, actions)

    assert kept(raw) == set()


def test_a_full_table_starts_over() -> None:
    """When the catalogue changes, all that was kept goes back and the new actions are kept."""
    raw, reader = taught(), taught()
    asked_often(raw, lines(200))

    asked_often(raw, lines(100, start=300))

    assert kept(raw) == set(lines(100, start=300))
    for selection in (lines(4), lines(9, start=350)):
        assert raw.predict_actions(_SHARED, selection) == reader.predict(text(selection))


def test_a_process_keeps_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many workspaces there are, together they keep a bounded number; one that goes makes room."""
    monkeypatch.setattr(vw_parsed, "_MOST_IN_ALL", 25)
    raws = [taught() for _ in range(3)]

    for raw in raws:
        asked_often(raw, lines(10))

    assert [len(kept(raw)) for raw in raws] == [10, 10, 0]
    raw = raws.pop()
    del raws[0]
    gc.collect()
    asked_often(raw, lines(10))
    assert len(kept(raw)) == 10


# --------------------------------------------------------------------------------------------------- what is given back


class _Counted:
    """The raw calls of a workspace, with a ledger of the Examples that are out, and failures to order.

    Examples that were given back are refused, in a prediction and a second time; so is to give back any that were not
    predicted with, from the first on, in the call before.
    """

    def __init__(self) -> None:
        self.workspace: Any = Workspace(f"{VwSpec().arguments()} --random_seed 1")
        self.ledger: dict[int, Any] = {}
        self.fails_at: int | None = None
        self.n_predicted = 0
        self.predicted: list[int] = []

    @property
    def out(self) -> int:
        return len(self.ledger)

    def parse(self, text: str) -> list[Any]:
        examples: list[Any] = self.workspace._parse(text)
        self.ledger |= {id(example): example for example in examples}
        return examples

    def predict(self, examples: list[Any]) -> None:
        self.n_predicted += 1
        assert all(id(example) in self.ledger for example in examples)
        if self.n_predicted == self.fails_at:
            raise RuntimeError("VW refuses")
        self.workspace.predict_multi(examples)
        self.predicted = [id(example) for example in examples]

    def finish(self, examples: list[Any]) -> None:
        assert [id(example) for example in examples] == self.predicted[: len(examples)]
        for example in examples:
            del self.ledger[id(example)]
        self.workspace._finish_example_multi_ex(examples)

    def ask(self, parsed: ParsedActions, actions: list[str]) -> int:
        """Return how many of many questions about actions were answered."""
        return sum(parsed.predict(_SHARED, list(actions)) is not None for _ in range(_LOOKS * vw_parsed._LOOK_EVERY))


def test_every_example_is_kept_or_given_back() -> None:
    """What is out of VW's pool is what the table holds, and nothing once the table is gone."""
    calls = _Counted()
    parsed = ParsedActions(calls.parse, calls.predict, calls.finish)

    for start in (0, 5, 200, 300):
        assert calls.ask(parsed, lines(150, start=start)) > 0
        assert calls.out == len(parsed._kept) > 0

    del parsed
    assert calls.out == 0


def test_what_was_given_back_is_in_no_prediction() -> None:
    """Also not in that of the very actions that were asked about before all went back."""
    calls = _Counted()
    parsed = ParsedActions(calls.parse, calls.predict, calls.finish)
    calls.ask(parsed, lines(200))

    for _ in range(_LOOKS * vw_parsed._LOOK_EVERY):
        parsed.predict(_SHARED, lines(200))
        parsed.predict(_SHARED, lines(100, start=300))

    assert calls.out == len(parsed._kept) == 100


@pytest.mark.parametrize(
    "fails_at", [pytest.param(1, id="while they are to be kept"), pytest.param(2, id="while they are kept")]
)
def test_examples_of_a_failed_call_are_in_no_other(fails_at: int) -> None:
    """An error of VW's passes through; neither kept nor given back is what VW was at, and others take its place."""
    calls = _Counted()
    calls.fails_at = fails_at
    parsed = ParsedActions(calls.parse, calls.predict, calls.finish)

    with pytest.raises(RuntimeError, match="VW refuses"):
        calls.ask(parsed, lines(10))

    assert len(parsed._kept) == 0
    lost = dict(calls.ledger)
    assert calls.out == 11
    assert calls.ask(parsed, lines(10)) > 0
    assert len(parsed._kept) == 10
    assert not {id(example) for example in parsed._kept.values()} & lost.keys()


def test_a_failure_to_give_back_forgets_them_all_the_same() -> None:
    """What could not be predicted with is in no later prediction, and is not given back either."""
    calls = _Counted()
    parsed = ParsedActions(calls.parse, calls.predict, calls.finish)
    calls.ask(parsed, lines(200))
    calls.fails_at = calls.n_predicted + 1

    with pytest.raises(RuntimeError, match="VW refuses"):
        calls.ask(parsed, lines(100, start=300))

    assert (calls.out, len(parsed._kept)) == (201, 0)
    assert calls.ask(parsed, lines(100, start=300)) > 0
    assert calls.out == 301


def test_lines_that_are_not_one_action_each_are_not_kept() -> None:
    """Where VW reads more lines than there are actions, all go back: none is kept for another."""
    calls = _Counted()
    parsed = ParsedActions(calls.parse, calls.predict, calls.finish)

    assert calls.ask(parsed, ["|a x\n|a forged", "|a y"]) == 0

    assert calls.out == len(parsed._kept) == 0


def test_a_cycle_gives_back_what_it_kept() -> None:
    """Collected together with its workspace, in whatever order, a table returns its Examples first."""
    calls = _Counted()
    parsed = ParsedActions(calls.parse, calls.predict, calls.finish)
    calls.ask(parsed, lines(50))
    gone = weakref.ref(parsed)
    cycle: list[Any] = [parsed]
    cycle.append(cycle)
    assert calls.out == 50

    del parsed, cycle
    gc.collect()

    assert gone() is None
    assert calls.out == 0


_CHURN = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("here", {file!r})
here = importlib.util.module_from_spec(spec); spec.loader.exec_module(here)
{body}
"""


def _child(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", _CHURN.format(file=__file__, body=body)],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param("", id="at its end"),
        pytest.param("sys.exit(0)", id="by exit"),
        pytest.param("cycle = [raw]; cycle.append(cycle); del raw", id="in a cycle"),
        pytest.param("import builtins; builtins.raw = raw; sys.modules['raw'] = raw", id="kept beyond its module"),
        pytest.param("here.raw = raw; del raw", id="in another module"),
        pytest.param("import threading; threading.Thread(target=here.asked_often, args=(raw, here.lines(9))).start()",
                     id="with a thread under way"),
    ],
)  # fmt: skip
def test_an_interpreter_ends_in_order_with_actions_kept(ending: str) -> None:
    """However a process comes to its end, nothing that is kept then crashes it or makes it complain."""
    done = _child(f"raw = here.taught(); here.asked_often(raw, here.lines(60)); assert here.kept(raw)\n{ending}")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_forked_child_plays_and_ends_as_its_parent() -> None:
    """What is kept is there on both sides of a fork, and each gives back its own."""
    done = _child(
        """
import os
raw = here.taught(); here.asked_often(raw, here.lines(60))
before = raw.predict_actions(here._SHARED, here.lines(9))
child = os.fork()
here.asked_often(raw, here.lines(240, start=70))
assert raw.predict_actions(here._SHARED, here.lines(9)) == before
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_twenty_thousand_examples_come_and_go_in_flat_memory() -> None:
    """Kept, used and given back over and over, under a heap that checks itself and overwrites what is freed."""
    done = _child(
        """
raw, reader, before = here.taught(), here.taught(), 0.0
for i in range(90):
    catalogue = here.lines(250, start=251 * (i % 4))
    here.asked_often(raw, catalogue)
    assert here.kept(raw) == set(catalogue), i
    assert raw.predict_actions(here._SHARED, catalogue[:9]) == reader.predict(here.text(catalogue[:9]))
    if i % 10 == 0:
        raw = here.taught()
    if i == 30:
        before = here.rss_mb()
print(here.rss_mb() - before)
""",
        MALLOC_PERTURB_="165",
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) < 16.0  # two workspaces' worth; the 15,000 that came and went take 480
