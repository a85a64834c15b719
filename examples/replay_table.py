"""A log that is a table, and a condition that a pipeline can stop on.

    python examples/replay_table.py

Columns of any name, CSV or Parquet, of any length: rows are never turned into objects. The candidate's probability of
what was logged is one more column, as whatever scores your traffic today can write it.
"""

import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from replay import evaluate
from replay.gate import parse_requirement
from replay.logs import open_log

# %% Make a table: banners drawn from one in four, and one that sells better in the evening.
rng = np.random.default_rng(3)
n = 40_000
hour = rng.integers(24, size=n)
banner = rng.choice(4, size=n, p=[0.4, 0.3, 0.2, 0.1])
bought = rng.random(n) < np.where((banner == 3) & (hour >= 18), 0.12, 0.05)  # noqa: PLR2004 - the evening, the fourth
evening = np.where(hour >= 18, banner == 3, banner == 0)  # noqa: PLR2004 - as above
table = pl.DataFrame(
    {
        "shown": [f"banner-{i}" for i in banner.tolist()],
        "bought": bought,
        "p_shown": np.array([0.4, 0.3, 0.2, 0.1])[banner],
        "p_new": 0.9 * evening + 0.1 / 4,
        "second": 1_772_400_000 + 3_600 * (np.arange(n) // 600) + hour,
    }
)

# %% Say which column is what. `actions` is the set that was there, so that `uniform` has a value too.
mapping = {
    "action": "shown",
    "reward": "bought",
    "propensity": "p_shown",
    "at": "second",
    "actions": [f"banner-{i}" for i in range(4)],
    "target": {"evening": "p_new"},
}
with tempfile.TemporaryDirectory() as folder:
    table.write_parquet(Path(folder) / "banners.parquet")
    found = evaluate(open_log(folder, mapping=mapping), {"evening": "column:evening"})

# %% The table of estimates.
columns = ["estimated_policy_value", "95.0% CI (lower)", "95.0% CI (upper)", "ess", "verdict"]
print(found.summary()[columns].round(4).to_string())

# %% What a pipeline asks before it ships the new rule; each sentence that comes back says what is not met.
for condition in ("evening.lift_lower > 0", "evening.ess >= 100000"):
    failures = parse_requirement(condition).failures(found)
    print(f"\n{condition}: {'; '.join(failures) or 'yes'}")
