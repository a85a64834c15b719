"""Many candidates at once, without the winner's curse.

The best of many estimates is too good: of policies that are all alike, the luckiest wins. So candidates are compared on
the first part of the log, and the winner alone is evaluated once more on the rest, which had no part in the choice. It
goes on learning there from where it was.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from replay.candidates import Given
from replay.errors import InvalidLog
from replay.evaluation import Asking, Run, evaluated, survey
from replay.results import Evaluation
from replay.tasks import Engine, Progress

__all__ = ["Sweep", "expand", "sweep"]

_MOST: Final = 1_000  # candidates

Choice = Literal["value", "lift_lower"]


@dataclass(frozen=True, slots=True)
class Sweep:
    """What came of a sweep.

    Attributes
    ----------
    winner
        Name of the candidate that was best on the first part; "" if none had an estimate.
    n_tried
        Candidates that were compared, without the baselines.
    compared
        All of them on the first part: what the winner says there is too good.
    confirmed
        The winner and the baselines on the rest: what to believe.
    """

    winner: str
    n_tried: int
    compared: Evaluation
    confirmed: Evaluation


def sweep(  # noqa: PLR0913 - as `evaluate`
    log: Any,
    policies: Mapping[str, Given],
    *,
    baseline: str = "logged",
    estimators: Sequence[str] | None = None,
    choose_by: Choice = "value",
    split: float = 0.7,
    reward_model: str = "auto",
    reward_range: tuple[float, float] | None = None,
    interval: str = "auto",
    level: float = 0.95,
    per_segment: bool = False,
    workers: int = 1,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Compare candidates on the first part of a log, and confirm the best on the rest.

    Parameters
    ----------
    log, baseline, estimators, reward_model, reward_range, interval, level, per_segment, workers, engine, progress
        As of `replay.evaluate`.
    policies
        By name; `expand` makes them from a table.
    choose_by
        The estimate that lifts are measured by, or the lower end of the paired lift.
    split
        Share of the events, from the first, on which candidates are compared.

    Raises
    ------
    InvalidLog
        As `replay.evaluate`; or there are no candidates, or too many.
    """
    if not 1 <= len(policies) <= _MOST:
        raise InvalidLog("grid_size", "policies", f"must hold 1 to {_MOST} candidates, not {len(policies)}")
    if not 0.0 < split < 1.0:
        raise InvalidLog("split_out_of_range", "split", f"must lie between 0 and 1, not {split!r}")
    asked = Asking(
        baseline=baseline,
        estimators=estimators,
        reward_model=reward_model,
        reward_range=reward_range,
        interval=interval,
        level=level,
        per_segment=per_segment,
    )
    asked.check()
    recipes = asked.recipes(log, policies)
    plan = asked.plan(log, recipes)
    first = math.floor(split * survey(log, plan)[0])
    run = Run(workers=workers, engine=engine, progress=progress)
    stated: dict[str, Any] = {"split": split, "split_at_event": first, "n_tried": len(policies)}
    compared = evaluated(log, recipes, asked, replace(plan, stop_at=first), run=run, stated={**stated, "part": "first"})
    winner = _best(compared, list(policies), plan.lift, choose_by)
    kept = {name: recipe for name, recipe in recipes.items() if name not in policies or name in (winner, baseline)}
    stated |= {"part": "rest", "winner": winner}
    confirmed = evaluated(log, kept, asked, replace(plan, score_from=first), run=run, stated=stated)
    return Sweep(winner, len(policies), compared, confirmed)


def expand(table: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return one spec for each combination of the alternatives in a table, by names that say what differs.

    A list is a list of alternatives, as in ``{"kind": "epsilon_greedy", "epsilon": [0.05, 0.1]}``; a setting that is a
    list itself stands in a list of its own.

    Raises
    ------
    InvalidLog
        There are too many combinations, or a list is empty.
    """
    alternatives = {name: value if isinstance(value, list) else [value] for name, value in table.items()}
    n = math.prod(len(values) for values in alternatives.values())
    if not 1 <= n <= _MOST:
        raise InvalidLog("grid_size", "grid", f"must have 1 to {_MOST} combinations, not {n}")
    varied = [name for name, values in alternatives.items() if len(values) > 1]
    specs = [dict(zip(alternatives, values, strict=True)) for values in itertools.product(*alternatives.values())]
    kind = str(table.get("kind", "policy"))
    return {" ".join(f"{name}={spec[name]}" for name in varied) if varied else kind: spec for spec in specs}


def _best(evaluation: Evaluation, names: Sequence[str], lift: str, choose_by: Choice) -> str:
    """Return the name of the best candidate; the first of those that are alike; "" if none has an estimate."""
    scores: dict[str, float] = {}
    for name in names:
        result = evaluation.policies[name]
        by_lift = result.lift.lower if result.lift is not None else 0.0
        score = result.estimates[lift].value if choose_by == "value" else by_lift
        if not math.isnan(score) and not result.estimates[lift].refused:
            scores[name] = score
    return max(scores, key=scores.__getitem__, default="")
