"""What stands for and against figures: weights, the log's own health, and the rules that make grades of them."""

from replay.diagnostics.duplicates import Duplicates
from replay.diagnostics.log import LogCounts
from replay.diagnostics.rules import candidate_findings, grade, log_findings, log_health, refusal, settled, verdict
from replay.diagnostics.shares import ActionShares, Mismatch, chi_square_tail
from replay.diagnostics.weights import WeightCounts

__all__ = [
    "ActionShares",
    "Duplicates",
    "LogCounts",
    "Mismatch",
    "WeightCounts",
    "candidate_findings",
    "chi_square_tail",
    "grade",
    "log_findings",
    "log_health",
    "refusal",
    "settled",
    "verdict",
]
