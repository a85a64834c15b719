"""Try out VW options: read them from standard input, use them, and report on the last line of standard output.

Run in a process of its own (see `policies.vw_options`), since a bad option can end it.
"""

import json
import math
import sys
from dataclasses import asdict, dataclass
from typing import Final

from policies.errors import PolicyError
from policies.vw_model import canonical, layout_of
from policies.vw_raw import RawVw

__all__ = ["Trial", "main", "tried"]

_N_OUTCOMES: Final = 150
_N_LESSONS: Final = 1_000
_N_QUESTIONS: Final = 12
_N_ACTIONS: Final = 12
_LEAST_MARGIN: Final = 0.05  # settings that prefer the better action by less, as a long `first`, say nothing of options
_LEAST_SHARE: Final = 0.01  # of what the settings alone prefer it by
_LONGEST_REPORT: Final = 500  # characters
_PAYS: Final = 0.45  # how often the better of two actions pays 1; the other always pays less, so that medians mislead
_PAYS_LESS: Final = 0.1
_EVENLY: Final = (math.sqrt(5.0) - 1.0) / 2.0  # multiples of it, less whole numbers, fill 0 to 1 evenly


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of using VW options.

    Attributes
    ----------
    problem
        What is wrong with them, in VW's words where it has any; None if they work.
    resumes
        Whether a loaded model went on as the one that was saved.
    """

    problem: str | None
    resumes: bool


def main() -> None:
    """Report on the two texts that come in."""
    settings, options = json.load(sys.stdin)
    sys.stdout.write("\n" + json.dumps(asdict(tried(settings, options))) + "\n")


def tried(settings: str, options: str) -> Trial:
    """Use VW as a policy does: with the options that its settings stand for, and with further ones."""
    arguments = f"{settings} {options}"
    try:
        trial = _used(arguments)
        if trial.problem is None and not _learns(arguments, settings):
            return Trial(
                f"taught in {_N_LESSONS:,} outcomes which of two actions pays more, VW does not prefer it",
                resumes=False,
            )
    except (PolicyError, RuntimeError) as error:
        return Trial(" ".join(str(error).split())[:_LONGEST_REPORT], resumes=False)
    return trial


def _used(arguments: str) -> Trial:
    """Learn and save with several histories of questions, then load and go on."""
    layout = layout_of(arguments)
    silent, asked, busy = RawVw(arguments), RawVw(arguments), RawVw(arguments)
    for i in range(_N_OUTCOMES):
        n_actions = _n_actions(i)
        for k in range(i % 3):
            busy.predict(_text(i + k, _n_actions(i + 1 + 5 * k)))
        for raw in (silent, asked, busy):
            raw.learn(_text(i, n_actions, chosen=i % n_actions))
        scores = asked.predict(_text(i, n_actions))
        if len(scores) != n_actions or not 0.0 < math.fsum(scores) < math.inf or min(scores) < 0.0:
            return Trial(f"VW answered {n_actions} actions with {scores}", resumes=False)
        if busy.predict(_text(i, n_actions)) != scores:
            return Trial("what VW answers depends on what it was asked before", resumes=False)
    counts = {"n_outcomes": _N_OUTCOMES, "clock": _N_OUTCOMES}
    model = canonical(silent.save(), layout, **counts)
    if canonical(busy.save(), layout, **counts) != model:
        return Trial("what VW has learned depends on how often it was asked", resumes=False)
    loaded = RawVw(arguments, model=model)
    if canonical(loaded.save(), layout, **counts) != model:
        return Trial("a saved model does not come back as it was", resumes=False)
    return Trial(None, resumes=_go_on_alike(silent, loaded))


def _go_on_alike(saved: RawVw, loaded: RawVw) -> bool:
    for i in range(_N_OUTCOMES, 2 * _N_OUTCOMES):
        n_actions = _n_actions(i)
        if saved.predict(_text(i, n_actions)) != loaded.predict(_text(i, n_actions)):
            return False
        for raw in (saved, loaded):
            raw.learn(_text(i, n_actions, chosen=i % n_actions))
    return True


def _learns(arguments: str, settings: str) -> bool:
    """Return whether the better of two actions is preferred, as far as it is without the options that are tried."""
    usual = _margin(settings)
    return usual < _LEAST_MARGIN or _margin(arguments) >= _LEAST_SHARE * usual


def _margin(arguments: str) -> float:
    """Return by how much the better of two actions is preferred in the mean, coming first as often as second."""
    raw = RawVw(arguments)
    mean = (_PAYS + _PAYS_LESS) / 2.0
    for i in range(_N_LESSONS):
        reward = float(i * _EVENLY % 1.0 < _PAYS) if i // 2 % 2 else _PAYS_LESS
        raw.learn(_pair(i, better_at=i % 2, chosen=(i + 1 + i // 2) % 2, cost=mean - reward))
    margin = 0.0
    for i in range(_N_QUESTIONS):
        scores = raw.predict(_pair(i, better_at=i % 2))
        margin += scores[i % 2] - scores[1 - i % 2]
    return margin / _N_QUESTIONS


def _pair(i: int, *, better_at: int, chosen: int | None = None, cost: float = 0.0) -> str:
    label = f"0:{cost!r}:0.5 "
    return "\n".join([_shared(i), *((label if k == chosen else "") + _action(int(k != better_at)) for k in range(2))])


def _text(i: int, n_actions: int, *, chosen: int | None = None) -> str:
    """Return made-up VW text; with the one that was chosen it carries a label."""
    offered = [(7 * k + i) % _N_ACTIONS for k in range(n_actions)]
    label = f"0:{math.cos(i + (chosen or 0))!r}:0.2 "
    return "\n".join([_shared(i), *((label if k == chosen else "") + _action(j) for k, j in enumerate(offered))])


def _n_actions(i: int) -> int:
    return 1 + i * 5 % _N_ACTIONS


def _shared(i: int) -> str:
    return f"shared |s device=d{i % 3} hour:{i % 24} |s.user plan=p{i % 2}"


def _action(k: int) -> str:
    return f"|a %id=i{k} price:{k / 4!r} kind=k{k % 2}"
