"""What people and programs see of an `Evaluation`: JSON, tables, plots, one HTML page."""

from replay.views.figures import plot
from replay.views.page import to_html
from replay.views.plain import to_json, to_plain
from replay.views.tables import summary

__all__ = ["plot", "summary", "to_html", "to_json", "to_plain"]
