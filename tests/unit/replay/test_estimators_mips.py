"""Weights of embeddings, on two rows of four actions that a reader can work out."""

import json
import math
from typing import Any

import numpy as np
import pytest

from replay import InvalidLog
from replay.batch import Batch
from replay.estimators import EmbeddedBatch, Mips

# Actions 0 and 1 are of one brand, 2 and 3 of another. By brand the logging policy plays (½, ½) and (0.7, 0.3), the
# target (0.8, 0.2) and (0.1, 0.9); row 0 logged brand 0 and row 1 brand 1: weights 1.6 and 3.
LOGGING = [[0.1, 0.4, 0.25, 0.25], [0.3, 0.4, 0.2, 0.1]]
TARGET = [[0.8, 0.0, 0.1, 0.1], [0.1, 0.0, 0.0, 0.9]]
GROUPS = np.array([7, 7, 9, 9])
CHOSEN = np.array([1, 2])
REWARDS = [1.0, 0.5]


def test_value_is_what_the_definition_gives_by_hand() -> None:
    """The weight of a row is the ratio of how often the two policies play its brand."""
    by = Mips()

    by.add_embedded(EmbeddedBatch.of_groups(REWARDS, LOGGING, TARGET, groups=GROUPS, chosen=CHOSEN))

    assert by.value == pytest.approx((1.6 * 1.0 + 3.0 * 0.5) / 2)
    assert by.sums.used.largest == pytest.approx(3.0)


def test_likelihoods_need_not_be_0_or_1() -> None:
    """A stochastic embedding weighs each action by how likely it makes what was logged; only ratios count."""
    likelihood = np.array([[0.6, 0.2, 0.1, 0.1], [0.0, 0.5, 0.5, 0.0]])
    by = Mips()

    by.add_embedded(EmbeddedBatch.of(REWARDS, LOGGING, TARGET, 3.0 * likelihood))

    first = (0.8 * 0.6 + 0.1 * 0.1 + 0.1 * 0.1) / (0.1 * 0.6 + 0.4 * 0.2 + 0.25 * 0.1 + 0.25 * 0.1)
    second = (0.0 * 0.5 + 0.0 * 0.5) / (0.4 * 0.5 + 0.2 * 0.5)
    assert by.value == pytest.approx((first * 1.0 + second * 0.5) / 2)


def test_one_group_an_action_is_ips() -> None:
    """Where the embedding is the action itself, the weights are the plain ones."""
    by, plain = Mips(), Mips()

    by.add_embedded(EmbeddedBatch.of_groups(REWARDS, LOGGING, TARGET, groups=np.arange(4), chosen=CHOSEN))
    plain.add(Batch.of(REWARDS, [0.4, 0.2], [0.0, 0.0]))

    assert by.value == plain.value == 0.0


def test_parts_add_up_to_the_whole() -> None:
    """Two halves add up, with the multiplicity of their rows and groups that differ from row to row."""
    groups = np.array([[7, 7, 9, 9], [1, 1, 1, 2]])
    left, right, whole = Mips(), Mips(), Mips()
    settings = {"groups": groups, "chosen": CHOSEN}
    whole.add_embedded(EmbeddedBatch.of_groups(REWARDS, LOGGING, TARGET, **settings, multiplicity=[1.0, 3.0]))
    for by, row in ((left, slice(0, 1)), (right, slice(1, 2))):
        part = EmbeddedBatch.of_groups(
            REWARDS[row],
            LOGGING[row],
            TARGET[row],
            groups=groups[row],
            chosen=CHOSEN[row],
            multiplicity=[1.0, 3.0][row],
        )
        by.add_embedded(part)

    both = left + Mips().loads(json.loads(json.dumps(right.dumps())))

    assert whole.value == pytest.approx((1.6 * 1.0 + 3 * (0.1 / 0.9) * 0.5) / 4)
    assert both.value == pytest.approx(whole.value, rel=1e-14)


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"logging": [[0.5, 0.5]]}, "length_differs", "logging"),
        ({"target": [[0.5, 0.5], [0.5, 0.5]]}, "length_differs", "likelihood"),
        ({"target": [[0.5, 0.5, 0.5, 1.5]] * 2}, "out_of_range", "target"),
        ({"likelihood": [[-1.0, 1.0, 1.0, 1.0]] * 2}, "out_of_range", "likelihood"),
        ({"likelihood": [[math.nan, 1.0, 1.0, 1.0]] * 2}, "out_of_range", "likelihood"),
        ({"likelihood": [[0.0, 0.0, 0.0, 0.0]] * 2}, "propensity_zero", "logging"),
        ({"rewards": [math.nan, 1.0]}, "not_finite", "rewards"),
    ],
)
def test_rubbish_is_refused_by_name(changed: dict[str, Any], code: str, field: str) -> None:
    """A table of the wrong shape, impossible values, or an embedding that nothing could have produced, is refused."""
    given: dict[str, Any] = {
        "rewards": REWARDS,
        "logging": LOGGING,
        "target": TARGET,
        "likelihood": np.ones((2, 4)),
    } | changed

    with pytest.raises(InvalidLog) as caught:
        EmbeddedBatch.of(**given)

    assert (caught.value.code, caught.value.field) == (code, field)


def test_a_chosen_action_that_is_none_is_refused() -> None:
    """An index beyond the actions is refused by its name."""
    with pytest.raises(InvalidLog) as caught:
        EmbeddedBatch.of_groups(REWARDS, LOGGING, TARGET, groups=GROUPS, chosen=np.array([1, 4]))

    assert (caught.value.code, caught.value.field) == ("out_of_range", "chosen")
