"""What people and programs see of an `Evaluation`: JSON, tables, plots, one HTML page."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replay.views.figures import plot
    from replay.views.page import to_html
    from replay.views.plain import to_json, to_plain
    from replay.views.tables import summary

__all__ = ["plot", "summary", "to_html", "to_json", "to_plain"]

# Who wants a table on a terminal does not wait for Matplotlib and pandas.
_WHERE = {
    "plot": "replay.views.figures",
    "summary": "replay.views.tables",
    "to_html": "replay.views.page",
    "to_json": "replay.views.plain",
    "to_plain": "replay.views.plain",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'replay.views' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
