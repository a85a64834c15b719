"""Contexts and actions: what each kind of value becomes, and what is refused under which name."""

import math
import random
import tracemalloc
from time import process_time
from typing import Any

import pytest

from policies import Action, Context, InvalidInput, Limits, Slot, features


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({}, "|s"),
        ({"age": 31, "score": 0.5}, "|s age:31 score:0.5"),
        ({"plan": "free"}, "|s plan=free"),
        ({"new": True, "old": False, "none": None}, "|s new"),
        ({"user": {"plan": "free"}}, "|s.user plan=free"),
        ({"user": {"new": True, "old": False, "none": None, "age": 31}}, "|s.user new age:31"),
        ({"hour": 9, "user": {"geo": {"city": "Oslo"}}}, "|s hour:9 |s.user.geo city=Oslo"),
        ({"tags": ["new", "hot", "new"]}, "|s tags=new tags=hot"),
        ({"v": [1, 2.5, None, True]}, "|s v.0:1 v.1:2.5 v.3"),
        ({"seen": [{"a": 1, "b": 1}, None, {"a": 2}]}, "|s.seen a:2 b:1"),
        ({"a.b": 1, "c": {"d.e": 2}}, "|s a%2Eb:1 |s.c d%2Ee:2"),
        ({"a b|c:d=e%f\n": "g h|i:j=k%l\n.m"}, "|s a%20b%7Cc%3Ad%3De%25f%0A=g%20h%7Ci%3Aj%3Dk%25l%0A.m"),
        ({"": 1}, "|s %:1"),
        ({"x": 1e-21, "y": -0.0, "z": 1e-20}, "|s x:0 y:0 z:1e-20"),
    ],
)
def test_a_context_is_written_as_documented(data: dict[str, Any], line: str) -> None:
    """Each kind of JSON value becomes the features that the module's table promises."""
    assert Context.of(data).line == line


def test_an_action_carries_its_id_as_a_feature() -> None:
    """The id stands first, where no client's own feature can be taken for it."""
    assert Action.of("shoe 42", {"id": "other", "%id": "x"}).line == "|a %id=shoe%2042 id=other %25id=x"


def test_a_slot_is_a_namespace_of_the_context() -> None:
    """The slot's id, its position and its features come last, and the context's own stay as they are."""
    slot = Slot.of("top left", position=1, features={"w": 2, "at": {"page": "home"}, "%id": "x"})

    at_slot = Context.of({"hour": 9}).at_slot(slot)

    assert at_slot.line == "|s hour:9 |s.%slot %id=top%20left %position=1 w:2 %25id=x |s.%slot.at page=home"
    assert at_slot.data == {"hour": 9}


@pytest.mark.parametrize(
    ("slot_id", "data", "code", "field"),
    [
        ("", {}, "id_length", "id"),
        ("a\nb", {}, "control_character", "id"),
        ("x", {"a": {"b": math.nan}}, "number_not_finite", "features.a.b"),
        ("x", [], "invalid_type", "features"),
    ],
)
def test_a_slot_is_refused_as_an_action_is(slot_id: str, data: Any, code: str, field: str) -> None:
    """A bad id or a bad feature is named."""
    with pytest.raises(InvalidInput) as caught:
        Slot.of(slot_id, position=0, features=data)

    assert (caught.value.code, caught.value.field) == (code, field)


DEEP: dict[str, Any] = {"a": {"b": {"c": 1}}}


@pytest.mark.parametrize(
    ("code", "field", "data"),
    [
        ("number_not_finite", "a.b", {"a": {"b": math.nan}}),
        ("number_not_finite", "a[1]", {"a": [1, math.inf]}),
        ("number_out_of_range", "a", {"a": 1.0000001e9}),
        ("number_out_of_range", "a", {"a": -(10**400)}),
        ("too_deep", "a.b", DEEP),
        ("too_deep", "a.b", {"a": {"b": [1]}}),
        ("too_deep", "a", {"a": [{"b": 1}]}),
        ("too_many_features", "", {str(i): i for i in range(6)}),
        ("too_many_features", "", {str(i): {} for i in range(6)}),
        ("too_many_features", "a", {"a": dict.fromkeys("bcdef", 1)}),
        ("mixed_list", "a", {"a": [1, {"b": 1}]}),
        ("mixed_list", "a", {"a": [{"b": 1}, False]}),
        ("invalid_type", "a[0]", {"a": [[1]]}),
        ("invalid_type", "a", {"a": b"x"}),
        ("invalid_type", "", {1: 2}),
        ("invalid_text", "a", {"a": "\ud800"}),
        ("invalid_text", "a[1]", {"a": ["x", "\ud800"]}),
        ("invalid_text", "a.?", {"a": {"\ud800": 1}}),
    ],
)
def test_what_breaks_a_rule_is_refused_under_its_name(code: str, field: str, data: dict[str, Any]) -> None:
    """A value that no policy may see is refused with its path; an action's path starts with `features`."""
    limits = Limits(depth=2, features=5)

    with pytest.raises(InvalidInput) as of_context:
        Context.of(data, limits=limits)
    with pytest.raises(InvalidInput) as of_action:
        Action.of("x", data, limits=limits)

    assert (of_context.value.code, of_context.value.field) == (code, field)
    assert of_action.value.field == (f"features.{field}" if field else "features")


@pytest.mark.parametrize(
    "data",
    [{"a": {"b": 1}}, {"a": [1, 2]}, {str(i): i for i in range(5)}, {"a": dict.fromkeys("bcde", 1)}, {"a": ["x"] * 9}],
)
def test_what_just_keeps_the_limits_passes(data: dict[str, Any]) -> None:
    """Two levels and five features are allowed where two and five are the limits."""
    Context.of(data, limits=Limits(depth=2, features=5))


@pytest.mark.parametrize(
    ("code", "action_id"),
    [
        ("id_length", ""),
        ("id_length", "é" * 129),
        ("control_character", "a\nb"),
        ("control_character", "a\x00"),
        ("control_character", "a\x7f"),
        ("control_character", "a\x85"),
        ("invalid_text", "\ud800"),
        ("invalid_type", 7),
    ],
)
def test_bad_ids_are_refused(code: str, action_id: Any) -> None:
    """An id is 1 to 256 bytes of UTF-8 without control characters."""
    with pytest.raises(InvalidInput) as caught:
        Action.of(action_id)

    assert (caught.value.code, caught.value.field) == (code, "id")


def test_the_longest_id_passes() -> None:
    """256 bytes are allowed."""
    assert Action.of("é" * 128).id == "é" * 128


@pytest.mark.parametrize("data", [[], "text", 1, None])
def test_a_context_is_an_object(data: Any) -> None:
    """What is no JSON object is no context."""
    with pytest.raises(InvalidInput) as caught:
        Context.of(data)

    assert caught.value.code == "invalid_type"


def test_the_features_of_an_action_may_be_missing() -> None:
    """None stands for no features."""
    assert Action.of("x").line == "|a %id=x"


def test_an_error_does_not_repeat_a_whole_name() -> None:
    """The path in an error is cut, so that a huge name is not sent back."""
    with pytest.raises(InvalidInput) as caught:
        Context.of({"n" * 100_000: math.nan})

    assert len(caught.value.field) == 300


def test_the_memo_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ever new names and strings are written right, while only so many of them are kept."""
    monkeypatch.setattr(features, "_MEMO_ENTRIES", 5)

    for i in range(20):
        assert Context.of({f"memo {i}": f"v {i}", f"n{i}": 1}).line == f"|s memo%20{i}=v%20{i} n{i}:1"

    assert len(features._NAMES) <= 5
    assert len(features._STRINGS) <= 5


def test_long_strings_are_not_kept() -> None:
    """A client that sends ever new long strings does not fill the memory."""
    tracemalloc.start()
    try:
        for i in range(300):
            Context.of({"essay": f"{i}" + "x" * 10_000, f"{i}" + "y" * 10_000: 1})
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 1_000_000  # they are 6 MB together


def test_merging_many_objects_takes_linear_time() -> None:
    """A list of 40,000 objects behind one with 5,000 names is merged in one pass."""
    data = {"a": [{str(i): i for i in range(5_000)}, *({} for _ in range(40_000))]}

    started = process_time()
    Context.of(data, limits=Limits(features=10_000))

    assert process_time() - started < 0.5  # about 5 ms; copying the names for each object takes over 2 s


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        ({"x": 1}, {"x": True}, "|a %id=k x"),
        ({"x": 1}, {"x": 1.0}, "|a %id=k x:1.0"),
        ({"x": True}, {"x": 1}, "|a %id=k x:1"),
        ({"x": "1"}, {"x": 1}, "|a %id=k x:1"),
        ({"x": 0.0}, {"x": False}, "|a %id=k"),
        ({"x": 1, "y": 2}, {"y": 2, "x": 1}, "|a %id=k y:2 x:1"),
        ({"x": "y"}, {"y": "x"}, "|a %id=k y=x"),
        ({"x": None}, {"x": False}, "|a %id=k"),
        ({"x": [1]}, {"x": [True]}, "|a %id=k x.0"),
        ({"x": {"y": 1}}, {"x": {"y": 1.5}}, "|a %id=k |a.x y:1.5"),
        ({}, None, "|a %id=k"),
    ],
    ids=str,
)
def test_an_action_like_another_is_still_written_as_itself(
    first: dict[str, Any], second: dict[str, Any] | None, line: str
) -> None:
    """Values that are equal in Python, or in another order, are not taken for what was encoded before."""
    for features_ in (first, second, first):
        Action.of("k", features_)

    assert Action.of("k", second).line == line


def test_a_remembered_action_keeps_its_features() -> None:
    """What a caller does to its own object later changes no action that was made of an equal one."""
    mine = {"price": 1.5}
    Action.of("remembered", mine)
    mine["price"] = 9.0

    again = Action.of("remembered", {"price": 1.5})

    assert (again.features, again.line) == ({"price": 1.5}, "|a %id=remembered price:1.5")


def test_an_object_inside_another_is_remembered_as_it_was() -> None:
    """Actions with lists and objects are remembered, too, and what a caller does to those changes none of them."""
    mine: dict[str, Any] = {"tags": ["a"], "size": {"cm": 3}}
    first = Action.of("nested", mine)
    mine["tags"].append("b")
    mine["size"]["cm"] = 4

    again = Action.of("nested", {"tags": ["a"], "size": {"cm": 3}})

    assert again is first
    assert again.features == {"tags": ["a"], "size": {"cm": 3}}
    assert Action.of("nested", mine).line == "|a %id=nested tags=a tags=b |a.size cm:4"


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", 1j, float("inf"), ("a",)], ids=repr)
def test_what_json_does_not_hold_is_refused_every_time(value: Any) -> None:
    """What cannot be looked up among the remembered actions, or never gets there, is refused by its name."""
    for _ in range(2):
        with pytest.raises(InvalidInput) as caught:
            Action.of("k", {"x": value})

        assert caught.value.field == "features.x"


def test_an_object_that_holds_itself_is_refused() -> None:
    """It is too deep to look up, and too deep."""
    mine: dict[str, Any] = {}
    mine["x"] = mine

    with pytest.raises(InvalidInput) as caught:
        Action.of("k", mine)

    assert caught.value.code == "too_deep"


def test_the_memory_of_ids_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ever new ids are written right, while only so many, and no long one, are kept."""
    monkeypatch.setattr(features, "_MEMO_ENTRIES", 5)

    for i in range(20):
        assert Action.of(f"n {i}").line == f"|a %id=n%20{i}"
    Action.of("x" * 200)

    assert len(features._IDS) <= 5
    assert all(len(each) <= 100 for each in features._IDS)


def test_contexts_are_equal_that_came_and_read_alike() -> None:
    """Whether the line was written already, or was all there ever was, makes no difference."""
    data = {"x": 1, "y": {"z": True}}
    context = Context.of(data)

    assert context == Context(data, "|s x:1 |s.y z")
    assert context != Context(data, "|s x:1")
    assert context != Context.of({"x": 1, "y": {"z": True, "w": None}})
    assert context != "|s x:1 |s.y z"


def test_features_are_counted_without_writing_the_line() -> None:
    """A context holds as many as its line has spaces, with a slot's as without."""
    context = Context.of({"x": 1, "y": {"z": True}})

    assert context.n_features == context.line.count(" ") == 3
    assert context.at_slot(Slot.of("top", position=0)).n_features == 6


def test_a_remembered_action_obeys_the_limits_of_the_call() -> None:
    """What was fine under one set of limits is checked again under another."""
    Action.of("limited", {"x": 100, "y": 1})

    for limits in (Limits(magnitude=10), Limits(features=1), Limits(id_bytes=3), Limits(depth=0)):
        with pytest.raises(InvalidInput):
            Action.of("limited", {"x": 100, "y": 1}, limits=limits)


def test_the_memory_of_actions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ever new actions are written right, while only so many, and none with a long line, are kept."""
    monkeypatch.setattr(features, "_MEMO_ACTIONS", 5)

    for i in range(20):
        assert Action.of(f"m{i}", {"x": i}).line == f"|a %id=m{i} x:{i}"
    Action.of("long", {"text": "x" * 2_000})

    assert len(features._ACTIONS) <= 5
    assert all(len(action.line) < 1_001 for _, action in features._ACTIONS.values())


@pytest.mark.parametrize("value", [[], {}, ("a",), b"a"])
def test_an_id_that_is_no_string_is_refused_whatever_it_is(value: Any) -> None:
    """Also what cannot be looked up is refused under its name."""
    with pytest.raises(InvalidInput) as caught:
        Action.of(value, {"x": 1})

    assert caught.value.field == "id"


def test_a_flat_object_is_written_as_a_nested_one_would_be() -> None:
    """The short way for plain values and the long way that knows all kinds write the same."""
    chance = random.Random(7)  # noqa: S311 - made-up features, no secret
    values: list[Any] = [1, -3, 2.5, 0.0, -1e-30, 1e9, True, False, None, "", "a b", "é|:", "x" * 300]
    names = ["a", "b.c", "", "d e", "%", "n" * 120]

    for _ in range(500):
        data = {chance.choice(names): chance.choice(values) for _ in range(chance.randrange(6))}

        context, long_way = Context.of(data), Context(data, blocks=features._encode(data, "|s", "", Limits()))
        assert (context, context.blocks) == (long_way, long_way.blocks)
        assert Action.of("k", data).line == features._joined(features._encode(data, "|a", "%id=k", Limits()))


def test_an_action_without_an_id_is_its_features() -> None:
    """It is called by its place, and its text holds nothing but its features."""
    action = Action.unnamed(2, {"price": 9.5, "kind": "hat"})

    assert (action.id, action.line) == ("#2", "|a price:9.5 kind=hat")


@pytest.mark.parametrize("features", [{}, {"kind": None}, {"deep": {"deeper": {}}}, {"on": False}])
def test_an_action_without_an_id_needs_a_feature(features: dict[str, Any]) -> None:
    """Nothing else tells it from others."""
    with pytest.raises(InvalidInput) as refused:
        Action.unnamed(0, features)

    assert (refused.value.code, refused.value.field) == ("no_features", "features")


def test_features_of_an_action_without_an_id_are_checked() -> None:
    """As those of any other action, and named alike."""
    with pytest.raises(InvalidInput) as refused:
        Action.unnamed(0, {"price": float("nan")})

    assert refused.value.field == "features.price"
