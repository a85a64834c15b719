"""An evaluation as one HTML page that needs no network."""

import base64
import io
import math
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files

import jinja2
import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from replay.results import Estimate, Evaluation
from replay.views import figures
from replay.views.slices import side_by_side
from replay.views.text import GRADES, OUTSIDE, is_outside, number, remarks

__all__ = ["to_html"]


def to_html(evaluation: Evaluation, *, title: str = "What these policies would have earned") -> str:
    """Return the whole report: header, log health, candidates × estimators, plots, slices, settings.

    Everything that came from a log or a caller is escaped; the page runs no script and loads nothing.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(number=number, percent=_percent, moment=_moment, interval=_interval)
    environment.filters.update(outside=is_outside, remarks=remarks, slices=side_by_side)
    template = environment.from_string(files("replay.views").joinpath("report.html.j2").read_text("utf-8"))
    estimators = list(dict.fromkeys(name for result in evaluation.policies.values() for name in result.estimates))
    return template.render(
        title=title,
        evaluation=evaluation,
        health=evaluation.health,
        policies=evaluation.policies.values(),
        estimators=estimators,
        kinds=list(evaluation.policies[evaluation.baseline].slices),
        grades=GRADES,
        outside_note=OUTSIDE,
        level=f"{100 * float(evaluation.settings.get('level', 0.95)):g} %",
        forest=_image(figures.forest, evaluation),
        cumulative=_image(figures.cumulative, evaluation) if _any(evaluation, "over_time") else None,
        is_banded=any(
            math.isfinite(moment.lower) for result in evaluation.policies.values() for moment in result.over_time
        ),
        learning=_image(figures.learning, evaluation) if _any(evaluation, "over_time") else None,
        weights=_image(figures.weights, evaluation) if _is_weighted(evaluation, "weight_histogram") else None,
        clips=_image(figures.clips, evaluation) if _is_weighted(evaluation, "clip_scan") else None,
    )


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %".replace("-", "−") if math.isfinite(value) else "–"


def _moment(value: float) -> str:
    return f"{datetime.fromtimestamp(value, tz=UTC):%Y-%m-%d %H:%M}" if math.isfinite(value) else "–"


def _interval(estimate: Estimate) -> str:
    return f"{number(estimate.lower)} to {number(estimate.upper)}"


def _any(evaluation: Evaluation, field: str) -> bool:
    return any(getattr(result, field) for result in evaluation.policies.values())


def _is_weighted(evaluation: Evaluation, field: str) -> bool:
    return any(getattr(result, field) and figures.is_weighted(result) for result in evaluation.policies.values())


def _image(draw: Callable[[Evaluation], Figure], evaluation: Evaluation) -> Markup:
    """Return a figure as the address of an image that holds it, the same for the same evaluation."""
    drawn = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": draw.__name__, "svg.fonttype": "none", "font.family": "sans-serif"}):
        draw(evaluation).savefig(drawn, format="svg", metadata={"Date": None})
    return Markup("data:image/svg+xml;base64,") + Markup(base64.b64encode(drawn.getvalue()).decode())  # noqa: S704 - letters, digits, + / =
