"""What a lane learns of a mixture: its outcomes, weighted by the logged propensity, tell of every action rightly."""

import math

import pytest

from banditd.deciding import Mixture
from banditd.journal.protocol import Epoch, RewardRule
from banditd.segments.lane import Lane, lane_name
from banditd.segments.reading import Reader
from policies import Action, Context, Limits, Outcome, parse_spec
from policies.draw import draw, uniform

KEY = b"statistics of mixtures, 32 bytes"
N = 40_000
SIGMAS = 5.5  # a false alarm less than once in a million tries, for six numbers
CONTEXT = Context.of({})
ACTIONS = [Action.of(name) for name in "abc"]


def lane(name: str, *, best: int) -> Lane:
    """Return a lane that plays one action with 0.8 and each other one with 0.1."""
    spec = parse_spec({"kind": "epsilon_greedy", "epsilon": 0.3})
    rule = RewardRule(wait_s=1.0, default=0.0, aggregate="earliest")
    epoch = Epoch(lane_name(name), 1, 0, 0, {}, rule, "build", "", 0.0)
    made = Lane(name, epoch=epoch, spec=spec, policy=spec.build(), reader=Reader(Limits(), actions=10))
    for chosen in range(len(ACTIONS)):
        made.policy.learn(Outcome(CONTEXT, ACTIONS, chosen, 0.5, float(chosen == best)))
    return made


@pytest.fixture(name="mixed", scope="module")
def _mixed() -> tuple[list[float], dict[str, list[int]]]:
    """Return a mixture's distribution, and the choices of the decisions that each lane owns."""
    lanes = [lane("one", best=0), lane("two", best=1)]
    mixture = Mixture(lanes, [0.7, 0.3])
    played = mixture.distribution(CONTEXT, ACTIONS)
    owned: dict[str, list[int]] = {lane.name: [] for lane in lanes}
    for i in range(N):
        event_id = f"e{i}"
        owned[mixture.owner(event_id, key=KEY).name].append(draw(played, uniform(KEY, mixture.name, event_id, 0)))
    return played, owned


def test_each_lane_learns_in_proportion(mixed: tuple[list[float], dict[str, list[int]]]) -> None:
    """The lanes own decisions as their weights say."""
    _, owned = mixed

    share = len(owned["one/main"]) / N

    assert share == pytest.approx(0.7, abs=SIGMAS * math.sqrt(0.7 * 0.3 / N))


@pytest.mark.parametrize("name", ["one/main", "two/main"])
@pytest.mark.parametrize("action", [0, 1, 2])
def test_logged_propensities_are_those_of_what_a_lane_learns(
    mixed: tuple[list[float], dict[str, list[int]]], name: str, action: int
) -> None:
    """In the outcomes of each lane, each action comes as often as the logged distribution says.

    It would not if the lane were drawn by how likely it would itself have been to choose what was chosen.
    """
    played, owned = mixed
    n = len(owned[name])
    assert played == pytest.approx([0.59, 0.31, 0.1], abs=1e-12)

    found = owned[name].count(action) / n

    assert found == pytest.approx(played[action], abs=SIGMAS * math.sqrt(played[action] * (1 - played[action]) / n))
