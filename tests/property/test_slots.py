"""A rank is refused exactly if some course of the draws would leave a slot empty; any mixture is a distribution."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.config.tables import LimitsTable
from banditd.deciding import Mixture, Question
from banditd.journal.protocol import Epoch, RewardRule
from banditd.messages import RankRequest
from banditd.segments.lane import Lane, lane_name
from banditd.segments.reading import Reader
from policies import Action, Context, InvalidInput, Limits, parse_spec

READER = Reader(Limits(), actions=10)
IDS = "abcde"
EXCLUSIONS = st.integers(1, len(IDS)).flatmap(
    lambda n_slots: st.lists(st.frozensets(st.sampled_from(IDS)), min_size=n_slots, max_size=n_slots)
)


def leaves_a_slot_empty(allowed: list[set[str]], taken: tuple[str, ...] = ()) -> bool:
    """Try every course of the draws, slot after slot."""
    if len(taken) == len(allowed):
        return False
    left = allowed[len(taken)].difference(taken)
    return not left or any(leaves_a_slot_empty(allowed, (*taken, choice)) for choice in sorted(left))


@given(excluded=EXCLUSIONS)
def test_a_request_is_refused_if_a_slot_can_be_left_empty(excluded: list[frozenset[str]]) -> None:
    """Whether a request is refused is a matter of what it says, and what is accepted can always be answered."""
    slots = [{"id": f"s{i}", "exclude": sorted(ids)} for i, ids in enumerate(excluded)]
    body = msgspec.json.encode({"actions": [{"id": action_id} for action_id in IDS], "slots": slots})
    request = msgspec.json.decode(body, type=RankRequest)
    allowed = [set(IDS) - ids for ids in excluded]

    try:
        question = Question.of(request, READER.actions(request.actions), reader=READER, limits=LimitsTable())
    except InvalidInput as error:
        refused = error.code == "nothing_to_choose"
    else:
        refused = False
        assert [[IDS[index] for index in options] for options in question.allowed] == [sorted(ids) for ids in allowed]

    assert refused == leaves_a_slot_empty(allowed)


def lane(name: str) -> Lane:
    """Return a lane that plays every action alike."""
    spec = parse_spec({"kind": "uniform"})
    rule = RewardRule(wait_s=1.0, default=0.0, aggregate="earliest")
    epoch = Epoch(lane_name(name), 1, 0, 0, {}, rule, "build", "", 0.0)
    return Lane(name, epoch=epoch, spec=spec, policy=spec.build(), reader=READER)


LANES = [lane(name) for name in "abcdefghijklmnop"]


@given(
    weights=st.lists(st.floats(0.0, 1e9, exclude_min=True), min_size=1, max_size=len(LANES)),
    n_actions=st.integers(1, 3),
)
def test_a_mixture_is_a_distribution(weights: list[float], n_actions: int) -> None:
    """Whatever the weights, no probability is above 1, and they sum to 1."""
    mixture = Mixture(LANES[: len(weights)], weights)

    played = mixture.distribution(Context.of({}), [Action.of(action_id) for action_id in IDS[:n_actions]])

    assert all(0.0 <= probability <= 1.0 for probability in played)
    assert sum(played) == pytest.approx(1.0, abs=1e-12)
