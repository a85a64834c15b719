"""What a rank asks and what is drawn: checks with their paths, slots one after the other, mixtures to the last bit."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from banditd.config.tables import LimitsTable
from banditd.deciding import Decided, Mixture, Question, check_work, decide
from banditd.decision import Decision, Slot, encode_decision
from banditd.journal.protocol import Epoch, OutcomeRow, RewardRule
from banditd.messages import RankRequest
from banditd.segments.lane import Lane, lane_name, learned_from
from banditd.segments.reading import Reader
from policies import Action, Context, InvalidInput, Limits, Outcome, parse_spec
from policies.draw import draw, uniform

KEY = b"k" * 32
READER = Reader(Limits(), actions=1_000, slots=50)
ABC: list[dict[str, Any]] = [{"id": "a"}, {"id": "b"}, {"id": "c", "features": {"price": 3}}]


def asked(actions: Sequence[Mapping[str, Any]] = ABC, **fields: Any) -> tuple[Question, tuple[Action, ...]]:
    """Return a request's question and its actions."""
    request = msgspec.json.decode(msgspec.json.encode({"actions": actions, **fields}), type=RankRequest)
    read = READER.actions(request.actions)
    return Question.of(request, read, reader=READER, limits=LimitsTable()), read


def lane(name: str, *, best: int | None = None, epsilon: float = 0.3, n_policies: int = 1) -> Lane:
    """Return an epsilon-greedy lane, or a mixture of several, that has learned that one of the actions is best."""
    settings: dict[str, Any] = {"kind": "epsilon_greedy", "epsilon": epsilon}
    spec = parse_spec(settings if n_policies == 1 else {"kind": "mixture", "policies": [settings] * n_policies})
    rule = RewardRule(wait_s=1.0, default=0.0, aggregate="earliest")
    epoch = Epoch(lane_name(name), 1, 0, 0, {}, rule, "build", "", 0.0)
    made = Lane(name, epoch=epoch, spec=spec, policy=spec.build(), reader=READER)
    if best is not None:
        _, actions = asked()
        for chosen in range(len(actions)):
            made.policy.learn(Outcome(Context.of({}), actions, chosen, 0.5, float(chosen == best)))
    return made


def decided(question: Question, actions: Sequence[Action], *lanes: Lane, event_id: str = "visit") -> Decided:
    """Return what is decided in an empty context."""
    return decide(question, lanes, Context.of({}), actions, event_id=event_id, key=KEY)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        pytest.param({"slots": []}, "slot_count", "slots", id="no slot"),
        pytest.param({"slots": [{"id": str(i)} for i in range(51)]}, "slot_count", "slots", id="51 slots"),
        pytest.param({"slots": [{"id": str(i)} for i in range(4)]}, "slot_count", "slots", id="more than actions"),
        pytest.param(
            {"slots": [{"id": "x"}, {"id": "y"}], "exclude": ["a", "b"]}, "slot_count", "slots", id="than eligible ones"
        ),
        pytest.param({"slots": {}}, "invalid_value", "slots", id="no list"),
        pytest.param({"slots": None}, "invalid_value", "slots", id="null"),
        pytest.param({"slots": ["x"]}, "invalid_value", "slots[0]", id="no object"),
        pytest.param({"slots": [{"id": "x"}, {}]}, "invalid_value", "slots[1].id", id="no id"),
        pytest.param({"slots": [{"id": "x", "y": 1}]}, "invalid_value", "slots[0].y", id="unknown field"),
        pytest.param({"slots": [{"id": ""}]}, "id_length", "slots[0].id", id="empty id"),
        pytest.param({"slots": [{"id": "x"}, {"id": "x"}]}, "duplicate_slot", "slots[1].id", id="id twice"),
        pytest.param(
            {"slots": [{"id": "x", "features": {"w": 1e10}}]},
            "number_out_of_range",
            "slots[0].features.w",
            id="feature",
        ),
        pytest.param(
            {"slots": [{"id": "x"}, {"id": "y", "exclude": ["a", "z"]}]},
            "unknown_action",
            "slots[1].exclude[1]",
            id="unknown action",
        ),
        pytest.param(
            {"slots": [{"id": "x", "exclude": ["a", "b", "c"]}]}, "nothing_to_choose", "slots[0].exclude", id="nothing"
        ),
        pytest.param(
            {"slots": [{"id": "x"}, {"id": "y", "exclude": ["a", "b"]}]},
            "nothing_to_choose",
            "slots[1].exclude",
            id="what is left may go to the first",
        ),
        pytest.param({"segments": {}}, "segment_count", "segments", id="no segment"),
        pytest.param({"segments": {f"s{i}": 1 for i in range(17)}}, "segment_count", "segments", id="17 segments"),
        pytest.param({"segments": {"s": 0}}, "number_out_of_range", "segments.s", id="weight 0"),
        pytest.param({"segments": {"s": -1}}, "number_out_of_range", "segments.s", id="negative weight"),
        pytest.param({"segments": {"s": 1e10}}, "number_out_of_range", "segments.s", id="huge weight"),
        pytest.param({"segments": {"s": 1}, "segment": "s"}, "invalid_value", "segments", id="both"),
    ],
)
def test_what_breaks_a_rule_is_named(fields: dict[str, Any], code: str, field: str) -> None:
    """Each broken rule of slots and segments is refused with the path of the value at fault."""
    with pytest.raises(InvalidInput) as caught:
        asked(**fields)

    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize(
    ("fields", "lanes", "field"),
    [
        pytest.param({"slots": [{"id": str(i)} for i in range(20)]}, [lane("s")], "slots", id="20 slots"),
        pytest.param({"segments": {"s": 1, "t": 1}}, [lane("s", n_policies=10)] * 2, "segments", id="2 segments of 10"),
        pytest.param({}, [lane("s", n_policies=20)], "actions", id="20 policies"),
        pytest.param(
            {"slots": [{"id": str(i)} for i in range(2)], "segments": dict.fromkeys("abcde", 1.0)},
            [lane("s", n_policies=2)] * 5,
            "slots",
            id="2 slots of 5 segments of 2",
        ),
    ],
)
def test_work_is_bounded(fields: dict[str, Any], lanes: Sequence[Lane], field: str) -> None:
    """A rank may ask for as many scores as `limits.scores` says, and for none beyond."""
    limits = LimitsTable(scores=10_000)
    question, actions = asked([{"id": f"a{i}"} for i in range(501)], **fields)
    check_work(question, lanes, Context.of({}), actions[:490], limits=limits)

    with pytest.raises(InvalidInput) as caught:
        check_work(question, lanes, Context.of({}), actions, limits=limits)

    assert (caught.value.code, caught.value.field) == ("too_many_scores", field)


def test_features_of_contexts_are_work() -> None:
    """A feature of the context counts in each slot as an action does, and one of a slot in that slot."""
    question, actions = asked(ABC, slots=[{"id": "x", "features": {"width": 2}}, {"id": "y"}])
    context = Context.of({f"f{i}": 1.5 for i in range(900)})
    n_own = sum(asked.slot.line.count(" ") for asked in question.slots)
    n_scores = 2 * (3 + 900) + n_own

    check_work(question, [lane("s")], context, actions, limits=LimitsTable(scores=n_scores))
    with pytest.raises(InvalidInput, match=f"must be at most {n_scores - 1}, not {n_scores}"):
        check_work(question, [lane("s")], context, actions, limits=LimitsTable(scores=n_scores - 1))


def test_slots_with_actions_of_their_own_are_allowed() -> None:
    """A late slot with a single action is fine where no earlier slot can take it."""
    question, _ = asked(
        slots=[
            {"id": "x", "exclude": ["b", "c"]},
            {"id": "y", "exclude": ["a", "c"]},
            {"id": "z", "exclude": ["a", "b"]},
        ]
    )

    assert question.allowed == [[0], [1], [2]]


def test_each_slot_is_drawn_from_what_is_left() -> None:
    """A slot's eligible actions are those allowed there without the earlier choices; its draw is that of its number."""
    question, actions = asked(slots=[{"id": "x"}, {"id": "y", "exclude": ["b"]}], exclude=[])
    server = lane("s", best=1)

    for i in range(50):
        first, second = decided(question, actions, server, event_id=f"e{i}").slots

        assert first.eligible == [0, 1, 2]
        assert second.eligible == [index for index in (0, 2) if index != first.chosen]
        for number, slot in enumerate((first, second)):
            options = [actions[index] for index in slot.eligible]
            u = uniform(KEY, "s/main", f"e{i}", number)
            assert slot.probabilities == server.distribution(Context.of({}), options)
            assert slot.chosen == slot.eligible[draw(slot.probabilities, u)]


def test_one_slot_is_drawn_as_a_rank_without_slots_is() -> None:
    """To a policy that does not look at the context, a single slot makes no difference."""
    plain, actions = asked()
    slotted, _ = asked(slots=[{"id": "x"}])
    server = lane("s", best=2)

    for i in range(50):
        one, other = (decided(question, actions, server, event_id=f"e{i}") for question in (plain, slotted))
        assert one == other


def test_a_policy_sees_the_slot() -> None:
    """The context of a slot has the slot's id, place and features in a namespace of its own."""
    question, actions = asked(slots=[{"id": "top left", "features": {"w": 2}}, {"id": "y"}])
    seen: list[str] = []

    class Listening(Lane):
        """A lane that notes what it is asked."""

        def distribution(self, context: Context, options: Sequence[Action]) -> list[float]:
            seen.append(context.line)
            return super().distribution(context, options)

    plain = lane("s")
    decided(question, actions, Listening("s", epoch=plain.epoch, spec=plain.spec, policy=plain.policy, reader=READER))

    assert seen == [
        "|s |s.%slot %id=top%20left %position=0 w:2",
        "|s |s.%slot %id=y %position=1",
    ]


def test_a_mixture_is_the_weighted_sum() -> None:
    """What is played and stored is the sum of the members' distributions by their shares."""
    question, actions = asked(segments={"t": 3, "s": 1})
    one, other = lane("s", best=0), lane("t", best=1)

    decision = decided(question, actions, one, other)

    # Epsilon 0.3 over three actions: 0.8 for the best, 0.1 for each other one.
    assert decision.slots[0].probabilities == pytest.approx(
        [0.25 * 0.8 + 0.75 * 0.1, 0.25 * 0.1 + 0.75 * 0.8, 0.1], abs=1e-12
    )
    assert decision.members is not msgspec.UNSET
    assert [(member.lane, member.weight) for member in decision.members] == [("s/main", 1.0), ("t/main", 3.0)]
    assert decision.lane in (one, other)


def test_a_mixture_with_slots_mixes_in_each() -> None:
    """Each slot of a mixture is drawn from the mixture over what is left for it."""
    question, actions = asked(segments={"s": 1, "t": 1}, slots=[{"id": "x"}, {"id": "y"}])
    one, other = lane("s", best=0), lane("t", best=1)

    for i in range(30):
        decision = decided(question, actions, one, other, event_id=f"e{i}")
        for slot in decision.slots:
            options = [actions[index] for index in slot.eligible]
            played = [member.distribution(Context.of({}), options) for member in (one, other)]
            assert slot.probabilities == pytest.approx([(p + q) / 2 for p, q in zip(*played, strict=True)], abs=1e-12)
        assert len({slot.chosen for slot in decision.slots}) == 2


def test_a_mixture_of_one_is_that_one() -> None:
    """A single segment with any weight plays, draws and owns as if it had been named."""
    named, actions = asked()
    mixed, _ = asked(segments={"s": 0.125})
    server = lane("s", best=2)

    for i in range(50):
        plain, mixture = (decided(question, actions, server, event_id=f"e{i}") for question in (named, mixed))
        assert (mixture.lane, mixture.slots) == (plain.lane, plain.slots)


def test_only_the_ratios_of_weights_count() -> None:
    """Weights ten times as large, in another order, give the same decision."""
    question, actions = asked(segments={"s": 0.5, "t": 1.5})
    other, _ = asked(segments={"t": 15, "s": 5})
    lanes = lane("s", best=0), lane("t", best=1)

    for i in range(50):
        one, two = (decided(q, actions, *lanes, event_id=f"e{i}") for q in (question, other))
        assert (one.lane, one.slots) == (two.lane, two.slots)


def test_a_vanishing_weight_hurts_nothing() -> None:
    """The smallest weight beside the largest is a share of 0, and the mixture is the other lane's distribution."""
    question, actions = asked(segments={"s": 5e-324, "t": 1e9})
    small, large = lane("s", best=0), lane("t", best=1)

    decision = decided(question, actions, small, large)

    assert decision.slots[0].probabilities == large.distribution(Context.of({}), actions)
    assert decision.lane is large


def test_the_owner_is_drawn_by_a_draw_of_its_own() -> None:
    """Which lane a decision belongs to hangs on the key, the lanes' names, their shares and the event id alone."""
    lanes = [lane("s"), lane("t")]
    mixture = Mixture(lanes, [1.0, 3.0])

    for i in range(100):
        u = uniform(KEY, "s/main+t/main", f"e{i}", -1)
        assert mixture.owner(f"e{i}", key=KEY) is lanes[0 if u < 0.25 else 1]


def test_a_mixture_of_certainties_is_no_more_than_certain() -> None:
    """Shares that sum to more than 1, by rounding, make no probability above 1."""
    weights = {"s": 0.25, "t": 0.95, "u": 0.15, "v": 0.45, "w": 0.2}
    question, actions = asked(ABC[:1], segments=weights)
    assert sum(weight / sum(weights.values()) for weight in weights.values()) > 1.0

    decision = decided(question, actions, *map(lane, weights))

    assert decision.slots[0].probabilities == [1.0]


def test_a_probability_that_was_stored_above_1_is_learned_from() -> None:
    """A decision from before mixtures were held to 1 teaches what it would have taught."""
    decision = Decision(
        event_id="e1",
        lane="s/main",
        epoch=1,
        seq=0,
        pool_seq=0,
        at=0.0,
        expires_at=1.0,
        subject=None,
        context=msgspec.Raw(b"{}"),
        actions=msgspec.Raw(b'[{"id":"a"}]'),
        slots=[Slot([0], [math.nextafter(1.0, 2.0)], 0)],
        key="k",
    )
    row = OutcomeRow("s/main", 1, 1, "e1", 0, 1.0, rewarded=True, chain=b"c", body=encode_decision(decision))
    learning = lane("s")

    learning.fold(row)

    assert (learning.seq, learning.refused) == (1, 0)
    assert learned_from(row, READER).propensity == 1.0
