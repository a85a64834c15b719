"""What a verification found: how much was checked, what could not be, and the first thing that is not as it was."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Literal

__all__ = ["REASONS", "Findings", "Kind", "Problem"]

Kind = Literal["unreadable", "outcome", "reward", "draw", "owner", "state", "probabilities"]

REASONS: Final = {
    "before_base": "made before the beginning of the kept log",
    "erased_since": "something that had been learned was erased since",
    "spec_unusable": "this banditd cannot build the policy that was configured then",
    "log_damaged": "an outcome that had been learned cannot be read any more",
    "dropped_meanwhile": "dropped by the server during the check",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was when a decision was made, or when its outcome was.

    Attributes
    ----------
    number
        Of the decision in the store: the order in which decisions were made.
    kind
        ``"unreadable"``: the decision. ``"outcome"``: it is not what its digest, or the chain, says. ``"reward"``: it
        does not follow from the rewards that came. ``"draw"``, ``"owner"``: the key draws another action, or another
        lane. ``"state"``: the log has no such state. ``"probabilities"``: that state plays others.
    epoch, seq
        The state that the decision names; of an outcome, its own number.
    stored, played
        Two vectors, where they are what differs.
    """

    number: int
    kind: Kind
    event_id: str
    lane: str
    epoch: int
    seq: int
    detail: str
    slot: int = 0
    stored: list[float] | None = None
    played: list[float] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object, without vectors where there are none."""
        found = {name: getattr(self, name) for name in self.__slots__ if name != "number"}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(slots=True)
class Findings:
    """Everything that a verification counts.

    Attributes
    ----------
    decisions
        Looked at.
    exact, near
        Slots whose vector came out bit for bit; of another build, within 1e-6.
    draws
        Slots, and owners of mixtures, drawn again with the same result.
    draws_without_key
        Those whose key is not there.
    outcomes
        Held to their digest, to the chain and to the rewards they were made of.
    tombstones
        Outcomes that were erased.
    unchecked
        Decisions whose vectors could not be compared, by the words of `REASONS`.
    kinds
        Problems by kind.
    problems
        Of the first decision that has any.
    builds
        Other builds than this one under which decisions were made.
    whole_folds
        Lanes and pools whose policies keep no snapshots.
    bases
        Lanes and pools whose log begins at a base, with its number.
    """

    decisions: int = 0
    exact: int = 0
    near: int = 0
    draws: int = 0
    draws_without_key: int = 0
    outcomes: int = 0
    tombstones: int = 0
    unchecked: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    builds: set[str] = field(default_factory=set)
    whole_folds: set[str] = field(default_factory=set)
    bases: dict[str, int] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    def report(self, problem: Problem) -> None:
        """Count a problem, and keep it if no earlier decision has one."""
        self.kinds[problem.kind] += 1
        if not self.problems or problem.number < self.problems[0].number:
            self.problems = []
        if not self.problems or problem.number == self.problems[0].number:
            self.problems.append(problem)

    def as_json(self) -> dict[str, Any]:
        """Return all of it as a JSON object."""
        return {
            "ok": self.is_right,
            "decisions": self.decisions,
            "distributions": {"exact": self.exact, "near": self.near},
            "draws": {"repeated": self.draws, "without_key": self.draws_without_key},
            "outcomes": self.outcomes,
            "tombstones": self.tombstones,
            "unchecked": dict(self.unchecked),
            "problems": dict(self.kinds),
            "first": [problem.as_json() for problem in self.problems],
            "other_builds": sorted(self.builds),
            "not_resumable": sorted(self.whole_folds),
            "bases": dict(sorted(self.bases.items())),
        }
