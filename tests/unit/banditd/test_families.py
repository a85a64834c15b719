"""Which lanes share a parent, and which moves between parents open its next epoch."""

from collections.abc import Sequence

import pytest

from banditd.journal.protocol import PoolInfo, PoolStretch
from banditd.segments.families import families, family_key, parent_name
from policies.registry import parse_spec

SHARED = '{"kind":"x","pooling":"shared"}'
AUTO = '{"kind":"x","pooling":"auto"}'
OTHER = '{"kind":"y","pooling":"auto"}'
OWN = '{"kind":"x"}'


def stretches(*parts: tuple[int, str]) -> PoolInfo:
    """Return what a pool tells of one lane: from which seq on it ran which spec."""
    found = [
        PoolStretch("a/main", number + 1, from_seq, len(parts), pooled="pooling" in spec, spec=spec)
        for number, (from_seq, spec) in enumerate(parts)
    ]
    return PoolInfo(0, found)


@pytest.mark.parametrize(
    ("parts", "moves"),
    [
        pytest.param([(0, AUTO)], {}, id="new"),
        pytest.param([(0, AUTO), (0, OTHER)], {}, id="another policy before any outcome"),
        pytest.param([(0, AUTO), (0, SHARED)], {}, id="another pooling before any outcome"),
        pytest.param([(0, AUTO), (5, OTHER)], {"x": 2, "y": 2}, id="another policy"),
        pytest.param([(0, AUTO), (5, SHARED)], {"x": 2}, id="another pooling"),
        pytest.param([(0, OWN), (5, AUTO)], {}, id="came with outcomes of its own"),
        pytest.param([(0, AUTO), (5, OWN)], {"x": 2}, id="left"),
        pytest.param([(0, AUTO), (0, OWN), (5, AUTO)], {}, id="left and came back without outcomes in the pool"),
        pytest.param([(0, AUTO), (5, OWN), (6, AUTO)], {"x": 3}, id="left and came back"),
        pytest.param([(0, AUTO), (5, OWN), (6, OTHER), (6, OTHER + " ")], {"x": 2, "y": 3}, id="came back as another"),
    ],
)
def test_moves_with_outcomes_in_the_pool_count(parts: Sequence[tuple[int, str]], moves: dict[str, int]) -> None:
    """A move of a lane with outcomes in the pool changes what parents have learned, and is noted for both."""
    found = families(stretches(*parts))

    by_kind = {key[9:10]: family.moves["a/main"] for key, family in found.items() if family.moves}
    assert by_kind == moves


@pytest.mark.parametrize(
    ("parts", "entered"),
    [
        pytest.param([(0, AUTO)], 0, id="from the first"),
        pytest.param([(0, OWN), (7, AUTO)], 7, id="later"),
        pytest.param([(0, OWN), (7, AUTO), (9, OTHER), (9, AUTO)], 7, id="other policies do not count"),
        pytest.param([(0, AUTO), (7, OWN), (9, AUTO)], 9, id="came back"),
    ],
)
def test_a_lane_has_entered_where_its_last_stay_began(parts: Sequence[tuple[int, str]], entered: int) -> None:
    """What a lane learned alone is what came before its last stay in the pool."""
    (kin,) = families(stretches(*parts))['{"kind":"x"}'].kin

    assert (kin.entered, kin.pooling, kin.current) == (entered, "auto", len(parts))


def test_a_lane_that_left_belongs_to_nobody() -> None:
    """A lane's last stretch says whose it is."""
    assert not any(family.kin for family in families(stretches((0, AUTO), (3, OWN))).values())


def test_a_spec_finds_the_family_of_its_lanes() -> None:
    """The key of a configured policy is that of what the journal keeps of it, however it is pooled."""
    spec = parse_spec({"kind": "vw"})
    stored = family_key(spec)[:-1] + ',"pooling":"auto"}'

    assert list(families(stretches((0, stored)))) == [family_key(spec)]
    assert parent_name(spec).startswith("*/")
