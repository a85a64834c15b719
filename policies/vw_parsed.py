"""Actions that VW has parsed, kept from one prediction to the next: half the time of a prediction is parsing.

VW turns each line of text into an Example of its own, 32 KB taken from a pool of the workspace. A prediction leaves
the Examples of its actions as they were, so that those of a catalogue can stand in the next one as they are, behind
a context that is parsed anew. What makes that safe:

- To Python an Example is an address. To forget one does not give it back (its memory would be lost), and nothing but
  the last call for it may give it back: what is taken out of the table is in no prediction after that.
- Examples go back the way all others do: behind a context, in a prediction, whose whole list is finished afterwards.
- To finish, VW reads as many Examples back from the end of a list as its first one has predictions, if the last call
  had a label. A list that is shorter than that, or whose first Example still has predictions from another use, then
  ends the process. So what is finished here was predicted with, as it is, in the call before, which had no label; and
  where a call fails nothing is finished: its Examples, and those that are kept, are lost instead.
- An Example is in the table or given back, never both; in between, where an exception could interrupt, it is neither.
- Examples are not to outlive their workspace. `weakref.finalize` holds on to both and gives them back when the table
  goes, be it dropped, collected in a cycle or there at the end of the interpreter.
- They are only predicted with. VW learns from text, as it does without this table.
- An Example may stand in a list once: VW writes into it while it predicts. Requests with equal actions go as text.

That kept actions are played as their text would be holds for VW's own calls and the options that `VwSpec` stands for;
tests hold each of its explorations to it, bit for bit. Further options are never used with this table.
"""

import weakref
from collections.abc import Callable
from typing import Any, Final

__all__ = ["ParsedActions"]

_MOST: Final = 256  # Examples kept: 8 MB of a workspace
_MOST_IN_ALL: Final = 4_096  # in a process: 128 MB
_EMPTY_CONTEXT: Final = "shared |s"
_MOST_CHARACTERS: Final = 1_000  # of a line that is kept: an Example grows with its features
_LOOK_EVERY: Final = 8  # requests that were not found: looking at each would cost a tenth of the prediction


class ParsedActions:
    """The actions that a workspace is asked about again and again, parsed.

    Kept are the actions of a request whose lines were all among the last 256 different ones looked at. So a catalogue
    of at most that many is soon kept whole, in whatever selection and order it is asked about, while actions that
    change at every request, or that come from a larger catalogue, cost a look now and then.

    Parameters
    ----------
    parse, predict, finish
        The raw calls of one workspace; see `policies.vw_raw`.
    """

    __slots__ = (
        "__weakref__",
        "_finish",
        "_kept",
        "_last",
        "_n_missed",
        "_parse",
        "_predict",
        "_seen",
    )

    def __init__(
        self,
        parse: Callable[[str], list[Any]],
        predict: Callable[[list[Any]], None],
        finish: Callable[[list[Any]], None],
    ) -> None:
        self._parse = parse
        self._predict = predict
        self._finish = finish
        self._kept: dict[str, Any] = {}
        # The last lines and their Examples: most often the next are the same, and to compare lists costs least.
        self._last: tuple[list[str], list[Any]] = [], []
        self._seen: set[str] = set()
        self._n_missed = 0
        _TABLES.add(self)
        weakref.finalize(self, _give_back, self._kept, parse, predict, finish)

    def predict(self, shared: str, lines: list[str]) -> list[float] | None:
        """Return the scores of actions, in their order; None if not all of them are kept.

        Parameters
        ----------
        shared
            The line of the context.
        lines
            Those of the actions, without labels; not to be changed afterwards.
        """
        if lines != self._last[0] and not self._find(lines):
            self._n_missed += 1
            if self._n_missed % _LOOK_EVERY == 0:
                self._look(shared, lines)
            return None
        examples = self._parse(shared)
        try:
            self._predict(examples + self._last[1])
        except BaseException:
            self._forget()
            raise
        scores: list[float] = examples[0].get_action_scores()
        self._finish(examples)
        return scores

    def _forget(self) -> None:
        """Lose all that is kept: VW may have been about to change it."""
        self._last = [], []
        self._kept.clear()

    def _find(self, lines: list[str]) -> bool:
        """Return whether all lines are kept and different; their Examples are then those of the last lines."""
        kept = self._kept
        if lines[0] not in kept:  # as all of them where actions are new, and sooner said than by an exception
            return False
        try:
            known = {line: kept[line] for line in lines}
        except KeyError:
            return False
        if len(known) < len(lines):
            return False
        self._last = lines, list(known.values())
        return True

    def _look(self, shared: str, lines: list[str]) -> None:
        """Keep the actions of a request, if all of them were seen before."""
        if len(lines) > _MOST or max(map(len, lines)) > _MOST_CHARACTERS:
            return
        different = set(lines)
        if not different <= self._seen:
            if len(self._seen | different) > _MOST:
                self._seen.clear()
            self._seen |= different
            return
        if len(self._kept.keys() | different) > _MOST:
            self._last = [], []
            _give_back(self._kept, self._parse, self._predict, self._finish)
        new = [line for line in dict.fromkeys(lines) if line not in self._kept]
        if new and sum(len(table._kept) for table in _TABLES) + len(new) <= _MOST_IN_ALL:  # noqa: SLF001 - of this class
            self._keep(shared, new)

    def _keep(self, shared: str, lines: list[str]) -> None:
        """Predict for lines as for any others, but finish with the context alone."""
        examples = self._parse("\n".join([shared, *lines]))
        self._predict(examples)
        if len(examples) == 1 + len(lines):
            self._finish(examples[:1])
            self._kept.update(zip(lines, examples[1:], strict=True))
        else:
            self._finish(examples)


_TABLES: Final[weakref.WeakSet[ParsedActions]] = weakref.WeakSet()


def _give_back(
    kept: dict[str, Any],
    parse: Callable[[str], list[Any]],
    predict: Callable[[list[Any]], None],
    finish: Callable[[list[Any]], None],
) -> None:
    """Take all Examples out of the table and hand them back to the workspace."""
    if not kept:
        return
    examples = [*parse(_EMPTY_CONTEXT), *kept.values()]
    kept.clear()
    predict(examples)
    finish(examples)
