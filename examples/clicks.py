"""Makes clicks.dsjson.gz: three days of made-up clicks on a news page, logged by a policy that explores a little.

    python examples/clicks.py clicks.dsjson.gz

Five articles, users who like two of three topics more than the third, one article in five shown at random. The true
probability of each choice is in the log, so that `banditd replay` can say what other policies would have earned.
"""

import gzip
import json
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

ARTICLES = {
    "cup-final": "sport",
    "transfer": "sport",
    "budget": "politics",
    "election": "politics",
    "eclipse": "science",
}
TASTES = {"fan": "sport", "citizen": "politics", "curious": "science"}
SHOWN_FIRST = {"mobile": "cup-final", "desktop": "budget"}  # what the page's editors thought best
EXPLORED = 0.2
DECISIONS = 6_000


def click_rate(taste: str, device: str, article: str) -> float:
    """Return how likely a click really is: what no log says."""
    liked = 0.22 if ARTICLES[article] == TASTES[taste] else 0.05
    return liked * (0.8 if device == "mobile" else 1.0)


def lines(seed: int) -> list[str]:
    """Return the log, a decision a line."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    start = datetime(2026, 3, 2, 8, tzinfo=UTC)
    articles = list(ARTICLES)
    result = []
    for number in range(DECISIONS):
        taste, device = rng.choice(list(TASTES)), rng.choice(list(SHOWN_FIRST))
        order = [SHOWN_FIRST[device], *(name for name in articles if name != SHOWN_FIRST[device])]
        probabilities = [1 - EXPLORED + EXPLORED / len(order), *([EXPLORED / len(order)] * (len(order) - 1))]
        chosen = rng.choices(order, probabilities)[0]
        clicked = rng.random() < click_rate(taste, device, chosen)
        ranked = [chosen, *(name for name in order if name != chosen)]
        result.append(
            json.dumps(
                {
                    "_label_cost": -1.0 if clicked else 0.0,
                    "_label_probability": probabilities[order.index(chosen)],
                    "_label_Action": articles.index(chosen) + 1,
                    "_labelIndex": articles.index(chosen),
                    "Timestamp": (start + timedelta(seconds=43 * number)).isoformat().replace("+00:00", "Z"),
                    "EventId": f"visit-{number}",
                    "a": [articles.index(name) + 1 for name in ranked],
                    "p": [probabilities[order.index(name)] for name in ranked],
                    "c": {
                        "user": {"taste": taste, "device": device},
                        "_multi": [
                            {"_tag": name, "article": {"id": name, "topic": ARTICLES[name]}} for name in articles
                        ],
                    },
                }
            )
        )
    return result


if __name__ == "__main__":
    content = "".join(f"{line}\n" for line in lines(seed=1))
    Path(sys.argv[1]).write_bytes(gzip.compress(content.encode(), mtime=0))
