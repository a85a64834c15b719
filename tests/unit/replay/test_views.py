"""What people and programs see of an evaluation."""

import dataclasses
import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

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
from replay.views.terminal import table_of
from replay.views.text import OUTSIDE, number

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
    """Estimates over time, learning curves and histograms are drawn side by side, named; what is refused says so."""
    for draw in (cumulative, learning, weights):
        titles = [axes.get_title(loc="left") for axes in draw(evaluation).axes if axes.axison]
        assert titles == ["logged", "new", "<b>bold (refused)"]


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


def _printed(evaluation: Evaluation) -> str:
    """Return what a terminal of 160 characters shows."""
    stream = io.StringIO()
    console = Console(file=stream, width=160)
    for part in table_of(evaluation):
        console.print(part)
    return stream.getvalue()


def _with(evaluation: Evaluation, name: str, **changed: object) -> Evaluation:
    """Return the same evaluation with some fields of one candidate changed."""
    result = dataclasses.replace(evaluation.policies[name], **changed)  # type: ignore[arg-type]  # the caller's to know
    return dataclasses.replace(evaluation, policies={**evaluation.policies, name: result})


def test_terminal_says_why_there_is_no_estimate(evaluation: Evaluation) -> None:
    """A refused figure is no number, its lift is none, and the reason is told once for all estimators."""
    printed = _printed(evaluation)

    assert "0.5000" not in printed
    assert "0.2000 (" not in printed
    assert printed.count("No estimate: 2 of 1,000 rows.") == 1
    assert "0.1000 (0.09000 to 0.1100)" in printed


def test_lift_that_is_refused_is_nowhere_a_number(evaluation: Evaluation) -> None:
    """Where the baseline has no estimate a candidate has no lift, on the page and on the terminal."""
    lift = dataclasses.replace(evaluation.policies["new"].lift, refused="the baseline is none")  # type: ignore[type-var]  # it has one
    changed = _with(evaluation, "new", lift=lift)

    assert "0.09000 to 0.1100" in evaluation.to_html()
    assert "0.09000 to 0.1100" not in changed.to_html()
    assert "No estimate: the baseline is none" in changed.to_html()
    assert "0.09000 to 0.1100" not in _printed(changed)
    assert [text.get_text() for text in forest(changed).axes[1].texts] == ["no lift can be told"]


@pytest.mark.parametrize(("value", "is_marked"), [(0.35, True), (0.45, True), (0.38, False), (0.38 - 1e-12, False)])
def test_value_outside_its_own_interval_is_marked(evaluation: Evaluation, *, value: float, is_marked: bool) -> None:
    """Table and page mark it and say in a footnote what to go by; rounding is no reason."""
    estimate = dataclasses.replace(_estimate(0.4), value=value)
    changed = _with(evaluation, "new", estimates={"snips": estimate})

    for shown in (_printed(changed).replace("\n", " "), changed.to_html()):
        assert (f"{number(value)}*" in shown) == is_marked
        assert (OUTSIDE[:60] in shown) == is_marked


def _slices(*names: str) -> Mapping[str, list[Slice]]:
    lift = Lift("snips", 0.05, 0.04, 0.06, "paired", 0.1)
    return {
        "day": [Slice(name, {"snips": _estimate(0.25)}, lift, _DIAGNOSTICS, "better", "amber") for name in names],
    }


def test_slices_stand_candidate_beside_candidate(evaluation: Evaluation) -> None:
    """Each slice is named once, with a row for each candidate, and the baseline has no verdict."""
    baseline = [dataclasses.replace(one, lift=None) for one in _slices("monday")["day"]]
    changed = _with(_with(evaluation, "logged", slices={"day": baseline}), "new", slices=_slices("monday", ""))

    lines = [line.split() for line in _printed(changed).splitlines()]
    start = next(place for place, line in enumerate(lines) if line[:2] == ["day", "candidate"])
    assert [line[:3] for line in lines[start + 1 : start + 4]] == [
        ["monday", "logged", "1,000"],
        ["new", "1,000", "0.2500"],
        ["(none)", "new", "1,000"],
    ]
    assert lines[start + 1][-1] == "812"
    assert lines[start + 2][-3:] == ["better,", "with", "care"]
    assert "0.04000 to 0.06000" in _printed(changed)
    page = _Page()
    page.feed(changed.to_html())
    assert "By day" in page.text
    assert page.text.count("monday") == 1


def test_terminal_leaves_the_rest_of_many_slices_to_the_page(evaluation: Evaluation) -> None:
    """A month of days is shown, more are counted."""
    names = [f"day-{place}" for place in range(33)]
    changed = _with(evaluation, "logged", slices=_slices(*names))

    assert "day-30" in _printed(changed)
    assert "day-31" not in _printed(changed)
    assert "and 2 more of day" in _printed(changed)
    assert "day-32" in changed.to_html()


def test_candidate_has_one_colour_in_all_figures(evaluation: Evaluation) -> None:
    """What a candidate is drawn in does not depend on which candidates a figure leaves out."""
    own = dataclasses.replace(_DIAGNOSTICS, max_weight=1.0, mean_weight=1.0, share_zero=0.0)
    changed = _with(evaluation, "logged", diagnostics=own)

    (panel, *_) = [axes for axes in weights(changed).axes if axes.axison]
    (curve, *_) = [axes for axes in learning(changed).axes if axes.get_title(loc="left") == "new"]

    assert panel.get_title(loc="left") == "new"
    assert panel.patches[0].get_facecolor()[:3] == pytest.approx(_rgb(curve.lines[0].get_color()))


def _rgb(colour: object) -> tuple[float, ...]:
    text = str(colour).removeprefix("#")
    return tuple(int(text[place : place + 2], 16) / 255 for place in (0, 2, 4))


@pytest.mark.parametrize(
    ("seconds", "unit"), [(30, "seconds"), (600, "minutes"), (36_000, "hours"), (500_000, "days"), (0, "rows")]
)
def test_time_is_told_in_a_unit_that_can_be_read(evaluation: Evaluation, seconds: int, unit: str) -> None:
    """A log of half a minute is not told in millionths of a day; one without any time is told in rows."""
    moments = [Moment(100 * step, 1.7e9 + seconds * step / 10, 0.4, 0.3, 0.5, 0.4) for step in range(11)]
    changed = _with(evaluation, "new", over_time=moments)

    labels = {axes.get_title(loc="left"): axes.get_xlabel() for axes in cumulative(changed).axes}

    assert labels["new"].split()[0] == unit


def test_table_on_a_terminal_needs_no_plotting_library() -> None:
    """Who wants a table does not wait for Matplotlib and pandas."""
    program = (
        "import sys, replay.views.terminal\n"
        "from replay.views import to_plain\n"
        "print([name for name in ('matplotlib', 'pandas', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "[]\n"


def test_views_has_only_what_it_says() -> None:
    """A name that is none is an AttributeError, as of any module."""
    import replay.views  # noqa: PLC0415 - the module is what is tested

    assert all(callable(getattr(replay.views, name)) for name in replay.views.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        replay.views.nothing  # noqa: B018 - looking is the test


def test_what_is_wrong_with_the_log_is_told(evaluation: Evaluation) -> None:
    """Findings about the log stand in both views, and a candidate's that the refusal does not say."""
    health = dataclasses.replace(
        evaluation.health, findings=[Finding("duplicates", serious=True, detail="Half of it is there twice.")]
    )
    findings = [
        Finding("heavy_row", serious=True, detail="One row."),
        Finding("mean_weight", serious=False, detail="It is 0.5."),
    ]
    changed = _with(dataclasses.replace(evaluation, health=health), "<b>bold", findings=findings)

    for shown in (_printed(changed), changed.to_html()):
        assert "Half of it is there twice." in shown
        assert "It is 0.5." in shown
        assert "One row." not in shown


def test_figures_of_what_no_log_can_tell_are_empty(evaluation: Evaluation) -> None:
    """Without numbers there are panels and no marks, and no error."""
    nothing = Estimate(math.nan, math.nan, math.nan, "no rows", 0, 0.0, 0.0, "no rows")
    unbounded = dataclasses.replace(_estimate(0.4), lower=math.nan, upper=math.nan)
    flat = [Moment(100 * step, math.nan, 0.3, math.nan, math.nan, 0.3) for step in range(11)]
    changed = _with(evaluation, "logged", estimates={"ips": nothing, "snips": unbounded}, over_time=flat)
    alone = dataclasses.replace(changed, policies={"logged": changed.policies["logged"]})

    left = forest(alone).axes[0]
    marks = [line for line in left.lines if line.get_marker() == "o"]
    spans = [line for line in left.lines if line.get_marker() != "o" and line.get_linestyle() == "-"]
    assert len(marks) == 1
    assert spans == []
    assert len(cumulative(alone).axes) == len(learning(alone).axes) == 1
    assert "confidence sequence: it holds" not in alone.to_html()


def test_five_candidates_fill_two_rows(evaluation: Evaluation) -> None:
    """The place that is left over stays empty."""
    five = {name: _candidate(name, 0.3) for name in "abcde"}

    drawn = learning(dataclasses.replace(evaluation, policies=five, baseline="a")).axes

    assert [axes.axison for axes in drawn] == [True] * 5 + [False]


def test_relative_value_needs_a_baseline_that_earns(evaluation: Evaluation) -> None:
    """Of nothing there is no multiple."""
    changed = _with(evaluation, "logged", estimates={"ips": _estimate(0.0), "snips": _estimate(0.0)})

    assert changed.summary()["relative_estimated_policy_value"].isna().all()
