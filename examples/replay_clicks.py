"""Which policy should choose the articles of a page? Three candidates on days of clicks, before any user sees them.

    python examples/replay_clicks.py

The log is clicks.dsjson.gz beside this file; clicks.py made it. Each part stands alone, as the cells of a notebook do.
"""

from pathlib import Path

from replay import evaluate
from replay.logs import open_log

# %% The log: what was shown, with which probability, and what came of it.
log = open_log(Path(__file__).parent / "clicks.dsjson.gz")

# %% The candidates; `logged`, `baseline1` (the article that stands first) and `uniform` are always evaluated beside
# them. The first learns with VW's own options, the second is a policy of banditd, the third hardly explores at all.
found = evaluate(
    log,
    {
        "vw, crossed": "vw --cb_explore_adf --epsilon 0.05 --interactions ua",
        "vw": {"kind": "vw", "epsilon": 0.05},
        "averages": {"kind": "epsilon_greedy", "epsilon": 0.01},
    },
    by=["day"],
)

# %% What each would have earned a decision: clicks, with the ends of a 95 % interval.
print(f"{found.health.events} decisions, {found.health.reward_mean:.4f} clicks a decision\n")
print(f"{'policy':<14}{'snips':>8}{'lower':>8}{'upper':>8}{'weighs as':>11}  verdict")
for name, result in found.policies.items():
    one = result.estimates["snips"]
    print(f"{name:<14}{one.value:>8.4f}{one.lower:>8.4f}{one.upper:>8.4f}{one.ess:>11.0f}  {result.verdict}")

# %% How much more than what is there now: the paired difference on the same decisions, far surer than two intervals.
print("\nmore than now, a decision:")
for name, result in found.policies.items():
    if result.lift is not None:
        print(f"{name:<14}{result.lift.value:>+8.4f}  from {result.lift.lower:+.4f} to {result.lift.upper:+.4f}")

# %% A policy that learns gets better while it does: the same candidate day by day.
print("\nday by day, vw with crossed features:")
for day in found.policies["vw, crossed"].slices["day"]:
    print(f"{day.name}  {day.estimates['snips'].value:.4f}")
