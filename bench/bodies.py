"""Rank requests of the size that the figures are about: 1.5 kB, 10 actions of 5 features, 10 context features.

The actions of a request are drawn from a catalogue of items whose features never change, as in a shop or a news
site; contexts differ from request to request. No body names an event id: a repeated id would be answered from
the journal instead of being decided.
"""

from typing import Any

import numpy as np
import orjson

__all__ = ["ACTIONS_PER_BODY", "rank_bodies"]

ACTIONS_PER_BODY = 10
_CATEGORIES = ("outdoor", "kitchen", "garden", "travel", "office", "sports", "beauty", "music")
_BRANDS = 40
_DEVICES = ("mobile", "desktop", "tablet", "tv")
_COUNTRIES = ("de", "fr", "es", "it", "nl", "pl", "se", "gb", "us", "jp")
_REFERRERS = ("search", "direct", "newsletter", "social", "partner")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PLANS = ("free", "basic", "plus", "family")


def rank_bodies(n_bodies: int, *, n_items: int = 200, seed: int = 20_240_117) -> list[bytes]:
    """Return `n_bodies` distinct JSON bodies for ``POST /v1/rank``, the same for the same arguments.

    Parameters
    ----------
    n_items
        Size of the catalogue, at least `ACTIONS_PER_BODY`: 200 is what a server can know by heart, a number far
        above the number of requests makes nearly every action a new one.
    """
    rng = np.random.default_rng(seed)
    items = [orjson.Fragment(orjson.dumps(_item(rng, number))) for number in range(n_items)]
    bodies: dict[bytes, None] = {}
    while len(bodies) < n_bodies:
        drawn = rng.choice(n_items, size=ACTIONS_PER_BODY, replace=False)
        bodies[orjson.dumps({"context": _context(rng), "actions": [items[i] for i in drawn]})] = None
    return list(bodies)


def _item(rng: np.random.Generator, number: int) -> dict[str, Any]:
    return {
        "id": f"item-{number:06d}",
        "features": {
            "category": _pick(rng, _CATEGORIES),
            "brand": f"brand-{int(rng.integers(_BRANDS)):02d}",
            "price": round(float(rng.uniform(0.05, 4.0)), 3),
            "mean_rating": round(float(rng.uniform(0.2, 1.0)), 3),
            "days_in_catalogue": int(rng.integers(10, 100)),
        },
    }


def _context(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "device": _pick(rng, _DEVICES),
        "country": _pick(rng, _COUNTRIES),
        "referrer": _pick(rng, _REFERRERS),
        "weekday": _pick(rng, _WEEKDAYS),
        "plan": _pick(rng, _PLANS),
        "hour": int(rng.integers(24)),
        "visits": int(rng.integers(1, 60)),
        "session_minutes": round(float(rng.uniform(0, 30)), 2),
        "scroll_depth": round(float(rng.uniform(0, 1)), 4),
        "days_since_signup": int(rng.integers(1, 2_000)),
    }


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]
