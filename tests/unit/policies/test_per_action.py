"""The bounded table of numbers per action."""

import pytest

from policies.errors import StateInvalid
from policies.per_action import PerAction, read_numbers


def table(*ids: str, max_actions: int = 3) -> PerAction:
    """Return a table that learned from the ids in this order, each with its place as number."""
    result = PerAction(width=1, max_actions=max_actions)
    for place, action_id in enumerate(ids):
        result.put(action_id, (float(place),))
    return result


def test_the_payload_is_in_the_order_of_the_last_lesson() -> None:
    """The least recently learned id comes first, with its numbers."""
    assert table("a", "b", "a").dumps() == b'[["b",1.0],["a",2.0]]'


def test_the_oldest_lesson_makes_room() -> None:
    """A full table forgets the id that was learned from longest ago, and says which."""
    full = table("a", "b", "c", "a")

    assert full.put("d", (9.0,)) == "b"
    assert list(full.values) == ["c", "a", "d"]
    assert full.put("c", (1.0,)) is None


def test_the_order_survives_a_load() -> None:
    """After a load the same id is the next to go."""
    loaded = PerAction(width=1, max_actions=3)

    loaded.loads(table("a", "b", "c", "a").dumps())

    assert loaded.put("d", (0.0,)) == "b"


def test_floats_come_back_exactly() -> None:
    """A float that has no short decimal form is the same after a round trip."""
    before, after = PerAction(width=3, max_actions=1), PerAction(width=3, max_actions=1)
    before.put("snowman ☃", (0.1 + 0.2, 5e-324, -0.0))

    after.loads(before.dumps())

    assert after.dumps() == before.dumps()
    assert after.values["snowman ☃"] == (0.1 + 0.2, 5e-324, -0.0)


@pytest.mark.parametrize(
    "payload",
    [
        b'[["a",1.0],["a",2.0]]',
        b'[["a",1.0],["b",1.0],["c",1.0],["d",1.0]]',
        b'[["a"]]',
        b'[["a",1]]',
        b'[["a",1.0,2.0]]',
        b'[["a",Infinity]]',
        b"[[1.0,1.0]]",
        b"[[]]",
        b'[{"a":1.0}]',
        b'{"a":1.0}',
        b"[",
    ],
)
def test_other_payloads_are_refused(payload: bytes) -> None:
    """What is no such table is refused, and the table in place stays."""
    standing = table("a", "b")
    before = standing.dumps()

    with pytest.raises(StateInvalid):
        standing.loads(payload)

    assert standing.dumps() == before


def test_a_list_of_numbers_is_read_by_its_width() -> None:
    """read_numbers takes exactly as many floats as it was told."""
    assert read_numbers(b"[1.0, 2.5]", width=2) == (1.0, 2.5)
    with pytest.raises(StateInvalid):
        read_numbers(b"[1.0]", width=2)
