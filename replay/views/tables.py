"""An evaluation as a table."""

import math

import pandas as pd

from replay.results import Estimate, Evaluation

__all__ = ["summary"]


def summary(evaluation: Evaluation) -> pd.DataFrame:
    """Return a row for each candidate and estimator.

    Returns
    -------
    Indexed by `policy` and `estimator`. Columns: `estimated_policy_value`, `relative_estimated_policy_value`
    (÷ the baseline's value by the same estimator), `95.0% CI (lower)` and `(upper)` (with the level that was asked
    for), `method`, `n`, `ess`, `max_weight`, `refused` (why the value is not to be relied on), `lift`, `lift_lower`,
    `lift_upper` (in the row of the estimator that they were made by), `verdict` and `grade`.
    """
    level = f"{100 * float(evaluation.settings.get('level', 0.95)):.1f}% CI"
    base = evaluation.policies[evaluation.baseline].estimates
    rows = []
    for name, result in evaluation.policies.items():
        for estimator, estimate in result.estimates.items():
            lift = result.lift if result.lift is not None and result.lift.estimator == estimator else None
            rows.append(
                {
                    "policy": name,
                    "estimator": estimator,
                    "estimated_policy_value": estimate.value,
                    "relative_estimated_policy_value": _relative(estimate, base.get(estimator)),
                    f"{level} (lower)": estimate.lower,
                    f"{level} (upper)": estimate.upper,
                    "method": estimate.method,
                    "n": estimate.n,
                    "ess": estimate.ess,
                    "max_weight": estimate.max_weight,
                    "refused": estimate.refused,
                    "lift": lift.value if lift else math.nan,
                    "lift_lower": lift.lower if lift else math.nan,
                    "lift_upper": lift.upper if lift else math.nan,
                    "verdict": result.verdict,
                    "grade": result.grade,
                }
            )
    return pd.DataFrame(rows).set_index(["policy", "estimator"])


def _relative(estimate: Estimate, base: Estimate | None) -> float:
    if base is None or base.value == 0.0:
        return math.nan
    return estimate.value / base.value
