"""Candidates: what users write, and what each would have played."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies import parse_spec
from policies.protocol import FloatArray
from replay.block import Block, block_of
from replay.candidates import (
    Call,
    Column,
    First,
    Logged,
    PolicyRecipe,
    Recipe,
    Table,
    Uniform,
    VwRecipe,
    parse_candidate,
)
from replay.errors import InvalidLog
from replay.events import LoggedAction, LoggedEvent, LoggedSlot
from replay.rejection import Rejection
from tests.replay_worlds import ACTIONS, make_events


def _event(eligible: list[int], chosen: int, vector: list[float] | None = None) -> LoggedEvent:
    slot = LoggedSlot(
        eligible=eligible,
        chosen=chosen,
        propensity=0.5,
        reward=1.0,
        probabilities=None if vector is None else np.array(vector),
    )
    return LoggedEvent("e", {}, [LoggedAction(name) for name in ACTIONS], [slot], 1.0)


def _always_first(event: LoggedEvent) -> list[float]:
    return [1.0] + [0.0] * (len(event.slots[0].eligible) - 1)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        pytest.param("logged", Logged, id="logged"),
        pytest.param("baseline1", First, id="first"),
        pytest.param("uniform", Uniform, id="uniform"),
        pytest.param("column:new", Column, id="column"),
        pytest.param("thompson", PolicyRecipe, id="kind"),
        pytest.param("{kind = 'thompson', discount = 0.99}", PolicyRecipe, id="toml"),
        pytest.param('{"kind": "thompson", "discount": 0.99}', PolicyRecipe, id="json"),
        pytest.param({"kind": "epsilon_greedy"}, PolicyRecipe, id="mapping"),
        pytest.param(parse_spec({"kind": "uniform"}), PolicyRecipe, id="spec"),
        pytest.param("vw --cb_explore_adf --epsilon 0.2", VwRecipe, id="vw"),
        pytest.param("--cb_explore_adf -q ::", VwRecipe, id="vw-bare"),
        pytest.param({"kind": "vw_command", "arguments": "--cb_explore_adf"}, VwRecipe, id="vw-mapping"),
        pytest.param(_always_first, Call, id="function"),
        pytest.param(Uniform(), Uniform, id="recipe"),
    ],
)
def test_what_a_user_writes_is_understood(given: Any, kind: type[Recipe]) -> None:
    """Each way to write a candidate gives the candidate that is meant."""
    recipe = parse_candidate(given)

    assert isinstance(recipe, kind)
    assert recipe.text
    assert recipe.build() is not None


@pytest.mark.parametrize(
    ("given", "code"),
    [
        pytest.param("nonsense", "unknown_candidate", id="word"),
        pytest.param(3, "unknown_candidate", id="number"),
        pytest.param("{kind = ", "bad_table", id="broken-table"),
        pytest.param({"kind": "nonsense"}, "unknown_kind", id="kind"),
        pytest.param({"kind": "thompson", "nonsense": 1}, "unknown_setting", id="setting"),
        pytest.param({"kind": "vw_command"}, "bad_options", id="vw-without-arguments"),
        pytest.param({"kind": "vw_command", "arguments": "--cb_explore_adf", "x": 1}, "bad_options", id="vw-more"),
        pytest.param("vw --cb_explore_adf --final_regressor /tmp/x", "bad_options", id="vw-writes"),
        pytest.param("vw --cb_explore_adf --daemon", "bad_options", id="vw-listens"),
        pytest.param("vw --cb_explore_adf -d file", "bad_options", id="vw-reads"),
        pytest.param("vw --cb_explore_adf ../file", "bad_options", id="vw-positional"),
        pytest.param("vw --epsilon 0.1", "bad_options", id="vw-without-probabilities"),
        pytest.param("vw --cb_explore_adf --bag 0", "bad_options", id="vw-crashes"),
        pytest.param("vw --cb_explore_adf --coin --nonsense", "bad_options", id="vw-unknown"),
        pytest.param("vw --cb_explore_adf " + "--q :: " * 1000, "bad_options", id="vw-long"),
        pytest.param("table:/nowhere.csv", "file_unreadable", id="table-missing"),
        pytest.param("state:/nowhere", "file_unreadable", id="state-missing"),
    ],
)
def test_what_is_no_candidate_is_refused(given: Any, code: str) -> None:
    """What is no candidate, or must not run in an evaluation, is refused by a code that says so."""
    with pytest.raises(InvalidLog) as caught:
        parse_candidate(given)

    assert caught.value.code == code


def test_vw_itself_refuses_values_when_it_starts() -> None:
    """A value that VW refuses is an error of the candidate, not a crash."""
    recipe = VwRecipe.of("vw --cb_explore_adf --epsilon 7")

    with pytest.raises(InvalidLog) as caught:
        recipe.build()

    assert caught.value.code == "bad_options"


def test_baselines_play_the_eligible_actions() -> None:
    """The baselines play the first eligible action, and all eligible ones alike; the log what it logged."""
    block = block_of([_event([1, 3], 3, [0.2, 0.8]), _event([0, 1, 2], 0, [1.0, 0.0, 0.0])])

    first = First().build().play(block, whole="whole")
    uniform = Uniform().build().play(block, whole="whole")
    logged = Logged().build().play(block, whole="whole")

    np.testing.assert_array_equal(first.target, [0.0, 1.0])
    np.testing.assert_array_equal(first.whole, [1, 0, 1, 0, 0])
    np.testing.assert_allclose(uniform.target, [1 / 2, 1 / 3])
    assert uniform.whole is not None
    np.testing.assert_allclose(uniform.whole, [1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_array_equal(logged.target, [0.5, 0.5])
    np.testing.assert_array_equal(logged.whole, [0.2, 0.8, 1.0, 0.0, 0.0])
    assert First().build().play(block).whole is None


def test_the_log_knows_no_whole_distribution_if_one_is_missing() -> None:
    """A block of which one event lacks its distribution has none."""
    block = block_of([_event([1, 3], 3, [0.2, 0.8]), _event([0, 1], 0)])

    assert Logged().build().play(block, whole="whole").whole is None


def test_a_candidate_that_never_learns_can_be_frozen_and_has_nothing_to_tell() -> None:
    """Freezing what never learns changes nothing."""
    candidate = Uniform().build()

    candidate.freeze()

    assert list(candidate.findings()) == []


def test_a_function_is_asked_for_every_event() -> None:
    """A function's probabilities are those of the candidate."""
    block = block_of([_event([1, 3], 3), _event([0, 1, 2], 0)])

    played = Call(_always_first).build().play(block, whole="whole")

    np.testing.assert_array_equal(played.target, [0.0, 1.0])
    np.testing.assert_array_equal(played.whole, [1, 0, 1, 0, 0])
    assert len(Call(_always_first).build().play(block_of([])).target) == 0


@pytest.mark.parametrize(
    ("answer", "code"),
    [([1.0], "length_differs"), ([0.5, 0.4], "not_a_distribution"), ([1.5, -0.5], "not_a_distribution")],
)
def test_a_function_that_gives_no_distribution_is_refused(answer: list[float], code: str) -> None:
    """A function must answer with a distribution over the eligible actions."""
    with pytest.raises(InvalidLog) as caught:
        Call(lambda _: answer).build().play(block_of([_event([1, 3], 3)]))

    assert caught.value.code == code


def _columns(**more: Any) -> Block:
    n = 4
    actions = np.array([0, 1, 2, 1])
    return Block(
        rewards=np.ones(n),
        propensities=np.full(n, 0.5),
        at=np.full(n, np.nan),
        n_events=n,
        n_eligible=np.full(n, 3),
        chosen=actions,
        slot=np.array([0, 1, 0, 0]),
        chosen_id=actions,
        place_propensities=np.full(n, 0.5),
        **more,
    )


def test_a_column_of_the_log_is_a_candidate() -> None:
    """A target column is played as it stands; one that is not there is named, with those that are."""
    block = _columns(targets={"new": np.array([0.1, 0.2, 0.3, 0.4])})

    np.testing.assert_array_equal(Column("new").build().play(block).target, [0.1, 0.2, 0.3, 0.4])
    with pytest.raises(InvalidLog, match="which has new"):
        Column("old").build().play(block)


def test_a_table_is_looked_up_by_action_and_slot() -> None:
    """A table gives the probability of the logged action in its slot, and the whole column."""
    table = Table.of([[0.2, 0.5], [0.3, 0.5], [0.5, 0.0]])

    played = table.build().play(_columns(), whole="whole")

    np.testing.assert_array_equal(played.target, [0.2, 0.5, 0.5, 0.3])
    assert played.whole is not None
    np.testing.assert_array_equal(played.whole[:6], [0.2, 0.3, 0.5, 0.5, 0.5, 0.0])
    np.testing.assert_array_equal(Table.of([0.2, 0.3, 0.5]).build().play(_columns()).target, [0.2, 0.3, 0.5, 0.3])


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([["a"]], "not_numbers"),
        (np.zeros((2, 2, 2)), "shape_invalid"),
        ([], "shape_invalid"),
        ([0.5, 0.4], "not_a_distribution"),
        ([-0.5, 1.5], "not_a_distribution"),
    ],
)
def test_what_is_no_table_of_distributions_is_refused(values: Any, code: str) -> None:
    """A table must hold numbers ≥ 0 whose columns sum to 1."""
    with pytest.raises(InvalidLog) as caught:
        Table.of(values)

    assert caught.value.code == code


@pytest.mark.parametrize("values", [[0.5, 0.5], [[1.0], [0.0]]])
def test_a_table_with_too_few_actions_is_refused(values: Any) -> None:
    """A table that lacks an action of the log is refused, not read beyond its end."""
    with pytest.raises(InvalidLog) as caught:
        Table.of(values).build().play(_columns())

    assert caught.value.code == "table_too_small"


def test_a_table_with_too_few_slots_is_refused() -> None:
    """A table that lacks a slot of the log is refused."""
    block = _columns()
    block.slot[0] = 2

    with pytest.raises(InvalidLog) as caught:
        Table.of(np.full((3, 2), 1 / 3)).build().play(block)

    assert caught.value.code == "table_too_small"


@pytest.mark.parametrize("name", ["table.csv", "table.npy", "table.npz", "table.npz:p"])
def test_tables_are_read_from_files(tmp_path: Path, name: str) -> None:
    """CSV, .npy and .npz files hold tables."""
    values: FloatArray = np.array([[0.25, 0.5], [0.75, 0.5]])
    path = tmp_path / name.partition(":")[0]
    if path.suffix == ".csv":
        np.savetxt(path, values, delimiter=",")
    elif path.suffix == ".npy":
        np.save(path, values)
    else:
        np.savez(path, p=values)

    recipe = parse_candidate(f"table:{tmp_path / name}")

    assert isinstance(recipe, Table)
    np.testing.assert_array_equal(recipe.values, values)


def test_a_file_with_several_tables_must_be_told_which(tmp_path: Path) -> None:
    """An .npz file with several tables needs a name; a file that holds no numbers is refused."""
    np.savez(tmp_path / "t.npz", p=np.ones((1, 1)), q=np.ones((1, 1)))
    (tmp_path / "t.csv").write_text("a,b\n", encoding="utf-8")

    with pytest.raises(InvalidLog) as caught:
        parse_candidate(f"table:{tmp_path / 't.npz'}")
    with pytest.raises(InvalidLog) as other:
        parse_candidate(f"table:{tmp_path / 't.csv'}")

    assert caught.value.code == "unknown_table"
    assert other.value.code == "not_numbers"


def test_a_saved_policy_is_played_frozen(tmp_path: Path) -> None:
    """A saved state is loaded by the spec that it holds, plays what it knew, and learns nothing."""
    spec = parse_spec({"kind": "epsilon_greedy", "epsilon": 0.1})
    policy = spec.build()
    events = make_events(200, seed=1)
    learning = PolicyRecipe(spec).build()
    learning.play(_placed(events))
    (tmp_path / "state").write_bytes(policy.dumps())

    recipe = parse_candidate(f"state:{tmp_path / 'state'}")
    played = recipe.build().play(_placed(events))

    assert not recipe.learns
    assert "as saved" in recipe.text
    np.testing.assert_allclose(played.target, 1 / len(ACTIONS))


@pytest.mark.parametrize("state", [b"nonsense", b"banditd\x01" + b"0" * 16 + b"thompson\n{}\n", b""])
def test_what_is_no_saved_policy_is_refused(tmp_path: Path, state: bytes) -> None:
    """A file that no policy wrote is refused, and so is a damaged one."""
    (tmp_path / "state").write_bytes(state)

    with pytest.raises(InvalidLog) as caught:
        parse_candidate(f"state:{tmp_path / 'state'}")

    assert caught.value.code == "state_invalid"


def test_a_state_of_a_changed_spec_is_refused(tmp_path: Path) -> None:
    """A state whose bytes were changed after it was saved is refused."""
    state = bytearray(parse_spec({"kind": "epsilon_greedy"}).build().dumps())
    state[-1] ^= 1
    (tmp_path / "state").write_bytes(state)

    with pytest.raises(InvalidLog) as caught:
        parse_candidate(f"state:{tmp_path / 'state'}")

    assert caught.value.code == "state_invalid"


def test_a_specs_text_has_every_default() -> None:
    """A report shows a policy's settings, defaults included."""
    text = parse_candidate("epsilon_greedy").text

    assert json.loads(text)["kind"] == "epsilon_greedy"
    assert "epsilon" in json.loads(text)


def test_rejection_refuses_a_constant_that_is_no_probability() -> None:
    """The constant of rejection sampling must lie above 0 and at most at 1."""
    with pytest.raises(InvalidLog):
        Rejection(0.0, seed=1)


def _placed(events: list[LoggedEvent]) -> Block:
    from replay.block import places_of  # noqa: PLC0415 - of this one helper

    return block_of(events, places=[places_of(event) for event in events])
