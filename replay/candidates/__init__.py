from replay.candidates.parse import Given, parse_candidate
from replay.candidates.policy import PolicyRecipe
from replay.candidates.protocol import Candidate, Contradiction, Need, Played, Recipe
from replay.candidates.unchanging import Call, Column, First, Logged, Table, Uniform
from replay.candidates.vw_command import VwRecipe

__all__ = [
    "Call",
    "Candidate",
    "Column",
    "Contradiction",
    "First",
    "Given",
    "Logged",
    "Need",
    "Played",
    "PolicyRecipe",
    "Recipe",
    "Table",
    "Uniform",
    "VwRecipe",
    "parse_candidate",
]
