"""VW's own options as a candidate: equal to what VW's command line makes of the same lines."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vowpalwabbit import Workspace

from replay import evaluate
from replay.block import Block, block_of
from replay.candidates import Contradiction, VwRecipe, vw_arguments
from replay.errors import InvalidLog
from replay.logs.dsjson import DsjsonLog
from replay.quick import Care, block_of_lines
from replay.rejection import Rejection
from tests.replay_worlds import ListLog, make_events, write_dsjson

SHARED = Path(__file__).parents[4] / "shared" / "data"
REFERENCES = SHARED / "vw_tests" / "manifest.json"
SAMPLE = SHARED / "vw_dsjson"


def _driver(path: Path, arguments: str) -> float:
    """Return what VW's own loop over the file says."""
    workspace = Workspace(f"{arguments} --dsjson --quiet -d {path}")
    return float(workspace.get_sum_loss() / workspace.get_weighted_examples())


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def _references() -> list[tuple[str, str, float]]:
    if not REFERENCES.exists():
        return []
    files = json.loads(REFERENCES.read_text())["files"]
    return [
        (name, one["vw_args"].replace("--dsjson ", ""), one["sum_loss"] / one["weighted_examples"])
        for name, one in files.items()
        if "_explore_adf" in one.get("vw_args", "")
        and "--dsjson" in one["vw_args"]
        and one["weighted_examples"]
        and "igl" not in name
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        "--cb_explore_adf",
        "--cb_explore_adf --epsilon 0.2",
        "--cb_explore_adf --epsilon 0.2 --cb_type ips",
        "--cb_explore_adf --epsilon 0.2 --cb_type dr",
        "--cb_explore_adf --squarecb -q Fi",
        "--cb_explore_adf --softmax --lambda 5 -b 20 -l 0.1",
    ],
)
@pytest.mark.parametrize("care", ["quick", "careful"])
def test_the_value_is_minus_vws_average_loss(tmp_path: Path, arguments: str, care: str) -> None:
    """Progressive IPS equals VW's own average loss, whether labels are read quickly or with care."""
    path = write_dsjson(make_events(600, seed=1, skew=0.5), tmp_path / "log.json")
    if care == "careful":  # a key before the label: a layout that is not the usual one
        path.write_bytes(b"".join(b'{"x":1,' + line[1:] + b"\n" for line in _lines(path)))

    found = evaluate(DsjsonLog(str(path)), {"vw": f"vw {arguments}"})

    result = found.policies["vw"]
    assert result.question == "progressive"
    assert result.estimates["ips"].value == pytest.approx(-_driver(path, arguments), abs=1e-5)
    told = next(one for one in result.findings if one.code == "vw_average_loss")
    assert f"{_driver(path, arguments):.5g}"[:6] in told.detail
    assert result.grade != "red"
    assert found.health.events == 600


def test_unlike_lines_are_read_as_vw_reads_them(tmp_path: Path) -> None:
    """Broken lines, dangling rewards, `pdrop`, `_skipLearn` and apprentice lines: as VW's driver counts them."""
    path = write_dsjson(make_events(60, seed=2), tmp_path / "log.json")
    lines = _lines(path)
    lines[3] = b'{"RewardValue":1,"EventId":"x"}'
    lines[5] = b"nonsense"
    lines[7] = lines[7][:-1] + b',"_skipLearn":true}'
    lines[9] = lines[9][:-1] + b',"pdrop":0.5}'
    lines[11] = b"{broken"
    path.write_bytes(b"\n".join(lines))
    arguments = "--cb_explore_adf --epsilon 0.2"

    found = evaluate(DsjsonLog(str(path)), {"vw": f"vw {arguments}"})

    assert found.policies["vw"].estimates["ips"].value == pytest.approx(-_driver(path, arguments), abs=1e-5)
    assert found.health.events == 56
    assert sum(found.health.dropped.values()) == 4
    assert found.health.dropped["skip_learn"] == 1


@pytest.mark.parametrize("more", [b',"pdrop":0.5', b',"_skipLearn":true', b',"pdrop":0.9,"_skipLearn":false'])
def test_what_stands_in_a_line_unseen_is_found_by_vws_counts(tmp_path: Path, more: bytes) -> None:
    """What changes a line from where nobody looks makes VW's counts differ: the log is read again with care."""
    path = write_dsjson(make_events(300, seed=3), tmp_path / "log.json")
    lines = _lines(path)
    behind = b',"z":{}' + b',"p":['
    lines[7] = lines[7].replace(b',"p":[', more + behind).replace(b'"none"', b'"' + b"n" * 300 + b'"')
    path.write_bytes(b"\n".join(lines))
    arguments = "--cb_explore_adf --epsilon 0.2"

    found = evaluate(DsjsonLog(str(path)), {"vw": f"vw {arguments}"})

    result = found.policies["vw"]
    assert result.estimates["ips"].value == pytest.approx(-_driver(path, arguments), abs=1e-5)
    assert found.policies["logged"].diagnostics.n == result.diagnostics.n == found.health.events


def test_a_contradiction_is_raised_where_labels_were_read_quickly(tmp_path: Path) -> None:
    """VW's counts over a block are compared with the labels that were read from it."""
    lines = _lines(write_dsjson(make_events(50, seed=3), tmp_path / "log.json"))
    block = block_of_lines(lines, care="quick", cost="original", dropped=Counter(), noted=Counter())
    wrong = replace(block, vw_costs=np.ones(50))

    VwRecipe.of("--cb_explore_adf").build().play(block)
    with pytest.raises(Contradiction):
        VwRecipe.of("--cb_explore_adf").build().play(wrong)


def _readings(lines: list[bytes]) -> list[tuple[list[bytes], Care]]:
    """Return the same lines quickly, with care, and with a line more that has to be decoded and is left out."""
    return [(lines, "quick"), (lines, "careful"), ([b" " + lines[0], *lines], "quick")]


def test_quick_and_careful_labels_are_the_same(tmp_path: Path) -> None:
    """Both ways to read a block of lines give the same columns."""
    lines = _lines(write_dsjson(make_events(200, seed=4, skew=1.0), tmp_path / "log.json"))

    quick, careful, slow = (
        block_of_lines(part, care=care, cost="original", dropped=Counter(), noted=Counter())
        for part, care in _readings(lines)
    )

    for name in ("rewards", "propensities", "at", "n_eligible", "chosen", "chosen_id"):
        np.testing.assert_allclose(getattr(quick, name), getattr(careful, name))
        np.testing.assert_allclose(getattr(quick, name), getattr(slow, name))
    assert quick.vw_costs is not None
    assert careful.vw_costs is None


@pytest.mark.parametrize(
    ("change", "reward"),
    [
        pytest.param((b'"_label_cost":-1.0', b'"_label_cost":-0.25'), 1.0, id="apprentice"),
        pytest.param((b',"_original_label_cost":-1.0', b""), 1.0, id="no-original"),
        pytest.param((b'"Timestamp":"2023-11-14T22:13:20.0000000Z",', b""), 1.0, id="no-time"),
        pytest.param((b"2023-11-14T22:13:20.0000000Z", b"2023-11-14T22:13:20+01:00"), 1.0, id="other-zone"),
        pytest.param((b"2023-11-14T22:13:20.0000000Z", b"2023-11-1xT22:13:20.0000000Z"), 1.0, id="no-date"),
        pytest.param((b'"_labelIndex":', b'"_labelIndex":  '), 1.0, id="spaces"),
        pytest.param((b'"_label_cost":-1.0', b'"_label_cost":"NaN"'), 1.0, id="nan"),
        pytest.param((b'"_label_cost":-1.0', b'"_label_cost":-1e999'), 1.0, id="infinite"),
        pytest.param((b'"_label_probability":0.25', b'"_label_probability":0.0'), 1.0, id="no-propensity"),
        pytest.param((b'"EventId":"e0","a":[', b'"EventId":"e0","a":[4,4,'), 1.0, id="twice"),
        pytest.param((b"{", b'{"_original_label_cost":-0.5,'), 1.0, id="original-first"),
        pytest.param((b'"VWState"', b'"_original_label_cost":-0.5,"VWState"'), 1.0, id="original-twice"),
    ],
)
@pytest.mark.parametrize("cost", ["original", "label"])
def test_lines_are_read_as_the_reader_reads_them(
    tmp_path: Path, change: tuple[bytes, bytes], reward: float, cost: Any
) -> None:
    """Whatever the layout, a block of lines holds what the dsjson reader makes of each of them."""
    events = [replace(event, reward=reward) for event in make_events(4, seed=5)]
    path = write_dsjson(events, tmp_path / "log.json")
    lines = [line.replace(*change) for line in _lines(path)]
    path.write_bytes(b"\n".join(lines))

    cares: tuple[Care, ...] = ("quick", "careful")
    for care in cares:
        block = block_of_lines(lines, care=care, cost=cost, dropped=Counter(), noted=Counter())
        expected = block_of(list(DsjsonLog(str(path), cost).events()))

        np.testing.assert_array_equal(block.rewards, expected.rewards)
        np.testing.assert_allclose(block.at, expected.at)
        assert len(block.lines) == len(block)


def test_no_lines_are_a_block_without_rows() -> None:
    """An empty stretch of a log is an empty block."""
    block = block_of_lines([], care="quick", cost="label", dropped=Counter(), noted=Counter())

    assert len(block) == block.n_events == 0


@pytest.mark.parametrize("estimators", [["ips", "snips"], ["ips", "dr"]])
def test_vw_stands_beside_policies_of_banditd(tmp_path: Path, estimators: list[str]) -> None:
    """Where others need features, VW reads the same lines, and its value is the same."""
    path = write_dsjson(make_events(400, seed=6), tmp_path / "log.json")
    arguments = "--cb_explore_adf --epsilon 0.2"

    found = evaluate(DsjsonLog(str(path)), {"vw": f"vw {arguments}", "ts": "thompson"}, estimators=estimators)

    assert found.policies["vw"].estimates["ips"].value == pytest.approx(-_driver(path, arguments), abs=1e-5)
    assert _is_finite(found.policies["vw"].estimates[estimators[-1]].value)
    assert found.policies["vw"].diagnostics.unsupported == pytest.approx(0.0)


def _is_finite(value: float) -> bool:
    """Whether a value is a finite number."""
    return bool(np.isfinite(value))


def test_vw_frozen_predicts_only(tmp_path: Path) -> None:
    """A frozen VW plays on the rest what it had learned on the first part."""
    path = write_dsjson(make_events(300, seed=7), tmp_path / "log.json")
    lines = _lines(path)
    workspace = Workspace("--cb_explore_adf --epsilon 0.2 --dsjson --quiet")
    values = []
    for i, line in enumerate(lines):
        examples = workspace._parse(line)
        (workspace.learn_multi if i < 150 else workspace.predict_multi)(examples)
        scores = examples[0].get_action_scores()
        workspace._finish_example_multi_ex(examples)
        label = json.loads(line)
        if i >= 150:
            values.append(scores[label["_labelIndex"]] / label["_label_probability"] * -label["_label_cost"])

    found = evaluate(DsjsonLog(str(path)), {"vw": "vw --cb_explore_adf --epsilon 0.2"}, question="frozen")

    assert found.policies["vw"].question == "frozen"
    assert found.policies["vw"].estimates["ips"].value == pytest.approx(np.mean(values), abs=1e-6)


def test_vw_deployed_learns_what_is_accepted(tmp_path: Path) -> None:
    """A deployed VW that accepts everything is VW; one that accepts nothing learns nothing."""
    lines = _lines(write_dsjson(make_events(120, seed=8), tmp_path / "log.json"))
    block = block_of_lines(lines, care="careful", cost="label", dropped=Counter(), noted=Counter())
    sure = replace(block, place_propensities=np.full(120, 1e-9), propensities=np.full(120, 1e-9))
    plain = VwRecipe.of("--cb_explore_adf --epsilon 0.2").build().play(block)

    taken = _deployed(sure, 1.0)
    left = _deployed(block, 1e-12)

    np.testing.assert_allclose(taken[0], plain.target, atol=1e-6)
    assert all(taken[1])
    np.testing.assert_allclose(left[0], 0.25, atol=1e-6)
    assert not any(left[1])


def _deployed(block: Block, constant: float) -> tuple[Any, list[bool]]:
    rejection = Rejection(constant, seed=1)
    rejection.start(block.n_events)
    played = VwRecipe.of("--cb_explore_adf --epsilon 0.2").build().play(block, rejection=rejection)
    assert played.accepted is not None
    return played.target, list(played.accepted)


LABEL = b'{"_label_cost":-1,"_label_probability":0.5,"_label_Action":1,"_labelIndex":0,"a":[1,2],'
BROKEN = LABEL + b'"c":{"x":["s"],"_multi":[{},{}]}}'
FEW = LABEL + b'"c":{"x":1,"_multi":[{"a":1}]}}'


@pytest.mark.parametrize("line", [pytest.param(BROKEN, id="refused"), pytest.param(FEW, id="fewer-actions")])
@pytest.mark.parametrize("how", ["chosen", "whole", "deployed"])
def test_a_line_that_vw_cannot_read_has_no_answer(tmp_path: Path, line: bytes, how: str) -> None:
    """Where VW says nothing of a line, its row is left out for VW and told; the others stand."""
    lines = _lines(write_dsjson(make_events(5, seed=9), tmp_path / "log.json"))
    good = block_of_lines(lines, care="careful", cost="label", dropped=Counter(), noted=Counter())
    block = replace(good, lines=[lines[0], line, *lines[2:]], chosen_id=np.full(5, 1), chosen=np.full(5, 1))
    candidate = VwRecipe.of("--cb_explore_adf").build()
    rejection = Rejection(1.0, seed=1) if how == "deployed" else None
    if rejection is not None:
        rejection.start(5)

    played = candidate.play(block, whole="whole" if how == "whole" else "chosen", rejection=rejection)

    assert np.isnan(played.target).tolist() == [False, True, False, False, False]
    assert [one.code for one in candidate.findings()][-1] == "vw_lines_refused"


def test_rows_without_an_answer_are_left_out_and_told(tmp_path: Path) -> None:
    """A line that the reader takes and VW does not is missing from VW's estimates alone."""
    path = write_dsjson(make_events(40, seed=9), tmp_path / "log.json")
    lines = _lines(path)
    lines[4] = lines[4].replace(b'"_label_Action":', b'"pdrop":"x","pdrop":0,"_label_Action":')
    path.write_bytes(b"\n".join(lines))

    found = evaluate(DsjsonLog(str(path)), {"vw": "vw --cb_explore_adf"}, by=["segment"])

    assert found.policies["logged"].diagnostics.n == found.health.events == 40
    assert found.policies["vw"].diagnostics.n == 39
    assert [one.serious for one in found.policies["vw"].findings if one.code == "rows_unplayed"] == [True]
    assert found.policies["vw"].grade == "red"


def test_vw_needs_dsjson() -> None:
    """VW's own options have nothing to read in a log that is not dsjson."""
    with pytest.raises(InvalidLog) as caught:
        evaluate(ListLog(make_events(10, seed=1)), {"vw": "vw --cb_explore_adf"})

    assert caught.value.code == "no_dsjson"


def test_what_is_no_distribution_is_refused(tmp_path: Path) -> None:
    """`--regcbopt` says 1 for each of several actions that are alike: that is no policy."""
    path = write_dsjson(make_events(10, seed=1), tmp_path / "log.json")

    with pytest.raises(InvalidLog) as caught:
        evaluate(DsjsonLog(str(path)), {"vw": "vw --cb_explore_adf --regcbopt"})

    assert caught.value.code == "not_a_distribution"


def _slotted_lines(n: int) -> list[bytes]:
    random = np.random.default_rng(1)
    lines = []
    for i in range(n):
        order = random.permutation(3).tolist()
        costs = np.where(random.random(2) < 0.4, -1.0, 0.0).tolist()
        line = {
            "Timestamp": "2023-11-14T22:13:20Z",
            "EventId": f"e{i}",
            "c": {
                "s": {"x": str(i % 3)},
                "_multi": [{"a": {"id": f"a{k}"}} for k in range(3)],
                "_slots": [{"_id": "top", "p": 1}, {"_id": "side", "p": 2}],
            },
            "_outcomes": [
                {"_label_cost": costs[0], "_id": "top", "_a": order, "_p": [1 / 3] * 3},
                {"_label_cost": costs[1], "_id": "side", "_a": order[1:], "_p": [1 / 2] * 2},
            ],
        }
        lines.append(json.dumps(line, separators=(",", ":")).encode())
    return lines


@pytest.mark.parametrize(("option", "slots"), [(" --all_slots_loss", "all"), ("", "first")])
def test_slots_of_vw_are_worth_what_vw_counts(tmp_path: Path, option: str, slots: str) -> None:
    """A decision is worth the sum over its slots with `--all_slots_loss`, and without it the first, as VW's loss is."""
    path = tmp_path / "log.json"
    path.write_bytes(b"\n".join([*_slotted_lines(200), b"nonsense"]))
    arguments = f"--ccb_explore_adf --epsilon 0.2{option}"

    found = evaluate(DsjsonLog(str(path)), {"vw": f"vw {arguments}"})

    assert found.policies["vw"].estimates["ips"].value == pytest.approx(-_driver(path, arguments), abs=1e-5)
    assert found.settings["slots"] == slots
    assert found.settings["reward_range"] == [0.0, 2.0 if slots == "all" else 1.0]
    assert found.policies["logged"].diagnostics.n == 200  # decisions, however many slots count
    assert found.health.events == 200
    assert found.health.dropped == {"not_an_object": 1}


def test_slots_that_vw_cannot_read_have_no_answer(tmp_path: Path) -> None:
    """VW knows nothing of outcomes that stand before their context, and refuses some lines whole."""
    lines = _slotted_lines(20)
    line = json.loads(lines[3])
    lines[3] = json.dumps({"_outcomes": line.pop("_outcomes"), **line}).encode()
    path = tmp_path / "log.json"
    path.write_bytes(b"\n".join(lines))
    candidate = VwRecipe.of("--ccb_explore_adf").build()
    block = block_of_lines(lines, care="careful", cost="label", dropped=Counter(), noted=Counter())
    broken = replace(block, lines=[*block.lines[:5], BROKEN, *block.lines[6:]])

    played = candidate.play(broken)

    assert np.flatnonzero(np.isnan(played.target)).tolist() == [6, 7, 10, 11]
    assert "2 lines" in list(candidate.findings())[-1].detail


def test_one_slot_of_vw_cannot_be_deployed_either(tmp_path: Path) -> None:
    """With `--ccb_explore_adf` even decisions of one slot are progressive alone."""
    path = write_dsjson(make_events(20, seed=1), tmp_path / "log.json")

    with pytest.raises(InvalidLog) as caught:
        evaluate(DsjsonLog(str(path)), {"vw": "vw --ccb_explore_adf"}, question="deployed")

    assert caught.value.code == "slots"


def test_vw_has_nothing_to_tell_of_no_lines() -> None:
    """Before the first line there is no loss to show."""
    assert list(VwRecipe.of("--cb_explore_adf").build().findings()) == []


def test_options_that_take_too_long_to_try_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial of unusual options ends after its time."""
    monkeypatch.setattr(vw_arguments, "_TRIAL_TIMEOUT_S", 1e-3)

    with pytest.raises(InvalidLog, match="not done after"):
        VwRecipe.of("--cb_explore_adf --coin --nn 3")


@pytest.mark.parametrize(("question", "code"), [("frozen", "not_frozen"), ("deployed", "slots")])
def test_slots_of_vw_are_progressive_alone(tmp_path: Path, question: Any, code: str) -> None:
    """What fills VW's earlier slots is drawn inside VW unless it learns, so other questions are refused."""
    path = tmp_path / "log.json"
    path.write_bytes(b"\n".join(_slotted_lines(20)))

    with pytest.raises(InvalidLog) as caught:
        evaluate(DsjsonLog(str(path)), {"vw": "vw --ccb_explore_adf"}, question=question)

    assert caught.value.code == code


def test_one_slot_of_vw_is_an_ordinary_decision(tmp_path: Path) -> None:
    """A contextual bandit line given to `--ccb_explore_adf` has one slot."""
    path = write_dsjson(make_events(50, seed=1), tmp_path / "log.json")
    arguments = "--ccb_explore_adf --epsilon 0.2"

    found = evaluate(DsjsonLog(str(path)), {"vw": f"vw {arguments}"})

    assert found.policies["vw"].estimates["ips"].value == pytest.approx(-_driver(path, arguments), abs=1e-5)


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample of real decision-service events is not here")
def test_the_sample_of_real_events_is_valued_as_vw_values_it() -> None:
    """On the real sample five argument strings and three baselines have their reference values."""
    expected = json.loads((SAMPLE / "expected.json").read_text())

    found = evaluate(DsjsonLog(str(SAMPLE / "dsjson_cb.json")), {one: f"vw {one}" for one in expected["vw"]})

    for arguments, reference in expected["vw"].items():
        value = found.policies[arguments].estimates["ips"].value
        assert value == pytest.approx(-reference["average_loss"], abs=1e-5)
    names = {"logged": "online", "baseline1": "baseline1", "uniform": "baselineR"}
    for name, start in names.items():
        reference = next(one for key, one in expected["policies"].items() if key.startswith(start))
        assert found.policies[name].estimates["ips"].value == pytest.approx(reference["ips"], abs=1e-9)
        assert found.policies[name].estimates["snips"].value == pytest.approx(reference["snips"], abs=1e-9)


@pytest.mark.skipif(not REFERENCES.exists(), reason="VW's own test logs are not here")
@pytest.mark.parametrize(("name", "arguments", "loss"), _references(), ids=[one[0] for one in _references()])
def test_vws_own_test_logs_are_valued_as_vw_values_them(name: str, arguments: str, loss: float) -> None:
    """On each of VW's own test logs the value is minus VW's average loss (its sum is known to four digits)."""
    found = evaluate(DsjsonLog(str(REFERENCES.parent / name), "label"), {"vw": f"vw {arguments}"})

    assert found.policies["vw"].estimates["ips"].value == pytest.approx(-loss, abs=6e-5)
