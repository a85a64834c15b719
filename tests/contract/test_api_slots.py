"""Slots and several segments over HTTP: what a rank answers, what a reward is about, what is refused and where."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.api_client import Client, Reply

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
SLOTS = [{"id": "hero", "features": {"width": 2}}, {"id": "side", "exclude": ["a1"]}]


def ranked(n_actions: int = 4, **fields: object) -> dict[str, Any]:
    """Return a rank request over actions a0, a1 and so on."""
    return {"actions": [{"id": f"a{i}", "features": {"price": i}} for i in range(n_actions)], **fields}


def rank(api: Client, request: dict[str, Any]) -> dict[str, Any]:
    """Rank, and return the answer."""
    reply = api.post("/v1/rank", request)
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = reply.json
    return answer


def reward(api: Client, event_id: str, value: float = 1.0, **fields: object) -> Reply:
    """Send a reward."""
    return api.post("/v1/reward", {"event_id": event_id, "reward": value, **fields})


def outcomes(api: Client, segment: str) -> int:
    """Return how many outcomes a segment has."""
    n: int = api.get(f"/v1/segments/{segment}").json["outcomes"]
    return n


def probabilities(ranking: list[dict[str, Any]]) -> dict[str, float]:
    """Return a ranking as a distribution."""
    return {entry["id"]: entry["probability"] for entry in ranking}


def test_slots_of_the_reference_are_answered_as_it_shows(api: Client) -> None:
    """The rank with slots that docs/http.md shows works as pasted, and its answer has the fields shown there."""
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)]
    request, shown = [block for block in blocks if "slots" in block]

    answer = rank(api, {**request, "segment": "default"})

    assert [slot["id"] for slot in answer["slots"]] == [slot["id"] for slot in shown["slots"]]
    for slot, example in zip(answer["slots"], shown["slots"], strict=True):
        assert set(slot) == set(example)
        assert {entry["id"] for entry in slot["ranking"]} == {entry["id"] for entry in example["ranking"]}
        assert sum(probabilities(example["ranking"]).values()) == pytest.approx(1.0)
        assert example["ranking"][0]["id"] == example["chosen"]


def test_rank_without_slots_says_nothing_of_them(api: Client) -> None:
    """Whoever sends no slots gets none, as ever."""
    assert "slots" not in rank(api, ranked())


@pytest.mark.parametrize("segment", ["default", "mobile", "beta"])
def test_each_slot_has_its_whole_distribution(api: Client, segment: str) -> None:
    """Each slot names every action once, sums to 1, and has 0 for what is excluded there or was chosen before."""
    for _ in range(20):
        answer = rank(api, ranked(slots=SLOTS, segment=segment, exclude=["a3"]))
        hero, side = answer["slots"]

        assert [hero["id"], side["id"]] == ["hero", "side"]
        for slot, gone in ((hero, {"a3"}), (side, {"a3", "a1", hero["chosen"]})):
            played = probabilities(slot["ranking"])
            assert set(played) == {"a0", "a1", "a2", "a3"}
            assert sum(played.values()) == pytest.approx(1.0, abs=1e-5)
            assert {action for action, p in played.items() if p == 0.0} >= gone
            assert slot["ranking"][0]["id"] == slot["chosen"]
            assert played[slot["chosen"]] > 0.0
        assert hero["chosen"] != side["chosen"]
        assert (answer["chosen"], answer["ranking"]) == (hero["chosen"], hero["ranking"])


def test_as_many_slots_as_actions_show_all_of_them(api: Client) -> None:
    """A slot for each action is a whole order of the actions."""
    answer = rank(api, ranked(5, slots=[{"id": f"s{i}"} for i in range(5)]))

    assert sorted(slot["chosen"] for slot in answer["slots"]) == [f"a{i}" for i in range(5)]
    assert answer["slots"][-1]["ranking"][0]["probability"] == pytest.approx(1.0)


def test_same_event_id_returns_the_same_slots(api: Client) -> None:
    """A repeated rank answers as the first did; other slots are another request."""
    request = ranked(slots=SLOTS, event_id=f"event-{uuid.uuid4().hex}")
    first = rank(api, request)
    assert reward(api, rank(api, ranked(slots=SLOTS))["event_id"], slot="side").status == 200

    assert rank(api, request) == first
    for other in (SLOTS[::-1], SLOTS[:1], [{"id": "hero"}, {"id": "side"}]):
        reply = api.post("/v1/rank", {**request, "slots": other})
        assert (reply.status, reply.json["code"]) == (409, "event_id_reused")
    del request["slots"]
    assert api.post("/v1/rank", request).status == 409


def test_slots_in_a_batch_are_answered_one_by_one(api: Client) -> None:
    """An item with slots is decided as it would be alone, and a bad one changes nothing for the others."""
    items = [ranked(slots=SLOTS), ranked(), ranked(1, slots=SLOTS), ranked(slots=[{"id": "x"}])]

    results = api.post("/v1/rank/batch", items).json["results"]

    assert [result["status"] for result in results] == [200, 200, 422, 200]
    assert [len(result.get("result", {}).get("slots", ())) for result in results] == [2, 0, 0, 1]


def test_each_slot_takes_a_reward_of_its_own(api: Client) -> None:
    """Rewards that name slots are joined one by one, each once."""
    event_id = rank(api, ranked(slots=SLOTS, segment="mobile"))["event_id"]
    before = outcomes(api, "mobile")

    statuses = [reward(api, event_id, slot=slot).json["status"] for slot in ("side", "side", "hero", "hero")]

    assert statuses == ["joined", "duplicate", "joined", "duplicate"]
    assert outcomes(api, "mobile") == before + 2


@pytest.mark.parametrize(("segment", "n"), [("mobile", 1), ("page", 2)])
def test_reward_without_a_slot_is_about_what_the_segment_says(api: Client, segment: str, n: int) -> None:
    """By default it is about the first slot, under ``slots = "all"`` about each."""
    event_id = rank(api, ranked(slots=SLOTS, segment=segment))["event_id"]
    before = outcomes(api, segment)

    assert reward(api, event_id).json == {"status": "joined"}

    assert outcomes(api, segment) == before + n
    assert reward(api, event_id, slot="hero").json == {"status": "duplicate"}
    assert reward(api, event_id, slot="side").json == {"status": "joined" if n == 1 else "duplicate"}


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        pytest.param({"slot": "footer"}, "unknown_slot", "slot", id="unknown"),
        pytest.param({"slot": ""}, "id_length", "slot", id="empty"),
        pytest.param({"slot": "a\nb"}, "control_character", "slot", id="control character"),
        pytest.param({"slot": 0}, "invalid_value", "slot", id="a number"),
    ],
)
def test_reward_for_no_slot_is_refused(api: Client, fields: dict[str, Any], code: str, field: str) -> None:
    """A slot that the decision does not have is refused with its path, and changes nothing."""
    event_id = rank(api, ranked(slots=SLOTS, segment="mobile"))["event_id"]
    before = outcomes(api, "mobile")

    reply = reward(api, event_id, **fields)

    assert (reply.status, reply.json["code"], reply.json["field"]) == (422, code, field)
    assert outcomes(api, "mobile") == before


def test_reward_for_a_slot_of_an_unknown_event_is_not_found(api: Client) -> None:
    """There is no slot without a decision."""
    reply = reward(api, f"event-{uuid.uuid4().hex}", slot="hero")

    assert (reply.status, reply.json["code"], reply.json["field"]) == (404, "unknown_event", "event_id")


def test_slots_can_be_activated_later(api: Client) -> None:
    """Rewards of a deferred decision wait slot by slot, and the activation joins those that came."""
    event_id = rank(api, ranked(slots=SLOTS, segment="mobile", activate=False))["event_id"]
    before = outcomes(api, "mobile")
    assert reward(api, event_id, slot="side").json == {"status": "pending"}
    assert outcomes(api, "mobile") == before

    assert api.post(f"/v1/events/{event_id}/activate").status == 200

    assert outcomes(api, "mobile") == before + 1
    assert reward(api, event_id, slot="hero").json == {"status": "joined"}


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        pytest.param({"slots": []}, "slot_count", "slots", id="no slot"),
        pytest.param({"slots": [{"id": str(i)} for i in range(5)]}, "slot_count", "slots", id="more than actions"),
        pytest.param(
            {"slots": [{"id": "x"}, {"id": "y", "exclude": ["zz"]}]},
            "unknown_action",
            "slots[1].exclude[0]",
            id="unknown action",
        ),
        pytest.param(
            {"slots": [{"id": "x"}, {"id": "y", "exclude": ["a0", "a1", "a2"]}]},
            "nothing_to_choose",
            "slots[1].exclude",
            id="may be left empty",
        ),
        pytest.param({"slots": [{"id": "x", "features": []}]}, "invalid_value", "slots[0].features", id="no features"),
        pytest.param({"segments": {"default": 0}}, "number_out_of_range", "segments.default", id="weight 0"),
        pytest.param({"segments": {}}, "segment_count", "segments", id="no segment"),
        pytest.param({"segments": {"default": 1}, "segment": "default"}, "invalid_value", "segments", id="both"),
    ],
)
def test_bad_slots_and_segments_are_refused(api: Client, fields: dict[str, Any], code: str, field: str) -> None:
    """What breaks a rule is a 422 with the path of the value."""
    reply = api.post("/v1/rank", ranked(**fields))

    assert (reply.status, reply.json["code"], reply.json["field"]) == (422, code, field)


def test_several_segments_play_their_mixture(api: Client) -> None:
    """With weights the answer shows the weighted sum of what each segment shows alone, and names one of them."""
    alone = [probabilities(rank(api, ranked(segment=name))["ranking"]) for name in ("summed", "beta")]

    answer = rank(api, ranked(segments={"summed": 3, "beta": 1}))

    mixed = probabilities(answer["ranking"])
    expected = {action: 0.75 * alone[0][action] + 0.25 * alone[1][action] for action in mixed}
    assert mixed == pytest.approx(expected, abs=1e-9)
    assert answer["segment"] in {"summed", "beta"}


def test_a_mixture_is_learned_from_by_the_segment_it_names(api: Client) -> None:
    """The reward of a mixture makes an outcome in the segment that the answer names, and in no other."""
    names = ("mobile", "page")
    for _ in range(8):
        before = {name: outcomes(api, name) for name in names}
        answer = rank(api, ranked(segments=dict.fromkeys(names, 1.0)))

        assert reward(api, answer["event_id"]).json == {"status": "joined"}

        after = {name: outcomes(api, name) for name in names}
        assert after == {name: before[name] + (name == answer["segment"]) for name in names}


def test_mixture_with_an_unknown_segment_is_not_found(api: Client) -> None:
    """Each segment of a mixture must be there."""
    reply = api.post("/v1/rank", ranked(segments={"default": 1, "nowhere": 1}))

    assert (reply.status, reply.json["code"], reply.json["field"]) == (404, "unknown_segment", "segments.nowhere")
