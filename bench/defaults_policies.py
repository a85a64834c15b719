"""Who takes part in the comparison of defaults: our policies by their settings, and raw VW by its options."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from vowpalwabbit import pyvw

from policies import Action, Context, FloatArray, Outcome, parse_spec

__all__ = ["ENTRANTS", "OPPONENT", "Entrant", "Player", "RawSquareCb"]

OPPONENT: Final = "raw VW squarecb, floor 0.02"
_RAW: Final = "--cb_explore_adf --squarecb --cb_type mtr -q sa"


class Player(Protocol):
    """As much of a policy as a simulation needs."""

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:
        """Return what would be played now."""

    def learn(self, outcome: Outcome) -> None:
        """Take one outcome in."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A row of the table.

    Attributes
    ----------
    settings
        Of one of our policies; None for raw VW.
    options
        Of raw VW.
    floor
        Of raw VW: share that is spread evenly over the actions.
    by_hand
        Whether it gets numbers that were standardised beforehand, with all rows known.
    """

    name: str
    settings: dict[str, Any] | None = None
    options: str = ""
    floor: float = 0.0
    by_hand: bool = False

    def player(self) -> Player:
        """Make the player, as it is before any outcome."""
        return RawSquareCb(self.options, self.floor) if self.settings is None else parse_spec(self.settings).build()


class RawSquareCb:
    """VW as an expert sets it up without banditd: text in, cost = −reward, a floor, and nothing of ours in between."""

    __slots__ = ("_floor", "_vw")

    def __init__(self, options: str, floor: float) -> None:
        self._vw = pyvw.Workspace(f"--quiet --ring_size 16 --random_seed 1 {options}")
        self._floor = floor

    def probabilities(self, context: Context, actions: Sequence[Action]) -> FloatArray:
        """Return VW's own probabilities, mixed with the floor."""
        raw = pyvw.pylibvw.vw
        lines = raw._parse(self._vw, _text(context, [action.line for action in actions]))  # noqa: SLF001 - the public call takes four times as long
        try:
            raw.predict_multi(self._vw, lines)
            plain = np.array(lines[0].get_action_scores())
        finally:
            raw._finish_example_multi_ex(self._vw, lines)  # noqa: SLF001 - as above
        return (1.0 - self._floor) * plain + self._floor / len(actions)

    def learn(self, outcome: Outcome) -> None:
        """Learn from the label ``0:cost:1``, since squarecb is to take no weights and would take the last action's."""
        raw = pyvw.pylibvw.vw
        actions = [action.line for action in outcome.actions]
        actions[outcome.chosen] = f"0:{-outcome.reward!r}:1.0 {actions[outcome.chosen]}"
        lines = raw._parse(self._vw, _text(outcome.context, actions))  # noqa: SLF001 - as above
        try:
            raw.learn_multi(self._vw, lines)
        finally:
            raw._finish_example_multi_ex(self._vw, lines)  # noqa: SLF001 - as above


def _text(context: Context, actions: Sequence[str]) -> str:
    return "\n".join([f"shared {context.line}", *actions])


def _ours(name: str, kind: str, **settings: Any) -> Entrant:
    return Entrant(name, settings={"kind": kind, **settings})


ENTRANTS: Final = (
    Entrant(OPPONENT, options=_RAW, floor=0.02),
    Entrant("raw VW squarecb, standardised by hand", options=_RAW, floor=0.02, by_hand=True),
    _ours("`vw`", "vw"),
    _ours("`vw`, numbers plain", "vw", numbers="plain"),
    _ours("`vw`, gamma_scale 5", "vw", gamma_scale=5),
    _ours("`vw`, gamma_scale 30", "vw", gamma_scale=30),
    _ours("`vw`, gamma_scale 100", "vw", gamma_scale=100),
    _ours("`vw`, learning_rate 0.5", "vw", learning_rate=0.5),
    _ours("`vw`, learning_rate 2", "vw", learning_rate=2),
    _ours("`vw`, options --coin", "vw", options="--coin"),
    _ours("`vw`, epsilon 0.000001", "vw", epsilon=1e-6),
    _ours("`vw`, epsilon 0.01", "vw", epsilon=0.01),
    _ours("`vw`, epsilon 0.02", "vw", epsilon=0.02),
    _ours("`vw`, epsilon 0.05", "vw", epsilon=0.05),
    _ours("`vw` epsilon 0.02", "vw", exploration="epsilon", epsilon=0.02),
    _ours("`vw` epsilon 0.05", "vw", exploration="epsilon", epsilon=0.05),
    _ours("`vw` softmax", "vw", exploration="softmax"),
    _ours("`vw` regcb, mellowness 0.001", "vw", exploration="regcb", mellowness=0.001),
    _ours("`vw` cover 4, dr, psi 0.1", "vw", exploration="cover", cb_type="dr", n_models=4, psi=0.1),
    _ours("`vw` bag 4, greedify", "vw", exploration="bag", n_models=4, greedify=True),
    _ours("`vw` rnd", "vw", exploration="rnd"),
    _ours("`vw` synthcover", "vw", exploration="synthcover"),
    _ours("`thompson` linear", "thompson", model="linear"),
    _ours("`ucb` linear", "ucb", model="linear"),
    _ours("`epsilon_greedy` linear", "epsilon_greedy", model="linear", epsilon=0.05),
    _ours("`thompson` gaussian, no context", "thompson", model="gaussian"),
)
