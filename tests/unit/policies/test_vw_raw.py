"""The raw calls of VW, and its models on their way through a file."""

import struct
from pathlib import Path

import pytest
from vowpalwabbit import Workspace

from policies import vw_raw
from policies.errors import StateInvalid
from policies.vw import VwSpec
from policies.vw_exploration import EXPLORATIONS
from policies.vw_raw import RawVw

_TEXT = "shared |s x y:2\n|a i\n|a j\n|a k"
_LESSONS = [
    "shared |s x y:2\n0:-0.5:0.25 |a i\n|a j\n|a k",
    "shared |s z\n|a i\n|a j\n0:1.25:0.5 |a k",
    "shared |s x z\n|a i\n0:-2:1.0 |a j\n|a k",
]


@pytest.mark.parametrize("exploration", EXPLORATIONS)
def test_raw_calls_give_the_probabilities_of_the_public_ones(exploration: str) -> None:
    """Through the underscore names VW learns and predicts bit for bit what it does through its documented ones."""
    arguments = VwSpec(exploration=exploration).arguments()
    raw = RawVw(arguments)
    public = Workspace(arguments + " --random_seed 1")

    for i in range(50):
        lesson = _LESSONS[i % 3]
        raw.learn(lesson)
        public.learn(lesson)

        assert raw.predict(_TEXT) == public.predict(_TEXT)


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


def test_a_model_that_vw_refuses_is_state_invalid() -> None:
    """What VW raises on loading comes out as `StateInvalid`."""
    arguments = VwSpec().arguments()
    model = RawVw(arguments).save()
    wrong_bits = model.replace(struct.pack("<I", 18), struct.pack("<I", 17), 1)

    with pytest.raises(StateInvalid, match="VW refuses"):
        RawVw(arguments, model=wrong_bits)


def test_a_model_without_a_random_state_is_refused() -> None:
    """A file that does not say how VW's random generator goes on was not saved by `RawVw`."""
    arguments = VwSpec().arguments()
    model = RawVw(arguments).save()

    with pytest.raises(StateInvalid, match="random generator"):
        RawVw(arguments, model=model.replace(b"--random_seed", b"--random_tree"))


def test_a_loaded_bag_draws_on_where_it_was() -> None:
    """The state of VW's random generator is saved and loaded: bag counts lessons as if it had never stopped."""
    arguments = VwSpec(exploration="bag").arguments()
    whole = RawVw(arguments)
    for i in range(30):
        whole.learn(_LESSONS[i % 3])

    resumed = RawVw(arguments, model=whole.save())
    for i in range(30):
        whole.learn(_LESSONS[i % 3])
        resumed.learn(_LESSONS[i % 3])

    assert resumed.save() == whole.save()


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
