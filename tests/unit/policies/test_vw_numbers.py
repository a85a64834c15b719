"""The numbers of a context as VW gets them."""

import json
import math

import numpy as np
import pytest

from policies import Action, Context, InvalidInput, Outcome, StateInvalid
from policies.state import seal, unseal
from policies.vw import VwSpec
from policies.vw_numbers import Numbers, Standardised

ACTIONS = [Action.of("a"), Action.of("b"), Action.of("c")]


def taught(*lines: str) -> Numbers:
    """Return what learned some lines."""
    numbers = Numbers()
    for line in lines:
        numbers.learn(Context({}, line))
    return numbers


def line_of(numbers: Numbers, line: str) -> str:
    """Return a line as VW gets it."""
    return numbers.line(Context({}, line))


def outcome(age: float, *, chosen: int = 0, reward: float = 0.0) -> Outcome:
    """Return an outcome of a context that holds one number."""
    return Outcome(Context.of({"age": age, "device": "ios"}), ACTIONS, chosen, 1 / 3, reward)


# ------------------------------------------------------------------------------------------------------------ the lines


def test_deviations_from_the_mean() -> None:
    """Of 2, 4, 6 the mean is 4 and the deviation √(8/3): 6 becomes 1.22474 and 4 becomes 0."""
    numbers = taught("|s x:2 os=ios", "|s x:4", "|s x:6")

    assert line_of(numbers, "|s os=ios x:6 new") == "|s os=ios x:1.22474 new"
    assert line_of(numbers, "|s x:4") == "|s x:0"
    assert float(line_of(numbers, "|s x:2").split(":")[1]) == pytest.approx(-2 / math.sqrt(8 / 3), abs=1e-5)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("|s os=ios new", id="categories"),
        pytest.param("|s", id="nothing"),
    ],
)
def test_without_numbers(line: str) -> None:
    """A line without numbers stays as it is, and nothing is kept of it."""
    numbers = taught(line)

    assert line_of(numbers, line) == line
    assert numbers.dumps() == b"[]"


def test_nothing_where_nothing_is_known() -> None:
    """A number never seen, or always the same, says nothing and is left out."""
    numbers = taught("|s year:2024", "|s year:2024")

    assert line_of(numbers, "|s os=ios year:2024 height:3") == "|s os=ios"


def test_rounding_is_no_deviation() -> None:
    """Numbers that differ by rounding alone count as the same."""
    numbers = taught("|s x:1000000000.0", "|s x:1000000000.0000001")

    assert line_of(numbers, "|s x:1000000000.0") == "|s"


def test_cut_off() -> None:
    """What lies far out is cut off at four deviations."""
    numbers = taught("|s x:0", "|s x:1")

    assert line_of(numbers, "|s x:1000000000.0") == "|s x:4"
    assert line_of(numbers, "|s x:-1000000000.0") == "|s x:-4"


def test_one_outlier_flattens_nothing() -> None:
    """After twenty numbers of 0 and 1 a single 1e9 leaves 0 and 1 a deviation apart."""
    numbers = taught(*(f"|s x:{i % 2}" for i in range(20)), "|s x:1000000000.0")

    zero, one = (float(line_of(numbers, f"|s x:{i}").split(":")[1]) for i in (0, 1))

    assert one - zero > 0.7


def test_recent_numbers_count_most() -> None:
    """Mean and deviation follow numbers that move: after 5,000 around 100 none of 1,000 around 0 is left."""
    rng = np.random.default_rng(0)
    xs = [*rng.normal(0, 1, 1_000).tolist(), *rng.normal(100, 1, 5_000).tolist()]
    numbers = taught(*(f"|s x:{x!r}" for x in xs))

    assert abs(float(line_of(numbers, "|s x:100").split(":")[1])) < 0.5


def test_namespaces_apart() -> None:
    """The same name in two namespaces is two numbers."""
    numbers = taught("|s x:0 |s.user x:100", "|s x:1 |s.user x:200")

    assert line_of(numbers, "|s x:1 |s.user x:100") == "|s x:1 |s.user x:-1"


def test_bounded() -> None:
    """Of more than 4,096 names the ones learned longest ago are forgotten, whatever was seen in between."""
    numbers = taught("|s first:0", "|s first:1", "|t second:0", "|t second:1", "|s first:0")

    for i in range(4_095):
        numbers.learn(Context({}, f"|s x{i}:1"))

    assert line_of(numbers, "|s first:0") != "|s"
    assert line_of(numbers, "|t second:0") == "|t"
    assert len(json.loads(numbers.dumps())) == 4_096


# ------------------------------------------------------------------------------------------------------------ the state


def test_state_goes_on() -> None:
    """What was loaded gives the same lines and the same bytes, also after learning more."""
    numbers, loaded = taught("|s x:2 y:1", "|s x:4.5", "|s.user x:1e-9"), taught("|s other:1", "|s other:2")

    loaded.loads(numbers.dumps())

    for one in (numbers, loaded):
        one.learn(Context({}, "|s x:7 y:3"))
    assert loaded.dumps() == numbers.dumps()
    assert line_of(loaded, "|s x:1 y:2 other:1") == line_of(numbers, "|s x:1 y:2 other:1")


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(b"[", id="no JSON"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"[" * 100_000, id="too deep"),
        pytest.param(b"{}", id="no list"),
        pytest.param(b"[[]]", id="no row"),
        pytest.param(b'[["|s","x",0.0,1.0,1.0]]', id="none counted"),
        pytest.param(b'[["|s","x",1.0,1.0,-1.0]]', id="negative variance"),
        pytest.param(b'[["|s","x",1.0,NaN,1.0]]', id="not finite"),
        pytest.param(b'[["|s","x",1.0,1.0,1.0],["|s","x",1.0,1.0,1.0]]', id="twice"),
        pytest.param(b"[" + b",".join([b"0"] * 5_000) + b"]", id="too many"),
    ],
)
def test_damaged_state(state: bytes) -> None:
    """A state that `dumps` did not write is refused."""
    with pytest.raises(StateInvalid):
        Numbers().loads(state)


# ----------------------------------------------------------------------------------------------------------- the policy


def test_default() -> None:
    """Numbers are standardised unless the spec says they are to stay plain."""
    assert isinstance(VwSpec().build(), Standardised)
    assert not isinstance(VwSpec(numbers="plain").build(), Standardised)


def test_unit_of_a_number_makes_no_difference() -> None:
    """Ages in years or in days since 1970 give the same probabilities; plain ones do not."""
    rng = np.random.default_rng(0)
    ages = rng.uniform(18, 80, 300).tolist()
    context = 40.0

    def played(numbers: str, scale: float, start: float) -> list[float]:
        policy = VwSpec(numbers=numbers).build()
        for i, age in enumerate(ages):
            policy.learn(outcome(start + scale * age, chosen=i % 3, reward=float((age > 50) == (i % 3 == 1))))
        at = Context.of({"age": start + scale * context, "device": "ios"})
        return [float(p) for p in policy.probabilities(at, ACTIONS)]

    assert played("standardised", 1.0, 0.0) == pytest.approx(played("standardised", 365.0, 9_000.0), abs=1e-3)
    assert played("plain", 1.0, 0.0) != pytest.approx(played("plain", 365.0, 9_000.0), abs=1e-2)


def test_learns_what_plain_numbers_hide() -> None:
    """Where a year says what is right, nine decisions of ten are right after 400 if it is standardised, else not."""
    rng = np.random.default_rng(1)
    years = rng.integers(1990, 2030, 600).tolist()

    def right(numbers: str) -> float:
        policy = VwSpec(numbers=numbers).build()
        shares = []
        for year in years:
            context = Context.of({"year": year})
            probabilities = policy.probabilities(context, ACTIONS[:2])
            best = int(year >= 2010)
            shares.append(float(probabilities[best]))
            chosen = int(rng.random() < probabilities[1])
            policy.learn(Outcome(context, ACTIONS[:2], chosen, float(probabilities[chosen]), float(chosen == best)))
        return float(np.mean(shares[400:]))

    assert right("standardised") > 0.9
    assert right("plain") < 0.75


def test_bad_outcome_changes_nothing() -> None:
    """An outcome that is refused leaves the numbers as they were, too."""
    policy = VwSpec().build()
    policy.learn(outcome(30.0))
    before = policy.dumps()

    with pytest.raises(InvalidInput):
        policy.learn(outcome(50.0, reward=math.nan))

    assert policy.dumps() == before


def test_policy_state_goes_on() -> None:
    """A loaded policy is resumable: it gives the same probabilities and bytes, also after learning more."""
    policy, loaded = VwSpec().build(), VwSpec().build()
    for i in range(50):
        policy.learn(outcome(float(i), chosen=i % 3, reward=float(i % 2)))

    loaded.loads(policy.dumps())

    for one in (policy, loaded):
        assert one.resumable
        one.learn(outcome(7.0, chosen=1, reward=1.0))
    assert loaded.dumps() == policy.dumps()
    context = Context.of({"age": 33})
    assert loaded.probabilities(context, ACTIONS).tolist() == policy.probabilities(context, ACTIONS).tolist()


def test_child_starts_with_its_parents_numbers() -> None:
    """A child reads numbers on the scales that the adopted weights were learned on."""
    parent, child = VwSpec().build(), VwSpec().build()
    for i in range(600):
        age = float(20 + i % 60)
        parent.learn(outcome(age, chosen=i % 3, reward=float((age > 50) == (i % 3 == 1))))

    child.adopt(parent)

    for age in (20.0, 79.0):
        context = Context.of({"age": age, "device": "ios"})
        wanted = int(parent.probabilities(context, ACTIONS).argmax())
        assert int(child.probabilities(context, ACTIONS).argmax()) == wanted


def test_parent_of_another_spec() -> None:
    """A policy that takes numbers as they are is no parent."""
    with pytest.raises(TypeError, match="numbers as they are"):
        VwSpec().build().adopt(VwSpec(numbers="plain").build())


@pytest.mark.parametrize("payload", [b"", b"\x02\x00\x00\x00[]", b"\x02\x00\x00\x00{}rest"])
def test_damaged_policy_state(payload: bytes) -> None:
    """A state without numbers, or without a model behind them, is refused, and nothing changes."""
    policy = VwSpec().build()
    policy.learn(outcome(30.0))
    before = policy.dumps()

    with pytest.raises(StateInvalid):
        policy.loads(seal(VwSpec(), payload))

    assert policy.dumps() == before
    assert unseal(VwSpec(), before)
