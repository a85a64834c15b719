"""The slices of an evaluation, candidate beside candidate."""

from replay.results import Evaluation, Slice

__all__ = ["lift_estimator", "side_by_side"]


def side_by_side(evaluation: Evaluation, kind: str) -> list[list[tuple[str, Slice]]]:
    """Return for each slice of a kind, such as each day, what every candidate is on it, by the candidate's name."""
    groups: dict[str, list[tuple[str, Slice]]] = {}
    for name, result in evaluation.policies.items():
        for one in result.slices.get(kind, ()):
            groups.setdefault(one.name, []).append((name, one))
    return list(groups.values())


def lift_estimator(evaluation: Evaluation) -> str:
    """Return the estimator by which lifts are made; without any lift, the last one."""
    lifts = [result.lift.estimator for result in evaluation.policies.values() if result.lift is not None]
    return lifts[0] if lifts else list(evaluation.policies[evaluation.baseline].estimates)[-1]
