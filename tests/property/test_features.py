"""Contexts and actions from arbitrary JSON: nothing breaks, nothing is lost, nothing is injected."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import vowpalwabbit
from hypothesis import example, given
from hypothesis import strategies as st

from policies import Action, Context, InvalidInput, Limits, Slot
from policies.vw_numbers import Numbers

Feature = tuple[tuple[str, ...], str, int | None, str | None]  # namespace, name, place in a list, string value

# Characters that VW, the escaping or the naming of features give a meaning, more often than chance would.
HOSTILE = st.text(alphabet=st.sampled_from(list("|: =%.\n\r\t\0\x0b\x85\xa0\u2028\u2029s0aé😀")), max_size=6)
TEXT = st.one_of(HOSTILE, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
ROOMY = Limits(depth=50, features=100_000, id_bytes=256, magnitude=1e9)


def objects_of(scalars: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for JSON objects whose lists hold either scalars or objects."""

    def larger(smaller: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        inner = st.dictionaries(keys, smaller, max_size=4)
        return st.one_of(inner, st.lists(scalars, max_size=4), st.lists(inner, max_size=3))

    return st.dictionaries(keys, st.recursive(scalars, larger, max_leaves=12), max_size=5)


NUMBERS = st.one_of(st.floats(-1e9, 1e9), st.integers(-(10**9), 10**9))
VALID = objects_of(st.one_of(NUMBERS, TEXT, st.booleans(), st.none()), TEXT)
ANYTHING = st.recursive(
    st.one_of(
        st.floats(),
        st.integers(),
        st.just(10**400),
        st.text(max_size=4),
        st.booleans(),
        st.none(),
        st.binary(max_size=2),
    ),
    lambda smaller: st.one_of(
        st.lists(smaller, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=3), HOSTILE), smaller, max_size=4),
        st.dictionaries(st.one_of(st.integers(0, 1), st.booleans()), smaller, max_size=2),
        st.tuples(smaller),
    ),
    max_leaves=15,
)


def flattened(data: dict[str, Any], namespace: tuple[str, ...] = ()) -> Iterator[tuple[Feature, float]]:
    """Yield the features of a JSON object, as the table in `policies.features` defines them."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from flattened(value, (*namespace, key))
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            merged = {k: v for item in value for k, v in item.items()}
            yield from flattened(merged, (*namespace, key))
        elif isinstance(value, list):
            for place, item in enumerate(value):
                yield from scalar(namespace, key, None if isinstance(item, str) else place, item)
        else:
            yield from scalar(namespace, key, None, value)


def scalar(namespace: tuple[str, ...], key: str, place: int | None, value: Any) -> Iterator[tuple[Feature, float]]:
    """Yield the feature of one scalar, if it has one."""
    if isinstance(value, str):
        yield (namespace, key, place, value), 1.0
    elif value is True:
        yield (namespace, key, place, None), 1.0
    elif value is not None and value is not False:
        yield (namespace, key, place, None), float(value) if abs(value) >= 1e-20 else 0.0


def read(line: str, first: str) -> tuple[list[str], dict[Feature, float]]:
    """Read a line back without the encoder's help: what stands behind ``%id=``, and the features."""
    ids: list[str] = []
    features: dict[Feature, float] = {}
    namespace: tuple[str, ...] = ()
    for token in line.split(" "):
        if token.startswith("|"):
            head, *path = token[1:].split(".")
            assert head == first
            namespace = tuple(map(decoded, path))
            continue
        if token.startswith("%id="):
            ids.append(unquote(token.removeprefix("%id=")))
            continue
        name, _, number = token.partition(":")
        name, equals, string = name.partition("=")
        key, dot, place = name.partition(".")
        feature = (namespace, decoded(key), int(place) if dot else None, unquote(string) if equals else None)
        assert feature not in features, f"{feature} stands there twice"
        features[feature] = float(number) if number else 1.0
    return ids, features


def decoded(name: str) -> str:
    """Return the name behind its encoding; a bare percent sign stands for the empty one."""
    return "" if name == "%" else unquote(name)


@given(data=VALID)
@example(data={"a.b": 1, "a": {"b": 2}, "v": [3], "v.0": 4})
@example(data={"x": "\u2028", "y": " 28", "z": "%2028", "": {"": ""}})
@example(data={"set": ["a", "a", "b"], "merge": [{"k": 1}, {"k": 2}, {}]})
@example(data={"tiny": 5e-324, "small": 1e-07, "zero": -0.0, "large": -1e9, "whole": 10**9})
def test_a_context_reads_back(data: dict[str, Any]) -> None:
    """An independent reader finds exactly the features of the JSON object, so two that differ never read the same."""
    context = Context.of(data, limits=ROOMY)

    ids, features = read(context.line, "s")

    assert ids == []
    assert features == dict(flattened(data))


@given(action_id=TEXT.filter(str.isprintable).filter(bool), data=VALID)
@example(action_id="%id=x|a :b", data={"%id": "y", "": 1})
@example(action_id="é\u3000😀", data={})
def test_an_action_reads_back(action_id: str, data: dict[str, Any]) -> None:
    """An action's line gives its id, once, and exactly its features."""
    action = Action.of(action_id, data, limits=ROOMY)

    ids, features = read(action.line, "a")

    assert ids == [action_id]
    assert features == dict(flattened(data))


@given(slot_id=TEXT.filter(str.isprintable).filter(bool), data=VALID, context=VALID)
@example(slot_id="top left", data={"": {"slot": 1}, "%position": "3"}, context={"%slot": {"%id": "x"}, "": {"slot": 2}})
def test_a_slot_reads_back_beside_its_context(slot_id: str, data: dict[str, Any], context: dict[str, Any]) -> None:
    """A context at a slot reads back as itself, and then as the slot in a namespace that no client's can be."""
    slot = Slot.of(slot_id, position=3, features=data, limits=ROOMY)

    line = Context.of(context, limits=ROOMY).at_slot(slot).line

    before, _, after = line.partition(" |s.%slot ")
    ids, features = read("|s " + after.replace(" %position=3", "", 1).replace("|s.%slot.", "|s."), "s")
    assert read(before, "s") == ([], dict(flattened(context)))
    assert ids == [slot_id]
    assert features == dict(flattened(data))


@given(data=ANYTHING)
@example(data={"\ud800": math.nan})
@example(data={"a": {"\udfff": "x"}})
@example(data={1: 2})
@example(data={True: "a"})
@example(data={"n": 10**400})
@example(data=[{"a": 1}])
@example(data=None)
def test_anything_else_is_refused_by_name(data: Any) -> None:
    """Whatever comes, it is taken or refused as InvalidInput whose text can be sent as UTF-8."""
    attempts: tuple[Callable[[], str], ...] = (
        lambda: Context.of(data).line,
        lambda: Action.of("x", data).line,
        lambda: Action.of(data).line,
    )
    for attempt in attempts:
        try:
            line = attempt()
        except InvalidInput as error:
            f"{error.field} {error.detail}".encode()
        else:
            assert line.splitlines() == [line]
            assert not any(character < " " or character == "\x7f" for character in line)
            assert line.count("|") == sum(token.startswith("|") for token in line.split(" "))


@given(data=VALID, n_features=st.integers(0, 6))
def test_the_limit_on_features_holds(data: dict[str, Any], n_features: int) -> None:
    """What passes a limit holds at most that many features and namespaces; what does not is refused for it."""
    fits = len(dict(flattened(data))) + n_namespaces(data) <= n_features
    limits = Limits(depth=50, features=n_features)

    with nullcontext() if fits else pytest.raises(InvalidInput) as caught:
        Context.of(data, limits=limits)

    assert fits or (caught is not None and caught.value.code == "too_many_features")


@given(data=VALID, seen=st.lists(VALID, max_size=4))
@example(data={"a": 1, "b": 2.5, "c": 0, "d": "x"}, seen=[{"a": 2, "c": 1}, {"a": 4, "c": 3}])
@example(data={"u": {"v": [1, 2], "w": [{"a": 1}]}, "b": 2}, seen=[{"u": {"v": [3]}}, {"u": {"v": [5]}}])
def test_numbers_are_the_same_from_the_context_and_from_its_line(
    data: dict[str, Any], seen: list[dict[str, Any]]
) -> None:
    """What a context was made of and what its line says are learned from alike, and are standardised alike."""
    made, read_back = Numbers(), Numbers()
    for each in (*seen, data):
        context = Context.of(each, limits=ROOMY)
        made.learn(context)
        read_back.learn(Context(each, context.line))

    context = Context.of(data, limits=ROOMY)

    assert made.dumps() == read_back.dumps()
    assert made.line(context) == read_back.line(Context(data, context.line))
    assert Context.of(data, limits=ROOMY) == context


@given(data=VALID)
def test_features_are_counted_as_the_line_has_them(data: dict[str, Any]) -> None:
    """The count needs no line, and is what the line would give."""
    context = Context.of(data, limits=ROOMY)

    assert context.n_features == context.line.count(" ")


def n_namespaces(data: dict[str, Any]) -> int:
    """Return how many objects stand inside another, lists of objects counting as one."""
    count = 0
    for value in data.values():
        inner = value
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            inner = {k: v for item in value for k, v in item.items()}
        if isinstance(inner, dict):
            count += 1 + n_namespaces(inner)
    return count


ReadByVw = Callable[[list[str]], list[dict[str, list[float]]]]


@pytest.fixture(name="read_by_vw", scope="module")
def _read_by_vw() -> Iterator[ReadByVw]:
    workspace = vowpalwabbit.Workspace("--cb_explore_adf --quiet --noconstant")

    def read_by_vw(lines: list[str]) -> list[dict[str, list[float]]]:
        examples = workspace.parse("\n".join(lines))
        try:
            return [
                {
                    chr(example.namespace(i)): [example.feature_weight(i, j) for j in range(example.num_features_in(i))]
                    for i in range(example.num_namespaces())
                }
                for example in examples
            ]
        finally:
            workspace.finish_example(examples)

    yield read_by_vw
    workspace.finish()


@given(data=VALID)
@example(data={"tiny": 5e-324, "small": 1e-07, "least": -1e-300, "large": -1e9, "whole": 10**9, "third": 1 / 3})
@example(data={"misread": 5.126964839605273e-270, "least": 1e-20, "below": -9.99e-21})
@example(data={"x|y": 1, "a:5": 2, "b\n": {"c |s": "d|e f:7"}})
def test_vw_reads_what_is_meant(read_by_vw: ReadByVw, data: dict[str, Any]) -> None:
    """VW finds one example per line, and in it the same values in the same order, without the zeros."""
    context, action = Context.of(data, limits=ROOMY), Action.of("x", data, limits=ROOMY)
    values = np.array(list(read(context.line, "s")[1].values()), dtype=np.float32)

    found = read_by_vw([f"shared {context.line}", action.line, Action.of("y").line])

    expected = values[values != 0.0]
    shared = found[0].get("s", [])
    assert set(found[0]) <= {"s"}
    np.testing.assert_allclose(shared, expected, rtol=1e-6, atol=1e-37)
    assert set(found[1]) == {"a"}
    np.testing.assert_allclose(found[1]["a"], [1.0, *expected], rtol=1e-6, atol=1e-37)
    assert found[2] == {"a": [1.0]}
