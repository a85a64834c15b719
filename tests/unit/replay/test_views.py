"""What people and programs see of an evaluation."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from replay.results import (
    Bin,
    CandidateResult,
    Diagnostics,
    Estimate,
    Evaluation,
    Finding,
    Lift,
    LogHealth,
    Moment,
    Slice,
)
from replay.views.figures import cumulative, forest, learning, weights
from replay.views.page import number

_DIAGNOSTICS = Diagnostics(
    n=1_000,
    ess=812.0,
    max_weight=38.0,
    q99_weight=8.0,
    mean_weight=1.01,
    mean_weight_z=0.4,
    share_zero=0.2,
    unsupported=math.nan,
    top_share=0.002,
)


def _estimate(value: float, *, refused: str = "") -> Estimate:
    return Estimate(value, value - 0.02, value + 0.02, "gaussian", 1_000, 812.0, 38.0, refused)


def _candidate(name: str, value: float, *, lift: float | None = None, refused: str = "") -> CandidateResult:
    estimates = {"ips": _estimate(value, refused=refused), "snips": _estimate(value - 0.01, refused=refused)}
    return CandidateResult(
        name=name,
        spec='{kind = "vw"}',
        question="progressive" if lift else "fixed",
        estimates=estimates,
        lift=Lift("snips", lift, lift - 0.01, lift + 0.01, "paired", lift / 0.3) if lift is not None else None,
        diagnostics=_DIAGNOSTICS,
        findings=[Finding("few", serious=True, detail=f"{name}: two decisions carry it all")] if refused else [],
        verdict="not enough data" if refused else "better",
        grade="red" if refused else "green",
        over_time=[
            Moment(100 * step, 1.7e9 + 3_600 * step, value, value - 1 / step, value + 1 / step, value)
            for step in range(1, 31)
        ],
        weight_histogram=[Bin(0.5, 1.0, 700), Bin(1.0, 2.0, 300)],
        clip_scan=[(5.0, _estimate(value)), (50.0, _estimate(value))],
        slices={"segment": [Slice("mobile & co", estimates, None, _DIAGNOSTICS, "better", "amber")]},
    )


@pytest.fixture
def evaluation() -> Evaluation:
    """Return the evaluation of a baseline, a good candidate and one that the log cannot answer for."""
    return Evaluation(
        health=LogHealth(1_000, {"parse_error": 2}, 1.7e9, 1.7e9 + 86_400, 0.0, 1.0, 0.3, 0.01, []),
        policies={
            "logged": _candidate("logged", 0.3),
            "new": _candidate("new", 0.4, lift=0.1),
            "<b>bold": _candidate("<b>bold", 0.5, lift=0.2, refused="2 of 1,000 rows"),
        },
        baseline="logged",
        settings={"level": 0.9, "seed": 0},
    )


class _Page(HTMLParser):
    """Collects the tags of a page, what they load, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "img", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_json_has_the_fields_that_gates_read(evaluation: Evaluation) -> None:
    """Events, drops, and per policy its estimates, effective sample, largest weight, lift, verdict and grade."""
    plain = json.loads(evaluation.to_json())

    assert (plain["events"], plain["dropped"]) == (1_000, {"parse_error": 2})
    new = plain["policies"]["new"]
    assert new["estimates"]["ips"] | {"method": "x"} == {
        "value": 0.4,
        "lower": 0.38,
        "upper": 0.42000000000000004,
        "method": "x",
        "n": 1_000,
        "ess": 812.0,
        "max_weight": 38.0,
        "refused": "",
    }
    assert (new["ess"], new["max_weight"], new["verdict"], new["grade"]) == (812.0, 38.0, "better", "green")
    assert new["lift"]["value"] == 0.1
    assert plain["policies"]["logged"]["lift"]["value"] is None
    assert new["diagnostics"]["unsupported"] is None
    assert new["clip_scan"][0]["clip"] == 5.0


def test_summary_has_the_column_names_that_obp_users_know(evaluation: Evaluation) -> None:
    """A row for each policy and estimator, relative to the baseline, with the level in the interval's name."""
    table = evaluation.summary()

    assert list(table.columns[:4]) == [
        "estimated_policy_value",
        "relative_estimated_policy_value",
        "90.0% CI (lower)",
        "90.0% CI (upper)",
    ]
    assert table.loc[("new", "ips"), "relative_estimated_policy_value"] == pytest.approx(0.4 / 0.3)
    assert table.loc[("new", "snips"), "lift"] == 0.1
    assert math.isnan(table["lift"].loc["new"].loc["ips"])
    assert len(table) == 6


def test_page_loads_nothing_and_escapes_names(evaluation: Evaluation) -> None:
    """The report is whole by itself: images are in it, no script, and a policy's name is text."""
    page = _Page()
    html = evaluation.to_html()
    page.feed(html)

    assert all(load.startswith("data:image/svg+xml;base64,") for load in page.loads)
    assert len(page.loads) == 5
    assert "script" not in page.tags
    assert "b>bold" not in re.sub(r"&lt;b&gt;bold", "", html)
    assert "mobile & co" in page.text
    assert html == evaluation.to_html()


def test_page_says_refused_in_the_place_of_a_number(evaluation: Evaluation) -> None:
    """An estimate that the log cannot carry has no value on the page."""
    html = evaluation.to_html()

    assert "No estimate: 2 of 1,000 rows" in html
    assert "0.5000" not in html
    assert "0.4000" in html


def test_plot_is_the_forest_plot(evaluation: Evaluation) -> None:
    """Each candidate and estimator has a row; lifts stand beside them, but for what is refused."""
    left, right = evaluation.plot().axes

    assert [label.get_text() for label in left.get_yticklabels()] == [
        f"{name}   {estimator}" for name in evaluation.policies for estimator in ("ips", "snips")
    ]
    dots = [line for line in right.lines if line.get_marker() == "o"]
    assert [np.asarray(line.get_xdata()).tolist() for line in dots] == [[0.1]]
    assert len(forest(evaluation).axes) == 2


def test_curves_have_a_panel_for_each_candidate(evaluation: Evaluation) -> None:
    """Estimates over time, learning curves and histograms are drawn side by side, named."""
    for draw in (cumulative, learning, weights):
        titles = [axes.get_title(loc="left") for axes in draw(evaluation).axes if axes.axison]
        assert titles == list(evaluation.policies)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (math.nan, "–"),
        (0.30004, "0.3000"),
        (-0.0123456, "−0.01235"),
        (12345.678, "12,346"),
        (1e-9, "1e−09"),
    ],
)
def test_numbers_are_written_for_people(value: float, text: str) -> None:
    """Four digits that mean something, no exponent in the usual range, a true minus sign."""
    assert number(value) == text
