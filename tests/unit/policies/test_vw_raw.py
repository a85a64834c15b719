"""The raw calls of VW and the canonical form of its model."""

import struct
from pathlib import Path

import pytest
from vowpalwabbit import Workspace

from policies import vw_raw
from policies.errors import StateInvalid
from policies.vw import VwSpec
from policies.vw_raw import RawVw, canonical

_TEXT = "shared |s x y:2\n|a i\n|a j\n|a k"
_LESSONS = [
    "shared |s x y:2\n0:-0.5:0.25 |a i\n|a j\n|a k",
    "shared |s z\n|a i\n|a j\n0:1.25:0.5 |a k",
    "shared |s x z\n|a i\n0:-2:1.0 |a j\n|a k",
]
_EXPLORATIONS = ["squarecb", "epsilon", "softmax"]


@pytest.mark.parametrize("exploration", _EXPLORATIONS)
def test_raw_calls_give_the_probabilities_of_the_public_ones(exploration: str) -> None:
    """Through the underscore names VW learns and predicts bit for bit what it does through its documented ones."""
    arguments = VwSpec(exploration=exploration).arguments()
    raw = RawVw(arguments)
    public = Workspace(arguments)

    for i in range(50):
        lesson = _LESSONS[i % 3]
        raw.learn(lesson)
        public.learn(lesson)

        assert raw.predict(_TEXT) == public.predict(_TEXT)
    assert raw.predict(_TEXT) != RawVw(arguments).predict(_TEXT)


def test_a_refused_text_leaves_the_workspace_usable() -> None:
    """After VW raised in the middle of a call, the next call answers as if nothing had been."""
    raw, untouched = RawVw(VwSpec().arguments()), RawVw(VwSpec().arguments())
    raw.learn(_LESSONS[0])
    untouched.learn(_LESSONS[0])

    with pytest.raises(RuntimeError):
        raw.learn("shared |s x\n0:1:0.5 |a i\n0:1:0.5 |a j")
    with pytest.raises(RuntimeError):
        raw.predict("shared |s x\n0:1:0.5 |a i\n0:1:0.5 |a j")

    assert raw.predict(_TEXT) == untouched.predict(_TEXT)
    raw.learn(_LESSONS[1])
    untouched.learn(_LESSONS[1])
    assert raw.predict(_TEXT) == untouched.predict(_TEXT)


@pytest.mark.parametrize("exploration", _EXPLORATIONS)
def test_predicts_change_the_file_but_not_its_canonical_form(exploration: str) -> None:
    """VW writes how often it predicted; the canonical form does not hold that, and holds all the rest."""
    arguments = VwSpec(exploration=exploration).arguments()
    quiet, busy = RawVw(arguments), RawVw(arguments)
    for lesson in _LESSONS:
        quiet.learn(lesson)
        for _ in range(300):
            busy.predict(_TEXT)
        busy.learn(lesson)

    one, other = quiet.save(), busy.save()

    assert one != other
    assert canonical(one, n_outcomes=3) == canonical(other, n_outcomes=3)
    differing = sum(a != b for a, b in zip(one, canonical(one, n_outcomes=3), strict=True))
    assert differing <= 8  # nothing but the count of features seen


def test_a_model_of_another_number_of_outcomes_is_refused() -> None:
    """The counts in the file must be those of the caller."""
    raw = RawVw(VwSpec().arguments())
    raw.learn(_LESSONS[0])

    with pytest.raises(StateInvalid, match="squarecb counter"):
        canonical(raw.save(), n_outcomes=2)


@pytest.mark.parametrize("cut", [0, 3, 20, 60, 200, 240, 300, -1, -5])
def test_a_model_cut_short_is_refused(cut: int) -> None:
    """VW would load half a model without a word; its canonical form does not exist."""
    raw = RawVw(VwSpec().arguments())
    raw.learn(_LESSONS[0])

    with pytest.raises(StateInvalid):
        canonical(raw.save()[:cut], n_outcomes=1)


def test_a_model_of_another_version_is_refused() -> None:
    """A layout that was never looked at is not masked."""
    raw = RawVw(VwSpec().arguments())

    with pytest.raises(StateInvalid, match="header"):
        canonical(raw.save().replace(b"9.11.9", b"9.12.0"), n_outcomes=0)


def test_a_model_that_vw_refuses_is_state_invalid() -> None:
    """What VW raises on loading comes out as `StateInvalid`."""
    arguments = VwSpec().arguments()
    model = RawVw(arguments).save()
    wrong_bits = model.replace(struct.pack("<I", 18), struct.pack("<I", 17), 1)

    with pytest.raises(StateInvalid, match="VW refuses"):
        RawVw(arguments, model=wrong_bits)


def test_nothing_is_left_in_the_scratch_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving and loading clean up after themselves."""
    monkeypatch.setattr(vw_raw, "_SCRATCH", str(tmp_path))
    raw = RawVw(VwSpec().arguments())

    RawVw(VwSpec().arguments(), model=raw.save())

    assert list(tmp_path.iterdir()) == []


def test_without_shared_memory_the_usual_temporary_place_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the scratch place does not exist, a model is saved and loaded all the same."""
    monkeypatch.setattr(vw_raw, "_SCRATCH", str(tmp_path / "absent"))
    raw = RawVw(VwSpec().arguments())
    raw.learn(_LESSONS[0])

    loaded = RawVw(VwSpec().arguments(), model=raw.save())

    assert loaded.predict(_TEXT) == raw.predict(_TEXT)
