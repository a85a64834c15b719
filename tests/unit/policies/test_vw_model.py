"""The canonical form of VW's model files."""

import re
from typing import Any

import pytest

from policies.errors import StateInvalid
from policies.vw import VwSpec
from policies.vw_exploration import EXPLORATIONS
from policies.vw_model import Layout, canonical, layout_of, with_clock
from policies.vw_raw import RawVw

_TEXT = "shared |s x y:2\n|a i\n|a j\n|a k"
_LESSONS = [
    "shared |s x y:2\n0:-0.5:0.25 |a i\n|a j\n|a k",
    "shared |s z\n|a i\n|a j\n0:1.25:0.5 |a k",
    "shared |s x z\n|a i\n0:-2:1.0 |a j\n|a k",
]
_SPECS = [
    *(
        pytest.param(VwSpec(exploration=name, cb_type=cb_type), id=f"{name}-{cb_type}")
        for name, exploration in EXPLORATIONS.items()
        for cb_type in exploration.cb_types
    ),
    pytest.param(VwSpec(marginal=True), id="marginal"),
]


def _model(n_outcomes: int, arguments: str = "") -> bytes:
    raw = RawVw(arguments or VwSpec().arguments())
    for i in range(n_outcomes):
        raw.learn(_LESSONS[i % 3])
    return raw.save()


def _canonical(model: bytes, n_outcomes: int, arguments: str = "") -> bytes:
    layout = layout_of(arguments or VwSpec().arguments())
    return canonical(model, layout, n_outcomes=n_outcomes, clock=n_outcomes)


@pytest.mark.parametrize("n_outcomes", [0, 1, 12])
@pytest.mark.parametrize("spec", _SPECS)
def test_predicts_change_the_file_but_not_its_canonical_form(spec: VwSpec, n_outcomes: int) -> None:
    """VW writes how often it predicted; the canonical form does not hold that, and holds all the rest."""
    arguments = spec.arguments()
    quiet, busy = RawVw(arguments), RawVw(arguments)
    busy.predict(_TEXT)
    for i in range(n_outcomes):
        quiet.learn(_LESSONS[i % 3])
        for _ in range(300):
            busy.predict(_TEXT)
        busy.learn(_LESSONS[i % 3])

    one, other = quiet.save(), busy.save()

    assert one != other
    assert _canonical(one, n_outcomes, arguments) == _canonical(other, n_outcomes, arguments)
    differing = sum(a != b for a, b in zip(one, _canonical(one, n_outcomes, arguments), strict=True))
    assert differing <= 8  # nothing but the count of features seen


@pytest.mark.parametrize(
    ("settings", "n_models"),
    [
        ({}, 1),
        ({"exploration": "bag", "n_models": 7}, 7),
        ({"exploration": "epsilon", "cb_type": "dr"}, 2),
        ({"exploration": "bag", "n_models": 3, "cb_type": "dr"}, 6),
        ({"exploration": "rnd", "n_models": 3}, 4),
    ],
    ids=str,
)
def test_every_model_of_a_file_has_its_own_counts(settings: dict[str, Any], n_models: int) -> None:
    """How many models a file holds is read off an untrained one."""
    assert layout_of(VwSpec(**settings).arguments()).n_models == n_models


def test_a_model_of_another_number_of_outcomes_is_refused() -> None:
    """The counts in the file must be those of the caller, squarecb's own among them."""
    layout = layout_of(VwSpec().arguments())
    model = _model(1)

    for n_outcomes, clock in ((2, 2), (0, 1), (2, 1), (1, 0)):
        with pytest.raises(StateInvalid):
            canonical(model, layout, n_outcomes=n_outcomes, clock=clock)


def test_the_clock_of_squarecb_can_be_set_back() -> None:
    """What squarecb counts is set without another change; a model that counts nothing stays as it is."""
    plain = VwSpec(exploration="epsilon").arguments()
    layout = layout_of(VwSpec().arguments())
    model = _canonical(_model(12), 12)

    changed = with_clock(model, 5)

    assert canonical(changed, layout, n_outcomes=12, clock=5) == changed
    assert sum(a != b for a, b in zip(model, changed, strict=True)) == 1
    assert with_clock(_model(2, plain), 5) == _model(2, plain)


@pytest.mark.parametrize("cut", [0, 3, 20, 60, 200, 240, 300, -1, -5])
def test_a_model_cut_short_is_refused(cut: int) -> None:
    """VW would load half a model without a word; its canonical form does not exist."""
    with pytest.raises(StateInvalid):
        _canonical(_model(1)[:cut], 1)


def test_a_model_of_another_version_is_refused() -> None:
    """A layout that was never looked at is not masked."""
    with pytest.raises(StateInvalid, match="header"):
        _canonical(_model(0).replace(b"9.11.9", b"9.12.0"), 0)


def test_counts_that_moved_are_found_if_there_is_one_place_alone() -> None:
    """Where something grew before them the counts are searched for, and two places that fit are refused."""
    arguments = VwSpec(exploration="epsilon").arguments()
    layout = layout_of(arguments)
    model = _model(3, arguments)
    earlier = Layout(layout.offset - 4, 1)

    assert canonical(model, earlier, n_outcomes=3, clock=3) == canonical(model, layout, n_outcomes=3, clock=3)
    with pytest.raises(StateInvalid, match="2 places"):
        canonical(model + _block_of(model, layout), earlier, n_outcomes=3, clock=3)


def _block_of(model: bytes, layout: Layout) -> bytes:
    found = re.search(rb"--random_seed \d+\x00", model)
    assert found is not None
    start = found.end() + 8 + layout.offset
    return model[start : start + layout.block.size]


def test_options_whose_files_are_laid_out_otherwise_have_no_layout() -> None:
    """Where steps are not adaptive an untrained model holds other numbers, and is not masked."""
    with pytest.raises(StateInvalid, match="does not end with its counts"):
        layout_of(VwSpec().arguments() + " --sgd")
