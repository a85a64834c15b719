"""VW's model file as canonical bytes: what it holds, without how often it was asked.

Model file of VW 9.11.9, as far as it is read here (little-endian; i4/i8: unsigned, f4/f8: float; m: the
number of models in it, more than one for bag, cover, rnd, ``--cb_type dr`` and ``--nn``):

==========================  =======================================================================
i4 length, version, NUL     ``9.11.9``
i4 length, id, NUL          empty
``m``                       a model
f4, f4, i4                  least and largest label; bits
i4, i4, i4                  lda, ngrams, skips
i4 length, options, NUL     the options that VW keeps, and the state of its random generator
i4 = 4, i4                  checksum of all the above
i8                          outcomes learned: squarecb, regcb and regcbopt alone
…                           what else the reductions keep; with ``--marginal`` it grows
b1 = 1, f4                  that learning can resume; initial t
m × f8                      norm normalizer
f8                          **t**: calls, of predict too
f8, f8, f4, f4, f4          losses; dump interval; least and largest label again
f8, f8                      outcomes learned; sum of labels
f8, i8, i8                  **predict calls; calls; features seen in all calls**
m × f8, f8, i8              total weight; older outcomes, passes: 0
f8, f8                      l1 state, l2 state
…                           i4 index and its floats for each weight that is not 0
==========================  =======================================================================

The bold fields count calls of predict. Nothing that is learned or predicted depends on them
(t matters to updates that are not adaptive; ours are), so `canonical` writes what they would be
without any predict, and 0 for the features. Where the block with them begins is measured once per
set of options, on an untrained model, where it comes last.
"""

import functools
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from policies.errors import StateInvalid
from policies.vw_raw import RawVw

__all__ = ["Layout", "canonical", "layout_of", "with_clock", "with_steps"]

_VERSION = b"9.11.9\x00"
_LENGTH = struct.Struct("<I")
_FIXED = struct.Struct("<cffIIII")
_CHECKSUM = struct.Struct("<II")
_CLOCK = struct.Struct("<Q")
_CLOCKED = (b" --squarecb", b" --regcb")
_WEIGHT = np.dtype([("index", "<u4"), ("weight", "<f4"), ("squares", "<f4"), ("norm", "<f4")])
_N_OUTCOMES_AT = 9  # of the fields of a block of one model; each further model adds one before it


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of one set of options keep what counts calls.

    Attributes
    ----------
    offset
        Bytes from the end of the header to the block of the table above that begins with ``b1 = 1``, as long as
        nothing grows before it.
    n_models
        m in that table.
    """

    offset: int
    n_models: int

    @property
    def block(self) -> struct.Struct:
        """The fields of that block."""
        return _block(self.n_models)


@functools.lru_cache(maxsize=256)
def layout_of(arguments: str) -> Layout:
    """Return the layout of the model files of a set of options.

    Raises
    ------
    StateInvalid
        An untrained model is not laid out like the table above.
    """
    model = RawVw(arguments).save()
    _, end = _header(model)
    n_models = 1
    while (start := len(model) - _block(n_models).size) >= end:
        try:
            _counts(model, start, n_models, n_outcomes=0)
        except ValueError:
            n_models += 1
        else:
            return Layout(start - end, n_models)
    raise StateInvalid("not a VW model of the expected layout: an untrained one does not end with its counts")


def canonical(model: bytes, layout: Layout, *, n_outcomes: int, clock: int) -> bytes:
    """Return a model file without its counts of predict calls.

    Parameters
    ----------
    n_outcomes
        Outcomes that the model learned.
    clock
        Outcomes that squarecb or regcb counts.

    Raises
    ------
    StateInvalid
        The file is not laid out as this version's are, or learned from another number of outcomes.
    """
    try:
        options, end = _header(model)
        if _is_clocked(options):
            _check("clock", _CLOCK.unpack_from(model, end), (clock,))
        start = _find(model, end, layout, n_outcomes)
        fields = _counts(model, start, layout.n_models, n_outcomes=n_outcomes)
        _check("bytes past the last whole number", (len(model) - start - layout.block.size) % 4, 0)
    except (struct.error, ValueError) as error:
        raise StateInvalid(f"not a VW model of the expected layout: {error}") from None
    t, labeled = layout.n_models + 2, layout.n_models + _N_OUTCOMES_AT - 1
    fields[t] = float(n_outcomes)
    fields[labeled + 2 : labeled + 5] = [0.0, n_outcomes, 0]
    return model[:start] + layout.block.pack(*fields) + model[start + layout.block.size :]


def with_clock(model: bytes, clock: int) -> bytes:
    """Return a model whose squarecb or regcb counts `clock` outcomes; one without such a count as it is."""
    options, end = _header(model)
    if not _is_clocked(options):
        return model
    return model[:end] + _CLOCK.pack(clock) + model[end + _CLOCK.size :]


def with_steps(model: bytes, layout: Layout, *, n_outcomes: int, share: float) -> bytes:
    """Return a model that steps as if its weights had come from `share` of its outcomes.

    A step is learning rate ÷ √(sum of squared gradients of the weight), with VW's default updates alone.
    """
    _, end = _header(model)
    start = _find(model, end, layout, n_outcomes) + layout.block.size
    weights = np.frombuffer(model[start:], dtype=_WEIGHT).copy()
    weights["squares"] *= np.float32(share)
    return model[:start] + weights.tobytes()


def _is_clocked(options: bytes) -> bool:
    return any(word in options for word in _CLOCKED)


@functools.cache
def _block(n_models: int) -> struct.Struct:
    return struct.Struct(f"<?f{n_models}dddd3fdddQQ{n_models}ddQdd")


def _header(model: bytes) -> tuple[bytes, int]:
    """Return the options in a file and where its header ends."""
    try:
        version, at = _text(model, 0)
        name, at = _text(model, at)
        kind, _, _, _, *rest = _FIXED.unpack_from(model, at)
        options, at = _text(model, at + _FIXED.size)
        checksum_bytes, _ = _CHECKSUM.unpack_from(model, at)
        _check("header", (version, name, kind, rest[0], checksum_bytes), (_VERSION, b"\x00", b"m", 0, 4))
    except (struct.error, ValueError) as error:
        raise StateInvalid(f"not a VW model of the expected layout: {error}") from None
    return options, at + _CHECKSUM.size


def _find(model: bytes, end: int, layout: Layout, n_outcomes: int) -> int:
    """Return where the counts are: at their usual place, or, where something grew before them, further on."""
    usual = end + layout.offset
    if _fits(model, usual, layout, n_outcomes):
        return usual
    into_block = struct.calcsize(f"<?f{layout.n_models}dddd3f")
    pattern = struct.pack("<d", n_outcomes)
    found: list[int] = []
    at = model.find(pattern, usual + into_block)
    while at >= 0:
        if _fits(model, at - into_block, layout, n_outcomes):
            found.append(at - into_block)
        at = model.find(pattern, at + 1)
    if len(found) != 1:
        raise ValueError(f"{len(found)} places look like the counts of {n_outcomes} outcomes")
    return found[0]


def _fits(model: bytes, start: int, layout: Layout, n_outcomes: int) -> bool:
    try:
        _counts(model, start, layout.n_models, n_outcomes=n_outcomes)
    except (struct.error, ValueError):
        return False
    return True


def _counts(model: bytes, start: int, n_models: int, *, n_outcomes: int) -> list[Any]:
    """Return the fields of the block at `start`, having checked every one of known value."""
    fields = list(_block(n_models).unpack_from(model, start))
    t, labeled = n_models + 2, n_models + _N_OUTCOMES_AT - 1
    n_predicts, n_calls = fields[labeled + 2 : labeled + 4]
    _check("first byte", model[start], 1)
    _check("outcome count", fields[labeled], n_outcomes)
    _check("call counts", (fields[t], n_calls), (n_outcomes + n_predicts, n_outcomes + n_predicts))
    _check("constants", (fields[1], fields[t + 3], *fields[-4:-2]), (0.0, 1.0, 0.0, 0))
    if n_outcomes == 0:
        _check("sums before any outcome", any(fields[2:t]) or any(fields[labeled + 5 : -4]), False)  # noqa: FBT003 - the value that is expected
    return fields


def _text(model: bytes, at: int) -> tuple[bytes, int]:
    (length,) = _LENGTH.unpack_from(model, at)
    start = at + _LENGTH.size
    return model[start : start + length], start + length


def _check(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise ValueError(f"{what}: {found!r}, not {expected!r}")
