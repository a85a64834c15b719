"""Contexts and actions as vectors."""

import math
import zlib
from typing import Any

import pytest

from policies import Action, Context, StateInvalid
from policies.features import Slot
from policies.vectors import Columns


def columns_of(*contexts: dict[str, Any], max_features: int = 10) -> Columns:
    """Return the columns after learning contexts."""
    columns = Columns(max_features=max_features)
    for data in contexts:
        columns.learn(Context.of(data).line)
    return columns


def test_features_get_columns_as_they_are_learned() -> None:
    """The first column is the constant; features follow in the order they were first learned in."""
    columns = columns_of({"plan": "free"}, {"night": True, "plan": "paid"})

    assert len(columns) == 4
    assert columns.context(Context.of({"plan": "free"})) == [1.0, 1.0, 0.0, 0.0]
    assert columns.context(Context.of({"plan": "paid", "night": True})) == [1.0, 0.0, 1.0, 1.0]


def test_what_was_never_learned_contributes_nothing() -> None:
    """An unknown name, value or namespace leaves the vector as it is, and asking leaves the columns."""
    columns = columns_of({"plan": "free"})

    for data in ({}, {"plan": "x"}, {"plan": 3}, {"other": 1.0}, {"free": True}, {"user": {"plan": "free"}}):
        assert columns.context(Context.of(data)) == [1.0, 0.0]
    assert len(columns) == 2


def test_numbers_are_standardised() -> None:
    """A number becomes its distance from the mean so far in deviations: of 10 and 30, 25 is half a one above."""
    columns = columns_of({"age": 10}, {"age": 30.0})

    assert columns.context(Context.of({"age": 25})) == [1.0, 0.5]
    assert columns.context(Context.of({})) == [1.0, 0.0]


@pytest.mark.parametrize(("number", "expected"), [(1e9, 4.0), (-1e9, -4.0), (59.9, 3.99), (60.1, 4.0)])
def test_numbers_are_cut_off(number: float, expected: float) -> None:
    """No number is more than four deviations from the mean."""
    columns = columns_of({"age": 10}, {"age": 30})

    assert columns.context(Context.of({"age": number}))[1] == pytest.approx(expected)


def test_a_number_that_never_changes_says_nothing() -> None:
    """While all numbers of a feature are the same its column is 0, whatever is asked."""
    columns = columns_of(*[{"version": 3.7}] * 30)

    assert columns.context(Context.of({"version": 3.7})) == [1.0, 0.0]
    assert columns.context(Context.of({"version": 9e8})) == [1.0, 0.0]


def test_an_outlier_does_not_flatten_the_others() -> None:
    """After a hundred numbers of deviation 1 one of 1e9 counts as 10, so that 0 and 2 stay more than 1 apart."""
    columns = columns_of(*[{"x": 0.0}, {"x": 2.0}] * 50, {"x": 1e9})

    low, high = (columns.context(Context.of({"x": x}))[1] for x in (0.0, 2.0))

    assert high - low > 1.0


def test_scales_follow_a_drift() -> None:
    """Numbers that move from around 0 to around 100 are told apart there after sixteen thousand of them."""
    columns = columns_of(*[{"x": -1.0}, {"x": 1.0}] * 500, *[{"x": 99.0}, {"x": 101.0}] * 8_000)

    low, high = (columns.context(Context.of({"x": x}))[1] for x in (99.0, 101.0))

    assert low == pytest.approx(-1.0, abs=0.1)
    assert high == pytest.approx(1.0, abs=0.1)


def test_the_table_is_bounded() -> None:
    """Features beyond the bound are counted and ignored; the ones in use keep their columns."""
    columns = columns_of(*[{"a": True, "b": True, "c": True}] * 2, {"d": True, "a": True}, max_features=2)

    assert len(columns) == 3
    assert columns.ignored == 4
    assert columns.context(Context.of({"a": True, "b": True, "c": True, "d": True})) == [1.0, 1.0, 1.0]


def test_a_second_sight_earns_a_column() -> None:
    """When half of the columns are taken a feature gets one in its second outcome, with the number it had there."""
    columns = columns_of({"a": True, "b": 3.0}, {"c": True}, {"a": True}, max_features=2)
    assert len(columns) == 2

    assert columns.learn(Context.of({"b": 5.0}).line) is None

    assert columns.dumps()[1] == [["|s", "a", 0.0, 0.0, 0.0, 3], ["|s", "b", 1.0, 5.0, 0.0, 4]]


def test_a_feature_named_twice_in_a_line_has_one_column() -> None:
    """A line may open a namespace, and name a feature, twice; two sights in one outcome count as one."""
    columns = Columns(max_features=8)

    columns.learn("|s a:1 b |s a:3 b")

    assert columns.dumps()[1] == [["|s", "a", 2.0, 2.0, 1.0, 1], ["|s", "b", 0.0, 0.0, 0.0, 1]]
    for _ in range(2):
        columns.learn("|s " + " ".join(f"c{i}" for i in range(6)))
    full = Columns(max_features=2)
    full.learn("|s a b b")
    assert len(full) == 2


def test_what_was_not_seen_for_long_makes_room() -> None:
    """In a full table the feature seen longest ago goes for one that comes twice, and the others keep their scales."""
    columns = columns_of(*[{"a": True, "b": True}] * 2, {"b": 1.0}, {"b": 3.0}, max_features=2)
    columns.learn(Context.of({"c": True}).line)

    kept = columns.learn(Context.of({"c": True}).line)

    assert kept == [0, 2]
    assert columns.context(Context.of({"a": True, "b": 4.0, "c": True})) == pytest.approx([1.0, 2.0, 1.0])
    assert columns.dumps() == Columns(max_features=2).read(columns.dumps()).dumps()


ODD: dict[str, dict[str, Any]] = {
    "space": {"a b": True},
    "equals-in-name": {"a=b": 2.0, "c": 1},
    "equals-in-value": {"a": "b=c"},
    "dot": {"a.b": 1.0, "a": [1.0, 2.0]},
    "empty-name": {"": 4, "x": "y"},
    "percent": {"a%20b": True, "a b": False},
    "nested": {"user": {"plan": "free", "age": 3}, "hour": 4},
    "list": {"tags": ["x", "y"], "hour": 4},
    "null": {"x": None, "y": True},
    "tiny": {"x": 1e-200, "y": -3},
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
@pytest.mark.parametrize(
    "twin", [{"c": 3.0}, {"a": "b", "a b": 1.0, "x": 0.5, "y": 1}, {"user": {"age": 5}, "hour": 1}]
)
def test_the_shortcut_is_the_line(data: dict[str, Any], twin: dict[str, Any]) -> None:
    """The vector of any object is what its line says, whether or not the line had to be read."""
    columns = columns_of(data, twin, {**data, **twin}, data, max_features=30)

    for one in (data, twin, {**twin, **data}, {"a": "b", "a=b": 2.0}):
        context = Context.of(one)
        unread = Context({"unread": [context]}, context.line)  # a list sends the reader to the line
        assert columns.context(context) == pytest.approx(columns.context(unread), abs=1e-12)


def test_slots_and_segments_have_columns() -> None:
    """What a slot or a segment adds to a context's line is a feature like any other."""
    plain = Context.of({"hour": True})
    slotted = plain.at_slot(Slot.of("top", position=0)).within("de")
    columns = Columns(max_features=10)

    columns.learn(slotted.line)

    assert columns.context(slotted) == [1.0, 1.0, 1.0, 1.0, 1.0]
    assert columns.context(plain) == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert columns.context(plain.within("fr")) == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_ids_of_actions_have_columns_of_their_own() -> None:
    """An action's id is a feature too, with a bound of its own, and makes room for ids alone."""
    columns = Columns(max_features=2, max_ids=1)
    lines = [Action.of(name, {"size": True}).line for name in "abb"]

    kept = [columns.learn(line) for line in lines]

    assert kept == [None, None, [0, 1]]
    assert columns.action(Action.of("a", {"size": True})) == [1.0, 1.0, 0.0]
    assert columns.action(Action.of("b", {"size": True})) == [1.0, 1.0, 1.0]
    assert columns.action(Action.of("b")) == [1.0, 0.0, 1.0]
    assert [columns.is_id(i) for i in range(3)] == [False, False, True]
    assert columns.ignored == 1


def test_columns_have_keys_that_stay() -> None:
    """Features have numbers of their own that do not change with their columns, nor from process to process."""
    columns = columns_of(*[{"a": True, "b": True}] * 2, *[{"b": True}] * 2, max_features=2)
    key = columns.keys[2]

    for _ in range(2):
        columns.learn(Context.of({"c": True}).line)

    assert columns.keys[1] == key == zlib.crc32(b"b", zlib.crc32(b"|s"))
    assert len({*columns.keys}) == 3


def test_columns_come_back_from_their_state() -> None:
    """Columns that were read from a state give the same vectors and learn on alike."""
    columns = columns_of({"age": 3, "plan": "free"}, {"age": 5, "a b": True}, {"x": 1, "y": 2, "z": 3}, max_features=5)
    other = Columns(max_features=5).read(columns.dumps())

    for one in (columns, other):
        for data in ({"age": 9, "plan": "free"}, {"x": 4}, {"z": 5, "y": 1}):
            one.learn(Context.of(data).line)

    assert other.dumps() == columns.dumps()
    assert other.ignored == columns.ignored == 4
    assert other.n == columns.n == 6
    context = Context.of({"age": 4, "a b": True, "plan": "free", "x": 5})
    assert other.context(context) == columns.context(context)


ROW = ["|s", "x", 0.0, 0.0, 0.0, 1]


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        [0],
        ["0", [], 1, [], []],
        [0, [], -1, [], []],
        [0, [], 2**53 + 1, [], []],
        [0, [[]], 1, [], []],
        [0, [["|s", "x", 0.0, 0.0, 1]], 1, [], []],
        [0, [["|s", "x", 0, 0.0, 0.0, 1]], 1, [], []],
        [0, [["|s", "x", 0.0, math.nan, 0.0, 1]], 1, [], []],
        [0, [["|s", "x", 0.0, 0.0, -1.0, 1]], 1, [], []],
        [0, [["|s", "x", 0.0, 0.0, 0.0, 2]], 1, [], []],
        [0, [ROW] * 2, 1, [], []],
        [0, [["|s", name, 0.0, 0.0, 0.0, 1] for name in "abc"], 1, [], []],
        [0, [["|a", "%id=x", 0.0, 0.0, 0.0, 1]], 1, [], []],
        [0, [ROW], 1, None, []],
        [0, [ROW], 1, [1, 1], []],
        [0, [ROW], 1, [-1], []],
        [0, [ROW], 1, [2**64], []],
        [0, [ROW], 1, ["a"], []],
        [0, [ROW], 1, [*range(17)], []],
        [0, [ROW], 1, [], [1]],
    ],
)
def test_other_states_are_refused(state: Any) -> None:
    """What `dumps` cannot have returned is refused."""
    with pytest.raises(StateInvalid):
        Columns(max_features=2).read(state)


def test_a_state_that_could_be_is_taken() -> None:
    """The table above spoils this state."""
    state = [0, [ROW], 1, [*range(16)], []]

    assert Columns(max_features=2).read(state).dumps() == state
