"""The stored form of a decision: what goes in comes out, and which two answer the same request."""

from typing import Any

import msgspec
import pytest

from banditd.decision import Decision, Slot, decode_decision, encode_decision, same_request


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
    ],
)
def test_another_request_is_not_the_same(changes: dict[str, Any]) -> None:
    """Everything that a client can ask for counts."""
    assert not same_request(decision(), decision(**changes))


def test_what_was_decided_does_not_count() -> None:
    """A retry after the policy has learned is still the same request."""
    later = decision(seq=9, pool_seq=9, at=1.8e9, expires_at=1.9e9, epoch=2, slots=[Slot([0, 1], [0.5, 0.5], 0)])

    assert same_request(decision(), later)
