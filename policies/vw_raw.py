"""VW through its raw calls, and its model as canonical bytes.

The raw calls have underscore names, so the package is pinned to one exact version; a test
holds them to the probabilities of its public calls, which cost three to five times as much.
They come with rules that only this module has to know:

- what `_parse` returned must go back through `_finish_example_multi_ex` once, whatever happened
  in between, or 32 KB a line leak;
- a model that is cut short loads without an error, so that it is checked before and after;
- VW saves to a file alone, and by renaming: it writes only into a private directory made for it.

Model file of VW 9.11.9, as far as it is read here (little-endian; i4/i8: unsigned, f4/f8: float):

==========================  =======================================================================
i4 length, version, NUL     ``9.11.9``
i4 length, id, NUL          empty
``m``                       a model
f4, f4, i4                  least and largest label; bits
i4, i4, i4                  lda, ngrams, skips: 0
i4 length, options, NUL     the options that VW keeps
i4 = 4, i4                  checksum of all the above
i8                          outcomes learned (squarecb alone)
i8, i8                      outcomes learned; actions in them
b1 = 1, f4                  that learning can resume; initial t
f8                          norm normalizer
f8                          **t**: calls, of predict too
f8, f8, f4, f4, f4          losses; dump interval; least and largest label again
f8, f8                      outcomes learned; sum of labels (0 here)
f8, i8, i8                  **predict calls; calls; features seen in all calls**
f8, f8, i8                  total weight; older outcomes, passes: 0
f8, f8                      l1 state 0, l2 state 1
…                           i4 index and its floats for each weight that is not 0
==========================  =======================================================================

The bold fields count calls of predict. Nothing that is learned or predicted depends on them
(t matters to updates that are not adaptive; ours are), so `canonical` writes what they would be
without any predict, and 0 for the features.
"""

import struct
import tempfile
from typing import Any

from vowpalwabbit import Workspace

from policies.errors import StateInvalid

__all__ = ["RawVw", "canonical"]

_VERSION = b"9.11.9\x00"
_SCRATCH = "/dev/shm"  # noqa: S108 - only the parent of a fresh 0700 directory; in memory, and there in read-only images

_LENGTH = struct.Struct("<I")
_FIXED = struct.Struct("<cffIIII")
_CHECKSUM = struct.Struct("<II")
_COUNTER = struct.Struct("<Q")
_MTR = struct.Struct("<QQ")
_ONLINE = struct.Struct("<?fddddfffdddQQddQdd")


class RawVw:
    """One VW workspace; not for several threads, and freed with its last reference.

    Parameters
    ----------
    arguments
        VW options; trusted text, never a client's.
    model
        What `save` returned for the same arguments; None starts untrained.

    Raises
    ------
    StateInvalid
        VW refuses the model.
    """

    __slots__ = ("_finish", "_learn", "_parse", "_predict", "_workspace")

    def __init__(self, arguments: str, *, model: bytes | None = None) -> None:
        workspace = Workspace(arguments) if model is None else _loaded(arguments, model)
        self._workspace: Any = workspace
        self._parse: Any = workspace._parse  # noqa: SLF001 - the raw calls that this module is for
        self._predict: Any = workspace.predict_multi
        self._learn: Any = workspace.learn_multi
        self._finish: Any = workspace._finish_example_multi_ex  # noqa: SLF001 - see above

    def predict(self, text: str) -> list[float]:
        """Return the probabilities of the action lines of `text`, in their order."""
        examples = self._parse(text)
        try:
            self._predict(examples)
            scores: list[float] = examples[0].get_action_scores()
        finally:
            self._finish(examples)
        return scores

    def learn(self, text: str) -> None:
        """Learn from `text`, one action line of which carries a label."""
        examples = self._parse(text)
        try:
            self._learn(examples)
        finally:
            self._finish(examples)

    def save(self) -> bytes:
        """Return the model file as VW writes it; see `canonical`."""
        with _scratch() as folder:
            path = f"{folder}/model"
            self._workspace.save(path)
            return _read(path)


def canonical(model: bytes, *, n_outcomes: int) -> bytes:
    """Return a model file without its counts of predict calls.

    Raises
    ------
    StateInvalid
        The file is not laid out as this version's are, or learned from another number of outcomes.
    """
    try:
        start, fields, end = _online_state(model, n_outcomes)
    except (struct.error, ValueError) as error:
        raise StateInvalid(f"not a VW model of the expected layout: {error}") from None
    resumes, initial_t, norm, _, *losses_and_labels = fields[:11]
    n_calls = float(n_outcomes)
    masked = (resumes, initial_t, norm, n_calls, *losses_and_labels, 0.0, n_outcomes, 0, *fields[14:])
    return model[:start] + _ONLINE.pack(*masked) + model[end:]


def _online_state(model: bytes, n_outcomes: int) -> tuple[int, tuple[Any, ...], int]:
    """Return where the online state lies and what it holds, having checked every field of known value."""
    version, at = _text(model, 0)
    name, at = _text(model, at)
    kind, low, high, bits, *rest = _FIXED.unpack_from(model, at)
    options, at = _text(model, at + _FIXED.size)
    checksum_bytes, _ = _CHECKSUM.unpack_from(model, at)
    at += _CHECKSUM.size
    _check("header", (version, name, kind, rest, checksum_bytes), (_VERSION, b"\x00", b"m", [0, 0, 0], 4))
    if b" --squarecb" in options:
        _check("squarecb counter", _COUNTER.unpack_from(model, at), (n_outcomes,))
        at += _COUNTER.size
    n_events, n_actions = _MTR.unpack_from(model, at)
    at += _MTR.size
    fields = _ONLINE.unpack_from(model, at)
    end = at + _ONLINE.size
    n_predicts = fields[11]
    _check("outcome counts", (n_events, fields[9]), (n_outcomes, n_outcomes))
    _check("call counts", (fields[3], fields[12]), (n_outcomes + n_predicts, n_outcomes + n_predicts))
    _check("label ranges", fields[7:9], (low, high))
    _check("constants", (fields[0], *fields[15:]), (True, 0.0, 0, 0.0, 1.0))
    _check("action count", n_actions >= n_events, True)  # noqa: FBT003 - the value that is expected
    _check("weights", (len(model) - end) % 16, 0)  # index, weight, adaptive and normalized state: 4 bytes each
    _check("first weight", len(model) == end or _LENGTH.unpack_from(model, end)[0] < 1 << bits, True)  # noqa: FBT003
    return at, fields, end


def _text(model: bytes, at: int) -> tuple[bytes, int]:
    (length,) = _LENGTH.unpack_from(model, at)
    start = at + _LENGTH.size
    return model[start : start + length], start + length


def _check(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise ValueError(f"{what}: {found!r}, not {expected!r}")


def _loaded(arguments: str, model: bytes) -> Any:
    with _scratch() as folder:
        path = f"{folder}/model"
        with open(path, "xb") as file:  # noqa: PTH123 - policies never imports pathlib's real paths
            file.write(model)
        try:
            return Workspace(f"{arguments} --initial_regressor {path}")
        except RuntimeError as error:
            raise StateInvalid(f"VW refuses the model: {error}") from None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - see `_loaded`
        return file.read()


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Make a directory that only this user can enter; removed, with all that is in it, on leaving."""
    try:
        return tempfile.TemporaryDirectory(prefix="banditd-", dir=_SCRATCH)
    except OSError:  # no such place, or not for us
        return tempfile.TemporaryDirectory(prefix="banditd-")
