"""`policies.contest`: who serves a lane, and how much of it."""

import pytest

from policies import StateInvalid
from policies.contest import Contest
from policies.evidence import Evidence

NOTHING = Evidence()


def _fought(n: int, *, own: float, shared: float, rewards: tuple[float, ...] = (1.0, 0.0)) -> Contest:
    """Return a contest over `n` rounds of two outcomes: a good one, liked as much as it says, and a bad one."""
    contest = Contest()
    for _ in range(n):
        contest.add(own=own, shared=shared, propensity=0.5, reward=rewards[0])
        contest.add(own=1.0 - own, shared=1.0 - shared, propensity=0.5, reward=rewards[1])
    return contest


def test_the_shared_policy_serves_at_first() -> None:
    """Without evidence the shared policy serves, and each is played half of the time."""
    assert Contest().serving(NOTHING) == "shared"
    assert Contest().own_share(NOTHING) == 0.5


def test_who_brought_a_policy_keeps_it() -> None:
    """Without evidence a lane that came with a policy of its own is served by it."""
    assert Contest("own").serving(NOTHING) == "own"
    assert Contest("own").own_share(NOTHING) == 0.5


def test_a_score_is_worked_out_by_hand() -> None:
    """The first has no baseline; (0.75 − 0.5) ÷ 0.5 × (0 − 1) = −1/2; (0.25 − 0.5) ÷ 0.25 × (0 − 1/2) = 1/2."""
    contest = Contest()
    contest.add(own=0.75, shared=0.25, propensity=0.5, reward=1.0)
    contest.add(own=0.75, shared=0.5, propensity=0.5, reward=0.0)
    contest.add(own=0.25, shared=0.5, propensity=0.25, reward=0.0)
    expected = Evidence()
    expected.add(-0.5)
    expected.add(0.5)

    assert contest.evidence.dumps() == expected.dumps()


def test_the_better_one_takes_over() -> None:
    """A policy that likes what pays takes over and is played 98 % of the time."""
    contest = _fought(100, own=0.9, shared=0.4)

    assert contest.serving(NOTHING) == "own"
    assert contest.own_share(NOTHING) == 0.98


def test_the_worse_one_keeps_a_little() -> None:
    """A policy that likes what does not pay keeps 2 %, so that it can be seen to be better later."""
    contest = _fought(100, own=0.4, shared=0.9)

    assert contest.serving(NOTHING) == "shared"
    assert contest.own_share(NOTHING) == 0.02


def test_it_falls_back_by_the_same_rule() -> None:
    """What once took over goes back when what follows says the opposite for long enough."""
    contest = _fought(100, own=0.9, shared=0.4)
    assert contest.serving(NOTHING) == "own"

    for _ in range(400):
        contest.add(own=0.1, shared=0.9, propensity=0.5, reward=1.0)
        contest.add(own=0.9, shared=0.1, propensity=0.5, reward=0.0)

    assert contest.serving(NOTHING) == "shared"


def test_the_pool_decides_for_lanes_that_cannot_tell() -> None:
    """A lane with little evidence goes with the pool; one with its own verdict does not."""
    pool = _fought(400, own=0.9, shared=0.4).evidence
    newcomer, sure = Contest(), _fought(100, own=0.1, shared=0.9)

    assert newcomer.serving(pool) == "own"
    assert newcomer.own_share(pool) == 0.98
    assert sure.serving(pool) == "shared"
    assert sure.own_share(pool) == 0.02


@pytest.mark.parametrize("shift", [0.0, 5.0, 1e6])
def test_the_level_of_rewards_does_not_matter(shift: float) -> None:
    """The baseline takes out what all rewards have in common."""
    contest = _fought(100, own=0.9, shared=0.4, rewards=(1.0 + shift, shift))

    assert contest.serving(NOTHING) == "own"


def test_no_outcome_ends_it() -> None:
    """The least propensity that a float has, with the largest rewards, leaves a contest that goes on."""
    contest = Contest()
    for reward in (-1e9, 1e9, -1e9):
        contest.add(own=1.0, shared=0.0, propensity=5e-324, reward=reward)

    assert 0.0 < contest.own_share(NOTHING) < 1.0


def test_a_state_comes_back() -> None:
    """Loading what was dumped gives the same contest, which goes on alike."""
    contest = _fought(30, own=0.9, shared=0.4)
    again = Contest.loads(contest.dumps())

    for one in (contest, again):
        one.add(own=0.5, shared=0.25, propensity=0.125, reward=3.0)

    assert again.dumps() == contest.dumps()


def test_a_state_that_cannot_be_is_refused() -> None:
    """A holder that is neither is refused."""
    _, evidence, rewards = Contest().dumps()

    with pytest.raises(StateInvalid):
        Contest.loads(("both", evidence, rewards))  # type: ignore[arg-type]  # that is the point
