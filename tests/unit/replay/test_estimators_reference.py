"""The numbers that other libraries gave for the same rows: Open Bandit Pipeline and VW's estimators."""

import csv
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import replay
from policies.protocol import FloatArray
from replay.batch import Batch
from replay.diagnostics import WeightCounts
from replay.estimators import estimator

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the reference data is not beside this repository")

# By the reference's name, without its parameter.
NAMES = {
    "ipw": "ips",
    "ipw_clip": "ips_clipped",
    "snipw": "snips",
    "sgipw": "sub_gaussian",
    "dm": "dm",
    "dr": "dr",
    "dr_clip": "dr_clipped",
    "sndr": "sndr",
    "switch_dr": "switch_dr",
    "dros": "dros",
    "sgdr": "sub_gaussian_dr",
}
NOT_OURS = ("_slope", "rm")  # tuned by their rules; the replay method on a log that is not uniform
CAMPAIGNS = ("all", "women")
SCENARIOS = ("A_random_log__bts_prior", "B_random_log__bts_empirical", "C_bts_log__uniform")


def _split(name: str) -> tuple[str, float | None]:
    """Take the parameter off the end of a reference's name: dros_10, ipw_clip5, sgipw_0p1."""
    parts = re.fullmatch(r"(.*?)_?([0-9]+(?:p[0-9]+)?)", name)
    return (parts[1], float(parts[2].replace("p", "."))) if parts else (name, None)


def _compare(batch: Batch, expected: dict[str, dict[str, float]]) -> int:
    compared = 0
    for reference, numbers in expected.items():
        if reference.endswith(NOT_OURS):
            continue
        kind, parameter = _split(reference)
        by = estimator(NAMES[kind], clip=parameter, tau=parameter, lam=parameter)
        by.add(batch)
        assert by.value == pytest.approx(numbers["value"], abs=1e-9, rel=0), reference
        compared += 1
    return compared


def _read(campaign: str, log: str) -> dict[str, FloatArray]:
    with gzip.open(DATA / "obd" / log / campaign / f"{campaign}.csv.gz", "rt") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["timestamp"])
    wanted = ("item_id", "position", "click", "propensity_score")
    return {name: np.array([float(row[name]) for row in rows]) for name in wanted}


@pytest.fixture(scope="module")
def open_bandit() -> Callable[[str, str], Batch]:
    """Make the rows of a campaign and scenario; each log is read once."""
    kept: dict[tuple[str, str], dict[str, FloatArray]] = {}

    def make(campaign: str, scenario: str) -> Batch:
        log = "bts" if scenario.startswith("C") else "random"
        if (campaign, log) not in kept:
            kept[campaign, log] = _read(campaign, log)
        columns = kept[campaign, log]
        item, position = columns["item_id"].astype(int), columns["position"].astype(int) - 1
        policies = np.load(DATA / "obd" / f"policies_{campaign}.npz")
        k = len(policies["bts_prior"])
        policy = {"A": policies["bts_prior"], "B": policies["bts_empirical"]}.get(scenario[0], np.full((k, 3), 1 / k))
        model = np.load(DATA / "obd" / f"qhat_{campaign}_{log}.npz")
        q = model["q_unique"][model["row"]].astype(np.float64)
        rows = np.arange(len(item))
        return Batch.of(
            columns["click"],
            columns["propensity_score"],
            policy[item, position],
            q_logged=q[rows, item, position],
            q_target=np.einsum("nk,nk->n", q[rows, :, position], policy[:, position].T),
        )

    return make


@pytest.mark.parametrize("campaign", CAMPAIGNS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_open_bandit_values_are_those_of_its_pipeline(
    open_bandit: Callable[[str, str], Batch], campaign: str, scenario: str
) -> None:
    """Every estimate of every scenario equals Open Bandit Pipeline's within 1e-9, and the weights are the same."""
    expected = json.loads((DATA / "obd" / "expected.json").read_text())["campaigns"][campaign][scenario]
    batch = open_bandit(campaign, scenario)
    weights = WeightCounts()
    weights.add(batch)

    compared = _compare(batch, expected["estimates"])

    assert compared >= 10
    figures, reference = weights.diagnostics(), expected["weights"]
    assert figures.ess == pytest.approx(reference["ess"], rel=1e-9)
    assert figures.max_weight == pytest.approx(reference["max"], rel=1e-12)
    assert figures.mean_weight == pytest.approx(reference["mean"], rel=1e-12)
    if "reference_intervals" in expected:
        snips = estimator("snips")
        snips.add(batch)
        error = np.sqrt(snips.sums.squares) / len(batch)
        assert error == pytest.approx(expected["reference_intervals"]["snips_delta_se"], rel=1e-9)


@pytest.mark.parametrize("campaign", CAMPAIGNS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_only_what_rests_on_one_row_is_refused(
    open_bandit: Callable[[str, str], Batch], campaign: str, scenario: str
) -> None:
    """The uniform target on the women campaign's other log, an effective sample of 2 in 10,000, is no estimate."""
    batch = open_bandit(campaign, scenario)

    found = replay.estimate(
        batch.rewards, batch.propensities, batch.target, q_logged=batch.q_logged, q_target=batch.q_target
    )

    decides_alone = campaign == "women" and scenario.startswith("C")
    assert {bool(each.refused) for each in found.values()} == {decides_alone}
    if decides_alone:
        assert found["dr"].value < 0.0
        assert "69%" in found["dr"].refused


@pytest.mark.parametrize("campaign", CAMPAIGNS)
def test_a_target_that_is_the_logging_policy_gets_the_mean_of_the_log(
    open_bandit: Callable[[str, str], Batch], campaign: str
) -> None:
    """The uniform target on the uniform log has weight 1 everywhere, and its value is the share of clicks."""
    expected = json.loads((DATA / "obd" / "expected.json").read_text())["campaigns"][campaign]
    batch = open_bandit(campaign, "D_random_log__uniform_sanity")

    for name in ("ips", "snips", "replay"):
        if name == "replay":  # all rows match a target that plays what was logged
            batch = Batch.of(batch.rewards, batch.propensities, np.ones(len(batch)))
        by = estimator(name)
        by.add(batch)
        assert by.value == pytest.approx(expected["D_random_log__uniform_sanity"]["value"], abs=1e-9, rel=0)


@pytest.mark.parametrize("size", ["synth_10k", "synth_100k"])
@pytest.mark.parametrize("policy", ["soft", "det"])
def test_synthetic_values_and_errors_are_those_of_its_pipeline(size: str, policy: str) -> None:
    """Values equal Open Bandit Pipeline's within 1e-9, standard errors the analytic ones."""
    expected = json.loads((DATA / "ope_synth" / "expected.json").read_text())["sets"][size]["policies"][policy]
    batch = _synthetic(np.load(DATA / "ope_synth" / f"{size}.npz"), policy)

    compared = _compare(batch, expected["estimates"])

    ips, snips = estimator("ips"), estimator("snips")
    ips.add(batch)
    snips.add(batch)
    n = len(batch)
    error = np.sqrt(ips.sums.squares * n / (n - 1)) / n
    assert compared >= 12
    assert error == pytest.approx(expected["analytic"]["ips_se"], rel=1e-9)
    assert np.sqrt(snips.sums.squares) / n == pytest.approx(expected["analytic"]["snips_delta_se"], rel=1e-9)


def _synthetic(data: Any, policy: str) -> Batch:
    context, action = data["context"].astype(np.float64), data["action"].astype(int)
    rows = np.arange(len(action))
    scores = np.hstack([context, np.ones((len(context), 1))]) @ data["pi_e_W"]
    if policy == "soft":
        play = np.exp(8 * (scores - scores.max(axis=1, keepdims=True)))
        play /= play.sum(axis=1, keepdims=True)
    else:
        play = np.zeros_like(scores)
        play[rows, scores.argmax(axis=1)] = 1.0
    coefficient, fold = data["q_coef"][data["fold"].astype(int)], data["fold"].astype(int)
    logits = (context * coefficient[:, :5]).sum(axis=1, keepdims=True) + coefficient[:, 5:]
    q = 1.0 / (1.0 + np.exp(-(logits + data["q_intercept"][fold][:, None])))
    return Batch.of(
        data["reward"],
        data["pscore"],
        play[rows, action],
        q_logged=q[rows, action],
        q_target=(q * play).sum(axis=1),
    )


@pytest.mark.parametrize(
    ("policy", "reference"),
    [
        ("online", "online (p_pred=p_log)"),
        ("first", "baseline1 (always action 1)"),
        ("uniform", "baselineR (uniform 1/k)"),
    ],
)
def test_decision_service_values_are_those_of_vw_estimators(policy: str, reference: str) -> None:
    """IPS and SNIPS of 23 real events equal those of VW's estimators within 1e-9."""
    expected = json.loads((DATA / "vw_dsjson" / "expected.json").read_text())["policies"][reference]
    events = [json.loads(line) for line in (DATA / "vw_dsjson" / "dsjson_cb.json").read_text().splitlines()]
    propensities = [event["_label_probability"] for event in events]
    first = [float(event["_label_Action"] == 1) for event in events]
    uniform = [1 / len(event["a"]) for event in events]
    target = {"online": propensities, "first": first, "uniform": uniform}[policy]
    batch = Batch.of([-event["_label_cost"] for event in events], propensities, target)

    for name in ("ips", "snips"):
        by = estimator(name)
        by.add(batch)
        assert by.value == pytest.approx(expected[name], abs=1e-9, rel=0)
