"""VW through its raw calls.

The raw calls have underscore names, so the package is pinned to one exact version; a test
holds them to the probabilities of its public calls, which cost three to five times as much.
They come with rules that only this module has to know:

- what `_parse` returned must go back through `_finish_example_multi_ex` once, whatever happened
  in between, or 32 KB a line leak;
- VW saves to a file alone, and by renaming: it writes only into a private directory made for it;
- a saved model holds the state of VW's random generator as its ``--random_seed``, and must be loaded with
  that very number: any other is refused, and without it learning would go on differently.
"""

import re
import tempfile
from typing import Any, Final

from vowpalwabbit import Workspace

from policies.errors import StateInvalid
from policies.vw_parsed import ParsedActions

__all__ = ["RawVw"]

_SCRATCH = "/dev/shm"  # noqa: S108 - only the parent of a fresh 0700 directory; in memory, and there in read-only images
_FIRST_SEED: Final = "1"
_SEED = re.compile(rb" --random_seed (\d{1,20})")


class RawVw:
    """One VW workspace; not for several threads, and freed with its last reference.

    Parameters
    ----------
    arguments
        VW options without ``--random_seed``; trusted text, never a client's.
    model
        What `save` returned for the same arguments; None starts untrained.

    Raises
    ------
    StateInvalid
        VW refuses the model.
    """

    __slots__ = ("_finish", "_learn", "_parse", "_parsed", "_predict", "_workspace")

    def __init__(self, arguments: str, *, model: bytes | None = None) -> None:
        workspace = _started(arguments, _FIRST_SEED) if model is None else _loaded(arguments, model)
        self._workspace: Any = workspace
        self._parse: Any = workspace._parse  # noqa: SLF001 - the raw calls that this module is for
        self._predict: Any = workspace.predict_multi
        self._learn: Any = workspace.learn_multi
        self._finish: Any = workspace._finish_example_multi_ex  # noqa: SLF001 - see above
        self._parsed = ParsedActions(self._parse, self._predict, self._finish)

    def predict(self, text: str) -> list[float]:
        """Return the scores of the action lines of `text`, in their order."""
        examples = self._parse(text)
        try:
            self._predict(examples)
            scores: list[float] = examples[0].get_action_scores()
        finally:
            self._finish(examples)
        return scores

    def predict_actions(self, shared: str, lines: list[str]) -> list[float]:
        """Return what `predict` returns for a context and actions, sooner where VW has parsed those actions before.

        Not for free options, which may make VW change what it predicts with; see `policies.vw_parsed`.
        """
        scores = self._parsed.predict(shared, lines)
        return self.predict("\n".join([shared, *lines])) if scores is None else scores

    def learn(self, text: str) -> None:
        """Learn from `text`, one action line of which carries a label."""
        examples = self._parse(text)
        try:
            self._learn(examples)
        finally:
            self._finish(examples)

    def save(self) -> bytes:
        """Return the model file as VW writes it; see `policies.vw_model`."""
        with _scratch() as folder:
            path = f"{folder}/model"
            self._workspace.save(path)
            return _read(path)


def _started(arguments: str, seed: str) -> Any:
    return Workspace(f"{arguments} --random_seed {seed}")


def _loaded(arguments: str, model: bytes) -> Any:
    found = _SEED.search(model)
    if found is None:
        raise StateInvalid("the VW model does not say how its random generator goes on")
    with _scratch() as folder:
        path = f"{folder}/model"
        with open(path, "xb") as file:  # noqa: PTH123 - policies never imports pathlib's real paths
            file.write(model)
        try:
            return _started(f"{arguments} --initial_regressor {path}", found.group(1).decode())
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
