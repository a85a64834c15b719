"""What a Thompson policy takes from its parent, against arithmetic done by hand."""

import math

import pytest

from policies import Action, Context, Outcome, Policy, StateInvalid
from policies.fixed import FixedSpec
from policies.independent import IndependentThompson
from policies.posterior import mixed
from policies.state import seal
from policies.thompson import ThompsonSpec
from policies.thompson_beta import BetaModel
from policies.thompson_gaussian import GaussianModel

NOW = Context.of({})
A, B, C, D = (Action.of(name) for name in "abcd")
FLAT = BetaModel.of(reward_range=None, prior_mean=None, prior_weight=2.0)
NORMAL = GaussianModel.of(reward_range=None, prior_mean=0.0, prior_weight=2.0, prior_sd=1.0)


def learned(policy: Policy, *lessons: tuple[Action, float, int]) -> Policy:
    """Teach the policy each reward so many times."""
    for action, reward, times in lessons:
        for _ in range(times):
            policy.learn(Outcome(context=NOW, actions=[action], chosen=0, propensity=1.0, reward=reward))
    return policy


def child_of(spec: ThompsonSpec, *lessons: tuple[Action, float, int]) -> IndependentThompson:
    """Return a policy that adopted one that had these lessons."""
    child = spec.make()
    assert isinstance(child, IndependentThompson)
    child.adopt(learned(spec.make(), *lessons))
    return child


def test_actions_in_general_are_expected_to_be_the_mean_of_the_parents() -> None:
    """Counts of 9/89 and 29/69 with the flat prior are rates of 0.1 and 0.3; Beta(1, 4) has their mean."""
    adopted = FLAT.adopted({"a": (9.0, 89.0), "b": (29.0, 69.0)})

    assert adopted.base == pytest.approx((1.0, 4.0))


def test_one_action_is_expected_to_be_what_it_was_as_twenty_outcomes() -> None:
    """The flat prior's two outcomes are at 0.2 now, so that 9/89 is (9 + 0.4) ÷ 100 and counts as 20."""
    adopted = FLAT.adopted({"a": (9.0, 89.0), "b": (29.0, 69.0)})

    assert adopted.informed["a"] == pytest.approx((0.094 * 20, 0.906 * 20))
    assert adopted.informed["b"] == pytest.approx((0.294 * 20, 0.706 * 20))


def test_a_rare_success_is_expected_as_strongly_as_one_success() -> None:
    """100 in 10,000, prior included, are a rate of 0.01: 100 outcomes, of which one is a success."""
    adopted = FLAT.adopted({"a": (99.0, 9_899.0)})

    assert adopted.base == pytest.approx((1.0, 99.0))
    assert adopted.informed["a"][0] == pytest.approx(1.0)
    assert adopted.informed["a"][1] == pytest.approx(10_000.0 / 99.02 - 1.0)


def test_an_action_that_the_parent_hardly_knows_counts_for_what_it_is() -> None:
    """One failure, and the prior's two outcomes at the mean, are three outcomes."""
    adopted = FLAT.adopted({"a": (99.0, 99.0), "b": (0.0, 1.0)})

    mean = (0.5 + 1.0 / 3.0) / 2.0
    assert adopted.informed["b"] == pytest.approx((2.0 * mean, 2.0 * (1.0 - mean) + 1.0))


@pytest.mark.parametrize("counts", [(0.0, 1e9), (1e9, 0.0), (0.0, 0.0)])
def test_extreme_parents_leave_priors_that_can_be_computed_with(counts: tuple[float, float]) -> None:
    """Never a success, or never a failure, in the parent still leaves both possible."""
    adopted = FLAT.adopted({"a": counts})

    for prior in (adopted.base, adopted.informed["a"]):
        assert 0.01 <= min(prior) <= max(prior) <= 1e6
        assert math.isfinite(FLAT.component(prior, (3.0, 4.0)).log_evidence)


def test_the_gaussian_parents_word_counts_as_twenty_outcomes() -> None:
    """98 rewards of mean 5 and no spread, with two of mean 0 and sd 1: mean 4.9, squares 2 + 2 × 98 × 25 ÷ 100 = 51."""
    adopted = NORMAL.adopted({"a": (98.0, 5.0, 0.0)})

    assert adopted.informed["a"] == pytest.approx((20.0, 4.9, 51.0 / 100.0 * 20.0))
    assert adopted.base == pytest.approx((2.0, 4.9, 51.0 / 100.0 * 2.0))


def test_gaussian_actions_in_general_vary_within_and_between() -> None:
    """Means of 4.9 and -4.9 make 0 in general, with a variance of 0.51 within and 24.01 between."""
    adopted = NORMAL.adopted({"a": (98.0, 5.0, 0.0), "b": (98.0, -5.0, 0.0)})

    assert adopted.base == pytest.approx((2.0, 0.0, 2.0 * (0.51 + 24.01)), abs=1e-12)


def test_before_its_first_outcome_a_child_believes_its_parent_by_four_fifths() -> None:
    """An action that the parent knew has components of weight 1/5 and 4/5, one that it did not has one."""
    child = child_of(ThompsonSpec(), (A, 1.0, 9), (A, 0.0, 89), (B, 1.0, 29), (B, 0.0, 69))

    known, unknown = child._posterior("a"), child._posterior("never seen")

    first, second = known.components
    assert first[:2] == pytest.approx((1.0, 5.0))
    assert first[-1] == pytest.approx(math.log(0.2) - math.log(math.gamma(4) / math.gamma(5)))
    assert second[:2] == pytest.approx((0.094 * 20, 20.0))
    assert [constants[:2] for constants in unknown.components] == [pytest.approx((1.0, 5.0))]


def test_the_prior_that_foretold_the_rewards_gains() -> None:
    """Beta(1, 4) gives three successes 1·2·3 ÷ 5·6·7, Beta(1.88, 18.12) gives 1.88·2.88·3.88 ÷ 20·21·22."""
    child = child_of(ThompsonSpec(), (A, 1.0, 9), (A, 0.0, 89), (B, 1.0, 29), (B, 0.0, 69))
    learned(child, (A, 1.0, 3))
    general, parents = 0.2 * 6.0 / 210.0, 0.8 * 1.88 * 2.88 * 3.88 / 9240.0

    first, second = child._posterior("a").components

    log_beta = math.lgamma(4) + math.lgamma(4) - math.lgamma(8)
    assert first[-1] + log_beta == pytest.approx(math.log(general / (general + parents)))
    log_beta = math.lgamma(4.88) + math.lgamma(18.12) - math.lgamma(23)
    assert second[-1] + log_beta == pytest.approx(math.log(parents / (general + parents)))


def test_the_gaussian_evidence_is_that_of_predicting_one_reward_after_the_other() -> None:
    """The evidence of three rewards is the product of the t densities, each with what came before in the prior."""
    prior, rewards = (2.0, 1.0, 2.0), (0.5, 4.0, -1.0)
    log_density, seen = 0.0, NORMAL.unseen
    for reward in rewards:
        weight, mean, squares = prior[0] + seen[0], 0.0, 0.0
        mean = (prior[0] * prior[1] + seen[0] * seen[1]) / weight
        squares = prior[2] + seen[2] + prior[0] * seen[0] / weight * (seen[1] - prior[1]) ** 2
        scale = math.sqrt(squares * (weight + 1.0)) / weight
        z = (reward - mean) / scale
        log_density += math.lgamma((weight + 1.0) / 2.0) - math.lgamma(weight / 2.0) - 0.5 * math.log(math.pi * weight)
        log_density -= math.log(scale) + (weight + 1.0) / 2.0 * math.log1p(z * z / weight)
        seen = NORMAL.learned(seen, reward)

    evidence = NORMAL.component(prior, seen).log_evidence

    assert evidence - 1.5 * math.log(math.pi) == pytest.approx(log_density)


@pytest.mark.parametrize("right_is_informed", [True, False], ids=["the parent was right", "the parent was wrong"])
def test_a_prior_that_is_all_but_refuted_is_dropped(*, right_is_informed: bool) -> None:
    """Of Beta(90, 10) and Beta(10, 90), 60 failures leave less than 1e-9 to the first: it is not computed any more."""
    wrong, right = FLAT.component((90.0, 10.0), (0.0, 60.0)), FLAT.component((10.0, 90.0), (0.0, 60.0))

    posterior = mixed(wrong, right) if right_is_informed else mixed(right, wrong)

    assert len(posterior.components) == 1
    assert posterior.components[0] == pytest.approx(right.constants, abs=1e-8)
    assert posterior.shape == right.shape


def test_a_child_that_is_like_its_parent_starts_where_the_parent_is() -> None:
    """The parent's best action is the child's likeliest before its first outcome."""
    child = child_of(ThompsonSpec(), (A, 1.0, 60), (A, 0.0, 40), (B, 1.0, 5), (B, 0.0, 95), (C, 1.0, 5), (C, 0.0, 95))

    vector = child.probabilities(NOW, [A, B, C, D])

    assert vector[0] > 0.6
    assert vector[1] == pytest.approx(vector[2])


def test_a_child_that_is_unlike_its_parent_soon_says_so() -> None:
    """What the parent thought the worst is played most after 30 successes, at less than the parent's price."""
    child = child_of(ThompsonSpec(), (A, 1.0, 600), (A, 0.0, 400), (B, 1.0, 20), (B, 0.0, 980))

    learned(child, (A, 1.0, 3), (A, 0.0, 27), (B, 1.0, 20), (B, 0.0, 10))

    assert child.probabilities(NOW, [A, B])[1] > 0.99


def test_a_forgotten_action_falls_back_to_what_the_parent_said() -> None:
    """With room for two, an action pushed out is again what it was when the parent was adopted."""
    child = child_of(ThompsonSpec(max_actions=2), (A, 1.0, 50), (A, 0.0, 50), (B, 1.0, 10), (B, 0.0, 90))
    before = child._posterior("a")

    learned(child, (A, 0.0, 40), (C, 0.0, 1), (D, 0.0, 1))

    assert child._posterior("a") == before


def test_fading_leads_back_to_what_the_parent_said() -> None:
    """With a discount the child's own outcomes fade and the adopted priors stay."""
    spec = ThompsonSpec(discount=0.9)
    child = child_of(spec, (A, 1.0, 3), (A, 0.0, 3), (B, 1.0, 1), (B, 0.0, 5))
    before = child.probabilities(NOW, [A, D])

    learned(child, (A, 0.0, 10), (C, 0.5, 600))

    assert child.probabilities(NOW, [A, D]) == pytest.approx(before, abs=1e-9)


@pytest.mark.parametrize("model", ["beta", "gaussian"])
def test_adopted_priors_are_part_of_the_state(model: str) -> None:
    """A child that goes on from its bytes, without the parent, is the same child."""
    spec = ThompsonSpec(model=model)
    child = child_of(spec, (A, 1.0, 3), (B, 0.25, 7))
    learned(child, (B, 1.0, 2))

    loaded = spec.make()
    loaded.loads(child.dumps())

    for policy in (child, loaded):
        learned(policy, (A, 0.5, 1), (C, 0.25, 3))
    assert loaded.dumps() == child.dumps()
    assert (loaded.probabilities(NOW, [A, B, C, D]) == child.probabilities(NOW, [A, B, C, D])).all()


def test_an_empty_parent_passes_on_nothing() -> None:
    """A child of a parent without outcomes is as one without a parent."""
    assert child_of(ThompsonSpec()).dumps() == ThompsonSpec().make().dumps()


def test_only_a_policy_of_the_same_model_is_adopted() -> None:
    """A parent of another kind is a mistake of the caller."""
    with pytest.raises(TypeError):
        ThompsonSpec().make().adopt(FixedSpec().make())


@pytest.mark.parametrize("head", [b"[1.5]", b"[1.0,2.0]", b"[1.0,2.0,3.0,4.0]", b"[]", b"{}", b'["a"]'])
def test_other_heads_are_refused(head: bytes) -> None:
    """A state whose first line is not a number of outcomes and perhaps a prior is refused."""
    spec = ThompsonSpec()

    with pytest.raises(StateInvalid):
        spec.make().loads(seal(spec, head + b"\n[]\n[]"))
