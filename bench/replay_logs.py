"""Logs to be evaluated: made up, the same for the same seed, in the layout of the tools that write such logs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

__all__ = ["ACTIONS", "as_columns", "interactions", "jsonl_of", "write_dsjson", "write_parquet"]

ACTIONS = 10
_CATALOGUE = 200
_EPSILON = 0.2  # of what made the log
_RATE = 0.15  # of clicks, on the whole
_ALIKE = 0.7  # of the rows of a table, how often a candidate has the favourite of what made it
_WORDS = {"device": 4, "country": 10, "referrer": 5, "weekday": 7, "plan": 4}
_ROWS_A_FILE = 1_000_000
_GROUP_ROWS = 100_000
_START = 1_700_000_000


def write_dsjson(path: Path, n: int, *, seed: int) -> None:
    """Write `n` decisions between 10 actions of 5 features, 10 features of the moment each, as VW's service does."""
    rng = np.random.default_rng(seed)
    items = [_item(rng, number) for number in range(_CATALOGUE)]
    written = [orjson.Fragment(orjson.dumps({"_tag": f"item-{i:04d}", "Item": item})) for i, item in enumerate(items)]
    taste = rng.normal(size=(_CATALOGUE, _WORDS["device"])) / 2.0
    with path.open("wb") as file:
        for number in range(n):
            drawn = rng.choice(_CATALOGUE, size=ACTIONS, replace=False)
            user, device = _user(rng)
            best = int(np.argmax(taste[drawn, 0]))  # what made the log knows the catalogue, and not the user
            probabilities = np.full(ACTIONS, _EPSILON / ACTIONS)
            probabilities[best] += 1.0 - _EPSILON
            chosen = int(rng.choice(ACTIONS, p=probabilities))
            chance = _RATE * np.exp(taste[drawn[chosen], device])
            order = [chosen, *(i for i in range(ACTIONS) if i != chosen)]
            cost = -float(rng.random() < chance)
            line = {
                "_label_cost": cost,
                "_label_probability": round(float(probabilities[chosen]), 6),
                "_label_Action": chosen + 1,
                "_labelIndex": chosen,
                "Timestamp": str(np.datetime64(_START + number, "s")) + ".0000000Z",
                "Version": "1",
                "EventId": f"{rng.integers(1 << 63):016x}{number:016x}",
                "a": [i + 1 for i in order],
                "c": {"User": user, "_multi": [written[i] for i in drawn]},
                "p": [round(float(probabilities[i]), 6) for i in order],
                "_original_label_cost": cost,
            }
            file.write(orjson.dumps(line) + b"\n")


def interactions(path: Path, n: int) -> list[dict[str, Any]]:
    """Return the first decisions of such a log as coba takes them."""
    found: list[dict[str, Any]] = []
    for line in _decoded(path, n):
        actions = [action["Item"] for action in line["c"]["_multi"]]
        found.append(
            {
                "context": line["c"]["User"],
                "actions": actions,
                "action": actions[line["_labelIndex"]],
                "reward": -line["_label_cost"],
                "probability": line["_label_probability"],
            }
        )
    return found


def jsonl_of(path: Path, target: Path, n: int) -> None:
    """Write the first decisions of such a log as banditd's own JSON lines."""
    with target.open("wb") as file:
        for line in _decoded(path, n):
            vector = [0.0] * ACTIONS
            for place, probability in zip(line["a"], line["p"], strict=True):
                vector[place - 1] = probability
            at = float(np.datetime64(line["Timestamp"][:19], "s").astype(np.int64))
            reward = -line["_label_cost"]
            slot = {"chosen": line["_labelIndex"], "propensity": line["_label_probability"], "probabilities": vector}
            decision = {
                "event_id": line["EventId"],
                "at": at,
                "segment": "home" if line["c"]["User"]["visits"] % 2 else "shop",
                "context": line["c"]["User"],
                "actions": [{"id": one["_tag"], "features": one["Item"]} for one in line["c"]["_multi"]],
                "slots": [slot | {"reward": reward, "reward_at": at + 60.0}],
                "reward": reward,
            }
            file.write(orjson.dumps(decision) + b"\n")


def as_columns(n: int, *, seed: int) -> dict[str, Any]:
    """Return `n` rows: rewards of 0 or 1, propensities of an epsilon-greedy log, and a candidate's probabilities."""
    rng = np.random.default_rng(seed)
    best = rng.integers(ACTIONS, size=n)
    action = np.where(rng.random(n) < _EPSILON, rng.integers(ACTIONS, size=n), best)
    other = np.where(rng.random(n) < _ALIKE, best, rng.integers(ACTIONS, size=n))
    least, most = _EPSILON / ACTIONS, 1.0 / ACTIONS
    return {
        "reward": (rng.random(n) < _RATE * (1.0 + action / ACTIONS)).astype(np.float64),
        "propensity": np.where(action == best, 1.0 - _EPSILON + least, least),
        "action": action,
        "target.new": np.where(action == other, 0.5 + 0.5 * most, 0.5 * most),
    }


def write_parquet(folder: Path, n: int, *, seed: int) -> None:
    """Write such rows, a million a file."""
    import polars as pl  # noqa: PLC0415 - the other tables do without

    folder.mkdir()
    for part, start in enumerate(range(0, n, _ROWS_A_FILE)):
        rows = as_columns(min(_ROWS_A_FILE, n - start), seed=seed + part)
        frame = pl.DataFrame(rows).with_columns(pl.format("a{}", pl.col("action")).alias("action"))
        frame.write_parquet(folder / f"{part:03d}.parquet", row_group_size=_GROUP_ROWS)


def _decoded(path: Path, n: int) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line, _ in zip(file, range(n), strict=False):
            yield orjson.loads(line)


def _item(rng: np.random.Generator, number: int) -> dict[str, Any]:
    return {
        "id": f"item-{number:04d}",
        "category": f"category-{int(rng.integers(8))}",
        "brand": f"brand-{int(rng.integers(40)):02d}",
        "price": round(float(rng.uniform(0.05, 4.0)), 3),
        "rating": round(float(rng.uniform(0.2, 1.0)), 3),
    }


def _user(rng: np.random.Generator) -> tuple[dict[str, Any], int]:
    """Return the features of a user, and which device it is."""
    places = {name: int(rng.integers(n)) for name, n in _WORDS.items()}
    return {
        **{name: f"{name}-{place:02d}" for name, place in places.items()},
        "hour": f"h{int(rng.integers(24)):02d}",
        "visits": int(rng.integers(1, 60)),
        "session_minutes": round(float(rng.uniform(0, 30)), 2),
        "scroll_depth": round(float(rng.uniform(0, 1)), 4),
        "days_since_signup": int(rng.integers(1, 2_000)),
    }, places["device"]
