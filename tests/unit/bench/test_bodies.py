"""The requests that the figures are about."""

import orjson
import pytest

from bench.bodies import ACTIONS_PER_BODY, rank_bodies

N_BODIES = 2_048


@pytest.fixture(scope="module", name="bodies")
def _bodies() -> list[bytes]:
    return rank_bodies(N_BODIES)


def test_size(bodies: list[bytes]) -> None:
    """Every body has 1.4 to 1.6 kB."""
    sizes = [len(body) for body in bodies]

    assert min(sizes) >= 1_400
    assert max(sizes) <= 1_600


def test_shape(bodies: list[bytes]) -> None:
    """Every body is a rank request: 10 context features, 10 different actions of 5 features each, no event id."""
    for body in bodies:
        request = orjson.loads(body)

        assert set(request) == {"context", "actions"}
        assert len(request["context"]) == 10
        assert len({action["id"] for action in request["actions"]}) == ACTIONS_PER_BODY == 10
        assert {len(action["features"]) for action in request["actions"]} == {5}


def test_mixed_kinds(bodies: list[bytes]) -> None:
    """The context and each action hold both strings and numbers."""
    request = orjson.loads(bodies[0])

    for features in (request["context"], *(action["features"] for action in request["actions"])):
        assert any(isinstance(value, str) for value in features.values())
        assert any(isinstance(value, (int, float)) for value in features.values())


def test_distinct(bodies: list[bytes]) -> None:
    """No body comes twice, and none holds a line break, which would cut it in the file they are kept in."""
    assert len(set(bodies)) == N_BODIES
    assert not any(b"\n" in body for body in bodies)


def test_items_never_change(bodies: list[bytes]) -> None:
    """An item has the same features, byte for byte, in every request; the catalogue's 200 all occur."""
    seen = {orjson.dumps(action) for body in bodies for action in orjson.loads(body)["actions"]}

    assert len(seen) == 200
    assert len({orjson.loads(action)["id"] for action in seen}) == 200


def test_same_seed_same_bodies(bodies: list[bytes]) -> None:
    """The bodies are the same for the same seed and others for another one."""
    assert rank_bodies(50) == bodies[:50]
    assert not set(rank_bodies(50, seed=1)) & set(bodies)
