"""Conditions on an evaluation that a pipeline stops on: ``lift_lower > 0``, ``new.ess >= 1000``."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from replay.errors import InvalidLog
from replay.results import CandidateResult, Evaluation

__all__ = ["Requirement", "parse_requirement"]

_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}
_TEXT: Final = re.compile(
    r"""\s*(?:(?P<policy>.+)\.)?                        # greedy: the name of a policy may have dots
        (?P<field>[a-z][a-z0-9_]*)
        \s*(?P<sign>>=|<=|==|>|<)\s*
        (?P<limit>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one candidate, or on each of them.

    Attributes
    ----------
    text
        As it was written.
    policy
        None: every candidate but the baselines.
    field
        ``lift``, ``lift_lower``, ``lift_upper``, ``lift_relative``, ``ess``, ``max_weight``, ``events``, or an
        estimator's ``value``, ``lower`` or ``upper`` such as ``snips_lower``.
    sign, limit
        What it is compared with.
    """

    text: str
    policy: str | None
    field: str
    sign: str
    limit: float

    def failures(self, evaluation: Evaluation) -> list[str]:
        """Return a sentence for each candidate that does not meet it; a refused or missing number never does.

        Raises
        ------
        InvalidLog
            There is no such policy or field, or nothing that the condition could be asked of.
        """
        if self.policy is not None and self.policy not in evaluation.policies:
            known = ", ".join(evaluation.policies)
            raise InvalidLog("unknown_policy", "require", f"{self.text!r} names no policy; there are {known}")
        names = [self.policy] if self.policy is not None else _asked(evaluation)
        if not names:
            raise InvalidLog("no_policy", "require", f"{self.text!r} has no candidate to be asked of")
        found = {name: self._number(evaluation, evaluation.policies[name]) for name in names}
        return [
            f"{name}: {self.field} is {number:.6g}, not {self.sign} {self.limit:g}"
            if math.isfinite(number)
            else f"{name}: the log has no estimate of {self.field}, so it is not {self.sign} {self.limit:g}"
            for name, number in found.items()
            if math.isnan(number) or not _COMPARE[self.sign](number, self.limit)
        ]

    def _number(self, evaluation: Evaluation, result: CandidateResult) -> float:
        plain = {
            "ess": result.diagnostics.ess,
            "max_weight": result.diagnostics.max_weight,
            "events": float(evaluation.health.events),
        }
        if self.field in plain:
            return plain[self.field]
        if self.field == "lift" or self.field.startswith("lift_"):
            return self._lift(result)
        estimator, _, end = self.field.rpartition("_")
        if end in {"value", "lower", "upper"} and estimator in result.estimates:
            estimate = result.estimates[estimator]
            return math.nan if estimate.refused else float(getattr(estimate, end))
        known = [*plain, "lift", "lift_lower", "lift_upper", "lift_relative"]
        known += [f"{name}_{end}" for name in result.estimates for end in ("value", "lower", "upper")]
        raise InvalidLog("unknown_field", "require", f"{self.field!r} is none of {', '.join(known)}")

    def _lift(self, result: CandidateResult) -> float:
        ends = {"lift": "value", "lift_lower": "lower", "lift_upper": "upper", "lift_relative": "relative"}
        if self.field not in ends:
            raise InvalidLog("unknown_field", "require", f"{self.field!r} is none of {', '.join(ends)}")
        if result.lift is None:
            raise InvalidLog("no_lift", "require", f"{result.name!r} is the baseline: it has no lift")
        if result.lift.estimator in result.estimates and result.estimates[result.lift.estimator].refused:
            return math.nan
        return float(getattr(result.lift, ends[self.field]))


def parse_requirement(text: str) -> Requirement:
    """Return what ``[POLICY.]FIELD SIGN NUMBER`` says.

    Raises
    ------
    InvalidLog
        It is not of that form.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise InvalidLog("requirement_invalid", "require", f"must look like 'lift_lower > 0', not {text!r}")
    return Requirement(text, match["policy"], match["field"], match["sign"], float(match["limit"]))


def _asked(evaluation: Evaluation) -> list[str]:
    baselines = {evaluation.baseline, "logged", "baseline1", "uniform"}
    return [name for name in evaluation.policies if name not in baselines]
