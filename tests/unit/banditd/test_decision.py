"""The stored form of a decision: what goes in comes out, and which two answer the same request."""

from typing import Any

import msgspec
import pytest

from banditd.decision import Decision, Member, Slot, decode_decision, encode_decision, same_request


def decision(**changes: Any) -> Decision:
    """Return a decision with some fields changed."""
    fields: dict[str, Any] = {
        "event_id": "visit",
        "lane": "default/main",
        "epoch": 1,
        "seq": 7,
        "pool_seq": 7,
        "at": 1.7e9,
        "expires_at": 1.7e9 + 600,
        "subject": None,
        "context": msgspec.Raw(b'{"a":1,"b":[1,2]}'),
        "actions": msgspec.Raw(b'[{"id":"x"},{"id":"y","features":{"p":1}}]'),
        "slots": [Slot([0, 1], [0.1 + 0.2, 0.7], 1)],
        "key": "d-1",
    }
    return Decision(**{**fields, **changes})


def test_a_stored_decision_is_read_as_it_was_written() -> None:
    """Numbers come back as the same float64, the client's JSON as the same bytes."""
    written = decision(context=msgspec.Raw(b'{ "a" : 1.10 }'))

    read = decode_decision(encode_decision(written))

    assert read.slots == written.slots
    assert bytes(read.context) == b'{ "a" : 1.10 }'
    assert read.slots[0].propensity == 0.7


def test_a_decision_without_slots_or_members_is_stored_as_ever() -> None:
    """What only some decisions have is not written for the others, so one from before it came is read as well."""
    written = encode_decision(decision())

    assert not {"asked_slots", "excluded", "members"} & set(msgspec.json.decode(written))
    assert decode_decision(written).asked_slots is msgspec.UNSET


def test_slots_and_members_are_read_as_they_were_written() -> None:
    """The slots as asked come back as the same bytes, each member with the state that took part."""
    member = Member("a/main", 2, 30, 50, 0.1 + 0.2, "shared", 3, 7)
    slots = [Slot([0, 1], [0.25, 0.75], 1), Slot([0], [1.0], 0)]
    written = decision(
        asked_slots=msgspec.Raw(b'[{ "id":"x" },{"id":"y"}]'), excluded=[2], members=[member], slots=slots
    )

    read = decode_decision(encode_decision(written))

    assert read.asked_slots is not msgspec.UNSET
    assert bytes(read.asked_slots) == b'[{ "id":"x" },{"id":"y"}]'
    assert (read.excluded, read.members, read.slots) == ([2], [member], slots)


@pytest.mark.parametrize(
    ("context", "same"),
    [
        pytest.param(b'{"a":1,"b":[1,2]}', True, id="equal bytes"),
        pytest.param(b' {"b": [1, 2], "a": 1} ', True, id="other order and spaces"),
        pytest.param(b'{"a":1,"\\u0062":[1,2]}', True, id="another way to write a letter"),
        pytest.param(b'{"a":1,"b":[2,1]}', False, id="a list in another order"),
        pytest.param(b'{"a":2,"b":[1,2]}', False, id="another value"),
        pytest.param(b'{"a":true,"b":[1,2]}', False, id="true is not 1"),
        pytest.param(b'{"a":1,"b":[1,2],"c":null}', False, id="a field more"),
    ],
)
def test_a_request_is_the_same_if_its_json_is(*, context: bytes, same: bool) -> None:
    """Whether an event id was used for the same request is a matter of the JSON's values, not of its bytes."""
    assert same_request(decision(), decision(context=msgspec.Raw(context))) is same


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"subject": "0" * 32}, id="another user"),
        pytest.param({"asked": "default"}, id="a segment that was named"),
        pytest.param({"deferred": True}, id="deferred"),
        pytest.param({"slots": [Slot([1], [1.0], 1)]}, id="another exclusion"),
        pytest.param({"actions": msgspec.Raw(b'[{"id":"y","features":{"p":1}},{"id":"x"}]')}, id="actions reordered"),
        pytest.param({"asked_slots": msgspec.Raw(b'[{"id":"x"}]'), "excluded": []}, id="a slot with an id"),
        pytest.param({"members": [Member("default/main", 1, 7, 7, 1.0)]}, id="a mixture of one"),
    ],
)
def test_another_request_is_not_the_same(changes: dict[str, Any]) -> None:
    """Everything that a client can ask for counts."""
    assert not same_request(decision(), decision(**changes))


def test_what_was_decided_does_not_count() -> None:
    """A retry after the policy has learned is still the same request."""
    later = decision(seq=9, pool_seq=9, at=1.8e9, expires_at=1.9e9, epoch=2, slots=[Slot([0, 1], [0.5, 0.5], 0)])

    assert same_request(decision(), later)


SLOTTED: dict[str, Any] = {
    "asked_slots": msgspec.Raw(b'[{"id":"x"},{"id":"y","exclude":[]}]'),
    "excluded": [],
    "slots": [Slot([0, 1], [0.5, 0.5], 0), Slot([1], [1.0], 1)],
    "members": [Member("a/main", 1, 7, 7, 0.5), Member("b/main", 1, 7, 7, 1.5)],
}


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        pytest.param({"asked_slots": msgspec.Raw(b'[ {"id":"x"}, {"exclude":[],"id":"y"} ]')}, True, id="other spaces"),
        pytest.param({"slots": [Slot([0, 1], [0.9, 0.1], 1), Slot([0], [1.0], 0)]}, True, id="chosen otherwise"),
        pytest.param({"members": SLOTTED["members"][::-1]}, True, id="members in another order"),
        pytest.param(
            {"members": [Member("a/main", 2, 9, 9, 0.5), Member("b/main", 3, 8, 9, 1.5)]}, True, id="later states"
        ),
        pytest.param(
            {"asked_slots": msgspec.Raw(b'[{"id":"y","exclude":[]},{"id":"x"}]')}, False, id="slots reordered"
        ),
        pytest.param({"asked_slots": msgspec.Raw(b'[{"id":"x"},{"id":"y"}]')}, False, id="a field less"),
        pytest.param({"excluded": [2]}, False, id="another exclusion from all"),
        pytest.param(
            {"members": [Member("a/main", 1, 7, 7, 1.0), Member("b/main", 1, 7, 7, 3.0)]}, False, id="other weights"
        ),
        pytest.param({"members": SLOTTED["members"][:1]}, False, id="a segment less"),
    ],
)
def test_a_request_with_slots_and_segments_is_the_same_if_it_asks_the_same(
    *, changes: dict[str, Any], same: bool
) -> None:
    """Slots, exclusions and weights are part of a request; what was chosen and by which states is not."""
    assert same_request(decision(**SLOTTED), decision(**{**SLOTTED, **changes})) is same
