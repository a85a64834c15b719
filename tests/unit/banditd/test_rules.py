"""Rules: first true expression wins, nothing that a request holds makes one raise."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.segments.rules import VISIBLE, Rule, RuleInvalid, Rules

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "tags"]), inner, max_size=3),
    max_leaves=12,
)
REQUESTS = st.fixed_dictionaries({}, optional={"context": JSON, "user": JSON, "actions": JSON})
# Each raises in the interpreter on some request: wrong types, mixed comparisons, overflow, missing keys.
TOUCHY = [
    "length(context.a) > `1`",
    "context.a < context.b",
    "contains(context.a, context.b)",
    "ceil(context.a) == `1`",
    "sort_by(context.a, &b)[0].b",
    "max_by(context.tags, &a)",
    "sum(context.a) > `0`",
    "avg(context.tags) > `0`",
    "join(',', context.tags) == 'a'",
    "merge(context.a, context.b).a",
    "to_number(context.a) > `0`",
    "to_string(context)",
    "context.a[::-1] | [0]",
    "context.tags[?@ > `1`] && actions[?features.a < 'x']",
    "keys(@)[0] == 'context'",
    "reverse(context.a)",
]


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a segment that rules look at."""

    name: str
    rule: Rule | None


def rules(*texts: str | None) -> Rules:
    """Return rules of segments s0, s1, ….; None is a segment without one."""
    return Rules([Part(f"s{i}", None if text is None else Rule.of(text)) for i, text in enumerate(texts)])


def test_first_true_rule_wins() -> None:
    """Of two rules that are true, the earlier one takes the request."""
    chosen = rules("context.a == `2`", "context.a", "context.a == `1`").segment_for({"context": {"a": 1}})

    assert chosen == "s1"


def test_request_that_no_rule_takes_is_of_the_default_segment() -> None:
    """No true rule means `default`, and so do no rules at all."""
    assert rules("context.a").segment_for({"context": {}}) == "default"
    assert rules().segment_for({}) == "default"


def test_segment_without_a_rule_is_never_reached_by_rules() -> None:
    """A segment without `when` takes no request by itself and is no obstacle for the next."""
    assert rules(None, "context").segment_for({"context": {"a": 1}}) == "s1"


@pytest.mark.parametrize(
    ("value", "is_true"),
    [
        (None, False),
        (False, False),
        ("", False),
        ([], False),
        ({}, False),
        (True, True),
        (0, True),
        (0.0, True),
        ("false", True),
        ([None], True),
        ({"b": None}, True),
    ],
)
def test_truth_is_that_of_jmespath(value: object, is_true: bool) -> None:  # noqa: FBT001 - a table's column
    """Null, false and what is empty are false; all else is true, zero included."""
    assert Rule.of("context.a").matches({"context": {"a": value}}) is is_true


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("context.device == 'mobile'", {"context"}),
        ("context.a && user", {"context", "user"}),
        ("!(user)", {"user"}),
        ("context.a || length(actions) > `3`", {"context", "actions"}),
        ("context.a[0].user", {"context"}),
        ("context.* | [0]", {"context"}),
        ("context.tags[?user == 'x'].actions", {"context"}),
        ("context.a[].user", {"context"}),
        ("map(&user, context.l)", {"context"}),
        ("[context.a, user][0]", {"context", "user"}),
        ("{a: context.a, b: actions}.b", {"context", "actions"}),
        ("actions[?features.x > `3`] | [0].id", {"actions"}),
        ("context | user", {"context"}),
        ("@.user", VISIBLE),
        ("* | [0]", VISIBLE),
        ("keys(@)", VISIBLE),
        ("`true`", set()),
    ],
)
def test_needs_are_the_names_read_from_the_request_itself(text: str, needs: set[str]) -> None:
    """Names inside projections, filters and expression references are names of parts, not of the request."""
    assert Rule.of(text).needs == needs


@pytest.mark.parametrize("text", [*TOUCHY, "context.a == 'x'", "user", "actions[0].a", "[context.a, user]"])
@given(request=REQUESTS)
def test_what_a_rule_does_not_need_does_not_change_it(text: str, request: dict[str, Any]) -> None:
    """Leaving out the keys outside `needs` gives the same segment."""
    subject = rules(text)
    needed = {name: value for name, value in request.items() if name in subject.needs}

    assert subject.segment_for(request) == subject.segment_for(needed)


@given(request=REQUESTS)
def test_no_request_makes_rules_raise(request: dict[str, Any]) -> None:
    """Whatever JSON a request holds, evaluation ends with the name of a segment."""
    chosen = rules(*TOUCHY).segment_for(request)

    assert chosen == "default" or chosen.startswith("s")


def test_rule_that_does_not_fit_is_passed_over_and_counted() -> None:
    """A type error in one rule leaves the request to the next, every time."""
    subject = rules("length(context.a) > `1`", "context.b")

    chosen = [subject.segment_for({"context": {"a": 1, "b": True}}) for _ in range(3)]

    assert chosen == ["s1", "s1", "s1"]
    assert subject.failures == {"s0": 3}


def test_deep_request_makes_no_rule_raise() -> None:
    """Comparing values nested beyond the interpreter's stack is a rule that does not fit."""
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    other: Any = 1
    for _ in range(100_000):
        other = [other]

    assert rules("context.a == context.b").segment_for({"context": {"a": deep, "b": other}}) == "default"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("context.device ==", "column 18: it ends too early", id="incomplete"),
        pytest.param("context.device = 'x'", "column 16: at \"= 'x'\"", id="one-equals-sign"),
        pytest.param("context.a)", "column 10: at ')'", id="stray-parenthesis"),
        pytest.param("user == 'abc", 'column 9: at "\'abc"', id="open-string"),
        pytest.param(" ", "column 2: it ends too early", id="blank"),
        pytest.param("", "cannot be empty", id="empty"),
        pytest.param(
            "lenght(context.a)", "calls lenght(), which is no function; there are abs,", id="unknown-function"
        ),
        pytest.param("context.a && length()", "calls length() with 0 arguments; it takes 1", id="too-few-arguments"),
        pytest.param("length(user, user)", "calls length() with 2 arguments; it takes 1", id="too-many-arguments"),
        pytest.param("not_null()", "calls not_null() with 0 arguments", id="variadic-without-arguments"),
        pytest.param("device == 'mobile'", "looks at 'device', but a rule sees", id="no-such-name"),
        pytest.param('context.a == "mobile"', "looks at 'mobile', but", id="double-quotes"),
        pytest.param("!context.member", "write !(context.a)", id="not-before-dot"),
        pytest.param("context.a[::0]", "a slice with a step of 0", id="slice-step-zero"),
        pytest.param("(" * 5_000 + "user" + ")" * 5_000, "nested too deeply", id="too-deep"),
    ],
)
def test_expression_that_cannot_be_meant_is_refused(text: str, reason: str) -> None:
    """A mistake in an expression is found when it is compiled, and the message says where."""
    with pytest.raises(RuleInvalid) as caught:
        Rule.of(text)

    assert reason in str(caught.value)


def test_variadic_function_takes_any_number_of_arguments() -> None:
    """`merge` and `not_null` may have more arguments than their signature names."""
    assert Rule.of("not_null(context.a, context.b, user)").matches({"context": {}, "user": "u"})
