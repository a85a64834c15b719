"""From what a user writes to a candidate.

==============================  =======================================================================================
written                         means
==============================  =======================================================================================
``logged``                      what the log did
``baseline1``                   the caller's first eligible action
``uniform``                     every eligible action alike
``vw --cb_explore_adf …``       VW with its own options, on a dsjson log
``column:NAME``                 a column of the log with the candidate's probabilities
``table:FILE[:KEY]``            a table action × slot from a CSV, ``.npy`` or ``.npz`` file
``{kind = "thompson", …}``      a policy of banditd, as in its configuration (a TOML inline table), or its kind alone
``state:FILE``                  a policy of banditd as it was saved, frozen
==============================  =======================================================================================
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from policies.errors import InvalidInput
from policies.protocol import PolicySpec
from policies.registry import KINDS, parse_spec
from policies.spec import BaseSpec
from replay.candidates.policy import PolicyRecipe
from replay.candidates.protocol import Recipe
from replay.candidates.unchanging import Call, Column, First, Logged, Table, Uniform
from replay.candidates.vw_command import VwRecipe
from replay.errors import InvalidLog

__all__ = ["Given", "parse_candidate"]

Given = str | Mapping[str, Any] | PolicySpec | Recipe | Callable[..., Any]

_BASELINES: Final[Mapping[str, type[Any]]] = {"logged": Logged, "baseline1": First, "uniform": Uniform}
_HEAD_BYTES: Final = 24  # of a saved state, before its kind and spec; see policies.state


def parse_candidate(given: Given, *, per_segment: bool = False) -> Recipe:
    """Return the candidate that is meant.

    Parameters
    ----------
    given
        A text as in the table above; the same as a mapping (of the kind ``vw_command`` with its ``arguments`` too); a
        spec; a function of an event that returns probabilities; or a recipe, which is returned as it is.
    per_segment
        Whether a policy of banditd is to be one for each segment of the log, as a server keeps them.

    Raises
    ------
    InvalidLog
        It is none of these; says why.
    """
    if isinstance(given, str):
        return _of_text(given.strip(), per_segment=per_segment)
    if isinstance(given, Mapping):
        return _of_table(given, per_segment=per_segment)
    if isinstance(given, BaseSpec):
        return PolicyRecipe(given, per_segment=per_segment)
    if isinstance(given, (PolicyRecipe, VwRecipe, Logged, First, Uniform, Column, Table, Call)):
        return given
    if callable(given):
        return Call(given)
    raise InvalidLog("unknown_candidate", "policy", f"must be a text, a table, a spec or a function, not {given!r}")


def _of_text(text: str, *, per_segment: bool) -> Recipe:
    head, colon, rest = text.partition(":")
    if text in _BASELINES:
        recipe: Recipe = _BASELINES[text]()
        return recipe
    if text.startswith(("vw ", "--")):
        return VwRecipe.of(text)
    if colon and head in _FILES:
        return _FILES[head](rest)
    if text in KINDS:
        return _of_table({"kind": text}, per_segment=per_segment)
    if text.startswith("{"):
        return _of_table(_inline(text), per_segment=per_segment)
    known = ", ".join([*_BASELINES, "vw --…", *(f"{name}:…" for name in _FILES), *sorted(KINDS)])
    raise InvalidLog("unknown_candidate", "policy", f"must be one of {known}, or a table in braces, not {text[:100]!r}")


def _of_table(table: Mapping[str, Any], *, per_segment: bool) -> Recipe:
    if table.get("kind") == "vw_command":
        arguments = table.get("arguments")
        if set(table) != {"kind", "arguments"} or not isinstance(arguments, str):
            raise InvalidLog("bad_options", "arguments", "must be text, and the only setting of vw_command")
        return VwRecipe.of(arguments)
    try:
        return PolicyRecipe(parse_spec(table), per_segment=per_segment)
    except InvalidInput as error:
        raise InvalidLog(error.code, error.field or "policy", error.detail) from None


def _inline(text: str) -> Mapping[str, Any]:
    """Return a TOML inline table, or the same written as JSON."""
    try:
        return {**tomllib.loads(f"policy = {text}")["policy"]}
    except (tomllib.TOMLDecodeError, KeyError) as error:
        try:
            table = json.loads(text)
        except ValueError:
            raise InvalidLog("bad_table", "policy", f"is neither a TOML inline table nor JSON: {error}") from None
        return {**table}


def _table(place: str) -> Recipe:
    path, _, key = place.partition(":")
    text = f"table:{place}"
    try:
        if path.endswith(".npy"):
            return Table.of(np.load(path, allow_pickle=False), text=text)
        if path.endswith(".npz"):
            with np.load(path, allow_pickle=False) as loaded:
                return Table.of(loaded[_key(loaded, key, text)], text=text)
        return Table.of(np.loadtxt(path, delimiter=",", ndmin=2), text=text)
    except OSError as error:
        raise InvalidLog("file_unreadable", text, f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InvalidLog("not_numbers", text, f"is no table of numbers: {error}") from None


def _key(loaded: Any, key: str, text: str) -> str:
    if key in loaded.files:
        return key
    if not key and len(loaded.files) == 1:
        return str(loaded.files[0])
    raise InvalidLog("unknown_table", text, f"must name one of the tables {', '.join(loaded.files)}: table:FILE:NAME")


def _state(path: str) -> Recipe:
    """Return a policy as `Policy.dumps` wrote it; the file says itself of which spec it is."""
    try:
        state = Path(path).read_bytes()
    except OSError as error:
        raise InvalidLog("file_unreadable", f"state:{path}", f"cannot be read: {error.strerror or error}") from None
    try:
        spec = parse_spec(json.loads(state[_HEAD_BYTES:].split(b"\n", 2)[1]))
    except (IndexError, ValueError, InvalidInput) as error:
        raise InvalidLog("state_invalid", f"state:{path}", f"is no saved state of a policy: {error}") from None
    recipe = PolicyRecipe(spec, state=state)
    recipe.make()
    return recipe


_FILES: Final[Mapping[str, Callable[[str], Recipe]]] = {"column": Column, "table": _table, "state": _state}
